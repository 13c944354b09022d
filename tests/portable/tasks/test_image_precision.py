"""The mAP of each image by itself is that of a set with this image alone."""

from __future__ import annotations

import numpy as np
import pytest

from edgeresnet.portable.tasks.average_precision import average_precision, matched
from edgeresnet.portable.tasks.image_precision import of_groups
from edgeresnet.portable.tasks.precision import matches

from .test_precision import random_images

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("seed", "classes", "shift"), [(0, 1, 0.5), (1, 3, 1.5), (2, 7, 3.0), (3, 2, 8.0)])
def test_all_images_at_once_are_as_one_by_one(seed: int, classes: int, shift: float) -> None:
    labels, found = random_images(60, classes, seed, shift)
    alone = [average_precision(matched([one], [other], classes)).mean for one, other in zip(labels, found, strict=True)]
    assert matches(labels, found, classes).map_of_images() == pytest.approx(alone, abs=1e-12, nan_ok=True)


def test_groups_without_boxes_have_none() -> None:
    nothing = np.zeros((10, 0), bool)
    assert of_groups(np.zeros(0, np.int64), nothing, nothing, np.array([2, 1])).tolist() == [0, 0]
