"""Where the noise of an INT8 network is: the output of each layer, compared with the FP32 network's.

A layer's output holds the noise of all layers before it; a residual sum reduces it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from ..portable import inference
from .session import Runner, batch_for, each


def noise(
    exact: onnx.ModelProto, rounded: onnx.ModelProto, outputs: Mapping[str, str], images: np.ndarray
) -> dict[str, float | None]:
    """Return the SQNR in dB of each layer's output over all images; None where nothing differs.

    `outputs` maps layers to tensors, whose names are the same in both networks. One batch at a time is in memory.
    """
    names = list(outputs.values())
    runners = Runner(exact, names), Runner(rounded, names)
    signal, apart = np.zeros(len(names)), np.zeros(len(names))
    size = batch_for(images.shape[1:])
    for start in range(0, len(images), size):
        batch = images[start : start + size]
        loud, quiet = _energies(runners, batch)
        signal, apart = signal + loud, apart + quiet
    pairs = zip(outputs, signal, apart, strict=True)
    return {layer: inference.decibels(loud, quiet) for layer, loud, quiet in pairs}


def _energies(runners: tuple[Runner, Runner], batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each layer, the sum of its squared outputs, and that of their squared differences."""
    exact, rounded = each(lambda run: run(batch), runners)
    found = [
        (np.square(one, dtype=np.float64).sum(), np.square(other.astype(np.float64) - one).sum())
        for one, other in zip(exact, rounded, strict=True)
    ]
    return np.array([signal for signal, _ in found]), np.array([apart for _, apart in found])
