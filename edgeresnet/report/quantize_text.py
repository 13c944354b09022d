"""What `quantize` did, per target: a document for `--json`, and the same in 80 columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from ..notes import CalibrateNotes, QuantizeNotes
from ..portable.frozen import OMIT, dataclass
from ..portable.result import AnyAccuracy, RunWarning
from ..portable.tasks import DEFAULT, TaskName
from ..portable.tasks.task import task_of
from ..runs import Part, task_in
from ..text import wrapped
from . import shared, summary

_SHOWN = 6  # names; `--json` has all
_MODEL = "model.onnx"


@dataclass(frozen=True)
class CalibrationImages:
    """How many images ranges were collected of, and how many nothing was chosen by."""

    images: int
    held_out: int


@dataclass(frozen=True, kw_only=True)
class QuantizedTarget(QuantizeNotes):
    """An INT8 network for one target. `file` is where the user wants it, once it is written."""

    digest: str
    artifact: str
    evaluation: AnyAccuracy | None  # before any compiler
    file: str = field(default="", metadata=OMIT)


@dataclass(frozen=True)
class Quantized:
    """INT8 networks for one or more targets, from one calibration."""

    name: str
    images: CalibrationImages
    dead_channels: Mapping[str, int]
    warnings: tuple[RunWarning, ...]
    targets: Mapping[str, QuantizedTarget]
    task: TaskName = field(default=DEFAULT, metadata=OMIT)


def of(done: Part) -> Quantized:
    """Return the document of a quantization."""
    calibration = shared.notes_of(done.steps["calibrate"], CalibrateNotes)
    return Quantized(
        name=shared.network_name(done),
        images=CalibrationImages(calibration.images, calibration.held_out),
        dead_channels=calibration.dead_channels,
        warnings=shared.warnings_of(done),
        targets={target: _quantized_target(done, target) for target in done.int8},
        task=task_in(done.recipe).name,
    )


def render(quantized: Quantized) -> str:
    """Return a quantization as text, target by target."""
    images = quantized.images
    ranges = f"ranges from {images.images} calibration images; {images.held_out} others were held out"
    lines = [wrapped(f"{quantized.name}: {ranges}")]
    for target, about in quantized.targets.items():
        lines += ["", *_target_lines(target, about, quantized.task)]
    dead = sum(quantized.dead_channels.values())
    if dead:
        lines += ["", wrapped(f"note: {dead} channels are dead: no calibration image activates them")]
    return "\n".join(lines)


def _quantized_target(done: Part, target: str) -> QuantizedTarget:
    step, evaluated = done.steps[done.int8[target]], done.results.get(done.as_written[target])
    return QuantizedTarget(
        **vars(shared.notes_of(step, QuantizeNotes)),
        digest=shared.digest_of(step),
        artifact=shared.artifact_file(step, _MODEL),
        evaluation=evaluated.variants["int8"].accuracy if evaluated else None,
    )


def _target_lines(target: str, about: QuantizedTarget, task: TaskName) -> list[str]:
    megabytes = f"{about.bytes_before / 1e6:.2f} MB → {about.bytes_after / 1e6:.2f} MB"
    lines = [
        f"{target}: {about.file or about.artifact}",
        f"  {megabytes}, {len(about.int8)} layers INT8, digest {about.digest[:12]}",
    ]
    floats = [f"stays float: {name}: {why}" for name, why in about.kept_float.items()]
    sentences = floats[:_SHOWN]
    if len(floats) > _SHOWN:
        sentences.append(f"and {len(floats) - _SHOWN} more stay float (--json names them)")
    if about.images_in_levels:
        sentences.append("the input keeps its 256 levels: INT8 loses nothing there")
    sentences += summary.placement_sentences(about) + summary.control_sentences(about, task_of(task).flipped)
    sentences += summary.quantizing_sentences(about.steps)
    held_out = about.held_out
    if held_out.images:
        agree = f"{held_out.agree} of {held_out.answers} {held_out.unit}"
        sentences.append(f"held-out images: {agree} are the same, SQNR {summary.sqnr(held_out.sqnr_db)}")
    else:
        sentences.append("there are too few images to hold some out: the loss is not known")
    sentences += summary.noisiest_layers(about)
    if about.evaluation:
        sentences.append(_evaluation_sentence(about.evaluation, task_of(task).flipped))
    return lines + [wrapped(f"  {sentence}", 4) for sentence in sentences]


def _evaluation_sentence(accuracy: AnyAccuracy, flipped: str) -> str:
    drop, interval = summary.signed(accuracy.drop_pp), summary.span(accuracy.drop_interval_pp())
    score = summary.percent(accuracy.score_pct)
    return (
        f"{accuracy.images} evaluation images, in onnxruntime before any compiler: {accuracy.name.short} {score}, "
        f"drop {drop} points ({interval}), {summary.same_answers(accuracy, flipped)}, "
        f"SQNR {summary.sqnr_cell(accuracy)}"
    )
