"""Several processes that train as one. Real ones, started by torchrun, over gloo."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from edgeresnet.errors import EdgeresnetError
from edgeresnet.training import process_group

from ..cli.conftest import silently

OPTIONS = ["--size", "8", "--mean", "0.3", "--std", "0.4", "--training", "digits", "--epochs", "2", "--batch", "50"]
OPTIONS += ["--set", "images.training={from: digits, count: 280}", "--optimizer", "sgd", "--flip", "--shift", "1"]
OPTIONS += ["--precision", "f32", "--classes", "10", "--rate", "0.02", "--json", "-q"]


def learned(folder: Path, processes: int) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Train in this process, or in several of torchrun's."""
    given = ["train", "cifar_resnet8", *OPTIONS, "--output", str(folder / "w.safetensors"), "--store"]
    given.append(str(folder / "store"))
    if processes == 1:
        return json.loads(silently(folder, *given)), load_file(folder / "w.safetensors")
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    done = subprocess.run([*start, "-m", "edgeresnet", *given], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), load_file(folder / "w.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_several_learn_what_one_would(processes: int, tmp_path: Path) -> None:
    """252 images in batches of 50: the last has two, so that one of three processes has none of it."""
    for folder in ("one", "more"):
        (tmp_path / folder).mkdir()
    alone, weights = learned(tmp_path / "one", 1)
    notes, together = learned(tmp_path / "more", processes)
    assert notes["processes"] == processes
    for one, other in zip(alone["history"], notes["history"], strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-3)
        assert other["validation_loss"] == pytest.approx(one["validation_loss"], rel=1e-2)
    for name, value in weights.items():
        torch.testing.assert_close(together[name], value, rtol=1e-2, atol=2e-3)
    if processes == 3:
        again, same = learned(tmp_path / "more", processes)  # nothing is left to do: the followers end
        assert again["digest"] == notes["digest"]
        torch.testing.assert_close(same, together, rtol=0, atol=0)


LEFT = """
import os, pathlib, torch
from edgeresnet.training import process_group

with process_group.entered() as mine:
    learner = mine.joined(torch.nn.Linear(3, 2))
    learner(torch.ones(2, 3)).sum().backward()
    del learner
names = [task.joinpath("comm").read_text() for task in pathlib.Path("/proc/self/task").iterdir()]
assert not [name for name in names if "gloo" in name], names
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system does not list a process's threads")
def test_no_thread_of_the_group_outlives_it(tmp_path: Path) -> None:
    """Such a thread made a process abort at its exit, once in some hundred runs."""
    (tmp_path / "left.py").write_text(LEFT)
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*start, str(tmp_path / "left.py")], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_every_image_belongs_to_one_process() -> None:
    for size in (1, 2, 3, 5):
        found: list[int] = []
        for rank in range(size):
            one = process_group.mine()
            one.rank, one.size = rank, size
            found += range(7)[one.part(7)]
        assert found == list(range(7))


def test_statistics_of_one_process_are_torchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_group.dist, "all_reduce", lambda value: None)
    images = torch.randn(6, 3, 5, 5) * 2 + 1
    plain, shared = nn.Sequential(nn.BatchNorm2d(3)), nn.Sequential(nn.BatchNorm2d(3))
    process_group._share_statistics(shared)
    inputs = [images.clone().requires_grad_() for _ in range(2)]
    for network, given in zip((plain, shared), inputs, strict=True):
        (network(given) ** 3).sum().backward()
    torch.testing.assert_close(shared.state_dict(), plain.state_dict())
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(shared[0].weight.grad, plain[0].weight.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(shared.eval()(images), plain.eval()(images))


def test_processes_that_do_not_find_one_another_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(EdgeresnetError, match="cannot connect to each other") as caught, process_group.entered():
        pass
    assert "torchrun" in caught.value.hint
