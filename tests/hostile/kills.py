"""Kill runs at random moments, run again, and compare with an undisturbed run.

    python -m tests.hostile.kills --count 200 --world FOLDER
    python -m tests.hostile.kills --count 20 --world FOLDER --searching

One of four runs trains first; the others begin with an ONNX file. A kill is -9 in two of three cases, else TERM or INT.
With `--searching`, each run searches layers to keep in float (`exclude: auto`), and each kill is -9. The target is a
device's, so that nothing is timed: times differ between any two searches.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from edgeresnet.portable import manifest

from ..conftest import hears_interrupts
from . import world as worlds
from .world import RECIPE, World

_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_LIGHT = {"size": 8, "mean": [0.305], "std": [0.376]}


def _recipes(world: World, folder: Path) -> list[Path]:
    """Write the recipes: one that trains, and one of a network that is there."""
    given: dict[str, object] = {key: value for key, value in RECIPE.items() if key not in ("train", "prune")}
    images = {"evaluation": "digits", "calibration": {"from": "digits", "count": 64}}
    given |= {"model": {"checkpoint": str(world.folder / "net.onnx"), "classes": 10}, "preprocessing": _LIGHT}
    given |= {"images": images}
    for name, raw in (("trains", RECIPE), ("given", given)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(raw))
    return [folder / "trains.yaml", folder / "given.yaml"]


def _searching(world: World, folder: Path) -> Path:
    """Write the recipe of a search that finds layers: the network is not sure of its answers, so INT8 changes some."""
    weak = {**RECIPE, "train": {"epochs": 1, "rate": 1e-5, "batch": 32, "precision": "f32"}}
    (folder / "weak.yaml").write_text(yaml.safe_dump({key: value for key, value in weak.items() if key != "prune"}))
    _outcome(_start(folder / "weak.yaml", folder / "weak"))
    shutil.copy(next((folder / "weak" / "trace").glob("*/model.onnx")), folder / "weak.onnx")
    raw = yaml.safe_load((folder / "given.yaml").read_text())
    raw |= {"model": {"checkpoint": str(folder / "weak.onnx"), "classes": 10}, "promises": {"max_flips_pct": 1.0}}
    raw |= {"quantize": {"exclude": "auto", "minutes": 30}, "targets": {"tensorrt": {"where": "bundle"}}}
    (folder / "searching.yaml").write_text(yaml.safe_dump(raw))
    return folder / "searching.yaml"


def _start(recipe: Path, store: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "edgeresnet", "run", str(recipe), "--store", str(store), "--json"]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, preexec_fn=hears_interrupts)


def _outcome(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return what a complete run measured, without times: these differ from run to run."""
    out, err = process.communicate(timeout=300)
    assert process.returncode in (0, 3, 4), err
    run = json.loads(out)
    results = run["results"].items()
    found = {name: each.get("variants", {}) for name, each in results}
    answers = {
        f"{target} {name}": (variant["predicted"], variant["accuracy"])
        for target, variants in found.items()
        for name, variant in variants.items()
    }
    found = {"answers": answers, "steps": sorted(step["id"] for step in run["steps"]), "verdict": run["verdict"]}
    searched = {step["id"]: step for step in run["steps"] if (step["notes"] or {}).get("control")}
    layers = {name: step["notes"]["control"]["chosen"]["layers"] for name, step in searched.items()}
    files = {name: manifest.sha256_of(Path(step["path"], "model.onnx")) for name, step in searched.items()}
    return {**found, "layers": layers, "files": files}


def _leftovers(store: Path) -> list[str]:
    """Return what a complete run must not leave: work folders, parts of files, artifacts without a manifest."""
    found = [str(path) for path in store.glob("work/*")] + [str(path) for path in store.rglob("*.part")]
    folders = [path for path in store.glob("*/*") if path.is_dir() and path.parts[-2] not in ("work", "cache", "locks")]
    return found + [str(path) for path in folders if not (path / "manifest.json").is_file()]


def killed(recipe: Path, store: Path, chance: random.Random, longest_s: float, signals: Sequence[int]) -> str:
    """Kill one run, perhaps twice; return the signals and when they came."""
    said = []
    for _ in range(chance.choice((1, 1, 2))):
        process, how = _start(recipe, store), signal.Signals(chance.choice(signals))
        after = chance.uniform(0.2, longest_s)
        time.sleep(after)
        process.send_signal(how)
        process.communicate(timeout=60)
        said.append(f"{how.name} after {after:.1f} s")
    return ", ".join(said)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Kill runs at random moments, and compare what the next run gives.")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--searching", action="store_true", help="kill searches for layers to keep in float")
    parser.add_argument("--world", type=Path, required=True, help="folder to make the world in, or to find it in")
    given = parser.parse_args(arguments)
    chance, ends = random.Random(given.seed), Counter[str]()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        world = worlds.make(given.world)
        recipes, signals = _recipes(world, folder), list(_SIGNALS)
        if given.searching:
            recipes, signals = [_searching(world, folder)], [signal.SIGKILL]
        wanted, longest = {}, {}
        for recipe in recipes:
            began = time.monotonic()
            wanted[recipe] = _outcome(_start(recipe, folder / recipe.stem))
            longest[recipe] = time.monotonic() - began
            if given.searching:
                print(f"undisturbed: {wanted[recipe]['layers']} in {longest[recipe]:.0f} s", flush=True)
        for number in range(given.count):
            recipe, store = recipes[min(number % 4, len(recipes) - 1)], folder / "store"
            said = killed(recipe, store, chance, longest[recipe], signals)
            same = _outcome(_start(recipe, store)) == wanted[recipe] and not _leftovers(store)
            ends["as undisturbed" if same else "another"] += 1
            if not same:
                print(f"{number}: {recipe.stem}: {said}: another result, or leftovers: {_leftovers(store)}", flush=True)
            shutil.rmtree(store)
            if (number + 1) % 10 == 0:
                print(f"{number + 1} of {given.count}: {ends['another']} with another result", flush=True)
    print(", ".join(f"{count} {end}" for end, count in ends.items()))
    return bool(ends["another"])


if __name__ == "__main__":
    sys.exit(main())
