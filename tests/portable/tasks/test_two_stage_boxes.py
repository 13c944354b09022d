"""Boxes of a detector of two stages are those of torchvision's Faster R-CNN, from the same features."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

from edgeresnet.portable.tasks.roi_align import aligned
from edgeresnet.portable.tasks.two_stage import SecondStage, TwoStage

SIZES = ((32.0,), (64.0,), (128.0,), (256.0,), (512.0,))
RATIOS = (0.5, 1.0, 2.0)
WIDTH = 8


class Maps(nn.Module):
    """A backbone whose features are random: what it makes of an image does not matter here."""

    out_channels = WIDTH

    def __init__(self, grids: tuple[int, ...]):
        super().__init__()
        self.maps = [torch.randn(2, WIDTH, grid, grid) for grid in grids]

    def forward(self, x: torch.Tensor) -> OrderedDict[str, torch.Tensor]:
        return OrderedDict(zip(("0", "1", "2", "3", "pool"), self.maps, strict=True))


def network(size: int, classes: int, grids: tuple[int, ...]) -> FasterRCNN:
    """Return torchvision's network with weights so large that scores and boxes differ."""
    torch.manual_seed(0)
    found = FasterRCNN(
        Maps(grids),
        classes,
        min_size=size,
        max_size=size,
        rpn_anchor_generator=AnchorGenerator(SIZES, (RATIOS,) * 5),
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2),
    ).eval()
    with torch.no_grad():
        for each in found.parameters():
            each.normal_(0, 0.1 if each.ndim == 4 else 0.05)
        found.roi_heads.box_predictor.cls_score.weight.normal_(0, 0.3)
    return found


def answer(found: FasterRCNN) -> np.ndarray:
    maps = list(found.backbone(torch.empty(0)).values())
    rows = [torch.cat(each, 1).flatten(2) for each in zip(maps, *found.rpn.head(maps), strict=True)]
    return torch.cat(rows, 2).transpose(1, 2).detach().contiguous().numpy()


def weights(found: FasterRCNN) -> SecondStage:
    head, last = found.roi_heads.box_head, found.roi_heads.box_predictor
    given = {"hidden0": head.fc6, "hidden1": head.fc7, "scores": last.cls_score, "offsets": last.bbox_pred}
    arrays = {
        f"{name}.{part}": value.detach().numpy().T for name, each in given.items() for part, value in _parts(each)
    }
    first = arrays["hidden0.weight"]
    arrays["hidden0.weight"] = first.reshape(WIDTH, 49, -1).transpose(1, 0, 2).reshape(first.shape)
    return SecondStage.from_arrays(arrays)


def _parts(layer: nn.Linear) -> list[tuple[str, torch.Tensor]]:
    return [("weight", layer.weight), ("bias", layer.bias)]


@pytest.mark.parametrize(
    ("size", "classes", "grids"), [(128, 4, (32, 16, 8, 4, 2)), (288, 91, (72, 36, 18, 9, 5))], ids=["small", "odd"]
)
def test_boxes_are_those_of_torchvision(size: int, classes: int, grids: tuple[int, ...]) -> None:
    theirs = network(size, classes, grids)
    ours = TwoStage(size, classes, grids, SIZES, RATIOS, features=WIDTH)
    with torch.no_grad():
        wanted = theirs([torch.rand(3, size, size)] * 2)
    for found, each in zip(ours.detections(answer(theirs), weights(theirs)), wanted, strict=True):
        corners = np.concatenate([found.boxes[:, :2], found.boxes[:, :2] + found.boxes[:, 2:]], axis=1)
        assert len(found.scores) > 10
        assert found.numbers.tolist() == each["labels"].tolist()
        assert np.abs(found.scores - each["scores"].numpy()).max() < 1e-3
        assert np.abs(corners - each["boxes"].numpy()).max() < 1e-3


def test_parts_of_maps_are_those_of_torchvision() -> None:
    torch.manual_seed(1)
    sides = (40, 20, 10, 5)
    maps = OrderedDict((str(level), torch.randn(1, 6, side, side)) for level, side in enumerate(sides))
    rng = np.random.default_rng(0)
    low = rng.uniform(-20, 150, (300, 2))
    boxes = np.concatenate([low, low + rng.uniform(0, 1, (300, 2)) * rng.uniform(1, 400, (300, 1))], 1)
    boxes = boxes.astype(np.float32)
    wanted = MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2)(maps, [torch.from_numpy(boxes)], [(160, 160)])
    found = aligned([each[0].permute(1, 2, 0).numpy() for each in maps.values()], 160, boxes, 7)
    assert np.abs(found.transpose(0, 3, 1, 2) - wanted.numpy()).max() < 1e-4
