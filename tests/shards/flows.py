"""What calibrating and evaluating leave in a store, for tests that do so by workers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgeresnet import pipeline, recipe
from edgeresnet.context import Workers
from edgeresnet.pipeline import Listener
from edgeresnet.portable import evaluation, manifest
from edgeresnet.runs import Part, Run
from edgeresnet.store import Store

from ..conftest import tiny

Trained = tuple[Store, Run]
RAW: dict[str, Any] = {
    "quantize": {"effort": "fast"},
    "images__calibration": {"from": "training", "count": 400},
    "images__evaluation": {"from": "digits", "count": 440},
}


def answers_of(store: Path, workers: Workers | None) -> dict[str, str]:
    """Return the digests of what calibrating and evaluating leave in a store."""
    done: Part = pipeline.make(
        recipe.parse(tiny(**RAW)),
        Store(store),
        lambda step: step.id.stage == "calibrate" or str(step.id) == "verify:reference",
        Listener(),
        workers=workers,
    )
    ranges, answers = (done.steps[name].path for name in ("calibrate", "verify:reference"))
    assert ranges is not None
    assert answers is not None
    found = {path.name: manifest.sha256_of(path) for path in Path(ranges).glob("*ranges.json")}
    # onnxruntime itself names the nodes that it adds by chance, and lists them in that order.
    layers = json.loads(Path(answers, evaluation.LAYERS).read_text())["fp32"]
    found[evaluation.LAYERS] = str(sorted((operator, precision) for _, operator, precision in layers))
    return found | {evaluation.LOGITS: manifest.sha256_of(Path(answers, evaluation.LOGITS))}


@pytest.fixture(scope="module")
def alone(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What one process gives."""
    root = tmp_path_factory.mktemp("alone") / "store"
    shutil.copytree(trained[0].root, root)
    found = answers_of(root, None)
    assert sorted(found) == ["equalized-ranges.json", "layers.json", "logits.npz", "ranges.json"]
    return found
