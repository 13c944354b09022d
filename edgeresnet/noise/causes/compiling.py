"""The cause in the compiler: from which layer on it computes something else than the file says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ...portable import inference
from ..confirm import outputs
from ..diagnosis import Cause
from . import words
from .evidence import Evidence

DIFFERS = "compiler-differs"
_WORSE_DB = 1.0  # a compiler may compute more exactly than the file says, but not less
_IMAGES = 16


def causes(evidence: Evidence) -> Iterator[Cause]:
    """Yield the first layer whose output, compiled, is further from FP32 than as the file is written."""
    if evidence.compiler is None:
        return
    layers = [layer for layer in evidence.pair.layers if layer.node.name in _in_file(evidence)]
    output = evidence.pair.net.output
    before, after = _compared(evidence, output)
    if after >= before - _WORSE_DB:
        return
    low, high = 0, len(layers)  # all layers before `low` agree; `high` and the output behind it do not
    while low < high:
        middle = (low + high) // 2
        one, two = _compared(evidence, layers[middle].node.name)
        low, high = (low, middle) if two < one - _WORSE_DB else (middle + 1, high)
    first = layers[min(high, len(layers) - 1)]
    one, two = _compared(evidence, first.node.name)
    yield Cause(
        DIFFERS,
        first.name,
        f"Compiled, the output of {first.name} has an SQNR of {words.decibels(two)}; as the file is written, "
        f"{words.decibels(one)}. The layers before agree.",
        f"Keep it in float (`--exclude {first.name}`), or try another version of the compiler.",
        1 - 10 ** ((after - before) / 10),
    )


def _in_file(evidence: Evidence) -> set[str]:
    return {name for node in evidence.rounded.graph.node for name in node.output}


def _compared(evidence: Evidence, tensor: str) -> tuple[float, float]:
    """Return a tensor's SQNR as the file is written, and as it is compiled."""
    assert evidence.compiler is not None
    pair, images = evidence.pair, evidence.images[:_IMAGES]
    exact = _rows(outputs(pair, images, (), [tensor]), tensor)
    written = _rows(outputs(pair, images, {layer.name for layer in pair.layers}, [tensor]), tensor)
    compiled = _rows(evidence.compiler(evidence.rounded, [tensor], images), tensor)
    return _sqnr_db(exact, written), _sqnr_db(exact, compiled)


def _rows(found: Mapping[str, np.ndarray], tensor: str) -> np.ndarray:
    return np.asarray(found[tensor].reshape(len(found[tensor]), -1), np.float64)


def _sqnr_db(exact: np.ndarray, given: np.ndarray) -> float:
    found = inference.sqnr_db(exact, given)
    return words.EXACT_DB if found is None else min(found, words.EXACT_DB)
