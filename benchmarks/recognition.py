"""Is a file taken for the network that it holds? Many kinds of ResNets, random renamings, and what is not a ResNet.

    kinds     Files as libraries and people write them: torchvision, timm, transformers, mmpretrain, pytorchcv and
              fastai by their own code, others by networks with their names. Each network has random weights, in which
              every tensor matters. Its file is recognised, the architectures that were found are built and filled from
              the file, and their logits on random images are compared with the original's (1e-4 of the largest).
              `right`: the first architecture gives them. Where it does not, tensors leave it open, and 128 labelled
              images decide as in a run: `right-by-images`, `another-by-images`, or `at-chance`, which ends a run.
              `refused`: no architecture, and a sentence.
    renamings 500 files of ResNet-20, -56b, -18 and -50 under random names in the order of definition: with groups of
              prefixes, without, and some without even `weight` and `bias`. Most are narrow, every tenth is real.
    random    200 random networks, narrow: stages, widths, blocks, shortcuts, stems, biases, names, orders and forms.
    others    200 files that are not a classifying ResNet, or one inside of another network, or a damaged one. Any
              architecture for one of them is a mistake.
    time      Seconds that looking at a ResNet-50's file takes, in fresh processes that must not load torch.

All five run by default, in about three minutes on two cores. The tables are Markdown.

    python -m venv --system-site-packages libraries
    libraries/bin/pip install transformers mmpretrain mmengine mmcv-lite opencv-python-headless pytorchcv fastai
    python benchmarks/recognition.py
    python benchmarks/recognition.py kinds --kind timm --kind "biases on convolutions"

A library that cannot be imported is skipped with a message. Files lie in a temporary folder, one at a time.
"""

from __future__ import annotations

import argparse
import collections
import random
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import _recognition_images
import _recognition_kinds
import _recognition_libraries
import _recognition_random
import torch
from _recognition_files import enliven, logits, renamed, save, sparse, without_initialising
from _recognition_kinds import FAMILIES, REFUSED, RIGHT, Kind
from _recognition_others import others
from _recognition_styles import Network
from torch import nn

from edgeresnet import models
from edgeresnet.errors import EdgeresnetError
from edgeresnet.models import checkpoint, conventions, recognise, shapes, unwrap

WRONG, CRASHED = "WRONG", "CRASHED"
# What labelled images make of tensors that fit several networks: the network, another one, or none.
BY_IMAGES, MISTAKEN, AT_CHANCE = f"{RIGHT}-by-images", "another-by-images", "at-chance"
CLOSE = 1e-4  # of the largest logit
MOST_TRIED = 24
MODES = ("groups", "modules", "groups", "modules", "tensors")
KINDS = (*_recognition_libraries.KINDS, *_recognition_kinds.KINDS)


class Outcome(NamedTuple):
    """What became of a file."""

    word: str
    arch: str = ""  # that gives the logits; else the first
    candidates: int = 0
    line: str = ""  # what was said, or what went wrong

    @property
    def found(self) -> bool:
        return self.word.startswith(RIGHT)

    @property
    def summary(self) -> str:
        return "right at a later place" if self.word.startswith(f"{RIGHT}-at-") else self.word


class Row(NamedTuple):
    """A kind with its outcome, and how long it took."""

    kind: Kind
    outcome: Outcome
    seconds: float


def main() -> None:
    args = _arguments()
    torch.set_num_threads(1)  # most networks are small, and threads that wait for one another cost more
    warnings.simplefilter("ignore")
    start = time.monotonic()
    parts: dict[str, Callable[[argparse.Namespace], list[str]]] = {
        "kinds": _kinds, "renamings": _renamings, "random": _random, "others": _others, "time": _time,
    }  # fmt: skip
    summary = [line for name, part in parts.items() if args.what in ("all", name) for line in ["", *part(args)]]
    print("\n".join(summary))
    print(f"\n{time.monotonic() - start:.0f} s", flush=True)


# Kinds of files.


def _kinds(args: argparse.Namespace) -> list[str]:
    rows: list[Row] = []
    for number, kind in enumerate(_wanted(args)):
        start = time.monotonic()
        try:
            outcome = _tried(kind, number)
        except _recognition_libraries.Missing as problem:
            print(f"{kind.family}, {kind.name}: skipped: {problem}", flush=True)
            continue
        rows.append(Row(kind, outcome, time.monotonic() - start))
        if outcome.word != kind.expected or args.verbose:
            print(f"{kind.family}, {kind.name}: {outcome.word} {outcome.line} ({rows[-1].seconds:.1f} s)", flush=True)
    table = ["| written as | network | outcome | architecture | candidates |", "|---|---|---|---|---|"]
    table += [f"| {kind.family} | {kind.name} | {_cells(outcome)} |" for kind, outcome, _ in rows]
    return [*table, "", *_totals(rows)]


def _wanted(args: argparse.Namespace) -> list[Kind]:
    wanted = [
        each for each in KINDS if not args.kind or any(word in f"{each.family}, {each.name}" for word in args.kind)
    ]
    if not wanted:
        raise SystemExit(f"no kind has {' or '.join(args.kind)} in its name")
    return wanted


def _cells(outcome: Outcome) -> str:
    shown = outcome.arch if len(outcome.arch) <= 100 else f"{outcome.arch[:100]}…"
    return f"{outcome.word} | {f'`{shown}`' if shown else ''} | {outcome.candidates or ''}"


def _totals(rows: list[Row]) -> list[str]:
    expected = sum(row.kind.expected == REFUSED == row.outcome.word for row in rows)
    lines = [f"{len(rows)} kinds: {_counted(rows)}."]
    if expected:
        lines.append(f"Correct refusals, where no tensor shows what decides: {expected}.")
    return lines


def _counted(rows: list[Row]) -> str:
    words = collections.Counter(row.outcome.summary for row in rows)
    return ", ".join(f"{count} {word}" for word, count in words.most_common())


def _tried(kind: Kind, seed: int) -> Outcome:
    """Write a kind's file, recognise it, and compare the answers."""
    torch.manual_seed(seed)
    try:
        network = enliven(kind.make(), kind.channels, kind.size, seed)
    except (TypeError, AttributeError, KeyError, RuntimeError) as problem:  # a version without this network
        raise _recognition_libraries.Missing(f"it cannot be made: {type(problem).__name__}: {problem}") from problem
    _recognition_images.balance(network, kind.channels, kind.size)
    with tempfile.TemporaryDirectory() as folder:
        return judged(network, save(network, kind.form, Path(folder), seed), kind.channels, kind.size)


def judged(network: nn.Module, path: Path, channels: int, size: int) -> Outcome:
    """Return what becomes of a network's file; with labelled images where tensors leave it open."""
    images = torch.randn(3, channels, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = logits(network, images)
    outcome = answered(path, images, wanted)
    if outcome.word in (RIGHT, REFUSED, CRASHED):
        return outcome
    arch = _recognition_images.taken(network, path, channels, size)
    is_right = bool(arch) and not _difference(arch, path, images, wanted)
    if is_right:
        return outcome._replace(word=BY_IMAGES, arch=arch)
    line = f"with images: {arch or 'at chance, which ends a run'}; {outcome.line}"
    return outcome._replace(word=MISTAKEN if arch else AT_CHANCE, line=line)


def answered(path: Path, images: torch.Tensor, wanted: torch.Tensor) -> Outcome:
    """Return what becomes of a file whose network gives these logits."""
    channels = images.shape[1]
    try:
        held = shapes.look(path)
        found = recognise.recognise(held.networks[unwrap.MODEL], held.arch)
        found = conventions.decided(found, held.convention)
    except EdgeresnetError as problem:
        return Outcome(REFUSED, line=str(problem))
    except Exception as problem:  # noqa: BLE001  a mistake of the code that is judged
        return Outcome(CRASHED, line=_in_short(problem))
    if found is None or not found.archs:
        return Outcome(REFUSED, line=found.words if found else "not known as a ResNet")
    if (found.classes, found.channels) != (wanted.shape[1], channels):
        return Outcome(WRONG, found.archs[0], len(found.archs), f"{found.classes} classes, {found.channels} channels")
    lines: list[str] = []
    for place, arch in enumerate(found.archs[:MOST_TRIED], 1):
        line = _difference(arch, path, images, wanted)
        if not line:
            return Outcome(
                RIGHT if place == 1 else f"{RIGHT}-at-{place}", arch, len(found.archs), lines[0] if lines else ""
            )
        lines.append(f"{arch}: {line}")
    return Outcome(WRONG, found.archs[0], len(found.archs), "; ".join(lines[:4]))


def _in_short(problem: Exception) -> str:
    """Return an error with the place of it."""
    last = traceback.extract_tb(problem.__traceback__)[-1]
    return f"{type(problem).__name__}: {problem} ({Path(last.filename).name}, line {last.lineno})"


def _difference(arch: str, path: Path, images: torch.Tensor, wanted: torch.Tensor) -> str:
    """Return how an architecture's answers differ from the original's; empty where they do not."""
    try:
        with without_initialising():
            built = models.build(arch, wanted.shape[1], images.shape[1])
        checkpoint.load_into(built, path, arch)
        with torch.no_grad():
            given = built.eval()(images)
    except EdgeresnetError as problem:
        return str(problem)
    except Exception as problem:  # noqa: BLE001  a mistake of the code that is judged
        return _in_short(problem)
    if given.shape != wanted.shape:
        return f"answers of shape {tuple(given.shape)}"
    away = float((given - wanted).abs().max() / wanted.abs().max())
    return "" if away <= CLOSE else f"{away:.1e} away"


# Random renamings.


class Original(NamedTuple):
    """A network's weights under its own names, and its logits."""

    weights: dict[str, torch.Tensor]
    images: torch.Tensor
    wanted: torch.Tensor


@cache
def _original(family: str, real: bool) -> Original:
    narrow, wide, names = FAMILIES[family]
    size = 64 if narrow.pooled else 32
    torch.manual_seed(0)
    network = enliven(Network(wide if real else narrow, names), 3, size, 0)
    images = torch.randn(3, 3, size, size)
    with torch.no_grad():
        return Original(network.state_dict(), images, logits(network, images))


def _renamings(args: argparse.Namespace) -> list[str]:
    """Return a table of how many renamed files were recognised."""
    found: collections.Counter[tuple[str, str]] = collections.Counter()
    asked: collections.Counter[tuple[str, str]] = collections.Counter()
    for number in range(args.renamings):
        family, mode = list(FAMILIES)[number % len(FAMILIES)], MODES[number // len(FAMILIES) % len(MODES)]
        original = _original(family, real=number // len(FAMILIES) % 10 == 0)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights.pth"
            torch.save(renamed(original.weights, random.Random(number), mode), path)
            outcome = answered(path, original.images, original.wanted)
        asked[family, mode] += 1
        found[family, mode] += outcome.found
        if not outcome.found:
            print(f"{family}, renaming {number} by {mode}: {outcome.word} {outcome.line[:300]}", flush=True)
    modes = tuple(dict.fromkeys(MODES))
    table = [f"| renamed | {' | '.join(modes)} |", f"|---|{'---|' * len(modes)}"]
    for family in FAMILIES:
        table.append(
            f"| {family} | {' | '.join(f'{found[family, mode]} of {asked[family, mode]}' for mode in modes)} |"
        )
    return [*table, "", f"{found.total()} of {asked.total()} renamings recognised."]


# Random networks.


def _random(args: argparse.Namespace) -> list[str]:
    """Return how many random networks were recognised."""
    rows = []
    for seed in range(args.seed, args.seed + args.random):
        kind = _recognition_random.drawn(seed)
        rows.append(Row(kind, _tried(kind, seed), 0.0))
        outcome = rows[-1].outcome
        if not outcome.found or args.verbose:
            print(f"{kind.name}: {outcome.word} {outcome.line[:300]}", flush=True)
    return [f"{len(rows)} random networks: {_counted(rows)}."]


# What is not a ResNet.


def _others(args: argparse.Namespace) -> list[str]:
    words: collections.Counter[str] = collections.Counter()
    for each in _made(args.others):
        words[each] += 1
    counts = ", ".join(f"{count} {word}" for word, count in words.most_common())
    return [f"{words.total()} other networks: {counts}."]


def _made(count: int) -> Iterator[str]:
    """Yield what each file is taken for."""
    with tempfile.TemporaryDirectory() as folder:
        for other in others(count):
            try:
                held = other.make()
            except Exception as problem:  # noqa: BLE001  another library's version may lack a network
                print(f"{other.name}: skipped: {type(problem).__name__}: {str(problem)[:80]}", flush=True)
                continue
            path = sparse(held, Path(folder) / "weights.safetensors")
            word, line = _taken(path)
            path.unlink()
            if word not in ("refused in words", "not a ResNet"):
                print(f"{other.name}: {word}: {line}", flush=True)
            yield word


def _taken(path: Path) -> tuple[str, str]:
    try:
        held = shapes.look(path)
        found = recognise.recognise(held.networks[unwrap.MODEL], held.arch)
    except EdgeresnetError as problem:
        return "refused in words", str(problem)
    except Exception as problem:  # noqa: BLE001  a mistake of the code that is judged
        return CRASHED, _in_short(problem)
    if found is None:
        return "not a ResNet", ""
    return ("TAKEN for a ResNet", found.archs[0]) if found.archs else ("refused in words", found.words)


# Time.

_LOOK = """
import sys, time
from pathlib import Path
start = time.perf_counter()
from edgeresnet.models import recognise, shapes
loaded = time.perf_counter()
found = recognise.recognise(shapes.read(Path(sys.argv[1])), "")
end = time.perf_counter()
assert "torch" not in sys.modules, "torch was loaded"
print(end - start, end - loaded, bool(found and found.archs))
"""


def _time(args: argparse.Namespace) -> list[str]:
    """Return a table of the medians of looking at a ResNet-50's file, under three kinds of names."""
    _, real, names = FAMILIES["ResNet-50"]
    weights = Network(real, names).state_dict()
    under = {
        "torchvision's names": weights,
        "random names": renamed(weights, random.Random(0), "groups"),
        "nothing but random words": renamed(weights, random.Random(0), "tensors"),
    }
    table = ["| ResNet-50's file | with imports | read and recognise | recognised |", "|---|---|---|---|"]
    for title, tensors in under.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights.pth"
            torch.save(tensors, path)
            rows = [_looked(path) for _ in range(5)]
        whole, alone = (statistics.median(float(row[place]) for row in rows) for place in (0, 1))
        table.append(f"| {title} | {whole:.2f} s | {alone:.2f} s | {'yes' if rows[0][2] == 'True' else 'no'} |")
    return table


def _looked(path: Path) -> list[str]:
    ran = subprocess.run([sys.executable, "-c", _LOOK, str(path)], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(ran.stderr)
    return ran.stdout.split()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "what", nargs="?", default="all", choices=["all", "kinds", "renamings", "random", "others", "time"]
    )
    parser.add_argument("--kind", action="append", metavar="WORDS", help="kinds with WORDS in their name; repeatable")
    parser.add_argument("--renamings", type=int, default=500, help="random renamings; 500 by default")
    parser.add_argument("--random", type=int, default=200, help="random networks; 200 by default")
    parser.add_argument("--seed", type=int, default=0, help="of the first random network; 0 by default")
    parser.add_argument("--others", type=int, default=200, help="networks that are not a ResNet; 200 by default")
    parser.add_argument("--verbose", action="store_true", help="print each kind's outcome when it is known")
    return parser.parse_args()


if __name__ == "__main__":
    main()
