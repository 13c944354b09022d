"""Packed masks: what goes in comes out, alone or together, and damaged bytes are refused."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pytest

from edgeresnet.portable.tasks.masks import IGNORED, Packed

pytestmark = pytest.mark.unit

ONE = np.array([[0, 1, 2], [IGNORED, 300, 0]], np.uint16)
OTHER = np.zeros((4, 1), np.uint8)


def test_masks_come_out_as_they_went_in() -> None:
    found = Packed.of(each for each in (ONE, OTHER))
    assert len(found) == 2
    assert [each.tolist() for each in found] == [ONE.tolist(), OTHER.tolist()]
    assert found[0].dtype == np.uint16
    assert Packed.from_arrays(found.arrays()) == found
    assert Packed.joined([found, Packed(), found]) == Packed.of([ONE, OTHER, ONE, OTHER])
    assert found.taken([1, 0, 1]) == Packed.of([OTHER, ONE, OTHER])


def test_no_masks_travel_too() -> None:
    assert Packed.from_arrays(Packed().arrays()) == Packed()
    assert list(Packed()) == []


def test_a_mask_has_two_axes() -> None:
    with pytest.raises(ValueError, match="not the shape"):
        Packed.of([np.zeros((1, 2, 2), np.uint16)])


@pytest.mark.parametrize(
    "about",
    [
        {"masks": np.zeros(3, np.float32)},
        {"masks": np.zeros(3, np.uint8)},
        {"mask_lengths": np.array([-1, 1], np.int64)},
        {"mask_lengths": np.array([1.5, 2.5])},
        {"mask_shapes": np.array([[-1, 2], [3, 4]])},
        {"mask_shapes": np.array([[1 << 20, 1 << 20], [3, 4]])},
        {"mask_shapes": np.array([[2, 3]])},
    ],
)
def test_arrays_that_do_not_fit_are_refused(about: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="packed mask"):
        Packed.from_arrays(Packed.of([ONE, OTHER]).arrays() | about)


def test_a_missing_array_is_refused() -> None:
    with pytest.raises(ValueError, match="mask_lengths"):
        Packed.from_arrays({"masks": np.zeros(0, np.uint8)})


def test_damaged_bytes_and_such_that_grow_are_refused() -> None:
    found = Packed.of([ONE])
    for part in (b"no zlib", found.parts[0][:-8], zlib.compress(bytes(1 << 20)), zlib.compress(b"12")):
        with pytest.raises(ValueError, match="packed mask 0"):
            replace(found, parts=(part,))[0]
