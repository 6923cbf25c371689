"""JSON Schemas (draft 2020-12) of declared types: a TypedDict is an object, a Literal an enum."""

from __future__ import annotations

from inspect import cleandoc
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from scaling_cli.schema.documents import Open

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]
PLAIN: dict[Any, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    NoneType: "null",
}


def schema_of(title: str, *types: Any, closed: bool = False) -> Schema:
    """The schema of a document that is of one of these types. Further keys are allowed, as later
    versions add some, unless it is `closed`."""
    made = _Made(closed)
    parts = [made.schema(kind) for kind in types]
    whole = parts[0] if len(parts) == 1 else {"anyOf": parts}
    return {"$schema": DIALECT, "title": title, **whole, "$defs": made.objects}


class _Made:
    """Schemas as they are made; each object type once, by its name."""

    def __init__(self, closed: bool) -> None:
        self.closed = closed
        self.objects: dict[str, Schema] = {}

    def schema(self, kind: Any) -> Schema:
        origin, parts = get_origin(kind), get_args(kind)
        if kind is Any:
            return {}
        if kind in PLAIN:
            return {"type": PLAIN[kind]}
        if is_typeddict(kind):
            return self.reference(kind)
        if origin is Annotated:
            return self.annotated(parts[0], parts[1:])
        if origin is NotRequired:
            return self.schema(parts[0])
        if origin is Literal:
            return {"enum": list(parts)} if len(parts) > 1 else {"const": parts[0]}
        if origin is list:
            return {"type": "array", "items": self.schema(parts[0])}
        if origin is dict:
            return {"type": "object", "additionalProperties": self.schema(parts[1])}
        if origin in (Union, UnionType):
            return self.union(parts)
        raise TypeError(f"no JSON Schema for {kind}")

    def annotated(self, kind: Any, remarks: tuple[Any, ...]) -> Schema:
        made = self.schema(kind)
        for remark in remarks:
            if isinstance(remark, Open):  # of its own, as others may hold the same type closed
                made = {**self.object(kind), "additionalProperties": self.schema(remark.value)}
            else:
                made = {**made, "description": remark}
        return made

    def union(self, parts: tuple[Any, ...]) -> Schema:
        if all(part in PLAIN for part in parts):
            return {"type": [PLAIN[part] for part in parts]}
        return {"anyOf": [self.schema(part) for part in parts]}

    def reference(self, kind: Any) -> Schema:
        if kind.__name__ not in self.objects:
            self.objects[kind.__name__] = {}  # it may hold itself
            self.objects[kind.__name__] = self.object(kind)
        return {"$ref": f"#/$defs/{kind.__name__}"}

    def object(self, kind: Any) -> Schema:
        hints = get_type_hints(kind, include_extras=True)
        made: Schema = {
            "type": "object",
            "properties": {name: self.schema(hint) for name, hint in hints.items()},
            "required": [name for name, hint in hints.items() if get_origin(hint) != NotRequired],
        }
        if kind.__doc__:
            made = {"description": cleandoc(kind.__doc__)} | made
        return made | {"additionalProperties": False} if self.closed else made
