"""Row of checkpoints: torch's two formats and safetensors, damaged, dishonest or malicious. None of their code runs."""

from __future__ import annotations

import collections
import io
import itertools
import json
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import binary, npz, tensors
from .attempt import Outcome
from .binary import STRANGE
from .case import Case, Row
from .world import World

_LONG = "n" * 100_000
_ENDINGS = (".pth", ".pt", ".ckpt", ".bin", ".safetensors", ".pth.tar")


def _doubled() -> bytes:
    """Return a dictionary in a dictionary under all names that are looked under, forty levels deep."""
    held: dict[str, Any] = {}
    for _ in range(40):
        held = dict.fromkeys(("state_dict", "model_state_dict", "model", "net", "network", "ema", "model_ema"), held)
    return pickle.dumps(held)


class _Runs:
    """Pickles to a call."""

    def __init__(self, *call: Any) -> None:
        self._call = call

    def __reduce__(self) -> tuple[Any, ...]:
        function, *arguments = self._call
        return function, tuple(arguments)


def _pickles(mark: str) -> dict[str, bytes]:
    """Return pickles by what they would do."""
    touch = f"touch {mark}"
    writes = f"open({mark!r}, 'w').close()"
    deep: Any = []
    for _ in range(400):
        deep = [deep]
    found = {
        "os.system": pickle.dumps(_Runs(os.system, touch)),
        "eval": pickle.dumps({"state_dict": _Runs(eval, writes)}),
        "exec": pickle.dumps([_Runs(exec, writes)]),
        "open": pickle.dumps(_Runs(open, mark, "w")),
        "getattr": b"\x80\x02cbuiltins\ngetattr\n(cos\npath\nX\x06\x00\x00\x00existstR.",
        "a nested name": b"\x80\x04\x8c\x08builtins\x8c\x0c__import__.x\x93.",
        "posix": b"\x80\x02cposix\nsystem\n(X" + struct.pack("<I", len(touch)) + touch.encode() + b"tR.",
        "Python 2": b"\x80\x02c__builtin__\neval\n(X" + struct.pack("<I", len(writes)) + writes.encode() + b"tR.",
        "torch.load": b"\x80\x02ctorch\nload\n(X\x01\x00\x00\x00xtR.",
        "a long name": b"\x80\x02c" + _LONG.encode() + b"\n" + _LONG.encode() + b"\n.",
        "a name that is not UTF-8": b"\x80\x02c\xff\xfe\n\xff\n.",
        "counted": b"\x80\x02ccollections\nCounter\n(X\x01\x00\x00\x00xtR.",
        "deep": pickle.dumps(deep),
        "deep lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
        "deep tuples": b"\x80\x02)" + b"\x85" * 100_000 + b".",
        "deep dicts": b"\x80\x02" + b"}X\x05\x00\x00\x00model" * 20_000 + b"}" + b"s" * 20_000 + b".",
        "deep state_dicts": b"\x80\x02" + b"}X\x0a\x00\x00\x00state_dict" * 900 + b"}" + b"s" * 900 + b".",
        "dicts that each lie in two places": _doubled(),
        "a dict in itself": b"\x80\x02}q\x00X\x05\x00\x00\x00modelh\x00s.",
        "a list in itself": b"\x80\x02]q\x00h\x00a.",
        "a tuple twice as long each time": b"\x80\x02)" + b"2\x86" * 60 + b".",
        "a huge memo": b"\x80\x02]r\xff\xff\xff\x7f.",
        "an integer of 5000 digits": b"\x80\x02L" + b"9" * 5000 + b"L\n.",
        "a huge integer": b"\x80\x02\x8b" + struct.pack("<i", 1 << 20) + b"\x7f" * (1 << 20) + b".",
        "a huge string": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 62) + b"x.",
        "huge bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x.",
        "a huge frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N.",
        "a bytearray": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"x.",
        "a buffer": b"\x80\x05\x97.",
        "a surrogate": pickle.dumps({"\ud800": 1}),
        "protocol 200": b"\x80\xc8N.",
        "no stop": b"\x80\x02N",
        "nothing": b"",
        "a stop alone": b".",
        "no stack": b"\x80\x02a.",
        "a persistent id": b"\x80\x02X\x01\x00\x00\x00xQ.",
        "a persistent id of text": b"Px\n.",
        "extension codes": b"\x80\x02\x82\x01.",
        "unhashable keys": b"\x80\x02}]]s.",
        "an instance": b"(ios\nsystem\n.",
        "a build of state": b"\x80\x02cargparse\nNamespace\n)R}X\x01\x00\x00\x00xK\x01sb.",
        "a build of a list": b"\x80\x02]}X\x06\x00\x00\x00appendK\x01sb.",
        "a build of a class": b"\x80\x02ccollections\nOrderedDict\n}X\x04\x00\x00\x00keysK\x01sb.",
        "an ordered dict": pickle.dumps(collections.OrderedDict(model=5)),
    }
    return found | {f"tensor {name}": rebuilt(*arguments) for name, arguments in _STORAGES.items()}


# Of a tensor: the storage's count, the offset, the shape.
_STORAGES: Mapping[str, tuple[object, object, object]] = {
    "of a negative shape": (4, 0, (-4,)),
    "of a huge shape": (4, 0, (10**30, 10**30)),
    "of an enormous shape": (4, 0, (1 << 100_000,)),
    "of a shape of letters": (4, 0, "ab"),
    "of a shape of nested lists": (4, 0, ((1,), (2,))),
    "of a shape of None": (4, 0, None),
    "of a shape of floats": (4, 0, (1.5, float("inf"))),
    "of a shape of NaN": (4, 0, (float("nan"),)),
    "of a million sides": (4, 0, (1,) * 1_000_000),
    "of a huge storage": (1 << 70, 0, (4,)),
    "of a storage of letters": ("x", 0, (4,)),
    "of a storage of an enormous size": ("x" * 10_000, 0, (4,)),
    "of a storage of None": (None, 0, (4,)),
    "of a negative storage": (-4, 0, (4,)),
    "of a list as offset": (4, [], (4,)),
}


def rebuilt(count: object, offset: object, shape: object) -> bytes:
    """Return a pickle of {"fc.weight": tensor}, as torch writes it."""

    def plain(value: object) -> bytes:
        return pickle.dumps(value, 2)[2:-1]

    storage = b"(" + plain("storage") + b"ctorch\nFloatStorage\n" + plain("0") + plain("cpu") + plain(count) + b"tQ"
    return (
        b"\x80\x02}" + plain("fc.weight") + b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + plain(offset)
        + plain(shape) + plain((1,)) + b"\x89}tRs."
    )  # fmt: skip


def zipped(pickled: bytes | None, *, kind: int = zipfile.ZIP_STORED, folder: str = "archive", **more: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", kind) as archive:
        if pickled is not None:
            archive.writestr(f"{folder}/data.pkl", pickled)
        archive.writestr(f"{folder}/version", b"3\n")
        for name, data in more.items():
            archive.writestr(name.replace("__", "/"), data)
    return held.getvalue()


def row(pickled: bytes) -> bytes:
    """Return an old file of torch: a row of pickles."""
    parts = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    return b"".join(pickle.dumps(part, 2) for part in parts) + pickled + pickle.dumps(["0"], 2) + bytes(24)


def files(mark: str) -> Iterator[tuple[str, str, bytes]]:
    """Yield (title, name, bytes)."""
    for title, data in tensors.files().items():
        yield f"safetensors, {title}", "net.safetensors", data
    for title, data in _pickles(mark).items():
        yield f"zip, {title}", "net.pth", zipped(data)
        yield f"row, {title}", "net.pt", row(data)
        yield f"pickle, {title}", "net.ckpt", data
    for title, data in _others().items():
        yield title, "net.pth", data
    for title, data in npz.plain().items():
        yield f"{title} as a checkpoint", "net.pth", data


def _others() -> dict[str, bytes]:
    plain = rebuilt(4, 0, (2, 2))
    whole = zipped(plain, archive__data__0=bytes(16))
    return {
        "a zip without data.pkl": zipped(None),
        "a zip of nothing": b"PK\x05\x06" + bytes(18),
        "an encrypted zip": npz.patched(whole, 6, b"\x01\x00"),
        "a strongly encrypted zip": npz.patched(whole, 6, b"\x41\x00"),
        "a zip of an unknown compression": npz.patched(whole, 8, b"\x63\x00"),
        "a zip said to be packed": npz.patched(whole, 8, b"\x08\x00"),
        "a zip said to be bzip2": npz.patched(whole, 8, b"\x0c\x00"),
        "a zip said to be lzma": npz.patched(whole, 8, b"\x0e\x00"),
        "a zip of another checksum": npz.patched(whole, 14, b"\1\2\3\4"),
        "a zip of a large size": npz.patched(whole, 18, b"\xff\xff\xff\x7f\xff\xff\xff\x7f"),
        "a zip of a long name": npz.patched(whole, 26, b"\xff\x00"),
        "a zip of names that are not UTF-8": npz.patched(whole.replace(b"archive", b"\xff\xfechive"), 6, b"\x00\x08"),
        "a packed zip": zipped(plain, kind=zipfile.ZIP_DEFLATED),
        "a bomb": zipped(b"\x80\x02" + b"]0" * 50_000_000 + b"N.", kind=zipfile.ZIP_DEFLATED),
        "TorchScript": zipped(plain, archive__constants__pkl=b"").replace(b"constants/pkl", b"constants.pkl"),
        "data.pkl twice": zipped(plain, other__data__pkl=plain).replace(b"data/pkl", b"data.pkl"),
        "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "HTML": b"<!DOCTYPE html><html>" + b"<b>" * 10_000,
        "text": b"hello\n" * 1000,
        "JSON": b'{"a": 1}',
        "zeros": bytes(100_000),
        "ones": b"\xff" * 100_000,
        "a PNG": binary.picture(0),
    }


def _named(name: str, data: bytes, how: str) -> Callable[[Path], Sequence[str]]:
    def write(folder: Path) -> Sequence[str]:
        (folder / name).write_bytes(data)
        return _read(folder, name, how)

    return write


def _read(folder: Path, name: str, how: str) -> Sequence[str]:
    if how == "inspect":
        return "inspect", name
    about = {"checkpoint": name} if how == "check" else {"checkpoint": name, "arch": "cifar_resnet8"}
    return how, binary.recipe(folder, {}, model=about), "--store", "store"


def _strange(name: str, make: Callable[[Path], None], how: str) -> Callable[[Path], Sequence[str]]:
    def write(folder: Path) -> Sequence[str]:
        make(folder / name)
        return _read(folder, name, how)

    return write


HUB: Mapping[str, str | bytes] = {
    "nothing": "",
    "a list": "[]",
    "levels": "[" * 100_000,
    "NaN": '{"architecture": NaN}',
    "5000 digits": f'{{"architecture": "resnet18", "pretrained_cfg": {{"input_size": [3, {"9" * 5000}, 8]}}}}',
    "sizes of letters": '{"architecture": "x", "pretrained_cfg": {"input_size": ["a", "b", "b"], "mean": 1, "std": 2}}',
    "a crop of zero": '{"architecture": "x", "pretrained_cfg": {"crop_pct": 1e-320, "mean": [1], "std": [1]}}',
    "a negative crop": '{"architecture": "x", "pretrained_cfg": {"crop_pct": -1, "mean": [1], "std": [1]}}',
    "a crop of letters": '{"architecture": "x", "pretrained_cfg": {"crop_pct": "a", "mean": [1], "std": [1]}}',
    "an interpolation of lists": '{"architecture": "x", "pretrained_cfg": {"interpolation": [], "crop_mode": [1]}}',
    "arguments of lists": '{"architecture": "x", "pretrained_cfg": {}, "model_args": [1, 2]}',
    "long arguments": json.dumps({"architecture": "x", "pretrained_cfg": {}, "model_args": {_LONG: _LONG}}),
    "a long interpolation": json.dumps({"architecture": "x", "pretrained_cfg": {"interpolation": _LONG}}),
    "means of strings": '{"architecture": "resnet18", "pretrained_cfg": {"mean": "abc", "std": {"a": 1}}}',
    "names of lists": '{"id2label": {"0": [], "1": {}}}',
    "ids of 5000 digits": f'{{"id2label": {{"{"9" * 5000}": "a"}}}}',
    "long names": json.dumps({"model_type": "resnet", "id2label": dict.fromkeys("0123456789", _LONG)}),
    "a long activation": json.dumps({"model_type": "resnet", "hidden_act": _LONG}),
    "names that no terminal shows": json.dumps({"id2label": dict.fromkeys("0123456789", "\ud800\x1b[2J\n\x00")}),
    "a list of names of lists": '{"label_names": [[], {}, null]}',
    "a type of lists": '{"model_type": ["resnet"], "layer_type": {}, "hidden_act": []}',
    "not UTF-8": b"\xff\xfe",
}  # fmt: skip


def _hub(config: str | bytes) -> Callable[[Path], Sequence[str]]:
    """Put a config.json of a hub next to weights."""

    def write(folder: Path) -> Sequence[str]:
        (folder / "model.safetensors").write_bytes(tensors.network())
        (folder / "config.json").write_bytes(config if isinstance(config, bytes) else config.encode())
        return "inspect", "model.safetensors"

    return write


def _hub_of(make: Callable[[Path], None]) -> Callable[[Path], Sequence[str]]:
    def write(folder: Path) -> Sequence[str]:
        (folder / "model.safetensors").write_bytes(tensors.network())
        make(folder / "config.json")
        return "inspect", "model.safetensors"

    return write


def _torchs(world: World) -> dict[str, bytes]:
    """Return the world's weights in each format."""
    import torch
    from safetensors.torch import load

    weights = (world.artifact("train") / "weights.safetensors").read_bytes()
    held = {"state_dict": load(weights), "arch": "cifar_resnet8", "epoch": 3}
    found = {"net.safetensors": weights}
    for name, as_zip in (("net.pth", True), ("net.pt", False)):
        file = io.BytesIO()
        torch.save(held, file, _use_new_zipfile_serialization=as_zip)
        found[name] = file.getvalue()
    return found


def _cases(world: World, chance: random.Random) -> Iterator[Case]:
    mark = world.folder / "code-ran"
    mark.unlink(missing_ok=True)

    def ran(_: Outcome) -> str:
        left = mark.exists()
        mark.unlink(missing_ok=True)
        return "code ran" if left else ""

    hows = itertools.cycle(binary.READERS)
    for title, name, data in files(str(mark)):
        yield Case(title, _named(name, data, next(hows)), ran)
    for title, make in STRANGE.items():
        for ending in _ENDINGS[:5:2]:
            yield Case(f"{title} as {ending}", _strange(f"net{ending}", make, next(hows)), ran)
        yield Case(f"{title} as a hub's config.json", _hub_of(make), ran)
    for title, config in HUB.items():
        yield Case(f"a hub's config.json: {title}", _hub(config), ran)
    for name, write in binary.endless(_torchs(world), chance, lambda name, data: _named(name, data, next(hows))):
        yield Case(name, write, ran)


ROWS = (Row("checkpoints", _cases, ("edgeresnet.cli.inspect", "edgeresnet.cli.check", "edgeresnet.inspect")),)
