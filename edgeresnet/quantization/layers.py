"""Where the noise of an INT8 network is: the output of each layer, compared with the FP32 network's.

A layer's output holds the noise of all layers before it; a residual sum reduces it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..portable import inference
from .session import Runner, batch_for, each

_LARGE, _STEP = 1 << 18, 2  # values of an image from which every second row and column of a map is looked at
_END = 2**31 - 1


def noise(
    exact: onnx.ModelProto, rounded: onnx.ModelProto, outputs: Mapping[str, Sequence[str]], images: np.ndarray
) -> dict[str, float | None]:
    """Return the SQNR in dB of each layer's output over all images; None where nothing differs.

    `outputs` maps layers to tensors, whose names are the same in both networks: several, where layers share weights.
    One batch at a time is in memory.
    """
    names = [name for several in outputs.values() for name in several]
    step = 1 if math.prod(images.shape[1:]) < _LARGE else _STEP
    runners = _runner(exact, names, step), _runner(rounded, names, step)
    signal, apart = np.zeros(len(names)), np.zeros(len(names))
    size = batch_for(images.shape[1:])
    for start in range(0, len(images), size):
        batch = images[start : start + size]
        loud, quiet = _energies(runners, batch)
        signal, apart = signal + loud, apart + quiet
    at = {name: place for place, name in enumerate(names)}
    return {
        layer: inference.decibels(*(float(sums[[at[name] for name in several]].sum()) for sums in (signal, apart)))
        for layer, several in outputs.items()
    }


def _runner(model: onnx.ModelProto, names: list[str], step: int) -> Runner:
    """Return what computes tensors; of maps, some rows and columns only: all would not fit into memory."""
    maps = {node.output[0] for node in model.graph.node if node.op_type == "Conv"} if step > 1 else set[str]()
    if not maps:
        return Runner(model, names)
    more, few = onnx.GraphProto(), {name: f"{name}/few" for name in names if name in maps}
    held = {"few/from": [0, 0], "few/to": [_END, _END], "few/axes": [2, 3], "few/steps": [step, step]}
    more.initializer.extend(numpy_helper.from_array(np.array(value), name) for name, value in held.items())
    more.node.extend(helper.make_node("Slice", [name, *held], [short]) for name, short in few.items())
    return Runner(model, [few.get(name, name) for name in names], more)


def _energies(runners: tuple[Runner, Runner], batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each layer, the sum of its squared outputs, and that of their squared differences."""
    exact, rounded = each(lambda run: run(batch), runners)
    found = [
        (np.square(one, dtype=np.float64).sum(), np.square(other.astype(np.float64) - one).sum())
        for one, other in zip(exact, rounded, strict=True)
    ]
    return np.array([signal for signal, _ in found]), np.array([apart for _, apart in found])
