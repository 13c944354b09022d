"""TensorRT-RTX, for RTX cards. Its builder needs no GPU: an engine is finished on the card that loads it.

Another product than TensorRT: neither loads the other's engines. Its parser stems from the same source, so what it says
to a file is a hint of what TensorRT will say, and is never told as TensorRT's own word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..portable.session import Dialect
from . import _cuda, _nvengine, _nvinfer
from ._nvinfer import Complaint, Plan, Reading

__all__ = ["TARGET", "Complaint", "Options", "Reading", "build", "read"]

MODULE = "tensorrt_rtx"


@dataclass(frozen=True)
class Options:
    # Of what is not INT8: f16, f32. Its builder turns float16 scales back to float32, with a warning for each.
    float_parts: str = "f32"
    batch: int | tuple[int, ...] | None = None  # one, or least, best and most; None: as the file is fixed, else 1
    capabilities: tuple[str, ...] = ()  # of the GPUs that shall run it, "8.6"; none: all that it is portable over
    workspace_mb: int | None = None  # that the builder may take

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        for one in self.capabilities:
            if not re.fullmatch(r"\d+\.\d", one):
                raise ValueError(f"capabilities are written as NVIDIA does, '8.6', not {one!r}")
        object.__setattr__(self, "capabilities", tuple(self.capabilities))
        batches = _nvengine.check_options(self.float_parts, self.batch, self.workspace_mb)
        object.__setattr__(self, "batch", batches)


def read(onnx: Path) -> Reading:
    """What its parser says to a file. Needs the library and no GPU."""
    return _nvinfer.read(MODULE, onnx)


def build(
    onnx: Path, engine: Path, *, capabilities: Sequence[str] = (), batches: tuple[int, int, int] = (1, 1, 1)
) -> Reading:
    """Writes an engine for GPUs of these compute capabilities, and gives what was said on the way. Needs no GPU."""
    return _nvinfer.build(MODULE, onnx, engine, Plan(capabilities=tuple(capabilities), batches=batches))


class TensorRtRtx(_nvengine.NvTarget):
    name = "tensorrt_rtx"
    title = "TensorRT-RTX"
    libraries = ("tensorrt-rtx",)
    install = "pip install tensorrt-rtx"
    module = MODULE
    needs_gpu = False
    # As TensorRT's, whose parser and whose rules for Q/DQ it has. That INT8 convolutions are fast in it is not proven.
    dialect = Dialect(activations="s8-symmetric", residual="shortcut", channel_multiple=32, smallest_gemm=16)
    options = Options

    def _plan(self, options: Options) -> Plan:
        return Plan(capabilities=options.capabilities, workspace_mb=options.workspace_mb)

    def _may_run(self, sidecar: dict[str, Any], here: _cuda.Device) -> bool:
        """Where no GPU was named, the library itself knows which: it says so when it loads."""
        asked = sidecar["plan"]["capabilities"]
        return not asked or here.capability in asked

    def _without_gpu(self) -> str:
        return "it builds here and runs on an RTX card: hand a bundle over, `where: bundle`"


TARGET = TensorRtRtx()
