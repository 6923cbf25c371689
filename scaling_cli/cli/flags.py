"""The library speaks of its own arguments, as `where=` and `law=mpl`; the command line writes them
as its flags: --where and --law mpl."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scaling_cli.report.listing import Listing

# The arguments that the library's texts may name.
ARGUMENTS = {
    "again", "along", "as_format", "at", "bounds", "by", "checkpoints", "config", "cut",
    "dry_run", "filter", "finals", "fit", "fix", "flops", "formula", "holdout", "law", "level",
    "meta", "objective", "once", "output", "params", "procedure", "published", "radius",
    "ranges", "reach", "run", "schedule", "select", "shape", "shared", "solve",
    "steps", "store", "sweep", "tag", "then", "tie", "tokens", "tokens_per_param", "warmup",
    "weights", "where", "workers", "x", "y",
}  # fmt: skip
# Those whose flag is not their own name with dashes.
FLAGS = {"as_format": "--as", "bounds": "--bound", "ranges": "--range"}
# What is said to people in a JSON document, beside data in which nothing is replaced.
SAID = {"message", "mend", "meaning", "caveats", "sentence", "weakest"}

_ARGUMENT = re.compile(rf"`({'|'.join(sorted(ARGUMENTS))})=([^`\n]*)`")


def flag(argument: str, value: str = "") -> str:
    """An argument as the command line writes it, with its value."""
    name = FLAGS.get(argument, f"--{argument.replace('_', '-')}")
    if value in ("True", "False"):
        return name if value == "True" else name.replace("--", "--no-")
    return f"{name} {value}" if value else name


def as_flags(text: str, around: str = "") -> str:
    """A text of the library in the words of the command line, each flag between `around`."""
    if "`" not in text:
        return text
    return _ARGUMENT.sub(lambda part: around + flag(part[1], part[2]) + around, text)


def listing_as_flags(table: Listing) -> Listing:
    """A table for people, in the words of the command line."""
    from scaling_cli.report.folding import replace_message

    lines = tuple(
        as_flags(line) if isinstance(line, str) else replace_message(line, as_flags(line.message))
        for line in table.lines
    )
    rows = tuple(tuple(map(as_flags, row)) for row in table.rows)
    return replace(table, title=as_flags(table.title), rows=rows, lines=lines)


def document_as_flags(document: Any, said: bool = False) -> Any:
    """A JSON document whose sentences (`SAID`) are in the words of the command line."""
    if isinstance(document, Mapping):
        return {
            key: document_as_flags(value, said or key in SAID) for key, value in document.items()
        }
    if isinstance(document, list | tuple):
        return [document_as_flags(value, said) for value in document]
    return as_flags(document) if said and isinstance(document, str) else document
