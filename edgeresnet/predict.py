"""One picture through the compiled networks of a finished run, prepared exactly as its evaluation images were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import targets
from .errors import EdgeresnetError
from .images import read_image
from .portable import codec, inference
from .portable.preprocessing import Preprocessing
from .portable.probabilities import softmax
from .runs import Run
from .store import Store


@dataclass(frozen=True)
class Prediction:
    """A class, and how probable the network holds it."""

    label: str
    probability: float


def predict(store: Store, run: Run, image: Path, target: str | None, top: int) -> dict[str, tuple[Prediction, ...]]:
    """Return the most probable classes per target and variant. Refuse a compiled network that is not the run's own."""
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
    found: dict[str, tuple[Prediction, ...]] = {}
    for name, result in measured.items():
        runtime = targets.require(name)
        for variant, about in result.variants.items():
            with runtime.load(store.artifact_of(run, about.digest).path) as session:
                logits = inference.infer(session, batch)[0]
            found[f"{name} {variant}"] = _ranked(logits, result.classes, top)
    return found


def _ranked(logits: np.ndarray, classes: Sequence[str], top: int) -> tuple[Prediction, ...]:
    probabilities = softmax(logits)
    best = np.argsort(-probabilities)[:top]
    return tuple(Prediction(classes[index], float(probabilities[index])) for index in best)
