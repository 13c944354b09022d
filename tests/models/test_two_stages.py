"""Detectors of two stages, recognised by names and shapes of their tensors."""

from __future__ import annotations

import pytest

from edgeresnet.errors import ModelError
from edgeresnet.models import names, pyramids, recognise, two_stages
from edgeresnet.models.pickles import Tensor
from edgeresnet.models.plans import Shape
from edgeresnet.models.recognised import Recognised
from edgeresnet.pipeline import network

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


OTHERS: dict[str, tuple[dict[str, Shape], str]] = {
    "masks": (
        {
            "roi_heads.mask_head.0.0.weight": (256, 256, 3, 3),
            "roi_heads.mask_predictor.mask_fcn_logits.weight": (91, 256, 1, 1),
        },
        "Mask R-CNN, which",
    ),
    "key points": (
        {
            "roi_heads.keypoint_head.0.weight": (512, 256, 3, 3),
            "roi_heads.keypoint_predictor.kps_score_lowres.weight": (512, 17, 4, 4),
        },
        "Keypoint R-CNN, which",
    ),
    "version 2": (
        {
            "backbone.fpn.inner_blocks.0.1.weight": (256,),
            "rpn.head.conv.1.0.weight": (256, 256, 3, 3),
            "roi_heads.box_head.0.0.weight": (256, 256, 3, 3),
            "roi_heads.box_head.5.weight": (1024, 12544),
        },
        "version 2 of Faster R-CNN, which",
    ),
    "a wider head": ({"roi_heads.box_head.fc7.weight": (1024, 2048)}, "a detector of two stages that"),
}


@pytest.mark.parametrize(("others", "kind"), OTHERS.values(), ids=OTHERS)
def test_another_detector_of_two_stages_is_refused_in_words(others: dict[str, Shape], kind: str) -> None:
    found = recognised(two_stages.tensors(ARCH, 91, 3) | others)
    assert not found.archs
    assert found.words == f"{kind} is not built here, 91 classes with the background, 3 channels"
    assert ARCH in found.hint
    with pytest.raises(ModelError) as caught:
        network._checked("net.pth", found, 3)
    assert caught.value.message == f"net.pth holds {found.words}"
    assert caught.value.hint == found.hint


def test_a_detector_whose_body_is_another_is_refused_in_words() -> None:
    tensors = two_stages.tensors(ARCH, 91, 3)
    found = recognised({name.replace(".body.conv1.", ".body.0.0."): shape for name, shape in tensors.items()})
    assert not found.archs
    assert found.words == "a detector of two stages that is not built here, 91 classes with the background"
