"""What comes out of each layer against FP32: by name, and a layer that was spoiled is the one that shows it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgeresnet.quantization import engine, layers, refine, session

from .nets import TENSORRT, basic, images, int8, notes_of, plain


def test_each_int8_layer_has_its_own() -> None:
    found = int8(basic(), TENSORRT)
    assert set(found.layers) == set(notes_of(found).int8)
    few = images(16, seed=9)
    for layer, tensor in (("stem", "stem_out"), ("b2.conv2", "b2.conv2_out"), ("fc", "logits")):
        (exact,), (given,) = (session.Runner(m, [tensor])(few) for m in (found.source.model, found.executed()))
        by_hand = 10 * np.log10((exact.astype(float) ** 2).sum() / ((exact.astype(float) - given) ** 2).sum())
        assert found.layers[layer] == pytest.approx(by_hand, abs=1e-3)


def test_a_spoiled_layer_shows_and_those_before_it_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    plain_way = refine.bias_correction

    def spoil(model: Any, placement: Any, values: Any, reads: Any) -> Any:
        corrected = plain_way(model, placement, values, reads)
        return replace(corrected, biases={**corrected.biases, "b1.conv2_out": np.full(8, 9.0)})

    before = int8(basic(), TENSORRT).layers
    monkeypatch.setattr(refine, "bias_correction", spoil)
    monkeypatch.setattr(engine.Evaluation, "__call__", lambda self, found: found)  # nothing is undone
    after = int8(basic(), TENSORRT).layers
    assert after["stem"] == before["stem"]
    assert after["b1.conv1"] == before["b1.conv1"]
    assert min(after, key=lambda layer: after[layer] or 0.0) == "b1.conv2"
    assert (after["b1.conv2"] or 0) < (before["b1.conv2"] or 0) - 10


def test_batches_add_up_and_no_difference_is_none() -> None:
    model, few = plain(), images(150, seed=1)
    assert layers.noise(model, model, {"c1": ["c1_out"]}, few) == {"c1": None}
    found = int8(model, TENSORRT)
    whole, *parts = (
        layers.noise(found.source.model, found.executed(), {"c1": ["c1_out"]}, given)["c1"] or 0
        for given in (few, few[:50], few[50:100], few[100:])
    )
    assert min(parts) < whole < max(parts)
