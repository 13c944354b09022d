"""What every format shows of a run, as plain words and rows: computed once, printed in many ways."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..portable import advice, intervals, judging, timing_warnings, timings
from ..text import ended_early
from . import curve, cuts
from .cuts import ms as ms

Cell = TypeVar("Cell")

_MEANING = {
    judging.KEPT: "every promise is kept",
    judging.DEFERRED: "nothing is broken; what a bundle carries is measured on its device",
    judging.UNDECIDED: "the images or measurements at hand cannot decide every promise",
    judging.NOT_MEASURED: "something that was asked for was not measured",
    judging.BROKEN: "a promise is broken",
}


@dataclass(frozen=True)
class View:
    title: str
    verdict: str
    meaning: str
    trainings: Sequence[tuple[str, list[tuple[str, ...]]]]  # in one line, and as rows of a table
    cuts: Sequence[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]  # what was pruned, and its times in a table
    recoveries: Sequence[tuple[str, list[tuple[str, ...]]]]  # what came back after pruning, in the same way
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    losses: Sequence[str]  # whose an INT8 network's loss is
    latencies: Sequence[tuple[str, ...]]
    speedups: Sequence[str]
    advice: Sequence[str]  # which network to ship, where INT8 is not faster
    absent: Sequence[tuple[str, str]]  # target, and why there is no row for it, or not yet
    verdicts: Sequence[tuple[str, str, str, str]]  # verdict, target, promise, reason
    steps: Sequence[tuple[str, str, str, str]]  # id, state, seconds, digest
    notes: Sequence[str]
    classes: Sequence[tuple[str, ...]]
    conditions: Sequence[str]


class Change(NamedTuple):
    """One class: its images, how many of them were found before and now, and the points lost with their interval."""

    label: str
    images: int
    before: int
    now: int
    lost: float
    low: float
    high: float

    @property
    def word(self) -> str:
        return "worse" if self.low > 0 else "better" if self.high < 0 else ""


_MORE = 1.26  # times the noise, 1 dB: less lies within what rounding does by chance
CLASS_COLUMNS = ("target", "class", "images", "found before", "found now", "lost pp (corrected 95 %)", "")
COLUMNS = ("target", "as", "top-1", "drop pp (95 %)", "agree", "lost/won", "MB")
LATENCY_COLUMNS = ("target", "as", "p50 ms", "p90", "p99", "device", "file", "load", "first", "peak MB")


def of(run: Mapping[str, Any]) -> View:
    results = run["results"].values()
    measured = [result for result in results if "variants" in result]
    judged = [result for result in measured if not judging.unlabelled(result)]
    beside = _beside(run, measured)
    classes = [(result["target"], *change_row(each)) for result in judged for each in changes(result)]
    return View(
        title=title(run["recipe"]["model"], measured),
        verdict=run["verdict"],
        meaning=_MEANING[run["verdict"]]
        if run["verdicts"] or run["verdict"] != judging.KEPT
        else "nothing was promised",
        trainings=_trainings(run),
        cuts=_cuts(run, beside),
        recoveries=[(curve.recovery(notes), curve.rows(notes)) for notes in _notes_of(run, "recover")],
        columns=COLUMNS,
        rows=[_row(result, name) for result in measured for name in result["variants"]],
        losses=[_loss(result) for result in measured if "as_written" in result and "int8" in result["variants"]],
        latencies=[
            latency_row((result["target"], name), raw) for result in measured for name, raw in _timed(result).items()
        ],
        speedups=[sentence for result in measured for sentence in _speedups(result)],
        advice=[sentence for result in measured for sentence in _builds(result)]
        + [f"{result['target']}: {found.sentence}" for result in measured if (found := advice.advice(result))]
        + cuts.slower(
            [each for result in measured if result["candidate"] != "pruned" for each in beside[result["target"]]]
        ),
        absent=[(result["target"], reason(result)) for result in results if "variants" not in result],
        verdicts=[(v["verdict"], v["target"], v["promise"], v["reason"]) for v in run["verdicts"]],
        steps=[_step(step) for step in run["steps"]],
        notes=_notes(run, measured, judged, classes),
        classes=classes,
        conditions=_conditions(run, measured),
    )


def _trainings(run: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, ...]]]]:
    notes = _notes_of(run, "train")
    return [(sentence, curve.rows(each)) for each in notes if (sentence := curve.line(each))]


def _beside(run: Mapping[str, Any], measured: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Per target, what pruning left beside what that is in milliseconds; empty where nothing was cut."""
    notes = next(iter(_notes_of(run, "prune")), None)
    return {result["target"]: cuts.beside(notes, result) if notes else [] for result in measured}


def _cuts(
    run: Mapping[str, Any], beside: Mapping[str, list[dict[str, Any]]]
) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """What stays, beside its milliseconds; and how a goal in milliseconds was found."""
    notes = next(iter(_notes_of(run, "prune")), None)
    if notes is None:
        return []
    rows = cuts.rows([each for found in beside.values() for each in found])
    untimed = "" if rows or notes.get("speedup") else "; how many milliseconds that is was not measured"
    curves = [(sentence, cuts.COLUMNS, rows) for sentence, rows in cuts.curves(notes)]
    return [(f"{cuts.sentence(notes)}{untimed}", cuts.BESIDE, rows), *curves]


def _notes_of(run: Mapping[str, Any], deed: str) -> list[Mapping[str, Any]]:
    return [step["notes"] for step in run["steps"] if step["id"] == deed and step.get("notes")]


def sqnr(value: float | None) -> str:
    return "no difference" if value is None else f"{value:.1f} dB"


def title(model: Mapping[str, Any], measured: Sequence[Mapping[str, Any]]) -> str:
    """An ONNX file stands for its architecture; the images know the classes where the recipe leaves them out."""
    name = model["arch"] or PurePath(model["checkpoint"]).name
    if model.get("candidate"):
        name = f"{PurePath(model['candidate']).name} against {name}"
    classes = len(measured[0]["classes"]) if measured else model["classes"]
    return f"{name}, {classes} classes" if classes else name


def _row(result: Mapping[str, Any], name: str) -> tuple[str, ...]:
    variant = result["variants"][name]
    counts, images = variant["accuracy"], variant["accuracy"]["images"]
    agree, size = f"{100 * counts['agree'] / images:.2f} %", f"{variant['size_mb']:.2f}"
    if judging.unlabelled(result):
        return result["target"], name, "not known", "no labels", agree, "", size
    drop, low, high = drop_pp(counts)
    return (
        result["target"],
        name,
        f"{100 * counts['top1'] / images:.2f} %",
        f"{signed(drop)} ({signed(low)} to {signed(high)})",
        agree,
        f"{counts['flips_lost']}/{counts['flips_won']}",
        size,
    )


def _loss(result: Mapping[str, Any]) -> str:
    """The file as it is written against what the compiler made of it: which of the two is to blame."""
    written, compiled = result["as_written"], judging.of_quantizing(result["variants"]["int8"])
    before, after = (_noise(counts["sqnr_db"]) for counts in (written, compiled))
    word = "the compiler adds to it" if after > _MORE * before else "the loss is quantization's, not the compiler's"
    said = (
        f"{sqnr(counts['sqnr_db'])} and {100 * counts['agree'] / counts['images']:.2f} % same answers"
        for counts in (written, compiled)
    )
    return f"{result['target']} int8: {next(said)} as written (in onnxruntime), {next(said)} as compiled: {word}"


def _noise(decibels: float | None) -> float:
    return 0.0 if decibels is None else 10 ** (-decibels / 10)


def drop_pp(counts: Mapping[str, Any]) -> tuple[float, float, float]:
    """Points of top-1 lost, and the 95 % interval of that."""
    images = counts["images"]
    low, high = intervals.tango(counts["flips_lost"], counts["flips_won"], images)
    return 100 * (counts["flips_lost"] - counts["flips_won"]) / images, 100 * low, 100 * high


def filled(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> tuple[list[str], list[list[Cell]]]:
    """Without the columns that are empty in every row: what was not measured takes no room."""
    kept = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    return [columns[index] for index in kept], [[row[index] for index in kept] for row in rows]


def latency_row(names: tuple[str, ...], raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Host to host; the p50 of other kinds beside it; and what each process measures once, the median over them."""
    times = timings.percentiles(raw)
    others = (timings.percentiles(raw, kind).get("p50") for kind in ("device", "file"))
    once = (timings.middle(raw, key) for key in ("load_ms", "first_ms", "peak_memory_mb"))
    return (*names, *(ms(times.get(p)) for p in ("p50", "p90", "p99")), *map(ms, others), *map(ms, once))


def speedup(faster: str, than: str, rival: Mapping[str, Any], raw: Mapping[str, Any]) -> str:
    """The headline of two networks timed in turn, with its interval over fresh processes."""
    if trouble := timing_warnings.untimed([rival, raw]):
        return f"{faster}: not held against {than}: {trouble}"
    value, (low, high) = intervals.ratio_interval(timings.windows(rival), timings.windows(raw))
    if not math.isfinite(high):
        return f"{faster}: {value:.3f} times as fast as {than} in the one process there was: no interval"
    word = "" if low > 1 or high < 1 else "; no difference is shown"
    return f"{faster}: {value:.3f} times as fast as {than}, 95 % interval {low:.3f} to {high:.3f}{word}"


def _timed(result: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {name: variant["latency"] for name, variant in result["variants"].items() if variant["latency"]}


def _speedups(result: Mapping[str, Any]) -> list[str]:
    timed = _timed(result)
    return [
        speedup(f"{result['target']} {name}", rival, timed[rival], raw)
        for rival in ("fp32", "half")
        for name, raw in timed.items()
        if rival in timed and list(timed).index(name) > list(timed).index(rival)
    ]


def _builds(result: Mapping[str, Any]) -> list[str]:
    """How far builds of one network are apart."""
    builds = [judging.candidate(one) for one in judging.each_build(result)]
    if len(builds) == 1:
        return []
    answers = np.asarray([build["predicted"] for build in builds])
    same = 100 * float((answers == answers[0]).all(axis=0).mean())
    said = [f"{result['target']} {result['candidate']}: built {len(builds)} times, all give {same:.2f} % same answers"]
    if not judging.unlabelled(result):
        top1 = [100 * build["accuracy"]["top1"] / build["accuracy"]["images"] for build in builds]
        said.append(f"top-1 {min(top1):.2f} to {max(top1):.2f} %")
    times = [timings.percentiles(build["latency"]).get("p50") for build in builds if build["latency"]]
    known = [time for time in times if time is not None]
    said += [f"p50 {min(known):.3f} to {max(known):.3f} ms"] if known else []
    return ["; ".join([", ".join(said), "each promise is judged by its worst build"])]


def changes(result: Mapping[str, Any]) -> list[Change]:
    """Per class that has images, in order; the interval is corrected for looking at so many of them."""
    both = zip(judging.recalls(result), judging.flips(result), strict=True)
    found = [(recall, changed) for recall, changed in both if recall.images]
    told = []
    for recall, (lost, won) in found:
        low, high = intervals.tango(lost, won, recall.images, intervals.z_for(len(found)))
        told.append(Change(*recall, 100 * (lost - won) / recall.images, 100 * low, 100 * high))
    return told


def change_row(each: Change) -> tuple[str, ...]:
    """Under CLASS_COLUMNS, but for the target."""
    before, now = (f"{100 * count / each.images:.2f} %" for count in (each.before, each.now))
    span = f"{signed(each.lost)} ({signed(each.low)} to {signed(each.high)})"
    return each.label, str(each.images), before, now, span, each.word


def _notes(
    run: Mapping[str, Any],
    measured: Sequence[Mapping[str, Any]],
    judged: Sequence[Mapping[str, Any]],
    classes: Sequence[tuple[str, ...]],
) -> list[str]:
    notes = [f"{step['id']}: {sentence}" for step in run["steps"] for sentence in step["warnings"]]
    shown = {result["target"] for result in measured}
    for step in run["steps"]:  # a twin that could not be made left its target standing
        if step["state"] == "failed" and step["id"].split(":")[1:2] and step["id"].split(":")[1] in shown:
            notes.append(f"{step['id']} failed: {step['reason']}")
    for result in measured[:1]:
        if result["skipped"]:
            first = ", ".join(result["skipped"][:3])
            notes.append(f"{len(result['skipped'])} unreadable evaluation images were left out: {first}")
    absent = [recall.label for result in judged[:1] for recall in judging.recalls(result) if not recall.images]
    if absent:
        notes.append(
            f"{len(absent)} classes have no evaluation image, so nothing is known of them: {', '.join(absent[:5])}"
        )
    for target, label, _, before, now, lost, word in classes:
        if word == "worse":
            notes.append(f"{target}: {label} is found less often than before: {before} → {now}, {lost} points lost")
    for result in measured:
        notes += _decoding(result)
        timed = _timed(result)
        notes += [f"{result['target']}: {trouble}" for trouble in timing_warnings.troubles(timed)]
    if run["problem"]:
        notes.append(f"the run {ended_early(run['problem'])}")
    return notes


def _decoding(result: Mapping[str, Any]) -> list[str]:
    """What a device's own way from a file to pixels changes, where it was held against home's."""
    return [
        f"{result['target']}: decoded with {library} on the device, {about['answers_changed']} of {about['images']} "
        f"answers change ({about['mean_levels']:.2f} levels on average, {about['largest_levels']} at most)"
        for library, about in result.get("decoding", {}).items()
        if about and about["largest_levels"]
    ]


def _conditions(run: Mapping[str, Any], measured: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = machine_lines(run["machine"])
    for result in measured:
        versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        for name, variant in result["variants"].items():
            counts = variant["accuracy"]
            precision = variant["notes"].get("float_parts")
            said = [
                f"{result['target']} {name}: {versions}",
                f"{counts['images']} images",
                f"SQNR against the reference: {sqnr(counts['sqnr_db'])}",
            ]
            if not judging.unlabelled(result):
                said += [
                    f"top-5 {100 * counts['top5'] / counts['images']:.2f} %",
                    f"McNemar p {intervals.mcnemar(counts['flips_lost'], counts['flips_won']):.3g}",
                    f"balanced accuracy {100 * _balanced(result, name):.2f} %",
                ]
            lines.append(", ".join(said + ([f"float parts in {precision}"] if precision else [])))
    batches = sorted({v["latency"]["batch"] for r in measured for v in r["variants"].values() if v["latency"]})
    if batches:
        shown = ", ".join(str(batch) for batch in batches)
        lines.append(
            f"latency: batch {shown}, inputs and answers in the host's memory, in fresh processes, windows in turn; "
            "'device' is p50 by the runtime's own clock, without copies; 'file' is p50 from the image file on, in the "
            "system's cache; load (the runtime's import included), first inference and peak memory (Python and the "
            "runtime included) are medians over processes"
        )
    return lines


def machine_lines(about: Mapping[str, Any]) -> list[str]:
    """What the machine is and the state that it was put in; what is not known of it is left out."""
    cpu = about["cpu"]
    instructions = ", ".join(cpu["instructions"]) or "no INT8 or BF16 instructions"
    quota = f", quota {cpu['quota']:g}" if cpu.get("quota") else ""
    memory = f", {about['memory_gb']} GB" if about["memory_gb"] else ""
    lines = [f"{cpu['model']}, {cpu['cores']} cores{quota} ({instructions}){memory}, {about['system']}"]
    state = {"board": about.get("board"), "L4T": about.get("l4t"), "power mode": about.get("power_mode")}
    state["governor"] = cpu.get("governor")
    told = [f"{name} {value}" for name, value in state.items() if value]
    lines += [", ".join(told)] if told else []
    for gpu in about.get("gpus", ()):
        parts = {"driver": gpu["driver"], "compute capability": gpu["compute_capability"], "GB": gpu["memory_gb"]}
        lines.append(
            ", ".join([gpu["name"] or "a GPU", *(f"{name} {value}" for name, value in parts.items() if value)])
        )
    return lines


def _balanced(result: Mapping[str, Any], variant: str) -> float:
    """The mean recall of the classes that have images."""
    found = [recall.now / recall.images for recall in judging.recalls(result, variant) if recall.images]
    return sum(found) / max(len(found), 1)


def _step(step: Mapping[str, Any]) -> tuple[str, str, str, str]:
    seconds = f"{step['seconds']:.1f} s" if step["state"] == "made" else ""
    return step["id"], step["state"], seconds, (step["digest"] or "")[:12]


def reason(result: Mapping[str, Any]) -> str:
    word = "handed over" if result.get("deferred") else "not measured"
    return f"{word}: {result['reason']}" + (f" ({result['hint']})" if result["hint"] else "")


def signed(value: float) -> str:
    text = f"{value:+.2f}"
    return "0.00" if math.isclose(float(text), 0) else text
