"""What INT8 cost: SQNR after each step of quantizing, as the file is written, as the target compiled it; by layer."""

from __future__ import annotations

from ...notes import QuantizeNotes
from ...portable.result import Measured
from ...portable.tasks.task import Task
from ...runs import Run, StepRecord, task_in
from ...text import as_sentence
from ..summary import (
    CHOICE_COLUMNS,
    choice_rows,
    choice_sentences,
    control_sentences,
    placement_sentences,
    quantizing_sentences,
    sqnr,
)
from .element import Markup, el, name
from .figure import figure, step_origin, table, verify_origin
from .scale import around
from .strips import Strip, strips


def section(run: Run) -> list[Markup]:
    found = _choices(run)
    for step in run.steps:
        if isinstance(step.notes, QuantizeNotes) and step.notes.steps:
            found.append(_noise(run, step, step.notes))
            found += [_layers(step, step.notes)] if step.notes.layers else []
    return found


def _choices(run: Run) -> list[Markup]:
    """Return which of several INT8 networks ships, by what a device measured."""
    rows = choice_rows(run)
    sentences = [f"{target}: {each}" for target in run.results for each in choice_sentences(run, target)]
    found = [el("p", name(as_sentence(each))) for each in sentences]
    return [*found, table(CHOICE_COLUMNS, rows)] if rows else found


def _noise(run: Run, step: StepRecord, notes: QuantizeNotes) -> Markup:
    target = step.step.target
    sentences = quantizing_sentences(notes.steps)
    rows = [_strip(each.name, each.sqnr_db, "" if each.kept else "undone") for each in notes.steps]
    origins = [step_origin(step)]
    result = run.results.get(target)
    if isinstance(result, Measured) and "int8" in result.variants:
        rows += [_strip("as written, evaluation", result.as_written.sqnr_db, "")] if result.as_written else []
        rows.append(_strip(f"as compiled, {target}", result.variants["int8"].quantization.sqnr_db, ""))
        origins.append(verify_origin(run, target))
    sentences += [""] * (len(rows) - len(sentences))
    known = [row.value for row in rows if row.value is not None]
    numbers = [(row.label, row.shown or "not measured", words) for row, words in zip(rows, sentences, strict=True)]
    return figure(
        f"Quantization noise, {target}",
        _caption(notes, task_in(run.recipe)),
        strips(rows, around(known, room=0.15, log=False), unit="dB"),
        origins,
        (("what", "SQNR", "meaning"), numbers),
    )


def _caption(notes: QuantizeNotes, task: Task) -> str:
    float_ = "; ".join(f"{layer}: {why}" for layer, why in notes.kept_float.items())
    more = (*placement_sentences(notes), *control_sentences(notes, task.flipped))
    return (
        "SQNR in dB, compared with the network before quantization. 10 dB more is a tenth of the noise. Steps are "
        f"measured on {notes.held_out.images} held-out images. INT8 layers: {len(notes.int8)}."
        f"{f' In float: {float_}.' if float_ else ''}{'' if notes.layers else ' Its layers were not measured.'}"
        f"{''.join(f' {as_sentence(each)}' for each in more)}"
    )


def _layers(step: StepRecord, notes: QuantizeNotes) -> Markup:
    known = [value for value in notes.layers.values() if value is not None]
    rows = [_strip(layer, value, "") for layer, value in notes.layers.items()]
    caption = (
        "SQNR in dB of the output of each INT8 layer, compared with the same layer in float. It includes the noise of "
        "all layers before it. `edgeresnet diagnose --int8` measures what each layer costs, and names causes."
    )
    drawn = strips(rows, around(known or [1.0], room=0.15, log=False), unit="dB")
    numbers = ("layer", "SQNR"), [(row.label, row.shown) for row in rows]
    return figure(f"Noise by layer, {step.step.target}", caption, drawn, [step_origin(step)], numbers)


def _strip(label: str, value: float | None, word: str) -> Strip:
    if value is None:
        return Strip(label, f"{label}: no difference, or no image to measure it on", "none")
    words = f"{label}: {sqnr(value)}{f', {word}' if word else ''}"
    return Strip(label, words, f"{value:.1f}", value, kind=f"v-int8 {word}".strip())
