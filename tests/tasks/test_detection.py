"""What a network learns from boxes, and how good its answers are: compared with torchvision and the mAP that is
reported.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.models.detection import _utils
from torchvision.models.detection.retinanet import RetinaNetClassificationHead, RetinaNetRegressionHead
from torchvision.ops import box_iou

from edgeresnet import tasks
from edgeresnet.portable.tasks.average_precision import Labelled, average_precision, matched
from edgeresnet.portable.tasks.detector import Detector
from edgeresnet.tasks.detection import ABSENT, CROWD, Detection, encoded, wanted

CLASSES = 3
DETECTOR = Detector(32, CLASSES, grids=(8, 4), sizes=((8.0, 11.0), (16.0, 22.0)), ratios=(0.5, 1.0, 2.0), least=0.3)
TASK = Detection(DETECTOR)
ANCHORS = torch.from_numpy(DETECTOR.anchors())


def case(seed: int, images: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Return answers near the labels, and labels: 0 to 3 objects in each image."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros(images, 3, 5)
    labels[..., 0] = ABSENT
    logits = 0.8 * torch.randn(images, DETECTOR.rows, CLASSES + 4, generator=generator) - 1
    for image in range(images):
        for row in range(image % 4):
            side = 6 + 12 * torch.rand(2, generator=generator)
            corner = (32 - side) * torch.rand(2, generator=generator)
            number = int(torch.randint(CLASSES, (1,), generator=generator))
            labels[image, row] = torch.tensor([number, *corner, *(corner + side)])
        here = wanted(ANCHORS, labels[image])
        logits[image, here.rows, here.classes] += 3
        logits[image, :, CLASSES:] *= 0.1
        logits[image, here.rows, CLASSES:] += here.offsets
    return logits, labels


def of_torchvision(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return torchvision's loss of a RetinaNet, summed over images."""
    matcher = _utils.Matcher(0.5, 0.4, allow_low_quality_matches=True)
    there = [one[one[:, 0] >= 0] for one in labels]
    targets = [{"boxes": one[:, 1:], "labels": one[:, 0].long()} for one in there]
    ious = [box_iou(each["boxes"], ANCHORS) for each in targets]
    nothing = torch.full((len(ANCHORS),), -1)
    chosen = [matcher(iou) if len(iou) else nothing for iou in ious]
    answers = {"cls_logits": logits[..., :CLASSES], "bbox_regression": logits[..., CLASSES:]}
    heads = RetinaNetClassificationHead(4, 1, CLASSES), RetinaNetRegressionHead(4, 1)
    anchors = [ANCHORS] * len(labels)
    found = heads[0].compute_loss(targets, answers, chosen) + heads[1].compute_loss(targets, answers, anchors, chosen)
    return len(labels) * float(found)


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_is_torchvisions(seed: int) -> None:
    logits, labels = case(seed)
    assert TASK.loss(logits, labels).item() == pytest.approx(of_torchvision(logits, labels), rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_the_score_is_the_map_that_is_reported(seed: int) -> None:
    logits, labels = case(seed, 12)
    labels[3, 0, 0] = CROWD - labels[3, 0, 0]
    truth = []
    for one in labels.numpy():
        one = one[one[:, 0] != ABSENT]
        crowd = one[:, 0] <= CROWD
        numbers = np.where(crowd, CROWD - one[:, 0], one[:, 0]).astype(int)
        truth.append(Labelled(np.c_[one[:, 1:3], one[:, 3:] - one[:, 1:3]], numbers, crowd))
    found = DETECTOR.detections(logits.numpy())
    expected = average_precision(matched(truth, found, CLASSES)).mean
    parts = [TASK.counts(logits[part], labels[part]) for part in (slice(0, 5), slice(5, 12))]
    assert 0.2 < expected < 1
    assert TASK.score(torch.stack(parts).sum(0)) == pytest.approx(expected, abs=0.02)


def test_an_anchor_in_a_crowd_is_neither_object_nor_background() -> None:
    labels = torch.tensor([[CROWD - 1.0, 0, 0, 20, 20], [0, 2, 2, 10, 10]])
    found, alone = (wanted(ANCHORS, each) for each in (labels, labels[1:]))
    middle = (ANCHORS[:, :2] + ANCHORS[:, 2:]) / 2
    inside = ((ANCHORS[:, :2] >= 0) & (ANCHORS[:, 2:] <= 20)).all(1)
    inside[found.rows] = False
    assert inside.any()
    assert not found.known[inside].any()
    assert found.known[(middle > 30).all(1)].all()
    assert len(found.rows)
    assert all(torch.equal(each, other) for each, other in zip(found[1:], alone[1:], strict=True))


def test_images_without_objects_teach_background() -> None:
    logits, labels = case(0)
    labels[..., 0] = ABSENT
    certain = torch.full_like(logits, -20).requires_grad_()
    assert TASK.loss(certain, labels).item() == pytest.approx(0, abs=1e-4)
    assert TASK.loss(logits, labels).item() > 1
    assert TASK.score(TASK.counts(logits, labels)) == 0


def test_no_images_have_no_loss() -> None:
    nothing = torch.zeros(0, DETECTOR.rows, CLASSES + 4, requires_grad=True)
    TASK.loss(nothing, torch.zeros(0, 1, 5)).backward()


def test_offsets_are_decoded_to_their_boxes() -> None:
    boxes = ANCHORS + torch.tensor([1.0, -2, 3, 1])
    answer = torch.full((len(ANCHORS), CLASSES + 4), -20.0)
    answer[:, CLASSES:] = encoded(boxes, ANCHORS)
    answer[17, 1] = 4
    (found,) = DETECTOR.detections(answer[None].numpy())
    left, top, right, bottom = boxes[17].clamp(0, 32).tolist()
    assert found.boxes.tolist() == [pytest.approx([left, top, right - left, bottom - top], abs=1e-4)]
    assert found.numbers.tolist() == [1]


def test_a_teachers_own_answers_cost_nothing() -> None:
    logits, _ = case(1)
    other = logits + 0.1
    assert TASK.apart(logits, logits, 2.0).item() == 0
    assert 0 < TASK.apart(other, logits, 2.0).item() < TASK.apart(logits + 1, logits, 2.0).item()


@pytest.mark.parametrize(
    ("shape", "fits"),
    [((2, 480, 7), True), ((2, 479, 7), False), ((2, 480, 8), False), ((2, 7), False), ((3, 480, 7), False)],
)
def test_shapes_of_answers(shape: tuple[int, ...], fits: bool) -> None:
    assert TASK.fits(shape, 2, CLASSES) == fits
    without = tasks.of("detection")
    assert without.declares((None, None, 7), CLASSES)
    assert without.classes_in((1, 480, 7)) == CLASSES
