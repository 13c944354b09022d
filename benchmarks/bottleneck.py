"""A CIFAR network of bottleneck blocks, trained here: the one that no quantizer was tuned on.

Three stages of 16, 32 and 64 base channels (64, 128, 256 outputs) after a stem of stride 2, projections with batch
normalisation where a stage begins. It learns from the first 70 % of each class of the training images; the rest is for
evaluation, and nothing has seen it before.

    python benchmarks/bottleneck.py --data DIR --output FILE.safetensors
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from _case import preprocessing
from torch import nn

from edgeresnet import images, recipe
from edgeresnet.context import Context
from edgeresnet.images import Samples
from edgeresnet.models import checkpoint
from edgeresnet.portable import machine
from edgeresnet.stages import train
from edgeresnet.stages.specs import Architecture, TrainInputs, TrainSpec
from edgeresnet.store import Given

ARCH = "bottleneck:make"  # a factory in user code, as a recipe names it from this folder
LEARNED = 0.7  # of each class, in the order of file names
SEED = 0
PLAN: dict[str, Any] = {
    "epochs": 30,
    "rate": 0.1,
    "optimizer": "sgd",
    "schedule": "one-cycle",
    "augment": {"flip": True, "shift": 4},
}
EXPANSION = 4


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        outputs = EXPANSION * width
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


class Net(nn.Module):
    def __init__(self, classes: int, channels: int, blocks: int = 2):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16)
        stages, inputs = [], 16
        for width, stride in ((16, 1), (32, 2), (64, 2)):
            for number in range(blocks):
                stages.append(Bottleneck(inputs, width, stride if number == 0 else 1))
                inputs = EXPANSION * width
        self.stages = nn.Sequential(*stages)
        self.linear = nn.Linear(inputs, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stages(F.relu(self.bn1(self.conv1(x))))
        return self.linear(x.mean((2, 3)))


class Learning(Net):
    """The same while it learns: in BF16 where the CPU has it, which halves the time."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.training and machine.has_bf16()):
            logits = super().forward(x.contiguous(memory_format=torch.channels_last))
        return logits.float()


def make(classes: int, channels: int) -> nn.Module:
    return Learning(classes, channels).to(memory_format=torch.channels_last)


def load(weights: Path) -> nn.Module:
    network = Net(classes=10, channels=3)
    checkpoint.load_into(network, weights, ARCH)
    return network.eval()


def halves(data: Path) -> tuple[Samples, Samples]:
    """Return (to learn from, held out), by the order of file names, class by class."""
    samples = images.open_samples(of_folder(data / "train"), "training")
    learned: list[int] = []
    for label in range(len(samples.classes)):
        mine = sorted(np.flatnonzero(samples.labels == label).tolist(), key=samples.name)
        learned += mine[: round(LEARNED * len(mine))]
    rest = sorted(set(range(len(samples))) - set(learned))
    learning, held_out = samples.subset(sorted(learned)), samples.subset(rest)
    images.check_disjoint(held_out, learning, ("held-out", "learned"))
    return learning, held_out


def of_folder(folder: Path, slot: str = "training", **more: object) -> recipe.Recipe:
    """Return a recipe that opens a folder as the published CIFAR networks want their images."""
    return recipe.parse(
        {
            "version": 1,
            "model": {"arch": "cifar_resnet20", "classes": 10, "checkpoint": "none"},
            "preprocessing": preprocessing(32).to_json(),
            "images": {
                "evaluation": {"from": str(folder)},
                slot: {"from": str(folder), **more},
            },
        }
    )


def train_to(data: Path, output: Path) -> None:
    began = time.perf_counter()
    learning, held_out = halves(data)
    with tempfile.TemporaryDirectory() as name:
        out, scratch = Path(name, "out"), Path(name, "scratch")
        out.mkdir()
        scratch.mkdir()
        spec = TrainSpec(Architecture(ARCH, classes=10, channels=3), recipe.Train(**PLAN), SEED)
        context = Context(SEED, scratch, lambda done, total, word: _print_progress(done, total, word, began))
        notes = train.train(TrainInputs(Given(learning.digest, learning)), spec, out, context)
        output.write_bytes((out / checkpoint.FILE).read_bytes())
    seconds = time.perf_counter() - began
    network = load(output)
    correct = 0
    with torch.no_grad():
        for batch in held_out.batches(256):
            answer = network(torch.from_numpy(held_out.preprocessing.normalize(batch.pixels)))
            correct += int((answer.argmax(1).numpy() == batch.labels).sum())
    top1 = 100 * correct / len(held_out)
    print(f"bottleneck: {seconds:.0f} s on {len(learning)} images; {notes}; held out {top1:.2f} %")


def _print_progress(done: int, total: int, word: str, began: float) -> None:
    if done % (total // PLAN["epochs"]) == 0:
        print(f"{word}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="holds `train`, a folder of class folders")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    train_to(args.data, args.output)


if __name__ == "__main__":
    main()
