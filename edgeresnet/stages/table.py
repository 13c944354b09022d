"""The table of stages: what each is called, which function makes it, and what enters its key."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Stage:
    name: str
    function: str  # module:function below `stages`
    version: int  # raised by hand when the meaning of what it writes changes
    libraries: tuple[str, ...]  # whose versions enter the key
    # What of this machine enters the key: nothing; what it is; or also the state that it was put in (power mode, …).
    machine: Literal["", "fingerprint", "conditions"] = ""
    long: bool = False  # may take hours: every image is looked at before it begins

    def run(self, *arguments: Any) -> dict[str, Any]:
        """Call the stage's function. Its module is imported now: planning needs no torch."""
        module, function = self.function.split(":")
        return getattr(importlib.import_module(f".{module}", __package__), function)(*arguments)


STAGES = {
    stage.name: stage
    for stage in (
        Stage("train", "train:train", 3, ("torch", "torchvision", "numpy", "pillow"), long=True),
        Stage("prune", "prune:prune", 3, ("torch", "torchvision", "torch-pruning", "numpy")),
        Stage("recover", "recover:recover", 3, ("torch", "torchvision", "numpy", "pillow"), long=True),
        Stage(
            "trace",
            "trace:trace",
            3,
            ("torch", "torchvision", "onnx", "onnxscript", "numpy", "pillow"),
        ),
        Stage("calibrate", "calibrate:calibrate", 3, ("onnxruntime", "torch", "numpy", "pillow")),
        Stage("quantize", "quantize:quantize", 6, ("onnxruntime", "torch", "onnx", "numpy", "pillow")),
        Stage("compile", "compile:compile_network", 1, (), machine="fingerprint"),
        Stage("verify", "verify:verify", 6, ("numpy", "pillow"), machine="conditions"),
        Stage("export", "export.write:export", 4, ("numpy", "pillow", "onnx")),
    )
}
# A goal in milliseconds: what comes out depends on what traced and timed, and on the machine.
_TIMED = ("onnx", "onnxscript")
PRUNE_TIMED = replace(STAGES["prune"], libraries=(*STAGES["prune"].libraries, *_TIMED), machine="conditions")
# What a device measured and a person brought home: made by no run here, and asked for by what was handed over alone.
ELSEWHERE = Stage("verify", "", 1, ())
