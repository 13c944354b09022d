"""One picture through the compiled networks of a finished run, prepared exactly as its evaluation images were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import targets
from .errors import EdgeresnetError, first_line
from .images import read_image
from .images.coloured import coloured
from .portable import codec, inference
from .portable.preprocessing import Preprocessing
from .portable.result import Measured
from .portable.tasks.average_precision import Detected
from .portable.tasks.task import outputs_of
from .portable.tasks.two_stage import TwoStage
from .runs import Run
from .store import Store


@dataclass(frozen=True)
class Prediction:
    """A class, and how probable the network holds it. In a mask: its share of pixels; of boxes: the highest score."""

    label: str
    probability: float


class Predicted(NamedTuple):
    """The classes of an image, the first ones first; and its mask or its boxes, where a network answers these."""

    classes: tuple[Prediction, ...]
    mask: np.ndarray | None = None
    boxes: Detected | None = None


def predict(store: Store, run: Run, image: Path, target: str | None, top: int) -> dict[str, Predicted]:
    """Return what is seen per target and variant. Refuse a compiled network that is not the run's own."""
    try:
        preprocessing = codec.decode(Preprocessing, run.recipe.get("preprocessing"))
    except codec.CodecError as problem:
        raise EdgeresnetError(
            f"the recipe of run {run.id}",
            f"does not say how images are prepared: preprocessing.{problem}",
            hint="run the recipe again",
        ) from problem
    batch = preprocessing.normalize(read_image(image, preprocessing)[None])
    measured = run.measured_here([target] if target else [])
    if not measured:
        raise EdgeresnetError(f"run {run.id}", "has no measurement", hint="it measured no target")
    found: dict[str, Predicted] = {}
    for name, result in measured.items():
        runtime = targets.require(name)
        outputs = outputs_of(result, preprocessing.size).with_second(_second_stage(store, run, result))
        for variant, about in result.variants.items():
            with runtime.load(store.artifact_of(run, about.digest).path) as session:
                answer = inference.infer(session, batch)
            seen = outputs.of_task.seen(outputs.kept(answer), outputs)
            found[f"{name} {variant}"] = Predicted(_ranked(seen.classes, result.classes, top), seen.mask, seen.boxes)
    return found


def _second_stage(store: Store, run: Run, result: Measured) -> Path | None:
    """Return the folder with the weights of a detector's second stage; None where it has none."""
    if not isinstance(result.detector, TwoStage):
        return None
    digest = next(step.digest for step in run.steps if step.stage == "trace" and step.digest)
    return store.artifact_of(run, digest).path


def write_masks(found: Mapping[str, Predicted], out: Path) -> list[Path]:
    """Write each mask as a PNG with a palette, named after what gave it; return the files."""
    written = []
    for name, each in found.items():
        if each.mask is not None:
            path = out.with_name(f"{out.stem}-{name.replace(' ', '-').replace('@', '-')}.png")
            try:
                coloured(each.mask).save(path)
            except OSError as problem:
                raise EdgeresnetError(
                    str(path), f"cannot be written: {first_line(problem)}", hint="name another file"
                ) from problem
            written.append(path)
    return written


def _ranked(shares: np.ndarray, classes: Sequence[str], top: int) -> tuple[Prediction, ...]:
    best = np.argsort(-shares, kind="stable")[:top]
    return tuple(Prediction(classes[index], float(shares[index])) for index in best)
