"""Networks that give a class to each pixel, recognised by names and shapes of their tensors."""

from __future__ import annotations

import pytest

from edgeresnet.models import names, recognise, segmenters
from edgeresnet.models.pickles import Tensor
from edgeresnet.models.plans import Shape
from edgeresnet.models.recognised import Recognised

pytestmark = pytest.mark.unit

AUXILIARY: dict[str, Shape] = {"aux_classifier.0.weight": (256, 1024, 3, 3), "aux_classifier.4.weight": (21, 256, 1, 1)}


def recognised(shapes: dict[str, Shape], named: str = "") -> Recognised | None:
    return recognise.recognise({name: Tensor(shape, "float32") for name, shape in shapes.items()}, named)


@pytest.mark.parametrize("arch", [*names.SEGMENTERS, "fcn_cifar_resnet20b", "deeplabv3_cifar_resnet8_w32"])
@pytest.mark.parametrize("second", [{}, AUXILIARY], ids=["alone", "with an auxiliary head"])
def test_a_segmenter_is_recognised_by_its_tensors(arch: str, second: dict[str, Shape]) -> None:
    found = recognised(segmenters.tensors(arch, 21, 3) | second)
    assert found is not None
    assert (found.archs, found.classes, found.channels) == ((arch,), 21, 3)
    assert ("auxiliary" in found.words) == bool(second)
    assert names.task_of(arch) == "segmentation"


def test_a_pruned_segmenter_is_recognised() -> None:
    shapes = segmenters.tensors("fcn_cifar_resnet8", 11, 1)
    shapes |= {"backbone.layer1.0.conv1.weight": (8, 16, 3, 3), "backbone.layer1.0.conv2.weight": (16, 8, 3, 3)}
    shapes |= {f"backbone.layer1.0.bn1.{part}": (8,) for part in ("weight", "bias", "running_mean", "running_var")}
    found = recognised(shapes)
    assert found is not None
    assert found.archs == ("fcn_cifar_resnet8",)
    assert "pruned" in found.words


def test_a_segmenter_with_another_head_is_refused_in_words() -> None:
    shapes = segmenters.tensors("fcn_resnet50", 21, 3)
    found = recognised({name.replace("classifier.4", "classifier.7"): shape for name, shape in shapes.items()})
    assert found is not None
    assert not found.archs
    assert "classifier is not a single Linear" in found.words


def test_the_name_of_a_segmenter_does_not_make_a_classifier_one() -> None:
    from edgeresnet.models import plans

    shapes = plans.tensors(names.plan("resnet50"), 10, 3)
    found = recognised(shapes, named="fcn_resnet50")
    assert found is not None
    assert found.archs[0] == "resnet50"


@pytest.mark.parametrize("arch", ["fcn_resnet18", "fcn", "fcn_", "deeplabv3_cifar_plain8", "fcn_cifar_resnet9"])
def test_other_names_are_no_segmenters(arch: str) -> None:
    assert names.segmenter(arch) is None
    assert not names.is_known(arch)


def test_tasks_of_names() -> None:
    assert [names.task_of(arch) for arch in ("resnet50", "cifar_resnet8", "my.module:make")] == [
        "classification",
        "classification",
        None,
    ]
