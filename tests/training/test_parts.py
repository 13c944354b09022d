"""The parts of a network as training sees them, of ours, of torchvision's and of a user's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgeresnet import models
from edgeresnet.recipe import Train
from edgeresnet.training import parts


class Wrapped(nn.Module):
    """A network in a wrapper, with a head of another name."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = models.build("resnet18", 5, 3)
        self.backbone.fc = nn.Identity()
        self.classifier = nn.Sequential(nn.Dropout(0.1), nn.Linear(512, 5))


NETWORKS = {
    "cifar_resnet8": (lambda: models.build("cifar_resnet8", 5, 3), "linear.", 4),
    "resnet18": (lambda: models.build("resnet18", 5, 3), "fc.", 5),
    "wrapped": (Wrapped, "classifier.1.", 5),
    "plain": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 5)), "2.", 2),
    "one layer": (lambda: nn.Sequential(nn.Linear(8, 5)), "0.", 0),
}


@pytest.mark.parametrize(("make", "head", "last"), NETWORKS.values(), ids=NETWORKS)
def test_stages_from_the_image_to_the_head(make: type, head: str, last: int) -> None:
    network = make()
    assert parts.head_of(network) == head
    stages = parts.stages_of([name for name, _ in network.named_parameters()], head)
    assert list(stages.values()) == sorted(stages.values())  # in the order of the network
    assert {stages[name] for name in stages if name.startswith(head)} == {last}
    assert set(stages.values()) == set(range(last + 1))


def test_the_stem_is_one_stage_and_each_numbered_one_its_own() -> None:
    stages = parts.stages_of([name for name, _ in Wrapped().named_parameters()], "classifier.1.")
    assert stages["backbone.conv1.weight"] == stages["backbone.bn1.bias"] == 0
    assert stages["backbone.layer1.0.conv1.weight"] == stages["backbone.layer1.1.bn2.bias"] == 1
    assert stages["backbone.layer4.0.downsample.0.weight"] == 4


def test_stages_of_a_body_come_before_the_layers_of_a_head() -> None:
    with torch.device("meta"):
        network = models.build("fcn_resnet50", 5, 3)
    head = parts.head_of(network)
    stages = parts.stages_of([name for name, _ in network.named_parameters()], head)
    assert head == "classifier.4."
    assert stages["backbone.conv1.weight"] == stages["backbone.bn1.bias"] == 0
    assert [stages[f"backbone.layer{number}.0.conv1.weight"] for number in (1, 2, 3, 4)] == [1, 2, 3, 4]
    assert (stages["classifier.0.weight"], stages["classifier.4.bias"]) == (5, 6)


@pytest.mark.parametrize(("arch", "stages"), [("retinanet_resnet50_fpn", 4), ("retinanet_cifar_resnet8", 3)])
def test_the_head_of_a_detector_is_what_gives_logits_of_classes(arch: str, stages: int) -> None:
    with torch.device("meta"):
        network = models.build(arch, 5, 3)
    head = parts.head_of(network)
    found = parts.stages_of([name for name, _ in network.named_parameters()], head)
    assert head == "head.classification_head.cls_logits."
    assert found["backbone.body.conv1.weight"] == 0
    assert [found[f"backbone.body.layer{n}.0.conv1.weight"] for n in range(1, stages + 1)] == [*range(1, stages + 1)]
    assert found["backbone.fpn.inner_blocks.0.0.weight"] == stages + 1
    assert found["head.regression_head.bbox_reg.weight"] == stages + 2
    assert found[f"{head}weight"] == stages + 3


def test_each_stage_learns_at_a_part_of_the_next_ones_rate() -> None:
    network = models.build("resnet18", 5, 3)
    plan = Train(epochs=1, rate=0.1, layer_decay=0.5)
    optimizer = parts.optimizer(network, plan)
    rate_of = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    named = dict(network.named_parameters())
    assert rate_of[id(named["fc.weight"])] == pytest.approx(0.1)
    assert rate_of[id(named["layer4.1.bn2.weight"])] == pytest.approx(0.05)
    assert rate_of[id(named["conv1.weight"])] == pytest.approx(0.1 * 0.5**5)
    for schedule in ("cosine", "one-cycle"):
        scheduler = parts.scheduler(optimizer, plan.model_copy(update={"schedule": schedule}), 10)
        rates = scheduler.get_last_lr()
        assert max(rates) / min(rates) == pytest.approx(32)


def test_only_matrices_decay() -> None:
    optimizer = parts.optimizer(models.build("cifar_resnet8", 5, 3), Train(epochs=1, weight_decay=0.1))
    for group in optimizer.param_groups:
        assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] == 0.1}
