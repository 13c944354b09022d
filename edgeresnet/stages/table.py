"""The table of stages: what each is called, which function makes it, what it reads, and what enters its key."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from ..portable.frozen import dataclass
from ..store import Parent
from . import candidates, int8, specs

if TYPE_CHECKING:
    from ..context import Context
    from ..notes import Notes


@dataclass(frozen=True)
class Stage:
    """A stage of the pipeline."""

    name: str
    function: str  # module:function below `stages`
    inputs: type[specs.Inputs]
    version: int  # raised by hand when the meaning of what it writes changes
    libraries: tuple[str, ...]  # whose versions enter the key
    # What of this machine enters the key: nothing; what it is; or also the state that it was put in (power mode, …).
    machine: Literal["", "fingerprint", "conditions"] = ""
    long: bool = False  # may take hours: every image is decoded before it begins
    only_builds: bool = False  # a target that can compile here and not run is enough

    @property
    def is_here(self) -> bool:
        """Whether this program does it. A device does what has no function."""
        return bool(self.function)

    def run(self, parents: Mapping[str, Parent], spec: specs.Spec, out: Path, ctx: Context) -> Notes:
        """Call the stage's function. Its module is imported now: planning needs no torch."""
        module, function = self.function.split(":")
        made = getattr(importlib.import_module(f".{module}", __package__), function)
        return cast("Notes", made(self.inputs.from_parents(parents), spec, out, ctx))


STAGES = {
    stage.name: stage
    for stage in (
        Stage(
            "recognise",
            "recognise:recognise",
            candidates.RecogniseInputs,
            1,
            ("torch", "torchvision", "numpy", "pillow"),
        ),
        Stage("train", "train:train", specs.TrainInputs, 3, ("torch", "torchvision", "numpy", "pillow"), long=True),
        Stage("prune", "prune:prune", specs.PruneInputs, 3, ("torch", "torchvision", "torch-pruning", "numpy")),
        Stage(
            "recover", "recover:recover", specs.RecoverInputs, 3, ("torch", "torchvision", "numpy", "pillow"), long=True
        ),
        Stage(
            "trace",
            "trace:trace",
            specs.TraceInputs,
            3,
            ("torch", "torchvision", "onnx", "onnxscript", "numpy", "pillow"),
        ),
        Stage("calibrate", "calibrate:calibrate", int8.CalibrateInputs, 4, ("onnxruntime", "torch", "numpy", "pillow")),
        Stage(
            "quantize",
            "quantize:quantize",
            int8.QuantizeInputs,
            9,
            ("onnxruntime", "torch", "onnx", "numpy", "pillow"),
        ),
        Stage(
            "compile",
            "compile:compile_network",
            specs.CompileInputs,
            1,
            (),
            machine="fingerprint",
            only_builds=True,
        ),
        Stage("verify", "verify:verify", specs.VerifyInputs, 6, ("numpy", "pillow"), machine="conditions"),
        Stage("export", "export.write:export", specs.ExportInputs, 4, ("numpy", "pillow", "onnx")),
    )
}
# A goal in milliseconds: what comes out depends on what traced and timed, and on the machine.
_TIMED = ("onnx", "onnxscript")
PRUNE_TIMED = replace(STAGES["prune"], libraries=(*STAGES["prune"].libraries, *_TIMED), machine="conditions")
# The layers that stay in float: what comes out depends on what timed, and on the machine.
QUANTIZE_TIMED = replace(STAGES["quantize"], libraries=STAGES["quantize"].libraries, machine="conditions")
# What a device measured and a person collected: no run makes it here. Its key is that of its bundle alone.
ON_DEVICE = Stage("verify", "", specs.DeviceInputs, 1, ())
