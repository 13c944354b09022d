"""The weights in an archive of torch.export (`.pt2`): JSON says which tensors it has, and the numbers lie next to it.

Reads the JSON and the list of the archive's members, never a graph, and runs no code. Older torch put a file of
torch.save into the archive; whoever reads this one gets its bytes.
"""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..errors import ModelError, listed, shortened
from ..portable.documents import Unreadable, parse_json, shown
from .pickles import LONGEST_SIDE, Tensor

_PROGRAM = re.compile(r"(?:[^/]*/)?models/(.+)\.json")
_COMPILED = re.compile(r"(?:[^/]*/)?data/aotinductor/.+")
_OLD = ("serialized_state_dict.pt", "serialized_state_dict.json")  # until torch 2.7; JSON by its name only
_NETWORK = "model"  # what torch.export.save calls the one program of an archive
_LARGEST = 1 << 24  # bytes of the JSON
_STRIDED = 7  # torch's number of the usual layout
# torch's number of a type → its word, and the bytes of one number.
_KINDS = {
    1: ("Byte", 1), 2: ("Char", 1), 3: ("Short", 2), 4: ("Int", 4), 5: ("Long", 8), 6: ("Half", 2), 7: ("Float", 4),
    8: ("Double", 8), 12: ("Bool", 1), 13: ("BFloat16", 2), 29: ("Float8_e4m3fn", 1), 30: ("Float8_e5m2", 1),
    31: ("Float8_e4m3fnuz", 1), 32: ("Float8_e5m2fnuz", 1), 33: ("Float8_e8m0fnu", 1),
}  # fmt: skip


class Stored(NamedTuple):
    """A tensor in an archive: a view of the numbers in one member."""

    member: str
    kind: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int  # in numbers


class Program(NamedTuple):
    """The weights of an exported network: tensors, or the member that is a file of torch.save."""

    tensors: dict[str, Stored]
    saved: str = ""

    def shapes(self) -> dict[str, Tensor]:
        return {name: Tensor(each.shape, each.kind) for name, each in self.tensors.items()}


def program_of(path: Path, archive: zipfile.ZipFile) -> Program | None:
    """Return the weights of an exported network; None for another archive. Refuse one that cannot be read as data."""
    members = {each.filename: each for each in archive.infolist()}
    if saved := next((name for name in _OLD if name in members), ""):
        return _nested(members[saved])
    programs = {found[1]: name for name in members if (found := _PROGRAM.fullmatch(name))}
    if not programs:
        if any(map(_COMPILED.fullmatch, members)):
            problem = "is a network that AOTInductor compiled: its weights lie in machine code"
            raise ModelError(shown(path), problem, hint="give the checkpoint that it was made from")
        return None
    name = _NETWORK if _NETWORK in programs else next(iter(programs))
    if len(programs) > 1 and name != _NETWORK:
        problem = f"holds {len(programs)} exported networks: {listed(programs, 60)}"
        raise ModelError(shown(path), problem, hint="save the one that is meant with torch.export.save")
    root = programs[name].removesuffix(f"models/{name}.json")
    if f"{root}data/weights/{name}.pt" in members:
        return _nested(members[f"{root}data/weights/{name}.pt"])
    if f"{root}byteorder" in members and _read(archive, members, f"{root}byteorder") != b"little":
        raise ModelError(shown(path), "has its bytes in the order of other machines", hint=_state_dict(path))
    tensors = _tensors(path, archive, members, f"{root}data/weights/", f"{name}_weights_config.json")
    if not tensors:  # a network whose weights are not parameters
        tensors = _tensors(path, archive, members, f"{root}data/constants/", f"{name}_constants_config.json")
    _check_sizes(path, members, tensors)
    return Program(_by_module(tensors))


def _by_module(tensors: Mapping[str, Stored]) -> dict[str, Stored]:
    """Put each module's tensors together, as in its `state_dict`: torch.export lists all buffers at the end."""
    modules: dict[str, dict[str, Stored]] = {}
    for name, each in tensors.items():
        modules.setdefault(name.rpartition(".")[0], {})[name] = each
    return {name: each for module in modules.values() for name, each in module.items()}


def _nested(member: zipfile.ZipInfo) -> Program:
    """Return the file of torch.save in an archive. It is read into memory: it may not be larger than it looks."""
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"its {member.filename} is compressed, which torch never does")
    return Program({}, member.filename)


def _tensors(
    path: Path, archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], folder: str, config: str
) -> dict[str, Stored]:
    """Return the tensors that a JSON in the archive describes."""
    try:
        held = parse_json(_read(archive, members, f"{folder}{config}"))
    except Unreadable as problem:
        raise ValueError(f"its {config} {problem}") from problem
    described = held.get("config") if isinstance(held, dict) else None
    if not isinstance(described, dict):
        raise ValueError(f"its {config} does not describe tensors")
    found = {}
    for name, about in described.items():
        if not isinstance(about, dict) or not isinstance(about.get("path_name"), str):
            raise ValueError(f"its {config} does not describe the tensor {shortened(name, 40)}")
        if about.get("use_pickle"):
            words = f"holds {shortened(name, 40)} as a pickle of a class, and loading it would run code"
            raise ModelError(shown(path), words, hint=_state_dict(path))
        found[name] = _stored(name, folder + about["path_name"], about.get("tensor_meta"))
    return found


def _stored(name: str, member: str, about: object) -> Stored:
    """Return one tensor as its JSON describes it."""
    described = about if isinstance(about, dict) else {}
    kind, layout = described.get("dtype"), described.get("layout")
    sizes, strides = described.get("sizes"), described.get("strides")
    numbers = [
        _number(each)
        for part in (sizes, strides, [described.get("storage_offset")])
        for each in (part if isinstance(part, list) else [None])
    ]
    if (
        not isinstance(kind, int)
        or kind not in _KINDS
        or layout != _STRIDED
        or not isinstance(sizes, list)
        or not isinstance(strides, list)
        or len(sizes) != len(strides)
        or -1 in numbers
    ):
        raise ValueError(f"the tensor {shortened(name, 40)} is described in an unknown way")
    count = len(sizes)
    return Stored(member, _KINDS[kind][0], tuple(numbers[:count]), tuple(numbers[count:-1]), numbers[-1])


def _number(held: object) -> int:
    """Return an integer of the JSON; -1 for an expression, or for what cannot be a size."""
    value = held.get("as_int") if isinstance(held, dict) else None
    return value if type(value) is int and 0 <= value < LONGEST_SIDE else -1


def _check_sizes(path: Path, members: Mapping[str, zipfile.ZipInfo], tensors: Mapping[str, Stored]) -> None:
    """Refuse tensors without numbers, or with other numbers than their shapes need."""
    bytes_of = {word: size for word, size in _KINDS.values()}
    for name, each in tensors.items():
        member, word = members.get(each.member), shortened(name, 40)
        if member is None or member.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"the numbers of the tensor {word} are missing")
        there, wanted = member.file_size // bytes_of[each.kind], math.prod(each.shape)
        if wanted and not member.file_size:
            hint = "export the network with its weights loaded"
            raise ModelError(shown(path), f"was exported without numbers: {word} has none", hint=hint)
        last = each.offset + sum((side - 1) * step for side, step in zip(each.shape, each.strides, strict=True))
        if wanted and (last >= there or wanted > there):
            raise ValueError(f"the tensor {word} does not have the bytes that its shape needs")
    used = {each.member for each in tensors.values()}
    if sum(members[name].file_size for name in used) > path.stat().st_size:
        raise ValueError("its members overlap")


def _read(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], name: str) -> bytes:
    if name not in members:
        raise ValueError(f"it has no {name.rpartition('/')[2]}")
    if members[name].file_size > _LARGEST:
        raise ValueError(f"its {name.rpartition('/')[2]} would take {members[name].file_size:,} bytes of memory")
    return archive.read(members[name])


def _state_dict(path: Path) -> str:
    name = shortened(path.name, 40)
    return f"if you trust the file: torch.save(torch.export.load('{name}').state_dict, 'weights.pth')"
