"""The pages of docs/ that declarations make, in the words of the command line: `make docs`."""

from __future__ import annotations

import json
from pathlib import Path

from scaling_cli.cli.flags import as_flags, document_as_flags
from scaling_cli.report.catalogue import PAGES
from scaling_cli.schema.registry import SETTINGS, schema

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
SCHEMA = ROOT / "configs" / "scalefit.schema.json"


def page(name: str) -> str:
    """The text of a page as its declarations make it; what is indented is code as it is."""
    lines = PAGES[name]().splitlines(keepends=True)
    return "".join(as_flags(line, "" if line.startswith("    ") else "`") for line in lines)


def settings_text() -> str:
    """The JSON Schema of scalefit.toml, for editors."""
    return json.dumps(document_as_flags(schema(SETTINGS), said=True), indent=2) + "\n"


if __name__ == "__main__":
    for name in PAGES:
        (DOCS / name).write_text(page(name), encoding="utf-8")
    SCHEMA.write_text(settings_text(), encoding="utf-8")
