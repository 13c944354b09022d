"""Labels are mirrored and shifted with their images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest
import torch

from edgeresnet.images import Samples
from edgeresnet.portable.tasks.average_precision import Labelled
from edgeresnet.portable.tasks.masks import Packed
from edgeresnet.portable.tasks.objects import Objects
from edgeresnet.recipe import Augment
from edgeresnet.tasks.detection import ABSENT, CROWD
from edgeresnet.training.labels import Labels, labels_of
from edgeresnet.training.moves import Moves

HOW = Augment(flip=True, shift=3)
SIDE = 16


@dataclass(frozen=True)
class _Preprocessing:
    size: int = SIDE


@dataclass
class _Samples:
    """Labels, as `Samples` give them."""

    labels: np.ndarray
    found_masks: Any = None
    found_boxes: Any = None
    preprocessing: _Preprocessing = _Preprocessing()

    @property
    def has_masks(self) -> bool:
        return self.found_masks is not None

    @property
    def has_boxes(self) -> bool:
        return self.found_boxes is not None

    def masks(self, indices: np.ndarray) -> Any:
        return self.found_masks

    def boxes(self, indices: np.ndarray) -> Any:
        return self.found_boxes.taken(indices)


def of(samples: _Samples) -> Labels:
    return labels_of(cast(Samples, samples), np.arange(len(samples.labels)))


def boxed(*images: list[list[float]]) -> Labels:
    """Return the labels of images: for each object its class, left, top, width, height, and 1 for a crowd."""
    tables = [np.array(each, np.float32).reshape(-1, 6) for each in images]
    found = Objects.of(Labelled(each[:, 1:5], each[:, 0].astype(int), each[:, 5] > 0) for each in tables)
    return of(_Samples(np.zeros(len(images)), found_boxes=found))


def test_masks_move_with_their_images() -> None:
    masks = np.random.default_rng(0).integers(0, 9, (5, SIDE, SIDE))
    labels = of(_Samples(np.zeros(5), found_masks=Packed.of(masks.astype(np.uint16))))
    moves = Moves.drawn(5, HOW, np.random.default_rng(0))
    batch = labels.of(np.arange(5))
    moved = labels.moved(batch, moves, HOW.shift)
    assert torch.equal(moved.float(), moves.on(batch[:, None].float(), HOW.shift)[:, 0])
    assert not torch.equal(moved, batch)


def test_labels_of_complete_images_do_not_move() -> None:
    labels = of(_Samples(np.arange(5)))
    batch = labels.of(np.array([3, 1]))
    assert batch.tolist() == [3, 1]
    assert labels.moved(batch, Moves.drawn(2, HOW, np.random.default_rng(0)), HOW.shift) is batch


def test_rows_of_absent_objects_fill_the_tensor() -> None:
    labels = boxed([[2, 1, 1, 4, 5, 0], [3, 0, 0, 8, 8, 1]], [], [[7, 2, 2, 3, 3, 0]])
    found = labels.of(np.array([2, 0, 1]))
    assert found[..., 0].tolist() == [[7, ABSENT], [2, CROWD - 3], [ABSENT, ABSENT]]
    assert found[1].tolist()[0] == [2, 1, 1, 5, 6]
    assert labels.of(np.array([1])).shape == (1, 1, 5)
    assert labels.of(np.array([], int)).shape == (0, 1, 5)


@pytest.mark.parametrize("seed", range(4))
def test_boxes_move_with_their_images(seed: int) -> None:
    """Each object is a bright rectangle, so that the moved image shows where its box must be."""
    random = np.random.default_rng(seed)
    corners, sides = random.integers(4, 8, (6, 2)), random.integers(2, 5, (6, 2))
    pixels = torch.zeros(6, 1, SIDE, SIDE)
    for picture, (left, top), (width, height) in zip(pixels[:, 0], corners, sides, strict=True):
        picture[top : top + height, left : left + width] = 1
    labels = boxed(*([[1.0, *corner, *side, 0]] for corner, side in zip(corners.tolist(), sides.tolist(), strict=True)))
    moves = Moves.drawn(6, HOW, random)
    moved = labels.moved(labels.of(np.arange(6)), moves, HOW.shift)
    for picture, (number, *box) in zip(moves.on(pixels, HOW.shift)[:, 0], moved[:, 0].tolist(), strict=True):
        rows, columns = picture.amax(1).nonzero(), picture.amax(0).nonzero()
        assert number == 1
        assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize(
    ("left", "number", "box"),
    [
        (0, ABSENT, None),  # all of it is outside
        (1, CROWD - 4, [0, 5, 1, 9]),  # a tenth is left: no object any more
        (4, 4, [0, 5, 4, 9]),
        (7, 4, [0, 5, 7, 9]),
    ],
)
def test_an_object_is_cut_at_the_side_of_its_image(left: int, number: int, box: list[int] | None) -> None:
    labels = boxed([[4, left, 5, 10, 4, 0]])
    largest = 10
    moves = Moves(None, torch.tensor([[largest], [2 * largest]]))  # ten pixels to the left
    ((found, *corners),) = labels.moved(labels.of(np.array([0])), moves, largest)[0].tolist()
    assert found == number
    assert box is None or corners == box


def test_a_crowd_stays_one() -> None:
    labels = boxed([[4, 0, 5, 11, 4, 1]])
    moves = Moves(None, torch.tensor([[10], [20]]))
    assert labels.moved(labels.of(np.array([0])), moves, 10)[0, 0].tolist() == [CROWD - 4, 0, 5, 1, 9]
