"""What values each tensor takes over the calibration images: collected once, for every dialect and every estimator.

The engine fixes its own batch and visits the images in the order of their content, so neither the batch that the
network is fixed to nor the order of the files changes a bit. Knows no scales and no dialects.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx

from ..errors import EdgeresnetError, ImagesError, ModelError
from . import session
from .histogram import Histogram
from .net import Net

VERSION = 2
HALVES = 2  # disjoint: what only one of them shows is chance
_COUNTED = 1 << 14  # values of one tensor and image that enter its histogram; its extremes are over all of them


@dataclass
class Tensor:
    """Extremes are per channel."""

    halves: list[Histogram] = field(default_factory=lambda: [Histogram() for _ in range(HALVES)])
    lowest: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    highest: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))

    @property
    def whole(self) -> Histogram:
        return self.halves[0].plus(self.halves[1])

    @property
    def extremes(self) -> tuple[float, float]:
        return float(self.lowest.min()), float(self.highest.max())

    def add(self, lowest: np.ndarray, highest: np.ndarray, few: np.ndarray, half: int) -> None:
        """Of one image: its channels' extremes, and the values that are counted."""
        if not len(self.lowest):
            self.lowest, self.highest = lowest, highest
        else:
            self.lowest, self.highest = np.minimum(self.lowest, lowest), np.maximum(self.highest, highest)
        self.halves[half].add(few)

    def to_json(self) -> dict[str, Any]:
        return {
            "halves": [half.to_json() for half in self.halves],
            "lowest": self.lowest.tolist(),
            "highest": self.highest.tolist(),
        }

    @staticmethod
    def from_json(stored: dict[str, Any]) -> Tensor:
        return Tensor(
            [Histogram.from_json(half) for half in stored["halves"]],
            np.asarray(stored["lowest"], np.float32),
            np.asarray(stored["highest"], np.float32),
        )


@dataclass
class Ranges:
    """`about` says of which network, images and preprocessing; `images` how many have been seen so far."""

    about: dict[str, str]
    images: int = 0
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def dump(self) -> bytes:
        tensors = {name: tensor.to_json() for name, tensor in self.tensors.items()}
        return json.dumps({"version": VERSION, "about": self.about, "images": self.images, "tensors": tensors}).encode()

    @staticmethod
    def load(path: Path, about: Mapping[str, str]) -> Ranges:
        """Refused when they are of another network, other images or another preprocessing."""
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            found = Ranges(
                stored["about"],
                stored["images"],
                {name: Tensor.from_json(tensor) for name, tensor in stored["tensors"].items()},
            )
            version = stored["version"]
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise EdgeresnetError(f"{path} holds no ranges: {problem}", hint="calibrate again") from problem
        other = [what for what in about if found.about.get(what) != about[what]]
        if version != VERSION or other:
            raise EdgeresnetError(
                f"{path} was collected with {_other(other) if other else 'another version of edgeresnet'}",
                hint="calibrate again: ranges hold for one network, its images and their preprocessing",
            )
        return found

    def not_reproduced(self, tolerance: float = 0.25) -> dict[str, tuple[float, float]]:
        """Tensors whose range one half of the images does not show as the other half does: tensor → both ranges."""
        found = {}
        for name, tensor in self.tensors.items():
            one, two = (_reach(half) for half in tensor.halves)
            if max(one, two) > (1 + tolerance) * min(one, two):
                found[name] = (one, two)
        return found


def wanted(net: Net) -> list[str]:
    """Every tensor that some dialect may quantize: what weighted layers, additions and poolings read."""
    readers = ("Conv", "Gemm", "Add", "MaxPool", "GlobalAveragePool", "AveragePool", "ReduceMean")
    inputs = (name for node in net.nodes if node.kind in readers for name in node.inputs)
    return list(dict.fromkeys(name for name in inputs if name and name not in net.constants))


class Views(NamedTuple):
    """One pass over the images seen twice: as the network is, and as it would be with its channels rescaled."""

    plain: Ranges
    equalized: Ranges | None = None
    factors: Callable[[str], np.ndarray | None] = lambda tensor: None

    def add(self, tensor: str, image: np.ndarray, half: int) -> bool:
        """One image's values of a tensor, channels first; refused where some are no numbers, or infinite."""
        flat = image.reshape(len(image), -1)
        lowest, highest, few = flat.min(1), flat.max(1), flat[:, :: _stride(flat.shape)]
        if not (np.isfinite(lowest).all() and np.isfinite(highest).all()):
            return False
        self.plain.tensors.setdefault(tensor, Tensor()).add(lowest, highest, few, half)
        if self.equalized is not None:
            factors = self.factors(tensor)
            if factors is not None:
                by = factors.astype(np.float32)
                lowest, highest, few = lowest * by, highest * by, few * by[:, None]
            self.equalized.tensors.setdefault(tensor, Tensor()).add(lowest, highest, few, half)
        return True

    def counted(self, images: int) -> None:
        for each in filter(None, (self.plain, self.equalized)):
            each.images += images


def collect(
    model: onnx.ModelProto,
    batches: Iterable[np.ndarray],
    views: Views,
    on_images: Callable[[Views], None] = lambda views: None,
    name: Callable[[int], str] = lambda index: f"image {index}",
) -> Views:
    """Goes on where `views` are, in place. `batches` are the images that they have not seen, in order."""
    net = Net(model)
    tensors = [tensor for tensor in wanted(net) if tensor != net.input]
    run = session.Runner(model, tensors)
    for batch in batches:
        values = dict(zip(tensors, run(batch), strict=True))
        values[net.input] = batch
        for tensor, value in values.items():
            for index, image in enumerate(value, views.plain.images):
                if not views.add(tensor, image, index % HALVES):
                    raise ModelError(
                        f"{tensor} is NaN or infinite for {name(index)}",
                        hint="no range can be found for it: look at that image, and at the layer that makes this "
                        "tensor",
                    )
        views.counted(len(batch))
        on_images(views)
    _refuse_constant(views.plain, net)
    return views


def _stride(shape: tuple[int, ...]) -> int:
    """Over one channel's values: odd, so that it does not walk down one column."""
    channels, each = shape
    step = max(1, -(-channels * each // _COUNTED))
    return step if step % 2 or step == 1 else step + 1


def _reach(histogram: Histogram) -> float:
    """The magnitude that one value in ten thousand exceeds: extremes themselves are reproduced by no two sets."""
    counts = histogram.counts.astype(np.float64)
    middle = len(counts) // 2
    folded = counts[middle:] + counts[:middle][::-1]
    beyond = np.cumsum(folded[::-1])[::-1]
    over = np.flatnonzero(beyond > 1e-4 * max(beyond[0], 1.0))
    return float((over[-1] + 1 if len(over) else 1) * 2.0**histogram.exponent)


def _refuse_constant(ranges: Ranges, net: Net) -> None:
    lowest, highest = ranges.tensors[net.input].lowest, ranges.tensors[net.input].highest
    if bool((lowest == highest).all()):
        raise ImagesError(
            "the calibration images are all of one colour: every range would be a guess",
            hint="calibrate with images as the network will see them",
        )


def _other(what: list[str]) -> str:
    return "another " + " and other ".join(what)
