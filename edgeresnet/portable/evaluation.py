"""A trial of one target: what its networks answer, what really ran, and how long they take, as one result.

At home `verify` makes it of a run's artifacts, on the device of a bundle's files: the same numbers, under the same
names. Judges nothing.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import EdgeresnetError, TargetError, first_line, machine_error
from . import inference, machine, yardstick
from .advice import float_layers
from .preprocessing import Preprocessing
from .session import Layer, Target

RESULT, LOGITS, LAYERS = "result.json", "logits.npz", "layers.json"  # what it leaves behind, at home
REBUILT = "#"  # "int8#2" is the second build of int8: the same file, and with some compilers another engine
# `fp32` is what all are held against: the network as it was given or trained. `half` is the rival of what would ship.
VARIANTS = ("fp32", "pruned", "half", "int8", "candidate")


@dataclass(frozen=True)
class Network:
    """A variant, compiled. `digest` names what it is, `notes` is what its compiler said."""

    compiled: Path
    digest: str
    size_mb: float
    notes: Mapping[str, Any]

    @property
    def batch(self) -> int:
        """How many images at a time its latency is measured with."""
        about = self.notes["signature"]
        return about["batch"] or about["least"]

    def images(self, pixels: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
        """What it is given of decoded images."""
        return pixels if self.notes["signature"]["pixels"] else preprocessing.normalize(pixels)


class Answers(NamedTuple):
    logits: np.ndarray
    layers: list[Layer]


@dataclass(frozen=True)
class Asked:
    """The images that were asked about. `expected` are the FP32 reference's logits; no labels, no accuracy.

    `images` is their digest: another run's answers to them can be held against these, image by image.
    """

    classes: Sequence[str]
    labels: np.ndarray | None
    expected: np.ndarray
    skipped: Sequence[str] = ()
    images: str | None = None


def runs(target: Target, compiled: Path, image: np.ndarray) -> None:
    """Asked once; a TargetError where it does not."""
    with as_failure(), target.load(compiled) as session:
        session.infer(image)


def answers(
    target: Target, compiled: Path, batches: Iterable[np.ndarray], on_batch: Callable[[int], None] = lambda done: None
) -> Answers:
    """Of every image, in order; `on_batch` is told how many are done."""
    with contextlib.ExitStack() as stack:
        with as_failure():
            session = stack.enter_context(target.load(compiled))
        done = 0

        def count(images: int) -> None:
            nonlocal done
            done += images
            on_batch(done)

        with as_failure(lambda: done):
            logits = inference.predict(session, batches, count)
        with as_failure():
            return Answers(logits, list(session.layers()))


def result(
    target: Target,
    candidate: str,
    asked: Asked,
    networks: Mapping[str, Network],
    answered: Mapping[str, Answers],
    latencies: Mapping[str, Any],
) -> dict[str, Any]:
    """`candidate` is the variant that would ship; `latencies` are `measure.collected`, where any were measured.

    The yardstick's times stand beside the variants: it is none.
    """
    every = {name: _variant(name, asked, network, answered[name], latencies) for name, network in networks.items()}
    if "pruned" in answered and "int8" in every:  # quantization's loss, without pruning's
        before, after = answered["pruned"].logits, answered["int8"].logits
        every["int8"]["against_pruned"] = inference.compare(before, after, asked.labels)
    again = [every.pop(name) for name in list(every) if REBUILT in name]
    return {
        "target": target.name,
        "candidate": candidate,
        "classes": list(asked.classes),
        "labels": None if asked.labels is None else asked.labels.tolist(),
        "skipped": list(asked.skipped),
        "images": asked.images,
        "variants": every,
        **({"rebuilds": again} if again else {}),
        "yardstick": {"sha256": yardstick.SHA256, "latency": latencies.get(yardstick.NAME)},
        "machine": machine.describe(),
        "versions": dict(target.available().versions),
        "reference_predicted": asked.expected.argmax(1).tolist(),
    }


def _variant(
    name: str, asked: Asked, network: Network, answered: Answers, latencies: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "accuracy": inference.compare(asked.expected, answered.logits, asked.labels),
        "predicted": answered.logits.argmax(1).tolist(),
        "latency": latencies.get(name),
        "size_mb": network.size_mb,
        "digest": network.digest,
        "notes": dict(network.notes),
        "precisions": dict(Counter(layer.precision for layer in answered.layers)),
        **({"float_layers": float_layers(answered.layers)} if name in ("int8", "candidate") else {}),
    }


def may_miss(variant: str, candidate: str) -> bool:
    """Whether the others are told without it: a twin whose numbers do not fit into half precision is no twin."""
    return variant == "half" and candidate != "half"


def builds(variant: str, count: int) -> list[str]:
    """The names of a variant that is built so many times."""
    return [variant, *(f"{variant}{REBUILT}{number}" for number in range(2, count + 1))]


@contextlib.contextmanager
def as_failure(image: Callable[[], int] | None = None) -> Iterator[None]:
    """Whatever a runtime throws while it is used becomes its target's failure, with the image where it happened."""
    try:
        yield
    except EdgeresnetError:
        raise
    except Exception as problem:
        failed = machine_error(problem)
        if failed:
            raise failed from problem
        where = f" in the batch from image {image()} on" if image else ""
        raise TargetError(
            f"failed{where}: {first_line(problem)}", hint="`edgeresnet run --again verify` tries once more"
        ) from problem
