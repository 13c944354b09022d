"""The plan of every architecture that can be named, compared with the libraries that build them."""

from __future__ import annotations

import subprocess
import sys

import pytest
import timm
import torch
from torchvision.models import get_model

from edgeresnet import models
from edgeresnet.errors import ModelError
from edgeresnet.models import names, plans

from .networks import enlivened

SOME = {"resnet18", "resnet10t", "seresnet18", "resnet26", "ecaresnetlight"}
THEIRS = [*names.TORCHVISION, *names.TIMM]


def tensors_of(network: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    held = network.state_dict()
    return {name: tuple(value.shape) for name, value in held.items() if not name.endswith(plans.COUNTER)}


@pytest.mark.parametrize("arch", [pytest.param(a, marks=() if a in SOME else pytest.mark.nightly) for a in THEIRS])
def test_a_plan_has_the_tensors_of_the_network(arch: str) -> None:
    with torch.device("meta"):
        real = get_model(arch, num_classes=7) if arch in names.TORCHVISION else timm.create_model(arch, num_classes=7)
    assert type(real).__name__ == "ResNet"
    assert plans.tensors(names.plan(arch), 7, 3) == tensors_of(real)


@pytest.mark.parametrize("arch", ["cifar_resnet26", "cifar_resnet8b", "cifar_resnet8_w32", "resnet18_3x3"])
def test_and_so_have_those_of_ours(arch: str) -> None:
    words = {"linear": "fc", "shortcut": "downsample"}
    real = tensors_of(models.build(arch, 7, 1))
    real = {".".join(words.get(part, part) for part in name.split(".")): shape for name, shape in real.items()}
    assert plans.tensors(names.plan(arch), 7, 1) == real


def test_the_lists_are_the_libraries_own() -> None:
    theirs = set(timm.list_models(module="resnet"))
    assert {*names.TIMM, *names.TORCHVISION} <= theirs
    assert theirs - {*names.TIMM, *names.TORCHVISION} >= {"ecaresnet50d_pruned", "ecaresnet101d_pruned"}
    assert len(set(names.everything())) == len(names.everything())


@pytest.mark.parametrize(
    "arch", [pytest.param(a, marks=() if a == "resnet18" else pytest.mark.nightly) for a in names.TORCHVISION]
)
def test_where_both_have_a_name_they_mean_one_function(arch: str) -> None:
    """So weights of either are loaded under it, and neither library needs to be named."""
    theirs, ours = enlivened(timm.create_model(arch, num_classes=6)), models.build(arch, 6, 3).eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-5, atol=1e-6)


def test_words_that_name_nothing() -> None:
    ours = ("cifar_resnet21", "cifar_resnet2", "cifar_plain20b", "cifar_resnet20_w16")
    for word in (*ours, "resnet18_5x5", "resnet50.a1"):
        assert not names.is_known(word), word
    with pytest.raises(ModelError) as caught:
        models.check_arch("resnet50d.ra2_in1k")
    assert "resnet50d" in caught.value.hint


def test_a_missing_library_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    models.check_arch("resnet50")
    with pytest.raises(ModelError, match="resnet18d is a network of timm, which is not installed") as caught:
        models.check_arch("resnet18d")
    assert caught.value.hint == "pip install 'edgeresnet[timm]'"


def test_naming_loads_no_library() -> None:
    code = (
        "import sys; from edgeresnet import models; models.check_arch('seresnet50'); "
        "print({'torch', 'torchvision', 'timm'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(("pooled", "side"), [(False, 4), (True, 2)])
def test_a_stem_for_small_images_keeps_their_size(pooled: bool, side: int) -> None:
    network = models.build("resnet18_3x3_maxpool" if pooled else "resnet18_3x3", 10, 3).eval()
    seen: list[int] = []
    network.get_submodule("layer4").register_forward_hook(lambda module, given, answer: seen.append(answer.shape[-1]))
    with torch.no_grad():
        network(torch.zeros(1, 3, 32, 32))
    assert seen == [side]
