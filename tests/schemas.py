"""JSON documents held against their schemas, closed: a key that is not declared fails too."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from scaling_cli.schema.registry import schema


@cache
def validator(name: str) -> Any:
    jsonschema = pytest.importorskip("jsonschema", reason="an independent validator of documents")
    made = jsonschema.Draft202012Validator(schema(name, closed=True))
    made.check_schema(made.schema)
    return made


def complaints(name: str, document: Any) -> list[str]:
    """What is wrong with a document, each as `place: what`, the deepest reasons."""
    reasons = []
    for error in validator(name).iter_errors(document):
        while error.context:
            error = max(error.context, key=lambda inner: len(inner.absolute_path))
        reasons.append(f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}")
    return reasons
