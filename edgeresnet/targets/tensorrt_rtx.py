"""TensorRT-RTX, for RTX cards. Its builder needs no GPU: an engine is finished on the card that loads it.

It is not TensorRT: neither loads the other's engines. Its parser has the same source, so what it reports on a file is a
hint of what TensorRT will report, and is never shown as TensorRT's own message.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..portable.frozen import described
from . import _cuda, _nvengine, _nvinfer
from ._nvinfer import Complaint, Plan, Reading

__all__ = ["TARGET", "Complaint", "Options", "Reading", "build", "read"]

MODULE = "tensorrt_rtx"


@dataclass(frozen=True)
class Options:
    """What a recipe may set for TensorRT-RTX."""

    # f32: its builder turns float16 scales back to float32, with a warning for each.
    float_parts: str = field(
        default="f32", metadata=described("Number type of the layers that are not INT8.", "f16", "f32")
    )
    batch: int | tuple[int, ...] | None = field(
        default=None,
        metadata=described(
            "Batch size of the engine, or its smallest, best and largest. Unset: that of the ONNX file, else 1."
        ),
    )
    capabilities: tuple[str, ...] = field(
        default=(),
        metadata=described(
            "Compute capabilities of the GPUs that will run it, as in '8.6'. None: all that it supports."
        ),
    )
    workspace_mb: int | None = field(
        default=None, metadata=described("Largest memory of the builder, in megabytes. Unset: all of it.")
    )

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        for one in self.capabilities:
            if not re.fullmatch(r"\d+\.\d", one):
                raise ValueError(f"a capability must look like '8.6', not {one!r}")
        object.__setattr__(self, "capabilities", tuple(self.capabilities))
        batches = _nvengine.check_options(self.float_parts, self.batch, self.workspace_mb)
        object.__setattr__(self, "batch", batches)


def read(onnx: Path) -> Reading:
    """Return its parser's result for a file. Needs the library and no GPU."""
    return _nvinfer.read(MODULE, onnx)


def build(
    onnx: Path, engine: Path, *, capabilities: Sequence[str] = (), batches: tuple[int, int, int] = (1, 1, 1)
) -> Reading:
    """Build an engine for GPUs of these compute capabilities; return the complaints. Needs no GPU."""
    return _nvinfer.build(MODULE, onnx, engine, Plan(capabilities=tuple(capabilities), batches=batches))


class TensorRtRtx(_nvengine.NvTarget):
    """The target."""

    name = "tensorrt_rtx"
    title = "TensorRT-RTX"
    libraries = ("tensorrt-rtx",)
    oldest = "1.7.1"
    install = "pip install tensorrt-rtx"
    module = MODULE
    needs_gpu = False
    # As TensorRT's: same parser, same rules for Q/DQ. Nothing shows yet that its INT8 convolutions are fast.
    dialect = _nvinfer.DIALECT
    options = Options

    def _plan(self, options: Options) -> Plan:
        return Plan(capabilities=options.capabilities, workspace_mb=options.workspace_mb)

    def _may_run(self, sidecar: _nvengine.EngineSidecar, here: _cuda.Device) -> bool:
        """Return whether this GPU is one it was built for; where none was named, the library checks when it loads."""
        wanted = sidecar.plan.capabilities
        return not wanted or here.capability in wanted

    def _without_gpu(self) -> str:
        return "to run on an RTX card in another machine, make a bundle: `where: bundle`"


TARGET = TensorRtRtx()
