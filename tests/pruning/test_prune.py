"""What is removed goes everywhere that it reaches, and nothing else changes.

A pruned network answers as the unpruned one does with those channels silenced.
"""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgeresnet import images, models, recipe, tasks
from edgeresnet.errors import ModelError
from edgeresnet.models import plans, widths
from edgeresnet.pruning import choose, cut, importance, units
from edgeresnet.stages import prune as pruning

from ..conftest import tiny


def network_of(arch: str) -> nn.Module:
    """With normalisation that has seen images, so that every channel counts."""
    torch.manual_seed(0)
    network = models.build(arch, 7, 3).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_()
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    return network


def chooser(network: nn.Module, how: str = "l2", multiple: int = 8, size: int = 32, alike: bool = False):  # type: ignore[no-untyped-def]
    found = units.of(network, 3, size)
    return choose.Chooser(found, importance.scores(network, found, how), multiple=multiple, every_layer_alike=alike)


def silenced(network: nn.Module, choice: choose.Choice) -> nn.Module:
    """Return the unpruned network, whose removed channels give zeros."""
    silent = copy.deepcopy(network)
    modules = dict(silent.named_modules())
    for pool, kept in zip(choice.cuttable.pools, choice.kept, strict=True):
        for place, rows in pool.places.items():
            if place.side == "out":
                gone, module = rows[~kept].ravel(), modules[place.layer]
                if module.weight is None:
                    continue
                module.weight.data[gone] = 0
                if module.bias is not None:
                    module.bias.data[gone] = 0
    return silent


def pruned_alike(network: nn.Module, choice: choose.Choice, images: torch.Tensor, near: float = 1e-4) -> nn.Module:
    """Return the pruned network, which answers as the unpruned one with those channels silenced."""
    narrow = cut.cut(network, choice)
    with torch.no_grad():
        torch.testing.assert_close(narrow(images), silenced(network, choice)(images), rtol=near, atol=near)
    return narrow


SEGMENTERS = ["fcn_cifar_resnet8", "deeplabv3_cifar_resnet8b"]
ARCHS = ["cifar_resnet8", "cifar_resnet20", "cifar_resnet8b", "cifar_plain8", "resnet18", *SEGMENTERS]
LARGE = [pytest.param(arch, marks=pytest.mark.slow) for arch in ("resnet50", "resnext50_32x4d", "wide_resnet50_2")]


@pytest.mark.parametrize("arch", [*ARCHS, *LARGE])
@pytest.mark.parametrize("macs", [0.75, 0.4])
def test_a_pruned_network_answers_as_the_unpruned_one_with_those_channels_silenced(arch: str, macs: float) -> None:
    network, images = network_of(arch), torch.randn(3, 3, 32, 32)
    every = chooser(network)
    choice = every.for_goal("macs", macs)
    narrow = pruned_alike(network, choice, images)
    assert 0.5 * macs < choice.macs / every.dense.macs <= macs
    assert choice.params == sum(parameter.numel() for parameter in narrow.parameters())
    assert every.dense.params == sum(parameter.numel() for parameter in network.parameters())
    again = units.of(narrow, 3, 32)  # what is counted beforehand is what comes out
    counted = choose.Chooser(again, [np.ones(pool.units) for pool in again.pools], multiple=1, every_layer_alike=True)
    assert (counted.dense.macs, counted.dense.params) == (choice.macs, choice.params)
    macs_of = (one.outputs * (one.inputs // one.groups) * one.kernel * one.positions for one in again.layers)
    assert sum(macs_of) == choice.macs


@pytest.mark.parametrize("arch", ["cifar_resnet8", "resnet18"])
def test_a_pruned_network_is_pruned_again(arch: str) -> None:
    network, images = network_of(arch), torch.randn(2, 3, 32, 32)
    once = cut.cut(network, chooser(network).for_goal("macs", 0.7))
    pruned_alike(once, chooser(once).for_goal("macs", 0.7), images)


@pytest.mark.parametrize("arch", [*ARCHS, pytest.param("resnext50_32x4d", marks=pytest.mark.slow)])
def test_a_pruned_network_is_built_again_from_its_tensors_alone(arch: str) -> None:
    network, images = network_of(arch), torch.randn(2, 3, 32, 32)
    narrow = cut.cut(network, chooser(network).for_goal("macs", 0.5))
    held = narrow.state_dict()
    fresh = models.build(arch, 7, 3).eval()
    shapes = {key: tuple(value.shape) for key, value in held.items()}
    assert plans.is_narrower({key: tuple(value.shape) for key, value in fresh.state_dict().items()}, shapes)
    widths.narrow(fresh, shapes)
    fresh.load_state_dict(held)
    with torch.no_grad():
        torch.testing.assert_close(fresh(images), narrow(images), rtol=0, atol=0)


def test_other_weights_are_not_taken_for_pruned_ones() -> None:
    def shapes(arch: str, classes: int = 7, channels: int = 3) -> dict[str, tuple[int, ...]]:
        return {key: tuple(value.shape) for key, value in models.build(arch, classes, channels).state_dict().items()}

    full = shapes("resnet18")
    assert plans.is_narrower(full, full)
    assert not plans.is_narrower(full, shapes("resnet18", classes=5))
    assert not plans.is_narrower(full, shapes("resnet18", channels=1))
    assert not plans.is_narrower(full, shapes("resnet34"))
    assert not plans.is_narrower(full, {**full, "layer1.0.conv1.weight": (128, 64, 3, 3)})
    assert not plans.is_narrower(full, {**full, "layer1.0.conv1.weight": (32, 64, 1, 1)})


@pytest.mark.parametrize("multiple", [8, 16])
@pytest.mark.parametrize("arch", ["resnet18", "cifar_resnet20"])
def test_widths_are_those_that_compilers_like(arch: str, multiple: int) -> None:
    network = network_of(arch)
    narrow = cut.cut(network, chooser(network, multiple=multiple).for_goal("macs", 0.6))
    for module in narrow.modules():
        if isinstance(module, nn.Conv2d):
            narrowest = multiple if module.out_channels > multiple or arch == "resnet18" else 8
            assert module.out_channels % narrowest == 0


def test_what_pads_add_to_a_stage_may_go_altogether() -> None:
    network, images = network_of("cifar_resnet20"), torch.randn(2, 3, 32, 32)
    narrow = pruned_alike(network, chooser(network).at(1.0), images)
    assert {module.out_channels for module in narrow.modules() if isinstance(module, nn.Conv2d)} == {8}


def test_a_goal_is_met_and_not_passed_by_far() -> None:
    """All widths are rounded at once; what need not go comes back, the most important first."""
    for macs in (0.8, 0.667, 0.5):
        every = chooser(network_of("cifar_resnet20"))
        choice = every.for_goal("macs", macs)
        assert macs - 0.04 < choice.macs / every.dense.macs <= macs


@pytest.mark.slow
def test_of_a_grouped_convolution_complete_groups_go() -> None:
    network = network_of("resnext50_32x4d")
    narrow = cut.cut(network, chooser(network).for_goal("macs", 0.5))
    for name, module in narrow.named_modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            before = dict(network.named_modules())[name]
            assert module.out_channels // module.groups == before.out_channels // before.groups
            assert module.groups < 32


@pytest.mark.parametrize("how", ["l1", "l2", "bn"])
def test_what_is_small_goes_first(how: str) -> None:
    """Some channels of each block are made small on purpose: they are what is removed."""
    network = network_of("cifar_resnet20")
    small = {}
    for name, module in network.named_modules():
        if name.endswith(("conv1", "bn1")) and "layer" in name:
            width = len(module.weight)
            small[name.rpartition(".")[0]] = set(range(width // 2))
            module.weight.data[: width // 2] *= 1e-3
    choice = chooser(network, how, multiple=1).for_goal("ratio", 0.3)
    for pool, kept in zip(choice.cuttable.pools, choice.kept, strict=True):
        block = pool.title.rpartition(".")[0]
        if block in small and pool.title.endswith("conv1"):
            gone = set(np.flatnonzero(~kept).tolist())
            assert gone <= small[block]
            assert gone


def streams(every: choose.Chooser) -> list[int]:
    """Return the numbers of the pools that several blocks add their answers to, recognised by their names."""
    pools = enumerate(every.cuttable.pools)
    return [number for number, pool in pools if sum(place.layer.endswith("conv2") for place in pool.places) > 1]


@pytest.mark.parametrize("arch", ["cifar_resnet20", "resnet18"])
@pytest.mark.parametrize("how", ["l1", "l2"])
def test_where_all_is_alike_the_insides_of_blocks_go_first(arch: str, how: str) -> None:
    """Real ones lost 6 points more where the stream went as early: ResNet-20, half the MACs, after 30 steps."""
    network = network_of(arch)
    every = chooser(network, how)
    choice, number = every.for_goal("macs", 0.667), streams(every)
    assert len(number) >= 3
    assert all(choice.kept[each].all() for each in number)
    assert not every.at(1.0).kept[number[0]].all()  # last, not never


def test_a_grouped_convolution_makes_no_stream() -> None:
    network = Grouped().eval()
    found = units.of(network, 3, 16)
    scores = importance.scores(network, found, "l2")
    means = {pool.title: float(values.mean()) for pool, values in zip(found.pools, scores, strict=True)}
    assert means["stem"] == pytest.approx(1.2)
    assert means["reduce"] == pytest.approx(1.0)


def test_taylor_reads_gradients() -> None:
    network = network_of("cifar_resnet8")
    loss = nn.functional.cross_entropy(network(torch.randn(8, 3, 32, 32)), torch.randint(0, 7, (8,)))
    loss.backward()
    dead = network.layer1[0].conv1  # type: ignore[index,union-attr]
    dead.weight.grad[:4] = 0
    network.layer1[0].bn1.weight.grad[:4] = 0  # type: ignore[index,union-attr]
    network.layer1[0].conv2.weight.grad[:, :4] = 0  # type: ignore[index,union-attr]
    found = units.of(network, 3, 32)
    scores = importance.scores(network, found, "taylor")
    mine = next(values for pool, values in zip(found.pools, scores, strict=True) if pool.title == "layer1.0.conv1")
    assert (mine[:4] == 0).all()
    assert (mine[4:] > 0).all()


def test_a_large_network_sees_fewer_images_and_fewer_at_once(colours: Any, tmp_path: Path) -> None:
    about = {"size": 448, "mean": [0.5] * 3, "std": [0.5] * 3}
    wanted = recipe.parse(tiny(model__classes=3, preprocessing=about, images__training=str(colours("a"))))
    samples = images.open_samples(wanted, "training")
    assert len(pruning._some(samples, 10**6, (10**9, 4, 90), 0)) == min(90, len(samples))
    assert len(pruning._some(samples, 10**8, (10**9, 4, 90), 0)) == 10
    assert len(pruning._some(samples, 10**10, (10**9, 4, 90), 0)) == 4
    few = pruning._some(samples, 10**8, (10**9, 4, 90), 0)
    assert [len(labels) for _, labels, _ in pruning._batches(few)] == [2] * 5


def test_images_that_cannot_be_read_do_not_count(colours: Any, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    shutil.copytree(colours("a"), folder)
    for path in sorted(folder.rglob("*.png"))[::2]:
        path.write_bytes(b"none")
    about = {"size": 8, "mean": [0.5] * 3, "std": [0.5] * 3}
    raw = tiny(model__classes=3, preprocessing=about, images__training=str(folder), images__unreadable="skip")
    samples = images.open_samples(recipe.parse(raw), "training")

    class Sees(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3)).flip(1)  # blue, green, red

    assert pruning._score(Sees(), samples, tasks.of(tasks.CLASSIFICATION)) == 1.0


def test_layer_by_layer_takes_the_same_part_of_each() -> None:
    network = network_of("resnet18")
    choice = chooser(network, alike=True, multiple=1).for_goal("ratio", 0.25)
    parts = [kept.mean() for pool, kept in zip(choice.cuttable.pools, choice.kept, strict=True) if pool.may_be_cut]
    assert max(parts) - min(parts) < 0.02


def test_choices_get_stronger_step_by_step_and_a_goal_out_of_reach_names_the_most() -> None:
    every = chooser(network_of("cifar_resnet8"))
    macs = [every.at(step / 100).macs for step in range(101)]
    assert macs == sorted(macs, reverse=True)
    assert len(set(macs)) > 5
    assert min(every.at(1.0).widths.values()) >= 8
    with pytest.raises(
        ModelError, match=r"prune\.macs 0\.01 cannot be reached: .* smallest width it is 0\.\d+"
    ) as caught:
        every.for_goal("macs", 0.01)
    assert "remaining MACs" in caught.value.hint


class OwnPads(nn.Module):
    """A user's network whose shortcut is padded in code: what it adds cannot be changed from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.inner = nn.Conv2d(16, 24, 3, padding=1)
        self.outer = nn.Conv2d(24, 32, 3, padding=1)
        self.fc = nn.Linear(32, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.relu(self.stem(x))
        y = self.outer(nn.functional.relu(self.inner(x)))
        return self.fc((y + nn.functional.pad(x, (0, 0, 0, 0, 8, 8))).mean((2, 3)))


def test_what_a_users_own_pads_reach_is_left_alone() -> None:
    network, images = OwnPads().eval(), torch.randn(2, 3, 16, 16)
    every = chooser(network, size=16)
    assert {pool.title for pool in every.cuttable.pools if pool.may_be_cut} == {"inner"}
    with pytest.raises(ModelError) as caught:
        every.for_goal("macs", 0.1)
    assert "layers cannot be pruned (stem, outer)" in caught.value.hint
    narrow = pruned_alike(network, every.for_goal("ratio", 0.3), images)
    assert isinstance(narrow, OwnPads)
    assert narrow.inner.out_channels < 24


class Grouped(nn.Module):
    """A stream of two convolutions, and a block with a grouped one inside."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.reduce = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(32, 16, 1)
        self.inner, self.expand = nn.Conv2d(16, 16, 3, padding=1, groups=4), nn.Conv2d(16, 32, 1)
        self.fc = nn.Linear(32, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.relu(self.stem(x))
        y = nn.functional.relu(self.inner(nn.functional.relu(self.reduce(x))))
        return self.fc((x + self.expand(y)).mean((2, 3)))


@pytest.mark.parametrize("frozen", [("conv1", "bn1", "layer1"), ("",)])
def test_frozen_weights_are_pruned_as_others_are(frozen: tuple[str, ...]) -> None:
    network = network_of("cifar_resnet8")
    free = chooser(network)
    for name in frozen:
        network.get_submodule(name).requires_grad_(False)
    found = chooser(network)
    assert [pool.title for pool in found.cuttable.pools] == [pool.title for pool in free.cuttable.pools]
    assert found.for_goal("macs", 0.5).macs == free.for_goal("macs", 0.5).macs


class Flat(nn.Module):
    """Flattening makes 49 numbers of each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.last = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(32, 64, 3, padding=1)
        self.pool, self.fc = nn.AdaptiveAvgPool2d(7), nn.Linear(64 * 49, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.pool(self.last(nn.functional.relu(self.stem(x)))).flatten(1))


def test_what_is_flattened_gets_widths_like_the_others() -> None:
    network, images = Flat().eval(), torch.randn(2, 3, 16, 16)
    every = chooser(network, size=16)
    assert {pool.title: pool.channels for pool in every.cuttable.pools} == {"stem": 1, "last": 1}
    narrow = pruned_alike(network, every.for_goal("ratio", 0.3), images)
    assert isinstance(narrow, Flat)
    assert narrow.last.out_channels % 8 == 0
    assert narrow.fc.in_features == 49 * narrow.last.out_channels


class Convolved(nn.Module):
    """Normalised but for its last convolution, which is the classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32)
        self.last = nn.Conv2d(32, 7, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(nn.functional.relu(self.norm(self.stem(x)))).mean((2, 3))


def test_what_may_not_be_pruned_needs_no_normalisation() -> None:
    every = chooser(Convolved().eval(), "bn", size=16)
    assert [pool.title for pool in every.cuttable.pools if pool.may_be_cut] == ["stem"]
    assert every.for_goal("ratio", 0.25).ratio == 0.25


class Scaled(nn.Module):
    """A parameter for each channel outside of layers, and a normalisation without a scale."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bare = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16, affine=False)
        self.free, self.last = nn.Conv2d(16, 24, 3, padding=1), nn.Conv2d(24, 32, 3, padding=1)
        self.gamma = nn.Parameter(torch.rand(1, 32, 1, 1))
        self.fc = nn.Linear(32, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.last(nn.functional.relu(self.free(self.bare(self.stem(x)))))
        return self.fc((self.gamma * x).mean((2, 3)))


@pytest.mark.parametrize("how", ["l2", "bn"])
def test_what_knows_its_width_by_itself_is_left_alone(how: str) -> None:
    network, images = Scaled().eval(), torch.randn(2, 3, 16, 16)
    if how == "bn":
        with pytest.raises(ModelError, match="no normalisation layers that show the importance of channels"):
            chooser(network, how, size=16)
        return
    every = chooser(network, how, size=16)
    assert {pool.title for pool in every.cuttable.pools if pool.may_be_cut} == {"free"}
    pruned_alike(network, every.for_goal("ratio", 0.3), images)


@pytest.mark.parametrize("arch", ["resnetblur18", pytest.param("resnet50_gn", marks=pytest.mark.slow)])
def test_what_a_blurred_pool_or_a_group_normalisation_reads_is_left_alone(arch: str) -> None:
    pytest.importorskip("timm")
    network, images = network_of(arch), torch.randn(2, 3, 64, 64)
    if arch == "resnet50_gn":
        with pytest.raises(ModelError, match="this network has no layer that can be pruned") as caught:
            chooser(network, size=64)
        assert "layers cannot be pruned (" in caught.value.hint
        return
    pruned_alike(network, chooser(network, size=64).for_goal("macs", 0.8), images, near=1e-3)


class AllTied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.only = nn.Conv2d(3, 7, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.only(x).mean((2, 3))


def test_a_network_with_nothing_to_prune_is_reported() -> None:
    with pytest.raises(ModelError, match="this network has no layer that can be pruned"):
        chooser(AllTied(), size=16)
