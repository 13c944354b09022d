"""What commands take from a network's own file or its publisher's record, and report that they took."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from edgeresnet import models

from ..models.networks import hub
from .conftest import Command, expect, out_of, refused


@pytest.mark.slow
def test_a_command_takes_it_and_reports_that(command: Command, colours: Callable[[str], Path], tmp_path: Path) -> None:
    path = hub(tmp_path / "hub", data={"input_size": (3, 64, 64), "crop_pct": 0.9})
    code, _, err = command(
        "export", path, "--evaluation", colours("a"), "--output", "n.onnx", "--save-recipe", "r.yaml"
    )
    assert code == 0, err
    assert f"taken from timm's record {path.parent}/config.json: arch resnet10t, size 64, resize 71" in err
    written = (tmp_path / "r.yaml").read_text()
    assert "arch: resnet10t" in written
    assert "interpolation: bicubic" in written
    _, out, _ = command("inspect", path)
    assert "wants size 64, resize 71, interpolation bicubic" in " ".join(out.split())
    _, err = expect(0, command("init", "mine.yaml", "--checkpoint", path, "--evaluation", colours("a"), "--size", 32))
    assert "resize" not in err, "that belongs to the other size"
    assert "size: 32, interpolation: bicubic, mean: [0.485, 0.456, 0.406]" in (tmp_path / "mine.yaml").read_text()


def test_a_command_that_finds_no_record_lists_what_to_give(command: Command, tmp_path: Path) -> None:
    torch.save(models.build("resnet18", 3, 3).state_dict(), tmp_path / "resnet18-01234567.pth")
    words = ("resnet18-01234567.pth", "--evaluation", "nowhere", "--output", "n.onnx")
    err = refused(command("export", *words))
    assert "needs --size, --mean, --std too" in err
    assert "name is that of a published file" in err
    hub(tmp_path / "hub", data={"crop_mode": "border"})
    _, err = expect(2, command("export", "hub/model.safetensors", *words[1:]))
    assert "needs --size, --mean, --std too" in err
    assert "timm's record hub/config.json does not help: its crop is 'border'" in err


def test_an_average_next_to_the_weights_is_reported(command: Command, tmp_path: Path) -> None:
    network = models.build("cifar_resnet8", 4, 1)
    torch.save({"model": network.state_dict(), "model_ema": AveragedModel(network).state_dict()}, tmp_path / "w.pth")
    out, _ = expect(0, command("inspect", "w.pth"))
    assert "`model.weights: ema` uses instead" in " ".join(out.split())


def test_where_several_networks_fit_all_are_named(command: Command, tmp_path: Path) -> None:
    torch.save(models.build("resnet50", 4, 3).state_dict(), tmp_path / "w.pth")
    said = out_of(0, command("inspect", "w.pth"))
    assert "--arch resnet50; resnetaa50, resnetblur50, resnet50_v1 fit as well" in said
    torch.save({"arch": "resnetaa50", "state_dict": models.build("resnetaa50", 4, 3).state_dict()}, tmp_path / "w.pth")
    assert "--arch resnetaa50 (the file names it itself)" in command("inspect", "w.pth")[1]
