"""The schemas by name: those of the commands' documents, `error`, and `scalefit.toml`."""

from __future__ import annotations

from scaling_cli.errors import InputError
from scaling_cli.schema.derive import Schema, schema_of
from scaling_cli.schema.documents import DOCUMENTS
from scaling_cli.spelling import near

SETTINGS = "scalefit.toml"


def names() -> list[str]:
    return [*DOCUMENTS, SETTINGS]


def schema(name: str, closed: bool = False) -> Schema:
    """The schema of a name; InputError where there is none. A `closed` one of a document allows no
    key that is not declared."""
    if name == SETTINGS:
        from scaling_cli.schema.settings import settings_schema

        return settings_schema()
    if name not in DOCUMENTS:
        raise InputError(
            f"there is no schema of '{name}'",
            near(name, names()) or f"Known: {', '.join(names())}.",
        )
    return schema_of(f"scalefit {name}", *DOCUMENTS[name], closed=closed)
