"""Runs side by side, and what each differs in from the first: computed from stored runs alone, as data.

Reads no artifact and measures nothing. What cannot be held against each other is told in words, never as a number.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..portable import inference, intervals, judging, timing_warnings, timings
from ..text import ended_early
from . import changes, view

Run = Mapping[str, Any]
Logs = Callable[..., list[float]]  # of a run by its name, a target, a rival and a variant: `_logs`, each once
RIVALS = ("half", "fp32")
_FIRST = "A"


def of(runs: Sequence[Run]) -> dict[str, Any]:
    """Two runs or more; the first is what the others are held against."""
    named = {_name(number): run for number, run in enumerate(runs)}
    first = runs[0]
    logs: Logs = functools.cache(lambda name, *which: _logs(named[name], *which))
    return {
        "runs": [_about(name, run) for name, run in named.items()],
        "measured": [
            row for pair in _pairs(runs) for name, run in named.items() if (row := _row(logs, name, run, *pair))
        ],
        "absent": [one for name, run in named.items() for one in _absent(name, run)],
        "differences": [
            _difference(logs, name, first, run, *pair)
            for pair in _pairs(runs)
            for name, run in named.items()
            if name != _FIRST and _variant(first, *pair) and _variant(run, *pair)
        ],
        "changed": [{"run": name, **changes.between(first, run)} for name, run in named.items() if name != _FIRST],
    }


def _name(number: int) -> str:
    """A to Z, then AA."""
    return (_name(number // 26 - 1) if number >= 26 else "") + chr(ord(_FIRST) + number % 26)


def _about(name: str, run: Run) -> dict[str, Any]:
    measured = [result for result in run["results"].values() if "variants" in result]
    return {
        "name": name,
        "id": run["id"],
        "title": view.title(run["recipe"]["model"], measured),
        "verdict": run["verdict"],
        "recipe_digest": run["recipe_digest"],
        "ended_early": ended_early(run["problem"]) if run.get("problem") else None,
    }


def _pairs(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """(target, variant) of all runs, in the order in which they are told of."""
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        for target, result in run["results"].items():
            found.setdefault(target, {}).update(dict.fromkeys(result.get("variants", ())))
    return [(target, variant) for target, variants in found.items() for variant in variants]


def _variant(run: Run, target: str, variant: str) -> Mapping[str, Any] | None:
    return run["results"].get(target, {}).get("variants", {}).get(variant)


def _absent(name: str, run: Run) -> list[dict[str, str]]:
    results = run["results"].items()
    return [{"run": name, "target": t, "reason": view.reason(r)} for t, r in results if "variants" not in r]


def _row(logs: Logs, name: str, run: Run, target: str, variant: str) -> dict[str, Any] | None:
    found = _variant(run, target, variant)
    if found is None:
        return None
    counts, times = found["accuracy"], timings.percentiles(found["latency"] or _UNTIMED)
    top1 = None if "top1" not in counts else 100 * counts["top1"] / counts["images"]
    return {
        "target": target,
        "variant": variant,
        "run": name,
        "images": counts["images"],
        "top1_pct": top1,
        "sqnr_db": counts["sqnr_db"],
        "p50_ms": times.get("p50"),
        "p99_ms": times.get("p99"),
        **{f"times_{rival}": _than(logs(name, target, rival, variant)) for rival in RIVALS},
        "size_mb": found["size_mb"],
    }


def _than(logs: list[float]) -> dict[str, Any] | None:
    """How many times as fast as a rival that was timed in turn with it; None where there is none, or no saying."""
    return _interval(*intervals.ratio_of(logs)) if logs else None


def _logs(run: Run, target: str, rival: str, variant: str) -> list[float]:
    slower, faster = _variant(run, target, rival), _variant(run, target, variant)
    if rival == variant or not slower or not faster or timing_warnings.untimed([slower["latency"], faster["latency"]]):
        return []
    return intervals.log_ratios(timings.windows(slower["latency"]), timings.windows(faster["latency"]))


def _difference(logs: Logs, name: str, first: Run, run: Run, target: str, variant: str) -> dict[str, Any]:
    before, now = _variant(first, target, variant), _variant(run, target, variant)
    assert before is not None
    assert now is not None
    about = {"run": name, "target": target, "variant": variant, "mb_more": now["size_mb"] - before["size_mb"]}
    if changes.same_measurement(first, run, target):
        return {**about, "same_measurement": True}
    return {
        **about,
        "same_measurement": False,
        "accuracy": _accuracy(first["results"][target], run["results"][target], before, now),
        "latency": _latency(logs, name, first, run, target, variant),
    }


def _accuracy(
    one: Mapping[str, Any], other: Mapping[str, Any], before: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, Any]:
    """Points lost, paired where both answered the very same images."""
    apart = _why_apart(one, other)
    db = None if None in (found := [each["accuracy"]["sqnr_db"] for each in (before, now)]) else found[1] - found[0]
    told: dict[str, Any] = {"paired": not apart, "why_not_paired": apart, "db_more": db}
    if not apart:
        labels = None if judging.unlabelled(one) else np.asarray(one["labels"])
        counts = inference.counts(np.asarray(before["predicted"]), np.asarray(now["predicted"]), labels)
        told |= counts
        if labels is None:
            return told
        lost, won, images = counts["flips_lost"], counts["flips_won"], counts["images"]
        return told | _points((lost - won) / images, intervals.tango(lost, won, images))
    if judging.unlabelled(one) or judging.unlabelled(other) or one["classes"] != other["classes"]:
        return told
    asked = [(each["accuracy"]["top1"], each["accuracy"]["images"]) for each in (before, now)]
    (right, images), (right_now, images_now) = asked
    drop = right / max(images, 1) - right_now / max(images_now, 1)
    return told | _points(drop, intervals.independent_drop(right, images, right_now, images_now))


def _why_apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Why two results are not of the same images, image by image; empty where they are."""
    if one["classes"] != other["classes"]:
        return "their classes are not the same"
    if not one.get("images") or not other.get("images"):
        return "an older run does not say which images it was asked about"
    if one["images"] != other["images"]:
        return f"their images are not the same (digest {one['images'][:12]}, here {other['images'][:12]})"
    if one["skipped"] != other["skipped"]:
        return "not the same images could be read"
    return ""


def _points(drop: float, interval: intervals.Interval) -> dict[str, float]:
    return {"drop_pp": 100 * drop, "low_pp": 100 * interval.low, "high_pp": 100 * interval.high}


def _latency(logs: Logs, name: str, first: Run, run: Run, target: str, variant: str) -> dict[str, Any]:
    """How many times as fast as before, and as the rival in each run: one machine in one state, or words."""
    before, now = _variant(first, target, variant), _variant(run, target, variant)
    assert before is not None
    assert now is not None
    for where, each in (("in run A ", before), ("", now)):
        if trouble := timing_warnings.untimed([each["latency"]]):
            return {"why_not": f"{where}{trouble}"}
    if why := changes.other_conditions(before["latency"], now["latency"]):
        return {"why_not": why}
    batches = [each["latency"]["batch"] for each in (before, now)]
    if batches[0] != batches[1]:
        return {"why_not": f"they were timed with {batches[1]} images at once, in run A with {batches[0]}"}
    were, are = (_time_logs(timings.windows(each["latency"])) for each in (before, now))
    told: dict[str, Any] = {"why_not": "", "than_first": _apart(are, were)}
    for rival in RIVALS:
        ours, theirs = (logs(one, target, rival, variant) for one in (name, _FIRST))
        if ours and theirs:
            told["rival"] = rival
            told["rival_ratio"] = _apart(theirs, ours, timings.DRIFT_OF_TWINS)
            break
    return told


def _time_logs(processes: intervals.Processes) -> list[float]:
    """The log time of each process."""
    return [sum(math.log(np.median(window)) for window in windows) / len(windows) for windows in processes]


def _apart(before: Sequence[float], now: Sequence[float], drift: float = 0.0) -> dict[str, Any]:
    """By what factor logs that were measured apart went up: by how the processes of each differ and, of ratios, by what
    is known to move between hours. How much times themselves move then is not known.
    """
    return _interval(*intervals.change_interval(before, now, drift=drift))


def _interval(value: float, interval: intervals.Interval) -> dict[str, Any]:
    low, high = interval
    return {"value": value, "low": low, "high": high if math.isfinite(high) else None}


_UNTIMED: Mapping[str, Any] = {"processes": ()}
