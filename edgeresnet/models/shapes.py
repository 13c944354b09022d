"""Which tensors a checkpoint holds, by name and shape, without torch and without running any code of the file.

torch's own format is a pickle next to the raw numbers (`pickles`), an exported network has JSON instead (`exported`),
and safetensors begins with a header (`header`). So a plan knows which network a file holds before anything heavy is
loaded; `checkpoint` reads the weights.
"""

from __future__ import annotations

import io
import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ModelError, foreign, listed, shortened
from ..portable.documents import Missing, Unreadable, check_regular, shown
from . import exported, header, hub, keras, openmmlab, outline, quantized, sharded, unwrap
from .pickles import Array, Code, Reader, Tensor, TooMuch

_MAGIC = 0x1950A86A20F9469CFC6C  # of files from before torch 1.6: a row of pickles
_POINTER = b"version https://git-lfs"
_LARGEST, _LARGEST_PACKED = 1 << 28, 1 << 24  # bytes of a pickle; of one that is compressed, which torch never does
_PAGE = re.compile(rb"\s*<[!?a-zA-Z]")


class Contents(NamedTuple):
    """What a checkpoint holds."""

    networks: dict[str, dict[str, Tensor]]  # `model` and, where it holds an average too, `ema`
    arch: str  # the architecture that the file names itself; empty where it does not
    convention: hub.Convention | None = None  # what a configuration says of the network: next to the file, or in it


def read(path: Path) -> dict[str, Tensor]:
    """Return the network's tensors, without the prefixes that training scripts add to their names."""
    return look(path).networks[unwrap.MODEL]


def look(path: Path) -> Contents:
    """Read names and shapes from a checkpoint. Refuse other files, and those that would run code."""
    path = hub.weights_of(path)
    if sharded.is_index(path):
        held, arch = sharded.together(path, lambda shard: _checked(shard)[0]), ""
    else:
        held, arch = _checked(path)
    with foreign(lambda reason: broken(path, reason), memory=True):
        found = unwrap.networks(held, lambda value: isinstance(value, Tensor))
    if not found:
        raise _without_weights(path, held)
    for network in found.values():
        quantized.check(path, network)
    convention = hub.convention_of(path) or openmmlab.convention_of(held)
    return Contents(found, arch or unwrap.architecture(held), convention)


def _checked(path: Path) -> tuple[Any, str]:
    """Return what one file holds, and the architecture that its metadata name. Refuse what is not a checkpoint."""
    _check_file(path)
    try:
        with foreign(lambda reason: broken(path, reason), but=(Code, TooMuch), memory=True):
            return _held(path)
    except Code as problem:
        if refusal := quantized.of_type(path, problem.name):
            raise refusal from problem
        raise _code(path, problem) from problem
    except TooMuch as problem:
        raise ModelError(shown(path), str(problem), hint="save `model.state_dict()` where it was trained") from problem


def _code(path: Path, problem: Code) -> ModelError:
    """Return an error for a file that would run code, with the line that saves its weights where that can be seen."""
    try:
        with foreign(lambda reason: broken(path, reason), but=(TooMuch,), memory=True):
            held, _ = _held(path, outline.Outline)
    except (ModelError, TooMuch):
        held = None
    name = shortened(str(problem), 60)
    what = (
        f"is a pickled network ({name}), not its weights:"
        if outline.is_network(held)
        else f"holds more than weights ({name}), and"
    )
    line = outline.saved(held, problem.loaded.format(shortened(path.name, 40)))
    hint = "save `model.state_dict()` where it was trained"
    hint += f"; or, if you trust the file: torch.save({line}, 'weights.pth')" if line else ""
    return ModelError(shown(path), f"{what} loading it would run code", hint=hint)


def broken(path: Path, reason: str) -> ModelError:
    return ModelError(shown(path), f"is not a checkpoint, or is incomplete: {reason}", hint="copy the file again")


def _check_file(path: Path) -> None:
    """Refuse what is not a file, before anything opens it."""
    try:
        check_regular(path)
        if not path.stat().st_size:  # also the files that the kernel makes up: reading one may never end
            raise Unreadable("is empty")
    except Missing as problem:
        hint = "give the path of a weights file"
        raise ModelError(f"the checkpoint {shown(path)}", "does not exist", hint=hint) from problem
    except Unreadable as problem:
        raise ModelError(shown(path), str(problem), hint="give the path of a weights file") from problem


def _without_weights(path: Path, held: Any) -> ModelError:
    """Return an error for a file without known weights. They may lie under a name that only their maker knows."""
    inside = {key: value for key, value in held.items() if isinstance(value, Mapping)} if isinstance(held, dict) else {}
    if isinstance(held, dict):
        subscripts = {"": held, **{f"[{key!r}]": value for key, value in inside.items()}}
        if (found := next((key for key, value in subscripts.items() if _has_arrays(value)), None)) is not None:
            return _arrays(path, found)
    under = [
        shortened(str(key), 40)
        for key, value in inside.items()
        if isinstance(key, str) and any(isinstance(each, Tensor) for each in value.values())
    ]
    if not under:
        return ModelError(shown(path), "holds no weights", hint="save `model.state_dict()`")
    return ModelError(
        shown(path),
        f"holds tensors under {listed(under, 60)}, and does not show which are the network's weights",
        hint="if they are the weights: "
        f"torch.save(torch.load('{shortened(path.name, 40)}')['{under[0]}'], 'weights.pth')",
    )


def _has_arrays(held: Mapping[Any, Any]) -> bool:
    return sum(isinstance(value, Array) for value in held.values()) > 1


def _arrays(path: Path, subscript: str) -> ModelError:
    """Return an error for weights that are arrays of numpy, as detectron2 publishes its backbones."""
    name = shortened(path.name, 40)
    is_plain = path.suffix in (".pkl", ".pickle")
    loaded = f"pickle.load(open('{name}', 'rb'))" if is_plain else f"torch.load('{name}', weights_only=False)"
    tensors = f"{{k: torch.tensor(v) for k, v in {loaded}{shortened(subscript, 40)}.items()}}"
    hint = f"if you trust the file: torch.save({tensors}, 'weights.pth')"
    return ModelError(shown(path), "holds arrays of numpy, not tensors", hint=hint)


def metadata(path: Path) -> dict[str, str]:
    """Return what a safetensors file holds next to its tensors; nothing for other files, or for a damaged one."""
    if path.suffix != ".safetensors":
        return {}
    try:
        check_regular(path)
        with open(path, "rb") as file:
            return header.read(file, path.stat().st_size).metadata
    except (OSError, ValueError, struct.error):
        return {}


def _held(path: Path, reader: type[Reader] = Reader) -> tuple[Any, str]:
    """Return what was saved and, for safetensors, the architecture that its metadata name."""
    with open(path, "rb") as file:
        start = file.read(512)
        file.seek(0)
        if _PAGE.match(start) and start[8:9] != b"{":  # not any `<`: the length of a header of safetensors may begin so
            hint = "the download returned a web page: open it in a browser"
            raise ModelError(shown(path), "is an HTML page, not a checkpoint", hint=hint)
        if start.startswith(_POINTER):
            hint = "`git lfs pull` fetches it"
            raise ModelError(shown(path), "is a pointer of Git LFS, not the file itself", hint=hint)
        keras.check_start(path, start)
        size = path.stat().st_size
        if path.suffix == ".safetensors":
            about = header.read(file, size)
            header.check_complete(about, size)
            tensors = {name: Tensor(each.shape, each.dtype) for name, each in about.tensors.items()}
            return tensors, unwrap.architecture(about.metadata)
        if not zipfile.is_zipfile(file):
            file.seek(0)
            return _row_of_pickles(file, start, size, reader), ""
        with zipfile.ZipFile(file) as archive:
            return _in_archive(path, archive, reader), ""


def _in_archive(path: Path, archive: zipfile.ZipFile, reader: type[Reader]) -> Any:
    keras.check_archive(path, archive.namelist())
    if any(name.endswith("/constants.pkl") for name in archive.namelist()):
        line = f"torch.save(torch.jit.load('{shortened(path.name, 40)}').state_dict(), 'weights.pth')"
        hint = f"if you trust the file: {line}"
        raise ModelError(shown(path), "is a TorchScript archive, which holds code", hint=hint)
    program = exported.program_of(path, archive)
    if program is None:
        return reader(io.BytesIO(archive.read(_pickled(archive)))).load()
    if not program.saved:
        return program.shapes()
    with zipfile.ZipFile(io.BytesIO(archive.read(program.saved))) as inner:
        return reader(io.BytesIO(inner.read(_pickled(inner)))).load()


def _pickled(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """Return the member that names the tensors."""
    found = next((each for each in archive.infolist() if each.filename.endswith("/data.pkl")), None)
    if found is None:
        raise ValueError("it is an archive without data.pkl, and not one of torch.save")
    if found.file_size > (_LARGEST if found.compress_type == zipfile.ZIP_STORED else _LARGEST_PACKED):
        raise ValueError(f"its data.pkl would take {found.file_size:,} bytes of memory")
    return found


def _row_of_pickles(file: Any, start: bytes, size: int, reader: type[Reader]) -> Any:
    if start.startswith(b"PK"):
        raise ValueError("it begins as an archive, but the end of the archive is missing")
    if not start.startswith(pickle.PROTO):
        raise ValueError("it is not in the format of torch.save")
    try:
        if (first := reader(file).load()) != _MAGIC:
            if reader is not Reader or isinstance(first, dict):
                return first
            raise ValueError("it is not in the format of torch.save")
    except Code as problem:  # torch's own row begins with a number
        raise Code(problem.name, "pickle.load(open('{}', 'rb'))") from problem
    Reader(file).load()  # protocol
    Reader(file).load()  # the machine that wrote it
    weights = reader(file)
    held = weights.load()
    order = Reader(file).load()  # of the raw numbers, which follow: each time their count, and then they
    _check_complete(file.tell() + 8 * len(order) + sum(weights.storages.values()), size)
    return held


def _check_complete(wanted: int, size: int) -> None:
    if wanted > size:
        raise ValueError(f"it has {size:,} of {wanted:,} bytes")
