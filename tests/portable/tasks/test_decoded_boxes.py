"""Boxes of a detector are those that torchvision decodes from the same answer."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNet
from torchvision.ops import batched_nms, nms

from edgeresnet.portable.tasks.detector import Detector
from edgeresnet.portable.tasks.suppression import suppressed_by_class

from .test_suppression import suppressed

SMALL = Detector(64, 10, (16, 8, 4), ((8, 11), (16, 22), (32, 45)), (0.5, 1.0, 2.0))
SIZES = tuple((size, int(size * 2 ** (1 / 3)), int(size * 2 ** (2 / 3))) for size in (32, 64, 128, 256, 512))
PUBLISHED = Detector(200, 91, (25, 13, 7, 4, 2), SIZES, (0.5, 1.0, 2.0))


def theirs(detector: Detector, answer: np.ndarray) -> list[dict[str, torch.Tensor]]:
    images = ImageList(torch.zeros(1, 3, detector.size, detector.size), [(detector.size, detector.size)])
    generator = AnchorGenerator(detector.sizes, (detector.ratios,) * len(detector.sizes))
    (anchors,) = generator(images, [torch.zeros(1, 1, grid, grid) for grid in detector.grids])
    assert np.array_equal(anchors.numpy(), detector.anchors())
    settings = SimpleNamespace(
        score_thresh=detector.least,
        topk_candidates=detector.candidates,
        nms_thresh=detector.overlap,
        detections_per_img=detector.most,
        box_coder=BoxCoder((1.0, 1.0, 1.0, 1.0)),
    )
    counts = generator.num_anchors_per_location()
    levels = [grid * grid * count for grid, count in zip(detector.grids, counts, strict=True)]
    given = torch.from_numpy(answer)
    heads = {
        "cls_logits": list(given[..., : detector.classes].split(levels, 1)),
        "bbox_regression": list(given[..., detector.classes :].split(levels, 1)),
    }
    batch = len(answer)
    sizes = [(detector.size, detector.size)] * batch
    return RetinaNet.postprocess_detections(settings, heads, [list(anchors.split(levels))] * batch, sizes)


@pytest.mark.parametrize("middle", [-6.0, -1.0])  # few boxes, and more than a level may give
@pytest.mark.parametrize("detector", [SMALL, PUBLISHED], ids=["small", "published"])
def test_boxes_are_those_of_torchvision(detector: Detector, middle: float) -> None:
    rng = np.random.default_rng(0)
    answer = rng.normal(0, 1, (2, detector.rows, detector.classes + 4)).astype(np.float32)
    answer[..., : detector.classes] = 1.5 * answer[..., : detector.classes] + middle
    answer[0, ::50, -2:] = 9  # the largest offsets are clipped
    for ours, wanted in zip(detector.detections(answer), theirs(detector, answer), strict=True):
        corners = np.concatenate([ours.boxes[:, :2], ours.boxes[:, :2] + ours.boxes[:, 2:]], axis=1)
        assert len(ours.scores) > 10
        assert ours.numbers.tolist() == wanted["labels"].tolist()
        assert np.abs(ours.scores - wanted["scores"].numpy()).max() < 1e-5
        assert np.abs(corners - wanted["boxes"].numpy()).max() < 1e-4


def test_suppression_is_that_of_torchvision() -> None:
    rng = np.random.default_rng(1)
    low = rng.uniform(0, 100, (500, 2))
    boxes = np.concatenate([low, low + rng.uniform(0, 40, (500, 2))], axis=1).astype(np.float32)
    scores, numbers = rng.random(500).astype(np.float32), rng.integers(0, 7, 500)
    given = [torch.from_numpy(each) for each in (boxes, scores, numbers)]
    assert suppressed(boxes, scores, 0.5).tolist() == nms(*given[:2], 0.5).tolist()
    assert suppressed_by_class(boxes, scores, numbers, 0.5).tolist() == batched_nms(*given, 0.5).tolist()
