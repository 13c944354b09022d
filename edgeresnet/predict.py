"""One picture through the compiled networks of a finished run, prepared exactly as its evaluation images were."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import targets
from .artifact import Store
from .device import evaluate
from .device.preprocessing import Preprocessing
from .errors import ArtifactError, EdgeresnetError, TargetError
from .images import read_image


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
        found = targets.get(name).available()
        if not found.ok:
            raise TargetError(f"{name} is not here: {found.reason}", hint=found.hint)
        for variant, about in measured[name]["variants"].items():
            with targets.get(name).load(_compiled(store, run, about["digest"])) as session:
                logits = evaluate.infer(session, batch)[0]
            said[f"{name} {variant}"] = _ranked(logits, measured[name]["classes"], top)
    return said


def _compiled(store: Store, run: Mapping[str, Any], digest: str) -> Path:
    step = next(step for step in run["steps"] if step["digest"] == digest)
    artifact, _ = store.find(step["stage"], step["key"])
    if artifact is None or artifact.digest != digest:
        raise ArtifactError(
            f"the compiled network of run {run['id']} is no longer whole in {store.root}", hint="run its recipe again"
        )
    return artifact.path


def _ranked(logits: np.ndarray, classes: list[str], top: int) -> list[dict[str, Any]]:
    exponents = np.exp(logits - logits.max())
    probabilities = exponents / exponents.sum()
    best = np.argsort(-probabilities)[:top]
    return [{"label": classes[index], "probability": float(probabilities[index])} for index in best]
