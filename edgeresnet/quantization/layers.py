"""Where the noise of an INT8 network is: layer by layer, what comes out of it against the FP32 network's.

What came before it is in that: a layer is never better than what it was given, and a residual sum forgives.
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
    """SQNR in dB of each of these layers' output, over all images; None where nothing differs. Both networks know the
    tensors by the same names; a batch at a time, so that the memory is one's.
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
