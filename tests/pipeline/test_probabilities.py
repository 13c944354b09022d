"""Probabilities from a measurement to a verdict: measured once, and judged and counted as often as a recipe changes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeresnet import pipeline, recipe
from edgeresnet.errors import EdgeresnetError
from edgeresnet.portable import evaluation
from edgeresnet.runs import Run
from edgeresnet.stages import verify
from edgeresnet.store import Store

from ..conftest import result_of, step_of, tiny


def test_a_threshold_and_a_promise_need_no_new_measurement(trained: tuple[Store, Run], own_store: Store) -> None:
    """Their keys are those of the run before: what was measured holds every probability."""
    before = result_of(trained[1], "onnxruntime")
    assert before.confidence["fp32"].crossings is None
    changes: dict[str, Any] = {"verify__threshold": 0.9, "promises": {"max_confidence_change": 0.01}}
    run = pipeline.run(recipe.parse(tiny(**changes)), own_store)
    assert {step.state for step in run.steps} == {"done"}
    (verdict,) = run.verdicts
    assert (verdict.verdict, verdict.value) == ("KEPT", 0.0), "FP32 in the reference runtime is the reference"
    found = result_of(run, "onnxruntime")
    crossings, calibration = found.confidence["fp32"].crossings, found.confidence["fp32"].calibration
    assert crossings is not None
    assert calibration is not None
    assert (crossings.threshold, crossings.images, crossings.crossed) == (0.9, 450, 0)
    assert 0 < crossings.above < 450
    assert 0 < calibration.before == calibration.now < 0.5
    assert replace(found, confidence={}) == replace(before, confidence={})
    assert own_store.load_run(run.id) == run


def test_a_result_of_an_older_edgeresnet_gets_its_probabilities_from_its_logits(
    trained: tuple[Store, Run], tmp_path: Path
) -> None:
    store, run = trained
    stored, reference = (
        store.artifact_of(run, step_of(run, name).digest or "") for name in ("verify:onnxruntime", "verify:reference")
    )
    older = replace(stored, path=Path(shutil.copytree(stored.path, tmp_path / "older")))
    path = older.path / evaluation.RESULT
    document = json.loads(path.read_text())
    del document["reference_probabilities"], document["variants"]["fp32"]["probabilities"]
    path.write_text(json.dumps(document))
    assert verify.read_result(older).reference_probabilities == ()
    assert verify.read_result(older, reference) == verify.read_result(stored)
    logits = np.load(older.path / evaluation.LOGITS)["fp32"].astype(np.float64)
    parts = np.exp(logits - logits.max(1, keepdims=True))
    wanted = (parts / parts.sum(1, keepdims=True)).max(1)
    assert verify.read_result(older, reference).reference_probabilities == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("value", [0, 1, 1.5, "half"])
def test_a_threshold_is_between_0_and_1(value: object) -> None:
    with pytest.raises(EdgeresnetError) as refused:
        recipe.parse(tiny(verify__threshold=value))
    assert "verify.threshold" in " ".join(refused.value.problems)  # type: ignore[attr-defined]
