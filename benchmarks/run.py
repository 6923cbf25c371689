"""Run every benchmark of this folder and write RESULTS.md, or print those that are named.

A benchmark is a module with a `title` and a `run()` that returns Markdown.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

FOLDER = Path(__file__).parent
PACKAGES = ("numpy", "scipy", "pyarrow", "chinchilla")


def machine() -> str:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return f"{os.cpu_count()} processors, Python {platform.python_version()}, {', '.join(found)}."


def sections(names: list[str]) -> Iterator[str]:
    for name in names or sorted(item.name for item in pkgutil.iter_modules([str(FOLDER)])):
        if name == "run":
            continue
        module = importlib.import_module(f"benchmarks.{name}")
        if hasattr(module, "run"):
            print(f"{name} ...", file=sys.stderr, flush=True)
            yield f"## {module.title}\n\n{module.run()}\n"


def main() -> None:
    head = (
        "# Benchmarks\n\nWritten by `make bench`. Times are processor time, one thread, every peer"
        f" in the same run: read the ratios. {machine()}\n"
    )
    named = sys.argv[1:]
    # Some of the benchmarks must not take the place of all.
    with sys.stdout if named else (FOLDER / "RESULTS.md").open("w", encoding="utf-8") as file:
        print(head, end="", file=file)
        for part in sections(named):
            print("\n" + part, end="", file=file, flush=True)


if __name__ == "__main__":
    main()
