"""The grid of one QuantizeLinear, as a file has it: its integers, scales and zero points. Rounds in torch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from torch import Tensor

from ..errors import ModelError

_RANGES: dict[int, tuple[int, int]] = {
    onnx.TensorProto.INT8: (-128, 127),
    onnx.TensorProto.UINT8: (0, 255),
    onnx.TensorProto.INT4: (-8, 7),
    onnx.TensorProto.UINT4: (0, 15),
    onnx.TensorProto.INT16: (-32768, 32767),
    onnx.TensorProto.UINT16: (0, 65535),
    onnx.TensorProto.INT32: (-(2**31), 2**31 - 1),
}


class Grid(NamedTuple):
    """What a tensor's values become: `scale` times the integers from `low` to `high`, less the zero point."""

    scale: np.ndarray  # one, or one per channel
    zero: np.ndarray
    low: int
    high: int
    axis: int  # of the channels

    @property
    def floors(self) -> np.ndarray:
        """Return the smallest value of each channel's grid."""
        return np.asarray((self.low - self.zero.astype(np.float64)) * self.scale)

    @property
    def ceilings(self) -> np.ndarray:
        """Return the largest value of each channel's grid."""
        return np.asarray((self.high - self.zero.astype(np.float64)) * self.scale)

    @property
    def floor(self) -> float:
        """Return the smallest value of the grid; of several, the largest of them."""
        return float(self.floors.max())

    @property
    def ceiling(self) -> float:
        """Return the largest value of the grid; of several, the smallest of them."""
        return float(self.ceilings.min())

    @property
    def per_channel(self) -> bool:
        return self.scale.size > 1

    def shaped(self, rank: int) -> tuple[np.ndarray, np.ndarray]:
        """Return scale and zero point so that they fit values of this rank."""
        shape = [1] * rank
        if self.per_channel:
            shape[self.axis % rank] = -1
        return self.scale.reshape(shape), self.zero.reshape(shape)

    def fake(self, values: Tensor) -> Tensor:
        """Quantize and dequantize. Gradients ignore rounding, and are zero where values are clipped."""
        scale, zero = (torch.from_numpy(each.astype(np.float32)) for each in self.shaped(values.dim()))
        found: Tensor = _Fake.apply(values, scale, zero, self.low, self.high)
        return found


def of(scale: np.ndarray, zero: np.ndarray | None, kind: int, axis: int, node: str) -> Grid:
    """Return a grid from what a node of an ONNX file reads."""
    if kind not in _RANGES:
        name = onnx.TensorProto.DataType.Name(kind)
        raise ModelError(node, f"quantizes to {name}", hint="INT4, INT8, INT16 and INT32 can be diagnosed")
    if scale.ndim > 1:
        raise ModelError(node, "has a scale per block", hint="scales per tensor and per channel can be diagnosed")
    scale = np.atleast_1d(scale.astype(np.float32))
    zero = np.zeros_like(scale) if zero is None else np.atleast_1d(zero).astype(np.float32)
    if zero.size not in (1, scale.size):
        raise ModelError(
            node, f"has {zero.size} zero points and {scale.size} scales", hint="export the file again: it is damaged"
        )
    return Grid(scale, np.broadcast_to(zero, scale.shape), *_RANGES[kind], axis)


class _Fake(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: Tensor, zero: Tensor, low: int, high: int) -> Tensor:
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(values)  # the graph has them already: what is clipped follows from them
            ctx.ends = (low - zero - 0.5) * scale, (high - zero + 0.5) * scale
        return values.div(scale).round_().add_(zero).clamp_(low, high).sub_(zero).mul_(scale)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None, None, None]:
        (values,), (floor, ceiling) = ctx.saved_tensors, ctx.ends
        if floor.numel() == 1:  # several times as fast as a mask
            found = torch.ops.aten.hardtanh_backward(slope, values, float(floor), float(ceiling))
        else:
            found = slope * ((values > floor) & (values < ceiling))
        return found, None, None, None, None
