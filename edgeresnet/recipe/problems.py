"""What is wrong with a recipe, in words: each problem with its path and the most similar correct key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import TypeAdapter, ValidationError

from .. import targets
from ..errors import RecipeError, quoted, shortened
from .sections import EVERY, Delivery, Recipe, every, options_of, own

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Schema: TypeAlias = dict[str, Any]  # JSON Schema, as pydantic writes it


def schema() -> Schema:
    """Return the JSON Schema (draft 2020-12) of a recipe, with the options of every installed target."""
    found = Recipe.model_json_schema(by_alias=True)
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    found["title"] = "edgeresnet recipe"
    properties = {}
    for name in targets.discover():
        properties[name] = TypeAdapter(targets.get(name).options).json_schema()
        properties[name]["properties"] |= Delivery.model_json_schema()["properties"]
    found["properties"]["targets"] = {
        "type": "object",
        "description": Recipe.model_fields["targets"].description,
        "properties": properties,
        "additionalProperties": False,
        "default": {},
    }
    return found


def of_target(target: str, options: object) -> list[str]:
    """Return the problems of one target's options."""
    found = []
    try:
        keys = [*getattr(targets.get(target).options, "__dataclass_fields__", {}), *EVERY]
    except RecipeError as problem:
        return [f"targets.{target}: {problem.message} ({problem.hint})"]
    for adapter, part in ((TypeAdapter(Delivery), every(options)), (options_of(target), own(options))):
        try:
            adapter.validate_python(part)
        except ValidationError as problem:
            found += [sentence(("targets", target, *error["loc"]), error, keys) for error in problem.errors()]
    return found


def in_words(error: ErrorDetails) -> str:
    """Return a problem that pydantic reports as one line."""
    return sentence(error["loc"], error, _known_keys(error["loc"]))


def sentence(location: tuple[str | int, ...], error: ErrorDetails, known: list[str]) -> str:
    """Return a problem as one line: where it is, and the most similar of the known keys."""
    # pydantic puts the branch of a union into the path; a user never wrote that word.
    parts = [str(part) for part in location if not re.match(r"(function|constrained|literal)\b", str(part))]
    where = ".".join(shortened(part, 80) for part in parts)
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        near = difflib.get_close_matches(parts[-1][:80], known, 1)
        return f"{where}: unknown key" + (f", did you mean {near[0]}?" if near else f"; keys here: {', '.join(known)}")
    if error["type"] in ("missing", "missing_argument"):
        return f"{where}: missing"
    message = error["msg"].removeprefix("Value error, ")
    text = f"{message[0].lower()}{message[1:]}" if message[:1].isupper() else message
    given = error.get("input")
    shown = f" (given: {quoted(given)})" if isinstance(given, str | int | float | bool) else ""
    return f"{where}: {text}{shown}" if where else text


def _known_keys(location: tuple[str | int, ...]) -> list[str]:
    """Return the keys that are possible instead of the wrong one."""
    here = schema()
    definitions = here.get("$defs", {})
    for part in location[:-1]:
        here = _resolved(here, definitions).get("properties", {}).get(str(part), {})
    return list(_resolved(here, definitions).get("properties", {}))


def _resolved(node: Schema, definitions: Mapping[str, Schema]) -> Schema:
    for branch in [node, *node.get("anyOf", []), *node.get("allOf", [])]:
        if "$ref" in branch:
            return definitions[branch["$ref"].rsplit("/", 1)[-1]]
        if "properties" in branch:
            return branch
    return node
