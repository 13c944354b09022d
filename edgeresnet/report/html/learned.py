"""How the network came about: training and recovery epoch by epoch, what pruning cut, what INT8 cost step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...portable import judging
from .. import curve, view
from ..quantized import gains
from . import facts, plot
from .element import Child, Markup, el, name
from .figure import Origin, figure
from .scale import Scale, around
from .strips import Strip, strips

_HIGH = 150
_STEPS = ("train", "recover")
_EPOCHS_DRAWN = 400  # points: of more epochs every second, third, …


def curves(run: Mapping[str, Any]) -> list[Markup]:
    """Of a training and a recovery, where their notes tell it."""
    found = [step for step in run["steps"] if step["stage"] in _STEPS and (step["notes"] or {}).get("history")]
    return [_curve(step) for step in found]


def _curve(step: Mapping[str, Any]) -> Markup:
    notes = step["notes"]
    history, best = notes["history"], notes["best_epoch"]
    every = 1 + len(history) // _EPOCHS_DRAWN
    shown = [each for number, each in enumerate(history) if number % every == 0 or each["epoch"] == best]
    losses = [
        ("training", "loss", [each for each in shown if "loss" in each]),
        ("validation", "validation_loss", shown),
    ]
    across = around([each["epoch"] for each in shown], room=0.02, log=False)
    drawn = [
        _lines(across, losses, best, "loss", 1),
        _lines(across, [("validation", "validation_top1", shown)], best, "top-1, %", 100),
    ]
    rows = [
        (
            str(each["epoch"]),
            f"{each['loss']:.4f}" if "loss" in each else "",
            f"{each['validation_loss']:.4f}",
            f"{100 * each['validation_top1']:.2f} %",
            "best" if each["epoch"] == best else "",
        )
        for each in shown
    ]
    said = curve.recovery(notes) if step["stage"] == "recover" else curve.line(notes).split("; ", 1)[-1]
    title = "Recovery" if step["stage"] == "recover" else "Training"
    said = f"{said[:1].upper()}{said[1:]}. The ring is the epoch that was kept."
    origin = Origin(step["id"], step["digest"] or "")
    return figure(title, said, el("div", drawn, class_="pair"), [origin], (curve.COLUMNS, rows), _legend())


def _legend() -> Markup:
    items = [el("li", el("i", class_=f"dash {each}"), each) for each in ("training", "validation")]
    return el("ul", items, class_="legend", aria_hidden="true")


def _lines(
    across: Scale, series: Sequence[tuple[str, str, Sequence[Mapping[str, Any]]]], best: int, unit: str, times: float
) -> Markup:
    values = [times * each[key] for _, key, shown in series for each in shown]
    up = around(values, log=False)
    inside: list[Child] = []
    for word, key, shown in series:
        places = [(across.at(each["epoch"]), plot.down(up, times * each[key], _HIGH)) for each in shown]
        inside.append(plot.stretched(plot.way(places), _HIGH, f"curve {word}") if len(places) > 1 else None)
    for word, key, shown in series:
        for each in shown:
            said = f"epoch {each['epoch']}, {word}: {unit.split(',')[0]} {times * each[key]:.4g}"
            kept = word == "validation" and each["epoch"] == best
            x, y = across.across(each["epoch"]), plot.down(up, times * each[key], _HIGH)
            inside.append(plot.dot(said + (", the one that was kept" if kept else ""), x, y, 4.5 if kept else 2,
                                   f"{word} {'kept' if kept else ''}".strip()))  # fmt: skip
    return plot.axes(across, up, _HIGH, ("epoch", unit), inside)


def noise(run: Mapping[str, Any]) -> list[Markup]:
    """SQNR of INT8: after each step of quantizing, as the file is written, as the target compiled it; and by layer."""
    steps = [step for step in run["steps"] if step["stage"] == "quantize" and (step["notes"] or {}).get("steps")]
    return [each for step in steps for each in (_noise(run, step), *_layers(step))]


def _noise(run: Mapping[str, Any], step: Mapping[str, Any]) -> Markup:
    notes = step["notes"]
    values = [(each["name"], each["sqnr_db"], "undone" if not each["kept"] else "") for each in notes["steps"]]
    rows = [_strip(label, value, word) for label, value, word in values]
    origins = [Origin(step["id"], step["digest"] or "")]
    word = step["id"].removeprefix("quantize:")
    for result in facts.measured(run):
        if "int8" not in result["variants"]:
            continue
        if result["target"] == word and "as_written" in result:
            rows.append(_strip("as written, evaluation", result["as_written"]["sqnr_db"], ""))
        if result["target"] == word:
            counts = judging.of_quantizing(result["variants"]["int8"])
            rows.append(_strip(f"as compiled, {word}", counts["sqnr_db"], ""))
            origins.append(facts.verified(run, result))
    known = [row.value for row in rows if row.value is not None]
    float_ = "; ".join(f"{layer}: {why}" for layer, why in notes["kept_float"].items())
    said = (
        f"SQNR against the network that was quantized, in dB: 10 more is a tenth of the noise. Steps are told on "
        f"{notes['held_out']['images']} held-out images. INT8 layers: {len(notes['int8'])}"
        f"{f'; stays float: {float_}' if float_ else ''}."
        f"{'' if notes.get('layers') else ' Layer by layer it was not measured.'}"
    )
    table = (
        ("what", "SQNR", "said"),
        [(row.label, row.shown or "not measured", said_) for row, said_ in zip(rows, _told(notes, rows), strict=True)],
    )
    return figure(
        f"Quantization noise, {word}", said, strips(rows, around(known, room=0.15, log=False), unit="dB"),
        origins, table,
    )  # fmt: skip


def _layers(step: Mapping[str, Any]) -> list[Markup]:
    found = step["notes"].get("layers")
    if not found:
        return []
    known = [value for value in found.values() if value is not None]
    rows = [_strip(layer, value, "") for layer, value in found.items()]
    said = (
        "SQNR of what comes out of each INT8 layer, in dB, against the same network in float: with all the noise that "
        "came before it. A layer that falls far below its neighbours is one to leave float (quantize.exclude)."
    )
    table = ("layer", "SQNR"), [(row.label, row.shown) for row in rows]
    drawn = strips(rows, around(known or [1.0], room=0.15, log=False), unit="dB")
    title = f"Noise by layer, {step['id'].removeprefix('quantize:')}"
    return [figure(title, said, drawn, [Origin(step["id"], step["digest"] or "")], table)]


def _told(notes: Mapping[str, Any], rows: Sequence[Strip]) -> list[str]:
    told = gains(notes["steps"])
    return [*told, *("" for _ in rows[len(told) :])]


def _strip(label: str, value: float | None, word: str) -> Strip:
    if value is None:
        return Strip(label, f"{label}: no difference, or no image to tell it on", "none")
    said = f"{label}: {view.sqnr(value)}{f', {word}' if word else ''}"
    return Strip(label, said, f"{value:.1f}", value, kind=f"v-int8 {word}".strip())


def absent(run: Mapping[str, Any]) -> Markup | None:
    """Stages of the recipe that left nothing to draw."""
    asked = [key for key in ("train", "prune", "recover", "quantize") if run["recipe"].get(key)]
    done = {step["stage"] for step in run["steps"] if step["notes"]}
    missing = [key for key in asked if key not in done]
    if not missing:
        return None
    return el("p", name(f"Asked for, and not reached: {', '.join(missing)}."), class_="quiet")
