"""A network that gives a class to each pixel learns, is pruned, recovers, and gets a new head."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from edgeresnet import images, models, recipe, tasks
from edgeresnet.context import Context
from edgeresnet.images import Samples
from edgeresnet.models import checkpoint, recognise, shapes
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
from edgeresnet.training import batches, process_group
from edgeresnet.training.batches import Split
from edgeresnet.training.loop import validate

NETWORK = Architecture("fcn_cifar_resnet8_w8", 11, 1, task="segmentation")
TASK = tasks.of("segmentation")
LEARNING = {"batch": 8, "rate": 0.01, "precision": "f32", "validation": 0.25, "augment": {"flip": True, "shift": 3}}


@pytest.fixture(scope="module")
def samples() -> Samples:
    wanted = recipe.parse(
        {
            "version": 1,
            "task": "segmentation",
            "model": {"arch": NETWORK.arch, "classes": 11},
            "preprocessing": {"size": 32, "mean": [0.4], "std": [0.25]},
            "images": {"training": {"from": "digits-scenes", "count": 32}},
            "train": {"epochs": 1},
        }
    )
    return images.open_samples(wanted, "training")


@pytest.fixture(scope="module")
def trained(samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainNotes]:
    folder = tmp_path_factory.mktemp("trained")
    spec = TrainSpec(NETWORK, Train(epochs=6, **LEARNING), seed=0)
    notes = train(TrainInputs(Given("x", samples)), spec, folder, Context(0, folder))
    return folder / checkpoint.FILE, notes


def test_it_learns_and_is_validated_by_miou(trained: tuple[Path, TrainNotes]) -> None:
    path, notes = trained
    first, last = notes.history[0], notes.history[-1]
    assert last.validation_loss < 0.6 * first.validation_loss
    assert notes.metric == last.metric == "mIoU"
    assert 0 < notes.validation_top1 < 1
    found = recognise.recognise(shapes.read(path))
    assert found is not None
    assert (found.archs, found.classes) == ((NETWORK.arch,), 11)


def test_fewer_large_maps_are_answered_at_once(samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    split = Split(samples)
    assert split.at_once(256, TASK) == 256
    monkeypatch.setattr(batches, "_LOGITS", 3 * 32 * 32 * 11)
    assert split.at_once(256, TASK) == 3
    network, group = models.build(str(NETWORK.arch), 11, 1), process_group.mine()
    few = validate(network, split, group, TASK)
    monkeypatch.undo()
    assert few == pytest.approx(validate(network, split, group, TASK), rel=1e-4)


def test_a_new_head_starts_from_the_same_body(
    trained: tuple[Path, TrainNotes], samples: Samples, tmp_path: Path
) -> None:
    about = Architecture(NETWORK.arch, 12, 1, task="segmentation")
    plan = Train(epochs=1, head="new", freeze=("all-but-head",), **LEARNING)
    inputs = TrainInputs(Given("x", samples), Given("w", trained[0]))
    train(inputs, TrainSpec(about, plan, seed=0), tmp_path, Context(0, tmp_path))
    before, after = load_file(trained[0]), load_file(tmp_path / checkpoint.FILE)
    assert after["classifier.4.weight"].shape[0] == 12
    same = [key for key in before if not key.startswith("classifier.4")]
    assert all(torch.equal(before[key], after[key]) for key in same)


def test_it_is_pruned_and_recovers(trained: tuple[Path, TrainNotes], samples: Samples, tmp_path: Path) -> None:
    dense, narrow, out = Given("d", trained[0]), tmp_path / "narrow", tmp_path / "out"
    narrow.mkdir()
    out.mkdir()
    cut = PruneSpec(NETWORK, Prune(macs=0.6, importance="taylor"), 8, samples.preprocessing, seed=0)
    notes = prune(PruneInputs(dense, Given("x", samples)), cut, narrow, Context(0, narrow))
    assert notes.macs[1] <= 0.6 * notes.macs[0]
    inputs = RecoverInputs(Given("n", narrow / checkpoint.FILE), dense, Given("x", samples))
    found = recover.recover(inputs, RecoverSpec(NETWORK, Recover(epochs=2, **LEARNING), seed=0), out, Context(0, out))
    assert found.metric == "mIoU"
    assert found.validation_top1 >= max(found.pruned_top1, found.statistics_top1)
    network = models.build(str(NETWORK.arch), 11, 1)
    checkpoint.load_into(network, out / checkpoint.FILE, str(NETWORK.arch))
    assert network.eval()(torch.zeros(1, 1, 32, 32)).shape == (1, 11, 32, 32)
