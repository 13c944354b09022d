"""What is kept of a detector's answers, and how two networks are compared by it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeresnet import tracking
from edgeresnet.errors import ArtifactError, TargetError
from edgeresnet.portable import codec, judging
from edgeresnet.portable.codec import CodecError
from edgeresnet.portable.evaluation import Answers
from edgeresnet.portable.result import AnyAccuracy, Measured, Promise
from edgeresnet.portable.tasks.agreement import Agreement
from edgeresnet.portable.tasks.average_precision import average_precision, matched
from edgeresnet.portable.tasks.box_accuracy import BoxAccuracy
from edgeresnet.portable.tasks.detection import Detections
from edgeresnet.portable.tasks.detector import Detector
from edgeresnet.portable.tasks.objects import Objects
from edgeresnet.portable.tasks.overlap import Overlaps
from edgeresnet.portable.tasks.task import Outputs
from edgeresnet.report.html import answers as answers_shown
from edgeresnet.report.summary import cells
from edgeresnet.shards import evaluating

from .. import results

pytestmark = pytest.mark.unit

IMAGES, ROWS, CLASSES = 40, 16, 3
DETECTOR = Detector(32, CLASSES, (4,), ((8.0,),), (1.0,))
OUTPUTS = Outputs("detection", CLASSES, 32, DETECTOR)
TASK = OUTPUTS.of_task


def answers(seed: int = 0, noise: float = 0.0) -> np.ndarray:
    """Return answers with two or three boxes in an image; `noise` is added to logits."""
    rng = np.random.default_rng(seed)
    found = np.full((IMAGES, ROWS, CLASSES + 4), -6.0, np.float32)
    found[..., CLASSES:] = (0.5, 0.5, 0, 0)  # from the corner of a cell to its middle
    for image in found:
        rows = rng.choice(ROWS, rng.integers(2, 4), replace=False)
        image[rows, rng.integers(CLASSES, size=len(rows))] = 3
    found[..., :CLASSES] += noise * np.random.default_rng(9).normal(size=(IMAGES, ROWS, CLASSES))
    return found


FP32, ROUGH = answers(), answers(noise=3.0)
NOTHING = np.where(np.arange(CLASSES + 4) < CLASSES, np.float32(-9), FP32)


def labels_of(answer: np.ndarray = FP32) -> Objects:
    """Return the boxes of answers as labels."""
    found = OUTPUTS.kept(answer).found
    return Objects(found.counts, found.boxes, found.numbers, np.zeros(len(found.boxes), bool))


def compared(given: np.ndarray, labels: Objects | None) -> BoxAccuracy:
    found = TASK.against(OUTPUTS.kept(FP32), labels, OUTPUTS)(OUTPUTS.kept(given))
    assert isinstance(found, BoxAccuracy)
    return found


def result(now: np.ndarray, labels: Objects | None, before: np.ndarray = FP32) -> Measured:
    """Return a measurement of two variants, as `verify` makes it."""
    expected = OUTPUTS.kept(before)
    compare = TASK.against(expected, labels, OUTPUTS)
    given = {"fp32": before, "int8": now}
    variants = {name: replace(results.variant(), accuracy=compare(OUTPUTS.kept(each))) for name, each in given.items()}
    found = results.measured("int8", variants, classes=["a", "b", "c"])
    about = TASK.of_result(expected, labels, OUTPUTS)
    return replace(found, task="detection", detector=DETECTOR, **about)


def test_what_is_kept_travels_as_arrays() -> None:
    whole = OUTPUTS.kept(ROUGH)
    parts: Detections = OUTPUTS.joined([OUTPUTS.kept(ROUGH[:5]), OUTPUTS.kept(ROUGH[5:])])
    restored: Detections = OUTPUTS.restored(OUTPUTS.arrays(parts, "int8"), "int8")
    assert (len(parts), restored.sampled.shape) == (IMAGES, (IMAGES, ROWS, CLASSES + 4))
    for other in (parts, restored):
        assert np.array_equal(whole.sampled, other.sampled)
        assert all(np.array_equal(each, other.found.arrays()[name]) for name, each in whole.found.arrays().items())


def test_parts_that_workers_answered_are_merged_as_one() -> None:
    outputs: Outputs = pickle.loads(pickle.dumps(OUTPUTS))
    parts = [
        evaluating.packed(np.arange(first, end), Answers(outputs.kept(ROUGH[first:end]), []), outputs)
        for first, end in ((0, 16), (16, IMAGES))
    ]
    indices, found = evaluating.merged((evaluating.unpacked(part, outputs) for part in parts), outputs)
    assert indices.tolist() == list(range(IMAGES))
    assert np.array_equal(found.given.found.boxes, OUTPUTS.kept(ROUGH).found.boxes)


def test_rows_of_a_fixed_lattice_are_kept() -> None:
    many = Outputs("detection", 1, 512, Detector(512, 1, (64,), ((8.0,),), (1.0,)))
    answer = np.full((1, 64 * 64, 5), -9, np.float32)
    answer[0, :, 4] = np.arange(64 * 64) / 1e4
    sampled = many.kept(answer).sampled[0, :, 4]
    assert (len(sampled), sampled[0], sampled[-1]) == (1024, answer[0, 0, 4], answer[0, -1, 4])
    assert many.batch(32) == 32
    assert Outputs("detection", 80, 800, Detector(800, 80, (100,) * 5, ((8.0,) * 3,) * 5, (1.0,) * 3)).batch(32) == 1


def test_boxes_of_a_network_that_suppresses_them_itself_are_kept_as_they_are() -> None:
    rows = np.zeros((2, 5, 6), np.float32)
    rows[0, 0], rows[0, 1] = (8, 8, 16, 16, 0.6, 2), (0, 0, 8, 8, 0.9, 1)
    found: Detections = OUTPUTS.kept(rows)
    assert found.found.counts.tolist() == [2, 0]
    assert found.found.boxes.tolist() == [[0, 0, 8, 8], [8, 8, 8, 8]]
    assert found.sampled.size == 0
    with pytest.raises(TargetError, match="answers class 3, but there are 3 classes"):
        OUTPUTS.kept(np.where(rows == 2, np.float32(3), rows))


@pytest.mark.parametrize("shape", [(2, ROWS, 8), (2, 15, 7), (2, ROWS * 7), (2, 1, ROWS, 7)])
def test_answers_of_other_anchors_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(TargetError, match="numbers for an image, and its anchors need 16 × 7"):
        OUTPUTS.kept(np.zeros(shape, np.float32))


def test_boxes_are_read_by_the_names_of_all_accuracies() -> None:
    known = labels_of()
    same, rough = compared(FP32, known), compared(ROUGH, known)
    assert (same.score_pct, same.drop_pp, same.agree_pct, same.sqnr_db, same.lost) == (100, 0, 100, None, 0)
    found = average_precision(matched(list(known), list(OUTPUTS.kept(ROUGH).found), CLASSES))
    assert rough.score_pct == pytest.approx(100 * found.mean, abs=1e-9)
    assert rough.drop_pp == pytest.approx(100 - rough.score_pct)
    low, high = rough.drop_interval_pp()
    assert low < rough.drop_pp < high
    assert rough.sqnr_db is not None
    assert rough.lost == len([number for number, loss in rough.changed_images() if loss > 0]) > 0
    assert rough.won == 0
    assert rough.answers == (0, 1, 2)
    before, now = rough.of_image(rough.changed_images()[0][0])
    assert before == 100 >= now


def test_agreement_counts_boxes_that_only_one_network_has() -> None:
    changed = FP32.copy()
    changed[0] = NOTHING[0]
    found = compared(changed, None)
    boxes = OUTPUTS.kept(FP32).found.counts
    assert found.agreement == Agreement((0, *boxes[1:].tolist()), tuple(boxes.tolist()))
    assert found.flips_pct == pytest.approx(100 * boxes[0] / boxes.sum())
    assert found.changed_images() == [(0, 100.0)]
    assert not found.has_labels
    assert TASK.changed(OUTPUTS.kept(FP32), OUTPUTS.kept(changed)) == 1
    low, high = found.flips_interval_pct()
    assert low <= found.flips_pct <= high
    assert compared(NOTHING, None).flips_pct == 100


def test_each_accuracy_is_read_from_json() -> None:
    for labels in (labels_of(), None):
        found = compared(ROUGH, labels)
        assert codec.decode(AnyAccuracy, codec.encode(found)) == found
    document = codec.encode(result(ROUGH, labels_of()))
    assert codec.decode(Measured, document) == result(ROUGH, labels_of())


def _of_masks(found: dict[str, Any]) -> None:
    found["unrelated"] = codec.encode(Overlaps(IMAGES, CLASSES, (), (), (), (), ()))


def _without_before(found: dict[str, Any]) -> None:
    del found["variants"]["int8"]["accuracy"]["before"]


def _other_classes(found: dict[str, Any]) -> None:
    found["classes"] = ["a", "b"]


def _a_label(found: dict[str, Any]) -> None:
    found["labels"] = [1] * IMAGES


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_of_masks, "unrelated: is not of detection"),
        (_without_before, "has counts of one network"),
        (_other_classes, "is of 3 classes, not of 2"),
        (_a_label, "labels: are classes of images"),
        (lambda found: found.update(task="segmentation"), "accuracy: is not one of segmentation"),
        (lambda found: found.update(task="classification"), "accuracy: is"),
    ],
)
def test_a_result_whose_parts_do_not_fit_is_refused(change: Callable[[dict[str, Any]], None], words: str) -> None:
    document = codec.encode(result(ROUGH, labels_of()))
    change(document)
    with pytest.raises(CodecError, match=words):
        codec.decode(Measured, document)


def test_a_network_that_does_not_look_is_no_better_than_chance() -> None:
    good, blind = result(ROUGH, labels_of()), result(FP32, labels_of(answers(seed=5)))
    assert not TASK.no_better_than_chance(good)
    assert TASK.chance_sentence(good) == ""
    assert TASK.no_better_than_chance(blind)
    assert "with the boxes of other images: not clearly better than chance" in TASK.chance_sentence(blind)
    assert TASK.no_better_than_chance(result(FP32, None))
    assert TASK.only_answer(good) == ""
    assert TASK.only_answer(result(NOTHING, labels_of())) == "no box in any image"


def test_each_promise_is_judged_and_a_network_without_boxes_breaks_it() -> None:
    promises = [
        Promise("max_drop_pp", 30),
        Promise("min_map_pct", 60),
        Promise("min_ap_pct", 50, "b"),
        Promise("max_flips_pct", 60),
    ]
    good = judging.judge(promises, "x", result(answers(noise=1.0), labels_of()))
    assert [each.verdict for each in good] == ["KEPT"] * 4, good
    assert "% mAP" in good[1].reason
    assert "% AP of b" in good[2].reason
    assert "% of boxes changed" in good[3].reason
    bad = judging.judge(promises, "x", result(NOTHING, labels_of()))
    assert [each.verdict for each in bad] == ["BROKEN"] * 4, bad
    unsure = np.where(np.arange(CLASSES + 4) < CLASSES, FP32 - 4, FP32)  # scores are below 0.5
    (none,) = judging.judge(promises[3:], "x", result(unsure, labels_of(), unsure))
    assert none.verdict == "NOT_MEASURED"
    assert none.reason == "no box has a score of 0.5 or more"
    shipped = result(unsure, labels_of(), unsure).shipped
    accuracy = shipped.accuracy
    assert "agree_pct" not in tracking._accuracy(shipped)
    assert cells.accuracy_cells(accuracy, 1.0)[2] == "not known"
    assert cells.same_answers(accuracy, "boxes") == none.reason
    unchanged = answers_shown._unchanged(TASK, [result(unsure, labels_of(), unsure)])
    assert unchanged == "Nothing is compared: no box has a score of 0.5 or more."
    assert answers_shown._unchanged(TASK, [result(FP32, labels_of())]) == "All boxes are the same as in FP32."
    assert cells.agree_cell(result(FP32, labels_of()).shipped.accuracy) == "100.00 %"
    (absent,) = judging.judge([Promise("min_ap_pct", 50, "d")], "x", result(FP32, labels_of()))
    assert (absent.verdict, absent.reason) == ("NOT_MEASURED", "no evaluation image has the class d")
    unlabelled = judging.judge(promises, "x", result(FP32, None))
    assert {each.verdict for each in unlabelled} == {"NOT_MEASURED"}


def test_classes_details_and_changes_are_read_off_a_result() -> None:
    found, better = result(ROUGH, labels_of()), result(FP32, labels_of())
    (_, b, _) = TASK.classes(found)
    assert b.label == "b"
    assert b.of.images == sum(1 in each.numbers for each in labels_of())
    assert b.of.before_pct == 100
    assert b.of.drop_pp == pytest.approx(100 - b.of.score_pct)
    low, high = b.of.drop_interval_pp()
    assert low < b.of.drop_pp < high
    (detail,) = TASK.details(found, "int8")
    assert detail.startswith("AP50 ")
    changed = TASK.change(found, better, "int8")
    assert changed.drop_pp is not None
    assert changed.drop_pp == pytest.approx(found.shipped.accuracy.score_pct - 100)
    assert (changed.lost, changed.agree) == (0, None)


def test_one_image_shows_its_boxes() -> None:
    seen = TASK.seen(OUTPUTS.kept(FP32), OUTPUTS)
    assert seen.boxes is not None
    assert len(seen.boxes.scores) == OUTPUTS.kept(FP32).found.counts[0]
    assert seen.classes[seen.boxes.numbers[0]] == seen.boxes.scores[0]
    assert (seen.classes <= 1).all()


def test_labels_and_expected_answers_travel_in_files(tmp_path: Path) -> None:
    assert TASK.read_labels(tmp_path) is None
    TASK.write_labels(labels_of(), tmp_path)
    TASK.write_expected(OUTPUTS.kept(ROUGH), tmp_path)
    read: Objects | None = TASK.read_labels(tmp_path)
    assert read is not None
    assert np.array_equal(read.boxes, labels_of().boxes)
    assert np.array_equal(TASK.read_expected(tmp_path).found.scores, OUTPUTS.kept(ROUGH).found.scores)


def test_a_device_cannot_return_counts_of_other_boxes() -> None:
    known, expected = labels_of(), OUTPUTS.kept(FP32)
    good = result(ROUGH, known)
    TASK.check_counts(good, expected, known, OUTPUTS)
    with pytest.raises(ArtifactError, match="are not the bundle's"):
        TASK.check_counts(result(ROUGH, labels_of(ROUGH)), expected, known, OUTPUTS)
    with pytest.raises(ArtifactError, match="are not the bundle's"):
        TASK.check_counts(good, expected, None, OUTPUTS)
    found = good.shipped.accuracy
    assert isinstance(found, BoxAccuracy)
    other = TASK.against(expected, labels_of(answers(seed=5)), OUTPUTS)(OUTPUTS.kept(ROUGH))
    assert isinstance(other, BoxAccuracy)
    wrong = [
        replace(found, now=other.now),
        replace(found, agreement=Agreement(found.agreement.agree, found.agreement.agree)),
        replace(found, agreement=Agreement(found.agreement.agree[1:], found.agreement.parts[1:])),
    ]
    for each in wrong:
        changed = results.change(good, "int8", accuracy=each)
        with pytest.raises(ArtifactError, match="are not those of this bundle's images"):
            TASK.check_counts(changed, expected, known, OUTPUTS)
