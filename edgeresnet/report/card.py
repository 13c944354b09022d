"""The run as a model card: Markdown with the head in YAML that the Hugging Face hub reads.

What a run does not know, as its licence or the name of its images, is an option or is left out: nothing is invented.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath, PureWindowsPath

from .. import text
from ..notes import CalibrateNotes, QuantizeNotes
from ..portable import amounts
from ..portable.amounts import Amounts
from ..portable.frozen import dataclass
from ..portable.result import Deferred, Measured, Variant
from ..portable.tasks import DEFAULT
from ..portable.tasks.task import Task, task_of
from ..runs import Run
from . import summary
from .markdown import cell, code, table

COLUMNS = ("variant", "{score}", "drop pp (95 %)", "same {flipped}", "p50 ms", "times FP32 (95 %)", "MB")
AMOUNTS = (*summary.ENERGY_COLUMNS, "images/s (95 %)")  # where they were measured
_FEW = 20  # class names in a sentence
_PRINTABLE = re.compile(r"[^\t\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class About:
    """What a user says of the model, since no run knows it; empty for what is not said."""

    name: str = ""
    license: str = ""
    dataset: str = ""  # its name, or its id on the hub
    base_model: str = ""  # its id on the hub


def render(run: Run, about: About | None = None) -> str:
    """Return a run as a model card."""
    about, seen = about or About(), summary.of(run)
    name = about.name or seen.title
    parts = [
        f"---\n{_head(run, about, name)}---",
        f"# {cell(name)}",
        _lead(seen),
        "## What it is",
        _items(_what(seen)),
        "## How it was made",
        _items(_making(run, seen)),
        "## Results",
        *(_target(target, seen) for target in seen.targets),
        "## Promises",
        table(*seen.promise_table) if seen.verdicts else "The recipe promises nothing.",
        "## Conditions",
        _items([*_evaluated(run), *map(cell, seen.conditions)]),
        "## Files",
        _files(run),
        "## Limits",
        _items([*_limits(run), *map(cell, seen.notes)]),
        "## How to reproduce it",
        _reproduce(run),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(run: Run, about: About, name: str) -> str:
    """Return the lines of YAML that the hub reads."""
    lines = [f"{key}: {_scalar(value)}" for key, value in _given(about) if value]
    lines += ["library_name: edgeresnet", f"pipeline_tag: {_task(run).on_hub.tag}", "tags:"]
    lines += [f"- {tag}" for tag in _tags(run)]
    metrics = [line for result in run.measured if result.has_labels for line in _metrics(result)]
    if about.dataset and metrics:  # the hub takes no result without the name of its images
        lines += [
            "model-index:",
            f"- name: {_scalar(name)}",
            "  results:",
            "  - task:",
            f"      type: {_task(run).on_hub.tag}",
            "    dataset:",
            f"      type: {_scalar(about.dataset)}",
            f"      name: {_scalar(about.dataset)}",
            "    metrics:",
            *metrics,
        ]
    return "".join(f"{line}\n" for line in lines)


def _given(about: About) -> list[tuple[str, str]]:
    return [("license", about.license), ("base_model", about.base_model)]


def _tags(run: Run) -> list[str]:
    """Return the hub's tags: plain words, and the targets."""
    shipped = {result.ships for result in run.measured}
    made = {step.stage for step in run.steps}
    words = ["edgeresnet", "resnet", *(["int8"] if "int8" in shipped else [])]
    return [*words, *(["pruned"] if "prune" in made else []), *run.results]


def _metrics(result: Measured) -> Iterator[str]:
    """Yield the accuracy of what would ship and of FP32, as parts of one: as the hub's metric has it."""
    for name in dict.fromkeys(("fp32", result.ships)):
        if name in result.variants:
            accuracy = result.variants[name].accuracy
            yield f"    - type: {task_of(result.task).on_hub.metric}"
            yield f"      name: {_scalar(f'{accuracy.name.short}, {name} on {result.target}')}"
            yield f"      value: {round(accuracy.score_pct / 100, 6)}"


def _scalar(value: str) -> str:
    """Return a string of YAML: quoted, on one line, and of printable letters alone."""
    quoted = json.dumps(value, ensure_ascii=False)
    return _PRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}" if ord(found[0]) not in _SURROGATES else "?", quoted)


_SURROGATES = range(0xD800, 0xE000)


def _task(run: Run) -> Task:
    return task_of(next((result.task for result in run.measured), DEFAULT))


def _lead(seen: summary.Summary) -> str:
    words = f"Verdict: **{seen.verdict}**: {cell(seen.meaning)}."
    return f"{words} [edgeresnet](https://github.com/edgeresnet/edgeresnet) measured it and wrote this card."


def _what(seen: summary.Summary) -> Iterator[str]:
    yield cell(f"{_task(seen.run).on_hub.words}: {seen.title}.")
    recipe, measured = seen.run.recipe, seen.run.measured
    preprocessing = recipe.get("preprocessing")
    if isinstance(preprocessing, Mapping):
        known = {key: value for key, value in preprocessing.items() if value not in (None, False)}
        yield cell(f"Preprocessing: {', '.join(f'{key} {_plain(value)}' for key, value in known.items())}.")
    if measured and len(measured[0].classes) <= _FEW:
        yield cell(f"Classes: {', '.join(measured[0].classes)}.")
    for target in seen.targets:
        yield cell(f"On {target.target} {target.ships} would ship." if target.ships else f"For {target.target}.")


def _plain(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "/".join(map(str, value))
    return str(value)


def _making(run: Run, seen: summary.Summary) -> Iterator[str]:
    """Yield what each stage did that changes the network."""
    yield from (cell(f"Training: {each.sentence}.") for each in seen.trainings)
    if seen.pruning:
        yield cell(f"Pruning: {seen.pruning.sentence}.")
    yield from (cell(f"Recovery: {each.sentence}.") for each in seen.recoveries)
    for step in run.steps:
        if isinstance(step.notes, CalibrateNotes):
            yield cell(f"Calibration: ranges of {step.notes.tensors} tensors over {step.notes.images} images.")
        if isinstance(step.notes, QuantizeNotes):
            yield cell(f"Quantization for {step.step.target or 'all targets'}: {_quantized(step.notes)}.")
            yield from (cell(text.as_sentence(each)) for each in summary.choice_sentences(run, step.step.target))
    yield cell(f"Stages: {', '.join(dict.fromkeys(step.stage for step in run.steps))}.")


def _quantized(notes: QuantizeNotes) -> str:
    sizes = f"{notes.bytes_before / 1e6:.2f} to {notes.bytes_after / 1e6:.2f} MB"
    kept = f", {', '.join(notes.kept_float)} in float" if notes.kept_float else ""
    return f"{len(notes.int8)} layers in INT8{kept}; {sizes}"


def _target(target: summary.TargetSummary, seen: summary.Summary) -> str:
    head = f"### {cell(target.target)}: {target.verdict}"
    result = target.result
    if not isinstance(result, Measured):
        return f"{head}\n\n{cell(text.as_sentence(summary.reason(result)))}"
    known = {name: amounts.of(latency) for name, latency in result.timed().items()}
    rows = [_row(result, name, each) for name, each in result.variants.items()]
    more = [_amount_cells(known.get(name)) for name in result.variants]
    shown = [index for index in range(len(AMOUNTS)) if any(cells[index] for cells in more)]
    words = {"score": result.shipped.accuracy.name.short, "flipped": _task(seen.run).flipped}
    columns = (*(each.format(**words) for each in COLUMNS), *(AMOUNTS[index] for index in shown))
    rows = [(*row, *(cells[index] for index in shown)) for row, cells in zip(rows, more, strict=True)]
    losses = [f"{cell(each)}." for each in seen.losses if each.startswith(f"{target.target} ")]
    changed = summary.sureness_sentence(result)
    sentences = [f"{cell(each)}." for each in (*_amount_sentences(known), changed) if each]
    return "\n\n".join([head, table(columns, rows), *losses, *sentences])


def _amount_cells(known: Amounts | None) -> tuple[str, ...]:
    """Return the cells under AMOUNTS."""
    none = ("",) * len(summary.ENERGY_COLUMNS)
    if known is None:
        return (*none, "")
    energy = none if isinstance(known.energy, str) else summary.energy_cells(known.energy)
    rates = () if isinstance(known.throughput, str) else known.throughput
    return (*energy, ", ".join(map(summary.rate_cell, rates)))


def _amount_sentences(known: Mapping[str, Amounts]) -> list[str]:
    """Return what the amounts were measured with, or why one of them was not."""
    labelled = [((name, ""), each) for name, each in known.items()]
    return [
        *summary.setting_sentences(labelled),
        *summary.energy_sentences(labelled),
        *summary.rate_sentences(labelled),
    ]


def _row(result: Measured, name: str, variant: Variant) -> tuple[str, ...]:
    accuracy, latency = variant.accuracy, variant.latency
    return (
        f"{name} (ships)" if name == result.ships else name,
        summary.score_cell(accuracy),
        summary.drop_cell(accuracy),
        summary.agree_cell(accuracy),
        summary.p50_cell(latency),
        _times_fp32(result, name),
        f"{variant.size_mb:.2f}",
    )


def _times_fp32(result: Measured, name: str) -> str:
    timed = result.timed()
    if name == "fp32" or name not in timed or "fp32" not in timed:
        return ""
    return summary.speedup(name, "fp32", timed["fp32"], timed[name]).cell(3)


def _evaluated(run: Run) -> Iterator[str]:
    """Yield how many images and processes stand behind the numbers of each target, and which images these were."""
    for result in run.measured:
        images = result.shipped.accuracy.images
        processes = len(result.shipped.latency.processes) if result.shipped.latency else 0
        labels = "" if result.has_labels else " without labels: accuracy is not known"
        timed = f"timed in {processes} process{'' if processes == 1 else 'es'}" if processes else "not timed"
        yield cell(f"{result.target}: evaluated on {images} images{labels}; {timed}.")
    for digest in dict.fromkeys(result.images for result in run.measured if result.images):
        yield f"Digest of the evaluation images: {code(digest)}."


def _files(run: Run) -> str:
    rows = [
        (result.target, name, each.digest, f"{each.size_mb:.2f}")
        for result in run.measured
        for name, each in result.variants.items()
    ]
    if not rows:
        return "No network was measured."
    return "The verdict is about the files with these digests (SHA-256 over their names and contents).\n\n" + table(
        ("target", "variant", "digest", "MB"), rows
    )


def _limits(run: Run) -> Iterator[str]:
    yield "The accuracy is that of the evaluation images. Other images may give another one."
    yield "The latency is that of the machine under Conditions. Another machine, power mode or version may differ."
    if any(not result.has_labels for result in run.measured):
        yield "The images have no labels: how often the network is correct is not known."
    for target, result in run.results.items():
        if not isinstance(result, Measured):
            word = "a device has not measured it yet" if isinstance(result, Deferred) else "it was not measured"
            yield cell(f"Nothing is known of {target}: {word}.")


def _reproduce(run: Run) -> str:
    recipe = json.dumps(_without_folders(run.recipe), indent=1, ensure_ascii=False)
    return (
        f"Run {code(run.id)} made these numbers, from the recipe with digest {code(run.recipe_digest)}. "
        "Save the recipe as `recipe.yaml` (JSON is YAML). Of absolute paths only the last part is shown: put your own."
        "\n\n```sh\nedgeresnet run recipe.yaml\n```\n\n"
        f"````json\n{text.in_json(recipe)}\n````"
    )


def _without_folders(value: object) -> object:
    """Return a value of JSON in which absolute paths are their last part: a card is published, a folder is private."""
    if isinstance(value, Mapping):
        return {key: _without_folders(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_folders(each) for each in value]
    if isinstance(value, str) and (value.startswith(("/", "~")) or PureWindowsPath(value).is_absolute()):
        return PureWindowsPath(value).name if PureWindowsPath(value).is_absolute() else PurePath(value).name
    return value


def _items(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
