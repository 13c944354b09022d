"""What a pickle of torch holds, by name and shape: an unpickler that knows a few names, and makes no object of them.

Python's own unpickler in Python, since the one in C believes a file that its memo has billions of places. An operation
costs about a microsecond, and a file of weights has some ten thousands: one of millions is refused.
"""

from __future__ import annotations

import collections
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, NamedTuple

LONGEST_SIDE = 1 << 48  # of a tensor
_MOST = 3_000_000  # operations
_KEY_LEVELS, _KEY_PARTS = 8, 100  # tuples in one another, in a key; and on one level
# What training scripts save next to the weights: options, dates, paths, numpy's numbers. Whatever it was, it becomes a
# Note, so that none of it runs; only the names of these types are known here.
NOTES = (
    *("argparse.Namespace", "types.SimpleNamespace", "datetime.datetime", "datetime.date", "datetime.timedelta"),
    *(f"pathlib{part}.{kind}" for part in ("", "._local") for kind in ("PosixPath", "WindowsPath", "PurePosixPath")),
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *("numpy.ndarray", "numpy.dtype", "collections.Counter", "_codecs.encode"),
    *(f"builtins.{kind}" for kind in ("set", "frozenset", "bytearray", "complex")),
)
_Operation = Callable[[Any], None]


class Tensor(NamedTuple):
    shape: tuple[int, ...]
    kind: str  # "Float", "Half", …: torch's word


class Note:
    """Stands for something in a file that is neither a tensor nor a plain value."""

    def __new__(cls, *_: Any) -> Note:
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class Array(Note):
    """Stands for an array of numpy."""


class TooMuch(Exception):
    """A pickle that would take long to read."""


class Code(Exception):
    """A name that cannot be loaded without running code; and how a person who trusts the file loads it."""

    def __init__(self, name: str, loaded: str = "torch.load('{}', weights_only=False)"):
        super().__init__(name)
        self.name, self.loaded = name, loaded


class Reader(pickle._Unpickler):
    """Makes plain values, Tensors and Notes; every other name is refused."""

    def __init__(self, file: IO[bytes]):
        super().__init__(file)
        self.storages: dict[str, int] = {}  # their bytes
        self.__dict__["dispatch"] = _Counted(_OPERATIONS)  # this reader's own

    def find_class(self, module: str, name: str) -> Any:
        # `__builtin__` is Python 2's name: torch still writes it
        known = _KNOWN.get(f"{module.replace('__builtin__', 'builtins')}.{name}")
        if known is not None:
            return known
        if module in ("torch", "torch.storage") and name.endswith("Storage"):
            return name.removesuffix("Storage")  # only named, never made
        if module == "torch" and name in _KINDS:
            return name
        raise Code(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        if not isinstance(pid, tuple) or len(pid) < 5:
            return None
        _, kind, key, _, count, *_ = pid
        if type(count) is not int or count < 0 or not isinstance(key, str) or not isinstance(kind, str):
            raise ValueError("it holds a tensor of an impossible size")
        self.storages[key] = count * _BYTES.get(kind, 1)
        return kind


class _Counted(dict[int, _Operation]):
    """The operations of a pickle, as many times as a file of weights may need them."""

    used = 0

    def __getitem__(self, code: int) -> _Operation:
        self.used += 1
        if self.used > _MOST:
            raise TooMuch(f"holds far more than a network: over {_MOST:,} values and marks")
        return super().__getitem__(code)


class _Ordered(collections.OrderedDict[Any, Any]):
    """An ordered dictionary whose keys are plain, too."""

    def __init__(self, pairs: Any = ()) -> None:
        held = list(pairs.items() if isinstance(pairs, dict) else pairs)
        _check_keys([key for key, _ in held])
        super().__init__(held)


def _check_keys(keys: Sequence[Any]) -> None:
    """Refuse tuples of many tuples as keys: Python computes the hash of some of them for years."""
    for key in keys:
        if isinstance(key, tuple | frozenset):
            _check_key(key)


def _check_key(key: Any) -> None:
    level = [key]
    for _ in range(_KEY_LEVELS):
        level = [part for each in level for part in each if isinstance(part, tuple | frozenset)]
        if not level:
            return
        if len(level) > _KEY_PARTS:
            break
    raise ValueError("it holds a key that is a tuple of very many tuples")


def _checked(code: bytes, keys: Callable[[list[Any]], Sequence[Any]]) -> _Operation:
    """Return an operation that first checks the keys on the stack."""
    operation: _Operation = pickle._Unpickler.dispatch[code[0]]

    def run(reader: Any) -> None:
        _check_keys(keys(reader.stack))
        operation(reader)

    return run


def _build(reader: Any) -> None:
    """Give an object its state; not one of our own functions or types, which would stay changed."""
    if callable(reader.stack[-2]):
        raise ValueError("it changes a function")
    pickle._Unpickler.dispatch[pickle.BUILD[0]](reader)


_OPERATIONS: Mapping[int, _Operation] = {
    **pickle._Unpickler.dispatch,
    pickle.SETITEM[0]: _checked(pickle.SETITEM, lambda stack: stack[-2:-1]),
    pickle.SETITEMS[0]: _checked(pickle.SETITEMS, lambda stack: stack[::2]),
    pickle.DICT[0]: _checked(pickle.DICT, lambda stack: stack[::2]),
    pickle.ADDITEMS[0]: _checked(pickle.ADDITEMS, lambda stack: stack),
    pickle.FROZENSET[0]: _checked(pickle.FROZENSET, lambda stack: stack),
    pickle.BUILD[0]: _build,
}


def _tensor(storage: Any, offset: int, shape: Any, *_: Any) -> Tensor:
    sides = tuple(shape)
    if not isinstance(storage, str) or not all(type(side) is int and 0 <= side < LONGEST_SIDE for side in sides):
        raise ValueError("it holds a tensor of an impossible shape")
    return Tensor(sides, storage)


def _parameter(held: Any, *_: Any) -> Any:
    return held


def _plain(*values: Any) -> Any:
    return values


_KINDS = {"float32", "float16", "bfloat16", "float64", "int64", "int32", "uint8", "bool"}
_BYTES = {"Double": 8, "Long": 8, "Float": 4, "Int": 4, "Half": 2, "BFloat16": 2, "Short": 2}
_KNOWN: Mapping[str, Callable[..., object]] = {
    **dict.fromkeys(NOTES, Note),
    **dict.fromkeys((name for name in NOTES if name.endswith("._reconstruct")), Array),
    "collections.OrderedDict": _Ordered,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": tuple,
    "torch.device": _plain,
}
