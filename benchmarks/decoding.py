"""How fast images become a network's input, against torchvision's own way, and what a long list costs in memory.

    python benchmarks/decoding.py speed [--data FOLDER_OF_CLASS_FOLDERS]
    python benchmarks/decoding.py memory

speed: ours is the stream that evaluation reads (decoded, resized to 256, cropped to 224, normalised, in batches of
64); theirs is a DataLoader with two workers over ImageFolder with Resize(256), CenterCrop(224), ToTensor, Normalize,
started again each time as ours is. They take turns; the ratio is of each pair, and pixels are compared, in parts of the
full range. Without --data, JPEGs of 500×375 with the detail of photographs are made.

memory: the peak of a process that opens a list of 100,000 images and streams some of them, against one that opens a
list of as many images as are streamed. Each in a process of its own, in turn.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from edgeresnet import images, recipe
from edgeresnet.portable import machine
from edgeresnet.store import Store

MEAN, STD, BATCH, CLASSES = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], 64, 10


def main() -> None:
    args = _arguments()
    if args.what == "one":
        _one(Path(args.list), args.batches)
        return
    with tempfile.TemporaryDirectory() as folder:
        if args.what == "speed":
            _speed(args.data or _photographs(Path(folder), args.count), args.rounds)
        else:
            _memory(Path(folder), args.listed, args.rounds)


def _recipe(evaluation: Path) -> recipe.Recipe:
    return recipe.parse(
        {
            "version": 1,
            "model": {"arch": "resnet18", "checkpoint": "none"},
            "preprocessing": {"size": 224, "resize": 256, "mean": MEAN, "std": STD},
            "images": {"evaluation": str(evaluation)},
        }
    )


def _ours(wanted: recipe.Recipe) -> Iterator[np.ndarray]:
    samples = images.open_samples(wanted, "evaluation", None)
    for batch in samples.batches(BATCH):
        yield samples.preprocessing.normalize(batch.pixels)


def _theirs(folder: Path) -> Iterator[np.ndarray]:
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    data = datasets.ImageFolder(str(folder), transforms.Compose(steps))
    for pixels, _ in DataLoader(data, BATCH, num_workers=2):
        yield pixels.numpy()


def _speed(folder: Path, rounds: int) -> None:
    import torch

    torch.set_num_threads(machine.cores())
    wanted = _recipe(folder)
    largest, count = _compared(wanted, folder)
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for number in range(rounds):
        sides: list[tuple[str, Callable[[], Iterator[np.ndarray]]]] = [
            ("ours", lambda: _ours(wanted)),
            ("theirs", lambda: _theirs(folder)),
        ]
        for name, side in sides if number % 2 else reversed(sides):
            seconds[name].append(_timed(side))
    for name, values in seconds.items():
        print(f"{name:7} {count / statistics.median(values):7.0f} images/s, median of {rounds}")
    ratios = [theirs / ours for ours, theirs in zip(seconds["ours"], seconds["theirs"], strict=True)]
    spread = f"{min(ratios):.2f} to {max(ratios):.2f} over {rounds} rounds"
    print(f"ours compared with theirs: {statistics.median(ratios):.2f} times as fast ({spread}); goal 1.00")
    print(f"largest difference of a pixel: {largest:.2g} of the full range; goal {1 / 255:.2g}")


def _compared(wanted: recipe.Recipe, folder: Path) -> tuple[float, int]:
    """Compare all images, which also warms the disk's cache; the normalisation is undone first."""
    largest, count = 0.0, 0
    for ours, theirs in zip(_ours(wanted), _theirs(folder), strict=True):
        apart = np.abs(ours - theirs) * np.asarray(STD, np.float32)[:, None, None]
        largest, count = max(largest, float(apart.max())), count + len(ours)
    return largest, count


def _timed(side: Callable[[], Iterator[np.ndarray]]) -> float:
    began = time.perf_counter()
    for batch in side():
        assert batch.shape[1:] == (3, 224, 224)
    return time.perf_counter() - began


def _photographs(folder: Path, count: int) -> Path:
    """Make noise at every scale, as photographs have it: the JPEGs are as large as those of photographs."""
    rng = np.random.default_rng(0)
    for number in range(count):
        path = folder / "photographs" / f"class{number % CLASSES}" / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((375, 500, 3), 128.0)
        for scale in (2, 4, 8, 16, 32, 64, 128):
            small = Image.fromarray(rng.integers(0, 256, (375 // scale + 2, 500 // scale + 2, 3), np.uint8))
            layer = np.asarray(small.resize((500, 375), Image.Resampling.BICUBIC), np.float64) - 128
            pixels += layer * scale**0.6 / 16
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return folder / "photographs"


def _memory(folder: Path, listed: int, rounds: int) -> None:
    files = folder / "files"
    files.mkdir()
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
    picture.save(folder / "one.jpg")
    data = (folder / "one.jpg").read_bytes()
    names = [f"files/{number % 1000:04}/photograph-{number:06}.jpg" for number in range(listed)]
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data + number.to_bytes(8, "little"))  # behind the picture's end: each is another file
    for count in (listed, BATCH):
        with open(folder / f"{count}.csv", "w", newline="") as file:
            csv.writer(file).writerows((name, f"class{number % CLASSES}") for number, name in enumerate(names[:count]))
    for batches in (0, 1):
        peaks: dict[int, list[float]] = {listed: [], BATCH: []}
        for _ in range(rounds):
            for count, found in peaks.items():
                found.append(_peak(folder / f"{count}.csv", batches))
        above = [many - few for many, few in zip(peaks[listed], peaks[BATCH], strict=True)]
        spread = f"{min(above):.0f} to {max(above):.0f} over {rounds} rounds"
        streamed = f"{BATCH} images streamed" if batches else "nothing streamed"
        print(
            f"{listed} listed images, {streamed}: {statistics.median(above):.0f} MB above {BATCH} ({spread}); goal 200"
        )


def _peak(path: Path, batches: int) -> float:
    command = [sys.executable, __file__, "one", "--list", str(path), "--batches", str(batches)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _one(path: Path, batches: int) -> None:
    """Do with a list what planning does, and the beginning of what evaluation does, in a fresh store."""
    with tempfile.TemporaryDirectory() as folder:
        samples = images.open_samples(_recipe(path), "evaluation", Store.open(Path(folder)))
        assert samples.digest
        for batch in itertools.islice(samples.batches(BATCH), batches):
            assert batch.pixels.shape == (BATCH, 224, 224, 3)
        print(machine.peak_memory_mb())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "memory", "one"], help="one: a process of `memory`")
    parser.add_argument("--data", type=Path, help="speed: a folder of class folders; made by default")
    parser.add_argument("--count", type=int, default=1000, help="speed: number of images to make")
    parser.add_argument("--listed", type=int, default=100_000, help="memory: number of images to list")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--list", help=argparse.SUPPRESS)
    parser.add_argument("--batches", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
