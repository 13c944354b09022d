"""What somebody's own code may do differently, and no tensor's name says: it is built, and gives the same answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from edgeresnet import models
from edgeresnet.models import checkpoint, names, recognise, shapes, spelled
from edgeresnet.models.recognised import Recognised

from .networks import enlivened, lively

Activate = Callable[[torch.Tensor], torch.Tensor]
WIDTHS = (8, 16, 24)


class Squeeze(nn.Module):
    def __init__(self, channels: int, *, biased: bool):
        super().__init__()
        self.down = nn.Linear(channels, channels // 4, bias=biased)
        self.up = nn.Linear(channels // 4, channels, bias=biased)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        factors = torch.sigmoid(self.up(functional.relu(self.down(x.mean((2, 3))))))
        return x * factors[:, :, None, None]


class Unit(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, squeezed: bool | None):
        super().__init__()
        self.a = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.na = nn.BatchNorm2d(outputs)
        self.b = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.nb = nn.BatchNorm2d(outputs)
        self.gate: nn.Module = nn.Identity() if squeezed is None else Squeeze(outputs, biased=squeezed)


class Own(nn.Module):
    """A network whose shortcuts are all in one list; and what else people do."""

    def __init__(
        self,
        activate: Activate = functional.relu,
        *,
        squeezed: bool | None = None,
        halved: bool = False,
        head_first: bool = False,
    ):
        super().__init__()
        self.activate = activate
        if head_first:
            self.answer = nn.Linear(WIDTHS[-1], 5)
        self.entry = nn.Conv2d(3, 8, 3, 1, 1, bias=False)
        self.entry_norm = nn.BatchNorm2d(8)
        self.units, self.skips = nn.ModuleList(), nn.ModuleList()
        inputs = 8
        self.passed: list[int | None] = []
        for stage, outputs in enumerate(WIDTHS):
            for number in range(2):
                first = number == 0 and (stage > 0 or halved)
                self.units.append(Unit(inputs, outputs, 2 if first else 1, squeezed))
                self.passed.append(len(self.skips) if first else None)
                if first:
                    skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, 2, bias=False), nn.BatchNorm2d(outputs))
                    self.skips.append(skip)
                inputs = outputs
        if not head_first:
            self.answer = nn.Linear(WIDTHS[-1], 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.activate(self.entry_norm(self.entry(x)))
        for unit, at in zip(self.units, self.passed, strict=True):
            assert isinstance(unit, Unit)
            y = unit.gate(unit.nb(unit.b(self.activate(unit.na(unit.a(x))))))
            x = self.activate(y + (x if at is None else self.skips[at](x)))
        logits: torch.Tensor = self.answer(x.mean((2, 3)))
        return logits


def found_for(network: nn.Module, path: Path) -> Recognised:
    held = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(held, path) if path.suffix == ".safetensors" else torch.save(held, path)
    found = recognise.recognise(shapes.read(path))
    assert found is not None
    assert found.archs
    return found


@torch.no_grad()
def place_of(network: nn.Module, path: Path) -> int:
    """Return which of the architectures that are found gives the network's answers."""
    found = found_for(network, path)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    wanted = network(images)
    for place, arch in enumerate(found.archs):
        built = models.build(arch, found.classes, found.channels)
        checkpoint.load_into(built, path, arch)
        if torch.allclose(built.eval()(images), wanted, atol=1e-4):
            return place
    raise AssertionError(found.archs)


def own(activate: Activate = functional.relu, **options: bool) -> nn.Module:
    torch.manual_seed(0)
    return enlivened(Own(activate, **options))


@pytest.mark.parametrize("file", ["w.pth", "w.safetensors"])
def test_all_shortcuts_may_be_in_one_list(file: str, tmp_path: Path) -> None:
    assert place_of(own(), tmp_path / file) == 0


def test_a_list_of_shortcuts_needs_no_names(tmp_path: Path) -> None:
    network = own()
    held = {f"t{number}": value for number, value in enumerate(network.state_dict().values())}
    torch.save(held, tmp_path / "w.pth")
    found = recognise.recognise(shapes.read(tmp_path / "w.pth"))
    assert found is not None
    built = models.build(found.archs[0], found.classes, found.channels).eval()
    checkpoint.load_into(built, tmp_path / "w.pth", found.archs[0])
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(built(images), network(images), atol=1e-4, rtol=0)


@pytest.mark.parametrize("biased", [True, False])
def test_squeeze_and_excitation_may_have_no_biases(biased: bool, tmp_path: Path) -> None:
    network = own(squeezed=biased)
    assert place_of(network, tmp_path / "w.pth") == 0
    found = found_for(network, tmp_path / "w.pth")
    assert ("_nosebias" in found.archs[0]) is not biased
    assert ("squeeze-excitation without biases" in found.words) is not biased


@pytest.mark.parametrize(
    ("activate", "ending"),
    [
        (functional.silu, "_silu"),
        (functional.gelu, "_gelu"),
        (functional.leaky_relu, "_leaky"),
        (lambda x: functional.leaky_relu(x, 0.1), "_leaky10"),
    ],
)
def test_an_activation_is_one_of_the_candidates(activate: Activate, ending: str, tmp_path: Path) -> None:
    network = own(activate)
    place = place_of(network, tmp_path / "w.pth")
    archs = found_for(network, tmp_path / "w.pth").archs
    assert place > 0
    assert archs[place].endswith(ending)


def test_the_first_stage_may_halve_the_size(tmp_path: Path) -> None:
    network = own(halved=True)
    place = place_of(network, tmp_path / "w.pth")
    archs = found_for(network, tmp_path / "w.pth").archs
    assert place > 0
    assert archs[place].endswith("_stage1s2")
    assert "a first stage of stride 2" in names.unlike(archs[0], archs[place])


def test_a_first_stage_without_a_projection_cannot_halve_the_size() -> None:
    base = "general_basic_1-1_out8-16_stem8k3s1_projected"
    assert spelled.parsed(base) is not None
    assert spelled.parsed(f"{base}_stage1s2") is None
    assert spelled.parsed("general_basic_1-1_out8-16_stem8k3s1_allprojected_stage1s2") is not None


def test_a_classifier_may_be_defined_first(tmp_path: Path) -> None:
    """With words that no numbers order."""
    network = own(head_first=True)
    held = {f"t{number}": value for number, value in enumerate(network.state_dict().values())}
    torch.save(held, tmp_path / "w.pth")
    found = recognise.recognise(shapes.read(tmp_path / "w.pth"))
    assert found is not None
    assert found.archs == found_for(own(), tmp_path / "v.pth").archs


def test_activations_are_candidates_of_a_known_network_under_unknown_names(tmp_path: Path) -> None:
    held = models.build("cifar_resnet8b", 5, 3).state_dict()
    torch.save({f"a.{name}".replace("layer", "group"): value for name, value in held.items()}, tmp_path / "w.pth")
    found = recognise.recognise(shapes.read(tmp_path / "w.pth"))
    assert found is not None
    assert found.archs[0] == "cifar_resnet8b"
    endings = [arch.rpartition("_")[2] for arch in found.archs[1:]]
    assert endings == list(spelled.ACTIVATIONS)
    assert names.unlike(found.archs[0], found.archs[1]) == "one with SiLU"
    torch.save(held, tmp_path / "w.pth")
    known = recognise.recognise(shapes.read(tmp_path / "w.pth"))
    assert known is not None
    assert known.archs == ("cifar_resnet8b",)


def test_attention_of_matrices_is_not_taken_for_convolutions_of_the_same_shape(tmp_path: Path) -> None:
    """A quarter of a bottleneck's channels is as many as its first convolution gives."""
    arch = "general_bottleneck_2-2_out16-32_mid4-8_se4_stem8k3s1_projected"
    network = lively(arch)
    held = {name: value.flatten(1) if value.ndim == 4 and ".se." in name else value
            for name, value in network.state_dict().items()}  # fmt: skip
    held = {name.replace("layer", "part").replace(".se.", ".gate."): value for name, value in held.items()}
    assert gives(arch, held, network, tmp_path / "w.safetensors")


def test_attention_by_its_name_may_stand_before_the_convolutions(tmp_path: Path) -> None:
    arch = "general_bottleneck_2-2_out16-32_mid4-8_se4_stem8k3s1_projected"
    network = lively(arch)
    held = {name.replace("layer", "part").replace(".se.", ".attn."): value
            for name, value in network.state_dict().items()}  # fmt: skip
    assert gives(arch, held, network, tmp_path / "w.safetensors")


def test_a_classifier_may_have_the_shape_of_attention(tmp_path: Path) -> None:
    """Ten classes of 40 features, and squeezing 40 channels to 10."""
    arch = "general_basic_1-1_out20-40_se4_stem8k3s1_projected"
    network = lively(arch, 10)
    held = {name.replace("layer", "part"): value.flatten(1) if value.ndim == 4 and ".se." in name else value
            for name, value in network.state_dict().items()}  # fmt: skip
    assert gives(arch, held, network, tmp_path / "w.pth")


@pytest.mark.parametrize("place", ["post", "aa"])
def test_the_last_normalisation_may_have_any_name(place: str, tmp_path: Path) -> None:
    arch = "general_preact_bottleneck_1-1_out32-64_mid8-16_stem8k7s2_pool_lastnorm_projected_noshortcutnorm"
    network = lively(arch)
    words = {"layer": "stage", "norm.": f"{place}_activation.", "conv1.": "init_conv.", "bn1.": "init_norm."}
    held = {}
    for name, value in network.state_dict().items():
        start = next((word for word in words if name.startswith(word)), "")
        held[f"{words[start]}{name.removeprefix(start)}" if start else name] = value
    assert gives(arch, held, network, tmp_path / "w.safetensors")


def test_a_deep_stem_may_end_without_a_normalisation(tmp_path: Path) -> None:
    arch = "general_preact_basic_1-1_out16-32_stem8-8-16k3s2_pool_nostemnorm_lastnorm_projected_noshortcutnorm"
    network = lively(arch)
    held = {name.replace("layer", "part"): value for name, value in network.state_dict().items()}
    assert sum(name.startswith("conv1.") and name.endswith("running_mean") for name in held) == 2
    assert gives(arch, held, network, tmp_path / "w.pth")


@torch.no_grad()
def gives(arch: str, held: dict[str, torch.Tensor], network: nn.Module, path: Path) -> bool:
    """Return whether tensors are recognised as an architecture, and give the answers of the network."""
    save_file(held, path) if path.suffix == ".safetensors" else torch.save(held, path)
    found = recognise.recognise(shapes.read(path))
    if found is None or arch not in found.archs:
        return False
    built = models.build(arch, found.classes, found.channels).eval()
    checkpoint.load_into(built, path, arch)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return torch.allclose(built(images), network(images), atol=1e-4)


def test_what_differs_in_one_thing_and_in_two() -> None:
    base = "general_bottleneck_1-1_out16-32_mid4-8_stem8k3s1_projected"
    one = names.neighbours(base, [base])
    assert {f"{base}_v1", f"{base}_gelu", f"{base}_meanshortcut", f"{base}_stage1s2"} <= set(one)
    assert len(set(one)) == len(one)
    assert base not in one
    assert f"{base}_v1" not in names.neighbours(base, [base, f"{base}_v1"])
    two = names.neighbours(base, [base, *one], things=2)
    assert f"{base}_v1_gelu" in two
    assert not {base, *one} & set(two)
    assert names.neighbours("cifar_resnet20", ["cifar_resnet20_appended"])
    appended = [name for name in names.neighbours("cifar_resnet20", ["cifar_resnet20_appended"]) if "appended" in name]
    assert not appended, "it was tried, under another name"
    assert names.neighbours("resnetblur18", []) == ()
