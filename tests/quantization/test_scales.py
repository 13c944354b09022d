"""Scales against answers that are known or found by trying them all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgeresnet.quantization.histogram import Histogram
from edgeresnet.quantization.scales import ESTIMATORS, Grid, activation, fake, half_precision, shifted, weights

pytestmark = pytest.mark.unit

SIGNED, UNSIGNED = Grid(-128, 127), Grid(0, 255)
FULL, HALF = Grid(-127, 127), Grid(-63, 63)


def scale(values: np.ndarray, grid: Grid, estimator: str) -> float:
    histogram = Histogram()
    histogram.add(values.astype(np.float32))
    return activation(histogram, (float(values.min()), float(values.max())), grid, estimator)


def error(values: np.ndarray, found: np.ndarray | float, grid: Grid, of_clipping: float = 1.0) -> float:
    clipped = (values > grid.high * found) | (values < grid.low * found)
    return float((np.where(clipped, of_clipping, 1.0) * np.square(fake(values, found, grid) - values)).sum())


def normal(count: int = 20_000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=count)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("grid", [SIGNED, UNSIGNED])
@pytest.mark.parametrize("size", [1e-6, 1.0, 3e4])
def test_a_scale_is_a_positive_float16_whatever_the_values(estimator: str, grid: Grid, size: float) -> None:
    found = scale(np.maximum(normal() * size, grid.low * size), grid, estimator)
    assert found > 0
    assert np.float32(np.float16(found)) == np.float32(found)


@given(st.floats(0, 2.0**40, width=32))
def test_half_precision_is_the_nearest_one_and_never_subnormal(value: float) -> None:
    found = float(half_precision(min(value, 60000.0)))
    assert found >= 2.0**-14
    assert np.float16(found) == found
    assert found == max(float(np.float16(min(value, 60000.0))), 2.0**-14)


def test_min_max_clips_nothing() -> None:
    values = np.array([-3.0, 1.0, 2.0])
    assert scale(values, SIGNED, "min-max") == pytest.approx(3 / 128, rel=1e-3)
    assert scale(-values, SIGNED, "min-max") == pytest.approx(3 / 127, rel=1e-3)
    assert scale(np.array([0.0, 5.1]), UNSIGNED, "min-max") == pytest.approx(0.02, rel=1e-3)


def test_percentile_is_the_magnitude_that_one_in_a_hundred_thousand_exceeds() -> None:
    values = np.random.default_rng(0).exponential(size=500_000)
    expected = np.sort(values)[int(len(values) * 0.99999)]
    assert scale(values, UNSIGNED, "percentile") * 255 == pytest.approx(expected, rel=0.02)
    mirrored = values * np.resize([1, -1], len(values))
    assert scale(mirrored, SIGNED, "percentile") * 127 == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("grid", [SIGNED, UNSIGNED])
def test_mse_is_as_good_as_the_best_of_all_scales_where_clipping_counts_four_times(seed: int, grid: Grid) -> None:
    values = np.maximum(np.random.default_rng(seed).laplace(size=20_000), grid.low)
    tried = np.linspace(0.2, 1, 400) * np.abs(values).max() / grid.high
    best = min(error(values, each, grid, 4.0) for each in tried)
    found = scale(values, grid, "mse")
    assert error(values, found, grid, 4.0) < 1.03 * best
    assert found > min(tried, key=lambda each: error(values, each, grid))  # than where it counts once


@given(arrays(np.float32, st.integers(1, 300), elements=st.floats(-100, 100, width=32)))
def test_mse_is_never_worse_than_min_max(values: np.ndarray) -> None:
    wide = values.astype(np.float64)
    least, plain = (error(wide, scale(values, SIGNED, word), SIGNED) for word in ("mse", "min-max"))
    # each value is known to its bin, at most an eighth of the step wide; and scales are rounded to float16
    step = scale(values, SIGNED, "min-max")
    assert least <= plain + len(values) * step**2 / 4


@pytest.mark.parametrize("estimator", ["percentile", "entropy", "mse"])
def test_one_outlier_is_not_followed(estimator: str) -> None:
    values = np.append(normal(400_000), 20.0)
    assert scale(values, SIGNED, "min-max") * 127 == pytest.approx(20, rel=1e-2)
    most = 14 if estimator == "mse" else 10  # clipping counts four times there
    assert 2.5 < scale(values, SIGNED, estimator) * 127 < most


def test_entropy_keeps_the_whole_of_what_is_even() -> None:
    values = np.random.default_rng(0).uniform(0, 3, 100_000)
    assert scale(values, UNSIGNED, "entropy") * 255 == pytest.approx(3, rel=0.02)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_zeros_alone_have_a_scale_and_values_below_zero_need_no_unsigned_range(estimator: str) -> None:
    assert scale(np.zeros(9), SIGNED, estimator) == pytest.approx(1 / 127)
    assert activation(Histogram(), (0.0, 0.0), UNSIGNED, estimator) > 0
    assert scale(np.array([-5.0, -1.0]), UNSIGNED, estimator) > 0


@pytest.mark.parametrize("grid", [FULL, HALF])
@pytest.mark.parametrize("axis", [0, 1])
def test_weights_have_one_scale_per_channel_each_of_least_error(grid: Grid, axis: int) -> None:
    values = np.random.default_rng(0).normal(size=(6, 5, 3, 3)).astype(np.float32)
    values *= np.geomspace(0.01, 10, values.shape[axis]).reshape([-1 if side == axis else 1 for side in range(4)])
    found = weights(values, axis, grid)
    assert found.shape == (values.shape[axis],)
    assert found.dtype == np.float32
    assert (np.float16(found) == found).all()
    for channel, chosen in zip(np.moveaxis(values, axis, 0), found, strict=True):
        best = min(error(channel, s, grid) for s in np.abs(channel).max() / grid.high * np.linspace(0.5, 1, 200))
        assert error(channel, chosen, grid) <= 1.25 * best
        assert error(channel, chosen, grid) <= error(channel, half_precision(np.abs(channel).max() / grid.high), grid)
        assert np.abs(np.clip(np.rint(channel / chosen), grid.low, grid.high)).max() <= grid.high


def test_a_dead_channel_is_safe_and_tiny_weights_keep_a_normal_scale() -> None:
    values = np.zeros((2, 3, 1, 1), np.float32)
    values[0] = 1.0
    found = weights(values, 0, FULL)
    assert np.isfinite(found).all()
    assert (found > 0).all()
    assert (fake(values, found.reshape(2, 1, 1, 1), FULL)[1] == 0).all()
    assert weights(np.full((1, 4), 1e-9, np.float32), 0, FULL) == 2.0**-14


@given(arrays(np.float32, 20, elements=st.floats(-1e3, 1e3, width=32)), st.floats(2.0**-10, 10, width=32))
def test_fake_gives_multiples_of_the_scale_within_the_grid(values: np.ndarray, step: float) -> None:
    integers = fake(values.astype(np.float64), step, HALF) / step
    assert np.allclose(integers, np.rint(integers))
    assert np.abs(integers).max() <= 63 + 1e-9


def shifted_grid(values: np.ndarray, estimator: str) -> tuple[Grid, float]:
    histogram = Histogram()
    histogram.add(values.astype(np.float32))
    return shifted(histogram, (float(values.min()), float(values.max())), SIGNED, estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("sign", [1, -1])
def test_values_on_one_side_of_zero_get_a_zero_point_and_half_of_the_step(estimator: str, sign: int) -> None:
    values = normal()
    values = sign * values / (1 + np.exp(-values))  # SiLU: from -0.28 on
    grid, found = shifted_grid(values, estimator)
    assert grid.high - grid.low == 255
    assert grid.low <= 0 <= grid.high
    assert (grid.high + grid.low > 100) == (sign > 0)
    assert np.float16(found) == np.float32(found)
    assert error(values, found, grid) < 0.6 * error(values, scale(values, SIGNED, estimator), SIGNED)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_values_on_both_sides_of_zero_keep_the_symmetric_grid(estimator: str) -> None:
    """A zero point that wins little wins nothing in the whole network."""
    for values in (normal(), np.append(normal(), 4.5), normal() + 0.5, np.zeros(9)):
        assert shifted_grid(values, estimator) == (SIGNED, scale(values, SIGNED, estimator))
    assert shifted(Histogram(), (0.0, 0.0), SIGNED, estimator) == (SIGNED, pytest.approx(1 / 127))


@pytest.mark.parametrize("seed", range(3))
def test_a_shifted_grid_is_as_good_as_the_best_of_all_pairs_of_ends(seed: int) -> None:
    values = np.random.default_rng(seed).gamma(2.0, size=5_000) - 0.5
    grid, found = shifted_grid(values, "mse")
    least = np.inf
    for high in np.linspace(0.3, 1, 30) * values.max():
        for low in np.linspace(0.3, 1, 8) * values.min():
            step = (high - low) / 255
            tried = Grid(int(np.rint(low / step)), int(255 + np.rint(low / step)))
            least = min(least, error(values, step, tried, 4.0))
    assert error(values, found, grid, 4.0) < 1.1 * least


@example(np.array([1.1754944e-38], np.float32))  # all of it is in the bin at zero
@given(arrays(np.float32, st.integers(1, 300), elements=st.floats(-100, 100, width=32)))
def test_zero_is_always_an_integer_of_a_shifted_grid(values: np.ndarray) -> None:
    for estimator in ESTIMATORS:
        grid, found = shifted_grid(values, estimator)
        assert -255 <= grid.low <= 0 <= grid.high <= 255
        assert fake(np.zeros(1), found, grid)[0] == 0
