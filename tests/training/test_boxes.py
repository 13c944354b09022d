"""A network that finds boxes learns, is pruned, recovers, and gets a new head."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from edgeresnet import images, models, recipe
from edgeresnet.context import Context
from edgeresnet.errors import ModelError
from edgeresnet.images import Samples
from edgeresnet.models import anchors, checkpoint, recognise, shapes
from edgeresnet.notes import TrainNotes
from edgeresnet.portable.tasks.detector import Detector
from edgeresnet.pruning import units
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


OWN = """
import torch
from torch import nn
from torchvision.models.resnet import resnet18
from torchvision.models.detection import RetinaNet, anchor_utils, backbone_utils


def whole(classes):
    backbone = backbone_utils._resnet_fpn_extractor(resnet18(norm_layer=nn.BatchNorm2d), 5, returned_layers=[3, 4])
    sizes = ((16,), (32,), (64,))
    return RetinaNet(backbone, classes, anchor_generator=anchor_utils.AnchorGenerator(sizes, ((1.0,),) * 3))


class Plain(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body, self.numbers = nn.Conv2d(1, 8, 3, 2, 1), nn.Conv2d(8, classes + 4, 1)

    def forward(self, x):
        return self.numbers(self.body(x)).flatten(2).transpose(1, 2)
"""


def test_a_detector_that_hides_its_channels_is_not_pruned(samples: Samples, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    arch = f"{tmp_path / 'own.py'}:Plain"
    save_file(models.build(arch, 10, 1).state_dict(), tmp_path / "w.safetensors")
    detector = Detector(SIDE, 10, grids=(16,), sizes=((8.0,),), ratios=(1.0,))
    about = Architecture(arch, 10, 1, task="detection", detector=detector)
    spec = PruneSpec(about, Prune(macs=0.6), 4, samples.preprocessing, seed=0)
    with pytest.raises(ModelError, match="cannot be pruned: how it joins"):
        prune(PruneInputs(Given("d", tmp_path / "w.safetensors")), spec, tmp_path, Context(0, tmp_path))


def test_the_channels_of_a_retinanet_that_a_function_returns_are_seen(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    network = models.build(f"{tmp_path / 'own.py'}:whole", 10, 3)
    assert units.shows_channels(network)
    ends = {pool.title for pool in units.of(network, 3, 64).pools if not pool.may_be_cut}
    assert ends == {HEAD.removesuffix("."), "head.regression_head.bbox_reg"}
