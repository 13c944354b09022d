"""The values that each tensor takes over the calibration images: collected once, for all dialects and estimators.

The engine chooses its own batch and visits the images in the order of their content, so neither the network's fixed
batch nor the order of the files changes a bit. Knows no scales and no dialects.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx

from ..errors import EdgeresnetError, ImagesError, ModelError
from ..portable import codec, documents
from . import session
from .histogram import Histogram, StoredHistogram
from .net import Net

VERSION = 2
HALVES = 2  # disjoint: what only one of them shows is chance
_COUNTED = 1 << 14  # values of one tensor and image that enter its histogram; its extremes are over all of them


@dataclass(frozen=True)
class Origin:
    """What ranges belong to, each by its digest; empty for ranges that are not stored."""

    network: str = ""
    images: str = ""
    preprocessing: str = ""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in JSON."""

    halves: tuple[StoredHistogram, ...]
    lowest: tuple[float, ...]
    highest: tuple[float, ...]


@dataclass(frozen=True)
class StoredRanges:
    """Ranges in JSON."""

    version: int
    about: Origin
    images: int
    tensors: Mapping[str, StoredTensor]


@dataclass
class Tensor:
    """The values of one tensor: a histogram for each half of the images, and extremes per channel."""

    halves: list[Histogram] = field(default_factory=lambda: [Histogram() for _ in range(HALVES)])
    lowest: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    highest: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))

    @property
    def histogram(self) -> Histogram:
        """Both halves together."""
        return self.halves[0].plus(self.halves[1])

    @property
    def extremes(self) -> tuple[float, float]:
        """The lowest and the highest value of any channel."""
        return float(self.lowest.min()), float(self.highest.max())

    def add(self, lowest: np.ndarray, highest: np.ndarray, few: np.ndarray, half: int) -> None:
        """Add one image: its channels' extremes, and the values that are counted."""
        if not len(self.lowest):
            self.lowest, self.highest = lowest, highest
        else:
            self.lowest, self.highest = np.minimum(self.lowest, lowest), np.maximum(self.highest, highest)
        self.halves[half].add(few)

    def add_all(self, other: Tensor, *, exchanged: bool) -> None:
        """Add the values of later images. `exchanged`: the other's first half belongs to the second one here."""
        halves = other.halves[::-1] if exchanged else other.halves
        self.halves = [one.plus(two) for one, two in zip(self.halves, halves, strict=True)]
        if not len(self.lowest):
            self.lowest, self.highest = other.lowest, other.highest
        else:
            self.lowest = np.minimum(self.lowest, other.lowest)
            self.highest = np.maximum(self.highest, other.highest)

    def stored(self) -> StoredTensor:
        """Return what is written to a file."""
        halves = tuple(half.stored() for half in self.halves)
        return StoredTensor(halves, tuple(self.lowest.tolist()), tuple(self.highest.tolist()))

    @staticmethod
    def restored(stored: StoredTensor) -> Tensor:
        """Return the tensor that was written to a file."""
        halves = [Histogram.restored(half) for half in stored.halves]
        return Tensor(halves, np.asarray(stored.lowest, np.float32), np.asarray(stored.highest, np.float32))


@dataclass
class Ranges:
    """The ranges of all tensors over the `images` seen so far."""

    origin: Origin = field(default_factory=Origin)
    images: int = 0
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def dump(self) -> bytes:
        """Return the ranges as JSON."""
        tensors = {name: tensor.stored() for name, tensor in self.tensors.items()}
        return json.dumps(codec.encode(StoredRanges(VERSION, self.origin, self.images, tensors))).encode()

    def add(self, other: Ranges) -> None:
        """Add the ranges of the images that come next: what collecting these, too, would have given."""
        exchanged = self.images % HALVES == 1
        for name, tensor in other.tensors.items():
            self.tensors.setdefault(name, Tensor()).add_all(tensor, exchanged=exchanged)
        self.images += other.images

    @staticmethod
    def parsed(data: bytes) -> Ranges:
        """Return ranges that `dump` wrote."""
        return _restored(codec.decode(StoredRanges, documents.parse_json(data)))

    @staticmethod
    def load(path: Path, origin: Origin) -> Ranges:
        """Read ranges; refuse those of another network, other images or another preprocessing."""
        try:
            stored = _parsed(path)
            found = _restored(stored) if stored else Ranges()
        except (OSError, ValueError) as problem:
            raise EdgeresnetError(
                str(path), f"does not contain calibration ranges: {problem}", hint="calibrate again"
            ) from problem
        if stored is None or stored.about != origin:
            raise EdgeresnetError(
                str(path),
                f"was collected with {_other(stored.about, origin) if stored else 'another version of edgeresnet'}",
                hint="calibrate again: ranges are valid for one network, its images and its preprocessing",
            )
        return found

    def not_reproduced(self, tolerance: float = 0.25) -> dict[str, tuple[float, float]]:
        """Return the tensors whose range differs between the halves of the images, with both ranges."""
        found = {}
        for name, tensor in self.tensors.items():
            one, two = (_reach(half) for half in tensor.halves)
            if max(one, two) > (1 + tolerance) * min(one, two):
                found[name] = (one, two)
        return found


def _restored(stored: StoredRanges) -> Ranges:
    tensors = {name: Tensor.restored(tensor) for name, tensor in stored.tensors.items()}
    return Ranges(stored.about, stored.images, tensors)


def factors(one: Ranges, other: Ranges) -> dict[str, np.ndarray]:
    """Return by how much the channels of each tensor are larger in the other view of the same network and images."""
    found = {}
    for name in one.tensors.keys() & other.tensors.keys() if one is not other else ():
        pairs = [(tensor.lowest, tensor.highest) for tensor in (one.tensors[name], other.tensors[name])]
        before, after = (np.maximum(-lowest, highest) for lowest, highest in pairs)
        found[name] = np.divide(after, before, out=np.ones_like(before), where=before != 0)
    return found


def wanted(net: Net) -> list[str]:
    """List every tensor that some dialect may quantize: what weighted layers, additions and poolings read."""
    readers = ("Conv", "Gemm", "Add", "MaxPool", "GlobalAveragePool", "AveragePool", "ReduceMean")
    inputs = (name for node in net.nodes if node.kind in readers for name in node.inputs)
    return list(dict.fromkeys(name for name in inputs if name and name not in net.constants))


class Views(NamedTuple):
    """Two sets of ranges from one pass over the images: the network as it is, and with its channels rescaled."""

    plain: Ranges
    equalized: Ranges | None = None
    factors: Callable[[str], np.ndarray | None] = lambda tensor: None

    def add(self, tensor: str, image: np.ndarray, half: int) -> bool:
        """Add one image's values of a tensor, channels first; return False where one is NaN or infinite."""
        flat = image.reshape(len(image), -1)
        lowest, highest, few = flat.min(1), flat.max(1), np.ascontiguousarray(flat[:, :: _stride(image.shape)])
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

    def expect(self, tensors: Iterable[str]) -> None:
        """Add a place for each tensor, in this order: threads fill them later."""
        for each in filter(None, (self.plain, self.equalized)):
            for tensor in tensors:
                each.tensors.setdefault(tensor, Tensor())

    def counted(self, images: int) -> None:
        """Count images whose values were added."""
        for each in filter(None, (self.plain, self.equalized)):
            each.images += images


def collect(
    model: onnx.ModelProto,
    batches: Iterable[np.ndarray],
    views: Views,
    on_images: Callable[[Views], None] = lambda views: None,
    name: Callable[[int], str] = lambda index: f"image {index}",
) -> Views:
    """Continue `views` in place. `batches` are the images that they have not seen, in order."""
    add_batches(model, batches, views, on_images, name)
    refuse_constant(views.plain, Net(model))
    return views


def add_batches(
    model: onnx.ModelProto,
    batches: Iterable[np.ndarray],
    views: Views,
    on_images: Callable[[Views], None] = lambda views: None,
    name: Callable[[int], str] = lambda index: f"image {index}",
) -> None:
    """Add images to `views`, whatever they show."""
    net = Net(model)
    tensors = [tensor for tensor in wanted(net) if tensor != net.input]
    run = session.Runner(model, tensors)
    for batch, found in run.over(batches):
        values = {**dict(zip(tensors, found, strict=True)), net.input: batch}
        views.expect(values)

        def add(tensor: str, values: dict[str, np.ndarray] = values) -> None:
            for index, image in enumerate(values[tensor], views.plain.images):
                if not views.add(tensor, image, index % HALVES):
                    raise ModelError(
                        tensor,
                        f"is NaN or infinite for {name(index)}",
                        hint="check this image, and the layer that computes this tensor",
                    )

        session.each(add, values)
        values.clear()
        found.clear()  # before the next batch is computed: large maps fill memory
        views.counted(len(batch))
        on_images(views)


def _stride(shape: tuple[int, ...]) -> int:
    """Return the step over one channel's values. It has no common factor with the width, so it visits every column."""
    step = max(1, -(-math.prod(shape) // _COUNTED))
    while len(shape) > 1 and math.gcd(step, shape[-1]) > 1:
        step += 1
    return step


def _reach(histogram: Histogram) -> float:
    """Return the magnitude that one value in ten thousand exceeds: the extremes themselves differ in any two sets."""
    counts = histogram.counts.astype(np.float64)
    middle = len(counts) // 2
    folded = counts[middle:] + counts[:middle][::-1]
    beyond = np.cumsum(folded[::-1])[::-1]
    over = np.flatnonzero(beyond > 1e-4 * max(beyond[0], 1.0))
    return float((over[-1] + 1 if len(over) else 1) * 2.0**histogram.exponent)


def refuse_constant(ranges: Ranges, net: Net) -> None:
    """Refuse images of one colour: they give no range."""
    lowest, highest = ranges.tensors[net.input].lowest, ranges.tensors[net.input].highest
    if bool((lowest == highest).all()):
        raise ImagesError(
            "the calibration images",
            "have only one colour, so ranges cannot be measured",
            hint="calibrate with images like those that the network will see",
        )


def _parsed(path: Path) -> StoredRanges | None:
    """Read the file; return None where another version of edgeresnet wrote it."""
    document = documents.parse_json(documents.read_bytes(path))
    version = document.get("version") if isinstance(document, dict) else None
    return codec.decode(StoredRanges, document) if version in (None, VERSION) else None


def _other(there: Origin, wanted: Origin) -> str:
    names = [each.name for each in fields(Origin) if getattr(there, each.name) != getattr(wanted, each.name)]
    return "another " + " and other ".join(names)
