"""The scenes of digits: always the same ones, and none of the evaluation is known from the training."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from edgeresnet.images import choose
from edgeresnet.images.sources.scenes import scenes

from .test_masks import opened

pytestmark = pytest.mark.unit


def test_scenes_are_always_the_same() -> None:
    """A change here changes what published numbers were measured on."""
    found = scenes("evaluation")
    contents = b"".join([*found.hashes, *found.masks.hashes])
    assert hashlib.sha256(contents).hexdigest()[:16] == "37f38ae86d6d9765"


def test_scenes_hold_every_class_and_are_not_shared() -> None:
    evaluation, training = (
        opened("digits-scenes", slot=slot, model__classes=11) for slot in ("evaluation", "training")
    )
    assert (len(evaluation), len(training)) == (240, 800)
    assert evaluation.classes == ("background", *"0123456789")
    assert not choose.shared(evaluation, training)
    masks = np.stack(list(evaluation.masks(range(240))))
    pixels = np.bincount(masks.ravel(), minlength=11)
    assert len(pixels) == 11
    assert pixels[1:].min() > 0.005 * pixels.sum()
    assert 0.8 < pixels[0] / pixels.sum() < 0.95


def test_ink_is_where_the_mask_says() -> None:
    samples = opened("digits-scenes", model__classes=11, preprocessing={"size": 64, "mean": [0.5], "std": [0.25]})
    for index in range(0, 240, 40):
        pixels, mask = samples.pixels([index])[0, ..., 0].astype(float), samples.mask(index)
        assert pixels[mask > 0].mean() > pixels[mask == 0].mean() + 40


def test_calibration_has_images_alone() -> None:
    samples = opened("digits-scenes", slot="calibration", model__classes=11)
    assert (len(samples), samples.has_masks, samples.classes) == (256, False, ())
