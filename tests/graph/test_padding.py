"""Padding that stands before a pooling moves in where no answer can change, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from .test_canonical import _CONV, _FOLDED, _HEAD, _model, _same

_ROUND = np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
_POOL = "MaxPool o -> z kernel_shape=[3,3] strides=[2,2]"
_LEAST = np.float32(-np.inf)

IN: dict[str, tuple[list[str], Mapping[str, object]]] = {
    "zeros behind a ReLU": (["Relu c -> r", "Pad r pads -> o", _POOL], {}),
    "explicit zeros": (["Relu c -> r", "Pad r pads nil -> o", _POOL], {"nil": np.float32(0)}),
    "uneven": (["Relu c -> r", "Pad r pads -> o", _POOL], {"pads": np.array([0, 0, 0, 1, 0, 0, 2, 1], np.int64)}),
    "more padding": (["Relu c -> r", "Pad r pads -> o", _POOL + " pads=[1,1,0,0]"], {}),
    "less than any number": (["Pad c pads least -> o", _POOL, "Relu z -> z2"], {"least": _LEAST}),
}
OUT: dict[str, tuple[list[str], Mapping[str, object]]] = {
    "zeros behind a convolution": (["Pad c pads -> o", _POOL], {}),
    "zeros behind no floor": (["Clip c low -> r", "Pad r pads -> o", _POOL], {"low": np.float32(-1)}),
    "ones": (["Relu c -> r", "Pad r pads one -> o", _POOL], {"one": np.float32(1)}),
    "mirrored": (["Relu c -> r", "Pad r pads -> o mode='reflect'", _POOL], {}),
    "a window of padding alone": (["Relu c -> r", "Pad r pads -> o", _POOL], {"pads": 3 * _ROUND}),
    "other channels": (
        ["Relu c -> r", "Pad r pads -> o", _POOL], {"pads": np.array([0, 1, 1, 1, 0, 0, 1, 1], np.int64)},
    ),
    "a cut": (["Relu c -> r", "Pad r pads -> o", _POOL], {"pads": -_ROUND}),
    "an average": (
        ["Relu c -> r", "Pad r pads -> o", "AveragePool o -> z kernel_shape=[3,3] strides=[2,2]"], {},
    ),
}  # fmt: skip


def _padded(lines: list[str], held: Mapping[str, object]) -> list[str]:
    last = "z2" if lines[-1].startswith("Relu") else "z"
    pads = held.get("pads")
    wide = 9 if isinstance(pads, np.ndarray) and pads[1] else 8
    weights = {**_CONV, "fw": (4, wide), "pads": _ROUND, **held}
    return _same(_model(["Conv x w -> c", *lines, _HEAD[0].replace("z", last), *_HEAD[1:]], weights))


@pytest.mark.parametrize(("lines", "held"), IN.values(), ids=IN)
def test_a_pooling_takes_in_what_is_never_its_largest(lines: list[str], held: Mapping[str, object]) -> None:
    assert sorted(_padded(lines, held)) == sorted([*_FOLDED, "MaxPool"])


@pytest.mark.parametrize(("lines", "held"), OUT.values(), ids=OUT)
def test_what_could_be_an_answer_stays_outside(lines: list[str], held: Mapping[str, object]) -> None:
    assert "Pad" in _padded(lines, held)
