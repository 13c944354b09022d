"""Compares each target of a run with the same target of a baseline. What either side lacks is a verdict, too."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

from .. import json_diff
from ..errors import EdgeresnetError
from ..portable import intervals, judging, timing_warnings, yardstick
from ..portable.frozen import dataclass
from ..portable.intervals import Interval
from ..portable.judging import Reading, Words
from ..portable.result import Measured, Promise, Result, Verdict
from ..runs import BaselineId, GateReport, Margins, Run
from ..text import cut, on_one_line
from . import amounts, record
from . import baseline as baselines
from .baseline import Baseline
from .record import CPU_SPEED, TargetRecord

ALPHA = 0.01  # the part of runs without a change in which any promise of a gate is red by chance
_OF_ANSWERS = 0.8  # the part of that for the accuracies; the times get the rest
_CPU_DRIFT = 0.03  # as `intervals.DRIFT`: plain Python is another kind of work, and follows the machine less closely
HOUR_S = 3600.0
_AHEAD_S = 120.0  # clocks of two machines may differ by so much
_SHOWN = 80  # columns of a value in a recipe
_LOSS, _SLOWDOWN, _RUNTIME, _GROWTH = (
    "max_loss_pp",
    "max_slowdown_pct",
    "max_runtime_slowdown_pct",
    "max_growth_pct",
)
_RENEW = "review it, then record it with `edgeresnet gate --update`"
_AGAIN = "measure again with `edgeresnet run RECIPE --again verify`"


class _Alpha(NamedTuple):
    """The chance of an error that each promise of a kind has."""

    answers: float
    times: float


@dataclass(frozen=True)
class _Case:
    """One target on both sides, in one of its builds."""

    name: str
    record: TargetRecord
    result: Measured
    alpha: _Alpha

    def not_measured(self, promise: Promise, reason: str) -> Verdict:
        return Verdict(self.name, promise, judging.NOT_MEASURED, reason)


def gate(
    run: Run,
    baseline: Baseline,
    *,
    path: Path | str = "the baseline",
    now: float | None = None,
    max_age_s: float = HOUR_S,
    across_recipes: bool = False,
) -> GateReport:
    """Compare a run with a baseline, and return the report that every format renders.

    A baseline of other images, or of another recipe, is refused; with `across_recipes` another recipe is judged, and a
    note names the difference.
    """
    differences = _refuse_another(run, baseline, path, across_recipes)
    now = time.time() if now is None else now
    stale = {name: _stale(result, now, max_age_s) for name, result in run.results.items()}
    verdicts = [one for name in baseline.targets for one in _of_target(name, run, baseline, stale.get(name, ""))]
    verdicts += [_unknown(name, baseline.margins) for name in run.results if name not in baseline.targets]
    if run.problem:
        reason = f"it {run.problem.ended_early}"
        verdicts.append(Verdict("run", Promise("complete", 0), judging.NOT_MEASURED, reason))
    verdicts = [replace(one, by="baseline") for one in verdicts]
    verdicts += [_promised(one, stale.get(one.target, "")) for one in run.verdicts]
    return GateReport(
        format=baselines.FORMAT,
        run=run.id,
        baseline=BaselineId(str(path), baseline.digest, baseline.run),
        margins=baseline.margins,
        verdict=judging.worst([one.verdict for one in verdicts]),
        undecided="fail" if "fail" in (run.undecided, baseline.undecided) else "warn",  # no run softens its baseline
        verdicts=tuple(verdicts),
        notes=(*differences, *_notes(run, baseline)),
    )


def _refuse_another(run: Run, baseline: Baseline, path: Path | str, across_recipes: bool) -> list[str]:
    """Refuse other images or another recipe. Return how the recipe differs, if that may be."""
    for name, result in run.results.items():
        if isinstance(result, Measured) and result.images and result.images != baseline.images.digest:
            raise EdgeresnetError(
                str(path),
                f"is of other images than {name}: {_start(baseline.images.digest)} ({baseline.images.count} images) in "
                f"the baseline, {_start(result.images)} ({result.count} images) in this run",
                hint="evaluate on the same images, or make a new baseline with --update",
            )
    before, after = baseline.identity, baselines.identity(run)
    if run.problem:  # it may have ended before it was traced
        known, given = baselines.section(after, "model"), baselines.section(before, "model")
        before["model"] = {key: value for key, value in given.items() if key in known}
    changed = _change_sentences(before, after)
    if not changed:
        return []
    what = "model" if any(change.startswith("model.") for change in changed) else "recipe"
    digests = f"{_start(baseline.recipe_digest)} in the baseline, {_start(run.recipe_digest)} in this run"
    problem = f"is of another {what} ({digests}): {'; '.join(changed[:5])}{' …' if len(changed) > 5 else ''}"
    if across_recipes:
        return [f"the baseline {problem}"]
    hint = "compare them with --across-recipes, or make a new baseline with --update"
    raise EdgeresnetError(str(path), problem, hint=hint)


def _change_sentences(before: object, after: object, where: str = "") -> list[str]:
    """Return what differs between two values of JSON, key by key, in order."""
    found = json_diff.changes(before, after, where)
    return sorted(f"{on_one_line(each.path)} {_shown(each.before)} → {_shown(each.after)}" for each in found)


def _shown(value: object) -> str:
    """Return a value of JSON as a sentence names it."""
    return cut(on_one_line(json_diff.shown(value)), _SHOWN)


def _start(digest: str) -> str:
    """Return as much of a digest as a sentence needs."""
    return on_one_line(digest[:12]) or "none"


def _of_target(name: str, run: Run, baseline: Baseline, stale: str) -> Iterator[Verdict]:
    before, result = baseline.targets[name], run.results.get(name)
    promises = list(_gated(before, baseline.margins))
    why = f"missing: the run lacks {_part(name)}" if result is None else stale
    if result is not None and not isinstance(result, Measured):
        why = result.reason
    elif result is not None and not why and len(result.builds()) < before.builds:
        why = f"the run has {len(result.builds())} of the baseline's {before.builds} builds: set `verify.rebuilds`"
    if why or not isinstance(result, Measured):
        for promise in promises or [Promise("measured", 0)]:  # missing is never a pass, whatever is gated
            yield Verdict(name, promise, judging.NOT_MEASURED, why)
        return
    builds = result.builds()
    looks = sum(len(each.times) + len(each.energy) + len(each.throughput) for each in baseline.targets.values())
    alpha = _Alpha(
        answers=ALPHA * _OF_ANSWERS / len(baseline.targets) / len(builds),
        times=ALPHA * (1 - _OF_ANSWERS) / looks / len(builds),
    )
    by_build = [[_judged(_Case(name, before, build, alpha), promise) for promise in promises] for build in builds]
    for same in zip(*by_build, strict=True):
        yield max(same, key=lambda one: (judging.WORST_LAST.index(one.verdict), one.value or 0.0))


def _gated(before: TargetRecord, margins: Margins) -> Iterator[Promise]:
    """Yield what is gated on a target: one promise per margin, and for times one per comparison."""
    if margins.max_loss_pp is not None:
        yield Promise(_LOSS, margins.max_loss_pp)
    for comparison in before.times:
        if comparison == CPU_SPEED:
            if margins.max_runtime_slowdown_pct is not None:
                yield Promise(_RUNTIME, margins.max_runtime_slowdown_pct)
        elif margins.max_slowdown_pct is not None:
            yield Promise(_SLOWDOWN, margins.max_slowdown_pct, comparison)
    if margins.max_growth_pct is not None:
        yield Promise(_GROWTH, margins.max_growth_pct)
    yield from amounts.gated(before, margins)


def _judged(case: _Case, promise: Promise) -> Verdict:
    if promise.kind in amounts.KINDS:
        why_not = _incomparable(case, promise.subject)
        return amounts.verdict(case.name, case.record, case.result, promise, case.alpha.times, why_not)
    return {_LOSS: _loss, _GROWTH: _growth}.get(promise.kind, _slowdown)(case, promise)


def _growth(case: _Case, promise: Promise) -> Verdict:
    before, now = case.record.size_mb, case.result.shipped.size_mb
    growth = amounts.percent(now / before) if before > 0 else math.inf
    words = Words("% larger", f"({before:.2f} → {now:.2f} MB)", below="% smaller", is_margin=True)
    return judging.decided(case.name, promise, Reading(growth, Interval(growth, growth)), ceiling=True, words=words)


def _loss(case: _Case, promise: Promise) -> Verdict:
    found = case.record.loss(case.result)
    if isinstance(found, str):
        return case.not_measured(promise, found)
    certain = NormalDist().inv_cdf(1 - case.alpha.answers)
    interval = found.drop_interval_pp()
    reading = Reading(found.drop_pp, interval, found.images, lambda k: found.drop_interval_pp(times=k))
    parts = f"{found.before_pct:.2f} → {found.score_pct:.2f} %"
    return judging.decided(
        case.name,
        promise,
        reading,
        ceiling=True,
        words=Words("points lost", f"compared with the baseline ({parts})", below="points gained", is_margin=True),
        broken=lambda k: found.drop_interval_pp(certain, k).low > promise.limit,
    )


def _slowdown(case: _Case, promise: Promise) -> Verdict:
    comparison = CPU_SPEED if promise.kind == _RUNTIME else promise.subject
    if why := _incomparable(case, comparison):
        return case.not_measured(promise, why)
    now, before = record.log_ratios(case.result, comparison), case.record.times[comparison].logs
    if isinstance(now, str):
        return case.not_measured(promise, now)
    if why := amounts.too_few(now, before):
        return case.not_measured(promise, why)
    drift = _CPU_DRIFT if comparison == CPU_SPEED else intervals.DRIFT
    change, found = intervals.change_interval(before, now, drift=drift)
    sure = intervals.surely_grew(before, now, drift=drift, alpha=case.alpha.times)
    slower, more = amounts.percent(change), amounts.would_decide(found, len(before))
    verdict = judging.decided(
        case.name,
        promise,
        Reading(slower, Interval(amounts.percent(found.low), amounts.percent(found.high)), more=more),
        ceiling=True,
        words=Words("% slower", _than(comparison), below="% faster", is_margin=True),
        broken=lambda _: slower > promise.limit and sure,
    )
    if comparison == CPU_SPEED and verdict.verdict == judging.BROKEN and (noise := _disturbed(case)):
        return replace(verdict, verdict=judging.UNDECIDED, reason=f"{verdict.reason}; but {noise}")
    return verdict


def _than(comparison: str) -> str:
    if comparison == CPU_SPEED:
        return "than in the baseline (the runtime: the yardstick relative to the CPU's speed)"
    other = "the yardstick" if comparison == yardstick.NAME else f"its {comparison} variant"
    return f"than in the baseline, relative to {other}"


def _disturbed(case: _Case) -> str:
    """Return what made the machine slower, and not the runtime; empty where nothing did."""
    now = timing_warnings.taken_away(record.timed(case.result))
    if now:
        return now[0].text
    return f"in the baseline {case.record.disturbed[0]}" if case.record.disturbed else ""


def _incomparable(case: _Case, comparison: str) -> str:
    """Return why times of this baseline and this run cannot be compared; empty where they can."""
    others = list(json_diff.changes(case.record.conditions, record.conditions(case.result)))
    if others:
        key, *values = min(others, key=lambda change: change.path)
        before, now = ("unknown" if value is None else _shown(value) for value in values)
        change = f"{key} {before} in the baseline, {now} in this run"
        return f"the machine or its state differs: {change}; {_RENEW}"
    if comparison not in (yardstick.NAME, CPU_SPEED, *(case.result.variants.keys() - {case.result.ships})):
        return f"the run lacks the {comparison} variant, with which the baseline compares"
    pythons = [version.rsplit(".", 1)[0] for version in (case.record.python, case.result.machine.python)]
    if comparison == CPU_SPEED and pythons[0] != pythons[1]:
        return f"Python {pythons[0]} measured the CPU's speed in the baseline, {pythons[1]} in this run; {_RENEW}"
    units = case.record.yardstick, case.result.yardstick.sha256 if case.result.yardstick else ""
    if comparison in (yardstick.NAME, CPU_SPEED) and units[0] != units[1]:
        digests = f"{_start(units[0])} in the baseline, {_start(units[1])} in this run"
        return f"the yardsticks differ: {digests}; {_RENEW}"
    return ""


def _stale(result: Result, now: float, max_age_s: float) -> str:
    """Return why these measurements are not recent; empty where they are."""
    if not isinstance(result, Measured):
        return ""
    began = [process.began for latency in record.timed(result).values() for process in latency.processes]
    if not began:
        return f"its latency was not measured; {_AGAIN}"
    if not all(map(math.isfinite, began)):
        return f"the time of the measurement is unknown; {_AGAIN}"
    age = now - min(began)
    if age > max_age_s:
        return f"measured {_ago(age)} ago, but --max-age is {_ago(max_age_s)}; {_AGAIN}"
    if now - max(began) < -_AHEAD_S:
        return f"measured {_ago(max(began) - now)} in the future: set the clock"
    return ""


def _ago(seconds: float) -> str:
    for size, word in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (seconds >= size and seconds % size == 0):
            return f"{seconds / size:.3g} {word}"
    return f"{seconds:.3g} s"


def _unknown(name: str, margins: Margins) -> Verdict:
    promise = Promise(_LOSS, margins.max_loss_pp or 0)
    reason = f"new, and not compared: the baseline lacks {_part(name)}; {_RENEW}"
    return Verdict(name, promise, judging.NOT_MEASURED, reason)


def _part(name: str) -> str:
    target, _, device = name.partition("@")
    return f"{target} on {device}" if device else "this target"


def _promised(one: Verdict, stale: str) -> Verdict:
    """Return a verdict on the recipe's own promise. What waits for a device was not measured."""
    if one.verdict == judging.DEFERRED or stale:
        return replace(one, verdict=judging.NOT_MEASURED, reason=stale or one.reason)
    return one


def _notes(run: Run, baseline: Baseline) -> Iterator[str]:
    """Yield what changed since the baseline: not judged, and worth knowing where something is red."""
    if baseline.promises != baselines.promises(run.recipe):
        yield "the recipe's own promises differ from those in the baseline"
    for change in _change_sentences(baseline.verify, baselines.section(run.recipe, "verify"), "verify"):
        yield f"the settings of the measurement changed: {change}"
    for name, digest in baselines.measurements(run).items():
        if baseline.measured.get(name) == digest:
            yield f"{name}: the baseline was made from this measurement, and nothing was measured since"
    for step, digest in baselines.networks(run).items():
        before = baseline.networks.get(step)
        if before != digest:
            yield f"{step}: the network differs from the baseline's, {_start(before or '')} → {_start(digest)}"
    for name, result in run.results.items():
        recorded = baseline.targets.get(name)
        if recorded is None or not isinstance(result, Measured):
            continue
        if recorded.ships != result.ships:
            yield f"{name}: {result.ships} would ship, but {recorded.ships} in the baseline"
        if recorded.versions != result.versions:
            yield f"{name}: {_versions(recorded.versions)} → {_versions(result.versions)}"


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
