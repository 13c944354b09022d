"""TensorRT 10 and 11 on NVIDIA GPUs and Jetson. Its builder needs the GPU that will run the engine.

INT8 is in the file as Q/DQ: 11.0 has no calibrators any more, and 10 takes the same files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..portable.frozen import described
from . import _cuda, _nvengine
from ._nvinfer import DIALECT, NONE, Plan

_HARDWARE = {"same": NONE, "same-capability": "SAME_COMPUTE_CAPABILITY", "ampere-plus": "AMPERE_PLUS"}
_INSTALL = (
    "pip install tensorrt-cu12 (-cu13 for a driver of CUDA 13); its libraries come from NVIDIA's package index. "
    "On a Jetson it is part of JetPack: use the system's python3"
)


@dataclass(frozen=True)
class Options:
    """What a recipe may set for TensorRT."""

    float_parts: str = field(
        default="f16", metadata=described("Number type of the layers that are not INT8.", "f16", "f32")
    )
    batch: int | tuple[int, ...] | None = field(
        default=None,
        metadata=described(
            "Batch size of the engine, or its smallest, best and largest. Unset: that of the ONNX file, else 1."
        ),
    )
    sparse: bool = field(default=False, metadata=described("Use 2:4 sparse weights if the network has them."))
    hardware: str = field(
        default="same",
        metadata=described("GPUs that may run the engine. same-capability needs TensorRT 11.", *_HARDWARE),
    )
    version_compatible: bool = field(
        default=False, metadata=described("Let later releases of the same major version run the engine.")
    )
    workspace_mb: int | None = field(
        default=None, metadata=described("Largest memory of the builder on the GPU, in megabytes. Unset: all of it.")
    )

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        if self.hardware not in _HARDWARE:
            raise ValueError(f"hardware must be one of {', '.join(_HARDWARE)}, not {self.hardware!r}")
        batches = _nvengine.check_options(self.float_parts, self.batch, self.workspace_mb)
        object.__setattr__(self, "batch", batches)


class TensorRt(_nvengine.NvTarget):
    """The target."""

    name = "tensorrt"
    title = "TensorRT"
    libraries = ("tensorrt", "tensorrt-cu12", "tensorrt-cu13")
    oldest = "10.3"
    install = _INSTALL
    module = "tensorrt"
    # 32: the width of its vectorised INT8 layout. 16: the tile of a tensor core; ModelOpt, NVIDIA's own quantizer,
    # leaves narrower Gemms float.
    dialect = DIALECT
    options = Options

    def _plan(self, options: Options) -> Plan:
        flags = {"SPARSE_WEIGHTS": options.sparse, "VERSION_COMPATIBLE": options.version_compatible}
        return Plan(
            flags=tuple(name for name, wanted in flags.items() if wanted),
            hardware=_HARDWARE[options.hardware],
            workspace_mb=options.workspace_mb,
        )

    def _may_load(self, built: Mapping[str, str], here: Mapping[str, str], plan: Plan) -> bool:
        if "VERSION_COMPATIBLE" not in plan.flags:
            return built == here
        before, now = (_numbers(each[self.libraries[0]]) for each in (built, here))
        return before[:1] == now[:1] and before <= now

    def _may_run(self, sidecar: _nvengine.EngineSidecar, here: _cuda.Device) -> bool:
        built, level = sidecar.gpu, sidecar.plan.hardware
        if level == _HARDWARE["ampere-plus"]:
            return _numbers(here.capability) >= (8, 0)
        if level == _HARDWARE["same-capability"]:
            return built is not None and built.capability == here.capability
        same = (here.name, here.capability, here.processors)
        return built is not None and (built.name, built.capability, built.processors) == same


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


TARGET = TensorRt()
