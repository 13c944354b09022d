"""From ranges to an INT8 network: placement, scales, and corrections, of which each stays only if it helps.

Sees a network, its ranges and calibration images; knows no recipes and no files. Some of the images are held out: no
number of the network depends on them, and they decide which steps stay.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx

from ..deadline import Deadline
from ..errors import ModelError
from ..notes import HeldOut, QuantizeNotes, QuantizeStep
from ..portable import inference
from ..portable.preprocessing import Preprocessing
from ..portable.session import Dialect
from . import answers, equalize, layers, pixels, qdq, reads, refine, rounding, scales, sensitivity, session
from . import placement as places
from .channels import Channels
from .net import Net, Node
from .ranges import Ranges, factors
from .reads import Reads

_CORRECTED_WITH = 1 << 20  # values of all images for bias correction: more change hundredths of a decibel
_OBSERVED_WITH = 1 << 23  # values of all images for rounding weights together
_EVALUATED_WITH = 1 << 23  # values of all held-out images
_FEWEST, _MOST = 16, 128  # images, however large or small
_VERY_LARGE = 1 << 19  # values of an image: half as many such images suffice, since each shows more
_LAYER_BY_LAYER = 4, 1 << 19  # images at least, and values of all images, for the layers' noise
_EXACT_DB = 200.0  # no difference at all: more than float32 can show
_AT_ONCE = ((1 << 16, 32), (1 << 18, 4))  # images to learn from, below this number of values; else one
_OBSERVING = 0.5  # of the time, at most
_FEWEST_OBSERVED = 32  # images
_LEARNED = "learned channels and ranges"

Batches = Callable[..., Iterator[np.ndarray]]  # each call gives all normalised batches again, of the engine's size
Progress = Callable[[int, int, str], None]

EFFORTS = {"fast": 0, "balanced": 1, "best": 2}  # times that all images are learned from: as they are, then mirrored
_MINUTES = {"balanced": 3.0, "best": math.inf}  # the most, whatever a recipe allows


@dataclass(frozen=True)
class Source:
    """A network, equalized or not, and the ranges that were collected on it."""

    model: onnx.ModelProto
    ranges: Ranges
    known: Mapping[str, float] = field(default_factory=dict)  # scales that need no ranges, by tensor

    @property
    def image(self) -> str:
        return str(self.model.graph.input[0].name)


@dataclass(frozen=True)
class Choices:
    """How to quantize: the dialect, and what a recipe chooses."""

    dialect: Dialect
    estimator: str = "mse"
    effort: str = "fast"
    exclude: tuple[str, ...] = ()
    minutes: float = 10.0  # the most that learning may take
    device: str = "auto"  # that learning runs on: auto, cpu or cuda
    seed: int = 0
    preprocessing: Preprocessing | None = None  # of images that were pixels before

    def placed(self, net: Net) -> places.Placement:
        """Place Q/DQ in a network."""
        deep = self.preprocessing is not None and self.preprocessing.bits > 8
        return places.place(net, self.dialect, self.exclude, deep=deep)


def excluding(choices: Choices, patterns: Sequence[str]) -> Choices:
    """Return the choices with more layers left in float: regular expressions on their names."""
    return replace(choices, exclude=(*choices.exclude, *patterns))


@dataclass
class Quantized:
    """One state of the work: where it comes from, what it is, and how it answers the held-out images."""

    source: Source
    placement: places.Placement
    values: qdq.Values
    reads: Reads = field(default_factory=Reads)  # by its layers
    sqnr_db: float | None = None
    agree: int = 0
    held_out: int = 0
    pixels: int | None = None  # of all held-out images that are compared, where each has its own answer
    anchors: int | None = None
    steps: list[QuantizeStep] = field(default_factory=list)
    layers: dict[str, float | None] = field(default_factory=dict)  # SQNR of each layer's output; empty: unknown

    def model(self) -> onnx.ModelProto:
        """Return the INT8 network as it ships."""
        written = qdq.write(self.source.model, self.placement, self.values)
        return pixels.shift_channels(written) if self.placement.image_zeros else written

    def executed(self) -> onnx.ModelProto:
        """Return the network with rounding only where the compiler rounds."""
        return qdq.write(self.source.model, self.placement.executed(), self.values)

    def notes(self, dialect: Dialect, bytes_before: int, bytes_after: int) -> QuantizeNotes:
        """Return what the stage reports; the sizes are those of the file before and after."""
        return QuantizeNotes(
            steps=tuple(self.steps),
            layers=self.layers,
            int8=tuple(places.labels(self.placement.weights.values())),
            kept_float=dict(self.placement.kept),
            images_in_levels=pixels.LEVELS in self.placement.points,
            held_out=HeldOut(self.held_out, self.agree, self.sqnr_db, self.pixels, self.anchors),
            bytes_before=bytes_before,
            bytes_after=bytes_after,
            dialect=dialect,
        )


def quantize(
    plain: Source,
    equalized: Source | None,
    choices: Choices,
    learn: Batches,
    held_out: np.ndarray,
    progress: Progress = lambda done, total, word: None,
) -> Quantized:
    """Quantize a network; change the first layer of both sources in place."""
    attempts, channels = _Attempts(Evaluation(plain.model, held_out)), Channels(Net(plain.model))
    plain, equalized = _in_levels(plain, choices), _in_levels(equalized, choices) if equalized else None
    found = scaled(plain, choices)
    if not found.placement.weights:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(found.placement.kept.items())[:3])
        raise ModelError("the network", f"has no layer that can become INT8 ({reasons})", hint="exclude fewer layers")
    attempts.begin("scales", found)
    few = _enough(_CORRECTED_WITH, held_out.shape[1:])
    forms = [found, *([scaled(equalized, choices)] if equalized is not None else [])]
    images = list(learn(count=_enough(_OBSERVED_WITH, held_out.shape[1:])))

    def corrected() -> Quantized:
        _observe(forms, images, few)
        return _corrected(found)

    def rounded() -> Quantized:
        if not attempts.best.reads.moments:
            _observe([attempts.best], images, few)
        return _rounded(attempts.best)

    attempts.add("bias correction", corrected)
    if equalized is not None:
        attempts.add("equalized channels", lambda: _corrected(forms[-1]))
    forms.clear()  # a form that lost holds large moments
    attempts.add("weights rounded together", rounded)
    images.clear()
    if EFFORTS[choices.effort]:
        _learn(attempts, channels, choices, learn, progress)
    found = attempts.best
    found.steps = attempts.steps
    if len(held_out):
        found.layers = layers_noise(found, held_out)
    return found


def stand_in(model: onnx.ModelProto, choices: Choices) -> onnx.ModelProto:
    """Write a network that takes as long as the INT8 one, without any image: to be timed, not used.

    Where Q/DQ stand decides how long it takes, not their numbers. Scales differ, or a compiler might leave one out.
    """
    source = _in_levels(Source(model, Ranges()), choices)
    placement = choices.placed(Net(source.model))
    alike = dict.fromkeys(map(placement.source, placement.points))
    made_up = {tensor: 2.0**-5 * (1 + number / 1024) for number, tensor in enumerate(alike)}
    return scaled(replace(source, known=made_up | dict(source.known)), choices).model()


def scaled(source: Source, choices: Choices) -> Quantized:
    """Place Q/DQ, and choose every scale from the ranges."""
    values, placement = qdq.Values(), choices.placed(Net(source.model))
    for decides in dict.fromkeys(map(placement.source, placement.points)):
        shifts = choices.dialect.zero_points != "never" and decides not in placement.padded
        grid = placement.points[decides]
        grid, values.scales[decides] = _scale(source, decides, grid, choices.estimator, shifts)
        placement.points.update({tensor: grid for tensor in placement.points if placement.source(tensor) == decides})

    return Quantized(source, placement, _weights_scaled(source, placement, values))


def _weights_scaled(source: Source, placement: places.Placement, values: qdq.Values) -> qdq.Values:
    net = Net(source.model)

    def of_weights(layer: Node) -> np.ndarray:
        return scales.weights(net.constants[layer.inputs[1]], places.weight_axis(layer), placement.weight_grid)

    layers = {layer.inputs[1]: layer for layer in placement.weights.values()}  # one of those that share weights
    found = dict(zip(layers, session.each(of_weights, layers.values()), strict=True))
    return replace(values, weight_scales={name: found[each.inputs[1]] for name, each in placement.weights.items()})


def _scale(source: Source, tensor: str, grid: scales.Grid, estimator: str, shifts: bool) -> tuple[scales.Grid, float]:
    if tensor in source.known:
        return grid, source.known[tensor]
    seen = source.ranges.tensors[tensor]
    if shifts and grid.low < 0:
        return scales.shifted(seen.histogram, seen.extremes, grid, estimator)
    return grid, scales.activation(seen.histogram, seen.extremes, grid, estimator)


def layers_noise(found: Quantized, held_out: np.ndarray) -> dict[str, float | None]:
    """Return the SQNR of each INT8 layer's output."""
    outputs = places.labels(found.placement.weights.values())
    least, values = _LAYER_BY_LAYER
    some = held_out[: max(least, min(_MOST, values // held_out[0].size))]
    return layers.noise(found.source.model, found.executed(), outputs, some)


def _in_levels(source: Source, choices: Choices) -> Source:
    """Count images that were pixels in levels, so that INT8 costs them nothing, if an INT8 layer reads them."""
    read = source.image in choices.placed(Net(source.model)).points
    if read and choices.preprocessing and pixels.count_in_levels(source.model, choices.preprocessing):
        return replace(source, known={pixels.LEVELS: pixels.SCALE})
    return source


def _observe(forms: list[Quantized], images: list[np.ndarray], few: int) -> None:
    """Observe in place what the layers of each form read; moments for the last one alone."""
    model, plain = forms[0].source.model, forms[0].source.ranges
    wanted = [
        reads.Form(form.placement, form.values, factors(plain, form.source.ranges), form is forms[-1]) for form in forms
    ]
    for form, found in zip(forms, reads.observe(model, wanted, images, few), strict=True):
        form.reads = found


def _corrected(before: Quantized) -> Quantized:
    values = refine.bias_correction(before.source.model, before.placement, before.values, before.reads)
    return Quantized(before.source, before.placement, values, before.reads)


def _rounded(before: Quantized) -> Quantized:
    values = replace(before.values, biases={})
    values = rounding.together(before.source.model, before.placement, values, before.reads)
    return _corrected(Quantized(before.source, before.placement, values, before.reads))


def most_held_out(shape: Sequence[int]) -> int:
    """Return how many held-out images of this shape suffice."""
    return _enough(_EVALUATED_WITH, shape)


def _enough(values: int, shape: Sequence[int]) -> int:
    each = int(np.prod(shape))
    return max(_FEWEST if each < _VERY_LARGE else _FEWEST // 2, min(_MOST, values // each))


def _learn(attempts: _Attempts, channels: Channels, choices: Choices, learn: Batches, progress: Progress) -> None:
    """Learn channels with ranges from all images, then from mirrored ones too: in the minutes, evaluation included."""
    deadline = Deadline(60 * min(choices.minutes, _MINUTES[choices.effort]))
    lesson = _Lesson(attempts, channels, choices, learn, progress)
    for number in range(EFFORTS[choices.effort]):
        # Weights are rounded together once more, and the result is evaluated. Half of what is left is for images.
        enough = deadline.left > attempts.slowest and lesson.observe(
            deadline.part(_OBSERVING, reserved=attempts.slowest), mirrored=number == 1
        )
        if not enough:
            attempts.steps.append(QuantizeStep(f"{_LEARNED} (no time was left)", attempts.best.sqnr_db, kept=True))
            return
        attempts.add(lesson.name, lesson.learned)


class _Lesson:
    """Learns channels and ranges from images. Each attempt begins with the same network and has all images so far."""

    def __init__(self, attempts: _Attempts, channels: Channels, choices: Choices, learn: Batches, progress: Progress):
        from . import clipping

        self._before, self._channels, self._learn, self._progress = attempts.best, channels, learn, progress
        self._images = np.concatenate(list(learn()))
        self._shape = self._images.shape[1:]
        self._device, self._seed = clipping.device_of(choices.device), choices.seed
        self._observed, self._wanted = clipping.Observed({}, 0), 0
        model, placement = self._before.source.model, self._before.placement
        some = self._images[: sensitivity.observed(self._shape)]
        seen = sensitivity.observe(model, placement, some, choices.seed)
        self._weights = equalize.weights_noise(Net(model), placement, channels, seen, len(some))

    @property
    def name(self) -> str:
        """What the last step did, for the notes."""
        seen = self._observed
        early = seen.images < self._wanted
        count = f"{seen.images} of {self._wanted}" if early else seen.images
        why = ", stopped by the time budget" if early else ""
        where = "" if seen.device == "cpu" else f" on {seen.device}"
        return f"{_LEARNED} ({count} images{where}{why}{seen.problem})"

    def observe(self, until: Deadline, *, mirrored: bool) -> bool:
        """Run all images forwards and backwards, or as many as there is time for; return whether they suffice."""
        from . import clipping

        before = self._before
        images = self._images[..., ::-1] if mirrored else self._images
        batch = next((batch for below, batch in _AT_ONCE if images[0].size < below), 1)
        given = before.source.model, before.placement, before.source.ranges, images, batch, until
        found = clipping.observe(
            *given,
            self._seed + self._wanted,  # other signs
            self._device,
            lambda done, total: self._progress(done, total, "learning images"),
        )
        self._wanted += len(images)
        self._observed = self._observed.plus(found)
        return self._observed.images >= min(_FEWEST_OBSERVED, len(self._images))

    def learned(self) -> Quantized:
        """Return the network with other factors and ranges; as it was where gradients say nothing."""
        from . import clipping

        before, net = self._before, Net(self._before.source.model)
        placement, curves = before.placement, self._observed.curves()
        found = clipping.learn(net, placement, before.values.scales, self._channels, self._weights, curves)
        if found is None:
            return before
        source = replace(before.source, model=equalize.rescaled(before.source.model, found.of(self._channels)))
        values = qdq.Values(scales={**before.values.scales, **found.scales(placement)})
        form = Quantized(source, placement, _weights_scaled(source, placement, values))
        few, some = _enough(_CORRECTED_WITH, self._shape), _enough(_OBSERVED_WITH, self._shape)
        _observe([form], list(self._learn(count=some)), few)
        return _rounded(form)


class _Attempts:
    """The best network so far, the steps that led to it, and how long they took."""

    def __init__(self, evaluate: Evaluation):
        self._evaluate = evaluate
        self.steps: list[QuantizeStep] = []
        self.slowest = self.evaluation = 0.0  # seconds of a step, and of evaluating it alone

    def begin(self, name: str, found: Quantized) -> None:
        """Begin with a network."""
        self.best = self._evaluate(found)
        self.steps.append(QuantizeStep(name, found.sqnr_db, kept=True))

    def add(self, name: str, make: Callable[[], Quantized]) -> None:
        """Make a network, and keep it where it answers the held-out images at least as closely."""
        began = time.monotonic()
        made = make()
        between = time.monotonic()
        tried, before = self._evaluate(made), self.best
        ended = time.monotonic()
        self.evaluation, self.slowest = ended - between, max(self.slowest, ended - began)
        better = before.sqnr_db is None or tried.sqnr_db is None or tried.sqnr_db >= before.sqnr_db
        self.steps.append(QuantizeStep(name, tried.sqnr_db, better))
        self.best = tried if better else before


class Evaluation:
    """Adds how closely an INT8 network answers the held-out images as the FP32 network does."""

    def __init__(self, model: onnx.ModelProto, images: np.ndarray):
        self._images, self._unit = images, answers.unit_of(model)
        self._expected = answers.answers(model, images) if len(images) else None

    def __call__(self, found: Quantized) -> Quantized:
        if self._expected is not None:
            given = answers.answers(found.executed(), self._images)
            sqnr = inference.sqnr_db(self._expected, given)
            found.sqnr_db = _EXACT_DB if sqnr is None else sqnr
            same = answers.top(given, self._unit) == answers.top(self._expected, self._unit)
            found.agree, found.held_out = int(same.sum()), len(self._images)
            found.pixels = len(given) if self._unit == "pixel" else None
            found.anchors = same.size if self._unit in ("anchor", "cell") else None
        return found
