"""Which of several INT8 networks ships to a target, where a device measured them: a row for each, and why."""

from __future__ import annotations

from collections.abc import Iterator

from ...notes import ControlNotes, QuantizeNotes
from ...portable import timing_warnings
from ...portable.result import PLAIN, SAFE, Choice, Judged, Measured, Variant
from ...portable.times import Latency
from ...runs import Run
from .cells import drop_cell, p50_cell, ratio_cell

CHOICE_COLUMNS = ("target", "network", "in float", "verdict", "drop pp (95 %)", "p50 ms", "times shipped")
_FEWEST_FIRST = (PLAIN, "int8", SAFE)  # layers in float


def choice_rows(run: Run) -> list[tuple[str, ...]]:
    """Return the cells under CHOICE_COLUMNS: each INT8 network of each target that had several."""
    return [row for result in run.measured if result.choice for row in _rows(run, result, result.choice)]


def choice_sentences(run: Run, target: str) -> list[str]:
    """Return which of several INT8 networks ships to a target, why, and which could not be measured; else nothing."""
    result = run.results.get(target)
    if not isinstance(result, Measured) or result.choice is None:
        return []
    choice = result.choice
    left = [f"{name} was left out: {why}" for name, why in choice.left_out.items()]
    return [*_why(choice), *left, *_files(choice, run, target)]


def layers_in_float(run: Run, target: str) -> dict[str, str]:
    """Return how many layers of each INT8 network of a target a search left in float: "2 of 10"."""
    notes = _notes(run, target)
    if notes is None or notes.control is None:
        return {}
    every = len(notes.control.chosen.layers) + len(notes.int8)
    return {name: f"{len(layers)} of {every}" for name, layers in _layers(notes.control).items()}


def taken_layers(run: Run, target: str) -> tuple[tuple[str, ...], int]:
    """Return the layers that a search left in float in the network that ships, and how many there are in all."""
    notes, result = _notes(run, target), run.results.get(target)
    if notes is None or notes.control is None:
        return (), 0
    taken = result.choice.taken if isinstance(result, Measured) and result.choice else "int8"
    return _layers(notes.control).get(taken, ()), len(notes.control.chosen.layers) + len(notes.int8)


def _notes(run: Run, target: str) -> QuantizeNotes | None:
    found = (step.notes for step in run.steps if step.step.target == target)
    return next((each for each in found if isinstance(each, QuantizeNotes)), None)


def _layers(control: ControlNotes) -> dict[str, tuple[str, ...]]:
    return {"int8": control.chosen.layers, **{name: each.layers for name, each in control.others.items()}}


def _rows(run: Run, result: Measured, choice: Choice) -> Iterator[tuple[str, ...]]:
    networks = {choice.taken: result.shipped, **{name: each.variant for name, each in choice.others.items()}}
    layers = layers_in_float(run, result.target)
    for name in _FEWEST_FIRST:
        first = result.target, name, layers.get(name, "")
        if name in networks:
            yield *first, _word(name, choice), *_numbers(networks[name], result.shipped)
        elif name in choice.left_out:
            yield *first, "left out", "", "", ""


def _word(name: str, choice: Choice) -> str:
    judged = choice.judged.get(name)
    return ", ".join([*([judged.verdict] if judged else []), *(["ships"] if name == choice.taken else [])])


def _numbers(variant: Variant, ships: Variant) -> tuple[str, str, str]:
    latency = variant.latency
    times = "" if variant is ships else _times(ships.latency, latency)
    return drop_cell(variant.accuracy), p50_cell(latency), times


def _times(ships: Latency | None, other: Latency | None) -> str:
    found = timing_warnings.speedup(ships, other)
    return "" if isinstance(found, str) else ratio_cell(found, 2)


def _why(choice: Choice) -> list[str]:
    count, taken = choice.count, choice.taken
    kept = [name for name, each in choice.judged.items() if each.verdict == "KEPT"]
    if count == 1:
        return [f"{taken} ships: no other INT8 network was measured"]
    if not choice.judged:
        return []
    each = f"each is judged at {100 - 5 / count:.1f} %, since they are judged together"
    if not kept:
        return [f"{taken} is the closest: none of {count} INT8 networks keeps every promise{_distance(choice)}", each]
    which = "the only one that keeps" if len(kept) == 1 else f"the fastest of {len(kept)} that keep"
    return [f"{taken} ships: {which} every promise, of {count} INT8 networks", each]


def _distance(choice: Choice) -> str:
    found: Judged = choice.judged[choice.taken]
    if found.distance is None:
        return f" ({found.promise}: {found.verdict})"
    return f" ({found.promise}: {found.verdict}, {found.distance:,.2f} times its limit away)"


def _files(choice: Choice, run: Run, target: str) -> list[str]:
    if choice.taken == "int8" or not any(step.id == f"export:{target}" for step in run.steps):
        return []
    return [f"its files in the bundle: networks/{choice.taken}.onnx, and built/{choice.taken} on the device"]
