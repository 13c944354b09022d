"""Each target of a run against the same in a baseline, as verdicts; what is missing on either side is one, too."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from ..errors import EdgeresnetError
from ..portable import intervals, judging, timing_warnings, timings, yardstick
from ..portable.intervals import Interval
from ..portable.judging import Reading, Verdict
from ..text import ended_early
from . import baseline as baselines
from . import record
from .baseline import Margins

ALPHA = 0.01  # all promises of a gate together may be red by chance in so many runs that changed nothing
_OF_ANSWERS = 0.8  # the part of that which the accuracies get; the times get the rest
# As `timings.DRIFT_OF_TWINS`: the pace is another kind of work, and follows the machine less closely.
_DRIFT = {record.PACE: 0.03}
HOUR_S = 3600.0
_AHEAD_S = 120.0  # clocks of two machines may differ by so much
_RENEW = "`edgeresnet gate --update` records it, once it was reviewed"
_ANEW = "measure anew: `edgeresnet run RECIPE --again verify`"


@dataclass(frozen=True)
class _Case:
    """One target on both sides; `alpha` is what each promise of a kind may be wrong by."""

    name: str
    kept: Mapping[str, Any]
    result: Mapping[str, Any]
    margins: Margins
    alpha: Mapping[str, float]

    def verdict(
        self,
        promise: str,
        limit: float,
        reading: Reading | str,
        unit: str,
        broken: Callable[[float], bool] | None = None,
    ) -> Verdict:
        return judging.decided(self.name, promise, limit, reading, ceiling=True, unit=unit, broken=broken)


def gate(
    run: Mapping[str, Any],
    held: Mapping[str, Any],
    *,
    path: Path | str = "the baseline",
    now: float | None = None,
    max_age_s: float = HOUR_S,
    across_recipes: bool = False,
) -> dict[str, Any]:
    """The document that every report of a gate is made of. A baseline of other images, or of another recipe, is
    refused; with `across_recipes` the latter is judged, and what was changed is told.
    """
    told = _refuse_another(run, held, path, across_recipes)
    margins = Margins.parse(held["margins"], path)
    now = time.time() if now is None else now
    stale = {name: _stale(result, now, max_age_s) for name, result in run["results"].items()}
    verdicts = [one for name in held["targets"] for one in _of_target(name, run, held, margins, stale.get(name, ""))]
    verdicts += [_unknown(name, margins) for name in run["results"] if name not in held["targets"]]
    if run["problem"]:
        verdicts.append(Verdict("run", "whole", judging.NOT_MEASURED, 0, f"it {ended_early(run['problem'])}"))
    promised = [_promised(one, stale.get(one["target"], "")) for one in run["verdicts"]]
    return {
        "format": baselines.FORMAT,
        "run": run["id"],
        "baseline": {"path": str(path), "digest": held["digest"], "run": held["run"]},
        "margins": asdict(margins),
        "verdict": judging.worst([one.verdict for one in verdicts] + [one["verdict"] for one in promised]),
        "undecided": "fail" if "fail" in (run["undecided"], held["undecided"]) else "warn",  # nobody softens it unseen
        "verdicts": [{**one.to_json(), "by": "baseline"} for one in verdicts] + promised,
        "notes": [*told, *_notes(run, held)],
    }


def _refuse_another(
    run: Mapping[str, Any], held: Mapping[str, Any], path: Path | str, across_recipes: bool
) -> list[str]:
    for name, result in run["results"].items():
        digest, count = result.get("images"), len(result.get("labels") or ())
        if digest and digest != held["images"]["digest"]:
            raise EdgeresnetError(
                f"{path} is of other images than {name} was asked about: {held['images']['digest'][:12]} "
                f"({held['images']['count']} of them) there, {digest[:12]} ({count}) here",
                hint="answers to other images cannot be compared: measure on those, or make a new baseline (--update)",
            )
    before = {key: value for key, value in held["recipe"].items() if key != "digest"}
    after = baselines.identity(run)
    if run["problem"]:  # it may have ended before it was traced
        before["model"] = {key: value for key, value in before["model"].items() if key in after["model"]}
    changed = sorted(_changes(before, after))
    if not changed:
        return []
    what = "model" if any(change.startswith("model.") for change in changed) else "recipe"
    digests = f"{held['recipe']['digest'][:12]} there, {run['recipe_digest'][:12]} here"
    said = f"another {what} ({digests}): {'; '.join(changed[:5])}{' …' if len(changed) > 5 else ''}"
    if across_recipes:
        return [f"the baseline is of {said}"]
    raise EdgeresnetError(
        f"{path} is of {said}",
        hint="--across-recipes holds them against each other all the same; --update makes a new baseline",
    )


def _changes(before: Any, after: Any, where: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() | after.keys():
            yield from _changes(before.get(key), after.get(key), f"{where}.{key}" if where else key)
    elif before != after:
        yield f"{where} {'nothing' if before is None else before} → {'nothing' if after is None else after}"


def _of_target(
    name: str, run: Mapping[str, Any], held: Mapping[str, Any], margins: Margins, stale: str
) -> Iterator[Verdict]:
    kept, result = held["targets"][name], run["results"].get(name)
    why = "the run has no such target" if result is None else stale
    if result is not None and "variants" not in result:
        why = result["reason"]
    elif result is not None and not why and len(judging.each_build(result)) < kept["builds"]:
        why = f"built {len(judging.each_build(result))} times, and {kept['builds']} in the baseline: `verify.rebuilds`"
    times = [rival for rival in kept["times"] if getattr(margins, _margin(rival)) is not None]
    if why or result is None:
        every = ["max_loss_pp", *map(_promise, times), "max_growth_pct"]
        limits = {promise: getattr(margins, promise.split(" ")[0]) for promise in every}
        gated = {promise: limit for promise, limit in limits.items() if limit is not None}
        for promise, limit in (gated or {"measured": 0.0}).items():  # missing is no pass, whatever is gated
            yield Verdict(name, promise, judging.NOT_MEASURED, limit, why)
        return
    builds = judging.each_build(result)
    looks = sum(len(each["times"]) for each in held["targets"].values())
    alpha = {
        "answers": ALPHA * _OF_ANSWERS / len(held["targets"]) / len(builds),
        "times": ALPHA * (1 - _OF_ANSWERS) / looks / len(builds),
    }
    by_build = [list(_of_build(_Case(name, kept, build, margins, alpha), times)) for build in builds]
    for same in zip(*by_build, strict=True):
        yield max(same, key=lambda one: (judging.WORST_LAST.index(one.verdict), one.value or 0.0))


def _of_build(case: _Case, times: list[str]) -> Iterator[Verdict]:
    if case.margins.max_loss_pp is not None:
        yield _loss(case)
    for rival in times:
        yield _slowdown(case, rival)
    if (limit := case.margins.max_growth_pct) is not None:
        before, now = case.kept["size_mb"], judging.candidate(case.result)["size_mb"]
        growth = _percent(now / before) if before > 0 else float("inf")
        reading = Reading(growth, Interval(growth, growth))
        yield case.verdict("max_growth_pct", limit, reading, f"% larger ({before:.2f} → {now:.2f} MB)")


def _loss(case: _Case) -> Verdict:
    limit = case.margins.max_loss_pp
    assert limit is not None
    unit = "points lost against the baseline"
    now = record.answers(case.result)
    if isinstance(now, str):
        return case.verdict("max_loss_pp", limit, now, unit)
    labels, classes = np.asarray(case.result["labels"]), len(case.result["classes"])
    if why := _other_images(case, len(labels)):
        return case.verdict("max_loss_pp", limit, why, unit)
    before = record.unpacked(case.kept["answers"], labels, classes)
    lost, won = int(((before == labels) & (now != labels)).sum()), int(((before != labels) & (now == labels)).sum())

    def interval(k: float, z: float) -> Interval:
        low, high = intervals.tango(k * lost, k * won, k * len(labels), z)
        return Interval(100 * low, 100 * high)

    certain = NormalDist().inv_cdf(1 - case.alpha["answers"])
    found = interval(1, intervals.Z95)
    reading = Reading(100 * (lost - won) / len(labels), found, len(labels), lambda k: interval(k, intervals.Z95))
    said = f"{unit} ({100 * case.kept['top1']['right'] / len(labels):.2f} → {100 * (now == labels).mean():.2f} %)"
    return case.verdict("max_loss_pp", limit, reading, said, lambda k: interval(k, certain).low > limit)


def _other_images(case: _Case, count: int) -> str:
    """Why answers cannot be paired, though both were asked about the same images: not all could be read."""
    if case.kept["top1"]["images"] != count:
        return f"the baseline has {case.kept['top1']['images']} answers, the run {count}"
    before, now = case.kept["unread"], record.unread(case.result)
    apart = sorted(set(before) ^ set(now))
    return f"other images could not be read than in the baseline: {', '.join(apart[:3])}" if apart else ""


def _slowdown(case: _Case, rival: str) -> Verdict:
    limit, promise = getattr(case.margins, _margin(rival)), _promise(rival)
    if why := _incomparable(case, rival):
        return Verdict(case.name, promise, judging.NOT_MEASURED, limit, why)
    now, before = record.rate(case.result, rival), record.logs(case.kept["times"][rival])
    if isinstance(now, str):
        return Verdict(case.name, promise, judging.NOT_MEASURED, limit, now)
    if min(len(now), len(before)) < 2:
        side = "the run" if len(now) < 2 else "the baseline"
        why = f"{side} timed one process alone, which does not show how much processes differ: `verify.processes`"
        return Verdict(case.name, promise, judging.NOT_MEASURED, limit, why)
    if len(now) < len(before):
        why = f"timed in {len(now)} processes, the baseline in {len(before)}: less tells less; `verify.processes`"
        return Verdict(case.name, promise, judging.NOT_MEASURED, limit, why)
    drift = _DRIFT.get(rival, timings.DRIFT_OF_TWINS)
    change, found = intervals.change_interval(before, now, drift=drift)
    _, sure = intervals.change_interval(before, now, drift=drift, alpha=case.alpha["times"])
    slower = _percent(change)
    more = "a quieter machine or more processes would decide"
    reading = Reading(slower, Interval(_percent(found.low), _percent(found.high)), more=more)
    unit = _SLOWER.get(rival, f"% slower than in the baseline, against its {rival} twin")
    verdict = case.verdict(promise, limit, reading, unit, lambda _: slower > limit and sure.low > 1)
    if rival == record.PACE and verdict.verdict == judging.BROKEN and (noise := _disturbed(case)):
        return replace(verdict, verdict=judging.UNDECIDED, reason=f"{verdict.reason}; but {noise}")
    return verdict


def _margin(rival: str) -> str:
    return "max_runtime_slowdown_pct" if rival == record.PACE else "max_slowdown_pct"


def _promise(rival: str) -> str:
    return _margin(rival) if rival == record.PACE else f"{_margin(rival)} {rival}"


def _percent(times: float) -> float:
    return round(100 * (times - 1), 9) + 0.0  # no -0.00


_SLOWER = {
    yardstick.NAME: "% slower than in the baseline, against the yardstick",
    record.PACE: "% slower than in the baseline is the yardstick itself, for the processor's pace: the runtime's",
}


def _disturbed(case: _Case) -> str:
    """What made the machine slower, and not the runtime."""
    now = timing_warnings.taken_away(record.timed(case.result))
    if now:
        return now[0]
    return f"in the baseline {case.kept['disturbed'][0]}" if case.kept["disturbed"] else ""


def _incomparable(case: _Case, rival: str) -> str:
    """Why times of that baseline and this run say nothing of each other."""
    now = record.conditions(case.result)
    for key in sorted(case.kept["conditions"].keys() | now.keys()):
        before, after = case.kept["conditions"].get(key), now.get(key)
        if before != after:
            said = f"{key} {_spell(before)} there, {_spell(after)} here"
            return f"measured on another machine, or in another state of it: {said}; {_RENEW}"
    if rival not in (yardstick.NAME, record.PACE, *(case.result["variants"].keys() - {case.result["candidate"]})):
        return f"the run has no {rival} twin to hold it against"
    pythons = [text.rsplit(".", 1)[0] for text in (case.kept["python"], case.result["machine"]["python"])]
    if rival == record.PACE and pythons[0] != pythons[1]:
        return f"the pace is of Python {pythons[0]} there, and of {pythons[1]} here; {_RENEW}"
    units = [case.kept["yardstick"], (case.result.get("yardstick") or {}).get("sha256")]
    if rival in (yardstick.NAME, record.PACE) and units[0] != units[1]:
        return f"the yardstick is another: {units[0][:12]} there, {(units[1] or 'none')[:12]} here; {_RENEW}"
    return ""


def _spell(value: Any) -> str:
    return "unknown" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _stale(result: Mapping[str, Any], now: float, max_age_s: float) -> str:
    """Why these measurements are not of today; empty where they are."""
    if "variants" not in result:
        return ""
    began = [process.get("began") for raw in record.timed(result).values() for process in raw["processes"]]
    if not began:
        return f"its latency was not measured: {_ANEW}"
    if not all(isinstance(one, (int, float)) and np.isfinite(one) for one in began):
        return f"it does not say when it was measured: {_ANEW}"
    age = now - min(began)
    if age > max_age_s:
        return f"measured {_ago(age)} ago, --max-age is {_ago(max_age_s)}: {_ANEW}"
    if now - max(began) < -_AHEAD_S:
        return f"measured {_ago(max(began) - now)} from now: a clock is wrong"
    return ""


def _ago(seconds: float) -> str:
    for size, word in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (seconds >= size and seconds % size == 0):
            return f"{seconds / size:.3g} {word}"
    return f"{seconds:.3g} s"


def _unknown(name: str, margins: Margins) -> Verdict:
    return Verdict(
        name,
        "max_loss_pp",
        judging.NOT_MEASURED,
        margins.max_loss_pp or 0,
        f"the baseline has no such target; {_RENEW}",
    )


def _promised(one: Mapping[str, Any], stale: str) -> dict[str, Any]:
    """What the recipe itself promised. What waits for a device was not measured."""
    found = {**one, "by": "recipe"}
    if one["verdict"] == judging.DEFERRED or stale:
        found |= {"verdict": judging.NOT_MEASURED, "reason": stale or one["reason"]}
    return found


def _notes(run: Mapping[str, Any], held: Mapping[str, Any]) -> Iterator[str]:
    """What is another than it was: not judged, and worth knowing where something is red."""
    if held["promises"] != baselines.promises(run["recipe"]):
        yield "the recipe's own promises are not those that it had in the baseline"
    for change in sorted(_changes(held["verify"], run["recipe"].get("verify") or {}, "verify")):
        yield f"how it is measured was changed: {change}"
    for name, digest in baselines.measurements(run).items():
        if held["measured"].get(name) == digest:
            yield f"{name}: this is the very measurement that the baseline was made of: nothing was measured since"
    for step, digest in baselines.networks(run).items():
        before = held["networks"].get(step)
        if before != digest:
            yield f"{step}: another network than the baseline's, {(before or 'none')[:12]} → {digest[:12]}"
    for name, result in run["results"].items():
        kept = held["targets"].get(name)
        if kept is None or "variants" not in result:
            continue
        if kept["ships"] != result["candidate"]:
            yield f"{name}: {result['candidate']} would ship, and {kept['ships']} in the baseline"
        if kept["versions"] != result["versions"]:
            yield f"{name}: {_versions(kept['versions'])} → {_versions(result['versions'])}"


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
