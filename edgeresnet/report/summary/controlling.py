"""What the search for layers that stay in float found: in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from ...notes import ControlNotes, QuantizeNotes
from ...runs import Run
from .cells import points
from .choosing import taken_layers

_NAMED = 3  # layers by name; `--json` has all


def control_sentences(notes: QuantizeNotes, flipped: str) -> list[str]:
    """Return what the search found, and why it ended; nothing where there was none. `flipped` is the task's word."""
    control = notes.control
    if control is None:
        return []
    float_, all_ = len(control.chosen.layers), len(control.chosen.layers) + len(notes.int8)
    first = {
        "enough": "the search kept no layer in float: INT8 in all layers is good enough on the calibration images",
        "found": f"the search keeps {float_} of {all_} layers in float: {_named(control.chosen.layers)}",
        "time": f"the search ended with its time (`quantize.minutes`): it keeps {_count(float_, all_)} in float",
        "reach": f"no set of float layers is good enough on the calibration images: the nearest one has {float_}",
    }[control.ended]
    return [first, _forecast(control, flipped), *_time(control), *_others(control, all_, flipped)]


def placement_sentences(notes: QuantizeNotes) -> list[str]:
    """Return which placement of Q/DQ was taken, and how the others were timed; nothing where none was."""
    placed = notes.placed
    if placed is None:
        return []
    others = [each for each in placed.tried if each.value is not None][1:]
    shown = "; ".join(
        f"{each.name} {each.value:.3f}" + (f" ({each.low:.3f} to {each.high:.3f})" if each.low and each.high else "")
        for each in others
    )
    return [f"placement of Q/DQ: {placed.chosen}. Timed in turn, times as fast as the usual one: {shown or 'no other'}"]


def float_layers(run: Run, target: str) -> str:
    """Return which layers of a target the search left in float; empty where it left none."""
    layers, every = taken_layers(run, target)
    return f"{len(layers)} of {every} layers in float: {_named(layers)}" if layers else ""


def control_word(notes: QuantizeNotes) -> str:
    """Return the result of the search in a few words, for a line of progress."""
    if notes.control is None:
        return ""
    layers = notes.control.chosen.layers
    others = f"; {len(notes.control.others)} more networks to choose from" if notes.control.others else ""
    return f", {len(layers)} in float: {_named(layers)}{others}" if layers else ", and none needs float"


def _named(layers: Sequence[str]) -> str:
    rest = f" and {len(layers) - _NAMED} more" if len(layers) > _NAMED else ""
    return ", ".join(layers[:_NAMED]) + rest


def _count(some: int, all_: int) -> str:
    return f"{some} of {all_} layers" if some else "no layer"


def _forecast(control: ControlNotes, flipped: str) -> str:
    chosen = control.chosen
    return (
        f"forecast on {control.images} calibration images, without labels: {chosen.flips_pct:.2f} % of {flipped} "
        f"changed, {points(chosen.drop_pp)}, probabilities changed by {chosen.confidence_change:.4f} on average"
    )


def _others(control: ControlNotes, all_: int, flipped: str) -> list[str]:
    """Return what else a bundle holds, for the device's result to choose from."""
    found = [
        f"{name} with {len(each.layers)} of {all_} layers in float ({each.flips_pct:.2f} % of {flipped} change)"
        for name, each in control.others.items()
    ]
    return [f"the device chooses from it and {', and '.join(found)}"] if found else []


def _time(control: ControlNotes) -> list[str]:
    time = control.chosen.time
    if not control.chosen.layers:
        return []
    if not control.timed:
        return ["the target is not here: the search preferred small layers, and measured no time"]
    return [f"measured: {time:.2f} times the time of INT8 in all layers"] if time is not None else []
