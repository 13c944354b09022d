"""TensorRT-RTX, for RTX cards. It reads ONNX files and builds engines where there is no GPU; recipes cannot use it yet.

Another product than TensorRT: neither loads the other's engines. Its parser stems from the same source, so what it says
to a file is a hint of what TensorRT will say, and is never told as TensorRT's own word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..device.session import Availability, Dialect, Session
from . import _nvinfer
from ._nvinfer import Complaint, Reading

__all__ = ["TARGET", "Complaint", "Options", "Reading", "build", "read"]

MODULE = "tensorrt_rtx"


@dataclass(frozen=True)
class Options:
    """Nothing to choose before it compiles."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012


def read(onnx: Path) -> Reading:
    """What its parser says to a file. Needs the library and no GPU."""
    return _nvinfer.read(MODULE, onnx)


def build(
    onnx: Path, engine: Path, *, capabilities: Sequence[str] = (), batches: tuple[int, int, int] = (1, 1, 1)
) -> Reading:
    """Writes an engine for GPUs of these compute capabilities ("8.6"), by default all that are portable; needs no GPU.

    Gives what was said on the way. `batches` are the least, best and most images at once.
    """
    return _nvinfer.build(MODULE, onnx, engine, batches, capabilities)


class TensorRtRtx:
    name = "tensorrt_rtx"
    title = "TensorRT-RTX"
    libraries = ("tensorrt-rtx",)
    # As TensorRT's, whose parser and whose rules for Q/DQ it has. That INT8 convolutions are fast in it is not proven.
    dialect = Dialect(activations="s8-symmetric", residual="shortcut", channel_multiple=32, smallest_gemm=16)
    options = Options
    unfinished = _nvinfer.UNFINISHED

    def available(self) -> Availability:
        return _nvinfer.availability(MODULE, self.libraries)

    def speaks(self, options: Options) -> Dialect:
        return self.dialect

    def half(self, options: Options) -> None:
        """Its twin is another file: under strong typing FP16 must be in the graph, and that is written later."""
        return

    def compile(self, onnx: Path, options: Options, out: Path) -> dict[str, Any]:
        raise _nvinfer.not_yet()

    def load(self, compiled: Path) -> Session:
        raise _nvinfer.not_yet()


TARGET = TensorRtRtx()
