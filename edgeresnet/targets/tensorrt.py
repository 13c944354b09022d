"""TensorRT on NVIDIA GPUs and Jetson: so far what INT8 must look like for it. It neither compiles nor loads yet.

Its INT8 sits in the file as Q/DQ: calibrators are gone since 11.0, and 10 takes the same files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..device.session import Availability, Dialect, Session
from . import _nvinfer


@dataclass(frozen=True)
class Options:
    """Nothing to choose before it compiles."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012


class TensorRt:
    name = "tensorrt"
    title = "TensorRT"
    libraries = ("tensorrt",)
    # 32: the width of its vectorised INT8 layout. 16: the tile of a tensor core; ModelOpt, NVIDIA's own quantizer,
    # leaves narrower Gemms float.
    dialect = Dialect(activations="s8-symmetric", residual="shortcut", channel_multiple=32, smallest_gemm=16)
    options = Options
    unfinished = _nvinfer.UNFINISHED

    def available(self) -> Availability:
        return _nvinfer.availability("tensorrt", self.libraries)

    def speaks(self, options: Options) -> Dialect:
        return self.dialect

    def half(self, options: Options) -> None:
        """Its twin is another file: under strong typing FP16 must be in the graph, and that is written later."""
        return

    def compile(self, onnx: Path, options: Options, out: Path) -> dict[str, Any]:
        raise _nvinfer.not_yet()

    def load(self, compiled: Path) -> Session:
        raise _nvinfer.not_yet()


TARGET = TensorRt()
