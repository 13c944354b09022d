"""Networks that find boxes, recognised by names and shapes of their tensors."""

from __future__ import annotations

import pytest

from edgeresnet.models import names, pyramids, recognise
from edgeresnet.models.pickles import Tensor
from edgeresnet.models.plans import Shape
from edgeresnet.models.recognised import Recognised

pytestmark = pytest.mark.unit

RETINANETS = [each for each in names.DETECTORS if each not in names.TWO_STAGE]


def recognised(shapes: dict[str, Shape], named: str = "") -> Recognised | None:
    return recognise.recognise({name: Tensor(shape, "float32") for name, shape in shapes.items()}, named)


@pytest.mark.parametrize("arch", [*RETINANETS, "retinanet_cifar_resnet20b", "retinanet_cifar_resnet8_w32"])
def test_a_detector_is_recognised_by_its_tensors(arch: str) -> None:
    found = recognised(pyramids.tensors(arch, 21, 3))
    assert found is not None
    assert (found.archs, found.classes, found.channels) == ((arch,), 21, 3)
    assert found.words.startswith("RetinaNet for detection")


def test_older_names_of_torchvision_are_known() -> None:
    newer = pyramids.tensors("retinanet_resnet50_fpn", 91, 3)
    older = {}
    for name, shape in newer.items():
        parts = name.split(".")
        if parts[-3:-1] and "fpn" in name and "blocks." in name and "extra" not in name:
            name = ".".join([*parts[:-2], parts[-1]])
        elif ".conv." in name and name.startswith("head."):
            name = ".".join([*parts[:3], str(2 * int(parts[3])), parts[-1]])
        older[name] = shape
    assert "head.regression_head.conv.6.bias" in older
    assert "backbone.fpn.inner_blocks.2.weight" in older
    assert [pyramids.current(name) for name in older] == list(newer)
    assert [pyramids.current(name) for name in newer] == list(newer)
    found = recognised(older)
    assert found is not None
    assert found.archs == ("retinanet_resnet50_fpn",)


def test_a_pruned_detector_is_recognised() -> None:
    shapes = pyramids.tensors("retinanet_cifar_resnet8", 10, 1)
    shapes |= {
        "backbone.body.layer1.0.conv1.weight": (8, 16, 3, 3),
        "backbone.body.layer1.0.conv2.weight": (16, 8, 3, 3),
    }
    shapes |= {f"backbone.body.layer1.0.bn1.{part}": (8,) for part in ("weight", "bias", "running_mean", "running_var")}
    found = recognised(shapes)
    assert found is not None
    assert found.archs == ("retinanet_cifar_resnet8",)
    assert "pruned" in found.words


def test_another_body_is_refused_with_a_way_out() -> None:
    shapes = pyramids.tensors("retinanet_resnet50_fpn", 7, 3)
    shapes |= {
        "head.classification_head.cls_logits.weight": (21, 256, 3, 3),
        "head.classification_head.cls_logits.bias": (21,),
    }
    shapes |= {"head.regression_head.bbox_reg.weight": (12, 256, 3, 3), "head.regression_head.bbox_reg.bias": (12,)}
    found = recognised(shapes)
    assert found is not None
    assert not found.archs
    assert "3 anchors in a cell, 7 classes" in found.words
    assert "model.anchors" in found.hint


def test_the_name_of_a_detector_does_not_make_a_classifier_one() -> None:
    from edgeresnet.models import plans

    found = recognised(plans.tensors(names.plan("resnet50"), 10, 3), named="retinanet_resnet50_fpn")
    assert found is not None
    assert found.archs[0] == "resnet50"
