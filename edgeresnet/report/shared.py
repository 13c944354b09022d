"""What the reports of one command's part of a recipe share: the network's name, its steps and their artifacts."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import TypeVar

from ..notes import RecogniseNotes
from ..portable.result import RunWarning
from ..runs import Part, StepRecord, model_of
from . import summary

WEIGHTS = "weights.safetensors"

N = TypeVar("N")


def network_name(part: Part, arch: str = "") -> str:
    """Return the architecture's name; `arch` where the recipe has none, else the name of the file.

    Where labelled images showed what its weights are, that stands next to it.
    """
    model, notes = model_of(part.recipe), [step.notes for step in part.steps.values()]
    recognised = "".join(f" ({each.arch})" for each in notes if isinstance(each, RecogniseNotes))
    return model.arch or arch or f"{PurePath(model.checkpoint or '').stem}{recognised}"


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


def warnings_of(part: Part, *stages: str) -> tuple[RunWarning, ...]:
    """Return the warnings of all steps, or of these stages, and one where FP32 is not better than chance."""
    steps = [step for step in part.steps.values() if not stages or step.stage in stages]
    found = [warning for step in steps for warning in step.warnings]
    sentence = summary.chance_sentence(list(part.results.values()))
    return (*found, RunWarning("no-better-than-chance", sentence)) if sentence else tuple(found)
