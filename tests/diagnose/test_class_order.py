"""The order of the classes, found from answers alone."""

from __future__ import annotations

import numpy as np
import pytest

from edgeresnet.diagnose import class_order

pytestmark = pytest.mark.unit

CLASSES = 10


def answers(order: np.ndarray, right: float, rng: np.random.Generator, each: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """(labels, predicted) of a network that is correct so often, its classes in this order."""
    truth = np.repeat(np.arange(len(order)), each)
    noise = rng.integers(0, len(order), len(truth))
    return truth, np.where(rng.random(len(truth)) < right, order[truth], noise)


def test_an_order_is_found_through_noise() -> None:
    rng = np.random.default_rng(0)
    order = rng.permutation(CLASSES)
    truth, predicted = answers(order, 0.8, rng)
    assert class_order.match_classes(truth, predicted, CLASSES).tolist() == order.tolist()
    share = class_order.correct_when_matched(truth, predicted, CLASSES).mean()
    assert share > 0.7
    assert (truth == predicted).mean() < 0.3


def test_each_answer_belongs_to_one_folder() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        found = class_order.match_classes(rng.integers(0, 7, 30), rng.integers(0, 9, 30), 9)
        assert sorted(found.tolist()) == list(range(9))


def test_what_is_seen_in_no_image_stays_where_it_is() -> None:
    order = class_order.match_classes(np.asarray([3, 3, 5, 5]), np.asarray([5, 5, 3, 3]), 8)
    assert order.tolist() == [0, 1, 2, 5, 4, 3, 6, 7]


def test_noise_has_no_order_that_holds_for_other_images() -> None:
    rng = np.random.default_rng(2)
    share = [
        class_order.correct_when_matched(*answers(np.arange(CLASSES), 0.0, rng), CLASSES).mean() for _ in range(20)
    ]
    assert abs(np.mean(share) - 1 / CLASSES) < 0.03
    truth = np.repeat(np.arange(CLASSES), 10)
    assert class_order.correct_when_matched(truth, np.full(100, 4), CLASSES).mean() <= 0.1


def test_the_order_as_it_is_loses_nothing() -> None:
    rng = np.random.default_rng(3)
    truth, predicted = answers(np.arange(CLASSES), 0.7, rng)
    straight, matched = (truth == predicted).mean(), class_order.correct_when_matched(truth, predicted, CLASSES).mean()
    assert straight - 0.05 <= matched <= straight + 0.02
