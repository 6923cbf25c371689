"""The page of the JSON documents in docs/, made from their schemas: `make docs`."""

from __future__ import annotations

from collections.abc import Iterator

from scaling_cli.schema.derive import Schema, schema_of
from scaling_cli.schema.documents import DOCUMENTS

INTRODUCTION = """\
# JSON documents

Made from the declarations in `scaling_cli/schema/documents.py` by `make docs`; do not edit.

Asked for JSON, a command prints one of these documents on stdout and nothing else; refused, it
prints `error` with an exit code that is not 0. `scalefit schema COMMAND` prints the JSON Schema of
one, `scalefit schema scalefit.toml` that of the mapping file, which also is
`configs/scalefit.schema.json`: editors that know TOML complete and check by it after `#:schema
PATH` in the first line. Later versions add keys, and rename none.

Numbers are in base units (counts, FLOPs; a loss in the unit of its runs). Errors such as `mape` are
fractions: 0.01 is 1 %. What is not known is null, and so is a bound that is open.
"""


def json_page() -> str:
    """docs/json.md: each command's document, then the objects that documents are made of."""
    every: dict[str, Schema] = {}
    parts = [INTRODUCTION, "## Commands\n\n| command | document |\n|---|---|\n"]
    for name, kinds in DOCUMENTS.items():
        made = schema_of(name, *kinds)
        every |= made["$defs"]
        parts[-1] += f"| `{name}` | {_of(made)} |\n"
    parts.append("## Objects\n")
    parts += ["\n".join(_object(name, every[name])) + "\n" for name in sorted(every)]
    return "\n".join(parts)


def _object(name: str, made: Schema) -> Iterator[str]:
    yield f"### {name}\n"
    if made.get("description"):
        yield f"{' '.join(made['description'].split())}\n"
    yield "| key | type | |\n|---|---|---|"
    for key, part in made["properties"].items():
        also = "" if key in made["required"] else " (may be missing)"
        yield f"| `{key}` | {_of(part)}{also} | {part.get('description', '')} |"


def _of(part: Schema) -> str:
    """A type in words."""
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in part:
        return " or ".join(map(_of, part["anyOf"]))
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return ", ".join(f"`{word}`" for word in part["enum"])
    kinds = part.get("type", "anything")
    if isinstance(kinds, list):
        return " or ".join(kinds)
    if kinds == "array":
        return f"list of {_of(part['items'])}"
    if kinds == "object":
        further = part.get("additionalProperties")
        if "properties" in part:
            own = ", ".join(f"`{name}`" for name in part["properties"])
            return f"object of {own} and other keys"
        return f"object of {_of(further)}" if further else "object"
    return str(kinds)
