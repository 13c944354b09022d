"""What a baseline keeps of one target: answers image by image, and times as parts of others taken in turn with them.

The same is read off a run that is judged: both sides of every comparison come from here, or a sentence why not.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np

from ..portable import inference, intervals, judging, timing_warnings, timings, yardstick

PACE = "pace"  # the yardstick's time as so many of a fixed piece of work in plain Python
_IDENTITY = ("host", "boot", "cpus")  # of a process's machine: which one of its kind; a pool of equal ones is one here


def of(result: Mapping[str, Any]) -> dict[str, Any] | str:
    """As the file keeps it; a sentence where something is missing that a gate would need."""
    if "variants" not in result:
        return result["reason"]
    found = answers(result)
    if isinstance(found, str):
        return found
    labels = np.asarray(result["labels"])
    if not better_than_chance(found, labels, len(result["classes"])):
        return "these images do not show its answers to be better than chance"
    times = {}
    for name in rivals(result):
        logs_of = rate(result, name)
        if isinstance(logs_of, str):
            return logs_of
        times[name] = {"as_long_as": _middle(logs_of), "processes": _rounded(logs_of)}
    ships = judging.candidate(result)
    measured = timed(result)
    return {
        "ships": result["candidate"],
        "digest": ships["digest"],
        "top1": {"right": int((found == labels).sum()), "images": len(labels)},
        "answers": packed(found, labels, len(result["classes"])),
        "unread": unread(result),
        "size_mb": round(ships["size_mb"], 6),
        "times": times,
        "versions": dict(result["versions"]),
        "conditions": conditions(result),
        "python": result["machine"]["python"],
        "yardstick": result["yardstick"]["sha256"],
        "troubles": timing_warnings.of_machine(measured),
        "disturbed": timing_warnings.taken_away(measured),
        "builds": len(judging.each_build(result)),
    }


def rivals(result: Mapping[str, Any]) -> list[str]:
    """What the time of what would ship is a part of: its twin (FP32 where there is none), the yardstick. And what the
    yardstick's own time is a part of.
    """
    others = [name for name in ("half", "fp32") if name in result["variants"] and name != result["candidate"]]
    return [*others[:1], yardstick.NAME, PACE]


def answers(result: Mapping[str, Any]) -> np.ndarray | str:
    """What would ship answered to each image, where its counts follow from that; else what is wrong."""
    labels, given = result.get("labels"), judging.candidate(result).get("predicted")
    if not labels or not given:
        return "no image has a label, and without labels no answer is right or wrong"
    if not result.get("images"):
        return "it does not say which images it was asked about: an older edgeresnet measured it"
    predicted, count = np.asarray(given), len(result["classes"])
    whole = predicted.shape == (len(labels),) and predicted.dtype.kind == "i"
    if not whole or not 0 <= predicted.min() <= predicted.max() < count:
        return f"its answers are not one of {count} classes for each of {len(labels)} images"
    counted = inference.counts(np.asarray(result["reference_predicted"]), predicted, np.asarray(labels))
    if any(judging.candidate(result)["accuracy"].get(key) != value for key, value in counted.items()):
        return "its counts do not follow from its answers"
    return predicted


def unread(result: Mapping[str, Any]) -> list[str]:
    """The images that could not be read, by their files' names: answers stand without them."""
    return sorted(PurePath(name).name for name in result["skipped"])


def better_than_chance(predicted: np.ndarray, labels: np.ndarray, count: int) -> bool:
    """Or nothing could be lost."""
    frequent = [np.bincount(each, minlength=count) / len(labels) for each in (labels, predicted)]
    return intervals.wilson(int((predicted == labels).sum()), len(labels)).low > float(frequent[0] @ frequent[1])


def rate(result: Mapping[str, Any], name: str) -> list[float] | str:
    """Per process the log of how many times as long as its rival it took; a sentence where there is no such number."""
    unit = (result.get("yardstick") or {}).get("latency")
    ships = judging.candidate(result)["latency"]
    if name == PACE:
        if not unit or timing_warnings.untimed([unit]):
            return f"yardstick: {timing_warnings.untimed([unit])}"
        if not all(process.get("pace_ms") for process in unit["processes"]):
            return "the processor's own pace was not measured beside the yardstick"
        return _logs(timings.windows(unit), [[[pace] for pace in process["pace_ms"]] for process in unit["processes"]])
    rival = unit if name == yardstick.NAME else result["variants"].get(name, {}).get("latency")
    trouble = timing_warnings.untimed([ships, rival])
    if trouble or rival is None:
        return trouble if rival or not ships else f"{name}: {trouble}"
    return _logs(timings.windows(ships), timings.windows(rival))


def timed(result: Mapping[str, Any]) -> dict[str, Any]:
    """All that was timed in turn, the yardstick too."""
    every = {name: variant["latency"] for name, variant in result["variants"].items()}
    every[yardstick.NAME] = (result.get("yardstick") or {}).get("latency")
    return {name: raw for name, raw in every.items() if raw}


def conditions(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the machine was and how it was set while this was timed."""
    processes = [process for raw in timed(result).values() for process in raw["processes"]]
    about = processes[0].get("machine", {}) if processes else {}
    return {key: value for key, value in about.items() if key not in _IDENTITY and value not in (None, [], "")}


def packed(predicted: np.ndarray, labels: np.ndarray, count: int) -> str:
    """Each answer as its distance from the label, mostly 0: a few hundred bytes for a thousand images."""
    return base64.b64encode(zlib.compress(((predicted - labels) % count).astype("<u2").tobytes(), 9)).decode()


def unpacked(text: str, labels: np.ndarray, count: int) -> np.ndarray:
    apart = np.frombuffer(zlib.decompress(base64.b64decode(text)), "<u2").astype(np.int64)
    return (labels + apart) % count


def logs(kept: Mapping[str, Any]) -> list[float]:
    """Of one rival in the file."""
    return [math.log(value) for value in kept["processes"]]


def _logs(times: intervals.Processes, rival: intervals.Processes) -> list[float] | str:
    if [len(windows) for windows in times] != [len(windows) for windows in rival]:
        return "it and its rival were not timed in turn: one has more windows"
    found = intervals.log_ratios(times, rival)
    return found if all(map(math.isfinite, found)) else "its times are no finite numbers"


def _middle(values: list[float]) -> float:
    return float(f"{math.exp(intervals.center(values).value):.5g}")


def _rounded(values: list[float]) -> list[float]:
    return [float(f"{math.exp(value):.5g}") for value in values]
