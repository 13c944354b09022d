"""What the reports of one command's part of a recipe share: the network's name, its steps and their artifacts."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import TypeVar

from ..portable.result import RunWarning
from ..runs import Part, StepRecord, model_of

WEIGHTS = "weights.safetensors"

N = TypeVar("N")


def network_name(part: Part, arch: str = "") -> str:
    """Return the architecture's name; `arch` where the recipe has none, else the name of the file."""
    model = model_of(part.recipe)
    return model.arch or arch or PurePath(model.checkpoint or "").stem


def notes_of(step: StepRecord, kind: type[N]) -> N:
    """Return the notes of a step that was done."""
    assert isinstance(step.notes, kind)
    return step.notes


def artifact_file(step: StepRecord, name: str) -> str:
    """Return the path of a file in what a step made."""
    assert step.path is not None
    return str(Path(step.path) / name)


def digest_of(step: StepRecord) -> str:
    """Return the digest of what a step made."""
    assert step.digest is not None
    return step.digest


def warnings_of(part: Part) -> tuple[RunWarning, ...]:
    """Return the warnings of all steps."""
    return tuple(warning for step in part.steps.values() for warning in step.warnings)
