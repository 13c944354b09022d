"""A ResNet inside a user's own network: recognised, described, loaded and the same function; or refused in words."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import resnet18

from edgeresnet import models
from edgeresnet.errors import ModelError
from edgeresnet.models import checkpoint, recognise, shapes

from .networks import enlivened


class Wrapper(nn.Module):
    """As fine-tuning scripts write it: somebody's network without its classifier, and a head."""

    def __init__(self, head: nn.Module):
        super().__init__()
        self.backbone = resnet18()
        self.backbone.fc = nn.Identity()
        self.head = head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(x))


class Timms(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = timm.create_model("resnet10t", num_classes=0)
        self.classifier = nn.Linear(512, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(functional.dropout(self.encoder(x), 0.2, self.training))


class Children(nn.Module):
    """The body taken apart and put into a row: its names become numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(*list(resnet18().children())[:-1])
        self.fc = nn.Linear(512, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.features(x).flatten(1))


class SmallBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(y + self.shortcut(x))


class SmallImages(nn.Module):
    """ResNet-18 as it is usually written for CIFAR: a 3×3 stem, no max-pool, and names of its own."""

    layer1: nn.Module
    layer2: nn.Module
    layer3: nn.Module
    layer4: nn.Module

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        for stage, (inputs, outputs) in enumerate([(64, 64), (64, 128), (128, 256), (256, 512)], 1):
            first = SmallBlock(inputs, outputs, 1 if stage == 1 else 2)
            setattr(self, f"layer{stage}", nn.Sequential(first, SmallBlock(outputs, outputs, 1)))
        self.linear = nn.Linear(512, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.layer4(self.layer3(self.layer2(self.layer1(y))))
        return self.linear(functional.avg_pool2d(y, 4).flatten(1))


def with_dropout() -> nn.Module:
    network = resnet18()
    network.fc = nn.Sequential(nn.Dropout(0.5), nn.Linear(512, 7))
    return network


UNDERSTOOD = {
    "one Linear": (lambda: Wrapper(nn.Linear(512, 7)), "resnet18", "head is used as the classifier of backbone.*: "),
    "dropout before it": (with_dropout, "resnet18", "fc.1 is used as the classifier: "),
    "timm's without a head": (Timms, "resnet10t", "classifier is used as the classifier of encoder.*"),
    "in a row": (Children, "resnet18", "fc is used as the classifier of features.*"),
    "in two rows": (
        lambda: nn.Sequential(nn.Sequential(*list(resnet18().children())[:-1]), nn.Flatten(), nn.Linear(512, 7)),
        "resnet18",
        "2 is used as the classifier of 0.*",
    ),
    "for small images": (SmallImages, "resnet18_3x3", ""),
}


@pytest.mark.parametrize(("make", "arch", "around"), UNDERSTOOD.values(), ids=UNDERSTOOD)
def test_a_network_around_a_resnet_is_loaded_as_one_of_ours(
    make: type[nn.Module], arch: str, around: str, tmp_path: Path
) -> None:
    theirs = enlivened(make())
    held = {f"module.{key}": value for key, value in theirs.state_dict().items()}
    torch.save({"state_dict": held}, tmp_path / "w.pth")
    found = recognise.recognise(shapes.read(tmp_path / "w.pth"))
    assert found is not None
    assert (found.archs[0], found.classes, found.channels) == (arch, 7, 3)
    assert found.around.startswith(around)
    assert bool(found.around) is bool(around)
    ours = models.build(arch, 7, 3).eval()
    checkpoint.load_into(ours, tmp_path / "w.pth", arch)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images))


def cosine() -> nn.Module:
    return Wrapper(nn.Linear(512, 7, bias=False))


REFUSED = {
    "two layers": (
        lambda: Wrapper(nn.Sequential(nn.Linear(512, 32), nn.ReLU(), nn.Linear(32, 7))),
        "under backbone.*, and next to it head.0.weight (32×512), head.0.bias (32), head.2.weight (7×32) and 1 more",
    ),
    "no bias, as of a cosine": (
        cosine,
        "next to it head.weight (7×512): the classifier is not a single Linear with a bias",
    ),
    "a normalisation before it": (
        lambda: Wrapper(nn.Sequential(nn.BatchNorm1d(512), nn.Linear(512, 7))),
        "next to it head.0.weight (512), head.0.bias (512), head.0.running_mean (512) and 3 more: "
        "the classifier is not a single Linear",
    ),
    "no head": (lambda: Wrapper(nn.Identity()), "under backbone.*, without a classifier"),
    "two of them": (
        lambda: nn.ModuleDict({"left": resnet18(), "right": resnet18()}),
        "2 ResNets, left.* (122 tensors) and right.* (122 tensors): the tensors do not show which one is meant",
    ),
    "another input of the head": (lambda: Wrapper(nn.Linear(1024, 7)), "like resnet18, but fc.weight is 7×1024, not"),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_what_tensors_do_not_show_is_not_guessed(make: type[nn.Module], words: str, tmp_path: Path) -> None:
    torch.save(make().state_dict(), tmp_path / "w.pth")
    found = recognise.recognise(shapes.read(tmp_path / "w.pth"))
    assert found is not None
    assert found.archs == ()
    assert words in found.words
    with pytest.raises(ModelError, match="does not fit resnet18"):
        checkpoint.load_into(models.build("resnet18", 7, 3), tmp_path / "w.pth", "resnet18")


def test_narrower_weights_of_what_pruning_leaves_alone_are_refused(tmp_path: Path) -> None:
    def normalised(width: int) -> nn.Module:
        body = (nn.Conv2d(3, width, 3), nn.GroupNorm(2, width), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return nn.Sequential(*body, nn.Linear(width, 7))

    torch.save(normalised(8).state_dict(), tmp_path / "w.pth")
    words = r"does not fit mine:make: 2 of another shape: 1\.weight is \(8,\) and should be"
    with pytest.raises(ModelError, match=words):
        checkpoint.load_into(normalised(16), tmp_path / "w.pth", "mine:make")


def test_what_does_not_fit_is_listed_by_its_own_names(tmp_path: Path) -> None:
    torch.save(Wrapper(nn.Sequential(nn.Linear(512, 8), nn.Linear(8, 7))).state_dict(), tmp_path / "w.pth")
    with pytest.raises(ModelError) as caught:
        checkpoint.load_into(models.build("resnet18", 7, 3), tmp_path / "w.pth", "resnet18")
    assert "2 missing: fc.weight, fc.bias; 4 unexpected: head.0.weight, head.0.bias, head.1.w" in caught.value.message


def test_a_factorys_own_names_come_first(tmp_path: Path) -> None:
    """Also where all of them begin as a wrapper's would."""
    theirs = enlivened(nn.Sequential(OrderedDict(model=Wrapper(nn.Sequential(nn.Linear(512, 8), nn.Linear(8, 7))))))
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    ours = nn.Sequential(OrderedDict(model=Wrapper(nn.Sequential(nn.Linear(512, 8), nn.Linear(8, 7))))).eval()
    checkpoint.load_into(ours, tmp_path / "w.pth", "my.module:make")
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images))
