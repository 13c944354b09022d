"""What `train` did: a document for `--json`, and the same in 80 columns."""

from __future__ import annotations

from dataclasses import field

from ..notes import TrainNotes
from ..portable.frozen import OMIT, dataclass
from ..portable.result import AnyAccuracy, RunWarning
from ..runs import Part, model_of
from ..text import wrapped
from . import shared, summary, tables


@dataclass(frozen=True, kw_only=True)
class Trained(TrainNotes):
    """A training with where its weights are. `file` is where the user wants them, once they are written."""

    name: str
    origin: str | None = field(metadata={"key": "from"})  # the checkpoint that it began with
    warnings: tuple[RunWarning, ...]
    seconds: float
    digest: str
    artifact: str
    evaluation: AnyAccuracy | None
    file: str = field(default="", metadata=OMIT)


def of(done: Part) -> Trained:
    """Return the document of a training."""
    step = done.steps["train"]
    notes = shared.notes_of(step, TrainNotes)
    evaluated = done.results.get("verify:reference")
    return Trained(
        **vars(notes),
        name=shared.network_name(done, notes.arch),
        origin=model_of(done.recipe).checkpoint,
        warnings=shared.warnings_of(done, "recognise", "train"),
        seconds=step.seconds,
        digest=shared.digest_of(step),
        artifact=shared.artifact_file(step, shared.WEIGHTS),
        evaluation=evaluated.variants["fp32"].accuracy if evaluated else None,
    )


def render(trained: Trained) -> str:
    """Return a training as text: what was trained, its epochs, which one is kept, and its accuracy."""
    origin = f", from {trained.origin}" if trained.origin else ", from random weights"
    processes = f", {trained.processes} processes" if trained.processes > 1 else ""
    epochs = f"{trained.epochs} epoch" + ("" if trained.epochs == 1 else "s")
    where = f"{trained.device} in {trained.precision}{processes}"
    title = f"{trained.name}{origin}: {trained.images} images, {epochs} on {where}"
    parts = [wrapped(title), tables.columns(summary.epoch_columns(trained), summary.epoch_rows(trained))]
    parts.append(wrapped(summary.training_sentence(trained)))
    if trained.evaluation:
        found = trained.evaluation
        low, high = found.score_interval_pct()
        score = f"{found.name.short} {found.score_pct:.2f} % on {found.images} images"
        parts.append(wrapped(f"evaluation: {score}, 95 % interval {low:.2f} to {high:.2f}"))
    parts += [wrapped(f"note: {warning}") for warning in trained.warnings]
    parts.append(f"{trained.file or trained.artifact}, digest {trained.digest[:12]}")
    return "\n\n".join(parts) + "\n"
