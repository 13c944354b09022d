"""Checkpoints as training scripts leave them: read without torch, recognised by their tensors, refused where they would
run code. Each file is written by its real producer.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from edgeresnet import models
from edgeresnet.errors import ModelError
from edgeresnet.models import checkpoint, recognise, shapes

SMALL = [arch for arch in models.CIFAR if not any(depth in arch for depth in ("56", "110"))]


def weights(arch: str = "cifar_resnet8", classes: int = 7, channels: int = 1) -> dict[str, torch.Tensor]:
    return models.build(arch, classes, channels).state_dict()


@pytest.mark.parametrize("arch", SMALL)
def test_every_cifar_network_is_recognised(arch: str, tmp_path: Path) -> None:
    torch.save(weights(arch), tmp_path / "w.pth")
    found = recognise.recognise(shapes.read(tmp_path / "w.pth"))
    assert found is not None
    assert (found.classes, found.channels) == (7, 1)
    twin = arch.replace("plain", "resnet")
    expected = (arch,) if arch.endswith("b") else (twin, twin.replace("resnet", "plain"))
    assert found.archs == expected
    assert ("projection" in found.words) is arch.endswith("b")


@pytest.mark.parametrize("arch", [arch for arch in models.TORCHVISION if "101" not in arch and "152" not in arch])
def test_torchvisions_networks_are_recognised(arch: str) -> None:
    held = {name: shapes.Tensor(tuple(value.shape), "Float") for name, value in weights(arch, 5, 3).items()}
    found = recognise.recognise(held)
    assert found is not None
    assert (found.archs, found.classes, found.channels) == ((arch,), 5, 3)


@pytest.mark.slow
@pytest.mark.parametrize("arch", [arch for arch in models.TORCHVISION if "101" in arch or "152" in arch])
def test_torchvisions_large_networks_are_recognised(arch: str) -> None:
    test_torchvisions_networks_are_recognised(arch)


def test_what_it_says_of_them() -> None:
    def words(arch: str) -> str:
        held = {name: shapes.Tensor(tuple(value.shape), "Float") for name, value in weights(arch, 10, 3).items()}
        found = recognise.recognise(held)
        assert found is not None
        return found.words

    assert words("cifar_resnet32").startswith("ResNet-32, CIFAR family, option-A shortcuts")
    assert words("cifar_resnet32").endswith("10 classes, 3 channels")
    assert words("wide_resnet50_2").startswith("Wide-ResNet-50, torchvision's family")
    assert words("resnext50_32x4d").startswith("ResNeXt-50 32x4d, torchvision's family")


def changed(**shape: tuple[int, ...]) -> dict[str, shapes.Tensor]:
    held = {name: shapes.Tensor(tuple(value.shape), "Float") for name, value in weights("resnet18", 5, 3).items()}
    return held | {name.replace("__", "."): shapes.Tensor(value, "Float") for name, value in shape.items()}


def test_what_is_no_network_of_ours_is_told_and_not_guessed() -> None:
    stem = recognise.recognise(changed(conv1__weight=(64, 3, 3, 3)))
    assert stem is not None
    assert stem.archs == ()
    assert "of a kind of its own" in stem.words
    assert recognise.recognise({"features.0.weight": shapes.Tensor((64, 3, 3, 3), "Float")}) is None
    gap = changed()
    del gap["layer3.0.conv1.weight"]
    assert recognise.recognise(gap) is None


WRAPPED: dict[str, Any] = {
    "bare": lambda held: held,
    "state_dict": lambda held: {"state_dict": held, "epoch": 3, "best_acc1": 0.5},
    "model": lambda held: {"model": held, "optimizer": {"state": {}, "param_groups": []}},
    "ema": lambda held: {"ema": held},
    "nested twice": lambda held: {"model": {"state_dict": held}},
    "data parallel": lambda held: {f"module.{key}": value for key, value in held.items()},
    "compiled": lambda held: {f"_orig_mod.{key}": value for key, value in held.items()},
    "lightning": lambda held: {"state_dict": {f"model.{key}": value for key, value in held.items()}, "epoch": 1},
    "ddp compiled": lambda held: {f"module._orig_mod.{key}": value for key, value in held.items()},
    "half": lambda held: {key: value.half() if value.is_floating_point() else value for key, value in held.items()},
    "bfloat": lambda held: {
        key: value.bfloat16() if value.is_floating_point() else value for key, value in held.items()
    },
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_whatever_a_script_wraps_around_them(wrap: Any, form: str, tmp_path: Path) -> None:
    held, path = weights(), tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    wrapped = wrap(held)
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
        torch.testing.assert_close(value, held[key], atol=0.01, rtol=0.01)


def test_a_parameter_counts_as_a_tensor(tmp_path: Path) -> None:
    torch.save(dict(models.build("cifar_resnet8", 7, 1).named_parameters()), tmp_path / "w.pth")
    assert shapes.read(tmp_path / "w.pth")["conv1.weight"].shape == (16, 1, 3, 3)


def test_what_would_run_code_is_refused_with_what_to_do(tmp_path: Path) -> None:
    torch.save({"state_dict": weights(), "args": argparse.Namespace(lr=0.1)}, tmp_path / "w.pth")
    for read in (shapes.read, checkpoint.read):
        with pytest.raises(ModelError, match=r"holds more than weights \(argparse\.Namespace\)") as caught:
            read(tmp_path / "w.pth")
        assert "state_dict()" in caught.value.hint
    torch.save(models.build("cifar_resnet8", 7, 1), tmp_path / "whole.pth")
    with pytest.raises(ModelError, match=r"edgeresnet\.models\.cifar\.CifarResNet"):
        shapes.read(tmp_path / "whole.pth")


def test_a_pickle_that_runs_code_does_not_run_it(tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    (tmp_path / "w.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ModelError, match="would run code"):
        shapes.read(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"<!DOCTYPE html><html>not found</html>", "is an HTML page, not a checkpoint"),
        (b"", "is no checkpoint, or is cut short"),
        (b"\x80\x02K\x01.", "its bytes are not what torch saves"),
        (b"PK\x03\x04cut", "is no checkpoint, or is cut short"),
    ],
)
def test_what_is_no_checkpoint_is_told(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(data)
    for read in (shapes.read, checkpoint.read):
        with pytest.raises(ModelError, match=said):
            read(tmp_path / "w.pth")


def test_a_file_cut_anywhere_is_told(tmp_path: Path) -> None:
    for form in ("zip", "legacy", "safetensors"):
        path = tmp_path / ("w.safetensors" if form == "safetensors" else f"{form}.pth")
        if form == "safetensors":
            save_file(weights(), path)
        else:
            torch.save(weights(), path, _use_new_zipfile_serialization=form == "zip")
        data = path.read_bytes()
        for part in range(1, 10):
            path.write_bytes(data[: len(data) * part // 10])
            with pytest.raises(ModelError):
                checkpoint.read(path)


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
