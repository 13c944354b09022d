"""What torch's exporter made of a network, for all tests: it takes a second, and the same networks come often."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

Export = Callable[[Any, int, int], "onnx.ModelProto"]
_KNOWN = ("torch.nn.", "torchvision.", "timm.", "edgeresnet.")  # whose classes are the same in each process


def remembered(real: Export, folder: Path) -> Export:
    """Return an exporter that exports each network once: the same classes, settings, weights and size are the same.

    A network with code of a test's own is exported each time, and so is any while a test replaces the exporter.
    """

    @functools.wraps(real)
    def to_onnx(network: Any, channels: int, size: int) -> onnx.ModelProto:
        import onnx
        import torch

        key = _key(network, channels, size)
        if key is None or not torch.onnx.export.__module__.startswith("torch."):
            return real(network, channels, size)
        path = folder / f"{key}.onnx"
        if not path.exists():
            part = folder / f"{key}.{os.getpid()}"
            part.write_bytes(real(network, channels, size).SerializeToString())
            part.rename(path)
        return onnx.ModelProto.FromString(path.read_bytes())

    return to_onnx


def _key(network: Any, channels: int, size: int) -> str | None:
    """Return what a network is; None where that cannot be known."""
    found = hashlib.sha256(f"{channels} {size}".encode())
    for name, module in network.named_modules():
        code = [type(module), *module._forward_hooks.values(), *module._forward_pre_hooks.values()]
        names = [f"{each.__module__}.{each.__qualname__}" for each in code]
        own = {key: value for key, value in vars(module).items() if not key.startswith("_")}
        if not all(each.startswith(_KNOWN) for each in names) or not all(map(_is_plain, own.values())):
            return None
        found.update(repr((name, names, module.extra_repr(), sorted(own.items()))).encode())
    for name, tensor in network.state_dict().items():
        found.update(repr((name, tensor.dtype, tuple(tensor.shape))).encode())
        found.update(tensor.detach().cpu().numpy().tobytes())
    return found.hexdigest()[:32]


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))
