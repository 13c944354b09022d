"""An INT8 network with more of its layers in float, made of its own weights: none is rounded again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx

from ..notes import QuantizeStep
from . import engine, qdq


def in_float(
    found: engine.Quantized, choices: engine.Choices, exact: onnx.ModelProto, held_out: np.ndarray
) -> engine.Quantized:
    """Return an INT8 network as the choices place it, which leave more of its layers in float. `exact` is FP32."""
    form = engine.scaled(found.source, choices)
    before, fresh = found.values, form.values
    values = qdq.Values(
        scales={tensor: before.scales.get(tensor, scale) for tensor, scale in fresh.scales.items()},
        weight_scales={name: before.weight_scales.get(name, own) for name, own in fresh.weight_scales.items()},
        weights=before.weights,
        biases=before.biases,
    )
    few = engine.Evaluation(exact, held_out)(replace(form, values=values))
    few.steps = [*found.steps, QuantizeStep("layers in float", few.sqnr_db, kept=True)]
    if len(held_out):
        few.layers = engine.layers_noise(few, held_out)
    return few
