from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from edgeresnet.portable.preprocessing import Preprocessing

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def test_the_arithmetic_is_torchvisions() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 9, 9, 3), np.uint8)
    theirs = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    expected = torch.stack([theirs(image) for image in pixels]).numpy()
    found = Preprocessing(9, MEAN, STD).normalize(pixels)
    assert found.dtype == np.float32
    assert found.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_bgr_swaps_the_channels_before_the_statistics() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 2, 2, 3), np.uint8)
    swapped = Preprocessing(2, MEAN, STD, order="bgr").normalize(pixels)
    np.testing.assert_array_equal(swapped, Preprocessing(2, MEAN, STD).normalize(pixels[..., ::-1]))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"size": 0}, "size"),
        ({"resize": 100}, "resize"),
        ({"std": (1.0, 1.0)}, "both one value per channel"),
        ({"std": (1.0, 0.0, 1.0)}, "positive"),
        ({"mean": (float("nan"),) * 3}, "finite"),
        ({"mean": (0.1,) * 2, "std": (0.1,) * 2}, "grayscale"),
        ({"crop": "random"}, "crop"),
        ({"order": "gbr"}, "order"),
        ({"interpolation": "magic"}, "interpolation"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Preprocessing(**{"size": 224, "mean": MEAN, "std": STD, **changes})


def test_it_survives_json_and_its_digest_sees_every_field() -> None:
    one = Preprocessing(224, MEAN, STD, resize=256)
    assert Preprocessing.from_json(one.to_json()).digest == one.digest
    others = [
        Preprocessing(224, MEAN, STD),
        Preprocessing(224, MEAN, STD, resize=256, order="bgr"),
        Preprocessing(224, MEAN, STD, resize=256, interpolation="bicubic"),
        Preprocessing(224, STD, STD, resize=256),
    ]
    assert len({other.digest for other in others} | {one.digest}) == 5
