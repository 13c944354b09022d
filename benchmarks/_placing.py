"""Placement by measured latency: `residual: auto` against our usual placement, and NNCF's default file.

Weights are random: they change no time. All files of a network are timed in turn, in fresh processes. For an idle
machine.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import _cost
import onnx
from _case import preprocessing
from _judged import fresh

from edgeresnet import bench, targets
from edgeresnet.graph import canonical
from edgeresnet.portable import machine
from edgeresnet.portable.times import Ratio
from edgeresnet.quantization import engine
from edgeresnet.stages import trace
from edgeresnet.targets import onnxruntime, openvino
from edgeresnet.tune import placing

NETWORKS = {"resnet18": (224, 1000), "resnet50": (224, 1000), "cifar_resnet20": (32, 10)}
TARGETS = {"openvino": openvino.Options(), "onnxruntime": onnxruntime.Options()}
ENOUGH = 1.03  # times as fast as the usual placement: less was not worth a search
_IMAGES = 16
_PEER = "NNCF, default"


def placement(args: argparse.Namespace, folder: Path) -> None:
    """Print each placement's time on each target, which one a run would take, and NNCF's next to both."""
    cpu = machine.describe().cpu
    print(
        f"{cpu.cores} cores of {cpu.model}; batch 1; {args.processes} processes, {args.seconds:g} s in all for each row"
    )
    print(f"{'network':15} {'target':12} {'placement':22} times as fast as the usual one (95 %)")
    best = 0.0
    for arch in NETWORKS:
        if args.only in (None, arch):
            for target in TARGETS:
                best = max(best, _compare(arch, target, args, folder))
    print(f"fastest choice: {best:.3f} times the usual one" + ("" if best >= ENOUGH else ": nothing was there to win"))


def _compare(arch: str, target: str, args: argparse.Namespace, folder: Path) -> float:
    """Time the placements of one network on a target; return how many times as fast the chosen one is."""
    work = folder / f"{arch}-{target}-placement"
    work.mkdir(exist_ok=True)
    size, classes = NETWORKS[arch]
    exact = folder / f"{arch}-batch-1.onnx"
    if not exact.is_file():
        model = trace.to_onnx(_cost.random_network(arch, classes), 3, size)
        canonical.set_batch(model, 1)
        onnx.save(model, exact)
    choices = engine.Choices(targets.get(target).speaks(TARGETS[target]), preprocessing=preprocessing(size))

    def timed(files: Mapping[str, Path]) -> dict[str, Ratio]:
        return _ratios(files, target, args, work / "compiled")

    _, notes = placing.fastest(onnx.load(exact), choices, timed, work)
    for each in notes.tried:
        taken = "  taken" if each.name == notes.chosen else ""
        span = "does not compile" if each.value is None else f"{each.value:.3f}"
        span += f" ({each.low:.3f} to {each.high:.3f})" if each.low and each.high else ""
        print(f"{arch:15} {target:12} {each.name:22} {span}{taken}", flush=True)
    _print_peer(arch, target, notes.chosen, exact, args, work)
    return next((each.value for each in notes.tried if each.name == notes.chosen and each.value), 1.0)


def _print_peer(arch: str, target: str, chosen: str, exact: Path, args: argparse.Namespace, work: Path) -> None:
    """Time NNCF's file in turn with the usual placement and the chosen one."""
    if not args.peers:
        return
    size, _ = NETWORKS[arch]
    out = work / "nncf.onnx"
    job = {"options": {}, "onnx": str(exact), "images": str(_cost.smooth(work, _IMAGES, size)), "out": str(out)}
    answer = fresh(str(args.peers), {"peer": "nncf", **job})
    if not answer["ok"]:
        print(f"{arch:15} {target:12} {_PEER}: skipped: {answer['problem'][:200]}", flush=True)
        return
    names = dict.fromkeys((placing.USUAL, chosen))
    files = {_PEER: out, **{name: placing.file_of(work, name) for name in names}}
    for name, ratio in _ratios(files, target, args, work / "compiled").items():
        if name != _PEER:
            span = f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})" if ratio.has_interval else "unsure"
            print(f"{arch:15} {target:12} {name:22} {span} times as fast as {_PEER}", flush=True)


def _ratios(files: Mapping[str, Path], target: str, args: argparse.Namespace, compiled: Path) -> dict[str, Ratio]:
    """Time files in turn; return how many times as fast each is as the first."""
    shutil.rmtree(compiled, ignore_errors=True)
    compiled.mkdir()
    lineup = bench.lineup_of_files(list(files.values()), [target], compiled)
    for absent in lineup.absent:
        print(f"{absent.name}: {absent.reason}", file=sys.stderr)
    found = bench.bench(lineup, bench.BenchPlan(args.processes, args.seconds, batches=(1,)))
    first = found.results[found.subjects[0]]
    names = {path.stem: name for name, path in files.items()}
    return {names[subject]: found.results[subject].speedup_over(first) for subject in found.subjects}
