"""What the last screen of a run shows: one short line for a promise, for advice, for a noisy machine.

Each function returns its line from the most words to the fewest: a renderer takes the first that fits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ...portable import advice, judging, readings, timing_warnings
from ...portable.machine import Machine
from ...portable.result import Measured, Result, RunWarning, Verdict, Word
from ...portable.tasks.task import task_of
from ...runs import Run
from .cells import agree_cell, ms, p50_words, percent, points

Choices = tuple[str, ...]

NAMES = {"fp32": "FP32", "int8": "INT8", "half": "half precision", "pruned": "the pruned network"}
_PLAIN = {**NAMES, "pruned": "the pruned network in FP32"}
_SPANS = {"min_speedup_fp32": "times FP32", "min_speedup_half": "times half precision", "max_latency_p99_ms": "ms"}
_SPANS |= {"min_throughput_ips": "images/s", "max_energy_mj": "mJ"}
_CHANGE = "mean change"  # of a probability
_UNITS = {
    "max_drop_pp": "points lost",
    "min_top1_pct": "%",
    "max_flips_pct": "% of {flipped} changed",
    "max_confidence_change": _CHANGE,
    **_SPANS,
    "max_size_mb": "MB",
    "max_peak_memory_mb": "MB",
    "min_recall_pct": "% found",
    "min_miou_pct": "% mIoU",
    "min_iou_pct": "% IoU",
    "min_map_pct": "% mAP",
    "min_ap_pct": "% AP",
}
_NOISY = frozenset(
    (
        "not-settled", "slowed-down", "windows-differ", "processes-differ", "others-busy", "stolen", "throttled-cpu",
        "throttled-gpu", "cpu-speed-changed", "cpu-clock-changed", "two-speeds",
    )
)  # fmt: skip
_INSTRUCTIONS = {"amx_int8": "AMX", "avx512_vnni": "VNNI", "avx_vnni": "VNNI", "i8mm": "I8MM", "asimddp": "dot product"}


def called(variant: str) -> str:
    """Return the name of a variant in a sentence."""
    return NAMES.get(variant, f"the {variant}")


def machine_name(machine: Machine) -> str:
    """Return what a machine computes with: "AMD EPYC 7B13, 2 cores, VNNI"."""
    if machine.board:
        return machine.board
    words = list(dict.fromkeys(word for key, word in _INSTRUCTIONS.items() if key in machine.cpu.instructions))
    cores = "1 core" if machine.cpu.cores == 1 else f"{machine.cpu.cores} cores"
    return ", ".join([machine.cpu.model, cores, *words[:1], *(gpu.name for gpu in machine.gpus[:1] if gpu.name)])


def image_count(measured: Sequence[Measured]) -> str:
    """Return how many images were evaluated; empty where nothing was measured."""
    if not measured:
        return ""
    count = measured[0].shipped.accuracy.images
    return f"{count:,} images" + ("" if measured[0].has_labels else " without labels")


def version_of(result: Result) -> str:
    """Return the version of a target's library, as short as it is told apart by; empty where it is not known."""
    versions = result.versions if isinstance(result, Measured) else {}
    return next(iter(versions.values()), "").split("-")[0].split("+")[0]


def state(word: Word) -> str:
    """Return a verdict as a word of a sentence: "not measured"."""
    return word.lower().replace("_", " ")


def promises(count: int) -> str:
    """Return "3 promises"."""
    return f"{count} promise" + ("" if count == 1 else "s")


def promise_choices(verdict: Verdict, result: Result, shortened: Callable[[str], str] = str) -> Choices:
    """Return a promise with what was measured: "max_drop_pp 3.5: 1.11 points lost (0.26 to 2.57)"."""
    promise = verdict.promise
    subject = f" of class {shortened(promise.subject)}" if promise.subject else ""
    name = f"{promise.kind} {promise.limit:g}{subject}"
    unit = _UNITS.get(promise.kind)
    if unit is not None and isinstance(result, Measured):
        unit = unit.format(flipped=task_of(result.task).flipped)
    if verdict.value is None or unit is None:
        word = "not measured: " if verdict.verdict == "NOT_MEASURED" else ""
        return (f"{name}: {word}{verdict.reason}",)
    verdict, unit = _above_nought(verdict, unit)
    shown = f"{name}: {_number(verdict.value or 0, unit)} {unit}"
    full = f"{shown}{_interval(verdict, unit)}"
    builds = len(result.builds()) if isinstance(result, Measured) else 1
    worst = f", worst of {builds} builds" if builds > 1 else ""
    return f"{full}{worst}{_would_decide(verdict)}", f"{full}{worst}", f"{full}{worst[:-7]}", full, shown


def to_ship(result: Measured) -> str:
    """Return the variant to ship: an INT8 network that is not faster than half precision is not the one."""
    found = advice.advice(result)
    return found.ship if found else result.ships


def advice_choices(run: Run, result: Measured) -> Choices:
    """Return what to do now with what would ship."""
    verdicts = run.verdicts_of(result.target)
    name, counts = called(result.ships), Counter(each.verdict for each in verdicts)
    if counts["BROKEN"]:
        broken = f"Do not ship {name}: {_counted(counts['BROKEN'], len(verdicts))} broken."
        return *_diagnosed(run, result, "BROKEN", broken), broken
    if counts["NOT_MEASURED"]:
        return (f"Do not ship {name} yet: {_counted(counts['NOT_MEASURED'], len(verdicts))} not measured.",)
    if found := advice.advice(result):
        return _better_choices(result, found.ship)
    if counts["UNDECIDED"]:
        undecided = _undecided_choices(name, [each for each in verdicts if each.verdict == "UNDECIDED"], len(verdicts))
        return *_diagnosed(run, result, "UNDECIDED", undecided[0]), *undecided
    if not verdicts:
        return ("Add promises to the recipe: the next run is judged by them.",)
    return _ship_choices(result, name)


def target_choices(result: Measured, verdicts: Sequence[Verdict]) -> Choices:
    """Return a target in one line: what would ship, its numbers, and how many promises have which verdict."""
    variant, word = result.shipped, called(result.ships)
    accuracy, latency = variant.accuracy, variant.latency
    score = percent(accuracy.score_pct) if accuracy.has_labels else f"agreement {agree_cell(accuracy)}"
    parts = [f"{word} {score}"]
    parts += [points(accuracy.drop_pp)] if accuracy.has_labels and result.ships != "fp32" else []
    parts += [p50_words(latency)] if latency and latency.p50 is not None else []
    counted = counts_by_verdict(verdicts)
    first = [f"{promises(len(verdicts))} kept"] if {each.verdict for each in verdicts} == {"KEPT"} else counted
    return (", ".join(parts + first), ", ".join(counted) or word)


def counts_by_verdict(verdicts: Sequence[Verdict]) -> list[str]:
    """Return how many promises have which verdict, the worst first: "2 broken"."""
    counts = Counter(each.verdict for each in verdicts)
    return [f"{counts[each]} {state(each)}" for each in reversed(judging.WORST_LAST) if counts[each]]


def noise_sentence(measured: Sequence[Measured], warnings: Mapping[str, Sequence[RunWarning]]) -> str:
    """Return that the machine was changed or noisy, and what the intervals still show; empty for a quiet machine."""
    known = [(each.target, one) for each in measured for one in warnings[each.target]]
    changed = [f"{target}: {one.text}." for target, one in known if one.code == timing_warnings.MODE_CHANGED]
    return " ".join(filter(None, [*changed, _noisy_sentence(measured, warnings)]))


def _noisy_sentence(measured: Sequence[Measured], warnings: Mapping[str, Sequence[RunWarning]]) -> str:
    noisy = [each for each in measured if any(one.code in _NOISY for one in warnings[each.target])]
    if not noisy:
        return ""
    shown: dict[str, list[str]] = {"faster": [], "slower": []}
    unclear = []
    for result in noisy:
        times = None if result.ships == "fp32" else timing_warnings.ratio(result, "fp32", result.ships)
        if times and times.has_interval and times.differs:
            text = f"{result.target} ({times.low:.2f} to {times.high:.2f} times)"
            shown["faster" if times.is_faster else "slower"].append(text)
        elif times:
            unclear.append(result.target)
    clauses = [
        f"the interval still shows {called(noisy[0].ships)} {word} than FP32 on {_listed(each)}"
        for word, each in shown.items()
        if each
    ]
    clauses += [f"no difference from FP32 is shown on {_listed(unclear)}"] if unclear else []
    return "The machine was noisy." + "".join(f" {each[:1].upper()}{each[1:]}." for each in clauses)


def chance_sentence(measured: Sequence[Measured]) -> str:
    """Return that the FP32 network is not better than chance, and what to do; empty where it is, or without labels."""
    result = next((each for each in measured if each.has_labels), None)
    return task_of(result.task).chance_sentence(result) if result else ""


def ended_early(run: Run) -> str:
    """Return that a run ended early, where and why; empty for one that did not."""
    problem = run.problem
    return f"The run {problem.ended_early}" + (f" ({problem.hint})" if problem.hint else "") if problem else ""


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _counted(count: int, every: int) -> str:
    """Return "1 of 4 promises is" or "2 of 4 promises are"."""
    return f"{count} of {promises(every)} {'is' if count == 1 else 'are'}"


def _number(value: float, unit: str) -> str:
    text = ms(value) if unit in ("ms", "MB", "mJ") else f"{value:.{4 if unit == _CHANGE else 2}f}"
    return text if float(text) else text.removeprefix("-")


def _above_nought(verdict: Verdict, unit: str) -> tuple[Verdict, str]:
    """Return points that were gained as such, with their interval and unit, and no loss below 0."""
    value, below = verdict.value, readings.KINDS[verdict.promise.kind].below
    if not below or value is None or float(_number(value, unit)) >= 0:
        return verdict, unit
    low, high = (None if end is None else -end for end in (verdict.high, verdict.low))
    return replace(verdict, value=-value, low=low, high=high), below


def _interval(verdict: Verdict, unit: str) -> str:
    low, high = verdict.low, verdict.high
    if low is None or low == high:
        return ""
    if low == 0 and high is None:
        return " (no interval)"
    return f" ({_number(low, unit)} to {'?' if high is None else _number(high, unit)})"


def _would_decide(verdict: Verdict) -> str:
    """Return what would decide a promise that is undecided."""
    if verdict.verdict != "UNDECIDED":
        return ""
    if verdict.more_images:
        return f"; {verdict.more_images:,} more images would decide"
    return "; more processes would decide" if verdict.promise.kind in _SPANS else ""


def _diagnosed(run: Run, result: Measured, word: Word, sentence: str) -> Choices:
    """Return where the accuracy went, if it is INT8 that does not keep a promise; else nothing."""
    if not any(each.verdict == word and _int8_fails(result, each) for each in run.verdicts_of(result.target)):
        return ()
    several = sum(map(_has_int8, run.measured)) > 1
    command = f"`edgeresnet diagnose --int8{f' --target {result.target}' if several else ''}`"
    stop = f"Do not ship {called(result.ships)}{'' if word == 'BROKEN' else ' yet'}"
    shows = f"{command} shows the worst layers."
    return f"{sentence} {shows}", f"{stop}: {shows}", f"{stop}: see {command}."


def _has_int8(result: Measured) -> bool:
    """Return whether what would ship is INT8. A candidate is, if its runtime reports it."""
    is_int8 = result.ships == "candidate" and any(each in advice.INT8 for each in result.shipped.precisions)
    return result.ships == "int8" or is_int8


def _int8_fails(result: Measured, verdict: Verdict) -> bool:
    """Return whether INT8 does not keep a promise about answers that the network before it keeps."""
    kind = readings.KINDS.get(verdict.promise.kind)
    if kind is None or kind.needs not in ("labels", "answers") or not _has_int8(result):
        return False
    before = next((name for name in ("pruned", "fp32") if name in result.variants), result.ships)
    found = kind.read(replace(result, ships=before), verdict.promise, 1)
    if isinstance(found, str):
        return False
    limit = verdict.promise.limit
    return found.value <= limit if kind.ceiling else found.value >= limit


def _undecided_choices(name: str, undecided: Sequence[Verdict], every: int) -> Choices:
    short = f"Do not ship {name} yet: {_counted(len(undecided), every)} undecided."
    images = [each.more_images for each in undecided]
    if None in images:
        return (short,)
    most = max(each or 0 for each in images)
    return f"{short} About {most:,} more images would decide.", short


def _better_choices(result: Measured, ship: str) -> Choices:
    """Return which variant to ship instead, or that it is not known yet: what would ship is not shown to be faster."""
    name, baseline = called(result.ships), _baseline(result)
    times = timing_warnings.ratio(result, baseline, result.ships)
    span = f" ({times.low:.2f} to {times.high:.2f} times)" if times and times.has_interval else ""
    if ship == result.ships:
        words = f"Measure longer: {name} may not be faster than {called(baseline)}"
        return f"{words}{span}.", f"{words}."
    if result.ships == "pruned":
        words = "Ship the unpruned network: pruning did not make it faster"
    elif baseline == "half" and ship != "half":
        words = f"Ship {called(ship)}: {name} is not faster than half precision, nor is that than FP32"
    elif ship == "half":
        words = f"Ship half precision: {name} is not faster"
    else:
        words = f"Ship {called(ship)} where time counts: {name} is smaller, not faster"
    return f"{words}{span}.", f"{words}."


def _ship_choices(result: Measured, name: str) -> Choices:
    baseline, full = _baseline(result), result.variants.get("fp32")
    times = timing_warnings.ratio(result, baseline, result.ships)
    over_fp32 = timing_warnings.ratio(result, "fp32", result.ships)
    if over_fp32 and over_fp32.is_slower:
        return (f"Ship {name} where size counts, and FP32 where time counts.",)
    if times and times.is_faster:
        words = f"Ship {name}: it is {times.value:.2f} times as fast as"
        return f"{words} {_PLAIN.get(baseline, baseline)}.", f"{words} {called(baseline)}."
    part = result.shipped.size_mb / full.size_mb if full and full.size_mb else 1.0
    if result.ships != "fp32" and part < 0.95:
        return (f"Ship {name}: it has {100 * part:.0f} % of FP32's size.",)
    return (f"Ship {name}.",)


def _baseline(result: Measured) -> str:
    """Return what the speed of what would ship is compared with."""
    if result.ships == "pruned":
        return "fp32"
    return next((each for each in ("half", "pruned") if each in result.variants and each != result.ships), "fp32")
