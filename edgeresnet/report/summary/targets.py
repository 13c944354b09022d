"""What a run shows of each target: what ships, what it costs, what it brings, and what to do now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...portable import advice, amounts
from ...portable.frozen import dataclass
from ...portable.result import Deferred, Measured, NotMeasured, Result, Verdict, Word
from ...portable.tasks.task import task_of
from ...runs import Run
from ...text import as_sentence
from .amounts import short_cells
from .cells import ms, p50_words, percent, same_answers, score_name, span
from .classes import ClassChange, class_changes
from .speedups import shipped_speedups

_MEANING: Mapping[Word, str] = {
    "KEPT": "every promise is kept",
    "DEFERRED": "nothing is broken; a device must still measure its bundle",
    "UNDECIDED": "these images and measurements cannot decide every promise",
    "NOT_MEASURED": "something that was requested was not measured",
    "BROKEN": "a promise is broken",
}


@dataclass(frozen=True)
class Metric:
    """One number of a target in large letters, and the lines under it."""

    label: str
    value: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class TargetSummary:
    """One target: its verdict, the numbers of what would ship, and one sentence on what to do now."""

    target: str
    result: Result
    verdict: Word
    meaning: str
    advice: str
    metrics: tuple[Metric, ...]
    classes: tuple[ClassChange, ...] = ()

    @property
    def ships(self) -> str:
        """The variant that would ship; empty for a target that was not measured."""
        return self.result.ships if isinstance(self.result, Measured) else ""


def target_summary(run: Run, target: str) -> TargetSummary:
    """Summarize one target of a run."""
    result, verdicts, word = run.results[target], run.verdicts_of(target), run.verdict_of(target)
    words = meaning(word, verdicts)
    if not isinstance(result, Measured):
        return TargetSummary(target, result, word, words, _next_step(run, result), _absent_metrics(run, result))
    metrics = _score(result), _latency(result), _size(result)
    decisive = next((f"{each.promise.name}: {each.reason}" for each in verdicts if each.verdict == word), "")
    now = as_sentence(advice.next_step(result, word, decisive))
    return TargetSummary(target, result, word, words, now, metrics, tuple(class_changes(result)))


def meaning(word: Word, verdicts: Sequence[Verdict]) -> str:
    """Return what a verdict means, of a run and of a target."""
    return "nothing was promised" if word == "KEPT" and not verdicts else _MEANING[word]


def _next_step(run: Run, result: Deferred | NotMeasured) -> str:
    if run.problem:
        early = run.problem.hint or "mend what ended the run, and run it again: finished steps are stored"
        return as_sentence(result.hint or early)
    return as_sentence(result.hint or "see why, and run it again")


def _absent_metrics(run: Run, result: Deferred | NotMeasured) -> tuple[Metric, ...]:
    word = "not measured here" if isinstance(result, Deferred) else "not measured"
    return tuple(Metric(label, word) for label in (score_name(run.measured).title, "Latency", "Size"))


def _score(result: Measured) -> Metric:
    accuracy = result.shipped.accuracy
    label = accuracy.name.title
    if not accuracy.has_labels:
        agree = accuracy.uncompared or f"{same_answers(accuracy, task_of(result.task).flipped)} as FP32"
        return Metric(label, "not known", ("the images have no labels", agree))
    (least, most), (low, high) = accuracy.before_interval_pct(), accuracy.score_interval_pct()
    return Metric(
        label,
        f"{accuracy.before_pct:.2f} → {percent(accuracy.score_pct)}",
        (
            f"lost: {accuracy.drop_pp:.2f} points ({span(accuracy.drop_interval_pp())})",
            f"95 % intervals: {least:.2f} to {most:.2f} before,",
            f"{low:.2f} to {high:.2f} now, of {accuracy.images:,} images",
        ),
    )


def _latency(result: Measured) -> Metric:
    latency = result.shipped.latency
    if latency is None or latency.host is None:
        return Metric("Latency", "not measured")
    lines = [
        f"p50 of batch {latency.batch}; p99 {ms(latency.host.p99)} ms",
        *(each.short for each in shipped_speedups(result)),
    ]
    lines += [] if "half" in result.variants else ["no half-precision variant here"]
    mj, rate = short_cells(amounts.of(latency))
    lines += (
        [", ".join(filter(None, [mj and f"{mj} mJ per inference", rate and f"{rate} images/s"]))] if mj or rate else []
    )
    return Metric("Latency", p50_words(latency), tuple(lines))


def _size(result: Measured) -> Metric:
    size, full = result.shipped.size_mb, result.variants.get("fp32")
    if full is None or not full.size_mb or result.ships == "fp32":
        return Metric("Size", f"{size:.2f} MB")
    return Metric("Size", f"{full.size_mb:.2f} → {size:.2f} MB", (f"{100 * size / full.size_mb:.0f} % of FP32's",))
