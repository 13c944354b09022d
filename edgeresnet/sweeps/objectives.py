"""The objectives of a sweep: how they are written, and how they are read off a result.

`max top1`, `min p50 openvino`, `max recall cat openvino`: a direction, a metric, and a target where there are several.
A metric that a promise is about is read as the promise reads it (`portable/readings.py`).
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Sequence
from typing import Final

from ..errors import quoted
from ..portable import judging, timing_warnings
from ..portable.frozen import dataclass
from ..portable.intervals import tail_interval
from ..portable.readings import KINDS, Reading
from ..portable.result import Measured, Promise
from ..portable.tasks.task import of_answers, task_of
from .document import Direction, Objective, Value


@dataclass(frozen=True)
class Metric:
    """A metric: which way is better, its unit, and the promise that is about it (empty: the median latency)."""

    direction: Direction
    unit: str
    kind: str = ""


METRICS: Final[dict[str, Metric]] = {
    "top1": Metric("max", "%", "min_top1_pct"),
    "recall": Metric("max", "%", "min_recall_pct"),
    "miou": Metric("max", "%", "min_miou_pct"),
    "iou": Metric("max", "%", "min_iou_pct"),
    "map": Metric("max", "%", "min_map_pct"),
    "ap": Metric("max", "%", "min_ap_pct"),
    "drop_pp": Metric("min", "pp", "max_drop_pp"),
    "flips_pct": Metric("min", "%", "max_flips_pct"),
    "confidence_change": Metric("min", "", "max_confidence_change"),
    "speedup_fp32": Metric("max", "times", "min_speedup_fp32"),
    "speedup_half": Metric("max", "times", "min_speedup_half"),
    "p50": Metric("min", "ms"),
    "p99": Metric("min", "ms", "max_latency_p99_ms"),
    "throughput": Metric("max", "images/s", "min_throughput_ips"),
    "energy_mj": Metric("min", "mJ", "max_energy_mj"),
    "size_mb": Metric("min", "MB", "max_size_mb"),
    "peak_memory_mb": Metric("min", "MB", "max_peak_memory_mb"),
}
_OF_CLASSES = ("recall", "iou", "ap")
_BETTER = {"max": "more", "min": "less"}


def parse(text: str, targets: Sequence[str]) -> Objective:
    """Return the objective that a text is about; raise ValueError with what to write instead.

    `targets` are the names of the recipe's results: one of them is named unless it is the only one.
    """
    try:
        words = shlex.split(text)
    except ValueError as problem:
        raise ValueError(f"{quoted(text)} has a quotation mark that is not closed") from problem
    if len(words) < 2:
        raise ValueError(f"{quoted(text)} must be a direction, a metric and a target, as in `min p50 openvino`")
    direction, metric, *rest = words
    _check_word(direction, ("max", "min"), "direction")
    _check_word(metric, tuple(METRICS), "metric")
    right = METRICS[metric].direction
    if direction != right:
        raise ValueError(f"{quoted(text)}: {_BETTER[right]} of {metric} is better, so write `{right} {metric}`")
    subject = ""
    if metric in _OF_CLASSES:
        if not rest:
            raise ValueError(f"{quoted(text)} must name a class, as in `max {metric} cat`")
        subject, *rest = rest
    if len(rest) > 1:
        raise ValueError(f"{quoted(text)} must end with one target: {quoted(rest[1])} is one word too many")
    return Objective(right, metric, _target(text, rest, targets), subject)


def read(measured: Measured, objective: Objective) -> Value | str:
    """Return what an objective reads off a result, of the worst build, or why there is nothing to read."""
    found = [_read(build, objective) for build in measured.builds()]
    missing = [each for each in found if isinstance(each, str)]
    if missing:
        return missing[0]
    readings = [each for each in found if isinstance(each, Reading)]
    sign = 1 if objective.direction == "min" else -1
    worst = max(readings, key=lambda each: sign * each.value)
    return Value.of(worst.value, worst.interval)


def _read(measured: Measured, objective: Objective) -> Reading | str:
    kind = METRICS[objective.metric].kind
    if not kind:
        return _p50(measured)
    if kind in of_answers() and kind not in task_of(measured.task).promises:
        return f"{objective.metric} is not a metric of {measured.task}"
    if KINDS[kind].needs == "labels" and judging.unlabelled(measured):
        return "the evaluation images have no labels"
    return KINDS[kind].read(measured, Promise(kind, 0.0, objective.subject), 1)


def _p50(measured: Measured) -> Reading | str:
    latency = measured.shipped.latency
    if problem := timing_warnings.untimed([latency]):
        return problem
    assert latency is not None
    assert latency.p50 is not None
    return Reading(latency.p50, tail_interval(latency.windows(), 0.5))


def _target(text: str, given: Sequence[str], targets: Sequence[str]) -> str:
    if given:
        _check_word(given[0], targets, "target of the recipe")
        return given[0]
    if len(targets) != 1:
        names = ", ".join(targets) or "none"
        raise ValueError(f"{quoted(text)} must end with a target: the recipe has {names}")
    return targets[0]


def _check_word(word: str, known: Sequence[str], kind: str) -> None:
    if word not in known:
        near = difflib.get_close_matches(word[:80], known, 1)
        rest = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise ValueError(f"{quoted(word)} is not a {kind}: {rest}")
