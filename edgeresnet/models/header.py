"""The header of a safetensors file: which tensors it holds and where they lie, checked as strictly as its format is."""

from __future__ import annotations

import itertools
import math
import struct
from dataclasses import dataclass
from typing import IO, NamedTuple

from ..errors import shortened
from ..portable import codec
from ..portable.documents import Unreadable, parse_json
from .pickles import LONGEST_SIDE

_METADATA = "__metadata__"
_LONGEST = 100_000_000  # bytes
_KNOWN = ("dtype", "shape", "data_offsets")  # the format allows other keys, and nothing reads them
_BYTES = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2, "I8": 1,
    "U8": 1, "BOOL": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """What the header says of a tensor; the offsets begin behind the header."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class Header(NamedTuple):
    tensors: dict[str, Entry]
    metadata: dict[str, str]
    end: int  # where the header ends, and the numbers begin


def read(file: IO[bytes], size: int) -> Header:
    """Read the header of a file of `size` bytes; raise ValueError for one that is not as the format has it."""
    (length,) = struct.unpack("<Q", file.read(8))
    if length > min(size, _LONGEST):
        raise ValueError("its header is longer than the file")
    try:
        held = parse_json(file.read(length))
    except Unreadable as problem:
        raise ValueError(f"its header {problem}") from problem
    if not isinstance(held, dict):
        raise ValueError("its header does not name tensors")
    metadata = held.pop(_METADATA, None)
    about = {} if metadata is None else codec.decode(dict[str, str], metadata)
    return Header({name: _entry(name, each) for name, each in held.items()}, about, 8 + length)


def check_complete(header: Header, size: int) -> None:
    """Refuse a file that lacks bytes, or whose tensors do not lie one behind the other, as the format demands."""
    spans = sorted(each.data_offsets for each in header.tensors.values())
    last = max((end for _, end in spans), default=0)
    if header.end + last > size:
        raise ValueError(f"it has {size:,} of {header.end + last:,} bytes")
    if spans and (spans[0][0] or any(one[1] != other[0] for one, other in itertools.pairwise(spans))):
        raise ValueError("its tensors overlap, or leave gaps")


def _entry(name: str, held: object) -> Entry:
    try:
        known = {key: value for key, value in held.items() if key in _KNOWN} if isinstance(held, dict) else held
        entry = codec.decode(Entry, known)
    except codec.CodecError as problem:
        raise ValueError(f"the tensor {shortened(name, 40)}: {problem}") from problem
    begin, end = entry.data_offsets
    fits = 0 <= begin <= end and all(0 <= side < LONGEST_SIDE for side in entry.shape)
    wanted = math.prod(entry.shape) * _BYTES[entry.dtype] if fits and entry.dtype in _BYTES else end - begin
    if not fits or wanted != end - begin:
        raise ValueError(f"the tensor {shortened(name, 40)} does not have the bytes that its shape needs")
    return entry
