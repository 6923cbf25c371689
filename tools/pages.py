"""The pages of docs/ that declarations make, in the words of the command line: `make docs`."""

from __future__ import annotations

from pathlib import Path

from scaling_cli.cli.flags import as_flags
from scaling_cli.report.catalogue import PAGES

DOCS = Path(__file__).resolve().parents[1] / "docs"


def page(name: str) -> str:
    """The text of a page as its declarations make it; what is indented is code as it is."""
    lines = PAGES[name]().splitlines(keepends=True)
    return "".join(as_flags(line, "" if line.startswith("    ") else "`") for line in lines)


if __name__ == "__main__":
    for name in PAGES:
        (DOCS / name).write_text(page(name), encoding="utf-8")
