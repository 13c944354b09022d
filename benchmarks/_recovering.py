"""Does a network that was cut know as much as before? ResNet-20 and -32 with published CIFAR-10 weights, recovered.

    dense          the published weights, which never saw JPEG, after `--epochs` on `train`: what all is held against,
                   and what teaches. Epochs are the budget, the same for all: minutes are told.
    dense, twice   the same after twice as many (--twice): what is cut begins from the dense network, and has learned as
                   long in all
    cut 1.5, 2.0   the dense network with so many times fewer multiplications, after as many epochs of recovery
    torch-pruning  its documented global pruner (group norm, L2), and the plain loop of its example (SGD, 0.01, steps),
                   for as many epochs of the same images, mirrored and shifted the same way. What option A's pads add to
                   a stage it takes for what stands at the same number before them, so that its cuts move channels apart
                   that belong together: that is part of what it is here

    python benchmarks/_recovering.py --data DIR

DIR holds `train` and `eval`, folders of class folders, and the weights `resnet20-*.th` and `resnet32-*.th`. The drop is
paired, with its 95 % interval. Milliseconds are OpenVINO's, batch 1, FP32, in one run with the dense network's. *INT8*
is its SQNR against the FP32 network that it was made of, in OpenVINO's form, by OpenVINO on this CPU: the last column
says what pruning first costs. `--store` keeps what was done for the next time; alone on the machine, if times matter.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from edgeresnet import images, models, pipeline, recipe, targets
from edgeresnet.context import Context
from edgeresnet.images import choose
from edgeresnet.models import checkpoint
from edgeresnet.pipeline.measuring import Measuring
from edgeresnet.portable import intervals, judging, machine, timings
from edgeresnet.recipe import Augment, Recipe
from edgeresnet.store import Store
from edgeresnet.training.batches import Moves, Split

NETWORKS = {"resnet20": "resnet20-*.th", "resnet32": "resnet32-*.th"}
LEARNING = {"schedule": "one-cycle", "augment": {"flip": True, "shift": 4}}
# What each learns best with: weights that know nearly all lose it at more, and of a cut network more is to be changed.
DENSE_RATE, CUT_RATE = 0.0003, 0.001
HEADER = (
    f"{'':18} {'MACs':>6} {'params':>6} {'top-1 (95 %)':>22} {'points lost (95 %)':>24} {'min':>5} {'ms':>6} "
    f"{'times':>6} {'INT8 dB':>7} {'lost':>5}"
)


class Row(NamedTuple):
    """One network as the table shows it; what was not measured is None."""

    title: str
    macs: float  # of the dense network's, millions for that itself
    params: float
    right: np.ndarray  # of each evaluation image: yes or no
    minutes: float
    ms: float | None = None
    times: float | None = None
    sqnr_db: float | None = None


def accuracy(asked: argparse.Namespace) -> None:
    """As a part of `pruning.py`, which knows --data alone."""
    main(["--data", str(asked.data), *asked.more])


def main(argv: Sequence[str] | None = None) -> None:
    given = _arguments(argv)
    torch.set_num_threads(machine.cores())
    cpu = machine.describe()["cpu"]
    print(f"{cpu['cores']} cores of {cpu['model']}; {given.epochs} epochs", flush=True)
    with _store(given.store) as store:
        for name in given.network or NETWORKS:
            _compare(name, given, store)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="train, eval and the weights")
    parser.add_argument("--network", action="append", choices=tuple(NETWORKS), help="one of them; both by default")
    parser.add_argument("--fewer", action="append", type=float, help="so many times fewer MACs; 1.5 and 2.0 by default")
    parser.add_argument("--epochs", type=int, default=6, help="of every learning; 6 by default")
    parser.add_argument("--twice", action="store_true", help="show the dense network after twice as many epochs, too")
    parser.add_argument("--count", type=int, help="so many images of each set, for a trial")
    parser.add_argument("--seconds", type=float, default=30, help="of timing, for each network; 30 by default")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE", help="of the recipe")
    parser.add_argument("--without-torch-pruning", action="store_true", help="leave the peer out")
    parser.add_argument("--store", type=Path, help="a folder to keep what was done in; none by default")
    return parser.parse_args(argv)


@contextlib.contextmanager
def _store(kept: Path | None) -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as scratch:
        yield Store.open(kept or Path(scratch) / "store")


def _compare(name: str, given: argparse.Namespace, store: Store) -> None:
    plain = _recipe(name, given, None)
    run = pipeline.run(plain, store)
    step = _step(run, "train")
    dense = _network(name, step["path"])
    samples = {slot: images.open_samples(plain, slot, store) for slot in ("training", "evaluation")}
    macs, params = _size(dense)
    first = _row("dense, MACs in M", macs / 1e6, params / 1e6, step, run, "fp32")
    judged = len(samples["evaluation"])
    print(f"\n{name}: {len(samples['training'])} images, {judged} to judge by\n{HEADER}", flush=True)
    _print(first, first)
    if given.twice:
        longer = pipeline.run(_recipe(name, given, None, times=2), store)
        _print(_row("dense, twice", 1.0, 1.0, _step(longer, "train"), longer, "fp32"), first)
    for fewer in given.fewer or (1.5, 2.0):
        _print(_ours(name, fewer, given, store), first)
        if not given.without_torch_pruning:
            _print(_torch_pruning(dense, fewer, samples, given), first)


def _recipe(name: str, given: argparse.Namespace, fewer: float | None, times: int = 1) -> Recipe:
    weights = next(iter(sorted(given.data.glob(NETWORKS[name]))), None)
    if weights is None:
        raise SystemExit(f"there is no {NETWORKS[name]} in {given.data}")
    learn = {**LEARNING, "epochs": given.epochs}
    count = {"count": given.count} if given.count else {}
    raw: dict[str, Any] = {
        "version": 1,
        "model": {"checkpoint": str(weights), "arch": f"cifar_{name}", "classes": 10},
        "preprocessing": {"size": 32, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        "images": {
            "training": {"from": str(given.data / "train"), **count},
            "evaluation": {"from": str(given.data / "eval"), **count},
            "calibration": {"from": "training", "count": min(512, given.count or 512)},
        },
        "train": {**learn, "epochs": times * given.epochs, "rate": DENSE_RATE},
        "quantize": {"effort": "fast"},
        "verify": {"processes": 3 if given.count else 5, "seconds": given.seconds},
        "targets": {"openvino": {"float_parts": "f32"}},
    }
    if fewer:
        raw |= {"prune": {"macs": 1 / fewer, "multiple": 8}, "recover": {**learn, "rate": CUT_RATE}}
    taken = (each for each in given.changes if fewer or each.split(".")[0] not in ("prune", "recover"))
    recipe.change(raw, tuple(taken))
    return recipe.parse(raw)


def _ours(name: str, fewer: float, given: argparse.Namespace, store: Store) -> Row:
    run = pipeline.run(_recipe(name, given, fewer), store)
    notes = _step(run, "prune")["notes"]
    (whole, macs), (weights, params) = notes["macs"], notes["params"]
    return _row(f"cut {fewer:g}", macs / whole, params / weights, _step(run, "recover"), run, "pruned")


def _row(title: str, macs: float, params: float, learned: dict[str, Any], run: dict[str, Any], variant: str) -> Row:
    result = run["results"]["openvino"]
    found = result["variants"]
    dense, mine = (found[each]["latency"] for each in ("fp32", variant))
    times = intervals.ratio_interval(timings.windows(dense), timings.windows(mine))[0]
    right = np.asarray(found[variant]["predicted"]) == np.asarray(result["labels"])
    sqnr_db = judging.of_quantizing(found["int8"])["sqnr_db"]
    return Row(title, macs, params, right, _minutes(learned), timings.percentiles(mine)["p50"], times, sqnr_db)


def _torch_pruning(
    dense: nn.Module, fewer: float, samples: dict[str, images.Samples], given: argparse.Namespace
) -> Row:
    """Its README's way: steps of the global pruner until the goal is reached. Then it learns as its example does."""
    import torch_pruning

    began = time.perf_counter()
    network, sample = copy.deepcopy(dense).to(memory_format=torch.contiguous_format), torch.zeros(1, 3, 32, 32)
    before = torch_pruning.utils.count_ops_and_params(network, sample)
    pruner = torch_pruning.pruner.BasePruner(
        network,
        sample,
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        global_pruning=True,
        pruning_ratio=1.0,
        iterative_steps=400,
        ignored_layers=[network.linear],
    )
    after = before
    while after[0] > before[0] / fewer:
        pruner.step()
        after = torch_pruning.utils.count_ops_and_params(network, sample)
    _plain_loop(network, choose.split(samples["training"], 0.1, 0)[0], given.epochs)
    minutes = (time.perf_counter() - began) / 60
    right = _right(network, samples["evaluation"])
    ms, times = _timed(dense, network.to(memory_format=torch.contiguous_format), given)
    return Row(f"torch-pruning {fewer:g}", after[0] / before[0], after[1] / before[1], right, minutes, ms, times)


def _timed(dense: nn.Module, network: nn.Module, given: argparse.Namespace) -> tuple[float, float]:
    """Milliseconds, and times as fast as the dense network in the same run, compiled as ours are."""
    target = targets.require("openvino")
    options = {**asdict(target.options()), "float_parts": "f32"}
    spec = {
        "channels": 3,
        "size": 32,
        "batch": "dynamic",
        "timed": {target.name: {"target": target.name, "options": options}},
    }
    with tempfile.TemporaryDirectory() as scratch:
        measuring = Measuring(spec, Context(0, Path(scratch)))
        plan = {"processes": 3 if given.count else 5, "seconds": given.seconds}
        raw = measuring({"dense": dense, "cut": network}, **plan)[target.name]
    times = intervals.ratio_interval(timings.windows(raw["dense"]), timings.windows(raw["cut"]))[0]
    return timings.percentiles(raw["cut"])["p50"], times


def _plain_loop(network: nn.Module, learning: images.Samples, epochs: int) -> None:
    """SGD at 0.01, a tenth of it after 60 % and 80 % of the epochs; what the last one leaves is taken, as it does."""
    split, rng, device = Split(learning), np.random.default_rng(0), torch.device("cpu")
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    steps = torch.optim.lr_scheduler.MultiStepLR(optimizer, [round(0.6 * epochs), round(0.8 * epochs)])
    moved = Augment(flip=True, shift=4)
    for _ in range(epochs):
        network.train()
        order = rng.permutation(len(split))
        for start in range(0, len(order) - 1, 64):
            pixels, labels = split.batch(order[start : start + 64], device)
            pixels = Moves.drawn(len(labels), moved, rng).on(pixels, moved.shift)
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(network(pixels), labels).backward()
            optimizer.step()
        steps.step()
    network.eval()


def _network(name: str, folder: str) -> nn.Module:
    network = models.build(f"cifar_{name}", 10, 3)
    checkpoint.load_into(network, Path(folder) / checkpoint.FILE, f"cifar_{name}")
    return network.eval()


def _size(network: nn.Module) -> tuple[float, float]:
    import torch_pruning

    return torch_pruning.utils.count_ops_and_params(network, torch.zeros(1, 3, 32, 32))


@torch.no_grad()
def _right(network: nn.Module, evaluation: images.Samples) -> np.ndarray:
    split, device = Split(evaluation), torch.device("cpu")
    found = []
    for start in range(0, len(split), 250):
        pixels, labels = split.batch(np.arange(start, min(start + 250, len(split))), device)
        found.append((network(pixels).argmax(1) == labels).numpy())
    return np.concatenate(found)


def _step(run: dict[str, Any], name: str) -> dict[str, Any]:
    if run["problem"]:
        raise SystemExit(f"{run['problem']['message']}; {run['problem']['hint']}")
    return next(step for step in run["steps"] if step["id"] == name)


def _minutes(step: dict[str, Any]) -> float:
    """As it was when it was made: a store keeps it."""
    return json.loads((Path(step["path"]) / "manifest.json").read_text())["seconds"] / 60


def _print(row: Row, first: Row) -> None:
    count = len(row.right)
    low, high = (100 * each for each in intervals.wilson(int(row.right.sum()), count))
    lost, won = int((first.right & ~row.right).sum()), int((row.right & ~first.right).sum())
    drop = intervals.tango(lost, won, count)
    top1 = f"{100 * row.right.mean():.2f} ({low:.2f} to {high:.2f})"
    points = f"{100 * (lost - won) / count:.2f} ({100 * drop.low:.2f} to {100 * drop.high:.2f})"
    said = [f"{row.title:18} {row.macs:6.3f} {row.params:6.3f} {top1:>22} {points:>24} {row.minutes:5.1f}"]
    if row.ms is not None:
        said.append(f"{row.ms:6.3f} {row.times:6.3f}")
    if row.sqnr_db is not None and first.sqnr_db is not None:
        said.append(f"{row.sqnr_db:7.2f} {first.sqnr_db - row.sqnr_db:5.2f}")
    print(" ".join(said), flush=True)


if __name__ == "__main__":
    main()
