"""Where the noise of an INT8 network is: the output of each layer, compared with the FP32 network's.

A layer's output holds the noise of all layers before it; a residual sum reduces it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from ..portable import inference
from .session import Runner, batch_for


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
        for at, (expected, given) in enumerate(zip(*(run(batch) for run in runners), strict=True)):
            signal[at] += np.square(expected, dtype=np.float64).sum()
            apart[at] += np.square(given.astype(np.float64) - expected).sum()
    pairs = zip(outputs, signal, apart, strict=True)
    return {layer: inference.decibels(loud, quiet) for layer, loud, quiet in pairs}
