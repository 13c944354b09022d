"""One picture through the compiled networks of a finished run, prepared exactly as its evaluation images were."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import targets
from .errors import EdgeresnetError
from .images import read_image
from .portable import inference
from .portable.preprocessing import Preprocessing
from .store import Store


def predict(
    store: Store, run: Mapping[str, Any], image: Path, target: str | None, top: int
) -> dict[str, list[dict[str, Any]]]:
    """Per target and variant, the most probable classes. Refuses a compiled network that is not the run's own."""
    preprocessing = Preprocessing.from_json(run["recipe"]["preprocessing"])
    pixels = read_image(image, preprocessing)
    batch = preprocessing.normalize(pixels[None])
    measured = {name: result for name, result in run["results"].items() if "variants" in result}
    if not measured or (target is not None and target not in measured):
        raise EdgeresnetError(
            f"run {run['id']} measured nothing{f' on {target}' if target else ''}",
            hint=f"it measured {', '.join(measured) or 'no target'}",
        )
    said: dict[str, list[dict[str, Any]]] = {}
    for name in [target] if target else measured:
        known = targets.require(name)
        for variant, about in measured[name]["variants"].items():
            with known.load(store.artifact_of(run, about["digest"]).path) as session:
                logits = inference.infer(session, batch)[0]
            said[f"{name} {variant}"] = _ranked(logits, measured[name]["classes"], top)
    return said


def _ranked(logits: np.ndarray, classes: list[str], top: int) -> list[dict[str, Any]]:
    exponents = np.exp(logits - logits.max())
    probabilities = exponents / exponents.sum()
    best = np.argsort(-probabilities)[:top]
    return [{"label": classes[index], "probability": float(probabilities[index])} for index in best]
