"""Checkpoints as training scripts leave them: read without torch, recognised by their tensors, refused where they would
run code. Each file is written by its real producer.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import pickle
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.optim.swa_utils import AveragedModel

from edgeresnet import models
from edgeresnet.errors import MachineError, ModelError
from edgeresnet.models import checkpoint, recognise, shapes

SMALL = [arch for arch in models.CIFAR if not any(depth in arch for depth in ("56", "110"))]


def weights(arch: str = "cifar_resnet8", classes: int = 7, channels: int = 1) -> dict[str, torch.Tensor]:
    return models.build(arch, classes, channels).state_dict()


def tensors(arch: str, classes: int, channels: int) -> dict[str, shapes.Tensor]:
    """What `shapes` says of the network's file; on the meta device no weight is made."""
    with torch.device("meta"):
        held = weights(arch, classes, channels)
    return {name: shapes.Tensor(tuple(value.shape), "Float") for name, value in held.items()}


@pytest.mark.parametrize("arch", SMALL)
def test_every_cifar_network_is_recognised(arch: str, tmp_path: Path) -> None:
    torch.save(weights(arch), tmp_path / "w.pth")
    found = recognise.recognise(shapes.read(tmp_path / "w.pth"))
    assert found is not None
    assert (found.classes, found.channels) == (7, 1)
    residual = arch.replace("plain", "resnet")
    others = (residual.replace("resnet", "plain"), f"{residual}_appended", f"{residual}_averaged")
    expected = (arch,) if arch.endswith("b") else (residual, *others)
    assert found.archs == expected
    assert ("projection" in found.words) is arch.endswith("b")


@pytest.mark.parametrize("arch", models.TORCHVISION)
def test_torchvisions_networks_are_recognised(arch: str) -> None:
    found = recognise.recognise(tensors(arch, 5, 3))
    assert found is not None
    assert (found.archs[0], found.classes, found.channels) == (arch, 5, 3)
    assert all(other.startswith(("resnetaa", "resnetblur")) or other == f"{arch}_v1" for other in found.archs[1:])


def test_how_it_describes_them() -> None:
    def words(arch: str) -> str:
        found = recognise.recognise(tensors(arch, 10, 3))
        assert found is not None
        return found.words

    assert words("cifar_resnet32").startswith("ResNet-32, CIFAR family, option-A shortcuts")
    assert words("cifar_resnet32").endswith("10 classes, 3 channels")
    assert words("wide_resnet50_2").startswith("Wide-ResNet-50, torchvision's family")
    assert words("resnext50_32x4d").startswith("ResNeXt-50 32x4d, torchvision's family")


def changed(**shape: tuple[int, ...]) -> dict[str, shapes.Tensor]:
    held = tensors("resnet18", 5, 3)
    return held | {name.replace("__", "."): shapes.Tensor(value, "Float") for name, value in shape.items()}


def test_an_unknown_network_is_reported_and_not_guessed() -> None:
    other = recognise.recognise(changed(layer3__1__conv2__weight=(256, 256, 5, 5)))
    assert other is not None
    assert other.archs == ()
    words = "of an unknown kind: like resnet18, but layer3.1.conv2.weight is 256×256×5×5, not 256×256×3×3"
    assert words in other.words
    assert recognise.recognise({"features.0.weight": shapes.Tensor((64, 3, 3, 3), "Float")}) is None
    gap = changed()
    del gap["layer3.0.conv1.weight"]
    without = recognise.recognise(gap)
    assert without is not None
    assert without.archs == ()
    assert "not in the blocks of a ResNet (19 convolutions, 20 normalisations)" in without.words


@pytest.mark.parametrize(
    ("arch", "fit", "words"),
    [
        ("resnet18_3x3", ("resnet18_3x3", "resnet18_3x3_maxpool"), "ResNet-18, torchvision's family, a 3×3 stem"),
        ("resnetaa34d", ("resnet34d", "resnetaa34d"), "timm's family, a stem of three convolutions (32, 32, 64), aver"),
        ("resnet18", ("resnet18", "resnetblur18"), "ResNet-18, torchvision's family, 7 classes"),
        ("resnet10t", ("resnet10t",), "ResNet-10, timm's family, a stem of three convolutions (24, 32, 64), averaged"),
        ("seresnet18", ("seresnet18",), "SE-ResNet-18, timm's family"),
        ("ecaresnet26t", ("ecaresnet26t",), "ECA-ResNet-26, timm's family"),
        (
            "cifar_resnet14_w32",
            ("cifar_resnet14_w32", "cifar_plain14_w32", "cifar_resnet14_w32_appended", "cifar_resnet14_w32_averaged"),
            "CIFAR family, 32 channels wide instead",
        ),
    ],
)
def test_where_several_fit_all_are_listed(arch: str, fit: tuple[str, ...], words: str) -> None:
    held = tensors(arch, 7, 1)
    found = recognise.recognise(held)
    assert found is not None
    assert found.archs == fit
    assert words in found.words
    found = recognise.recognise(held, named=fit[-1])
    assert found is not None
    assert found.archs == (fit[-1],)
    wrong = recognise.recognise(held, named="resnet50")
    assert wrong is not None
    assert wrong.archs == fit


def test_a_pruned_network_that_names_itself_is_not_guessed() -> None:
    network = models.build("cifar_resnet8", 7, 3)
    narrow = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    narrow |= {"layer1.0.conv1.weight": (8, 16, 3, 3), "layer1.0.conv2.weight": (16, 8, 3, 3)}
    narrow |= {f"layer1.0.bn1.{each}": (8,) for each in ("weight", "bias", "running_mean", "running_var")}
    held = {name: shapes.Tensor(shape, "Float") for name, shape in narrow.items()}
    unnamed, named = recognise.recognise(held), recognise.recognise(held, named="cifar_plain8")
    assert unnamed is not None
    assert unnamed.archs[:2] == ("cifar_resnet8", "cifar_plain8")
    assert named is not None
    assert named.archs == ("cifar_plain8",)


def parallel(held: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    network = models.build("cifar_resnet8", 7, 1)
    network.load_state_dict(held)
    return torch.nn.DataParallel(network).state_dict()


HALVES = ("half", "bfloat")
WRAPPED: dict[str, Any] = {
    "bare": lambda held: held,
    "state_dict": lambda held: {"state_dict": held, "epoch": 3, "best_acc1": 0.5},
    "model": lambda held: {"model": held, "optimizer": {"state": {}, "param_groups": []}},
    "ema": lambda held: {"ema": held},
    "nested twice": lambda held: {"model": {"state_dict": held}},
    "data parallel": parallel,
    "compiled": lambda held: {f"_orig_mod.{key}": value for key, value in held.items()},
    "lightning": lambda held: {"state_dict": {f"model.{key}": value for key, value in held.items()}, "epoch": 1},
    "ddp compiled": lambda held: {f"module._orig_mod.{key}": value for key, value in held.items()},
    "half": lambda held: {key: value.half() if value.is_floating_point() else value for key, value in held.items()},
    "bfloat": lambda held: {key: v.bfloat16() if v.is_floating_point() else v for key, v in held.items()},
}


@pytest.mark.parametrize("wrap", WRAPPED)
@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_whatever_a_script_wraps_around_them(wrap: str, form: str, tmp_path: Path) -> None:
    held, path = weights(), tmp_path / {"zip": "w.pth", "legacy": "w.th", "safetensors": "w.safetensors"}[form]
    wrapped, near = WRAPPED[wrap](held), 0.01 if wrap in HALVES else 0.0
    if form != "safetensors":
        torch.save(wrapped, path, _use_new_zipfile_serialization=form == "zip")
    elif all(torch.is_tensor(value) for value in wrapped.values()):
        save_file(wrapped, path)
    else:
        pytest.skip("safetensors hold tensors alone")
    found = shapes.read(path)
    assert {name: each.shape for name, each in found.items()} == {n: tuple(v.shape) for n, v in held.items()}
    loaded = checkpoint.read(path)
    assert loaded.keys() == held.keys()
    network = models.build("cifar_resnet8", 7, 1)
    checkpoint.load_into(network, path, "cifar_resnet8")
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, held[key], atol=near, rtol=near)


def averaged() -> tuple[torch.nn.Module, torch.nn.Module]:
    """A network, and torch's average of it and another."""
    torch.manual_seed(0)
    network = models.build("cifar_resnet8", 7, 1)
    average = AveragedModel(network, use_buffers=True)
    for _ in range(2):
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter)
        average.update_parameters(network)
    return network, average


WITH_AVERAGE: dict[str, Any] = {
    "torchvision's": lambda held, ema: {"model": held, "model_ema": ema, "epoch": 3},
    "timm's": lambda held, ema: {"state_dict": held, "state_dict_ema": ema, "epoch": 3},
    "in one": lambda held, ema: {"ema": ema, "model": held},
    "of another name": lambda held, ema: {"ema_model": ema, "net": held},
    "nested": lambda held, ema: {"model": {"state_dict": held, "ema": ema}},
    "among the tensors": lambda held, ema: {
        "state_dict": {
            f"{of}.{key}": value for of, each in (("model", held), ("ema", ema)) for key, value in each.items()
        }
    },
}


@pytest.mark.parametrize("saved_with", WITH_AVERAGE.values(), ids=WITH_AVERAGE)
def test_an_average_of_the_weights_is_another_network(saved_with: Any, tmp_path: Path) -> None:
    network, average = averaged()
    held, ema = network.state_dict(), average.state_dict()
    torch.save(saved_with(held, ema), tmp_path / "w.pth")
    assert set(shapes.look(tmp_path / "w.pth").networks) == {"model", "ema"}
    for which, expected in (("", network), ("model", network), ("ema", average.get_submodule("module"))):
        loaded = models.build("cifar_resnet8", 7, 1)
        checkpoint.load_into(loaded, models.Weights(tmp_path / "w.pth", which), "cifar_resnet8")
        torch.testing.assert_close(loaded.state_dict(), expected.state_dict())
    assert not torch.equal(network.get_parameter("conv1.weight"), average.get_parameter("module.conv1.weight"))


def test_an_average_alone_is_the_network(tmp_path: Path) -> None:
    _, average = averaged()
    for held in (average.state_dict(), {"model_ema": average.state_dict()}):
        torch.save(held, tmp_path / "w.pth")
        assert set(shapes.look(tmp_path / "w.pth").networks) == {"model"}
        loaded = models.build("cifar_resnet8", 7, 1)
        checkpoint.load_into(loaded, tmp_path / "w.pth", "cifar_resnet8")
        torch.testing.assert_close(loaded.state_dict(), average.get_submodule("module").state_dict())
    with pytest.raises(ModelError, match="does not hold averaged weights"):
        checkpoint.read(models.Weights(tmp_path / "w.pth", "ema"))


def test_what_pytorchs_own_example_saves(tmp_path: Path) -> None:
    """Its best accuracy is a tensor next to the weights; the architecture is a word."""
    held = {"epoch": 3, "arch": "cifar_plain8", "state_dict": weights(), "best_acc1": torch.tensor(76.1)}
    torch.save(held, tmp_path / "w.pth")
    found = shapes.look(tmp_path / "w.pth")
    assert found.arch == "cifar_plain8"
    assert found.networks["model"].keys() == weights().keys() == checkpoint.read(tmp_path / "w.pth").keys()


def test_a_dictionary_that_holds_itself(tmp_path: Path) -> None:
    held: dict[str, Any] = {}
    held["model"] = held
    torch.save(held, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="is not a checkpoint"):
        shapes.read(tmp_path / "w.pth")


def test_a_full_disk_leaves_the_old_weights(tmp_path: Path) -> None:
    """The kernel itself refuses the rest of the file, as it does where a disk is full."""
    path = tmp_path / "w.safetensors"
    old, new = models.build("cifar_resnet8", 7, 1), models.build("cifar_resnet20", 7, 1)
    checkpoint.write(old, path, {"arch": "cifar_resnet8"})
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 1000, hard))
    try:
        with pytest.raises(MachineError, match="the disk is full while writing"):
            checkpoint.write(new, path, {"arch": "cifar_resnet20"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    checkpoint.load_into(models.build("cifar_resnet8", 7, 1), path, "cifar_resnet8")


def test_a_parameter_counts_as_a_tensor(tmp_path: Path) -> None:
    torch.save(dict(models.build("cifar_resnet8", 7, 1).named_parameters()), tmp_path / "w.pth")
    assert shapes.read(tmp_path / "w.pth")["conv1.weight"].shape == (16, 1, 3, 3)


def test_what_would_run_code_is_refused_with_what_to_do(tmp_path: Path) -> None:
    torch.save({"state_dict": weights(), "args": collections.ChainMap()}, tmp_path / "w.pth")
    for read in (shapes.read, checkpoint.read):
        with pytest.raises(ModelError, match=r"holds more than weights \(collections\.ChainMap\)") as caught:
            read(tmp_path / "w.pth")
        assert "state_dict()" in caught.value.hint
        assert "torch.load('w.pth', weights_only=False)" in caught.value.hint
    torch.save(models.build("cifar_resnet8", 7, 1), tmp_path / "whole.pth")
    with pytest.raises(ModelError, match=r"edgeresnet\.models\.cifar\.CifarResNet"):
        shapes.read(tmp_path / "whole.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_what_scripts_save_next_to_weights_is_ignored(zipped: bool, tmp_path: Path) -> None:
    """torchvision's and timm's own training scripts save their options so; numpy's number is a best accuracy."""
    notes = {
        "args": argparse.Namespace(lr=0.1, output=tmp_path, since=datetime.datetime.now()),
        "best": np.float64(93.2),
        "confusion": np.eye(3),
        "seen": {1, 2},
        "counted": collections.Counter("ab"),
    }
    saved = weights()
    torch.save({"model": saved, **notes}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    assert shapes.read(tmp_path / "w.pth").keys() == saved.keys()
    torch.testing.assert_close(checkpoint.read(tmp_path / "w.pth"), dict(saved))


def test_a_losss_class_weights_are_no_part_of_the_network(tmp_path: Path) -> None:
    """As a Lightning module saves them where its criterion is a module with weights."""
    saved = weights()
    held = {f"model.{name}": value for name, value in saved.items()} | {"criterion.weight": torch.ones(7)}
    torch.save({"state_dict": held, "pytorch-lightning_version": "2.5.0"}, tmp_path / "w.ckpt")
    found = recognise.recognise(shapes.read(tmp_path / "w.ckpt"))
    assert (found.archs[0], found.around) == ("cifar_resnet8", "")  # type: ignore[union-attr]
    assert checkpoint.read(tmp_path / "w.ckpt").keys() == saved.keys()


def test_weights_under_a_strange_word_are_reported(tmp_path: Path) -> None:
    torch.save({"student": weights(), "teacher": weights(), "epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="holds tensors under student, teacher") as caught:
        shapes.read(tmp_path / "w.pth")
    assert "torch.load('w.pth')['student']" in caught.value.hint


def test_a_plain_pickle_is_converted_with_pickle(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(pickle.dumps(weights()))
    with pytest.raises(ModelError, match="would run code") as caught:
        shapes.read(tmp_path / "w.pth")
    assert "pickle.load(open('w.pth', 'rb'))" in caught.value.hint


def test_a_pickle_that_runs_code_does_not_run_it(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"state_dict": Evil()}, tmp_path / "new.pth")
    torch.save({"state_dict": Evil()}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Evil()))
    for name in ("new.pth", "old.pth", "plain.pth"):
        for read in (shapes.read, checkpoint.read):
            with pytest.raises(ModelError, match="would run code") as caught:
                read(tmp_path / name)
            assert "weights_only" not in caught.value.message
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"<!DOCTYPE html><html>not found</html>", "is an HTML page, not a checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "is a pointer of Git LFS"),
        (b'{"message": "Not Found"}', "is not a checkpoint, or is incomplete: it is not in the format of torch.save"),
        (b"", "is empty"),
        (b"\x80\x02K\x01.", "is not a checkpoint, or is incomplete: it is not in the format of torch.save"),
        (
            b"PK\x03\x04cut",
            "is not a checkpoint, or is incomplete: it begins as an archive, but the end of the archive is missing",
        ),
    ],
)
def test_what_is_not_a_checkpoint_is_refused(data: bytes, expected: str, tmp_path: Path) -> None:
    for name, words in (("w.pth", f"w\\.pth {expected}"), ("w.safetensors", r"w\.safetensors is ")):
        (tmp_path / name).write_bytes(data)
        for read in (shapes.read, checkpoint.read):
            with pytest.raises(ModelError, match=words):
                read(tmp_path / name)


def test_an_incomplete_file_is_refused(tmp_path: Path) -> None:
    for form in ("zip", "legacy", "safetensors"):
        path = tmp_path / ("w.safetensors" if form == "safetensors" else f"{form}.pth")
        if form == "safetensors":
            save_file(weights(), path)
        else:
            torch.save(weights(), path, _use_new_zipfile_serialization=form == "zip")
        data = path.read_bytes()
        for part in range(1, 10):
            path.write_bytes(data[: len(data) * part // 10])
            for read in (shapes.read, checkpoint.read):
                with pytest.raises(ModelError, match="is incomplete" if form == "zip" else None):
                    read(path)


def test_a_torchscript_archive_holds_code(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "w.pt"))
    with pytest.raises(ModelError, match="is a TorchScript archive, which holds code"):
        shapes.read(tmp_path / "w.pt")


def test_reading_names_and_shapes_loads_no_torch(tmp_path: Path) -> None:
    torch.save(weights(), tmp_path / "w.pth")
    code = (
        "import sys; from pathlib import Path; from edgeresnet.models import recognise, shapes; "
        "print(recognise.recognise(shapes.read(Path('w.pth'))).archs[0], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["cifar_resnet8", "False"]
