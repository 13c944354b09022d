"""Training throughput: edgeresnet's loop against a plain PyTorch loop, epoch by epoch in turn.

Both have the same network, images, batch, optimizer and precision.

    python benchmarks/training.py --data data/train --arch cifar_resnet20 --size 32 --count 5000
    python benchmarks/training.py --arch resnet18 --size 224 --count 128 --batch 16

The plain loop gets its images in two ways: `memory`, decoded and normalised beforehand, all of them in float32
tensors, which is the fastest that a loop can have them; and `loader`, a DataLoader of two workers over torchvision's
ImageFolder, as people write it. Both in channels-last memory, which is what a tuned plain loop has. Without --data the
images are noise, and there is no `loader`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from edgeresnet import images, models, recipe
from edgeresnet.context import Context
from edgeresnet.images import choose
from edgeresnet.portable import machine
from edgeresnet.store import Store
from edgeresnet.training import precision
from edgeresnet.training.batches import Split
from edgeresnet.training.loop import Training

Batches = Iterator[tuple[torch.Tensor, torch.Tensor]]
Epoch = Callable[[int], object]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def main() -> None:
    given = _arguments()
    torch.set_num_threads(machine.cores())
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.data or _noise(Path(scratch) / "noise", given)
        wanted = recipe.parse(
            {
                "version": 1,
                "model": {"arch": given.arch},
                "preprocessing": {"size": given.size, "mean": MEAN, "std": STD},
                "images": {"training": {"from": str(folder), "count": given.count}},
                "train": {"epochs": 1000, "batch": given.batch, "precision": given.precision},
            }
        )
        samples = images.open_samples(wanted, "training", Store.open(Path(scratch) / "store"))
        learning, validation = choose.split(samples, 0.1, 0)
        loops = {"edgeresnet": _ours(wanted, learning, validation, Path(scratch))}
        loops["memory"] = _plain(given, _in_memory(learning, given.batch), len(samples.classes))
        if given.data:
            loops["loader"] = _plain(given, _loader(folder, learning, given), len(samples.classes))
        _measure(loops, len(learning), given.rounds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a folder of class folders")
    parser.add_argument("--arch", default="cifar_resnet20")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--precision", default="f32", choices=("f32", "bf16"))
    return parser.parse_args()


def _ours(wanted: recipe.Recipe, learning: images.Samples, validation: images.Samples, folder: Path) -> Epoch:
    assert wanted.train is not None
    assert wanted.model.arch is not None
    network = models.build(wanted.model.arch, len(learning.classes), 3)
    training = Training(network, wanted.train, Split(learning), Split(validation), Context(0, folder), able=False)
    training.precision, training.learner = wanted.train.precision, network
    return training.learn


def _plain(given: argparse.Namespace, batches: Callable[[int], Batches], classes: int) -> Epoch:
    network = models.build(given.arch, classes, 3).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.001)

    def epoch(number: int) -> None:
        for pixels, labels in batches(number):
            pixels = pixels.contiguous(memory_format=torch.channels_last)
            with precision.autocast(torch.device("cpu"), given.precision):
                loss = torch.nn.functional.cross_entropy(network(pixels), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            loss.item()

    return epoch


def _in_memory(learning: images.Samples, batch: int) -> Callable[[int], Batches]:
    table = learning.table()
    pixels = torch.from_numpy(learning.preprocessing.normalize(table.take(np.arange(len(table)))))
    pixels, labels = pixels.contiguous(memory_format=torch.channels_last), torch.from_numpy(table.labels)

    def batches(number: int) -> Batches:
        order = torch.randperm(len(labels))
        for start in range(0, len(labels), batch):
            rows = order[start : start + batch]
            yield pixels[rows], labels[rows]

    return batches


def _loader(folder: Path, learning: images.Samples, given: argparse.Namespace) -> Callable[[int], Batches]:
    from torchvision import datasets, transforms

    steps = [transforms.Resize(given.size), transforms.CenterCrop(given.size), transforms.ToTensor()]
    every = datasets.ImageFolder(str(folder), transforms.Compose([*steps, transforms.Normalize(MEAN, STD)]))
    number_of = {str(Path(path).resolve()): index for index, (path, _) in enumerate(every.samples)}
    rows = [number_of[str(Path(str(learning.path(index))).resolve())] for index in range(len(learning))]
    loader = torch.utils.data.DataLoader(
        torch.utils.data.Subset(every, rows), given.batch, shuffle=True, num_workers=2, persistent_workers=True
    )
    return lambda number: iter(loader)


def _measure(loops: dict[str, Epoch], count: int, rounds: int) -> None:
    rates: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(1 + rounds):
        for name, epoch in loops.items():
            began = time.perf_counter()
            epoch(number + 1)
            if number:  # the first finds kernels, memory and workers
                rates[name].append(count / (time.perf_counter() - began))
    for name, found in rates.items():
        ratios = [ours / theirs for ours, theirs in zip(rates["edgeresnet"], found, strict=True)]
        against = "" if name == "edgeresnet" else f"; edgeresnet {statistics.median(ratios):.3f} times, "
        against += "" if name == "edgeresnet" else f"single rounds {min(ratios):.3f} to {max(ratios):.3f}"
        print(f"{name:12} {statistics.median(found):8.1f} images/s{against}")


def _noise(root: Path, given: argparse.Namespace) -> Path:
    rng = np.random.default_rng(0)
    for index in range(given.count):
        folder = root / str(index % 10)
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (given.size, given.size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png", compress_level=1)
    return root


if __name__ == "__main__":
    main()
