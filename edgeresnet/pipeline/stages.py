"""The table of stages, a step (one stage with what it reads), its key, and what became of it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from .. import targets
from ..artifact import FORMAT, Artifact, Given, Parent, file_of
from ..context import Context
from ..device import machine, manifest
from ..device.preprocessing import Preprocessing
from ..errors import ModelError, TargetError


@dataclass(frozen=True)
class Stage:
    name: str
    function: str  # module:function, imported when it runs: planning needs no torch
    version: int  # raised by hand when the meaning of what it writes changes
    libraries: tuple[str, ...]  # whose versions enter the key
    # What of this machine enters the key: nothing; what it is; or also the state that it was put in (power mode, …).
    machine: Literal["", "fingerprint", "conditions"] = ""
    long: bool = False  # may take hours: every image is looked at before it begins

    def run(self, *arguments: Any) -> dict[str, Any]:
        module, function = self.function.split(":")
        return getattr(importlib.import_module(module), function)(*arguments)


STAGES = {
    stage.name: stage
    for stage in (
        Stage("train", "edgeresnet.train:train", 3, ("torch", "torchvision", "numpy", "pillow"), long=True),
        Stage("prune", "edgeresnet.prune:prune", 3, ("torch", "torchvision", "torch-pruning", "numpy")),
        Stage("recover", "edgeresnet.train.recover:recover", 3, ("torch", "torchvision", "numpy", "pillow"), long=True),
        Stage("trace", "edgeresnet.trace:trace", 3, ("torch", "torchvision", "onnx", "onnxscript", "numpy", "pillow")),
        Stage("calibrate", "edgeresnet.quantize:calibrate", 3, ("onnxruntime", "torch", "numpy", "pillow")),
        Stage("quantize", "edgeresnet.quantize:quantize", 6, ("onnxruntime", "torch", "onnx", "numpy", "pillow")),
        Stage("compile", "edgeresnet.pipeline.stages:compile_for", 1, (), machine="fingerprint"),
        Stage("verify", "edgeresnet.verify:verify", 6, ("numpy", "pillow"), machine="conditions"),
        Stage("export", "edgeresnet.export:export", 4, ("numpy", "pillow", "onnx")),
    )
}
# A goal in milliseconds: what comes out depends on what traced and timed, and on the machine.
_TIMED = ("onnx", "onnxscript")
PRUNE_TIMED = replace(STAGES["prune"], libraries=(*STAGES["prune"].libraries, *_TIMED), machine="conditions")
# What a device measured and a person brought home: made by no run here, and asked for by what was handed over alone.
ELSEWHERE = Stage("verify", "", 1, ())


def compile_for(parents: Mapping[str, Parent], spec: Mapping[str, Any], out: Path, ctx: Context) -> dict[str, Any]:
    """The stage `compile`: a traced network, or an ONNX file that was given, in; what the target runs out."""
    target = targets.get(spec["target"])
    network, options = parents["network"], target.options(**spec["options"])
    file = file_of(network, "model.onnx")
    inside = spec.get("preprocessing")  # of a network that takes pixels
    halved = target.half_in_file(options)
    if inside or halved:
        from ..graph import deliver  # brings onnx along

        pixels = Preprocessing.from_json(inside) if inside else None
        try:
            file = deliver.delivered(file, ctx.scratch / "model.onnx", halved=halved, pixels=pixels)
        except ModelError as problem:  # as if the compiler had refused it: other targets, and other variants, go on
            raise TargetError(f"gets no {spec['target']} file: {problem.message}", hint=problem.hint) from problem
    # A second build is to show how builds differ: what was timed before would make it the first one's copy.
    notes = target.compile(file, options, out, None if "build" in spec else ctx.cache)
    for sentence in notes.pop("warnings", ()):
        ctx.warn(f"{target.title}: {sentence}")
    return notes


@dataclass(frozen=True)
class Step:
    """One stage with what it reads: other steps by id, or what the user gave."""

    id: str
    stage: Stage
    spec: Mapping[str, Any]
    parents: Mapping[str, str | Given]
    # Whose failure it is: a target's leaves the other targets running, that of None ends the run.
    target: str | None = None
    # Parents without which it goes on: a twin that cannot be made is left out, and told.
    optional: frozenset[str] = frozenset()
    # Sentences about what the user gave, reported when the step is made. They are no part of its key.
    warnings: tuple[str, ...] = ()

    def runs_on(self) -> tuple[str, ...]:
        """The targets that must be here for this step to be made."""
        return (self.spec["target"],) if self.spec.get("target") else tuple(self.spec.get("timed", ()))

    def versions(self) -> dict[str, str]:
        """Of every library that had a part in what this step writes."""
        found = machine.versions(*self.stage.libraries)
        for target in map(targets.get, self.runs_on()):
            # pip knows all but what an archive or JetPack brought: that is asked itself
            found |= machine.versions(*target.libraries) or dict(target.available().versions)
        return found

    def machine(self) -> dict[str, Any] | None:
        return getattr(machine, self.stage.machine)() if self.stage.machine else None

    def key(self, digests: Mapping[str, str]) -> str:
        return manifest.digest_of(
            {
                "format": FORMAT,
                "stage": self.stage.name,
                "version": self.stage.version,
                "spec": self.spec,
                "parents": digests,
                "libraries": self.versions(),
                "machine": self.machine(),
            }
        )


@dataclass
class Outcome:
    """What became of a step: `done` before, `made` now, `failed`, `skipped` for a failed parent, `deferred` to a
    device; `todo` in a plan.
    """

    step: Step
    state: str
    artifact: Artifact | None = None
    reason: str = ""
    hint: str = ""
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
