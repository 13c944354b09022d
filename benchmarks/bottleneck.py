"""Networks of bottleneck blocks that are trained here, to compare quantizers on.

    bottleneck      as in ResNet-50: widths 16, 32 and 64 (64, 128 and 256 outputs), six blocks, 32 pixels
    preactivation   BN and ReLU before each convolution: widths 12, 24 and 48, nine blocks, 32 pixels
    squeeze         squeeze-and-excitation: widths 24, 48 and 96, six blocks, a max-pool, 64 pixels (images enlarged)

Each learns from the first 70 % of each class of the training images. The rest is for evaluation: nothing has seen it.

    python benchmarks/bottleneck.py --kind squeeze --data DIR --output FILE.safetensors
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _blocks
import numpy as np
import torch
from _blocks import KINDS, Net
from _case import preprocessing
from torch import nn

from edgeresnet import images, recipe
from edgeresnet.context import Context
from edgeresnet.images import Samples
from edgeresnet.models import checkpoint
from edgeresnet.stages import train
from edgeresnet.stages.specs import Architecture, TrainInputs, TrainSpec
from edgeresnet.store import Given

# Factories in user code, as a recipe names them from this folder.
ARCH = {
    "bottleneck": "bottleneck:make",
    "preactivation": "bottleneck:make_preactivation",
    "squeeze": "bottleneck:make_squeeze",
}
LEARNED = 0.7  # of each class, in the order of file names
SEED = 0
PLAN: dict[str, Any] = {
    "rate": 0.1,
    "optimizer": "sgd",
    "schedule": "one-cycle",
    "augment": {"flip": True, "shift": 4},
}


def make(classes: int, channels: int) -> nn.Module:
    return _blocks.learning("bottleneck", classes, channels)


def make_preactivation(classes: int, channels: int) -> nn.Module:
    return _blocks.learning("preactivation", classes, channels)


def make_squeeze(classes: int, channels: int) -> nn.Module:
    return _blocks.learning("squeeze", classes, channels)


def load(kind: str, weights: Path) -> nn.Module:
    network = Net(KINDS[kind], classes=10, channels=3)
    checkpoint.load_into(network, weights, ARCH[kind])
    return network.eval()


def halves(data: Path, size: int = 32) -> tuple[Samples, Samples]:
    """Return (to learn from, held out), by the order of file names, class by class."""
    samples = images.open_samples(of_folder(data / "train", size=size), "training")
    learned: list[int] = []
    for label in range(len(samples.classes)):
        mine = sorted(np.flatnonzero(samples.labels == label).tolist(), key=samples.name)
        learned += mine[: round(LEARNED * len(mine))]
    rest = sorted(set(range(len(samples))) - set(learned))
    learning, held_out = samples.subset(sorted(learned)), samples.subset(rest)
    images.check_disjoint(held_out, learning, ("held-out", "learned"))
    return learning, held_out


def of_folder(folder: Path, slot: str = "training", size: int = 32, **more: object) -> recipe.Recipe:
    """Return a recipe that opens a folder as the published CIFAR networks want their images, enlarged to `size`."""
    return recipe.parse(
        {
            "version": 1,
            "model": {"arch": "cifar_resnet20", "classes": 10, "checkpoint": "none"},
            "preprocessing": preprocessing(size).to_json(),
            "images": {
                "evaluation": {"from": str(folder)},
                slot: {"from": str(folder), **more},
            },
        }
    )


def train_to(kind: str, data: Path, output: Path) -> None:
    """Train one kind of network, write its weights, and print its accuracy on the rest of the images."""
    began, about = time.perf_counter(), KINDS[kind]
    learning, held_out = halves(data, about.size)
    plan = recipe.Train(**PLAN, epochs=about.epochs)

    def progress(done: int, total: int, word: str) -> None:
        if done % (total // about.epochs) == 0:
            print(f"{word}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as name:
        out, scratch = Path(name, "out"), Path(name, "scratch")
        out.mkdir()
        scratch.mkdir()
        spec = TrainSpec(Architecture(ARCH[kind], classes=10, channels=3), plan, SEED)
        context = Context(SEED, scratch, progress)
        notes = train.train(TrainInputs(Given(learning.digest, learning)), spec, out, context)
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes((out / checkpoint.FILE).read_bytes())
    seconds = time.perf_counter() - began
    top1 = _top1(load(kind, output), held_out)
    print(f"{kind}: {seconds:.0f} s on {len(learning)} images; best epoch {notes.best_epoch}; held out {top1:.2f} %")


def _top1(network: nn.Module, samples: Samples) -> float:
    correct = 0
    with torch.no_grad():
        for batch in samples.batches(256):
            answer = network(torch.from_numpy(samples.preprocessing.normalize(batch.pixels)))
            correct += int((answer.argmax(1).numpy() == batch.labels).sum())
    return 100 * correct / len(samples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=list(KINDS), default="bottleneck")
    parser.add_argument("--data", type=Path, required=True, help="holds `train`, a folder of class folders")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    train_to(args.kind, args.data, args.output)


if __name__ == "__main__":
    main()
