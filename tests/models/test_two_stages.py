"""Detectors of two stages, recognised by names and shapes of their tensors."""

from __future__ import annotations

import pytest

from edgeresnet.models import names, pyramids, recognise, two_stages
from edgeresnet.models.pickles import Tensor
from edgeresnet.models.plans import Shape
from edgeresnet.models.recognised import Recognised

pytestmark = pytest.mark.unit

ARCH = "fasterrcnn_resnet50_fpn"


def recognised(shapes: dict[str, Shape]) -> Recognised:
    found = recognise.recognise({name: Tensor(shape, "float32") for name, shape in shapes.items()})
    assert found is not None
    return found


def test_a_faster_rcnn_is_recognised_by_its_tensors() -> None:
    found = recognised(two_stages.tensors(ARCH, 91, 3))
    assert (found.archs, found.classes, found.channels) == ((ARCH,), 91, 3)
    assert "Faster R-CNN" in found.words
    assert names.task_of(ARCH) == "detection"


def test_a_file_of_an_older_torchvision_is_recognised() -> None:
    def old(name: str) -> str:
        for new in ("_blocks.0.", "_blocks.1.", "_blocks.2.", "_blocks.3."):
            name = name.replace(f"{new}0.", new)
        return name.replace("rpn.head.conv.0.0.", "rpn.head.conv.")

    shapes = {old(name): shape for name, shape in two_stages.tensors(ARCH, 91, 3).items()}
    assert shapes.keys() >= {"rpn.head.conv.weight", "backbone.fpn.inner_blocks.0.weight"}
    assert recognised(shapes).archs == (ARCH,)
    assert {pyramids.current(name) for name in shapes} == two_stages.tensors(ARCH, 91, 3).keys()


def test_names_of_today_stay() -> None:
    assert all(pyramids.current(name) == name for name in two_stages.tensors(ARCH, 3, 1))


def test_another_detector_of_two_stages_is_refused_in_words() -> None:
    masks: dict[str, Shape] = {"roi_heads.mask_predictor.mask_fcn_logits.weight": (91, 256, 1, 1)}
    found = recognised(two_stages.tensors(ARCH, 91, 3) | masks)
    assert not found.archs
    assert "two stages" in found.words
    assert ARCH in found.hint
