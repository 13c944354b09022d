"""What is kept of a segmentation network's answers, and how two networks are compared by it."""

from __future__ import annotations

import numpy as np
import pytest

from edgeresnet.errors import TargetError
from edgeresnet.portable import codec
from edgeresnet.portable.result import AnyAccuracy
from edgeresnet.portable.tasks.mask_accuracy import MaskAccuracy
from edgeresnet.portable.tasks.masks import IGNORED, Packed
from edgeresnet.portable.tasks.segmentation import Segmented
from edgeresnet.portable.tasks.task import Outputs

pytestmark = pytest.mark.unit

OUTPUTS = Outputs("segmentation", 3, 8)
LOGITS = np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32)
NUMBERS = LOGITS.argmax(1)


def compared(given: np.ndarray, labels: np.ndarray | None = NUMBERS) -> MaskAccuracy:
    known = None if labels is None else Packed.of(labels.astype(np.uint16))
    found = OUTPUTS.of_task.against(OUTPUTS.kept(LOGITS), known, OUTPUTS)(OUTPUTS.kept(given))
    assert isinstance(found, MaskAccuracy)
    return found


@pytest.mark.parametrize(
    "answer", [LOGITS, LOGITS.transpose(0, 2, 3, 1), NUMBERS, NUMBERS.astype(np.int32)[:, None], NUMBERS[..., None]]
)
def test_each_form_of_an_answer_gives_the_same_masks(answer: np.ndarray) -> None:
    found = OUTPUTS.kept(answer)
    assert all(np.array_equal(one, other) for one, other in zip(found.masks, NUMBERS, strict=True))
    assert found.sampled.shape == ((4, 64, 3) if answer.dtype.kind == "f" else (4, 0, 0))


def test_a_smaller_map_is_enlarged_by_the_nearest_pixel() -> None:
    found = OUTPUTS.kept(LOGITS[:, :, ::2, ::2])
    assert np.array_equal(found.masks[1], NUMBERS[1, ::2, ::2].repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize(("answer", "words"), [(NUMBERS + 1, "class 3"), (NUMBERS - 1, "neither logits nor classes")])
def test_answers_outside_the_classes_are_refused(answer: np.ndarray, words: str) -> None:
    with pytest.raises(TargetError, match=words):
        OUTPUTS.kept(answer)


def test_what_is_kept_travels_as_arrays() -> None:
    whole = OUTPUTS.kept(LOGITS)
    parts: Segmented = OUTPUTS.joined([OUTPUTS.kept(LOGITS[:1]), OUTPUTS.kept(LOGITS[1:])])
    assert parts.masks == whole.masks
    stored = OUTPUTS.arrays(parts, "int8")
    assert OUTPUTS.restored(stored, "int8").masks == whole.masks
    assert np.array_equal(OUTPUTS.restored(stored, "int8").sampled, whole.sampled)


def test_masks_are_read_by_the_names_of_all_accuracies() -> None:
    same, worse = compared(LOGITS), compared(LOGITS + np.array([0, 0, 0.8], np.float32)[:, None, None])
    assert (same.score_pct, same.drop_pp, same.agree_pct, same.sqnr_db, same.lost) == (100, 0, 100, None, 0)
    assert worse.drop_pp == pytest.approx(100 - worse.score_pct)
    assert worse.sqnr_db is not None
    assert (worse.lost, worse.won, len(worse.changed_images())) == (4, 0, 4)
    unlabelled = compared(LOGITS, None)
    assert (unlabelled.has_labels, unlabelled.agree_pct) == (False, 100)
    ignored = np.full_like(NUMBERS, IGNORED)
    assert not compared(LOGITS, ignored).has_labels


def test_either_accuracy_is_read_from_json() -> None:
    found = compared(-LOGITS)
    assert codec.decode(AnyAccuracy, codec.encode(found)) == found
    assert codec.decode(AnyAccuracy, {"images": 3, "agree": 2, "sqnr_db": 1.5}).name.short == "top-1"
