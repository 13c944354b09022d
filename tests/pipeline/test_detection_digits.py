"""The recipe of detection that ships with edgeresnet, with fewer images and epochs: the complete one takes minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeresnet import pipeline, recipe
from edgeresnet.portable.tasks.box_accuracy import BoxAccuracy
from edgeresnet.store import Store

from ..conftest import result_of

pytestmark = pytest.mark.slow
RECIPE = Path(__file__).parents[2] / "pipelines" / "detection-digits.yaml"
SHORT = (
    "images.training={from: digits-scenes, count: 200}",
    "images.evaluation={from: digits-scenes, count: 32}",
    "images.calibration={from: training, count: 16}",
    "train.epochs=6",
    "verify.seconds=1",
    "verify.processes=1",
)


def test_int8_finds_what_fp32_finds_on_both_targets(tmp_path: Path) -> None:
    run = pipeline.run(recipe.load(RECIPE, SHORT), Store.open(tmp_path / "store"))
    for target in ("onnxruntime", "openvino"):
        result = result_of(run, target)
        fp32, int8 = (result.variants[name].accuracy for name in ("fp32", "int8"))
        assert isinstance(fp32, BoxAccuracy)
        assert isinstance(int8, BoxAccuracy)
        assert fp32.now is not None
        assert int8.now is not None
        assert fp32.now.ap50 > 0.05  # it has begun to learn
        assert fp32.now.ap50 - int8.now.ap50 < 0.02
        assert abs(fp32.score_pct - int8.score_pct) < 2
        assert int8.sqnr_db is not None
        assert int8.sqnr_db > 20
