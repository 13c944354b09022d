"""From ranges to an INT8 network: placement, scales, and what brings the answers closer, each step kept if it helps.

Sees a network, its ranges and calibration images; knows no recipes and no files. Some of the images are held out: they
have no part in any number of the network, and decide which steps stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import onnx

from ..device import evaluate
from ..device.session import Dialect
from . import placement as place
from . import qdq, refine, scales, session
from .net import Net
from .ranges import Ranges

_MOST_HELD_OUT = {"fast": 32, "balanced": 64, "best": 64}
_CORRECTED_WITH = 128  # images that bias correction looks at: more change hundredths of a decibel

Images = Callable[[], Iterator[np.ndarray]]  # normalised batches of the engine's size, again at every call


@dataclass(frozen=True)
class Source:
    """A network, equalized or not, with the ranges that were collected on it."""

    model: onnx.ModelProto
    ranges: Ranges


@dataclass
class Step:
    """What a step came to on the held-out images; None where there are none."""

    name: str
    sqnr_db: float | None
    kept: bool


@dataclass
class Quantized:
    model: onnx.ModelProto
    placement: place.Placement
    steps: list[Step] = field(default_factory=list)
    sqnr_db: float | None = None
    agree: int = 0
    held_out: int = 0

    def notes(self) -> dict[str, Any]:
        return {
            "steps": [asdict(step) for step in self.steps],
            "int8": [place.label(node) for node in self.placement.weights.values()],
            "kept_float": dict(self.placement.kept),
            "held_out": {"images": self.held_out, "agree": self.agree, "sqnr_db": self.sqnr_db},
        }


def quantize(
    plain: Source,
    equalized: Source | None,
    dialect: Dialect,
    learn: Images,
    held_out: np.ndarray,
    *,
    estimator: str = "mse",
    effort: str = "fast",
    exclude: tuple[str, ...] = (),
) -> Quantized:
    judge = _Judge(plain.model, held_out)
    found: Quantized | None = None
    steps: list[Step] = []
    for name, source in (("", plain), ("equalize", equalized)):
        if source is None:
            continue
        placement = place.place(Net(source.model), dialect, exclude)
        values = _values(source, placement, estimator)
        tried = _corrected(source, placement, values, learn, judge, None if name else steps)
        if name:
            steps.append(Step(name, tried.sqnr_db, _better(tried, found)))
        if found is None or steps[-1].name != name or steps[-1].kept:
            found = tried
    assert found is not None
    found.steps = steps
    return found


def most_held_out(effort: str) -> int:
    return _MOST_HELD_OUT[effort]


def _corrected(
    source: Source,
    placement: place.Placement,
    values: qdq.Values,
    learn: Images,
    judge: _Judge,
    steps: list[Step] | None,
) -> Quantized:
    """With biases corrected where that helps; `steps` is told, where it is given."""
    before = judge(qdq.write(source.model, placement, values), placement)
    if not placement.weights:
        return before
    corrected = refine.bias_correction(source.model, placement, values, _first(learn(), _CORRECTED_WITH))
    after = judge(qdq.write(source.model, placement, corrected), placement)
    if steps is not None:
        steps.append(Step("scales", before.sqnr_db, kept=True))
        steps.append(Step("bias correction", after.sqnr_db, _better(after, before)))
    return after if _better(after, before) else before


def _values(source: Source, placement: place.Placement, estimator: str) -> qdq.Values:
    net, values = Net(source.model), qdq.Values()
    for tensor, grid in placement.points.items():
        decides = placement.source(tensor)
        if decides not in values.scales:
            seen = source.ranges.tensors[decides]
            values.scales[decides] = scales.activation(seen.whole, seen.extremes, grid, estimator)
    for name, layer in placement.weights.items():
        weights = net.constants[layer.inputs[1]]
        values.weights[name] = weights
        values.weight_scales[name] = scales.weights(weights, place.weight_axis(layer), placement.weight_grid)
    return values


def _better(one: Quantized, other: Quantized | None) -> bool:
    if other is None or one.sqnr_db is None or other.sqnr_db is None:
        return True  # nothing held out can say otherwise
    return one.sqnr_db >= other.sqnr_db


def _first(batches: Iterator[np.ndarray], count: int) -> Iterator[np.ndarray]:
    for batch in batches:
        if count <= 0:
            return
        yield batch[:count]
        count -= len(batch)


class _Judge:
    """How an INT8 network answers the held-out images, against the FP32 network."""

    def __init__(self, model: onnx.ModelProto, images: np.ndarray):
        self._images = images
        self._expected = self._answers(model) if len(images) else None

    def __call__(self, model: onnx.ModelProto, placement: place.Placement) -> Quantized:
        if self._expected is None:
            return Quantized(model, placement)
        given = self._answers(model)
        sqnr = evaluate.sqnr_db(self._expected, given)
        agree = int((given.argmax(1) == self._expected.argmax(1)).sum())
        exact = float("inf") if sqnr is None else sqnr
        return Quantized(model, placement, sqnr_db=exact, agree=agree, held_out=len(given))

    def _answers(self, model: onnx.ModelProto) -> np.ndarray:
        run = session.Runner(model, [model.graph.output[0].name])
        size = session.batch_for(self._images.shape[1:])
        return np.concatenate([run(self._images[i : i + size])[0] for i in range(0, len(self._images), size)])
