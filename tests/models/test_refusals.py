"""Files that hold more, less or something other than one ResNet: one line says what, and another what helps."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from edgeresnet import models
from edgeresnet.errors import ModelError
from edgeresnet.models import recognise, shapes
from edgeresnet.models.recognised import Recognised

from .networks import lively

Tensors = Mapping[str, torch.Tensor]
ARCH = "general_basic_1-2-1_out8-16-32_stem8k3s1_projected"


def own(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Return tensors under names of an unknown code."""
    words = {"layer": "stage_", "conv": "c", "bn": "normal", "downsample": "shortcut", "fc": "out"}
    found = {}
    for name, value in tensors.items():
        renamed = name
        for word, other in words.items():
            renamed = renamed.replace(word, other)
        found[renamed] = value
    return found


def under(prefix: str, tensors: Tensors) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in tensors.items()}


def without(tensors: Tensors, *starts: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in tensors.items() if not name.startswith(starts)}


def described(tensors: Tensors) -> Recognised:
    held = {name: shapes.Tensor(tuple(value.shape), "Float") for name, value in tensors.items()}
    found = recognise.recognise(held)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return own(lively(ARCH).state_dict())


def test_two_networks_are_named_with_their_tensors_and_how_to_save_one(weights: Tensors) -> None:
    found = described({**under("online.", weights), **under("target.", weights)})
    assert found.archs == ()
    count = len([name for name in weights if not name.endswith("num_batches_tracked")])
    shown = f"2 ResNets, online.* ({count} tensors) and target.* ({count} tensors)"
    assert found.words == f"{shown}: the tensors do not show which one is meant"
    assert "torch.save(model.online.state_dict(), 'weights.pth')" in found.hint


def test_what_stands_next_to_a_network_is_named(weights: Tensors) -> None:
    found = described({**under("net.", weights), "metric.correct": torch.zeros(()), "metric.total": torch.zeros(())})
    assert found.archs == ()
    assert "a ResNet, net.* (" in found.words
    assert "next to metric.* (2 tensors)" in found.words
    assert "model.net.state_dict()" in found.hint


def test_a_body_without_classifier_is_called_that(weights: Tensors) -> None:
    found = described(without(weights, "out"))
    assert found.archs == ()
    assert found.words == "the body of a ResNet (4 basic blocks), without a classifier: its answers are not classes"
    assert "--arch my.module:make" in found.hint


def of_detectron2(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Return a network of bottlenecks under detectron2's names, without counters."""
    found = {}
    for name, value in tensors.items():
        parts = name.split(".")
        if parts[0].startswith("layer"):
            parts[0] = f"res{int(parts[0][-1]) + 1}"
            kind = {"bn": "conv", "downsample": "shortcut"}
            if parts[2].startswith("bn"):
                parts[2:3] = [parts[2].replace("bn", "conv"), "norm"]
            elif parts[2] == "downsample":
                parts[2:4] = ["shortcut", "norm"] if parts[3] == "1" else [kind[parts[2]]]
        elif parts[0] in ("conv1", "bn1"):
            parts = ["stem", "conv1", *(["norm"] if parts[0] == "bn1" else []), *parts[1:]]
        elif parts[0] == "fc":
            parts[0] = "linear"
        if parts[-1] != "num_batches_tracked":
            found[".".join(parts)] = value
    return found


BOTTLENECKS = "general_bottleneck_1-2-1_out32-64-128_mid8-16-32_stem8k7s2_pool_projected_v1"


def test_detectron2_strides_in_its_first_convolutions_and_takes_bgr() -> None:
    found = described(of_detectron2(lively(BOTTLENECKS).state_dict()))
    assert found.archs[0] == BOTTLENECKS
    assert not any(arch.endswith(("_silu", "_stage1s2")) for arch in found.archs)
    assert "detectron2 takes images as BGR" in found.around
    assert "names of its tensors are unknown" not in found.around


def test_a_backbone_of_detectron2_has_no_classifier() -> None:
    held = without(of_detectron2(lively(BOTTLENECKS).state_dict()), "linear")
    found = described(held)
    assert found.archs == ()
    assert "the body of a ResNet of detectron2 (4 bottleneck blocks), without a classifier" in found.words


def test_fastais_head_is_named_and_the_function_for_it() -> None:
    body = models.build("resnet18", 5, 3).state_dict()
    numbers = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    held = {f"0.{numbers[(parts := name.split('.', 1))[0]]}.{parts[1]}": value
            for name, value in body.items() if not name.startswith("fc")}  # fmt: skip
    head = nn.Sequential(
        nn.Identity(), nn.Flatten(), nn.BatchNorm1d(1024), nn.Dropout(), nn.Linear(1024, 512, bias=False), nn.ReLU(),
        nn.BatchNorm1d(512), nn.Dropout(), nn.Linear(512, 5, bias=False),
    )  # fmt: skip
    found = described({**held, **under("1.", head.state_dict())})
    assert found.archs == ()
    assert "under 0.*, with fastai's head of two linear layers: it is not built here" in found.words
    assert "create_vision_model(resnet18, classes, pretrained=False)" in found.hint


def _each(apply: Callable[[nn.Module], object]) -> dict[str, torch.Tensor]:
    network = lively(ARCH)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            apply(module)
    return dict(network.state_dict())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("apply", "what", "line"),
    [
        (nn.utils.weight_norm, "weight normalisation", "remove_weight_norm(layer)"),
        (parametrizations.weight_norm, "parametrized weights", "remove_parametrizations(layer, 'weight')"),
        (nn.utils.spectral_norm, "spectral normalisation", "remove_spectral_norm(layer)"),
        (
            lambda layer: prune.l1_unstructured(layer, "weight", 0.3),
            "masks of pruning",
            "prune.remove(layer, 'weight')",
        ),
    ],
)
def test_weights_that_are_computed_first_are_named(apply: Callable[[nn.Module], object], what: str, line: str) -> None:
    for held in (_each(apply), own(_each(apply))):
        found = described(held)
        assert found.archs == ()
        assert f"a network of convolutions with {what}: " in found.words
        assert line in found.hint


@pytest.mark.parametrize(("order", "back"), [((2, 3, 1, 0), "3, 2, 0, 1"), ((0, 2, 3, 1), "0, 3, 1, 2")])
def test_kernels_in_anothers_order_are_named(order: tuple[int, ...], back: str, weights: Tensors) -> None:
    known = lively("resnet18").state_dict()
    for tensors in (weights, known):
        moved = {name: value.permute(order) if value.ndim == 4 else value for name, value in tensors.items()}
        found = described(moved)
        assert found.archs == ()
        assert "with its channels last: " in found.words
        assert f"weight.permute({back})" in found.hint
        for name, value in moved.items():
            if value.ndim == 4:
                assert value.permute([int(side) for side in back.split(",")]).shape == tensors[name].shape


def test_a_missing_convolution_is_counted(weights: Tensors) -> None:
    found = described(without(weights, "stage_2.1.c2"))
    assert found.archs == ()
    assert "not in the blocks of a ResNet (10 convolutions, 11 normalisations): stage_" in found.words


def test_a_second_head_is_named(weights: Tensors) -> None:
    found = described({**weights, "aux.weight": torch.zeros(5, 16), "aux.bias": torch.zeros(5)})
    assert "with 2 linear layers (out, aux): a classifier has one" in found.words


@pytest.mark.parametrize("word", ["weights", "net_dict", "params"])
def test_the_only_weights_of_a_file_are_found_under_any_word(word: str, weights: Tensors, tmp_path: Path) -> None:
    network = lively(ARCH)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.zeros(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    torch.save({"epoch": 3, word: dict(weights), "optimizer": optimizer.state_dict()}, tmp_path / "w.pth")
    assert shapes.read(tmp_path / "w.pth").keys() == weights.keys()


def test_params_and_their_average(weights: Tensors, tmp_path: Path) -> None:
    torch.save({"params_ema": dict(weights), "params": dict(weights)}, tmp_path / "w.pth")
    assert set(shapes.look(tmp_path / "w.pth").networks) == {"model", "ema"}


def test_arrays_of_numpy_are_refused_with_the_line_that_converts_them(weights: Tensors, tmp_path: Path) -> None:
    arrays = {name: value.numpy() for name, value in weights.items()}
    torch.save(arrays, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="holds arrays of numpy, not tensors") as caught:
        shapes.read(tmp_path / "w.pth")
    assert "torch.tensor(v) for k, v in torch.load('w.pth', weights_only=False).items()" in caught.value.hint
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "Detectron2"}))
    with pytest.raises(ModelError, match="holds arrays of numpy, not tensors") as caught:
        shapes.read(tmp_path / "R-50.pkl")
    assert "in pickle.load(open('R-50.pkl', 'rb'))['model'].items()" in caught.value.hint
