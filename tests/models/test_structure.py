"""A ResNet whose tensors have unknown names: recognised by shapes and order, and the same function."""

from __future__ import annotations

import random
import re
import string
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from edgeresnet import models
from edgeresnet.models import checkpoint, recognise, shapes, spelled

from .networks import enlivened, lively

Tensors = Mapping[str, torch.Tensor]

PREACTIVATED = "general_preact_basic_1-2-1_out8-16-32_stem8k3s1_nostemnorm_lastnorm_projected_noshortcutnorm"
PADDED = "general_preact_basic_1-2-1_out8-16-32_stem8k3s1_nostemnorm_lastnorm_padded"
BOTTLENECKS = "general_bottleneck_1-2-1_out32-64-128_mid8-16-32_stem8k7s2_pool_projected"
GROUPED = "general_bottleneck_2-1_out32-64_mid16-32_groups4_stem8k3s1_projected"
SQUEEZED = "general_basic_1-2-1_out16-32-64_se4_stem16k3s1_projected"
DEEP = "general_basic_1-1-1_out16-32-64_stem8-8-16k3s2_pool_projected"
BIASED = "general_basic_1-2-1_out8-16-32_stem8k3s1_bias-stem-blocks-shortcuts_projected"
EVERYWHERE = "general_basic_1-1-1_out8-16-32_stem8k3s1_allprojected"
LEVEL = "general_basic_2-2-2_out8-16-16_stem8k3s1_projected"
ARCHS = (
    *(
        "cifar_resnet8",
        "cifar_resnet14b",
        "general_preact_bottleneck_1-1_out32-64_mid8-16_stem8k3s1_lastnorm_projected",
    ),
    *(PREACTIVATED, PADDED, BOTTLENECKS, GROUPED, SQUEEZED, DEEP, BIASED, EVERYWHERE, LEVEL),
)


def letters(generator: random.Random) -> str:
    return "".join(generator.choices(string.ascii_lowercase, k=9))


def each_its_own(tensors: Tensors) -> Tensors:
    generator = random.Random(0)
    return OrderedDict((letters(generator), value) for value in tensors.values())


def each_layer_its_own(tensors: Tensors) -> Tensors:
    generator, layers = random.Random(0), dict[str, str]()
    found = OrderedDict()
    for name, value in tensors.items():
        layer, _, part = name.rpartition(".")
        found[f"{layers.setdefault(layer, letters(generator))}.{part}"] = value
    return found


def in_other_words(tensors: Tensors) -> Tensors:
    words = {"layer": "stage_", "conv": "c", "bn": "normal", "downsample": "shortcut", "fc": "out", "linear": "out"}
    return {
        re.sub("|".join(words), lambda found: words[found[0]], f"net.{name}"): value for name, value in tensors.items()
    }


def shuffled(tensors: Tensors) -> Tensors:
    items = list(in_other_words(tensors).items())
    random.Random(0).shuffle(items)
    return OrderedDict(items)


def as_found(tensors: Tensors, network: nn.Module, path: Path, size: int = 32) -> tuple[str, ...]:
    """Write the tensors; return the architectures that they are recognised as, and that answer as the network does."""
    if path.suffix == ".safetensors":
        save_file({name: value.contiguous() for name, value in tensors.items()}, path)
    else:
        torch.save(tensors, path)
    found = recognise.recognise(shapes.read(path))
    assert found is not None
    torch.manual_seed(1)
    images = torch.randn(2, found.channels, size, size)
    wanted = network(images)
    return tuple(arch for arch in found.archs if torch.allclose(answer(arch, found, path, images), wanted, atol=1e-4))


def answer(arch: str, found: recognise.Recognised, path: Path, images: torch.Tensor) -> torch.Tensor:
    built = models.build(arch, found.classes, found.channels)
    checkpoint.load_into(built, path, arch)
    with torch.no_grad():
        logits: torch.Tensor = built.eval()(images)
    return logits


@pytest.mark.parametrize("renamed", [each_its_own, each_layer_its_own, in_other_words, shuffled])
@pytest.mark.parametrize("arch", ARCHS)
@torch.no_grad()
def test_names_do_not_matter(arch: str, renamed: Callable[[Tensors], Tensors], tmp_path: Path) -> None:
    network = lively(arch)
    if arch == PADDED and renamed in (each_its_own, each_layer_its_own):
        pytest.skip("without names, a chain of convolutions has the same tensors")
    assert arch in as_found(renamed(network.state_dict()), network, tmp_path / "w.pth")


@pytest.mark.parametrize("arch", ARCHS)
@torch.no_grad()
def test_files_that_are_sorted_by_name_are_read_by_the_numbers_in_their_names(arch: str, tmp_path: Path) -> None:
    network = lively(arch)
    assert arch in as_found(in_other_words(network.state_dict()), network, tmp_path / "w.safetensors")


@torch.no_grad()
def test_block_ten_comes_after_block_two(tmp_path: Path) -> None:
    network = lively("general_basic_12_out8_stem8k3s1_padded")
    found = as_found(in_other_words(network.state_dict()), network, tmp_path / "w.safetensors")
    assert "general_basic_12_out8_stem8k3s1_padded" in found


class Residual(nn.Module):
    """A block with a list for its branch, as one popular collection of CIFAR-100 networks has it."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.residual_function = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.residual_function(x) + self.shortcut(x))


class Listed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.conv2_x = nn.Sequential(Residual(8, 8, 1), Residual(8, 8, 1))
        self.conv3_x = nn.Sequential(Residual(8, 16, 2), Residual(16, 16, 1))
        self.conv4_x = nn.Sequential(Residual(16, 32, 2), Residual(32, 32, 1))
        self.classifier = nn.Linear(32, 10, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.conv4_x(self.conv3_x(self.conv2_x(self.conv1(x)))).mean((2, 3)))
        return logits


@pytest.mark.parametrize("file", ["w.pth", "w.safetensors"])
@torch.no_grad()
def test_a_branch_in_a_list_and_a_head_without_bias(file: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = enlivened(Listed())
    assert as_found(network.state_dict(), network, tmp_path / file)[:1] == ("cifar_resnet14b_w8",)


@torch.no_grad()
def test_attention_of_matrices_is_attention_of_convolutions(tmp_path: Path) -> None:
    network = lively(SQUEEZED)
    held = {name: value.flatten(1) if value.ndim == 4 and ".se." in name else value
            for name, value in network.state_dict().items()}  # fmt: skip
    assert SQUEEZED in as_found(held, network, tmp_path / "w.pth")


@torch.no_grad()
def test_a_convolution_as_classifier(tmp_path: Path) -> None:
    network = lively(PREACTIVATED)
    held = {
        name: value[:, :, None, None] if name == "fc.weight" else value for name, value in network.state_dict().items()
    }
    assert PREACTIVATED in as_found(held, network, tmp_path / "w.pth")


@torch.no_grad()
def test_a_shortcut_that_its_name_tells_from_a_convolution_of_the_same_shape(tmp_path: Path) -> None:
    """In the first stage of a ResNet-50, a shortcut and the last convolution have one shape."""
    network = lively("general_bottleneck_1-1_out32-64_mid8-16_stem8k3s1_projected")
    held = network.state_dict()
    first = [name for name in held if "downsample" in name]
    order = [name for name in held if name.startswith(("conv1", "bn1"))] + first
    moved = {name: held[name] for name in dict.fromkeys([*order, *held])}
    stages = {name: value for name, value in moved.items() if "layer2" not in name}
    moved = {**stages, **{name: value for name, value in moved.items() if "layer2" in name}}
    moved = {
        **{name: value for name, value in moved.items() if not name.startswith("fc")},
        "fc.weight": held["fc.weight"],
    }
    moved["fc.bias"] = held["fc.bias"]
    found = as_found(in_other_words(moved), network, tmp_path / "w.pth")
    assert "general_bottleneck_1-1_out32-64_mid8-16_stem8k3s1_projected" in found


def test_what_shapes_leave_open_is_said(tmp_path: Path) -> None:
    """Without names, the order of a pre-activation network is that of another network too."""
    arch = "general_preact_basic_1-1-1_out16-32-64_stem16k3s1_nostemnorm_lastnorm_padded"
    torch.save(each_its_own(lively(arch).state_dict()), tmp_path / "w.pth")
    found = recognise.recognise(shapes.read(tmp_path / "w.pth"))
    assert found is not None
    assert found.archs[0] == "cifar_resnet8"
    assert arch in found.archs
    assert "names of their own" in found.around


def test_older_senets_are_refused(tmp_path: Path) -> None:
    words = {"conv1.": "layer0.conv1.", "bn1.": "layer0.bn1."}
    held = {}
    for name, value in lively(SQUEEZED).state_dict().items():
        start = next((word for word in words if name.startswith(word)), "")
        held[name.replace(start, words[start], 1) if start else name.replace("layer", "block")] = value
    torch.save(held, tmp_path / "w.pth")
    found = recognise.recognise(shapes.read(tmp_path / "w.pth"))
    assert found is not None
    assert found.archs == ()
    assert "max-pool of older SENets" in found.words


def of_others() -> list[str]:
    names = torchvision.models.list_models(torchvision.models)
    return [
        name for name in names if not re.match(r"(?:wide_)?resn|inception|googlenet|.*(?:vit|swin|regnet_y_128)", name)
    ]


@pytest.mark.parametrize("name", [*of_others()[::3], "regnet_x_400mf", "regnet_y_400mf"])
def test_other_networks_are_not_taken_for_a_resnet(name: str) -> None:
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        held = torchvision.models.get_model(name, weights=None).state_dict()
    found = recognise.recognise({each: shapes.Tensor(tuple(value.shape), "Float") for each, value in held.items()})
    assert found is None or not found.archs


@pytest.mark.parametrize("width", [8, 64])
@pytest.mark.parametrize("convolutions", [4, 5, 6, 7, 9])
def test_a_chain_of_convolutions_is_not_taken_for_a_resnet(convolutions: int, width: int) -> None:
    layers: list[nn.Module] = []
    inputs = 3
    for number in range(convolutions):
        outputs = width * 2 ** (number // 2)
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
        inputs = outputs
    held = nn.Sequential(*layers, nn.Flatten(), nn.Linear(inputs, 10)).state_dict()
    found = recognise.recognise({each: shapes.Tensor(tuple(value.shape), "Float") for each, value in held.items()})
    assert found is None or not found.archs


@pytest.mark.parametrize("arch", ARCHS)
def test_a_name_says_how_to_build_it(arch: str) -> None:
    named = spelled.parsed(arch)
    assert named is None or named.name == arch
    assert models.build(arch, 5, 3)(torch.zeros(2, 3, 32, 32)).shape == (2, 5)


@pytest.mark.parametrize(
    "arch",
    [
        "general_basic_0_out8_stem8k3s1_padded",
        "general_basic_1-1_out8_stem8k3s1_padded",
        "general_basic_1_out8_mid8_stem8k3s1_padded",
        "general_bottleneck_1_out8_stem8k3s1_projected",
        "general_bottleneck_1_out8_mid4_stem8k3s1_padded",
        "general_bottleneck_1_out8_mid6_groups4_stem8k3s1_projected",
        "general_basic_1_out8_stem8k3s1_bias-blocks-stem_padded",
        "general_basic_1_out8_stem8k3s1_padded_" + "raw" * 200,
    ],
)
def test_a_name_that_makes_no_network_is_refused(arch: str) -> None:
    with pytest.raises(models.ModelError, match="is not a known architecture"):
        models.check_arch(arch)
