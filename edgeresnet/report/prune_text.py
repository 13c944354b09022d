"""What `prune` did: a document for `--json`, and the same in 80 columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from ..notes import PruneNotes, RecoverNotes
from ..portable import timing_warnings
from ..portable.frozen import OMIT, dataclass
from ..portable.result import AnyAccuracy, Measured, RunWarning
from ..portable.times import Ratio
from ..runs import Part
from ..text import wrapped
from . import shared, summary, tables
from .summary import Remaining

_REFERENCE = "verify:reference"


@dataclass(frozen=True)
class VariantTimes:
    """What is left of the network in one variant, as parts of one, next to its milliseconds."""

    target: str
    variant: str = field(metadata={"key": "as"})
    macs: float
    params: float
    p50_ms: float | None
    times: float  # as fast as FP32
    low: float
    high: float | None  # None: one process, no interval

    @property
    def remaining(self) -> Remaining:
        ratio = Ratio.from_json(self.times, self.low, self.high)
        return Remaining(self.target, self.variant, self.macs, self.params, self.p50_ms, ratio)


@dataclass(frozen=True, kw_only=True)
class Pruned(PruneNotes):
    """A pruning with what came back and how fast it is. `file` is where the user wants the weights, once written."""

    name: str
    recovered: RecoverNotes | None
    warnings: tuple[RunWarning, ...]
    digest: str
    artifact: str
    evaluation: Mapping[str, AnyAccuracy] | None  # of the network before (`fp32`), and pruned
    untimed: tuple[str, ...]  # sentences on targets whose times are missing
    times: tuple[VariantTimes, ...]
    file: str = field(default="", metadata=OMIT)


def of(done: Part) -> Pruned:
    """Return the document of a pruning."""
    steps = done.steps
    notes, last = shared.notes_of(steps["prune"], PruneNotes), steps.get("recover") or steps["prune"]
    evaluated = done.results.get(f"{_REFERENCE}:pruned")
    timed = {name: result for name, result in done.results.items() if not name.startswith(_REFERENCE)}
    missing = [f"{step.id}: {step.reason}" for step in steps.values() if step.stage == "verify" and step.path is None]
    return Pruned(
        **vars(notes),
        name=shared.network_name(done),
        recovered=shared.notes_of(steps["recover"], RecoverNotes) if "recover" in steps else None,
        warnings=shared.warnings_of(done),
        digest=shared.digest_of(last),
        artifact=shared.artifact_file(last, shared.WEIGHTS),
        evaluation={name: each.accuracy for name, each in evaluated.variants.items()} if evaluated else None,
        untimed=(*missing, *(why for name, result in timed.items() if (why := _why_untimed(name, result)))),
        times=tuple(_times(each) for result in timed.values() for each in summary.remaining_of(notes, result)),
    )


def render(pruned: Pruned) -> str:
    """Return a pruning as text: what was pruned, its times, what came back, and its accuracy."""
    remaining = [each.remaining for each in pruned.times]
    parts = [wrapped(f"{pruned.name}: {summary.pruned_sentence(pruned)}")]
    for search in summary.cut_searches(pruned):
        parts += [wrapped(search.sentence), tables.columns(*search.table)]
    if remaining:
        parts.append(tables.columns(*summary.remaining_table(remaining)))
    elif not pruned.untimed and not pruned.speedup:
        hint = "give --evaluation, or --speedup for a goal"
        parts.append(wrapped(f"{summary.UNTIMED}: {hint}"))
    parts += [wrapped(each) for each in (*summary.slower_sentences(remaining), *pruned.untimed)]
    if pruned.recovered:
        parts.append(wrapped(summary.recovery_sentence(pruned.recovered)))
        if pruned.recovered.history:
            parts.append(tables.columns(summary.epoch_columns(pruned.recovered), summary.epoch_rows(pruned.recovered)))
    if pruned.evaluation:
        parts.append(wrapped(_evaluation_sentence(pruned.evaluation["fp32"], pruned.evaluation["pruned"])))
    parts += [wrapped(f"note: {warning}") for warning in pruned.warnings]
    parts.append(f"{pruned.file or pruned.artifact}, digest {pruned.digest[:12]}")
    return "\n\n".join(parts) + "\n"


def _why_untimed(name: str, result: Measured) -> str:
    """Return why times that were measured mean nothing; empty where they do."""
    why = timing_warnings.untimed([each.latency for each in result.variants.values()])
    return f"{name}: its times cannot be used: {why}" if why else ""


def _times(remaining: Remaining) -> VariantTimes:
    names, sizes, ratio = (remaining.target, remaining.variant), (remaining.macs, remaining.params), remaining.ratio
    return VariantTimes(*names, *sizes, remaining.p50_ms, ratio.value, ratio.low, ratio.json_high)


def _evaluation_sentence(before: AnyAccuracy, pruned: AnyAccuracy) -> str:
    low, high = pruned.drop_interval_pp()
    return (
        f"evaluation on {pruned.images} images: {pruned.name.short} {pruned.score_pct:.2f} %, "
        f"{before.score_pct:.2f} % before: "
        f"{pruned.drop_pp:.2f} points lost, 95 % interval {low:.2f} to {high:.2f}"
    )
