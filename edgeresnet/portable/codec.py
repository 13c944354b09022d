"""JSON to frozen dataclasses and back, strictly: the types of the fields say what a document may hold.

A document that does not fit is refused with the path of what is wrong. Standard library only: devices use it as well.
A field's metadata may hold `key`, its name in JSON, `omit`: no key is written while the value is the default, and
`opaque`: the class decodes it itself. A class may have `check_read`, which refuses values that cannot be (`limits`).
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import sys
import types
import typing
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar, Union, overload

from ..errors import quoted, shortened

T = TypeVar("T")
Json: TypeAlias = object  # any JSON, not checked
Decoder: TypeAlias = Callable[[Any], Any]

NAMES = {bool: "a boolean", int: "an integer", float: "a number", str: "a string", types.NoneType: "null"}
_NAMES: dict[type, str] = {**NAMES, list: "a list", dict: "an object"}
_SHOWN, _PROBLEM, _PATH = 60, 180, 110  # characters, at most
_HUGE = 1 << 63  # no count is so large, and many a computation with such an integer fails


class CodecError(ValueError):
    """What is wrong, and where: `path` is empty for the document itself."""

    def __init__(self, path: str, problem: str) -> None:
        self.path, self.problem = path, shortened(problem, _PROBLEM)
        super().__init__(path, self.problem)

    def __str__(self) -> str:
        return f"{shortened(self.path, _PATH)}: {self.problem}" if self.path else self.problem


class Key(NamedTuple):
    """A key of a JSON object, made of a dataclass's field."""

    name: str  # in JSON
    attribute: str  # in Python
    kind: Any
    required: bool
    omit: bool
    default: Callable[[], object]


class Shape(NamedTuple):
    """What a type looks like in JSON, and the types (a Literal's values) that it is made of."""

    name: Literal["opaque", "scalar", "literal", "object", "mapping", "many", "fixed", "union"]
    parts: tuple[Any, ...]


@overload
def decode(kind: type[T], value: object) -> T: ...
@overload
def decode(kind: Any, value: object) -> Any: ...
def decode(kind: Any, value: object) -> Any:
    """Build an instance of `kind` from parsed JSON; raise CodecError where the JSON does not fit."""
    return _decoder(kind)(value)


def encode(value: object) -> Any:
    """Return the JSON of a value; raise CodecError for what JSON cannot hold. A loop: deep values are fine."""
    root: list[Any] = [value]
    todo: deque[tuple[Any, Any, Any]] = deque([(root, 0, ())])  # a container, a place in it, the trail to there
    while todo:
        container, place, trail = todo.popleft()
        try:
            shallow = container[place] = _shallow(container[place])
        except CodecError as error:
            path = ""
            while trail:
                trail, step = trail
                path = _joined(step, path)
            raise CodecError(path, error.problem) from None
        if isinstance(shallow, dict):
            todo.extend((shallow, key, (trail, key)) for key in shallow)
        elif isinstance(shallow, list) and not _is_flat(shallow):
            todo.extend((shallow, index, (trail, index)) for index in range(len(shallow)))
    return root[0]


def _shallow(value: object) -> object:
    """Return a scalar as it is, and a container as a new dict or list whose values are not encoded yet."""
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, (tuple, list)):
        return list(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        found = [(key, getattr(value, key.attribute)) for key in keys(type(value))]
        return {key.name: each for key, each in found if not (key.omit and each == key.default())}
    if isinstance(value, Mapping):
        return _dict(dict(value))
    raise CodecError("", f"is {_name(value)}, which JSON does not have")


def _is_flat(values: Sequence[Any]) -> bool:
    """Return whether these are scalars only, all of them valid."""
    kinds = set(map(type, values))
    return kinds <= {str, int, bool, types.NoneType} or (kinds <= {int, float} and _are_finite(values))


def _are_finite(values: Sequence[float]) -> bool:
    """Return whether all numbers are finite. The sum tells it fast, unless it overflows."""
    try:
        return math.isfinite(sum(values)) or all(map(math.isfinite, values))
    except OverflowError:  # an integer that no float can hold
        return False


def _hints(kind: type) -> dict[str, Any]:
    """Return the types of a class's fields. `typing.get_type_hints` does the same in three times the time."""
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        names = vars(sys.modules[base.__module__]) if base.__module__ in sys.modules else {}
        for name, text in vars(base).get("__annotations__", {}).items():
            found[name] = eval(text, names) if isinstance(text, str) else text
    return found


@functools.cache
def keys(kind: Any) -> tuple[Key, ...]:
    """Return the keys of a dataclass's JSON object, in the order of the fields."""
    hints, found = _hints(kind), []
    for field in [field for field in dataclasses.fields(kind) if field.init]:
        default = field.default_factory
        if default is dataclasses.MISSING:
            default = functools.partial(_same, field.default)
        required = default() is dataclasses.MISSING
        name, omit = field.metadata.get("key", field.name), not required and field.metadata.get("omit", False)
        kind_of = object if field.metadata.get("opaque") else hints[field.name]  # the class itself decodes it
        found.append(Key(name, field.name, kind_of, required, omit, default))
    return tuple(found)


def shape(kind: Any) -> Shape:
    """Return the shape of a type; raise TypeError for a type that the codec does not know."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if kind in (Any, object) or (origin in (Union, types.UnionType) and {Any, object} & set(parts)):
        return Shape("opaque", ())
    if kind is None or kind in NAMES:
        return Shape("scalar", (kind or types.NoneType,))
    if dataclasses.is_dataclass(kind):
        return Shape("object", ())
    if origin is None and isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
        hints = typing.get_type_hints(kind)
        return Shape("fixed", tuple(hints[name] for name in kind._fields))
    if origin is tuple:
        return Shape("many", parts[:1]) if parts[1:] == (...,) else Shape("fixed", parts)
    if origin in (Mapping, dict) and parts[0] is str:
        return Shape("mapping", parts[1:])
    if origin in (Union, types.UnionType):
        return Shape("union", parts)
    if origin is Literal:
        return Shape("literal", parts)
    raise TypeError(f"the codec does not know the type {kind}")


def tag(kinds: Sequence[Any]) -> tuple[str, dict[Any, Any]]:
    """Find the key that tells dataclasses apart: a Literal of one value in each. Return it, and the class by value.

    One class may lack the key: JSON without it is of that class, whose value is None here.
    """
    if all(map(dataclasses.is_dataclass, kinds)):
        for name in dict.fromkeys(key.name for kind in kinds for key in keys(kind)):
            known = {kind: key for kind in kinds for key in keys(kind) if key.name == name}
            shapes = {kind: shape(key.kind) for kind, key in known.items()}
            found = {one.parts[0]: kind for kind, one in shapes.items() if one.name == "literal" and not one.parts[1:]}
            without = [kind for kind in kinds if kind not in known]
            if len(found) + len(without) == len(kinds) and len(without) < 2:
                return name, found | dict(zip([None], without, strict=False))
    raise TypeError(f"JSON does not distinguish these types: {kinds}")


@functools.cache
def _decoder(kind: Any) -> Decoder:
    """Build the decoder of a type, once."""
    name, parts = shape(kind)
    if name == "opaque":
        return _opaque
    if name == "scalar":
        return _float if kind is float else functools.partial(_typed, parts[0])
    if name == "literal":
        return functools.partial(_literal, parts)
    if name == "object":
        fields = [(key.name, key.attribute, key.required, _decoder(key.kind)) for key in keys(kind)]
        check = getattr(kind, "check_read", _same)
        return functools.partial(_object, kind, check, {field[0] for field in fields}, fields)
    if name == "union":
        return _union(parts)
    decoders = [_decoder(part) for part in parts]
    if name == "fixed":
        return functools.partial(_fixed, getattr(kind, "_make", tuple), decoders)
    return functools.partial(_mapping, *decoders) if name == "mapping" else functools.partial(_many, *parts, *decoders)


def _same(value: T) -> T:
    return value


def _opaque(value: T) -> T:
    """Return any JSON as it is; refuse numbers that JSON does not have, at any depth. A loop, as in `encode`."""
    todo: list[object] = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, float):
            _float(each)
        elif type(each) is int:
            _typed(int, each)
        elif isinstance(each, (list, tuple)):
            todo.extend(each)
        elif isinstance(each, Mapping):
            todo.extend(each.values())
    return value


def _typed(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise _wrong(value, _NAMES[kind])
    if kind is int and _is_huge(value):
        raise CodecError("", f"is an integer of too many digits: {_show(value)}")
    return value


def _is_huge(value: Any) -> bool:
    return not -_HUGE < value < _HUGE


def _dict(value: object) -> dict[str, Any]:
    for key in _typed(dict, value):
        if not isinstance(key, str):
            raise CodecError("", f"has a key that is not a string: {_show(key)}")
    return typing.cast("dict[str, Any]", value)


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(value, NAMES[float])
    if not _are_finite([value]):
        raise CodecError("", f"is not a finite number: {_show(value)}")
    return value if isinstance(value, float) else float(value)


def _literal(options: Iterable[Any], value: object) -> Any:
    if any(type(value) is type(option) and value == option for option in options):
        return value
    raise CodecError("", f"is {_show(value)}, not {_either(map(_show, options))}")


def _many(kind: Any, decoder: Decoder, value: object) -> tuple[Any, ...]:
    items = _typed(list, value)
    found = set(map(type, items))
    if kind in (bool, str) and found <= {kind}:
        return tuple(items)
    if kind is int and found <= {int} and not any(map(_is_huge, items)):
        return tuple(items)
    if kind is float and found <= {int, float} and _are_finite(items):
        return tuple(map(float, items)) if int in found else tuple(items)
    return tuple([_at(index, decoder, item) for index, item in enumerate(items)])


def _fixed(build: Callable[[Iterable[Any]], Any], decoders: Sequence[Decoder], value: object) -> Any:
    items = _typed(list, value)
    if len(items) != len(decoders):
        raise CodecError("", f"has {len(items)} items, not {len(decoders)}")
    return build([_at(index, decoder, items[index]) for index, decoder in enumerate(decoders)])


def _mapping(decoder: Decoder, value: object) -> dict[str, Any]:
    return {key: _at(key, decoder, item) for key, item in _dict(value).items()}


def _object(
    kind: Any, check: Decoder, known: set[str], fields: Iterable[tuple[str, str, bool, Decoder]], value: object
) -> Any:
    given, arguments = _dict(value), {}
    for name in given:
        if name not in known:
            import difflib  # only where a document is refused

            near = difflib.get_close_matches(shortened(name, _SHOWN), sorted(known), 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise CodecError(_joined(name), f"is not a known key{hint}")
    for name, attribute, required, decoder in fields:
        if name in given:
            arguments[attribute] = _at(name, decoder, given[name])
        elif required:
            raise CodecError(_joined(name), "is missing")
    try:
        found = kind(**arguments)
        check(found)
    except CodecError:
        raise
    except ValueError as error:
        raise CodecError("", str(error)) from error
    return found


def _union(kinds: Iterable[Any]) -> Decoder:
    """Build the decoder of a union. The type of the JSON value chooses the member, a tag chooses among dataclasses."""
    members: dict[type, list[Any]] = {}
    for kind in kinds:
        name, parts = shape(kind)
        there = {"scalar": parts, "literal": dict.fromkeys(map(type, parts)), "object": [dict], "mapping": [dict]}
        for each in there.get(name, [list]):
            members.setdefault(each, []).append(kind)
    decoders = {each: _tagged(found) if found[1:] else _decoder(found[0]) for each, found in members.items()}
    wanted = _either(_NAMES[each] for each in decoders)
    if float in decoders:
        decoders.setdefault(int, decoders[float])
    return functools.partial(_member, decoders, wanted)


def _member(decoders: Mapping[type, Decoder], wanted: str, value: object) -> Any:
    if type(value) not in decoders:
        raise _wrong(value, wanted)
    return decoders[type(value)](value)


def _tagged(kinds: Sequence[Any]) -> Decoder:
    """Build the decoder of several dataclasses that a tag tells apart."""
    name, by_value = tag(kinds)
    return functools.partial(_chosen, name, {value: _decoder(kind) for value, kind in by_value.items()})


def _chosen(name: str, decoders: Mapping[object, Decoder], value: object) -> Any:
    given = _dict(value)
    if name not in given:
        if None in decoders:
            return decoders[None](given)
        raise CodecError(_joined(name), "is missing")
    known = [each for each in decoders if each is not None]
    return decoders[_at(name, functools.partial(_literal, known), given[name])](given)


def _at(step: str | int, decoder: Decoder, value: object) -> Any:
    """Decode what is one step further down; its errors say so."""
    try:
        return decoder(value)
    except CodecError as error:
        raise CodecError(_joined(step, error.path), error.problem) from error.__cause__


def _joined(step: str | int, path: str = "") -> str:
    """Return a path that starts one step further up. Keys that a path would garble are quoted, and long ones cut."""
    if isinstance(step, int):
        first = f"[{step}]"
    else:
        odd = len(step) > _SHOWN or not step.isprintable() or not step or set(step) & set(". []")
        first = f"[{json.dumps(shortened(step, _SHOWN // 2))}]" if odd else step
    return first + ("." if path and not path.startswith("[") else "") + path


def _wrong(value: object, wanted: str) -> CodecError:
    shown = f": {_show(value)}" if isinstance(value, (str, int, float)) else ""
    return CodecError("", f"is {_name(value)}, not {wanted}{shown}")


def _name(value: object) -> str:
    return _NAMES.get(type(value), f"of type {type(value).__name__}")


def _show(value: object) -> str:
    """Return a value as people may read it, on one line and not long."""
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return quoted(value, _SHOWN)
    return json.dumps(value) if isinstance(value, bool) else _name(value)


def _either(words: Iterable[str]) -> str:
    """Return "a, b or c"."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last
