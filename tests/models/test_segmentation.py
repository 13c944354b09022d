"""Networks that give a class to each pixel: built, and loaded from files as torchvision saves them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from edgeresnet import models
from edgeresnet.errors import ModelError
from edgeresnet.models import checkpoint, names, plans, recognise, segmenters, shapes

from .networks import enlivened, lively


@pytest.mark.parametrize("arch", names.SEGMENTERS)
def test_tensors_are_those_of_the_network(arch: str) -> None:
    with torch.device("meta"):
        held = models.build(arch, 7, 3).state_dict()
    found = {name: tuple(value.shape) for name, value in held.items() if not name.endswith(plans.COUNTER)}
    assert list(found.items()) == list(segmenters.tensors(arch, 7, 3).items())


@pytest.mark.parametrize("second", [False, True], ids=["alone", "with an auxiliary head"])
def test_torchvisions_checkpoint_answers_as_there(second: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = get_model("fcn_resnet50", weights=None, weights_backbone=None, num_classes=5, aux_loss=second)
    path = tmp_path / "weights.pth"
    torch.save(
        {"state_dict": {f"module.{name}": value for name, value in enlivened(theirs).state_dict().items()}}, path
    )
    found = recognise.recognise(shapes.read(path))
    assert found is not None
    assert (found.archs, found.classes) == (("fcn_resnet50",), 5)
    network = models.build("fcn_resnet50", 5, 3)
    checkpoint.load_into(network, path, "fcn_resnet50")
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network.eval()(image), theirs(image)["out"])


@pytest.mark.parametrize("arch", ["fcn_cifar_resnet8", "deeplabv3_cifar_resnet8b"])
def test_one_tensor_as_large_as_the_images(arch: str) -> None:
    network = lively(arch, classes=4, channels=1)
    with torch.no_grad():
        assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 4, 32, 32)


def test_one_channel_goes_into_torchvisions() -> None:
    with torch.device("meta"):
        network = models.build("deeplabv3_resnet50", 2, 1)
    assert network.state_dict()["backbone.conv1.weight"].shape == (64, 1, 7, 7)


def test_the_body_of_a_classifier_is_no_segmenter(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(lively("cifar_resnet8").state_dict(), path)
    with pytest.raises(ModelError, match="does not fit fcn_cifar_resnet8"):
        checkpoint.load_into(models.build("fcn_cifar_resnet8", 5, 3), path, "fcn_cifar_resnet8")


def test_a_users_dictionary_becomes_one_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_segmenter.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n"
        "    def __init__(self, classes):\n        super().__init__()\n        self.conv = nn.Conv2d(3, classes, 1)\n\n"
        "    def forward(self, x):\n        return {'out': self.conv(x), 'aux': x}\n"
    )
    monkeypatch.chdir(tmp_path)
    network: nn.Module = models.build("own_segmenter.py:Net", 6, 3)
    assert network(torch.zeros(2, 3, 8, 8)).shape == (2, 6, 8, 8)
