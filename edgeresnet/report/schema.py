"""JSON Schema (draft 2020-12) of the types that `portable.codec` reads, for programs that read our documents.

What a class checks in its own `__post_init__` is not in its schema.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
from typing import Any, TypeAlias

from ..portable import codec

Schema: TypeAlias = dict[str, object]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SCALARS = {bool: "boolean", int: "integer", float: "number", str: "string", types.NoneType: "null"}


def of(kind: Any, *, title: str) -> Schema:
    """Return the schema of a type's JSON. Each dataclass in it has a definition of its own."""
    definitions: dict[str, Schema] = {}
    body = _schema(kind, definitions, {})
    return {"$schema": DIALECT, "title": title, **body, **({"$defs": definitions} if definitions else {})}


def _schema(kind: Any, definitions: dict[str, Schema], named: dict[type, str]) -> Schema:
    """Return a type's schema, and add what it refers to to the definitions; `named` are the classes in them."""
    name, parts = codec.shape(kind)
    if name == "object":
        return {"$ref": f"#/$defs/{_defined(kind, definitions, named)}"}
    if name == "scalar":
        return {"type": _SCALARS[parts[0]]}
    if name == "literal":
        return {"const": parts[0]} if len(parts) == 1 else {"enum": list(parts)}
    items = [_schema(part, definitions, named) for part in parts]
    if name == "many":
        return {"type": "array", "items": items[0]}
    if name == "fixed":
        return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
    if name == "mapping":
        return {"type": "object", "additionalProperties": items[0]}
    return _union(parts, items) if name == "union" else {}


def _union(kinds: tuple[Any, ...], schemas: list[Schema]) -> Schema:
    """Return the schema of a union. The key that tells its dataclasses apart must be there, even with a default."""
    classes = [kind for kind in kinds if dataclasses.is_dataclass(kind)]
    if len(classes) > 1:
        name, by_value = codec.tag(classes)
        schemas = [
            {**schema, "required": [name]} if kind in classes and kind is not by_value.get(None) else schema
            for kind, schema in zip(kinds, schemas, strict=True)
        ]
    return {"anyOf": schemas}


def _defined(kind: type, definitions: dict[str, Schema], named: dict[type, str]) -> str:
    """Define a dataclass unless it is defined, and return the definition's name."""
    if kind not in named:
        taken = kind.__name__ in definitions
        name = named[kind] = f"{kind.__module__}.{kind.__qualname__}" if taken else kind.__name__
        definitions[name] = {}  # its place: before what it refers to
        definitions[name] = _object(kind, definitions, named)
    return named[kind]


def _object(kind: type, definitions: dict[str, Schema], named: dict[type, str]) -> Schema:
    """Return the schema of a dataclass's object."""
    keys = codec.keys(kind)
    required = [key.name for key in keys if key.required]
    return {
        **_described(kind),
        "type": "object",
        "properties": {key.name: _schema(key.kind, definitions, named) for key in keys},
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _described(kind: type) -> Schema:
    """Return the first paragraph of the class's own docstring; nothing where dataclasses made it up."""
    text = inspect.cleandoc(kind.__doc__ or "")
    if not text or text.startswith(f"{kind.__name__}("):
        return {}
    return {"description": " ".join(text.split("\n\n")[0].split())}
