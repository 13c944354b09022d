"""What a detector's verdict will be, forecast from its anchors."""

from __future__ import annotations

import numpy as np
import pytest

from edgeresnet.tune import boxes
from edgeresnet.tune.forecast import Goals, expect, look

pytestmark = pytest.mark.unit

CLASSES = 3


def rows(count: int = 4000, seed: int = 0) -> np.ndarray:
    """Anchors of a network that finds objects in one of ten."""
    rng = np.random.default_rng(seed)
    found = np.concatenate([rng.normal(-6, 1, (count, CLASSES)), rng.normal(0, 0.3, (count, 4))], 1)
    there = rng.random(count) < 0.1
    found[there, rng.integers(0, CLASSES, int(there.sum()))] += rng.normal(8, 2, int(there.sum()))
    return found.astype(np.float32)


def noisy(exact: np.ndarray, logits: float, offsets: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    found = exact + rng.normal(size=exact.shape) * np.repeat([logits, offsets], [CLASSES, 4])
    return found.astype(np.float32)


def test_nothing_is_lost_where_nothing_differs() -> None:
    found = boxes.compared(rows(), rows())
    assert (found.flips, found.drop, found.change.max()) == (0, 0, 0)


def test_more_noise_costs_more_boxes_and_more_map() -> None:
    little, much = (boxes.compared(rows(), noisy(rows(), part, 0)) for part in (0.3, 3.0))
    assert 0 < little.flips < much.flips < 1
    assert 0 < little.drop < much.drop < 1
    assert little.change.mean() < much.change.mean()


def test_boxes_that_move_cost_map_and_no_box() -> None:
    found = boxes.compared(rows(), noisy(rows(), 0, 0.1))
    assert found.flips == 0
    assert found.drop > 0.03


def test_a_box_that_only_one_network_has_is_a_flip() -> None:
    exact = np.zeros((4, CLASSES + 4), np.float32)
    exact[:, :CLASSES] = -5
    exact[:2, 0] = 3
    given = exact.copy()
    given[1, 0] = -3
    given[3, 1] = 3
    assert boxes.compared(exact, given).flips == pytest.approx(2 / 3)


def test_the_verdict_is_forecast_of_anchors_as_of_images() -> None:
    goals = Goals(max_drop_pp=2.0, max_flips_pct=None, max_confidence_change=None, images=500)
    good, bad = (expect(look(rows(), noisy(rows(), part, 0), "anchor"), goals) for part in (0.05, 4.0))
    assert good.kept
    assert not bad.kept
    assert good.drop_pp < bad.drop_pp


def test_a_network_without_a_box_is_no_error() -> None:
    exact = np.full((10, CLASSES + 4), -9, np.float32)
    found = boxes.compared(exact, exact)
    assert (found.flips, found.drop) == (0, 0)
