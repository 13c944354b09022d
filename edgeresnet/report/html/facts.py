"""What a run says of each target, as numbers that several parts of the page show. Reads raw values; judges nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...portable import advice, intervals, judging, timing_warnings, timings
from ..view import drop_pp
from .figure import Origin

PICTURES = 48  # of changed images, on a page
NAMED = 200  # of them, in its table

WORDS = {
    judging.KEPT: "Every promise is kept",
    judging.BROKEN: "A promise is broken",
    judging.UNDECIDED: "Not decided yet",
    judging.NOT_MEASURED: "Not measured",
    judging.DEFERRED: "To be measured on its device",
}


@dataclass(frozen=True)
class Against:
    """How many times as fast as another network it is, or why that is not known."""

    rival: str
    times: float | None = None
    low: float | None = None
    high: float | None = None
    trouble: str = ""


def measured(run: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [result for result in run["results"].values() if "variants" in result]


def judged(run: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those whose answers can be right or wrong."""
    return [result for result in measured(run) if not judging.unlabelled(result)]


def verdict_of(run: Mapping[str, Any], target: str) -> str:
    """The worst of what was promised there; a target that was not measured is never better than that."""
    found = [each["verdict"] for each in run["verdicts"] if each["target"] == target]
    result = run["results"][target]
    if "variants" not in result:
        found.append(judging.DEFERRED if result.get("deferred") else judging.NOT_MEASURED)
    return judging.worst(found)


def in_words(run: Mapping[str, Any], target: str) -> str:
    result, verdict = run["results"][target], verdict_of(run, target)
    if verdict == judging.KEPT and not any(each["target"] == target for each in run["verdicts"]):
        return "Nothing was promised"
    if verdict == judging.NOT_MEASURED and "variants" in result:
        return "A promise was not measured"
    return WORDS[verdict]


def against(result: Mapping[str, Any]) -> Iterator[Against]:
    """What would ship, held against FP32 and its half-precision twin, where they stand beside it."""
    variants, name = result["variants"], result["candidate"]
    for rival in ("fp32", "half"):
        if rival == name or rival not in variants:
            continue
        slower, faster = variants[rival]["latency"], variants[name]["latency"]
        trouble = timing_warnings.untimed([slower, faster])
        if trouble:
            yield Against(rival, trouble=trouble)
            continue
        times, (low, high) = intervals.ratio_interval(timings.windows(slower), timings.windows(faster))
        known = math.isfinite(high)
        yield Against(rival, times, low if known else None, high if known else None)


def differs(each: Against) -> bool:
    """Its interval lies on one side of one."""
    return each.low is not None and each.high is not None and (each.low > 1 or each.high < 1)


def p50(variant: Mapping[str, Any]) -> float | None:
    return timings.percentiles(variant["latency"]).get("p50") if variant["latency"] else None


def top1(right: int, images: int) -> tuple[float, float, float]:
    """In percent, with its 95 % interval."""
    low, high = intervals.wilson(right, images)
    return 100 * right / max(images, 1), 100 * low, 100 * high


def advised(run: Mapping[str, Any], target: str) -> str:
    """One sentence: what to do now."""
    result, verdict = run["results"][target], verdict_of(run, target)
    worst = [each for each in run["verdicts"] if each["target"] == target and each["verdict"] == verdict]
    said = f"{worst[0]['promise']}: {worst[0]['reason']}" if worst else ""
    if "variants" not in result:
        early = (run["problem"] or {}).get(
            "hint"
        ) or "mend what ended the run, and run it again: finished steps are kept"
        return _sentence(result["hint"] or (early if run["problem"] else "see why, and run it again"))
    ship = result["candidate"]
    if verdict == judging.BROKEN:
        return f"Do not ship {ship}: {said}."
    if verdict == judging.NOT_MEASURED:
        return f"Not on this evidence: {said}."
    if found := advice.advice(result):
        return _sentence(found.said)
    if verdict == judging.UNDECIDED:
        return f"Not yet: {said}."
    if not worst:
        return "Promise something in the recipe, and the next run is judged by it."
    shown = [each for each in against(result) if each.rival == "fp32" and differs(each)]
    choice = (
        " where size counts, FP32 where time does"
        if any(each.times is not None and each.times < 1 for each in shown)
        else ""
    )
    return f"Ship {ship}{choice}{_gain(result)}."


def origin(run: Mapping[str, Any], step: str) -> Origin:
    """The step by its id, and what it left."""
    found = next((each["digest"] for each in run["steps"] if each["id"] == step), None)
    return Origin(step, found or "")


def verified(run: Mapping[str, Any], result: Mapping[str, Any]) -> Origin:
    return origin(run, f"verify:{result['target']}")


def variant_class(name: str) -> str:
    """A word that the style knows a colour for."""
    return f"v-{name}" if name in ("fp32", "pruned", "half", "candidate", "int8") else "v-other"


def drop(result: Mapping[str, Any]) -> tuple[float, float, float]:
    return drop_pp(judging.candidate(result)["accuracy"])


def _gain(result: Mapping[str, Any]) -> str:
    """What it brings, and what that costs in time, where it is shown."""
    variants, ship = result["variants"], judging.candidate(result)
    if result["candidate"] == "fp32" or "fp32" not in variants:
        return ""
    shown = [each for each in against(result) if each.rival == "fp32" and differs(each)]
    gains = [f"{each.times:.2f} times as fast as FP32" for each in shown]
    part = ship["size_mb"] / variants["fp32"]["size_mb"] if variants["fp32"]["size_mb"] else 1
    whose = "its" if gains else "FP32's"
    gains += [f"{100 * part:.0f} % of {whose} size"] if part < 0.95 else []
    return f": {' and '.join(gains)}" if gains else ""


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith((".", "?", "!")) else ".")


def changed(run: Mapping[str, Any]) -> list[int]:
    """Numbers of images that what would ship answers otherwise than FP32 did, what was lost on most targets first."""
    lost, other = _counts(run)
    return sorted(set(lost) | set(other), key=lambda number: (-lost.get(number, 0), -other.get(number, 0), number))


def _counts(run: Mapping[str, Any]) -> tuple[dict[int, int], dict[int, int]]:
    lost: dict[int, int] = {}
    other: dict[int, int] = {}
    for result in judged(run):
        before, now, labels = _answers(result)
        for number in np.flatnonzero(before != now).tolist():
            into = lost if before[number] == labels[number] else other
            into[number] = into.get(number, 0) + 1
    return lost, other


def _answers(result: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    now = result["variants"][result["candidate"]]["predicted"]
    return np.asarray(result["reference_predicted"]), np.asarray(now), np.asarray(result["labels"])
