"""The recipe of segmentation that ships with edgeresnet, as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeresnet import pipeline, recipe
from edgeresnet.store import Store

from ..conftest import result_of

pytestmark = pytest.mark.slow
RECIPE = Path(__file__).parents[2] / "pipelines" / "segmentation-digits.yaml"


def test_it_keeps_its_promises_on_both_targets(tmp_path: Path) -> None:
    run = pipeline.run(recipe.load(RECIPE, ("verify.seconds=1", "verify.processes=3")), Store.open(tmp_path / "store"))
    assert [each.reason for each in run.verdicts if each.verdict != "KEPT"] == []
    assert run.verdict == "KEPT"
    for target in ("onnxruntime", "openvino"):
        result = result_of(run, target)
        fp32, int8 = (result.variants[name].accuracy for name in ("fp32", "int8"))
        assert fp32.score_pct - int8.score_pct < 0.5
        assert int8.score_pct > 75
