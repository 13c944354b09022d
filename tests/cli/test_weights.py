"""What doors take from a network's own file or its publisher's record, and say that they took."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch.optim.swa_utils import AveragedModel

from edgeresnet import models

from ..models.networks import hub
from .conftest import Door, left, out_of, refused


def test_a_door_takes_it_and_says_so(door: Door, colours: Callable[[str], Path], tmp_path: Path) -> None:
    path = hub(tmp_path / "hub", data={"input_size": (3, 64, 64), "crop_pct": 0.9})
    code, _, err = door("export", path, "--evaluation", colours("a"), "--output", "n.onnx", "--save-recipe", "r.yaml")
    assert code == 0, err
    assert f"taken from timm's record {path.parent}/config.json: arch resnet10t, size 64, resize 71" in err
    written = (tmp_path / "r.yaml").read_text()
    assert "arch: resnet10t" in written
    assert "interpolation: bicubic" in written
    _, out, _ = door("inspect", path)
    assert "wants size 64, resize 71, interpolation bicubic" in " ".join(out.split())
    _, err = left(0, door("init", "mine.yaml", "--checkpoint", path, "--evaluation", colours("a"), "--size", 32))
    assert "resize" not in err, "that belongs to the other size"
    assert "size: 32, interpolation: bicubic, mean: [0.485, 0.456, 0.406]" in (tmp_path / "mine.yaml").read_text()


def test_a_door_that_finds_no_record_says_what_to_give(door: Door, tmp_path: Path) -> None:
    torch.save(models.build("resnet18", 3, 3).state_dict(), tmp_path / "resnet18-01234567.pth")
    said = ("resnet18-01234567.pth", "--evaluation", "nowhere", "--output", "n.onnx")
    err = refused(door("export", *said))
    assert "needs --size, --mean, --std too" in err
    assert "is called like a published file" in err
    hub(tmp_path / "hub", data={"crop_mode": "border"})
    _, err = left(2, door("export", "hub/model.safetensors", *said[1:]))
    assert "needs --size, --mean, --std too" in err
    assert "timm's record hub/config.json is no help: its crop is 'border'" in err


def test_an_average_beside_the_weights_is_told(door: Door, tmp_path: Path) -> None:
    network = models.build("cifar_resnet8", 4, 1)
    torch.save({"model": network.state_dict(), "model_ema": AveragedModel(network).state_dict()}, tmp_path / "w.pth")
    out, _ = left(0, door("inspect", "w.pth"))
    assert "an average of these weights (EMA) lies beside them: `model.weights: ema` takes it" in " ".join(out.split())


def test_where_several_networks_fit_all_are_named(door: Door, tmp_path: Path) -> None:
    torch.save(models.build("resnet50", 4, 3).state_dict(), tmp_path / "w.pth")
    assert "--arch resnet50; resnetaa50, resnetblur50 fit as well" in out_of(0, door("inspect", "w.pth"))
    torch.save({"arch": "resnetaa50", "state_dict": models.build("resnetaa50", 4, 3).state_dict()}, tmp_path / "w.pth")
    assert "--arch resnetaa50 (the file says so itself)" in door("inspect", "w.pth")[1]
