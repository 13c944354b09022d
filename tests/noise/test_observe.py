"""What is seen of tensors while a network is scanned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from edgeresnet.noise import pair, scan
from edgeresnet.noise.observe import Ranges, look


def _seen(values: np.ndarray, batch: int = 4) -> Any:
    found = Ranges(len(values))
    for start in range(0, len(values), batch):
        found.take("x", torch.from_numpy(values[start : start + batch]), start)
        found.take("x", torch.from_numpy(values[start : start + batch] * 9), start)  # by a second reader: not again
    return found["x"]


def _values(images: int = 10) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(images, 3, 5, 5)).astype(np.float32)


def test_extremes_are_exact_whatever_the_batch() -> None:
    values = _values()
    values[7, 1, 2, 2] = 50
    one, two = _seen(values), _seen(values, batch=1)
    for seen in (one, two):
        assert seen.extremes == (values.min(), 50)
        assert seen.reach.argmax() == 7
        assert seen.channel_reach.argmax() == 1
        assert np.allclose(seen.channel_power, np.square(values.astype(np.float64)).sum((0, 2, 3)), rtol=1e-5)
    assert np.array_equal(one.low, two.low)


def test_halves_and_percentiles() -> None:
    values = _values(20)
    values[12] *= 30
    seen = _seen(values)
    first, second = seen.halves()
    assert second > 10 * first
    assert seen.percentile(0.9) < first
    assert seen.percentile(1.0) > 0.99 * second
    below, above = seen.outside(-1.0, 1.0)
    assert 0.1 < below < 0.25
    assert 0.1 < above < 0.25


def test_a_look_at_other_images_sees_what_the_scan_sees(network: Callable[[str], Any]) -> None:
    good = network("openvino")
    read = pair.read(good.exact, good.rounded, good.images)
    watched = Ranges(len(good.images))
    scan.scan(read, good.images, observers=[watched])
    tensor = read.layers[4].node.inputs[0]
    found = look(read, good.images, [tensor])
    assert tensor in found
    assert read.layers[5].node.name not in found
    assert np.allclose(found[tensor].high, watched[tensor].high, rtol=1e-5)
    assert np.allclose(found[tensor].channel_power, watched[tensor].channel_power, rtol=1e-4)
