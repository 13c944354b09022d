"""From ranges to an INT8 network: placement, scales, and what brings the answers closer, each step kept if it helps.

Sees a network, its ranges and calibration images; knows no recipes and no files. Some of the images are held out: they
have no part in any number of the network, and decide which steps stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import onnx

from ..errors import ModelError
from ..portable import inference
from ..portable.preprocessing import Preprocessing
from ..portable.session import Dialect
from . import layers, pixels, qdq, refine, scales, session
from . import placement as places
from .net import Net, Node
from .ranges import Ranges

_CORRECTED_WITH = 1 << 20  # values of all images that bias correction looks at: more change hundredths of a decibel
_JUDGED_WITH = 1 << 23  # and that steps are judged on
_FEWEST, _MOST = 16, 128  # images, however large or small
_LAYER_BY_LAYER = 8, 1 << 20  # images at least, and values of all images, that the layers' noise is told on
_EXACT_DB = 200.0  # no difference at all: more than float32 tells apart
_LARGE = 1 << 16  # values of an image from which on a step of learning takes fewer of them

Batches = Callable[..., Iterator[np.ndarray]]  # normalised batches of the engine's size, again at every call
Progress = Callable[[int, int, str], None]


EFFORTS = {"fast": 0, "balanced": 300, "best": 1200}  # steps of learning


@dataclass(frozen=True)
class Source:
    """A network, equalized or not, with the ranges that were collected on it, and scales that need none."""

    model: onnx.ModelProto
    ranges: Ranges
    known: Mapping[str, float] = field(default_factory=dict)

    @property
    def image(self) -> str:
        return str(self.model.graph.input[0].name)


@dataclass(frozen=True)
class Choices:
    dialect: Dialect
    estimator: str = "mse"
    effort: str = "fast"
    exclude: tuple[str, ...] = ()
    minutes: float = 10.0  # that learning may take
    seed: int = 0
    preprocessing: Preprocessing | None = None  # of images that were pixels before

    def placed(self, net: Net) -> places.Placement:
        deep = self.preprocessing is not None and self.preprocessing.bits > 8
        return places.place(net, self.dialect, self.exclude, deep=deep)


@dataclass(frozen=True)
class Step:
    """What a step came to on the held-out images; None where there are none."""

    name: str
    sqnr_db: float | None
    kept: bool


@dataclass
class Quantized:
    """One state of the work: where it comes from, what it is, and how it answers."""

    source: Source
    placement: places.Placement
    values: qdq.Values
    sqnr_db: float | None = None
    agree: int = 0
    held_out: int = 0
    steps: list[Step] = field(default_factory=list)
    layers: dict[str, float | None] = field(default_factory=dict)  # SQNR of each one's output; empty: not known

    def model(self) -> onnx.ModelProto:
        return qdq.write(self.source.model, self.placement, self.values)

    def executed(self) -> onnx.ModelProto:
        """As the compiler rounds."""
        return qdq.write(self.source.model, self.placement.executed(), self.values)

    def notes(self) -> dict[str, Any]:
        return {
            "steps": [asdict(step) for step in self.steps],
            "layers": self.layers,
            "int8": [places.label(node) for node in self.placement.weights.values()],
            "kept_float": dict(self.placement.kept),
            "images_in_levels": pixels.LEVELS in self.placement.points,
            "held_out": {"images": self.held_out, "agree": self.agree, "sqnr_db": self.sqnr_db},
        }


def quantize(
    plain: Source,
    equalized: Source | None,
    choices: Choices,
    learn: Batches,
    held_out: np.ndarray,
    progress: Progress = lambda done, total, word: None,
) -> Quantized:
    """The networks become the engine's: their first layer is changed in place."""
    judge, steps = _Judge(plain.model, held_out), list[Step]()
    plain, equalized = _in_levels(plain, choices), _in_levels(equalized, choices) if equalized else None

    def keep(name: str, tried: Quantized, before: Quantized) -> Quantized:
        better = before.sqnr_db is None or tried.sqnr_db is None or tried.sqnr_db >= before.sqnr_db
        steps.append(Step(name, tried.sqnr_db, better))
        return tried if better else before

    found = judge(_scaled(plain, choices))
    if not found.placement.weights:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(found.placement.kept.items())[:3])
        raise ModelError(f"no layer is left that would become INT8 ({reasons})", hint="exclude less")
    steps.append(Step("scales", found.sqnr_db, kept=True))
    few = _enough(_CORRECTED_WITH, held_out.shape[1:])
    found = keep("bias correction", judge(_corrected(found, learn(count=few))), found)
    if equalized is not None:
        other = _corrected(_scaled(equalized, choices), learn(count=few))
        found = keep("equalized channels", judge(other), found)
    if EFFORTS[choices.effort]:
        tried, word = _learned(found, choices, learn, progress)
        found = keep(word, judge(tried), found)
    found.steps = steps
    if len(held_out):
        outputs = {places.label(node): node.outputs[0] for node in found.placement.weights.values()}
        least, values = _LAYER_BY_LAYER
        some = held_out[: max(least, min(_MOST, values // held_out[0].size))]
        found.layers = layers.noise(found.source.model, found.executed(), outputs, some)
    return found


def stand_in(model: onnx.ModelProto, choices: Choices) -> onnx.ModelProto:
    """The INT8 network as far as a clock can tell, without one image: how long it takes is decided by where Q/DQ stand,
    not by the numbers between them. No two scales are alike, or a compiler might leave one out.
    """
    source = _in_levels(Source(model, Ranges({})), choices)
    net = Net(source.model)
    placement = choices.placed(net)
    alike = dict.fromkeys(map(placement.source, placement.points))
    made_up = {tensor: 2.0**-5 * (1 + number / 1024) for number, tensor in enumerate(alike)}
    found = _scaled(replace(source, known=made_up | dict(source.known)), choices)
    return qdq.write(source.model, placement, found.values)


def _scaled(source: Source, choices: Choices) -> Quantized:
    net, values = Net(source.model), qdq.Values()
    placement = choices.placed(net)
    for tensor, grid in placement.points.items():
        decides = placement.source(tensor)
        if decides not in values.scales:
            values.scales[decides] = _scale(source, decides, grid, choices.estimator)

    def of_weights(layer: Node) -> np.ndarray:
        return scales.weights(net.constants[layer.inputs[1]], places.weight_axis(layer), placement.weight_grid)

    found = session.each(of_weights, placement.weights.values())
    values.weight_scales = dict(zip(placement.weights, found, strict=True))
    return Quantized(source, placement, values)


def _scale(source: Source, tensor: str, grid: scales.Grid, estimator: str) -> float:
    if tensor in source.known:
        return source.known[tensor]
    seen = source.ranges.tensors[tensor]
    return scales.activation(seen.whole, seen.extremes, grid, estimator)


def _in_levels(source: Source, choices: Choices) -> Source:
    """Images that were pixels cost nothing, unless the layer that reads them stays float."""
    read = source.image in choices.placed(Net(source.model)).points
    if read and choices.preprocessing and pixels.count_in_levels(source.model, choices.preprocessing):
        return replace(source, known={pixels.LEVELS: pixels.SCALE})
    return source


def _corrected(before: Quantized, batches: Iterator[np.ndarray]) -> Quantized:
    values = refine.bias_correction(before.source.model, before.placement, before.values, batches)
    return Quantized(before.source, before.placement, values)


def judged(shape: Sequence[int]) -> int:
    """Of so many held-out images of this shape at most."""
    return _enough(_JUDGED_WITH, shape)


def _enough(values: int, shape: Sequence[int]) -> int:
    return max(_FEWEST, min(_MOST, values // int(np.prod(shape))))


def _learned(before: Quantized, choices: Choices, learn: Batches, progress: Progress) -> tuple[Quantized, str]:
    from . import learn as learning

    images = np.concatenate(list(learn()))
    batch = 32 if images[0].size < _LARGE else 4
    budget = learning.Budget(EFFORTS[choices.effort], 60 * choices.minutes, batch)
    done = learning.learn(
        before.source.model,
        before.placement.executed(),
        before.values,
        images,
        budget,
        choices.seed,
        lambda step, total: progress(step, total, "steps of learning"),
    )
    cut = f" of {budget.steps}, cut by the time budget" if done.steps < budget.steps else ""
    word = f"learned rounding, biases and scales ({done.steps} steps{cut}, {done.seconds:.0f} s)"
    return Quantized(before.source, before.placement, done.values), word


class _Judge:
    """Adds how an INT8 network answers the held-out images, against the FP32 network."""

    def __init__(self, model: onnx.ModelProto, images: np.ndarray):
        self._images = images
        self._expected = self._answers(model) if len(images) else None

    def __call__(self, found: Quantized) -> Quantized:
        if self._expected is not None:
            given = self._answers(found.executed())
            sqnr = inference.sqnr_db(self._expected, given)
            found.sqnr_db = _EXACT_DB if sqnr is None else sqnr
            found.agree = int((given.argmax(1) == self._expected.argmax(1)).sum())
            found.held_out = len(given)
        return found

    def _answers(self, model: onnx.ModelProto) -> np.ndarray:
        run = session.Runner(model, [model.graph.output[0].name])
        size = session.batch_for(self._images.shape[1:])
        return np.concatenate([run(self._images[i : i + size])[0] for i in range(0, len(self._images), size)])
