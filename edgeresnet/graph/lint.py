"""Checks an ONNX file before anything runs: does it take these images, and answer as the task wants it?

Reads the file's description and no weights; needs no onnx. Every refusal is one line that names file and numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .. import tasks
from ..errors import ModelError
from ..portable.onnx_file import FLOAT, FLOAT16, KINDS, OnnxFile, Value
from ..portable.preprocessing import Preprocessing
from ..portable.tasks.detector import Detector
from ..tasks.probabilities import PROBABILITIES
from . import joining
from .joining import Ready

_EXPORT = "export the network alone: one batch of images in, one batch of logits out"
_KINDS = "keep the types of input and output when converting (`keep_io_types`)"
_QUANTIZED = {
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
}


_SUPPRESSES = {"NonMaxSuppression"}
_SIGMOIDS = {"Sigmoid", "QLinearSigmoid"}
_CLASSES = tasks.of(tasks.CLASSIFICATION)


def channels_last(sides: Sequence[int | None], channels: Collection[int]) -> bool:
    """Return whether images of this shape have channels last, as in TensorFlow; an open shape has them first."""
    return len(sides) == 4 and sides[3] in channels and sides[1] not in channels


def sides(preprocessing: Preprocessing, last: bool) -> tuple[int, int, int]:
    """Return the sides of one image."""
    size, channels = preprocessing.size, preprocessing.channels
    return (size, size, channels) if last else (channels, size, size)


def otherwise(turned: bool, last: str, outputs: int = 1) -> list[str]:
    """Return how a reference differs from the file that it is made of, a sentence each."""
    found = []
    if turned:
        found.append("the file takes images as NHWC; the networks that edgeresnet makes of it take NCHW")
    if last in (*PROBABILITIES, "ArgMax", "Sigmoid"):
        ends = f"the file ends in {'an' if last == 'ArgMax' else 'a'} {last}"
        found.append(f"{ends}; the networks that edgeresnet makes of it return the logits before it")
    if outputs > 1:
        found.append(
            f"the file has {outputs} outputs; the networks that edgeresnet makes of it have one, with all of them"
        )
    return found


def reference(
    file: OnnxFile,
    preprocessing: Preprocessing,
    classes: int,
    wanted: int | None,
    task: tasks.LearnedTask = _CLASSES,
) -> int | None:
    """Check an ONNX file that replaces a checkpoint; return the batch that it will have, None where that may vary."""
    quantized = sorted(file.operators & _QUANTIZED)
    if quantized:
        raise ModelError(
            str(file.path),
            f"is quantized already ({quantized[0]}), so it is not an FP32 reference",
            hint="compare it with its original: `model.candidate` in a recipe, or "
            "`edgeresnet verify INT8.onnx --reference FP32.onnx`; "
            "`edgeresnet inspect INT8.onnx --target T` reports whether a compiler accepts it",
        )
    _refuse_suppression(file, preprocessing, classes, task)
    fixed = _fits(file, preprocessing, classes, (FLOAT, *task.kinds), task)
    if wanted is not None and fixed is not None and wanted != fixed:
        raise ModelError(
            str(file.path),
            f"has the fixed batch size {fixed}, but `trace.batch` is {wanted}",
            hint="leave `trace.batch` out, or export the file with a variable batch",
        )
    return wanted or fixed


def candidate(
    file: OnnxFile,
    preprocessing: Preprocessing,
    classes: int,
    against: int | None,
    task: tasks.LearnedTask = _CLASSES,
) -> None:
    """Check a network that another tool made and that runs as it is, next to one whose batch is `against`."""
    ready = _ready(file, classes, task)
    kinds = (FLOAT, FLOAT16, *task.kinds)
    fixed = _fits_ready(file, preprocessing, ready) if ready else _fits(file, preprocessing, classes, kinds, task)
    if not ready:
        _refuse_rounded_scores(file, classes, task)
    own = (file.inputs[0].shape or ())[-3:]
    if channels_last((None, *own), (preprocessing.channels,)):
        raise ModelError(
            str(file.path),
            f"takes its images as {_product(tuple(own))}, channels last",
            hint="targets need channels first: quantize the network that `edgeresnet export` writes from the original",
        )
    if None in own or (not ready and any(each.shape is None or None in each.shape[1:] for each in file.outputs)):
        raise ModelError(
            str(file.path),
            f"has more variable sizes than its batch: {_shown(file.inputs[0])} in, {_shown(file.outputs[0])} out",
            hint="export it with fixed channels, height and width",
        )
    if (fixed or 1) != (against or 1):  # they are timed in turn: each call must carry as many images
        takes = [f"batches of {batch}" if batch else "any batch" for batch in (fixed, against)]
        raise ModelError(
            str(file.path),
            f"takes {takes[0]}, but the network that it is compared with takes {takes[1]}",
            hint="give both the same batch size (`trace.batch` sets the other one), or keep both variable",
        )


def _ready(file: OnnxFile, classes: int, task: tasks.LearnedTask) -> Ready | None:
    """Return what the outputs are of a detector that suppresses boxes itself; None for other networks."""
    return joining.ready(file.outputs, classes, task.detector) if isinstance(task.detector, Detector) else None


def _fits_ready(file: OnnxFile, preprocessing: Preprocessing, ready: Ready) -> int | None:
    """Refuse such a network where it does not take these images; return the fixed batch, or None."""
    _one_of_each(file, several=True)
    image = file.inputs[0]
    if image.kind != FLOAT:
        raise ModelError(str(file.path), f"takes {KINDS.get(image.kind, 'another type')}, not float32", hint=_KINDS)
    single = image.shape is not None and len(image.shape) == 3
    batch, *own = (1, *(image.shape or ())) if single else _sides(file)
    _check_images(file, tuple(own), preprocessing)
    boxes = file.outputs[ready.boxes].shape or ()
    if batch != 1 and (not ready.batched or boxes[1] is None):
        raise ModelError(
            str(file.path),
            f"returns {_product(boxes)} boxes for {'any number of' if batch is None else batch} images",
            hint="export it for one image, or with a fixed number of boxes for each image",
        )
    return batch


def _refuse_suppression(file: OnnxFile, preprocessing: Preprocessing, classes: int, task: tasks.LearnedTask) -> None:
    """Refuse a detector that suppresses boxes itself: INT8 is of the network before that."""
    if isinstance(task.detector, Detector) and (_SUPPRESSES & file.operators or _ready(file, classes, task)):
        from . import suppressing  # needs onnx, and only where a file is refused

        hint, lines = suppressing.how_to_take_out(file.path, preprocessing)
        raise ModelError(
            str(file.path),
            "suppresses boxes itself: INT8 is of the network before that (as `model.candidate` it is judged as it is)",
            hint=hint,
            lines=lines,
        )


def _refuse_rounded_scores(file: OnnxFile, classes: int, task: tasks.LearnedTask) -> None:
    """Refuse a detector with a Sigmoid whose results are rounded: it is not taken off, so scores were probabilities."""
    if isinstance(task.detector, Detector) and "DequantizeLinear" in file.operators and _SIGMOIDS & file.operators:
        from . import suppressing  # needs onnx, and only such a file needs it

        scores = joining.parts(file.path, file.outputs, classes, task.detector).scores
        if found := suppressing.how_to_unround(file.path, scores):
            problem = "rounds its scores to INT8 behind a Sigmoid"
            raise ModelError(str(file.path), problem, hint=found[0], lines=found[1])


def compared(file: OnnxFile, preprocessing: Preprocessing, classes: int, task: tasks.LearnedTask = _CLASSES) -> None:
    """Check a network whose layers are compared with another's, and which never runs."""
    _fits(file, preprocessing, classes, (FLOAT, *task.kinds), task)


def timed(file: OnnxFile) -> None:
    """Check a network that is only timed, on random images: all sides but the batch must be known."""
    _one_of_each(file)
    image = file.inputs[0]
    if image.kind != FLOAT:
        raise ModelError(str(file.path), f"takes {KINDS.get(image.kind, 'another type')}, not float32", hint=_KINDS)
    _, *own = _sides(file)
    if None in own or own[1] != own[2]:
        raise ModelError(
            str(file.path),
            f"takes {_shown(image)}, but latency is measured on square images of a fixed size, channels first",
            hint="export it with fixed channels, height and width; only the batch may be variable",
        )


def _fits(
    file: OnnxFile, preprocessing: Preprocessing, classes: int, answers: tuple[int, ...], task: tasks.LearnedTask
) -> int | None:
    """Refuse a file that does not answer such images as the task wants it; return the fixed batch, or None."""
    _one_of_each(file, several=isinstance(task.detector, Detector))
    image, logits = file.inputs[0], file.outputs[0]
    kinds = [image.kind, next((each.kind for each in file.outputs if each.kind not in answers), logits.kind)]
    if kinds[0] != FLOAT or kinds[1] not in answers:
        words = [KINDS.get(kind, "another type") for kind in kinds]
        raise ModelError(str(file.path), f"takes {words[0]} and returns {words[1]}, not float32", hint=_KINDS)
    batch, *own = _sides(file)
    _check_images(file, tuple(own), preprocessing)
    if isinstance(task.detector, Detector):
        joining.parts(file.path, file.outputs, classes, task.detector)
        return batch
    if logits.shape is not None and task.channels_last(logits.shape, classes):
        raise ModelError(
            str(file.path),
            f"returns {_shown(logits)}, channels last",
            hint="put a Transpose with perm [0, 3, 1, 2] behind its last operator: batch × classes × height × width",
        )
    if logits.shape is not None and not task.declares(logits.shape, classes):
        usual = len(logits.shape) == 1 + len(task.sides(classes))
        found = task.classes_in(logits.shape) if usual else None
        raise ModelError(
            str(file.path),
            f"returns {_shown(logits) if found is None else f'{found} classes'}, but the images have {classes} classes",
            hint=f"the network needs {task.wanted}, channels first",
        )
    return batch


def _one_of_each(file: OnnxFile, *, several: bool = False) -> None:
    if len(file.inputs) != 1 or not file.outputs or (len(file.outputs) > 1 and not several):
        raise ModelError(
            str(file.path),
            f"has {len(file.inputs)} inputs and {len(file.outputs)} outputs instead of one each",
            hint=_EXPORT,
        )


def _sides(file: OnnxFile) -> tuple[int | None, ...]:
    """Return the four sides of its batch of images."""
    image = file.inputs[0]
    if image.shape is None or len(image.shape) != 4:
        raise ModelError(str(file.path), f"takes {_shown(image)}, which is not a batch of images", hint=_EXPORT)
    return image.shape


def _check_images(file: OnnxFile, own: tuple[int | None, ...], preprocessing: Preprocessing) -> None:
    made = sides(preprocessing, channels_last((None, *own), (preprocessing.channels,)))
    if any(side not in (None, wanted) for side, wanted in zip(own, made, strict=True)):
        raise ModelError(
            str(file.path),
            f"takes {_product(own)} images, but preprocessing makes {_product(made)}",
            hint="set `preprocessing.size`, and one number of `preprocessing.mean` for each channel",
        )


def _shown(value: Value) -> str:
    return "an unknown shape" if value.shape is None else _product(value.shape)


def _product(sides: tuple[int | None, ...]) -> str:
    return "×".join("?" if side is None else str(side) for side in sides) or "a single number"
