"""A network that finds boxes learns, is pruned, recovers, and gets a new head."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from edgeresnet import images, models, recipe
from edgeresnet.context import Context
from edgeresnet.images import Samples
from edgeresnet.models import anchors, checkpoint, recognise, shapes
from edgeresnet.notes import TrainNotes
from edgeresnet.recipe import Prune, Recover, Train
from edgeresnet.stages import recover
from edgeresnet.stages.prune import prune
from edgeresnet.stages.specs import (
    Architecture,
    PruneInputs,
    PruneSpec,
    RecoverInputs,
    RecoverSpec,
    TrainInputs,
    TrainSpec,
)
from edgeresnet.stages.train import train
from edgeresnet.store import Given
from edgeresnet.training import batches
from edgeresnet.training.batches import Split

ARCH, SIDE = "retinanet_cifar_resnet8_w8", 32
HEAD = "head.classification_head.cls_logits."


def network_of(classes: int) -> Architecture:
    return Architecture(ARCH, classes, 1, task="detection", detector=anchors.of(ARCH, SIDE, classes))


NETWORK = network_of(10)
LEARNING = {"batch": 8, "rate": 0.01, "precision": "f32", "validation": 0.25, "augment": {"flip": True, "shift": 3}}


@pytest.fixture(scope="module")
def samples() -> Samples:
    wanted = recipe.parse(
        {
            "version": 1,
            "task": "detection",
            "model": {"arch": ARCH, "classes": 10},
            "preprocessing": {"size": SIDE, "mean": [0.4], "std": [0.25]},
            "images": {"training": {"from": "digits-scenes", "count": 32}},
            "train": {"epochs": 1},
        }
    )
    return images.open_samples(wanted, "training")


@pytest.fixture(scope="module")
def trained(samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainNotes]:
    folder = tmp_path_factory.mktemp("trained")
    spec = TrainSpec(NETWORK, Train(epochs=4, **LEARNING), seed=0)
    notes = train(TrainInputs(Given("x", samples)), spec, folder, Context(0, folder))
    return folder / checkpoint.FILE, notes


def test_it_learns_and_is_validated_by_map(trained: tuple[Path, TrainNotes]) -> None:
    path, notes = trained
    first, last = notes.history[0], notes.history[-1]
    assert last.validation_loss < 0.9 * first.validation_loss
    assert notes.metric == last.metric == "mAP"
    found = recognise.recognise(shapes.read(path))
    assert found is not None
    assert (found.archs, found.classes) == ((ARCH,), 10)


def test_fewer_large_answers_are_given_at_once(samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    split = Split(samples)
    monkeypatch.setattr(batches, "_LOGITS", 3 * NETWORK.learned.numbers(10, SIDE))
    assert split.at_once(256, NETWORK.learned) == 3


def test_a_new_head_starts_from_the_same_network(
    trained: tuple[Path, TrainNotes], samples: Samples, tmp_path: Path
) -> None:
    plan = Train(epochs=1, head="new", freeze=("all-but-head",), **LEARNING)
    inputs = TrainInputs(Given("x", samples), Given("w", trained[0]))
    train(inputs, TrainSpec(network_of(12), plan, seed=0), tmp_path, Context(0, tmp_path))
    before, after = load_file(trained[0]), load_file(tmp_path / checkpoint.FILE)
    assert after[f"{HEAD}weight"].shape[0] == 12 * before[f"{HEAD}weight"].shape[0] // 10
    assert all(torch.equal(before[key], after[key]) for key in before if not key.startswith(HEAD))


def test_it_is_pruned_and_recovers(trained: tuple[Path, TrainNotes], samples: Samples, tmp_path: Path) -> None:
    dense, narrow, out = Given("d", trained[0]), tmp_path / "narrow", tmp_path / "out"
    narrow.mkdir()
    out.mkdir()
    cut = PruneSpec(NETWORK, Prune(macs=0.6, importance="taylor"), 4, samples.preprocessing, seed=0)
    notes = prune(PruneInputs(dense, Given("x", samples)), cut, narrow, Context(0, narrow))
    assert notes.macs[1] <= 0.6 * notes.macs[0]
    weights = sum(each.numel() for name, each in load_file(trained[0]).items() if name.endswith(("weight", "bias")))
    assert notes.params[0] == weights  # each layer once, though the heads serve three levels
    inputs = RecoverInputs(Given("n", narrow / checkpoint.FILE), dense, Given("x", samples))
    found = recover.recover(inputs, RecoverSpec(NETWORK, Recover(epochs=1, **LEARNING), seed=0), out, Context(0, out))
    assert found.metric == "mAP"
    assert found.validation_top1 >= max(found.pruned_top1, found.statistics_top1)
    network = models.build(ARCH, 10, 1)
    checkpoint.load_into(network, out / checkpoint.FILE, ARCH)
    assert NETWORK.learned.fits(tuple(network.eval()(torch.zeros(1, 1, SIDE, SIDE)).shape), 1, 10)
    recognised = recognise.recognise(shapes.read(out / checkpoint.FILE))
    assert recognised is not None
    assert recognised.classes == 10
    other = models.build(ARCH, 12, 1)
    checkpoint.load_into(other, out / checkpoint.FILE, ARCH, but=HEAD)
    assert other.state_dict()[f"{HEAD}bias"].unique().tolist() == [pytest.approx(-math.log(99))]  # objects are few
