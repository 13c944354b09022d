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
from edgeresnet.models import checkpoint, names, recognise, shapes, spelled
from edgeresnet.models.recognised import Recognised

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


def finds(arch: str, tensors: Tensors, network: nn.Module, path: Path, size: int = 32) -> bool:
    """Write the tensors; return whether they are recognised as this network, and it answers as the given one."""
    if path.suffix == ".safetensors":
        save_file({name: value.contiguous() for name, value in tensors.items()}, path)
    else:
        torch.save(tensors, path)
    found = recognise.recognise(shapes.read(path))
    if found is None or arch not in found.archs:
        return False
    torch.manual_seed(1)
    images = torch.randn(2, found.channels, size, size)
    return torch.allclose(answer(arch, found, path, images), network(images), atol=1e-4)


def answer(arch: str, found: Recognised, path: Path, images: torch.Tensor) -> torch.Tensor:
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
    assert finds(arch, renamed(network.state_dict()), network, tmp_path / "w.pth")


@pytest.mark.parametrize("arch", ARCHS)
@torch.no_grad()
def test_files_that_are_sorted_by_name_are_read_by_the_numbers_in_their_names(arch: str, tmp_path: Path) -> None:
    network = lively(arch)
    assert finds(arch, in_other_words(network.state_dict()), network, tmp_path / "w.safetensors")


@torch.no_grad()
def test_block_ten_comes_after_block_two(tmp_path: Path) -> None:
    network = lively("general_basic_12_out8_stem8k3s1_padded")
    arch = "general_basic_12_out8_stem8k3s1_padded"
    assert finds(arch, in_other_words(network.state_dict()), network, tmp_path / "w.safetensors")


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
    assert finds("cifar_resnet14b_w8", network.state_dict(), network, tmp_path / file)
    found = described(network.state_dict())
    assert found is not None
    assert found.archs[0] == "cifar_resnet14b_w8"


@torch.no_grad()
def test_attention_of_matrices_is_attention_of_convolutions(tmp_path: Path) -> None:
    network = lively(SQUEEZED)
    held = {name: value.flatten(1) if value.ndim == 4 and ".se." in name else value
            for name, value in network.state_dict().items()}  # fmt: skip
    assert finds(SQUEEZED, held, network, tmp_path / "w.pth")


@torch.no_grad()
def test_a_convolution_as_classifier(tmp_path: Path) -> None:
    network = lively(PREACTIVATED)
    held = {
        name: value[:, :, None, None] if name == "fc.weight" else value for name, value in network.state_dict().items()
    }
    assert finds(PREACTIVATED, held, network, tmp_path / "w.pth")


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
    arch = "general_bottleneck_1-1_out32-64_mid8-16_stem8k3s1_projected"
    assert finds(arch, in_other_words(moved), network, tmp_path / "w.pth")


@torch.no_grad()
def test_attention_in_the_order_of_the_alphabet(tmp_path: Path) -> None:
    """Sorted, `excite` stands before `shortcut`, and `squeeze` behind it."""
    network = lively(SQUEEZED)
    words = {".se.out1": ".squeeze", ".se.out2": ".excite"}
    held = {re.sub(r"\.se\.out\d", lambda found: words[found[0]], name): value
            for name, value in in_other_words(network.state_dict()).items()}  # fmt: skip
    assert any(".excite." in name for name in held)
    assert finds(SQUEEZED, held, network, tmp_path / "w.safetensors")


class Own(nn.Module):
    """A network of a user's own, whose names are those of its file."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.se = nn.ModuleDict({"se": nn.Linear(8, 8)})
        self.fc = nn.Conv2d(8, 5, 1)


def test_a_users_own_network_gets_its_tensors_as_they_are(tmp_path: Path) -> None:
    network = Own()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    other = Own()
    checkpoint.load_into(other, tmp_path / "w.pth", "mine:Own")
    assert torch.equal(other.fc.weight, network.fc.weight)
    held = network.state_dict()
    del held["fc.bias"]
    torch.save(held, tmp_path / "w.pth")
    with pytest.raises(models.ModelError, match=r"does not fit mine:Own: 1 missing: fc\.bias"):
        checkpoint.load_into(other, tmp_path / "w.pth", "mine:Own")


def test_what_shapes_leave_open_is_said(tmp_path: Path) -> None:
    """Without names, the order of a pre-activation network is that of another network too."""
    arch = "general_preact_basic_1-1-1_out16-32-64_stem16k3s1_nostemnorm_lastnorm_padded"
    torch.save(each_its_own(lively(arch).state_dict()), tmp_path / "w.pth")
    found = recognise.recognise(shapes.read(tmp_path / "w.pth"))
    assert found is not None
    assert found.archs[0] == "cifar_resnet8"
    assert arch in found.archs
    assert "the names of its tensors are unknown" in found.around


def test_older_senets_are_refused(tmp_path: Path) -> None:
    held = lively(SQUEEZED).state_dict()
    torch.save({name.replace("layer", "block").replace(".se.", ".se_module."): held[name] for name in held},
               tmp_path / "w.pth")  # fmt: skip
    found = recognise.recognise(shapes.read(tmp_path / "w.pth"))
    assert found is not None
    assert found.archs == ()
    assert "named as older SENets, which have another max-pool" in found.words


def described(held: Mapping[str, torch.Tensor]) -> Recognised | None:
    return recognise.recognise({name: shapes.Tensor(tuple(value.shape), "Float") for name, value in held.items()})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda held: held.update({"net.stage_2.0.alpha": torch.zeros(())}),
            "what a ResNet does not have: net.stage_2.0.alpha",
        ),
        (
            lambda held: held.update({"net.extra.weight": torch.zeros(3, 4, 5)}),
            "does not have: net.extra.weight",
        ),
        (
            lambda held: held.pop("net.stage_2.0.normal1.running_var"),
            "net.stage_2.0.normal1 without running_var",
        ),
        (
            lambda held: (held.pop("net.out.weight"), held.pop("net.out.bias")),
            "the body of a ResNet (4 bottleneck blocks), without a classifier",
        ),
        (
            lambda held: held.update({"net.other.weight": torch.zeros(5, 32)}),
            "2 linear layers (net.out, net.other): a classifier has one",
        ),
    ],
)
def test_what_is_missing_or_extra_is_named(change: Callable[[dict[str, torch.Tensor]], object], words: str) -> None:
    held = dict(in_other_words(lively(BOTTLENECKS).state_dict()))
    assert described(held)
    change(held)
    found = described(held)
    assert found is not None
    assert found.archs == ()
    assert words in found.words


def test_a_scalar_between_known_layers_is_not_lost() -> None:
    """A factor of a residual branch is a number, as a counter is."""
    held = models.build("resnet18", 5, 3).state_dict()
    assert described(held)
    found = described({**held, "layer1.0.alpha": torch.zeros(())})
    assert found is None or found.archs == ()


def test_words_in_the_order_of_the_alphabet_are_no_order(tmp_path: Path) -> None:
    numbers = {"0": "first", "1": "second", "2": "third", "3": "fourth"}
    held = {re.sub(r"layer1\.(\d)", lambda found: f"layer1.{numbers[found[1]]}", name): value
            for name, value in lively("general_basic_4_out8_stem8k3s1_padded").state_dict().items()}  # fmt: skip
    save_file(held, tmp_path / "w.safetensors")
    found = recognise.recognise(shapes.read(tmp_path / "w.safetensors"))
    assert found is None or found.archs == ()


def test_blocks_that_all_project_are_not_given_a_stride_each(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = enlivened(models.build("general_basic_2-2_out8-16_stem8k3s1_allprojected", 5, 3))
    held = network.state_dict()
    for stage, channels in ((1, 8), (2, 16)):
        for part, value in list(held.items()):
            if part.startswith(f"layer{stage}.0.downsample"):
                shape = (channels, channels, 1, 1) if value.ndim == 4 else value.shape
                held[part.replace(".0.downsample", ".1.downsample")] = torch.ones(shape)
    found = described(in_other_words(held))
    assert found is None or not any("1-1-1-1" in arch for arch in found.archs)


@pytest.mark.parametrize("arch", ["general_basic_1_out8_se0_stem8k3s1_padded", "general_basic_1_out8_stem8k0s1_padded",
                                  "general_basic_1_out8_se999_stem8k3s1_padded"])  # fmt: skip
def test_a_name_of_numbers_that_build_nothing_is_refused(arch: str) -> None:
    with pytest.raises(models.ModelError, match="is not a known architecture"):
        models.check_arch(arch)


def test_a_network_for_segmentation_is_not_a_classifier() -> None:
    held = {name: value for name, value in models.build("resnet18", 5, 3).state_dict().items() if name[:2] != "fc"}
    for score in ("score", "classifier"):
        head = {f"{score}.weight": torch.zeros(21, 512, 1, 1), f"{score}.bias": torch.zeros(21)}
        found = described({**in_other_words(held), **head})
        assert found is None or found.archs == ()


def test_two_tensors_of_one_shape_are_told_apart_by_the_order_in_other_blocks(tmp_path: Path) -> None:
    """In the first stage of a ResNet-50, a shortcut and the last convolution have one shape."""
    arch = "general_bottleneck_1-1_out32-64_mid8-16_stem8k3s1_projected"
    network = lively(arch)
    held = network.state_dict()
    pairs = [f"layer{stage}.0.{kind}{number}" for stage in (1, 2) for number in (1, 2, 3) for kind in ("conv", "bn")]
    names = [name for start in ("conv1.", "bn1.") for name in held if name.startswith(start)]
    for stage in (1, 2):
        starts = [f"layer{stage}.0.downsample", *(pair for pair in pairs if pair.startswith(f"layer{stage}"))]
        names += [name for start in starts for name in held if name.startswith(start)]
    names += ["fc.weight", "fc.bias"]
    assert set(names) == set(held)
    with torch.no_grad():
        assert finds(arch, each_its_own({name: held[name] for name in names}), network, tmp_path / "w.pth")


def test_numbers_that_contradict_the_order_win(tmp_path: Path) -> None:
    network = lively("cifar_resnet8b")
    swapped = in_other_words(network.state_dict())
    names = sorted(swapped, key=lambda name: (name.rpartition(".")[0].replace("c1", "c9"), list(swapped).index(name)))
    with torch.no_grad():
        assert finds("cifar_resnet8b", {name: swapped[name] for name in names}, network, tmp_path / "w.pth")


@pytest.mark.parametrize("order", ["c1 normal2 c2 normal1", "c2 normal2 c1 normal1", "c1 c2 normal2 normal1"])
def test_numbers_of_normalisations_count_too(order: str, tmp_path: Path) -> None:
    network = lively("cifar_resnet8b")
    held = in_other_words(network.state_dict())
    places = order.split()

    def place(name: str) -> tuple[int, int]:
        block = ".".join(name.split(".")[:3])
        first = next(index for index, each in enumerate(held) if each.startswith(block))
        part = name.split(".")[3] if ".stage_" in name else ""
        return first, places.index(part) if part in places else 9

    moved = {name: held[name] for name in sorted(held, key=place)}
    with torch.no_grad():
        assert finds("cifar_resnet8b", moved, network, tmp_path / "w.pth")


def test_a_negative_variance_is_refused(tmp_path: Path) -> None:
    held = models.build("cifar_resnet8", 5, 3).state_dict()
    held["layer1.0.bn1.running_var"].neg_()
    torch.save(held, tmp_path / "w.pth")
    with pytest.raises(models.ModelError, match=r"has a negative variance in layer1\.0\.bn1\.running_var"):
        checkpoint.load_into(models.build("cifar_resnet8", 5, 3), tmp_path / "w.pth", "cifar_resnet8")


def test_what_is_behind_the_classifier_is_no_part_of_the_network() -> None:
    held = in_other_words(models.build("cifar_resnet8", 5, 3).state_dict())
    found = described({**held, "net.zz.weight": torch.zeros(64, 64, 1, 1)})
    assert found is None or found.archs == ()


def test_a_body_without_its_stem_is_refused() -> None:
    held = models.build("cifar_resnet14b", 5, 3).state_dict()
    found = described(
        in_other_words({name: value for name, value in held.items() if name[:5] not in ("conv1", "bn1.w")})
    )
    assert found is None or found.archs == ()


def test_a_pruned_network_of_ours_is_recognised_by_its_own_name() -> None:
    held = {
        name: shapes.Tensor(tuple(value.shape), "Float") for name, value in lively(PREACTIVATED).state_dict().items()
    }
    for name in ("layer1.0.conv1.weight", "layer1.0.bn2.weight", "layer1.0.bn2.bias"):
        held[name] = held[name]._replace(shape=(5, *held[name].shape[1:]))
    for name in ("layer1.0.bn2.running_mean", "layer1.0.bn2.running_var"):
        held[name] = held[name]._replace(shape=(5,))
    held["layer1.0.conv2.weight"] = held["layer1.0.conv2.weight"]._replace(shape=(8, 5, 3, 3))
    found = recognise.recognise(held, named=PREACTIVATED)
    assert found is not None
    assert found.archs == (PREACTIVATED,)
    assert "pruned to 9" in found.words


def test_candidates_differ_in_words() -> None:
    assert names.unlike(PREACTIVATED, f"{PREACTIVATED}_raw") == "one with shortcuts that read before the normalisation"
    assert (
        names.unlike(PREACTIVATED, PREACTIVATED.replace("s1", "s2_pool"))
        == "one with a max-pool and a stem of stride 2"
    )
    assert names.unlike("resnet50", "resnet50_v1") == "resnet50_v1"


@pytest.mark.slow
def test_many_layers_take_no_long_time() -> None:
    found = recognise.recognise({f"{n}.weight": shapes.Tensor((8, 8, 3, 3), "Float") for n in range(20_000)})
    assert found is None or found.archs == ()


def of_others() -> list[str]:
    names = torchvision.models.list_models(torchvision.models)
    return [name for name in names if not re.match(r"(?:wide_)?resn|inception|googlenet|.*(?:vit|swin)|regnet", name)]


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
