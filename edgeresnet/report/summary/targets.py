"""What a run shows of each target: what ships, what it costs, what it brings, and what to do now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...portable import advice, judging
from ...portable.frozen import dataclass
from ...portable.result import Accuracy, Deferred, Measured, NotMeasured, Result, Verdict, Word
from ...runs import Run
from .cells import ms, percent, span
from .classes import ClassChange, class_changes
from .speedups import Speedup, shipped_speedups

MEANING: Mapping[Word, str] = {
    "KEPT": "Every promise is kept",
    "BROKEN": "A promise is broken",
    "UNDECIDED": "Not decided yet",
    "NOT_MEASURED": "Not measured",
    "DEFERRED": "To be measured on its device",
}
METRICS = ("Top-1", "Latency", "Size")


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
    result, verdicts = run.results[target], run.verdicts_of(target)
    word = judging.worst([*(each.verdict for each in verdicts), state_word(result)])
    meaning = _meaning(result, verdicts, word)
    worst = next((f"{each.promise.name}: {each.reason}" for each in verdicts if each.verdict == word), "")
    if not isinstance(result, Measured):
        return TargetSummary(target, result, word, meaning, _next_step(run, result), _absent_metrics(result))
    speedups = shipped_speedups(result)
    metrics = _top1(result), _latency(result, speedups), _size(result)
    advised = _advice(result, word, worst, speedups)
    return TargetSummary(target, result, word, meaning, advised, metrics, tuple(class_changes(result)))


def state_word(result: Result) -> Word:
    """Return what it means for the verdict that a target was measured, is deferred, or was not measured."""
    if isinstance(result, Measured):
        return "KEPT"
    return "DEFERRED" if isinstance(result, Deferred) else "NOT_MEASURED"


def _meaning(result: Result, verdicts: Sequence[Verdict], word: Word) -> str:
    if word == "KEPT" and not verdicts:
        return "Nothing was promised"
    if word == "NOT_MEASURED" and isinstance(result, Measured):
        return "A promise was not measured"
    return MEANING[word]


def _next_step(run: Run, result: Deferred | NotMeasured) -> str:
    if run.problem:
        early = run.problem.hint or "mend what ended the run, and run it again: finished steps are stored"
        return _sentence(result.hint or early)
    return _sentence(result.hint or "see why, and run it again")


def _advice(result: Measured, word: Word, worst: str, speedups: Sequence[Speedup]) -> str:
    """Return what to do now; `worst` is the promise that decides the verdict, with its reason."""
    ship = result.ships
    if word == "BROKEN":
        return f"Do not ship {ship}: {worst}."
    if word == "NOT_MEASURED":
        return f"Not on this evidence: {worst}."
    if found := advice.advice(result):
        return _sentence(found.text)
    if word == "UNDECIDED":
        return f"Not yet: {worst}."
    if not worst:
        return "Promise something in the recipe, and the next run is judged by it."
    slower = any(each.baseline == "fp32" and each.ratio and each.ratio.is_slower for each in speedups)
    choice = " where size counts, FP32 where time does" if slower else ""
    return f"Ship {ship}{choice}{_gain(result, speedups)}."


def _gain(result: Measured, speedups: Sequence[Speedup]) -> str:
    """Return what it brings, and what that costs in time, where it is shown."""
    full = result.variants.get("fp32")
    if result.ships == "fp32" or full is None:
        return ""
    shown = [each.ratio for each in speedups if each.baseline == "fp32" and each.differs and each.ratio]
    gains = [f"{ratio.value:.2f} times as fast as FP32" for ratio in shown]
    part = result.shipped.size_mb / full.size_mb if full.size_mb else 1
    whose = "its" if gains else "FP32's"
    gains += [f"{100 * part:.0f} % of {whose} size"] if part < 0.95 else []
    return f": {' and '.join(gains)}" if gains else ""


def _absent_metrics(result: Deferred | NotMeasured) -> tuple[Metric, ...]:
    word = "not measured here" if isinstance(result, Deferred) else "not measured"
    return tuple(Metric(label, word) for label in METRICS)


def _top1(result: Measured) -> Metric:
    accuracy = result.shipped.accuracy
    if accuracy.top1 is None or accuracy.lost is None or accuracy.won is None:
        agree = f"{percent(accuracy.agree_pct)} same answers as FP32"
        return Metric("Top-1", "not known", ("the images have no labels", agree))
    before = Accuracy(accuracy.images, accuracy.images, accuracy.top1 + accuracy.lost - accuracy.won)  # the reference
    (least, most), (low, high) = before.top1_interval_pct(), accuracy.top1_interval_pct()
    return Metric(
        "Top-1",
        f"{before.top1_pct:.2f} → {percent(accuracy.top1_pct)}",
        (
            f"lost: {accuracy.drop_pp:.2f} points ({span(accuracy.drop_interval_pp())})",
            f"95 % intervals: {least:.2f} to {most:.2f} before,",
            f"{low:.2f} to {high:.2f} now, of {accuracy.images:,} images",
        ),
    )


def _latency(result: Measured, speedups: Sequence[Speedup]) -> Metric:
    latency = result.shipped.latency
    if latency is None or latency.host is None:
        return Metric("Latency", "not measured")
    lines = [f"p50 of batch {latency.batch}; p99 {ms(latency.host.p99)} ms", *(each.short for each in speedups)]
    lines += [] if "half" in result.variants else ["no half-precision variant here"]
    return Metric("Latency", f"{ms(latency.p50)} ms", tuple(lines))


def _size(result: Measured) -> Metric:
    size, full = result.shipped.size_mb, result.variants.get("fp32")
    if full is None or not full.size_mb or result.ships == "fp32":
        return Metric("Size", f"{size:.2f} MB")
    return Metric("Size", f"{full.size_mb:.2f} → {size:.2f} MB", (f"{100 * size / full.size_mb:.0f} % of FP32's",))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith((".", "?", "!")) else ".")
