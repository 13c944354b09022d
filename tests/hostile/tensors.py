"""Files of safetensors, put together by hand: headers that are not as the format has them."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping

from edgeresnet.models import names, plans

_LONG = "n" * 100_000


def _safe(header: object | bytes, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _entry(**changes: object) -> bytes:
    """Return a file of one tensor that is not as it should be."""
    tensor: dict[str, object] = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16], **changes}
    return _safe({"conv1.weight": {key: value for key, value in tensor.items() if value != "-"}}, bytes(16))


def _nested(levels: int, key: str = "shape") -> bytes:
    return _safe(
        b'{"a":{"dtype":"F32","data_offsets":[0,16],"%s":' % key.encode() + b"[" * levels + b"]" * levels + b"}}"
    )


def files() -> dict[str, bytes]:
    big = 9 * 10**18
    digits = b"9" * 5000
    shapes: tuple[object, ...] = (
        "22", "2", 2, None, {}, [[2], 2], ["2", 2], [2.5, 2], [True, 2], [-2, 2], [0, 2], [2**63, 2], [10**30, 10**30],
        [None], [float("nan")], [1e308], [1] * 100_000, [], [[]], [_LONG], [big, big],
    )  # fmt: skip
    kinds: tuple[object, ...] = ([], ["F32"], {}, None, 5, "", "F33", _LONG, True, "\ud800", "f32", [_LONG])
    offsets: tuple[object, ...] = (
        [], [0], [0, 16, 32], "016", None, {}, [16, 0], [-16, 0], [0, -1], [0, 2**64], [0, 10**40], [0.0, 16.0],
        ["0", "16"], [None, None], [[0], [16]], [0, 8], [0, float("nan")], [True, 16], 16, [2, 18],
    )  # fmt: skip
    abouts: tuple[object, ...] = (
        None, [], "x", 5, {"a": 5}, {"a": None}, {"a": {}}, {"arch": 5}, {"arch": _LONG}, {"arch": "<b>"},
        {"preprocessing": "x"}, {"preprocessing": "[]"}, {"preprocessing": "5"}, {"preprocessing": "null"},
        {"preprocessing": "[" * 100_000}, {"preprocessing": '{"size":' + "9" * 5000 + "}", "arch": "resnet18"},
        {"preprocessing": '{"size": 1e308, "mean": [], "std": []}', "arch": "resnet18"},
        {"preprocessing": '{"size": -1, "mean": "x", "std": {}}', "arch": "resnet18"}, {"preprocessing": "{}"},
        {"arch": "cifar_resnet" + "9" * 5000}, {"arch": "cifar_resnet600000002"}, {"arch": "\ud800"},
        {"arch": "cifar_resnet20_w" + "9" * 5000}, {"arch": "cifar_resnet8_w" + "9" * 30},
    )  # fmt: skip
    found = {f"shape {str(shape)[:30]}": _entry(shape=shape) for shape in shapes}
    found |= {f"dtype {ascii(kind)[:30]}": _entry(dtype=kind) for kind in kinds}
    found |= {f"offsets {str(pair)[:30]}": _entry(data_offsets=pair) for pair in offsets}
    found |= {f"without {key}": _entry(**{key: "-"}) for key in ("dtype", "shape", "data_offsets")}
    found |= {f"metadata {ascii(about)[:60]}": whole(_shapes(), about) for about in abouts}
    return found | {
        "header of NaN": _safe(b'{"a": NaN}'),
        "header of 5000 digits": _safe(b'{"a":{"dtype":"F32","shape":[%s],"data_offsets":[0,4]}}' % digits),
        "header offsets of 5000 digits": _safe(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,%s]}}' % digits),
        "100000 levels": _nested(100_000),
        "500 levels": _nested(500),
        "100 levels": _nested(100),
        "open levels": _safe(b"[" * 100_000),
        "objects in objects": _safe(b'{"a":' * 50_000),
        "a list": _safe([]),
        "a list of tensors": _safe([["a", 1]]),
        "null": _safe(None),
        "a string": _safe("x"),
        "a number": _safe(5),
        "no tensors": _safe({}),
        "tensors that are lists": _safe({"a": []}),
        "tensors that are null": _safe({"a": None}),
        "the same twice": _safe(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":1}', bytes(4)),
        "a long name": _safe({_LONG: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
        "an empty name": _safe({"": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
        "many names": _safe({str(at): {"dtype": "F32", "shape": [], "data_offsets": [0, 0]} for at in range(50_000)}),
        "a length of 2^64-1": _safe({}, length=2**64 - 1),
        "a length of 2^63": _safe({}, length=2**63),
        "a length of 100 MB": _safe({}, length=10**8),
        "a length of 0": _safe({}, length=0),
        "a short length": _safe({"a": _tensor((1,))}, length=20),
        "seven bytes": b"1234567",
        "not UTF-8": _safe(b'{"\xff\xfe": 1}'),
        "UTF-16": _safe('{"a": 1}'.encode("utf-16")),
        "overlapping": _safe({"a": _tensor((1,)), "b": _tensor((1,))}, bytes(16)),
        "a layer of 5000 digits": network(16, **{f"layer{'9' * 5000}.0.conv1.weight": (1, 1, 1, 1)}),
        "a block of 5000 digits": network(16, **{f"layer1.{'9' * 5000}.conv1.weight": (1, 1, 1, 1)}),
        "a ResNet of a huge width": network(2**62),
        "a ResNet of no width": network(0),
        "tensors of other ranks": whole({name: (1,) for name in _shapes()}),
        "tensors of no rank": whole({name: () if "conv1" not in name else shape for name, shape in _shapes().items()}),
        "a prefix without end": _safe({"module." * 10_000 + "conv1.weight": _tensor((1,))}, bytes(4)),
        "names of dots": whole({"." * 50_000: (1,), ".layer1.0.conv1.weight": (1, 1, 1, 1)}),
    }  # fmt: skip


def _tensor(shape: tuple[int, ...]) -> dict[str, object]:
    return {"dtype": "F32", "shape": list(shape), "data_offsets": [0, 4]}


def network(width: int = 16, **more: tuple[int, ...]) -> bytes:
    """Return a small ResNet without weights of its own: zeros, where they are not too many."""
    return whole({name: shape for name, shape in _shapes(width).items()} | more)


def _shapes(width: int = 16) -> dict[str, tuple[int, ...]]:
    wanted = plans.tensors(names.plan("cifar_resnet8"), 10, 1)
    return {name: tuple(width if side == 16 else side for side in shape) for name, shape in wanted.items()}


def whole(shapes: Mapping[str, tuple[int, ...]], about: object = None) -> bytes:
    """Return a file of tensors of these shapes, one behind the other as the format demands."""
    held: dict[str, object] = {} if about is None else {"__metadata__": about}
    at = 0
    for name, shape in shapes.items():
        held[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + 4 * math.prod(shape)]}
        at += 4 * math.prod(shape)
    return _safe(held, bytes(min(at, 10**6)))
