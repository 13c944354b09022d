"""The page of a diagnosis of an INT8 network: numbers, causes, and its layers in two orders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...text import as_sentence
from .. import noise_text
from .element import Child, Markup, el, name
from .figure import table
from .page import document
from .scale import Scale, around
from .strips import Strip, strips

if TYPE_CHECKING:
    from ...noise.diagnosis import Cause, LayerNoise, NoiseDiagnosis

_MOST = 20  # layers, of those that cost most


def render(about: NoiseDiagnosis, advice: Sequence[Sequence[str]] = ()) -> str:
    """Return the page. A piece of advice is a sentence, and the lines to type."""
    parts = [
        el("section", el("h2", "Causes"), _causes(about), class_="part"),
        el("section", el("h2", "What to do"), [_advice(each) for each in advice], class_="part") if advice else None,
        el("section", el("h2", "Layers"), _layers(about), class_="part"),
    ]
    footer = el("footer", el("p", "This page loads nothing from any other place."))
    return document(f"INT8 noise: {about.network}", [_head(about), el("main", parts), footer])


def _head(about: NoiseDiagnosis) -> Markup:
    unit = about.unit
    flips = f"1 {unit} differs" if about.flips == 1 else f"{about.flips:,} {unit}s differ"
    sqnr = "There is no noise" if about.sqnr_db is None else f"SQNR is {about.sqnr_db:.1f} dB"
    words = f"{sqnr}. On {about.images} images, {flips}: {100 * about.agreement:.1f} % agree."
    return el(
        "header",
        el("p", el("span", "edgeresnet", class_="brand"), class_="top"),
        el("h1", name(about.network)),
        el("p", "Compared with ", name(about.reference), f". {words}", class_="meaning"),
        [el("p", name(each), class_="quiet") for each in noise_text.notes(about)],
    )


def _causes(about: NoiseDiagnosis) -> Child:
    if not about.causes:
        return el("p", name(noise_text.no_cause(about)))
    return el("ul", [_cause(each) for each in about.causes], class_="notes")


def _cause(cause: Cause) -> Markup:
    where = [", ", name(cause.layer)] if cause.layer else None
    words = f". {as_sentence(cause.evidence)} {as_sentence(cause.remedy)}"
    return el("li", el("b", noise_text.title(cause), where), name(words))


def _advice(advice: Sequence[str]) -> Child:
    sentence, *lines = advice
    return [el("p", name(sentence)), el("div", el("pre", "\n".join(lines)), class_="wide") if lines else None]


def _layers(about: NoiseDiagnosis) -> Child:
    layers = noise_text.worst(about)
    if not layers:
        return el("p", "No layer adds noise.")
    shown = layers[:_MOST]
    costs = Scale(min(0.0, *(each.cost_db for each in shown)), max(1.0, *(each.cost_db for each in shown)) * 1.05)
    first = f"The {len(shown)} that cost most" if len(layers) > len(shown) else "The worst first"
    both = [
        _figure(
            first,
            "What SQNR at the logits gains if this layer alone is left in float. Measured layers are filled: the "
            "network ran without them. The others are estimated by gradients.",
            strips([_cost(each) for each in shown], costs, unit="dB"),
        ),
        _figure(
            "In the network's order",
            "SQNR at the logits with only this layer in INT8. The lower, the more noise it adds by itself.",
            strips([_own(each) for each in about.layers], _around(about), unit="dB"),
        ),
    ]
    numbers = el("details", el("summary", "The numbers"), _numbers(about))
    return [
        el("div", [el("div", each) for each in both], class_="pair"),
        el("div", el("figure", numbers), class_="drawn"),
    ]


def _around(about: NoiseDiagnosis) -> Scale:
    return around([each.own_db for each in about.layers if each.own_db is not None], room=0.15, log=False)


def _figure(title: str, caption: str, drawn: Child) -> Markup:
    head = el("h3", title), el("p", caption, class_="explains")
    return el("figure", head, el("div", drawn, class_="drawn"), class_="chart", aria_label=title)


def _cost(layer: LayerNoise) -> Strip:
    words = f"{layer.name}: costs {layer.cost_db:.2f} dB, {_how(layer)}"
    low, high = sorted((0.0, layer.cost_db))
    return Strip(layer.name, words, f"{layer.cost_db:.2f}", layer.cost_db, low, high, _kind(layer))


def _own(layer: LayerNoise) -> Strip:
    if layer.own_db is None:
        return Strip(layer.name, f"{layer.name}: adds no noise", "none")
    words = f"{layer.name}: {layer.own_db:.1f} dB, {_how(layer)}"
    return Strip(layer.name, words, f"{layer.own_db:.1f}", layer.own_db, kind=_kind(layer))


def _kind(layer: LayerNoise) -> str:
    return "v-int8" if layer.measured else "v-int8 undone"


def _how(layer: LayerNoise) -> str:
    return "measured" if layer.measured else "estimated"


def _numbers(about: NoiseDiagnosis) -> Markup:
    columns = ("layer", "kind", "own dB", "cost dB", "output dB", "own flips", "saved flips", "by")
    return table(columns, [_cells(each) for each in about.layers])


def _cells(layer: LayerNoise) -> tuple[str, ...]:
    decibels = ["" if value is None else f"{value:.2f}" for value in (layer.own_db, layer.cost_db, layer.output_db)]
    flips = ["" if value is None else str(value) for value in (layer.own_flips, layer.saved_flips)]
    return layer.name, layer.kind, *decibels, *flips, _how(layer)
