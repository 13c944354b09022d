"""The noise of an INT8 network as plain text: at most 30 lines of 80 columns. `--json` and the page have all of it.

What costs most stands first: layers as bars, then causes, then the commands that help. The chart gets the lines that
the rest leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import fitted
from ..text import as_sentence, cut, on_one_line, visible, width, wrapped
from . import tables
from .lines import Look

if TYPE_CHECKING:
    from ..noise.diagnosis import Cause, LayerNoise, NoiseDiagnosis
    from ..runs import Run

LONGEST = 30
_MOST, _LEAST = 20, 5  # lines of the chart
_NAME, _NETWORK = 31, 29  # columns
_CAUSES = 11  # lines
_SENTENCE = 230  # characters of one about a cause: a name in it may have any length
_LITTLE_DB = 0.005  # is shown as zero
_FULL_DB = 1.0  # a layer that costs less has no long bar: none of them is the cause
_POORLY = 0.7  # less of the noise than that is explained by the layers one by one
_BAR = 18
TITLES = {  # of causes, by their codes
    "channels-apart": "channels far apart in range",
    "compiler-differs": "the compiler computes something else",
    "dead-channels": "dead channels",
    "float-input": "an addition with a float input",
    "float-layer": "a float layer between INT8 layers",
    "fusion-split": "a fusion that does not happen",
    "half-unused": "half of the grid unused",
    "halves-disagree": "halves of the calibration images disagree",
    "negatives-clipped": "negative values clipped",
    "other-weights": "other weights than those of FP32",
    "preprocessing": "doubtful preprocessing",
    "range-left": "values outside the calibrated range",
    "range-narrow": "range too narrow",
    "range-outlier": "outliers widen the range",
    "range-wide": "range too wide",
    "sums-saturate": "sums that saturate on this CPU",
    "weights-clipped": "weights clipped",
    "weights-per-tensor": "one scale for all weights",
    "weights-wide": "weights with too coarse a scale",
    "zero-point": "zero point that does not fit",
}


def render(about: NoiseDiagnosis, commands: Sequence[Sequence[str]] = (), look: Look | None = None) -> str:
    """Return the chart, the causes and what to do. A command is a sentence, and the lines to type."""
    look = look or Look()
    head, rest = _head(about, look), [*_notes(about, look), "", *_causes(about, look)]
    rest += [""] if commands else []
    for sentence, *lines in commands:
        rest += [*wrapped(sentence, width=look.width).split("\n"), *(f"  {line}" for line in lines)]
    room = LONGEST - len(rest) - 3  # the line above, an empty one, and the chart's own head
    return "\n".join([head, "", *_chart(about, max(_LEAST, min(_MOST, room)), look), *rest]) + "\n"


def loss(run: Run) -> str:
    """Return that INT8 lost accuracy in a run, and which command shows where; empty where that is not certain."""
    found = []
    for result in run.measured:
        for name in ("int8", "candidate"):
            accuracy = result.variants[name].quantization if name in result.variants else None
            if accuracy and accuracy.has_labels and accuracy.drop_interval_pp().low > 0:
                found.append((accuracy.drop_pp, result.target))
    if not found:
        return ""
    drop, target = max(found)
    return f"INT8 loses {drop:.2f} points on {target}: `edgeresnet diagnose --int8` shows which layers, and why."


def title(cause: Cause) -> str:
    """Return a cause's name for people."""
    return TITLES.get(cause.code, cause.code.replace("-", " "))


def worst(about: NoiseDiagnosis) -> list[LayerNoise]:
    """Return the layers that add noise, the one that costs most first."""
    return [layer for layer in about.worst() if layer.own_db is not None or layer.cost_db > 0]


def share(layer: LayerNoise) -> float:
    """Return the part of the noise that ends where a layer is left in float."""
    return float(1 - 10 ** (-layer.cost_db / 10))


def no_cause(about: NoiseDiagnosis) -> str:
    """Return what follows where no cause was found, and what is left to be tried."""
    layers = worst(about)
    if about.sqnr_db is None or not layers:
        return "No cause was found: INT8 computes what FP32 computes."
    if not about.flips:
        return "No cause was found, and none is needed: no answer differs on these images."
    left = "Try other calibration images, `--effort balanced`, or the first of these layers in float."
    if share(layers[0]) >= 0.5:
        return f"No cause was found: {layers[0].name} makes most of the noise, and nothing shows why. {left}"
    return f"No cause was found: the noise comes from many layers, a little from each. {left}"


def notes(about: NoiseDiagnosis) -> list[str]:
    """Return what limits these numbers, and which layers are in float already."""
    found = []
    if about.float_layers:
        shown, more = about.float_layers[:3], len(about.float_layers) - 3
        others = f" and {more} more" if more > 0 else ""
        found.append(f"In float already: {', '.join(cut(name, _NAME) for name in shown)}{others}.")
    if about.sqnr_db is not None and about.explained < _POORLY:
        found.append(
            f"Estimates explain only {100 * max(0.0, about.explained):.0f} % of the noise: trust the measured layers."
        )
    unknown = [layer for layer in about.layers if not layer.matched]
    if unknown:
        names = ", ".join(cut(layer.name, _NAME) for layer in unknown[:2]) + (" …" if len(unknown) > 2 else "")
        many, whose = ("1 layer does", "its") if len(unknown) == 1 else (f"{len(unknown)} layers do", "their")
        found.append(f"{many} not match FP32, so the noise of {whose} weights is not known: {names}.")
    return found


def _head(about: NoiseDiagnosis, look: Look) -> str:
    sqnr = "no noise" if about.sqnr_db is None else f"SQNR {about.sqnr_db:.1f} dB"
    unit = "flip" if about.unit == "answer" else f"{about.unit} flip"
    flips = f"1 {unit}" if about.flips == 1 else f"{about.flips:,} {unit}s"
    images = "1 image" if about.images == 1 else f"{about.images} images"
    numbers = f"{sqnr}, {flips}, {100 * about.agreement:.1f} % agree on {images}"
    network, reference = on_one_line(about.network), on_one_line(about.reference)
    long = f"{network}, compared with {reference}: {numbers}"
    return long if width(long) <= look.width else f"{cut(network, _NETWORK, look.cut_mark)}: {numbers}"


def _chart(about: NoiseDiagnosis, most: int, look: Look) -> list[str]:
    """Return a line for each layer, and one for those that are left out; `most` lines and the head."""
    layers = worst(about)
    if not layers:
        return ["No layer adds noise."]
    shown = [layer for layer in layers if layer.cost_db >= _LITTLE_DB] or layers[:_LEAST]
    shown = shown if len(shown) < most or len(layers) == most else shown[: most - 1]
    longest = max(_FULL_DB, *(layer.cost_db for layer in shown))
    bar = _BAR + look.width - 80
    rows = [_row(layer, layer.cost_db / longest, bar, look) for layer in shown]
    lines = tables.columns(("layer", "own dB", "cost dB", "", ""), rows, width=look.width, cut_mark=look.cut_mark)
    rest = layers[len(shown) :]
    return [*lines.split("\n"), *([_rest(rest)] if rest else [])]


def _rest(layers: Sequence[LayerNoise]) -> str:
    most = layers[0].cost_db
    cost = f"at most {most:.2f} dB each" if most >= _LITTLE_DB else "nothing"
    return f"and {len(layers)} more, which cost {cost} (`--json` has all)"


def _row(layer: LayerNoise, part: float, room: int, look: Look) -> tuple[str, ...]:
    mark = ("#" if look.ascii_only else "█") if layer.measured else ("=" if look.ascii_only else "░")
    own = "none" if layer.own_db is None else f"{layer.own_db:.1f}"
    name = cut(on_one_line(layer.name), _NAME, look.cut_mark)
    bar = mark * max(0, round(part * room))
    return name, own, f"{round(layer.cost_db, 2) + 0.0:.2f}", "measured" if layer.measured else "estimated", bar


def _notes(about: NoiseDiagnosis, look: Look) -> list[str]:
    legend = "own: SQNR with only this layer in INT8. cost: what SQNR gains with it in float."
    sentences = [legend, *notes(about)] if worst(about) else notes(about)
    return [line for each in sentences for line in wrapped(visible(each), width=look.width).split("\n")]


def _causes(about: NoiseDiagnosis, look: Look) -> list[str]:
    if not about.causes:
        return wrapped(fitted(no_cause(about), _SENTENCE), width=look.width).split("\n")
    found: list[str] = []
    for number, cause in enumerate(about.causes, 1):
        lines = wrapped(f"{number}. {_sentence(cause)}", 3, look.width).split("\n")
        if found and len(found) + len(lines) >= _CAUSES:
            left = len(about.causes) - number + 1
            return [*found, f"and {left} more cause{'' if left == 1 else 's'} (`--json` has all)"]
        found += lines
    return found


def _sentence(cause: Cause) -> str:
    name = cut(on_one_line(cause.layer), _NAME)
    where = f"{title(cause)}, {name}" if name else title(cause)
    said = (each.replace(cause.layer, name) if name else each for each in (cause.evidence, cause.remedy))
    evidence, remedy = (as_sentence(fitted(each, _SENTENCE)) for each in said)
    return f"{where[:1].upper()}{where[1:]}: {evidence} {remedy}"
