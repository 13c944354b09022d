"""ResNet-50 cut, compiled and timed: what multiplications are in milliseconds. For an idle machine."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _case import preprocessing
from torch import nn

from edgeresnet import models, targets
from edgeresnet.context import Context
from edgeresnet.models import checkpoint
from edgeresnet.pipeline.measuring import Measuring
from edgeresnet.portable import intervals, machine, measure, timing_warnings, timings
from edgeresnet.portable.worker import Job
from edgeresnet.pruning import choose as choosing
from edgeresnet.pruning import cut, importance, units
from edgeresnet.recipe import Prune

CLASSES, CHANNELS = 1000, 3
_DOOR = (
    "import atexit, sys; from edgeresnet.portable import machine; "
    "atexit.register(lambda: print('PEAK', machine.peak_memory_mb(), file=sys.stderr)); "
    "from edgeresnet.cli import main; main()"
)
MEAN, STD = "0.485,0.456,0.406", "0.229,0.224,0.225"
# part of the multiplications that stays → precision → times as fast, at least
PROMISED = {0.75: {"FP32": 1.2, "INT8": 1.15}, 0.5: {"FP32": 1.8, "INT8": 1.6}}
HEADER = f"{'MACs %':>7} {'params %':>9} {'as':>5} {'p50 ms':>8} {'whole ms':>9}  times as fast (95 %)"
PARTS = {f"{part:g}": part for part in PROMISED}
BOTH = 5.0  # times as fast as the whole network in FP32: pruned to half, and INT8


def speed(asked: argparse.Namespace) -> None:
    cpu = machine.describe()["cpu"]
    print(f"{asked.arch} at {asked.size}, {asked.target}, {cpu['cores']} cores of {cpu['model']}", flush=True)
    print(f"instructions: {', '.join(cpu['instructions'])}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        (_goal if asked.goal else _table)(asked, Path(name))


def _table(asked: argparse.Namespace, folder: Path) -> None:
    network = _network(asked.arch)
    chooser = _chooser(network, asked)
    networks, choices = {"whole": network}, {"whole": chooser.dense}
    for title, part in PARTS.items():
        choices[title] = chooser.for_goal("macs", part)
        networks[title] = cut.cut(network, choices[title])
    raw = _timed(networks, asked, folder)
    print(f"\n{HEADER}    promised")
    for title, choice in choices.items():
        for precision, each in raw.items():
            least = PROMISED[PARTS[title]][precision] if title in PARTS else None
            print(_line(chooser, choice, precision, each[title], each["whole"], least), flush=True)
    half = f"{min(PROMISED):g}"
    print("\npruned to half and INT8, against the whole network in FP32:")
    print(_line(chooser, choices[half], "INT8", raw["INT8"][half], raw["FP32"]["whole"], BOTH))
    for sentence in timing_warnings.troubles({f"{p} {n}": one for p, each in raw.items() for n, one in each.items()}):
        print(f"note: {sentence}")


def _line(
    chooser: choosing.Chooser,
    choice: choosing.Choice,
    precision: str,
    raw: Mapping[str, Any],
    whole: Mapping[str, Any],
    least: float | None,
) -> str:
    macs, params = (100 * getattr(choice, size) / getattr(chooser.dense, size) for size in ("macs", "params"))
    times, (low, high) = intervals.ratio_interval(timings.windows(whole), timings.windows(raw))
    p50, before = (timings.percentiles(each)["p50"] for each in (raw, whole))
    word = "" if least is None else f"{least:g}: {'kept' if times >= least else 'BROKEN'}"
    said = f"{times:.3f} ({low:.3f} to {high:.3f})"
    return f"{macs:7.1f} {params:9.1f} {precision:>5} {p50:8.2f} {before:9.2f}  {said:23} {word}"


def _timed(
    networks: Mapping[str, nn.Module], asked: argparse.Namespace, folder: Path, only: str | None = None
) -> dict[str, dict[str, Any]]:
    """precision → name → raw values. All of one call are timed in turn, in the same rounds of fresh processes."""
    target = targets.require(asked.target)
    about = {"target": target.name, "options": asdict(target.options())}
    forms = {"FP32": about}
    dialect = asdict(target.speaks(target.options()))
    forms["INT8"] = {**about, "dialect": dialect, "exclude": [], "images": preprocessing(asked.size).to_json()}
    spec = {"channels": CHANNELS, "size": asked.size, "batch": "dynamic"}
    jobs: dict[tuple[str, str], Job] = {}
    for precision, form in forms.items():
        if only in (None, precision):
            measuring = Measuring({**spec, "timed": {target.name: form}}, Context(0, folder / precision))
            jobs |= {(precision, name): measuring.job(target.name, name, each) for name, each in networks.items()}
    titles = {f"{precision} {name}": (precision, name) for precision, name in jobs}
    named = {title: jobs[key] for title, key in titles.items()}
    raw = measure.latency(named, processes=asked.processes, seconds=asked.seconds)
    found: dict[str, dict[str, Any]] = {}
    for title, (precision, name) in titles.items():
        found.setdefault(precision, {})[name] = raw[title]
    return found


def _goal(asked: argparse.Namespace, folder: Path) -> None:
    """By the door, as a user asks; then the two cuts that matter are made anew from what it said, and timed again."""
    network = _network(asked.arch)
    checkpoint.write(network, folder / "whole.safetensors", {})
    more = ["--speedup", f"{asked.target}={asked.goal:g}", "--set", f"verify.seconds={asked.seconds / 2:g}"]
    more += ["--set", f"verify.processes={asked.processes}"]
    if asked.int8:  # ranges are not measured by `prune`; the images only stand where they will be
        more += ["--set", "quantize.effort=fast", "--set", f"images.calibration={_noise(folder)}"]
    began = time.perf_counter()
    done = _door(asked, folder, *more)
    found = json.loads(done.stdout)
    told, chooser = found["speedup"], _chooser(network, asked)
    print(f"`prune --speedup {asked.target}={asked.goal:g}` took {time.perf_counter() - began:.0f} s; its curve:")
    for row in told["curve"]:
        each = row["targets"][asked.target]
        size = f"{100 * row['macs'] / chooser.dense.macs:7.1f} {100 * row['params'] / chooser.dense.params:9.1f}"
        print(f"{size} {each['ms']:8.2f} {each['whole_ms']:9.2f}  {each['times']:.3f}", flush=True)
    rows = {"chosen": told["chosen"], "next milder": told["milder"]}
    choices = {name: chooser.for_goal("macs", told["curve"][at]["part"]) for name, at in rows.items() if at is not None}
    assert choices["chosen"].macs == found["macs"][1]
    networks = {"whole": network} | {name: cut.cut(network, choice) for name, choice in choices.items()}
    precision = "INT8" if asked.int8 else "FP32"
    raw = _timed(networks, asked, folder / "again", precision)[precision]
    print(f"\nmeasured again:\n{HEADER}")
    for name, choice in choices.items():
        times, _ = intervals.ratio_interval(timings.windows(raw["whole"]), timings.windows(raw[name]))
        reached = "reaches" if times >= asked.goal else "does not reach"
        line = _line(chooser, choice, precision, raw[name], raw["whole"], None)
        print(f"{line} the {name} cut {reached} {asked.goal:g}", flush=True)
    for sentence in timing_warnings.troubles(raw):
        print(f"note: {sentence}")


def choose(asked: argparse.Namespace) -> None:
    """The whole process: imports, weights read, ranked, cut and written."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint.write(_network(asked.arch), folder / "whole.safetensors", {})
        for how in ("l1", "l2", "bn", "taylor"):  # taylor asks the loss of images: that learning follows is left out
            asks = ["--training", str(_noise(folder)), "--set", "recover=null"] if how == "taylor" else []
            began = time.perf_counter()
            done = _door(asked, folder, "--macs", "0.5", "--importance", how, *asks)
            took = time.perf_counter() - began
            peak = next(line.split()[1] for line in done.stderr.splitlines() if line.startswith("PEAK "))
            print(f"choosing by {how}: {took:.1f} s (under 20), {float(peak):.0f} MB (under 3000)", flush=True)


def _door(asked: argparse.Namespace, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Each time in a store of its own, so that nothing is found done."""
    store = tempfile.mkdtemp(dir=folder)
    words = ["prune", str(folder / "whole.safetensors"), "--arch", asked.arch, "--classes", str(CLASSES)]
    words += ["--size", str(asked.size), "--mean", MEAN, "--std", STD, "--output", str(folder / "cut.safetensors")]
    words += ["--store", store, "--json", *more]
    done = subprocess.run([sys.executable, "-c", _DOOR, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return done


def _chooser(network: nn.Module, asked: argparse.Namespace) -> choosing.Chooser:
    """As the door chooses, where nothing else is said."""
    plan, found = Prune(macs=0.5), units.of(network, CHANNELS, asked.size)
    scores = importance.scores(network, found, plan.importance)
    multiple = targets.get(asked.target).dialect.channel_multiple
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
