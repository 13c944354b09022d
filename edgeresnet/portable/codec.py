"""JSON to frozen dataclasses and back, strictly: the types of the fields say what a document may hold.

A document that does not fit is refused with the path of what is wrong. Standard library only: devices use it as well.
A field's metadata may hold `key`, its name in JSON, and `omit`: no key is written while the value is the default.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import math
import re
import types
import typing
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar, Union, overload

T = TypeVar("T")
Json: TypeAlias = object  # any JSON; nobody looks inside
Decoder: TypeAlias = Callable[[object], Any]

OPAQUE = (Any, object)
NAMES: dict[object, str] = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    types.NoneType: "null",
    list: "a list",
    dict: "an object",
}
_SHOWN, _PROBLEM, _PATH = 60, 180, 110  # characters, at most


class CodecError(ValueError):
    """Says what is wrong, and where: `path` is empty for the whole document."""

    def __init__(self, path: str, problem: str) -> None:
        self.path, self.problem = path, _short(problem, _PROBLEM)
        super().__init__(path, self.problem)

    def __str__(self) -> str:
        return f"{_short(self.path, _PATH)}: {self.problem}" if self.path else self.problem


class Key(NamedTuple):
    """A key of a JSON object, made of a dataclass's field."""

    name: str  # in JSON
    attribute: str  # in Python
    kind: Any
    required: bool
    omit: bool
    default: Callable[[], object]


class Tag(NamedTuple):
    """The key that tells the dataclasses of a union apart, and the dataclass for each of its values."""

    name: str
    kinds: Mapping[object, Any]


@overload
def decode(kind: type[T], value: object) -> T: ...
@overload
def decode(kind: Any, value: object) -> Any: ...
def decode(kind: Any, value: object) -> Any:
    """Build an instance of `kind` from parsed JSON; raise CodecError where the JSON does not fit."""
    return _decoder(kind)(value)


def encode(value: object) -> Any:
    """Return the JSON of a value; raise CodecError for what JSON cannot hold. A loop: deep values are no problem."""
    root: list[Any] = [value]
    todo: deque[tuple[Any, Any, Any]] = deque([(root, 0, ())])  # a holder, the place in it, and the trail to there
    while todo:
        holder, place, trail = todo.popleft()
        try:
            shallow = holder[place] = _encode_shallow(holder[place])
        except CodecError as error:
            raise CodecError(_path(trail), error.problem) from None
        if isinstance(shallow, dict):
            todo.extend((shallow, key, (trail, key)) for key in shallow)
        elif isinstance(shallow, list) and not _is_flat(shallow):
            todo.extend((shallow, index, (trail, index)) for index in range(len(shallow)))
    return root[0]


def _encode_shallow(value: object) -> object:
    """Return a scalar as it is, and a container as a new dict or list whose values are not encoded yet."""
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return _decode_float(value)
    if isinstance(value, (tuple, list)):
        return list(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        found = [(key, getattr(value, key.attribute)) for key in keys(type(value))]
        return {key.name: each for key, each in found if not (key.omit and each == key.default())}
    if isinstance(value, Mapping):
        _check_keys(value)
        return dict(value)
    raise CodecError("", f"is of type {type(value).__name__}, which JSON does not have")


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


@functools.cache
def keys(kind: type) -> tuple[Key, ...]:
    """Return the keys of a dataclass's JSON object, in the order of the fields."""
    hints, found = typing.get_type_hints(kind), []
    for field in dataclasses.fields(kind):
        if field.init:
            default = field.default_factory
            if default is dataclasses.MISSING:
                default = functools.partial(_same, field.default)
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            name, omit = field.metadata.get("key", field.name), not required and field.metadata.get("omit", False)
            found.append(Key(name, field.name, hints[field.name], required, omit, default))
    return tuple(found)


def is_union(kind: Any) -> bool:
    """Return whether a type is `Union[...]`, `Optional[...]` or `X | Y`."""
    return typing.get_origin(kind) in (Union, types.UnionType)


def is_named_tuple(kind: Any) -> bool:
    """Return whether a type is a class made with NamedTuple."""
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


def is_mapping(kind: Any) -> bool:
    """Return whether a type is `Mapping[str, ...]` or `dict[str, ...]`."""
    return typing.get_origin(kind) in (Mapping, dict) and typing.get_args(kind)[0] is str


def item_kinds(kind: Any) -> tuple[Any, ...]:
    """Return the types of a fixed tuple's or of a NamedTuple's items."""
    if is_named_tuple(kind):
        hints = typing.get_type_hints(kind)
        return tuple(hints[name] for name in kind._fields)
    return typing.get_args(kind)


def tag(kinds: Sequence[Any]) -> Tag:
    """Find the key by which dataclasses are told apart: in each of them a Literal of one value, another in each."""
    for candidate in keys(kinds[0]):
        found = {}
        for kind in kinds:
            values = [typing.get_args(key.kind) for key in keys(kind) if _is_tag(key, candidate.name)]
            found.update({value: kind for (value,) in values})
        if len(found) == len(kinds):
            return Tag(candidate.name, found)
    raise TypeError(f"nothing tells {_either(kind.__name__ for kind in kinds)} apart: give each a Literal field")


def _is_tag(key: Key, name: str) -> bool:
    return key.name == name and typing.get_origin(key.kind) is Literal and len(typing.get_args(key.kind)) == 1


@functools.cache
def _decoder(kind: Any) -> Decoder:
    """Build the decoder of a type, once."""
    if kind in OPAQUE:
        return _same
    if kind is float:
        return _decode_float
    if kind in (bool, int, str, None, types.NoneType):
        return functools.partial(_decode_scalar, kind or types.NoneType)
    if dataclasses.is_dataclass(kind):
        return _object_decoder(kind)
    if is_union(kind):
        return _union_decoder(typing.get_args(kind))
    if is_mapping(kind):
        return functools.partial(_decode_mapping, _decoder(typing.get_args(kind)[1]))
    if typing.get_origin(kind) is Literal:
        return functools.partial(_decode_literal, typing.get_args(kind))
    if is_named_tuple(kind):
        return functools.partial(_decode_fixed, kind._make, [_decoder(each) for each in item_kinds(kind)])
    if typing.get_origin(kind) is tuple:
        first, *others = typing.get_args(kind)
        if others == [...]:
            return functools.partial(_decode_tuple, first, _decoder(first))
        return functools.partial(_decode_fixed, tuple, [_decoder(each) for each in (first, *others)])
    raise TypeError(f"the codec does not know the type {kind}")


def _same(value: T) -> T:
    return value


def _decode_scalar(kind: Any, value: object) -> object:
    if type(value) is not kind:
        raise _wrong(value, NAMES[kind])
    return value


def _decode_float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(value, NAMES[float])
    if not _are_finite([value]):
        raise CodecError("", f"is not a finite number: {_show(value)}")
    return value if isinstance(value, float) else float(value)


def _decode_literal(options: tuple[Any, ...], value: object) -> object:
    if any(type(value) is type(each) and value == each for each in options):
        return value
    raise CodecError("", f"is {_show(value)}, not {_either(map(_show, options))}")


def _decode_tuple(kind: Any, decoder: Decoder, value: object) -> tuple[Any, ...]:
    items = _list(value)
    found = set(map(type, items))
    if kind in (bool, int, str) and found <= {kind}:
        return tuple(items)
    if kind is float and found <= {int, float} and _are_finite(items):
        return tuple(items) if found <= {float} else tuple(map(float, items))
    return tuple(_decode_items(items, (decoder for _ in items)))


def _decode_fixed(build: Callable[[Iterable[Any]], Any], decoders: Sequence[Decoder], value: object) -> Any:
    items = _list(value)
    if len(items) != len(decoders):
        raise CodecError("", f"has {len(items)} items, not {len(decoders)}")
    return build(_decode_items(items, decoders))


def _decode_items(items: list[Any], decoders: Iterable[Decoder]) -> list[Any]:
    found: list[Any] = []
    for decoder, item in zip(decoders, items):  # noqa: B905: as many
        try:
            found.append(decoder(item))
        except CodecError as error:
            raise _under(len(found), error) from None
    return found


def _decode_mapping(decoder: Decoder, value: object) -> dict[str, Any]:
    found = {}
    for key, item in _dict(value).items():
        try:
            found[key] = decoder(item)
        except CodecError as error:
            raise _under(key, error) from None
    return found


def _object_decoder(kind: Any) -> Decoder:
    """Build the decoder of a dataclass."""
    parts = [(key.name, key.attribute, key.required, _decoder(key.kind)) for key in keys(kind)]
    known = {name for name, *_ in parts}

    def decode_object(value: object) -> Any:
        given, arguments = _dict(value), {}
        for name in given:
            if name not in known:
                raise _unknown(name, known)
        for name, attribute, required, decoder in parts:
            if name in given:
                try:
                    arguments[attribute] = decoder(given[name])
                except CodecError as error:
                    raise _under(name, error) from None
            elif required:
                raise CodecError(_step(name), "is missing")
        try:
            return kind(**arguments)
        except CodecError:
            raise
        except ValueError as error:
            raise CodecError("", str(error)) from error

    return decode_object


def _union_decoder(kinds: tuple[Any, ...]) -> Decoder:
    """Build the decoder of a union. The type of the JSON value chooses the member, a tag chooses among dataclasses."""
    if any(kind in OPAQUE for kind in kinds):
        return _same
    classes = [kind for kind in kinds if dataclasses.is_dataclass(kind)]
    members = [(kind, _decoder(kind)) for kind in kinds if kind not in classes]
    if classes:
        members.append((classes[0], _tagged_decoder(tag(classes)) if classes[1:] else _decoder(classes[0])))
    by_type: dict[type, Decoder] = {}
    for kind, decoder in members:
        for each in json_types(kind):
            if each in by_type:
                raise TypeError(f"two members of a union are {NAMES[each]} in JSON: {kinds}")
            by_type[each] = decoder
    if float in by_type:
        by_type.setdefault(int, by_type[float])
    wanted = _either(dict.fromkeys(NAMES[each] for kind, _ in members for each in json_types(kind)))

    def decode_union(value: object) -> Any:
        decoder = by_type.get(type(value))
        if decoder is None:
            raise _wrong(value, wanted)
        return decoder(value)

    return decode_union


def json_types(kind: Any) -> list[type]:
    """Return the Python types that the JSON of a union's member may have."""
    if typing.get_origin(kind) is Literal:
        return list(dict.fromkeys(type(each) for each in typing.get_args(kind)))
    if dataclasses.is_dataclass(kind) or is_mapping(kind):
        return [dict]
    return [kind] if kind in NAMES else [list]


def _tagged_decoder(by: Tag) -> Decoder:
    """Build the decoder of a union of dataclasses."""
    decoders = {value: _decoder(kind) for value, kind in by.kinds.items()}

    def decode_tagged(value: object) -> Any:
        given = _dict(value)
        if by.name not in given:
            raise CodecError(_step(by.name), "is missing")
        try:
            chosen = _decode_literal(tuple(decoders), given[by.name])
        except CodecError as error:
            raise _under(by.name, error) from None
        return decoders[chosen](given)

    return decode_tagged


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong(value, NAMES[list])
    return value


def _dict(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(value, NAMES[dict])
    _check_keys(value)
    return value


def _check_keys(value: Mapping[Any, object]) -> None:
    for key in value:
        if not isinstance(key, str):
            raise CodecError("", f"has a key that is not a string: {_show(key)}")


def _wrong(value: object, wanted: str) -> CodecError:
    shown = f": {_show(value)}" if isinstance(value, (str, int, float)) else ""
    return CodecError("", f"is {_name(value)}, not {wanted}{shown}")


def _unknown(name: str, known: Iterable[str]) -> CodecError:
    near = difflib.get_close_matches(_short(name, _SHOWN), sorted(known), 1)
    return CodecError(_step(name), "is not a known key" + (f"; did you mean {near[0]}?" if near else ""))


def _under(step: str | int, error: CodecError) -> CodecError:
    """Return the same error with its path one step longer."""
    dot = "." if error.path and not error.path.startswith("[") else ""
    return CodecError(_step(step) + dot + error.path, error.problem)


def _path(trail: Any) -> str:
    """Return the path of a trail: nested pairs of the trail so far and a step."""
    steps: list[str] = []
    while trail:
        trail, step = trail
        steps.append(_step(step))
    return "".join(reversed([s if s.startswith("[") else "." + s for s in steps])).removeprefix(".")


def _step(step: str | int) -> str:
    """Return how a key or an index reads in a path. Keys that would be misread are quoted, and long ones are cut."""
    if isinstance(step, int):
        return f"[{step}]"
    plain = len(step) <= _SHOWN and re.fullmatch(r"[\w#+-]+", step)
    return step if plain else f"[{json.dumps(_short(step, _SHOWN // 2))}]"


def _name(value: object) -> str:
    return NAMES.get(type(value), f"of type {type(value).__name__}")


def _show(value: object) -> str:
    """Return a value as people may read it, on one line and not long."""
    if isinstance(value, str):
        return _short(repr(value[: 2 * _SHOWN]), _SHOWN)
    if isinstance(value, int) and value.bit_length() > 256:  # Python refuses to print the largest
        return "a huge integer"
    return json.dumps(value) if isinstance(value, (int, float)) else _name(value)


def _short(text: str, most: int) -> str:
    """Return text on one line, without its middle where it is long."""
    if len(text) > most:
        text = text[: most // 2] + "…" + text[-(most // 2 - 1) :]
    return " ".join(text.split())


def _either(words: Iterable[str]) -> str:
    """Return "a, b or c"."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last
