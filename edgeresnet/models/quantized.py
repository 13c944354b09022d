"""Whether a checkpoint is of a network that is quantized already. Names and types of tensors show it, and a pickle's
names of types.

edgeresnet starts from floating-point weights: 16 bits are enough, 8 are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..errors import ModelError, shortened
from ..portable.documents import shown
from .pickles import Tensor

# How modules and types of quantizers begin, in a pickle.
_TYPES = (
    *("torch._utils._rebuild_qtensor", "torch.per_tensor_", "torch.per_channel_", "torch.qint", "torch.quint"),
    *("torch.float8", "torch.ao.", "torch.quantization.", "torch.nn.quantized.", "torchao.", "bitsandbytes."),
    *("optimum.quanto.", "quanto."),
)
_PREPARED = ("torch.per_tensor_", "torch.per_channel_", "torch.ao.quantization.", "torch.quantization.")
_NARROW = ("F8_", "F6_", "F4", "I4", "U4", "QInt", "QUInt", "Float8")
_INTEGERS = ("I8", "U8", "I16", "I32", "U16", "U32", "Char", "Byte", "Short", "Int")
_STATISTICS = {"SCB", "absmax", "quant_map", "qweight", "qzeros", "weight_packed", "weight_scale", "weight_zero_point"}
_OBSERVERS = {"fake_quant_enabled", "observer_enabled", "activation_post_process", "weight_fake_quant"}


def of_type(path: Path, name: str) -> ModelError | None:
    """Return an error where a name in a pickle is that of a quantized tensor, or of a quantizer's module."""
    return error(path, name, prepared=name.startswith(_PREPARED)) if name.startswith(_TYPES) else None


def check(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse the tensors of a quantized network in one line."""
    for name, tensor in tensors.items():
        *before, last = name.split(".")
        if not _OBSERVERS.isdisjoint((*before[-2:], last)):
            raise error(path, name, prepared=True)
        integers = tensor.kind in _INTEGERS and len(tensor.shape) > 1 and "weight" in last
        scaled = last == "zero_point" and f"{name.removesuffix('zero_point')}scale" in tensors
        if integers or scaled or last in _STATISTICS or tensor.kind.startswith(_NARROW):
            raise error(path, f"{shortened(name, 60)}, {tensor.kind}")


def error(path: Path, what: str, *, prepared: bool = False) -> ModelError:
    """Return the error for a network that is quantized, or has observers for that; `what` shows it."""
    state = "prepared for quantization" if prepared else "already quantized"
    hint = "give its FP32 checkpoint: edgeresnet quantizes it itself"
    return ModelError(shown(path), f"is of a network that is {state} ({shortened(what, 100)})", hint=hint)
