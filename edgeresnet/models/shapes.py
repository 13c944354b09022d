"""Which tensors a checkpoint holds, by name and shape, without torch and without running any code of the file.

torch's own format is a pickle next to the raw numbers: the unpickler here knows a few names and makes no object of
them. So a plan knows which network a file holds before anything heavy is loaded; `checkpoint` reads the weights.
"""

from __future__ import annotations

import collections
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ModelError, first_line
from . import unwrap

_MAGIC = 0x1950A86A20F9469CFC6C  # of files from before torch 1.6: a row of pickles
_METADATA = "__metadata__"
_POINTER = b"version https://git-lfs"
# What training scripts save next to the weights: options, dates, paths, numpy's numbers. Whatever it was, it becomes a
# Note, so that none of it runs; only the names of these types are known here.
NOTES = (
    *("argparse.Namespace", "types.SimpleNamespace", "datetime.datetime", "datetime.date", "datetime.timedelta"),
    *(f"pathlib{part}.{kind}" for part in ("", "._local") for kind in ("PosixPath", "WindowsPath", "PurePosixPath")),
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *("numpy.ndarray", "numpy.dtype", "collections.Counter", "_codecs.encode"),
    *(f"builtins.{kind}" for kind in ("set", "frozenset", "bytearray", "complex")),
)
_LONGEST_HEADER = 100_000_000
_BROKEN = (
    pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, OSError,
    struct.error, zipfile.BadZipFile, RecursionError, MemoryError,
)  # fmt: skip


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


class Contents(NamedTuple):
    """What a checkpoint holds."""

    networks: dict[str, dict[str, Tensor]]  # `model` and, where it holds an average too, `ema`
    arch: str  # the architecture that the file names itself; empty where it does not


def read(path: Path) -> dict[str, Tensor]:
    """Return the network's tensors, without the prefixes that training scripts add to their names."""
    return look(path).networks[unwrap.MODEL]


def look(path: Path) -> Contents:
    """Read names and shapes from a checkpoint. Refuse other files, and those that would run code."""
    if not path.is_file():
        raise ModelError(f"the checkpoint {path}", "does not exist", hint="give the path of a weights file")
    try:
        held, arch = _held(path)
        found = unwrap.networks(held, lambda value: isinstance(value, Tensor))
    except _Code as problem:
        raise ModelError(
            str(path),
            f"holds more than weights ({problem}), and loading it would run code",
            hint="save `model.state_dict()` in the program that trained it, or convert a file that you trust: "
            f"held = {problem.loaded.format(path.name)}, then torch.save(held['state_dict'], 'weights.pth'), with the "
            "file's own key; for a complete network, save held.state_dict()",
        ) from problem
    except _BROKEN as problem:
        words = f"is not a checkpoint, or is incomplete: {first_line(problem)}"
        raise ModelError(str(path), words, hint="copy the file again") from problem
    if not found:
        raise _without_weights(path, held)
    return Contents(found, arch or unwrap.architecture(held))


def _without_weights(path: Path, held: Any) -> ModelError:
    """Return an error for a file without known weights. They may lie under a name that only their maker knows."""
    inside = {key: value for key, value in held.items() if isinstance(value, Mapping)} if isinstance(held, dict) else {}
    under = [str(key) for key, value in inside.items() if any(isinstance(each, Tensor) for each in value.values())]
    if not under:
        return ModelError(str(path), "holds no weights", hint="save `model.state_dict()`")
    return ModelError(
        str(path),
        f"holds tensors under {', '.join(under[:5])}, and does not show which are the network's weights",
        hint=f"if they are the weights: torch.save(torch.load('{path.name}')['{under[0]}'], 'weights.pth')",
    )


def metadata(path: Path) -> dict[str, str]:
    """Return what a safetensors file holds next to its tensors; nothing for other files, or for a damaged one."""
    if path.suffix != ".safetensors":
        return {}
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            about = json.loads(file.read(min(length, _LONGEST_HEADER))).get(_METADATA, {})
        return {str(key): str(value) for key, value in about.items()}
    except _BROKEN:
        return {}


def _held(path: Path) -> tuple[Any, str]:
    """Return what was saved and, for safetensors, the architecture that its metadata name."""
    with open(path, "rb") as file:
        start = file.read(512)
        file.seek(0)
        if start.lstrip()[:1] == b"<":
            hint = "the download returned a web page: open it in a browser"
            raise ModelError(str(path), "is an HTML page, not a checkpoint", hint=hint)
        if start.startswith(_POINTER):
            hint = "`git lfs pull` fetches it"
            raise ModelError(str(path), "is a pointer of Git LFS, not the file itself", hint=hint)
        size = path.stat().st_size
        if path.suffix == ".safetensors":
            return _safetensors(file, size)
        if not zipfile.is_zipfile(file):
            file.seek(0)
            return _row_of_pickles(file, start, size), ""
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if any(name.endswith("/constants.pkl") for name in names):
                hint = "export it to ONNX in the program that made it"
                raise ModelError(str(path), "is a TorchScript archive, which holds code", hint=hint)
            with archive.open(next(name for name in names if name.endswith("/data.pkl"))) as pickled:
                return _Reader(pickled).load(), ""


def _safetensors(file: Any, size: int) -> tuple[dict[str, Tensor], str]:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > min(size, _LONGEST_HEADER):
        raise ValueError("its header is longer than the file")
    about = json.loads(file.read(length))
    named = unwrap.architecture(about.pop(_METADATA, None))
    _check_complete(8 + length + max((each["data_offsets"][1] for each in about.values()), default=0), size)
    return {name: Tensor(tuple(each["shape"]), each["dtype"]) for name, each in about.items()}, named


def _row_of_pickles(file: Any, start: bytes, size: int) -> Any:
    if not start:
        raise ValueError("it is empty")
    if start.startswith(b"PK"):
        raise ValueError("it begins as an archive, but the end of the archive is missing")
    if not start.startswith(pickle.PROTO):
        raise ValueError("it is not in the format of torch.save")
    try:
        if _Reader(file).load() != _MAGIC:
            raise ValueError("it is not in the format of torch.save")
    except _Code as problem:  # torch's own row begins with a number
        raise _Code(problem.name, "pickle.load(open('{}', 'rb'))") from problem
    _Reader(file).load()  # protocol
    _Reader(file).load()  # the machine that wrote it
    reader = _Reader(file)
    held = reader.load()
    order = _Reader(file).load()  # of the raw numbers, which follow: each time their count, and then they
    _check_complete(file.tell() + 8 * len(order) + sum(reader.storages.values()), size)
    return held


def _check_complete(wanted: int, size: int) -> None:
    if wanted > size:
        raise ValueError(f"it has {size:,} of {wanted:,} bytes")


class _Code(Exception):
    """A name that cannot be loaded without running code; and how a person who trusts the file loads it."""

    def __init__(self, name: str, loaded: str = "torch.load('{}', weights_only=False)"):
        super().__init__(name)
        self.name, self.loaded = name, loaded


class _Reader(pickle.Unpickler):
    """Makes plain values, Tensors and Notes; every other name is refused."""

    def __init__(self, file: Any):
        super().__init__(file)
        self.storages: dict[str, int] = {}  # their bytes

    def find_class(self, module: str, name: str) -> Any:
        # `__builtin__` is Python 2's name: torch still writes it
        known = _KNOWN.get(f"{module.replace('__builtin__', 'builtins')}.{name}")
        if known is not None:
            return known
        if module in ("torch", "torch.storage") and name.endswith("Storage"):
            return name.removesuffix("Storage")  # only named, never made
        if module == "torch" and name in _KINDS:
            return name
        raise _Code(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        if not isinstance(pid, tuple) or len(pid) < 5:
            return None
        _, kind, key, _, count, *_ = pid
        self.storages[key] = count * _BYTES.get(kind, 1)
        return kind


def _tensor(storage: Any, offset: int, shape: Any, *_: Any) -> Tensor:
    return Tensor(tuple(int(side) for side in shape), str(storage))


def _parameter(held: Any, *_: Any) -> Any:
    return held


def _plain(*values: Any) -> Any:
    return values


_KINDS = {"float32", "float16", "bfloat16", "float64", "int64", "int32", "uint8", "bool"}
_BYTES = {"Double": 8, "Long": 8, "Float": 4, "Int": 4, "Half": 2, "BFloat16": 2, "Short": 2}
_KNOWN: Mapping[str, Callable[..., object]] = {
    **dict.fromkeys(NOTES, Note),
    "collections.OrderedDict": collections.OrderedDict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": tuple,
    "torch.device": _plain,
}
