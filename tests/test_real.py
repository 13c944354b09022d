"""Real weights and images, where there are any: EDGERESNET_DATA names a folder with the published CIFAR-10 weights and
class folders of JPEG files (or archives of them), which are not part of the project."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch

from edgeresnet import images, pipeline, recipe
from edgeresnet.models import build, checkpoint
from edgeresnet.store import Store

WEIGHTS = {"cifar_resnet20": ("resnet20-12fca82f.th", 81.02), "cifar_resnet32": ("resnet32-d509ac18.th", 82.90)}

pytestmark = pytest.mark.skipif("EDGERESNET_DATA" not in os.environ, reason="EDGERESNET_DATA names no folder")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = Path(os.environ["EDGERESNET_DATA"])
    if (given / "eval").is_dir():
        return given / "eval"
    out = tmp_path_factory.mktemp("data")
    with tarfile.open(next(given.glob("*eval*.tar.gz"))) as archive:
        archive.extractall(out, filter="data")
    return next(path for path in [out, *out.rglob("*")] if (path / "cat").is_dir())


def wanted(arch: str, data: Path) -> recipe.Recipe:
    weights = Path(os.environ["EDGERESNET_DATA"], WEIGHTS[arch][0])
    raw: dict[str, Any] = {
        "version": 1,
        "model": {"arch": arch, "classes": 10, "checkpoint": str(weights)},
        "preprocessing": {"size": 32, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        "images": {"evaluation": str(data)},
        "targets": {"onnxruntime": {}, "openvino": {"float_parts": "f32"}},
        "promises": {"max_drop_pp": 0.5},
    }
    return recipe.parse(raw)


@pytest.mark.parametrize("arch", list(WEIGHTS))
def test_published_weights_keep_their_accuracy_on_every_target(arch: str, data: Path, tmp_path: Path) -> None:
    parsed, expected = wanted(arch, data), WEIGHTS[arch][1]
    run = pipeline.run(parsed, Store(tmp_path))
    assert run.verdict == "KEPT"
    assert len(run.measured) == 2
    for result in run.measured:
        accuracy = result.variants["fp32"].accuracy
        assert accuracy.images == 5000
        assert abs(accuracy.score_pct - expected) <= 0.04
    network = build(arch, 10, 3).eval()
    assert parsed.model.checkpoint is not None
    checkpoint.load_into(network, Path(parsed.model.checkpoint), arch)
    correct = 0
    with torch.no_grad():
        for batch in images.open_samples(parsed, "evaluation").batches(250):
            logits = network(torch.from_numpy(parsed.preprocessing.normalize(batch.pixels)))
            correct += int((logits.argmax(1).numpy() == batch.labels).sum())
    assert round(100 * correct / 5000, 2) == expected
