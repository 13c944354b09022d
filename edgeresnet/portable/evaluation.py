"""The evaluation of one target: what its networks answer, what really ran, and how long they take, as one result.

On the host `verify` makes it of a run's artifacts, on the device `deploy.py` of a bundle's files: the same numbers,
under the same names. Judges nothing.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import EdgeresnetError, TargetError, first_line, machine_error
from . import inference, machine, yardstick
from .advice import float_layers
from .frozen import dataclass
from .preprocessing import Preprocessing
from .result import INT8, Alternative, Choice, Measured, Variant, Yardstick
from .session import CompileNotes, Layer, Target
from .tasks.task import Compare, Given, Labels, Outputs, Task
from .times import Latency

RESULT, LOGITS, LAYERS = "result.json", "logits.npz", "layers.json"  # what it leaves behind, on the host
REBUILT = "#"  # "int8#2" is the second build of int8: the same file, and with some compilers another engine
# `fp32` is the reference: the network as it was given or trained. `half` is the baseline of what would ship.
VARIANTS = ("fp32", "pruned", "half", "int8", "candidate")


@dataclass(frozen=True)
class Network:
    """A variant, compiled. `digest` names what it is, `notes` is what its compiler reported."""

    compiled: Path
    digest: str
    size_mb: float
    notes: CompileNotes

    @property
    def batch(self) -> int:
        """How many images at a time its latency is measured with."""
        return self.notes.signature.batch or self.notes.signature.least

    def images(self, pixels: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
        """Return what it takes, made of decoded images."""
        return pixels if self.notes.signature.pixels else preprocessing.normalize(pixels)


class Answers(NamedTuple):
    given: Given
    layers: list[Layer]


@dataclass(frozen=True)
class ImageSet:
    """The images that were evaluated. `expected` is what the FP32 reference gave; no labels, no accuracy.

    `images` is their digest: another run's answers to them can be compared with these, image by image.
    """

    classes: Sequence[str]
    labels: Labels | None
    expected: Given
    skipped: Sequence[str] = ()
    images: str | None = None
    outputs: Outputs = inference.CLASSES

    @property
    def task(self) -> Task:
        return self.outputs.of_task


@dataclass(frozen=True)
class Several:
    """INT8 networks from which one is chosen, the likeliest first; and why some of them could not be built or run."""

    names: Sequence[str]
    left_out: Mapping[str, str]


def runs(target: Target, compiled: Path, image: np.ndarray) -> None:
    """Run one inference; raise TargetError where that fails."""
    with as_failure(), target.load(compiled) as session:
        session.infer(image)


def answers(
    target: Target,
    compiled: Path,
    batches: Iterable[np.ndarray],
    on_batch: Callable[[int], None] = lambda done: None,
    outputs: Outputs = inference.CLASSES,
) -> Answers:
    """Return the answers to every image, in order; `on_batch` receives how many are done."""
    with contextlib.ExitStack() as stack:
        with as_failure():
            session = stack.enter_context(target.load(compiled))
        done = 0

        def count(images: int) -> None:
            nonlocal done
            done += images
            on_batch(done)

        with as_failure(lambda: done):
            given = inference.predict(session, batches, count, outputs=outputs)
        with as_failure():
            return Answers(given, list(session.layers()))


def result(
    target: Target,
    ships: str,
    images: ImageSet,
    networks: Mapping[str, Network],
    answered: Mapping[str, Answers],
    latencies: Mapping[str, Latency],
    several: Several | None = None,
) -> Measured:
    """Return the result of one target.

    `ships` is the variant that would; `latencies` are `measure.collected`, where any were measured. The
    yardstick's times are stored with the variants, not among them. `several` are the INT8 networks to choose from.
    """
    compare = images.task.against(images.expected, images.labels, images.outputs)
    every = {
        name: _variant(name, images, compare, network, answered[name], latencies.get(name))
        for name, network in networks.items()
    }
    if "pruned" in answered:  # quantization's loss alone
        compare = images.task.against(answered["pruned"].given, images.labels, images.outputs)
        for name in [name for name in INT8 if name in every]:
            every[name] = replace(every[name], against_pruned=compare(answered[name].given))
    first, *others = (name for name in (several.names if several else [ships]) if name in every)
    alternatives = {name: Alternative(every[name], _rebuilds(every, name)) for name in others}
    variants = {name: each for name, each in every.items() if REBUILT not in name and name not in (first, *others)}
    return Measured(
        target=target.name,
        ships=ships,
        classes=tuple(images.classes),
        skipped=tuple(images.skipped),
        variants=_in_order({**variants, ships: every[first]}),
        machine=machine.describe(),
        versions=dict(target.available().versions),
        images=images.images,
        rebuilds=_rebuilds(every, first),
        yardstick=Yardstick(yardstick.SHA256, latencies.get(yardstick.NAME)),
        choice=Choice(first, alternatives, several.left_out) if several else None,
        task=images.outputs.task,
        detector=images.outputs.detector,
        **images.task.of_result(images.expected, images.labels, images.outputs),
    )


def _in_order(variants: Mapping[str, Variant]) -> dict[str, Variant]:
    return {name: variants[name] for name in VARIANTS if name in variants}


def _rebuilds(every: Mapping[str, Variant], name: str) -> tuple[Variant, ...]:
    return tuple(variant for build, variant in every.items() if build.startswith(f"{name}{REBUILT}"))


def _variant(
    name: str, images: ImageSet, compare: Compare, network: Network, answered: Answers, latency: Latency | None
) -> Variant:
    return Variant(
        accuracy=compare(answered.given),
        latency=latency,
        size_mb=network.size_mb,
        digest=network.digest,
        notes=network.notes,
        precisions=dict(Counter(layer.precision for layer in answered.layers)),
        float_layers=float_layers(answered.layers) if name in (*INT8, "candidate") else (),
        **images.task.of_variant(images.expected, answered.given),
    )


def may_miss(variant: str, ships: str) -> bool:
    """Return whether the result is complete without it: not every network fits into half precision."""
    return variant == "half" and ships != "half"


def builds(variant: str, count: int) -> list[str]:
    """Return the names of a variant that is built `count` times."""
    return [variant, *(f"{variant}{REBUILT}{number}" for number in range(2, count + 1))]


@contextlib.contextmanager
def as_failure(image: Callable[[], int] | None = None) -> Iterator[None]:
    """Turn whatever a runtime raises while it is used into its target's failure, with the image where it happened."""
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
            "the network",
            f"failed{where}: {first_line(problem)}",
            hint="measure again: `edgeresnet run --again verify`",
        ) from problem
