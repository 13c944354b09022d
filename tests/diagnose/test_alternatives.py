"""What is tried: a recipe can hold every alternative, and no two of them are the same."""

from __future__ import annotations

import numpy as np
import pytest

from edgeresnet.diagnose import alternatives
from edgeresnet.diagnose.alternatives import Alternative, Axes, Choice
from edgeresnet.portable.preprocessing import Preprocessing

pytestmark = pytest.mark.unit

IMAGENET = Preprocessing(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), resize=256)


def names(choices: tuple[Choice, ...]) -> list[str]:
    return [", ".join(choice.words) or "as given" for choice in choices]


def made(choices: tuple[Choice, ...], name: str, given: Preprocessing = IMAGENET) -> Preprocessing:
    return Alternative(colours=choices[names(choices).index(name)]).applied_to(given)


@pytest.mark.parametrize(
    "given", [IMAGENET, Preprocessing(8, (0.3,), (0.4,)), Preprocessing(32, (0.5,) * 3, (0.5,) * 3, order="bgr")]
)
def test_each_is_another_preprocessing_and_the_first_is_what_was_given(given: Preprocessing) -> None:
    axes = Axes.around(given, mean_given=True)
    every = [Alternative(colours=one) for one in axes.colours]
    every += [Alternative(crop=one) for one in axes.crops[1:]] + [
        Alternative(interpolation=one) for one in axes.interpolations[1:]
    ]
    assert every[0].applied_to(given) == given
    assert every[0].name == "as given"
    assert len({one.applied_to(given).digest for one in every}) == len({one.name for one in every}) == len(every)


def test_what_is_given_under_a_known_name_is_not_tried_twice() -> None:
    known = names(alternatives.colours(IMAGENET, mean_given=True))
    assert "ImageNet's mean and std" not in known
    rounded = Preprocessing(224, (0.4850001, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert "ImageNet's mean and std" not in names(alternatives.colours(rounded, mean_given=True))
    assert {"BGR", "ImageNet's mean and std, BGR", "pixels from 0 to 255", "Caffe's mean, pixels to 255, BGR"} < set(
        known
    )
    # equal means for all channels are the same in both orders of means
    half = Preprocessing(224, (0.5,) * 3, (0.5,) * 3)
    assert "pixels from -1 to 1, BGR" not in names(alternatives.colours(half, mean_given=True))


def test_numbers_are_those_that_networks_are_trained_with() -> None:
    choices = alternatives.colours(IMAGENET, mean_given=True)
    pixels = np.asarray([[[[10, 100, 250]]]], np.uint8)  # one pixel: red 10, green 100, blue 250
    caffe = made(choices, "Caffe's mean, pixels to 255, BGR").normalize(pixels).ravel()
    np.testing.assert_allclose(caffe, [250 - 103.939, 100 - 116.779, 10 - 123.68], atol=1e-3)
    np.testing.assert_allclose(
        made(choices, "pixels from 0 to 255").normalize(pixels).ravel(), [10, 100, 250], rtol=1e-5
    )
    half = made(choices, "pixels from -1 to 1").normalize(pixels).ravel()
    np.testing.assert_allclose(half, pixels.ravel() / 127.5 - 1, atol=1e-6)
    # BGR alone leaves the numbers where the user wrote them; a known mean goes along with its colour
    assert made(choices, "BGR").mean == (0.485, 0.456, 0.406)
    assert made(choices, "ImageNet's mean and std, BGR").mean == (0.406, 0.456, 0.485)


def test_numbers_that_were_meant_for_pixels_to_255() -> None:
    given = Preprocessing(224, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    meant = made(alternatives.colours(given, mean_given=True), "the given numbers divided by 255", given)
    np.testing.assert_allclose(meant.mean, IMAGENET.mean, rtol=1e-3)
    np.testing.assert_allclose(meant.std, IMAGENET.std, rtol=1e-3)


def test_where_no_mean_was_given_none_is_tried_as_given() -> None:
    stand_in = alternatives.stand_in(3)
    given = Preprocessing(32, stand_in.mean, stand_in.std)
    known = names(alternatives.colours(given, mean_given=False))
    assert known[0] == "ImageNet's mean and std"
    assert not {"as given", "BGR", "the given numbers divided by 255"} & set(known)


def test_gray_has_no_order() -> None:
    known = names(alternatives.colours(Preprocessing(28, (0.1307,), (0.3081,)), mean_given=True))
    assert known[0] == "as given"
    assert "pixels from 0 to 255" in known
    assert not [name for name in known if "BGR" in name or name.startswith("MNIST's")]


def test_crops_are_the_usual_ones() -> None:
    assert names(alternatives.crops(IMAGENET)) == [
        "as given", "shorter side 224, no border cropped", "shorter side 232, then cropped", "squashed to a square",
    ]  # fmt: skip
    squashed = Preprocessing(224, IMAGENET.mean, IMAGENET.std, crop="squash")
    assert "squashed to a square" not in names(alternatives.crops(squashed))
    for choice in alternatives.crops(squashed)[1:]:
        assert Alternative(crop=choice).applied_to(squashed).crop == "center"
    assert names(alternatives.interpolations(IMAGENET)) == ["as given", "bicubic", "nearest"]
