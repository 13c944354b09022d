"""What an ONNX file holds: inputs, outputs, operators, metadata, and the files next to it that hold weights.

Reads protobuf's wire format with the standard library alone, so that `check` and `plan` need no onnx, and skips the
weights. Judges nothing: `graph` checks whether a network fits its images.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import ModelError, quoted
from . import manifest
from .documents import Missing, Unreadable, check_regular, read_bytes, shown
from .frozen import dataclass

_LARGEST = (1 << 31) - 1  # bytes: protobuf's own limit
_LONGEST = 200  # characters of a name that is shown whole
MOST_OPERATORS = 10_000  # the deepest ResNet in print, of 1,202 layers, has half of them
FLOAT, UINT8, FLOAT16 = 1, 2, 10
ONLY_SHAPES = frozenset({"Identity", "Flatten", "Reshape", "Squeeze"})  # the same numbers, one after the other
KINDS = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 10: "float16", 11: "float64", 16: "bfloat16"}

# Message → field → the message inside it: the ways that lead to an operator or to a tensor's external file.
# Numbers as in onnx.proto, which never changes them.
_INSIDE = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}


class Value(NamedTuple):
    """An input or output. None for an unknown shape, and in a shape for a side that may vary."""

    name: str
    kind: int
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class OnnxFile:
    path: Path
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    operators: frozenset[str]
    metadata: dict[str, str]
    external: tuple[str, ...]  # relative to the file's folder
    last: str = ""  # the operator that computes the first output, behind those that only change its shape

    @property
    def digest(self) -> str:
        """The digest of the file and of the weights next to it: either may change without the other."""
        own = manifest.sha256_of(self.path)
        weights = [[name, manifest.sha256_of(self.path.parent / name)] for name in self.external]
        return manifest.digest_of([own, weights]) if weights else own


def read(path: Path) -> OnnxFile:
    """Read a file; refuse what is not an ONNX file, or not complete."""
    try:
        data = memoryview(read_bytes(path, _LARGEST))
    except Missing as problem:
        hint = "check the path: relative paths start in the current folder"
        raise ModelError(shown(path), "does not exist", hint=hint) from problem
    except Unreadable as problem:
        hint = "check that it is a file and that you may read it"
        raise ModelError(shown(path), str(problem), hint=hint) from problem
    try:
        found = _described(path, data)
        size = _expanded(data)
    except (_BrokenFile, RecursionError, UnicodeDecodeError) as problem:
        raise ModelError(
            shown(path), "is not an ONNX file, or is incomplete", hint="export it again, or copy it again"
        ) from problem
    if size > MOST_OPERATORS:
        raise ModelError(
            shown(path),
            f"has more than {MOST_OPERATORS:,} operators, with those of the functions that it calls",
            hint="export the classifier alone, without functions",
        )
    for name in found.external:
        _check_external(path, name)
    return found


def _check_external(path: Path, name: str) -> None:
    inside, word = Path(name), name if len(name) <= _LONGEST else quoted(name)
    if inside.is_absolute() or ".." in inside.parts:
        problem, hint = f"keeps weights outside its own folder, in {word}", "put the weights next to the ONNX file"
        raise ModelError(shown(path), problem, hint=hint)
    try:
        check_regular(path.parent / inside)
    except Missing as missing:
        problem, hint = f"keeps its weights in {word}, which is not next to it", "copy both files into one folder"
        raise ModelError(shown(path), problem, hint=hint) from missing
    except Unreadable as strange:
        problem, hint = f"keeps its weights in {word}, which {strange}", "copy both files into one folder"
        raise ModelError(shown(path), problem, hint=hint) from strange


class _BrokenFile(Exception):
    pass


_Field = tuple[int, "int | memoryview"]


def _described(path: Path, data: memoryview) -> OnnxFile:
    graph = [inner for number, inner in _fields(data) if number == 7]
    parts = list(_walk("model", data))
    operators = frozenset(_text(part, 4) for kind, part in parts if kind == "node")
    if len(graph) != 1 or not operators:
        raise _BrokenFile
    fields = list(_fields(_message(graph[0])))
    # Old exporters list the weights among the inputs, too.
    weights = {_text(_message(inner), 8) for number, inner in fields if number == 5}
    inputs = (_value(_message(inner)) for number, inner in fields if number == 11)
    entries = [_message(inner) for number, inner in _fields(data) if number == 14]
    external = {name for kind, part in parts if kind == "tensor" for name in _locations(part)}
    return OnnxFile(
        path,
        inputs=tuple(value for value in inputs if value.name not in weights),
        outputs=tuple(_value(_message(inner)) for number, inner in fields if number == 12),
        operators=operators,
        metadata={_text(entry, 1): _text(entry, 2) for entry in entries},
        external=tuple(sorted(external)),
        last=_last(fields),
    )


def _expanded(data: memoryview) -> int:
    """Return how many operators there are where each call of a function stands for its own; no more than one too many.

    Functions may call functions: sixteen that call the next one twice are 65,536 operators.
    """
    bodies = {_called(inner, 1, 10): inner for inner in _inner(data, 25)}
    sizes: dict[tuple[str, str], int] = {}

    def size(kind: str, body: memoryview, within: frozenset[tuple[str, str]]) -> int:
        calls = (_called(part, 4, 7) for found, part in _walk(kind, body) if found == "node")
        total = 0
        for call in calls:
            if call in within:
                raise _BrokenFile  # it calls itself
            if call in bodies and call not in sizes:
                sizes[call] = size("function", bodies[call], within | {call})
            total += sizes.get(call, 1)
            if total > MOST_OPERATORS:
                return MOST_OPERATORS + 1
        return total

    return sum(size("graph", graph, frozenset()) for graph in _inner(data, 7))


def _called(data: memoryview, name: int, domain: int) -> tuple[str, str]:
    """Return the domain and the name of an operator or a function."""
    return _text(data, domain), _text(data, name)


def _last(graph: list[_Field]) -> str:
    """Search from the back for the operator that computes the first output: it stands before those that use it."""
    wanted = next((_text(_message(inner), 1) for number, inner in graph if number == 12), "")
    for node in (_message(inner) for number, inner in reversed(graph) if number == 1):
        if wanted in _texts(node, 2):
            if _text(node, 4) not in ONLY_SHAPES:
                return _text(node, 4)
            wanted = next(iter(_texts(node, 1)), "")
    return ""


def _walk(kind: str, data: memoryview) -> Iterator[tuple[str, memoryview]]:
    """Yield every message below this one that `_INSIDE` knows a way to."""
    for number, inner in _fields(data):
        below = _INSIDE.get(kind, {}).get(number)
        if below:
            yield below, _message(inner)
            yield from _walk(below, _message(inner))


def _locations(tensor: memoryview) -> Iterator[str]:
    for number, entry in _fields(tensor):
        if number == 13 and _text(_message(entry), 1) == "location":
            yield _text(_message(entry), 2)


def _value(info: memoryview) -> Value:
    kind, shape = 0, None
    for tensor in _inner(info, 2, 1):  # its type, a tensor's
        for number, field in _fields(tensor):
            if number == 1 and isinstance(field, int):
                kind = field
            elif number == 2:
                shape = tuple(_side(_message(dim)) for inner, dim in _fields(_message(field)) if inner == 1)
    return Value(_text(info, 1), kind, shape)


def _side(dim: memoryview) -> int | None:
    """Return a side, or None for one that may vary, which some exporters write as -1 or 0."""
    lengths = [length for number, length in _fields(dim) if number == 1 and isinstance(length, int)]
    return lengths[-1] if lengths and 0 < lengths[-1] < 1 << 63 else None


def _inner(data: memoryview, *way: int) -> Iterator[memoryview]:
    if not way:
        yield data
        return
    for number, field in _fields(data):
        if number == way[0]:
            yield from _inner(_message(field), *way[1:])


def _text(data: memoryview, wanted: int) -> str:
    found = _texts(data, wanted)
    return found[-1] if found else ""


def _texts(data: memoryview, wanted: int) -> list[str]:
    return [str(_message(field), "utf-8") for number, field in _fields(data) if number == wanted]


def _message(field: int | memoryview) -> memoryview:
    if isinstance(field, int):
        raise _BrokenFile
    return field


def _fields(data: memoryview) -> Iterator[_Field]:
    """Yield one message's fields: (number, value), a number or the bytes of a text, tensor or message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == 2:
            length, at = _varint(data, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise _BrokenFile
        if at + length > len(data):
            raise _BrokenFile
        yield number, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise _BrokenFile
        byte, at = data[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _BrokenFile
