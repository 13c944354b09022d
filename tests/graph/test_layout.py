"""Channels last, as TensorFlow leaves them inside its files: turned there and back, and nothing of it left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from .test_canonical import _CONV, _FOLDED, _HEAD, _model, _same

_LAST, _FIRST = "perm=[0,2,3,1]", "perm=[0,3,1,2]"
_OPEN = ["Conv x w -> c", f"Transpose c -> l {_LAST}"]
_CLOSE = [f"Transpose m -> r {_FIRST}", "Relu r -> z", *_HEAD]

GONE: dict[str, tuple[list[str], Mapping[str, object], list[str]]] = {
    "nothing between": (["Identity l -> m"], {}, _FOLDED),
    "a ReLU": (["Relu l -> m"], {}, _FOLDED),
    "a bias for each channel": (["Add l t -> m"], {"t": (8,)}, _FOLDED),
    "scale and shift, constants first": (["Mul s l -> n", "Sub t n -> m"], {"s": (1, 1, 1, 8), "t": (1, 8)}, _FOLDED),
    "a number for all": (["Mul l s -> m"], {"s": np.array([3], np.float32)}, _FOLDED),
    "a number for each column": (["Mul l s -> m"], {"s": (8, 1)}, ["Conv", "Mul", *_FOLDED[1:]]),
    "six at most": (
        ["Clip l low high -> m"], {"low": np.float32(0), "high": np.float32(6)}, ["Conv", "Clip", *_FOLDED[2:]],
    ),
    "slopes": (["PRelu l s -> m"], {"s": (8,)}, ["Conv", "PRelu", *_FOLDED[1:]]),
    "two ways": (
        ["Relu l -> one", "Sigmoid l -> two", "Add one two -> m"], {},
        ["Conv", "Relu", "Sigmoid", "Add", *_FOLDED[1:]],
    ),
    "every second, and zeros for the other channels": (
        ["Slice l from to sides steps -> n", "Pad n pads -> o", "Slice o four eight three -> m"],
        {"from": np.array([0, 0], np.int32), "to": np.array([9, 9], np.int32),
         "sides": np.array([1, 2], np.int32), "steps": np.array([2, 2], np.int32),
         "pads": np.array([0, 0, 0, 2, 0, 0, 0, 2], np.int64),
         "four": np.array([4], np.int64), "eight": np.array([12], np.int64), "three": np.array([-1], np.int64)},
        ["Conv", "Slice", "Pad", "Slice", *_FOLDED[1:]],
    ),
    "slices that name no sides": (
        ["Slice l from to -> m"], {"from": np.array([0, 1, 2], np.int64), "to": np.array([99, 7, 8], np.int64)},
        ["Conv", "Slice", *_FOLDED[1:]],
    ),
    "side by side": (
        ["Slice l from to last -> n", "Slice l to far last -> o", "Concat o n -> m axis=3"],
        {"from": np.array([0], np.int64), "to": np.array([4], np.int64),
         "far": np.array([8], np.int64), "last": np.array([3], np.int64)},
        ["Conv", "Slice", "Slice", "Concat", *_FOLDED[1:]],
    ),
    "padding before a convolution": (
        ["Pad l pads -> o", f"Transpose o -> p0 {_FIRST}", "Conv p0 v -> d", f"Transpose d -> m {_LAST}"],
        {"pads": np.array([0, 1, 2, 0, 0, 1, 0, 0], np.int64), "v": (8, 8, 3, 3)},
        ["Conv", *_FOLDED],
    ),
    "means that keep their sides": (
        ["ReduceMean l two -> m"], {"two": np.array([1, -2], np.int64)}, ["Conv", "ReduceMean", *_FOLDED[1:]],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "held", "operators"), GONE.values(), ids=GONE)
def test_what_computes_the_same_on_either_side_is_passed(
    lines: list[str], held: Mapping[str, object], operators: list[str]
) -> None:
    assert _same(_model([*_OPEN, *lines, *_CLOSE], {**_CONV, **held})) == operators


_TURN = ["Conv x w -> c", "Relu c -> z", f"Transpose z -> l {_LAST}"]
_GEMM = "Gemm q fw fb -> y transB=1"
HEADS: dict[str, tuple[list[str], Mapping[str, object], list[str]]] = {
    "a mean": (["ReduceMean l two -> q keepdims=0"], {"two": np.array([1, 2], np.int64)}, ["ReduceMean", "Gemm"]),
    "a mean, then reshaped": (
        ["ReduceMean l two -> p", "Reshape p to -> q"],
        {"two": np.array([1, 2], np.int64), "to": np.array([-1, 8], np.int64)},
        ["ReduceMean", "Reshape", "Gemm"],
    ),
    "a mean, then squeezed": (
        ["ReduceMean l two -> p", "Squeeze p two -> q"], {"two": np.array([1, 2], np.int64)},
        ["ReduceMean", "Squeeze", "Gemm"],
    ),
    "a pooling, then sides by their places": (
        [f"Transpose l -> n {_FIRST}", "GlobalAveragePool n -> o", f"Transpose o -> p {_LAST}", "Reshape p to -> r",
         "Relu r -> s", "Flatten s -> q"],
        {"to": np.array([0, 0, 8], np.int64)},
        ["GlobalAveragePool", "Transpose", "Reshape", "Relu", "Reshape", "Gemm"],
    ),
    "a pooling, then flattened": (
        [f"Transpose l -> n {_FIRST}", "GlobalAveragePool n -> o", f"Transpose o -> p {_LAST}", "Flatten p -> q"],
        {}, ["GlobalAveragePool", "Reshape", "Gemm"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "held", "operators"), HEADS.values(), ids=HEADS)
def test_a_head_reads_what_lies_as_it_lay(lines: list[str], held: Mapping[str, object], operators: list[str]) -> None:
    assert _same(_model([*_TURN, *lines, _GEMM], {**_CONV, **held})) == ["Conv", "Relu", *operators]


STAYS: dict[str, tuple[list[str], Mapping[str, object], list[str] | None]] = {
    "numbers that change their places": (
        ["Flatten l -> f", "Gemm f fw fb -> y transB=1"], {"fw": (4, 512)}, ["Transpose", "Reshape", "Gemm"],
    ),
    "a side that two turns leave where it is": (
        ["Transpose l -> n perm=[0,2,1,3]", "ReduceMax n two -> q keepdims=0", _GEMM],
        {"two": np.array([1, 2], np.int64)}, ["ReduceMax", "Gemm"],
    ),
    "sides that are left in another order": (
        ["ReduceMax l one -> n keepdims=0", "Flatten n -> f", "Gemm f fw fb -> y transB=1"],
        {"one": np.array([1], np.int64), "fw": (4, 64)},
        ["ReduceMax", "Transpose", "Reshape", "Gemm"],
    ),
    "a matrix over the channels": (
        ["MatMul l m -> n", f"Transpose n -> o {_FIRST}", "GlobalAveragePool o -> p", "Flatten p -> q", _GEMM],
        {"m": (8, 8)}, ["Transpose", "MatMul", "Transpose", "GlobalAveragePool", "Reshape", "Gemm"],
    ),
    "one side turned, the other not": (
        ["Transpose l -> n perm=[0,3,2,1]", "Transpose z -> k perm=[0,1,3,2]", "Sigmoid z -> g", "Add n g -> a",
         "Add a k -> o", "GlobalAveragePool o -> p", "Flatten p -> q", _GEMM],
        {}, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "held", "operators"), STAYS.values(), ids=STAYS)
def test_what_cannot_be_passed_keeps_its_transpose(
    lines: list[str], held: Mapping[str, object], operators: Any
) -> None:
    found = _same(_model([*_TURN, *lines], {**_CONV, **held}))
    assert operators is None or found == ["Conv", "Relu", *operators]
