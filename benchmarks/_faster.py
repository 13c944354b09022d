"""ResNet-50 pruned, compiled and timed: what multiplications are in milliseconds. For an idle machine."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from _case import preprocessing
from torch import nn

from edgeresnet import models, targets
from edgeresnet.context import Context
from edgeresnet.models import checkpoint
from edgeresnet.notes import PruneNotes
from edgeresnet.pipeline.measuring import Measuring
from edgeresnet.portable import codec, machine, measure, timing_warnings
from edgeresnet.portable.times import Latency
from edgeresnet.portable.worker import Job
from edgeresnet.pruning import choose as choosing
from edgeresnet.pruning import cut, importance, units
from edgeresnet.recipe import Prune
from edgeresnet.stages.specs import Int8Form, TimedSearch, TimedTarget

CLASSES, CHANNELS = 1000, 3
_MAIN = (
    "import atexit, sys; from edgeresnet.portable import machine; "
    "atexit.register(lambda: print('PEAK', machine.peak_memory_mb(), file=sys.stderr)); "
    "from edgeresnet.cli import main; main()"
)
MEAN, STD = "0.485,0.456,0.406", "0.229,0.224,0.225"
# part of the multiplications that stays → precision → times as fast, at least
PROMISED = {0.75: {"FP32": 1.2, "INT8": 1.15}, 0.5: {"FP32": 1.8, "INT8": 1.6}}
HEADER = f"{'MACs %':>7} {'params %':>9} {'as':>5} {'p50 ms':>8} {'before ms':>9}  times as fast (95 %)"
PARTS = {f"{part:g}": part for part in PROMISED}
BOTH = 5.0  # times as fast as the unpruned network in FP32: pruned to half, and INT8


def speed(args: argparse.Namespace) -> None:
    cpu = machine.describe().cpu
    print(f"{args.arch} at {args.size}, {args.target}, {cpu.cores} cores of {cpu.model}", flush=True)
    print(f"instructions: {', '.join(cpu.instructions)}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        (_goal if args.goal else _table)(args, Path(name))


def _table(args: argparse.Namespace, folder: Path) -> None:
    network = _network(args.arch)
    chooser = _chooser(network, args)
    networks, choices = {"unpruned": network}, {"unpruned": chooser.dense}
    for title, part in PARTS.items():
        choices[title] = chooser.for_goal("macs", part)
        networks[title] = cut.cut(network, choices[title])
    raw = _timed(networks, args, folder)
    print(f"\n{HEADER}    promised")
    for title, choice in choices.items():
        for precision, each in raw.items():
            least = PROMISED[PARTS[title]][precision] if title in PARTS else None
            print(_line(chooser, choice, precision, each[title], each["unpruned"], least), flush=True)
    half = f"{min(PROMISED):g}"
    print("\npruned to half and INT8, against the unpruned network in FP32:")
    print(_line(chooser, choices[half], "INT8", raw["INT8"][half], raw["FP32"]["unpruned"], BOTH))
    _print_notes({f"{p} {n}": one for p, each in raw.items() for n, one in each.items()})


def _line(
    chooser: choosing.Chooser,
    choice: choosing.Choice,
    precision: str,
    pruned: Latency,
    before: Latency,
    least: float | None,
) -> str:
    macs, params = (100 * getattr(choice, size) / getattr(chooser.dense, size) for size in ("macs", "params"))
    times, low, high = pruned.speedup_over(before)
    word = "" if least is None else f"{least:g}: {'kept' if times >= least else 'BROKEN'}"
    ratio = f"{times:.3f} ({low:.3f} to {high:.3f})"
    return f"{macs:7.1f} {params:9.1f} {precision:>5} {pruned.p50:8.2f} {before.p50:9.2f}  {ratio:23} {word}"


def _print_notes(times: Mapping[str, Latency]) -> None:
    for warning in timing_warnings.of(times):
        print(f"note: {warning}")


def _timed(
    networks: Mapping[str, nn.Module], args: argparse.Namespace, folder: Path, only: str | None = None
) -> dict[str, dict[str, Latency]]:
    """Return precision → name → times. All of one call are timed in turn, in the same rounds of fresh processes."""
    target = targets.require(args.target)
    full = TimedTarget(target.name, target.options(), "fp32")
    int8 = Int8Form(target.speaks(target.options()), (), preprocessing(args.size))
    forms = {"FP32": full, "INT8": replace(full, ships="int8", int8=int8)}
    plan = measure.TimingPlan(args.processes, args.seconds)
    jobs: dict[tuple[str, str], Job] = {}
    for precision, form in forms.items():
        if only in (None, precision):
            search = TimedSearch({target.name: form}, plan, "dynamic", preprocessing(args.size))
            measuring = Measuring(search, Context(0, folder / precision))
            jobs |= {(precision, name): measuring.job(form, name, each) for name, each in networks.items()}
    titles = {f"{precision} {name}": (precision, name) for precision, name in jobs}
    named = {title: jobs[key] for title, key in titles.items()}
    raw = measure.latency(named, processes=plan.processes, seconds=plan.seconds)
    found: dict[str, dict[str, Latency]] = {}
    for title, (precision, name) in titles.items():
        found.setdefault(precision, {})[name] = raw[title]
    return found


def _goal(args: argparse.Namespace, folder: Path) -> None:
    """Run the command as a user does; then make the two cuts that matter again from its output, and time them."""
    network = _network(args.arch)
    checkpoint.write(network, folder / "unpruned.safetensors", {})
    more = ["--speedup", f"{args.target}={args.goal:g}", "--set", f"verify.seconds={args.seconds / 2:g}"]
    more += ["--set", f"verify.processes={args.processes}"]
    if args.int8:  # `prune` measures no ranges; the recipe only needs to name images
        more += ["--set", "quantize.effort=fast", "--set", f"images.calibration={_noise(folder)}"]
    began = time.perf_counter()
    done = _run_prune(args, folder, *more)
    notes = codec.decode(PruneNotes, json.loads(done.stdout))
    found, chooser = notes.speedup, _chooser(network, args)
    assert found
    print(f"`prune --speedup {args.target}={args.goal:g}` took {time.perf_counter() - began:.0f} s; its curve:")
    for row in found.curve:
        each = row.targets[args.target]
        size = f"{100 * row.macs / chooser.dense.macs:7.1f} {100 * row.params / chooser.dense.params:9.1f}"
        print(f"{size} {each.ms:8.2f} {each.whole_ms:9.2f}  {each.times:.3f}", flush=True)
    rows = {"chosen": found.chosen, "next milder": found.milder}
    choices = {name: chooser.for_goal("macs", found.curve[at].part) for name, at in rows.items() if at is not None}
    assert choices["chosen"].macs == notes.macs[1]
    networks = {"unpruned": network} | {name: cut.cut(network, choice) for name, choice in choices.items()}
    precision = "INT8" if args.int8 else "FP32"
    raw = _timed(networks, args, folder / "again", precision)[precision]
    print(f"\nmeasured again:\n{HEADER}")
    for name, choice in choices.items():
        times = raw[name].speedup_over(raw["unpruned"]).value
        reached = "reaches" if times >= args.goal else "does not reach"
        line = _line(chooser, choice, precision, raw[name], raw["unpruned"], None)
        print(f"{line} the {name} cut {reached} {args.goal:g}", flush=True)
    _print_notes(raw)


def choose(args: argparse.Namespace) -> None:
    """Measure a complete process: imports, weights read, ranked, pruned and written."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint.write(_network(args.arch), folder / "unpruned.safetensors", {})
        for how in ("l1", "l2", "bn", "taylor"):  # taylor needs images; recovery, which would follow, is left out
            more = ["--training", str(_noise(folder)), "--set", "recover=null"] if how == "taylor" else []
            began = time.perf_counter()
            done = _run_prune(args, folder, "--macs", "0.5", "--importance", how, *more)
            took = time.perf_counter() - began
            peak = next(line.split()[1] for line in done.stderr.splitlines() if line.startswith("PEAK "))
            print(f"choosing channels by {how}: {took:.1f} s (under 20), {float(peak):.0f} MB (under 3000)", flush=True)


def _run_prune(args: argparse.Namespace, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run `edgeresnet prune`, each time in a store of its own, so that nothing is done already."""
    store = tempfile.mkdtemp(dir=folder)
    words = ["prune", str(folder / "unpruned.safetensors"), "--arch", args.arch, "--classes", str(CLASSES)]
    words += ["--size", str(args.size), "--mean", MEAN, "--std", STD, "--output", str(folder / "cut.safetensors")]
    words += ["--store", store, "--json", *more]
    done = subprocess.run([sys.executable, "-c", _MAIN, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return done


def _chooser(network: nn.Module, args: argparse.Namespace) -> choosing.Chooser:
    """Return what chooses as the command does by default."""
    plan, found = Prune(macs=0.5), units.of(network, CHANNELS, args.size)
    scores = importance.scores(network, found, plan.importance)
    multiple = targets.get(args.target).dialect.channel_multiple
    return choosing.Chooser(found, scores, multiple=multiple, every_layer_alike=plan.scope == "per-layer")


def _network(arch: str) -> nn.Module:
    torch.manual_seed(0)
    torch.set_num_threads(machine.cores())
    return models.build(arch, CLASSES, CHANNELS).eval()


def _noise(folder: Path) -> Path:
    path = folder / "noise.npz"
    images = np.random.default_rng(0).integers(0, 256, (CLASSES, 8, 8, 3), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(CLASSES))
    return path
