"""Images with boxes: they move as their images do, and are a part of what a set is."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgeresnet import images
from edgeresnet.errors import ImagesError
from edgeresnet.images import boxes, choose, decode
from edgeresnet.images.sources.boxed import Boxed
from edgeresnet.images.sources.scenes import boxed_scenes, scenes
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.portable.tasks.average_precision import Labelled

from .test_masks import opened as opened_masks

pytestmark = pytest.mark.unit

GRAY = {"size": 64, "mean": [0.5], "std": [0.25]}


def opened(given: Any, **changes: Any) -> Any:
    changes = {"preprocessing": dict(GRAY), "model__classes": 10, **changes}
    return opened_masks(given, task="detection", **changes)


def test_scenes_have_a_tight_box_for_each_digit() -> None:
    found, drawn = boxed_scenes("evaluation"), scenes("evaluation")
    assert found.hashes == drawn.hashes
    for index, each in enumerate(found.drawn):
        mask = drawn.masks.read(index, (64, 64))
        everywhere = np.zeros_like(mask)
        for (left, top, width, height), number in zip(
            each.objects.boxes.astype(int), each.objects.numbers, strict=True
        ):
            inside = mask[top : top + height, left : left + width] == number + 1
            assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))
            everywhere[top : top + height, left : left + width] = 1
        assert not mask[everywhere == 0].any()
    counts = np.bincount(np.concatenate([each.objects.numbers for each in found.drawn]), minlength=10)
    assert (len(counts), counts.min() > 40) == (10, True)


def test_scenes_are_opened_with_their_boxes() -> None:
    samples = opened("digits-scenes")
    assert (len(samples), samples.has_boxes, samples.has_masks, samples.has_parts) == (240, True, False, True)
    assert samples.classes == tuple("0123456789")
    found = samples.boxes([5, 0])
    assert len(found) == 2
    assert found[1].boxes.tolist() == samples.source.drawn[0].objects.boxes.tolist()
    half = opened("digits-scenes", preprocessing={**GRAY, "size": 32}).boxes([0])
    assert half[0].boxes.tolist() == (found[1].boxes / 2).tolist()


def test_a_network_may_have_a_background() -> None:
    samples, plain = opened("digits-scenes", model__classes=11), opened("digits-scenes", model__classes=None)
    assert (samples.classes[:2], plain.classes) == (("background", "0"), tuple("0123456789"))
    assert samples.boxes([3]).numbers.tolist() == (plain.boxes([3]).numbers + 1).tolist()
    with pytest.raises(ImagesError, match="digits-scenes has 10 categories, with ids up to 9, but the network has 12"):
        opened("digits-scenes", model__classes=12)


def test_sets_with_other_categories_are_refused(tmp_path: Path) -> None:
    one, other = (opened("digits-scenes", slot=slot, model__classes=None) for slot in ("training", "evaluation"))
    other = dataclasses.replace(other, source=Boxed(other.source, other.source.drawn, "0123456"))
    with pytest.raises(ImagesError, match="have other classes than the training images: 7, 8, 9") as refused:
        images.same_classes([("training", one), ("evaluation", other)])
    assert refused.value.hint == "name all classes in the network's order in `images.names`"


def test_boxes_are_part_of_what_a_set_is() -> None:
    samples, masked = opened("digits-scenes"), opened_masks("digits-scenes", model__classes=11)
    assert len({samples.digest, masked.digest}) == len({samples.identity, masked.identity}) == 2
    part = pickle.loads(pickle.dumps(samples.part(20, 30)))
    assert part.boxes(range(10)).boxes.tolist() == samples.boxes(range(20, 30)).boxes.tolist()
    assert part.identity == samples.subset(np.arange(20, 30)).identity
    assert part.identity != opened("digits-scenes", slot="training").part(20, 30).identity
    rest, some = choose.split(samples, 0.1, seed=0)
    assert (len(rest), len(some), some.has_boxes) == (216, 24, True)


def test_calibration_has_images_alone() -> None:
    samples = opened("digits-scenes", slot="calibration")
    assert (len(samples), samples.has_parts, samples.classes) == (256, False, ())


def moved(size: tuple[int, int], *corners: float, tag: int = 1, **preprocessing: Any) -> list[list[float]]:
    """Return where one box comes to lie in the network's input, with whether it is a crowd."""
    image = Image.new("L", size)
    image.getexif()[0x0112] = tag
    how = Preprocessing(**{"size": 50, "mean": (0.5,), "std": (0.25,), **preprocessing})
    given = Labelled(np.array([corners]), np.array([3]), np.array([False]))
    found = boxes.fitted(given, image, how)
    return [[*box.tolist(), bool(crowd)] for box, crowd in zip(found.boxes, found.crowd, strict=True)]


def test_a_box_moves_with_its_image() -> None:
    assert moved((100, 200), 10, 20, 30, 40, crop="squash") == [[5.0, 5.0, 15.0, 10.0, False]]
    assert moved((100, 200), 10, 60, 30, 40) == [[5.0, 5.0, 15.0, 20.0, False]]  # 25 of 100 rows are cut off above
    assert moved((100, 200), 10, 60, 30, 40, resize=100) == [[0.0, 0.0, 15.0, 25.0, False]]
    assert moved((100, 200), 10, 60, 30, 40, crop="pad") == [[2.5, 15.0, 7.5, 10.0, False]]
    assert moved((200, 100), 10, 60, 30, 50, crop="pad") == [[2.5, 15.0, 7.5, 10.0, False]]  # it ends with the image


def test_what_a_crop_leaves_decides() -> None:
    assert moved((100, 200), 0, 0, 20, 49) == []  # outside
    assert moved((100, 200), 0, 50, 20, 0) == []
    assert moved((100, 200), 0, 30, 20, 26) == [[0.0, 0.0, 10.0, 3.0, True]]  # 6 of 26 rows are left
    assert moved((100, 200), 0, 30, 20, 27) == [[0.0, 0.0, 10.0, 3.5, False]]  # 7 of 27 rows are left


def test_a_box_ends_at_the_edge_of_its_image() -> None:
    assert moved((100, 100), -10, 90, 30, 40) == [[0.0, 45.0, 10.0, 5.0, False]]
    assert moved((100, 100), -10, 90, 10, 40) == []


@pytest.mark.parametrize("tag", range(1, 9))
def test_exif_turns_boxes_as_it_turns_images(tmp_path: Path, tag: int) -> None:
    pixels = np.zeros((40, 60), np.uint8)
    pixels[4:10, 7:27] = 255
    exif = Image.Exif()
    exif[0x0112] = tag
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    how = Preprocessing(size=80, mean=(0.5,), std=(0.25,), crop="squash", interpolation="nearest", exif=True)
    given = Labelled(np.array([[7.0, 4.0, 20.0, 6.0]]), np.array([3]), np.array([False]))
    with Image.open(tmp_path / "turned.png") as image:
        found = boxes.fitted(given, image, how).boxes[0]
        shown = decode.prepare(image, how)[..., 0] > 128
    rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
    seen = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
    assert np.abs(found - seen).max() <= 1.0, (found, seen)
