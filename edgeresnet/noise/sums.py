"""How a CPU without VNNI adds products of INT8: two in 16 bits, where large sums are cut off, and these in 32 bits.

On x86 the instruction is `vpmaddubsw`: unsigned values by signed weights, of one input channel and the next.
"""

from __future__ import annotations

import numpy as np

LARGEST, LEAST = 32767, -32768
_UNSIGNED = 255


def in_pairs(integers: np.ndarray) -> np.ndarray:
    """Return inputs × … as pairs × 2 × …, without an input that is left over: one product always fits."""
    return integers[: len(integers) // 2 * 2].reshape(-1, 2, *integers.shape[1:])


def may_saturate(weights: np.ndarray) -> bool:
    """Return whether some values make a sum of two products pass 16 bits. Weights are outputs × inputs × taps."""
    pairs = in_pairs(weights.swapaxes(0, 1).astype(np.int32))
    larger = np.maximum(np.clip(pairs, 0, None).sum(1), np.clip(-pairs, 0, None).sum(1))
    return bool((_UNSIGNED * larger > LARGEST).any())


def cut_off(weights: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, int]:
    """Return what is cut off of an output at each position, and how many sums that are.

    `weights` is inputs × taps of one output, `values` inputs × taps × positions, from 0 to 255.
    """
    products = values.astype(np.int32) * weights.astype(np.int32)[..., None]
    sums = in_pairs(products).sum(1)
    beyond = np.clip(sums, LEAST, LARGEST) - sums
    return beyond.sum((0, 1)), int(np.count_nonzero(beyond))
