"""Is a pruned network as accurate as before? ResNet-20 and -32 with published CIFAR-10 weights, recovered.

    dense          the published weights, which never saw JPEG, after `--epochs` on `train`: all others are compared
                   with it, and it teaches. Epochs are the budget, the same for all; minutes are printed.
    dense, twice   the same after twice as many (--twice): a pruned network begins from the dense one, and has
                   learned as long in all
    pruned 1.5, 2  the dense network with 1.5 and 2 times fewer multiplications, after as many epochs of recovery
    torch-pruning  its documented global pruner (group norm, L2), and the plain loop of its example (SGD, 0.01, steps),
                   for as many epochs of the same images, mirrored and shifted the same way. What option A's pads add to
                   a stage it takes for what stands at the same number before them, so that its cuts move channels apart
                   that belong together: that is part of what is compared

    python benchmarks/_recovering.py --data DIR

DIR holds `train` and `eval`, folders of class folders, and the weights `resnet20-*.th` and `resnet32-*.th`. The drop is
paired, with its 95 % interval. Milliseconds are OpenVINO's, batch 1, FP32, in one run with the dense network's. *INT8*
is its SQNR against the FP32 network that it was made of, in OpenVINO's form, by OpenVINO on this CPU: the last column
shows what pruning first costs. `--store` stores what was done for the next time. If times matter, run nothing else
meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from _case import preprocessing
from torch import nn

from edgeresnet import images, models, pipeline, recipe, targets
from edgeresnet.context import Context
from edgeresnet.images import choose
from edgeresnet.models import checkpoint
from edgeresnet.notes import PruneNotes
from edgeresnet.pipeline.measuring import Measuring
from edgeresnet.portable import intervals, machine, measure
from edgeresnet.recipe import Augment, Recipe
from edgeresnet.runs import Run, StepRecord
from edgeresnet.stages.specs import TimedSearch, TimedTarget
from edgeresnet.store import Store
from edgeresnet.training.batches import Moves, Split

NETWORKS = {"resnet20": "resnet20-*.th", "resnet32": "resnet32-*.th"}
LEARNING = {"schedule": "one-cycle", "augment": {"flip": True, "shift": 4}}
# What each learns best with: trained weights are damaged by more, and in a pruned network more must change.
DENSE_RATE, PRUNED_RATE = 0.0003, 0.001
HEADER = (
    f"{'':18} {'MACs':>6} {'params':>6} {'top-1 (95 %)':>22} {'points lost (95 %)':>24} {'min':>5} {'ms':>6} "
    f"{'times':>6} {'INT8 dB':>7} {'lost':>5}"
)


class Row(NamedTuple):
    """One network as the table shows it; what was not measured is None."""

    title: str
    macs: float  # of the dense network's, millions for that itself
    params: float
    correct: np.ndarray  # whether each evaluation image is answered correctly
    minutes: float
    ms: float | None = None
    times: float | None = None
    sqnr_db: float | None = None


def accuracy(args: argparse.Namespace) -> None:
    """Run as a part of `pruning.py`, which knows only --data."""
    main(["--data", str(args.data), *args.more])


def main(argv: Sequence[str] | None = None) -> None:
    given = _arguments(argv)
    torch.set_num_threads(machine.cores())
    cpu = machine.describe().cpu
    print(f"{cpu.cores} cores of {cpu.model}; {given.epochs} epochs", flush=True)
    with _store(given.store) as store:
        for name in given.network or NETWORKS:
            _compare(name, given, store)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="train, eval and the weights")
    parser.add_argument("--network", action="append", choices=tuple(NETWORKS), help="one of them; both by default")
    parser.add_argument("--fewer", action="append", type=float, help="times fewer MACs; 1.5 and 2.0 by default")
    parser.add_argument("--epochs", type=int, default=6, help="of each training; 6 by default")
    parser.add_argument("--twice", action="store_true", help="also show the dense network after twice as many epochs")
    parser.add_argument("--count", type=int, help="number of images of each set, for a quick look")
    parser.add_argument("--seconds", type=float, default=30, help="of timing, for each network; 30 by default")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE", help="of the recipe")
    parser.add_argument("--without-torch-pruning", action="store_true", help="skip the peer")
    parser.add_argument("--store", type=Path, help="a store for finished stages; none by default")
    return parser.parse_args(argv)


@contextlib.contextmanager
def _store(root: Path | None) -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as scratch:
        yield Store.open(root or Path(scratch) / "store")


def _compare(name: str, given: argparse.Namespace, store: Store) -> None:
    plain = _recipe(name, given, None)
    run = pipeline.run(plain, store)
    step = _step(run, "train")
    dense = _network(name, step)
    samples = {slot: images.open_samples(plain, slot, store) for slot in ("training", "evaluation")}
    macs, params = _size(dense)
    first = _row("dense, MACs in M", macs / 1e6, params / 1e6, step, run, "fp32")
    count = len(samples["evaluation"])
    print(f"\n{name}: {len(samples['training'])} images, {count} for evaluation\n{HEADER}", flush=True)
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
        raise SystemExit(f"{given.data} has no {NETWORKS[name]}")
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
        raw |= {"prune": {"macs": 1 / fewer, "multiple": 8}, "recover": {**learn, "rate": PRUNED_RATE}}
    taken = (each for each in given.changes if fewer or each.split(".")[0] not in ("prune", "recover"))
    recipe.change(raw, tuple(taken))
    return recipe.parse(raw)


def _ours(name: str, fewer: float, given: argparse.Namespace, store: Store) -> Row:
    run = pipeline.run(_recipe(name, given, fewer), store)
    (notes,) = run.notes_of(PruneNotes)
    (macs_before, macs), (params_before, params) = notes.macs, notes.params
    learned = _step(run, "recover")
    return _row(f"pruned {fewer:g}", macs / macs_before, params / params_before, learned, run, "pruned")


def _row(title: str, macs: float, params: float, learned: StepRecord, run: Run, variant: str) -> Row:
    (result,) = run.measured
    dense, mine = (result.variants[each].latency for each in ("fp32", variant))
    assert dense
    assert mine
    correct = np.asarray(result.variants[variant].predicted) == np.asarray(result.labels)
    sqnr_db = result.variants["int8"].quantization.sqnr_db
    return Row(title, macs, params, correct, _minutes(learned), mine.p50, mine.speedup_over(dense).value, sqnr_db)


def _torch_pruning(
    dense: nn.Module, fewer: float, samples: dict[str, images.Samples], given: argparse.Namespace
) -> Row:
    """Prune as its README does, step by step until the goal is reached; then learn as its example does."""
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
    correct = _correct(network, samples["evaluation"])
    ms, times = _timed(dense, network.to(memory_format=torch.contiguous_format), given)
    return Row(f"torch-pruning {fewer:g}", after[0] / before[0], after[1] / before[1], correct, minutes, ms, times)


def _timed(dense: nn.Module, network: nn.Module, given: argparse.Namespace) -> tuple[float | None, float]:
    """Return milliseconds, and times as fast as the dense network in the same run, compiled as ours are."""
    target = targets.require("openvino")
    timed = TimedTarget(target.name, replace(target.options(), float_parts="f32"), "fp32")
    plan = measure.TimingPlan(3 if given.count else 5, given.seconds)
    search = TimedSearch({target.name: timed}, plan, "dynamic", preprocessing(32))
    with tempfile.TemporaryDirectory() as scratch:
        measuring = Measuring(search, Context(0, Path(scratch)))
        networks = {"dense": dense, "pruned": network}
        raw = measuring(networks, processes=plan.processes, seconds=plan.seconds)[target.name]
    return raw["pruned"].p50, raw["pruned"].speedup_over(raw["dense"]).value


def _plain_loop(network: nn.Module, learning: images.Samples, epochs: int) -> None:
    """Learn by SGD at 0.01, a tenth of it after 60 % and 80 % of the epochs; take the last epoch, as it does."""
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


def _network(name: str, trained: StepRecord) -> nn.Module:
    network = models.build(f"cifar_{name}", 10, 3)
    checkpoint.load_into(network, Path(trained.path or "") / checkpoint.FILE, f"cifar_{name}")
    return network.eval()


def _size(network: nn.Module) -> tuple[float, float]:
    import torch_pruning

    return torch_pruning.utils.count_ops_and_params(network, torch.zeros(1, 3, 32, 32))


@torch.no_grad()
def _correct(network: nn.Module, evaluation: images.Samples) -> np.ndarray:
    split, device = Split(evaluation), torch.device("cpu")
    found = []
    for start in range(0, len(split), 250):
        pixels, labels = split.batch(np.arange(start, min(start + 250, len(split))), device)
        found.append((network(pixels).argmax(1) == labels).numpy())
    return np.concatenate(found)


def _step(run: Run, name: str) -> StepRecord:
    if run.problem:
        raise SystemExit(f"{run.problem.message}; {run.problem.hint}")
    return next(step for step in run.steps if step.id == name)


def _minutes(step: StepRecord) -> float:
    """Return how long it took when it was made, which its manifest stores."""
    return float(json.loads((Path(step.path or "") / "manifest.json").read_text())["seconds"]) / 60


def _print(row: Row, first: Row) -> None:
    count = len(row.correct)
    low, high = (100 * each for each in intervals.wilson(int(row.correct.sum()), count))
    lost, won = int((first.correct & ~row.correct).sum()), int((row.correct & ~first.correct).sum())
    drop = intervals.tango(lost, won, count)
    top1 = f"{100 * row.correct.mean():.2f} ({low:.2f} to {high:.2f})"
    points = f"{100 * (lost - won) / count:.2f} ({100 * drop.low:.2f} to {100 * drop.high:.2f})"
    cells = [f"{row.title:18} {row.macs:6.3f} {row.params:6.3f} {top1:>22} {points:>24} {row.minutes:5.1f}"]
    if row.ms is not None:
        cells.append(f"{row.ms:6.3f} {row.times:6.3f}")
    if row.sqnr_db is not None and first.sqnr_db is not None:
        cells.append(f"{row.sqnr_db:7.2f} {first.sqnr_db - row.sqnr_db:5.2f}")
    print(" ".join(cells), flush=True)


if __name__ == "__main__":
    main()
