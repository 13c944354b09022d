"""One picture through the compiled networks of a finished run, prepared exactly as its evaluation images were."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import targets
from .errors import EdgeresnetError, first_line
from .images import boxes, drawing, read_image
from .portable import codec, inference
from .portable.preprocessing import Preprocessing
from .portable.result import Measured
from .portable.tasks.task import Seen, outputs_of
from .portable.tasks.two_stage import TwoStage
from .runs import Run
from .store import Store
from .text import on_one_line


@dataclass(frozen=True)
class Prediction:
    """A class, and how probable the network holds it. In a mask: its share of pixels; of boxes: the highest score."""

    label: str
    probability: float

    @property
    def line(self) -> str:
        return f"{100 * self.probability:6.2f} %  {on_one_line(self.label)}"


@dataclass(frozen=True)
class Box:
    """An object that was found, in pixels of the image."""

    label: str
    score: float
    left: float
    top: float
    width: float
    height: float

    @property
    def line(self) -> str:
        place = f"{self.width:.1f} × {self.height:.1f} pixels, left {self.left:.1f}, top {self.top:.1f}"
        return f"{100 * self.score:6.2f} %  {on_one_line(self.label)}: {place}"


class Predicted(NamedTuple):
    """The classes or the boxes of an image, the most probable ones first; and all that a picture of it shows."""

    answers: tuple[Prediction, ...] | tuple[Box, ...]
    seen: Seen
    classes: tuple[str, ...]


def predict(store: Store, run: Run, image: Path, target: str | None, top: int) -> dict[str, Predicted]:
    """Return what is seen per target and variant. Refuse a compiled network that is not the run's own."""
    preprocessing = _preprocessing(run)
    batch, size = (
        preprocessing.normalize(read_image(image, preprocessing)[None]),
        drawing.original(image, preprocessing).size,
    )
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
            seen = _placed(outputs.of_task.seen(outputs.kept(answer), outputs), size, preprocessing)
            found[f"{name} {variant}"] = Predicted(_ranked(seen, result.classes, top), seen, result.classes)
    return found


def _second_stage(store: Store, run: Run, result: Measured) -> Path | None:
    """Return the folder with the weights of a detector's second stage; None where it has none."""
    if not isinstance(result.detector, TwoStage):
        return None
    digest = next(step.digest for step in run.steps if step.stage == "trace" and step.digest)
    return store.artifact_of(run, digest).path


def write_pictures(found: Mapping[str, Predicted], image: Path, run: Run, out: Path) -> list[Path]:
    """Write each mask as a PNG with a palette, or the image with boxes over it; return the files.

    They are named after what gave them.
    """
    written, original = [], drawing.original(image, _preprocessing(run))
    for name, each in found.items():
        picture = drawing.drawn(each.seen, original, each.classes)
        if picture is not None:
            path = out.with_name(f"{out.stem}-{name.replace(' ', '-').replace('@', '-')}.png")
            try:
                picture.save(path)
            except OSError as problem:
                raise EdgeresnetError(
                    str(path), f"cannot be written: {first_line(problem)}", hint="name another file"
                ) from problem
            written.append(path)
    return written


def _preprocessing(run: Run) -> Preprocessing:
    try:
        found: Preprocessing = codec.decode(Preprocessing, run.recipe.get("preprocessing"))
    except codec.CodecError as problem:
        raise EdgeresnetError(
            f"the recipe of run {run.id}",
            f"does not say how images are prepared: preprocessing.{problem}",
            hint="run the recipe again",
        ) from problem
    return found


def _placed(seen: Seen, size: tuple[int, int], preprocessing: Preprocessing) -> Seen:
    """Return what is seen with its boxes where they lie in the image."""
    if seen.boxes is None:
        return seen
    return seen._replace(boxes=seen.boxes._replace(boxes=boxes.placed(seen.boxes.boxes, size, preprocessing)))


def _ranked(seen: Seen, classes: Sequence[str], top: int) -> tuple[Prediction, ...] | tuple[Box, ...]:
    if seen.boxes is not None:
        rows = zip(seen.boxes.numbers.tolist(), seen.boxes.scores.tolist(), seen.boxes.boxes.tolist(), strict=True)
        return tuple(Box(classes[number], score, *box) for number, score, box in itertools.islice(rows, top))
    best = np.argsort(-seen.classes, kind="stable")[:top]
    return tuple(Prediction(classes[index], float(seen.classes[index])) for index in best)
