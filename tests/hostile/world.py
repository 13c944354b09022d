"""What there is to damage: a small run with its store, a baseline, a bundle with a device's result, a network."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

# Three targets' worth of stages on two: what is measured here, and what a device measured.
RECIPE: dict[str, object] = {
    "version": 1,
    "model": {"arch": "cifar_resnet8", "classes": 10},
    "preprocessing": {"size": 8, "mean": [0.305], "std": [0.376]},
    "images": {
        "training": {"from": "digits", "count": 500},
        "evaluation": "digits",
        "calibration": {"from": "training", "count": 64},
    },
    "train": {"epochs": 2, "rate": 0.01, "batch": 32, "precision": "f32"},
    "prune": {"macs": 0.8, "multiple": 4},
    "quantize": {"effort": "fast"},
    "verify": {"processes": 2, "seconds": 0.2},
    "targets": {"onnxruntime": {}},
    "promises": {"max_drop_pp": 20.0},
}


@dataclass(frozen=True)
class World:
    """A folder with the parts below. Nothing in it is ever changed: a case copies what it damages."""

    folder: Path

    @property
    def store(self) -> Path:
        """The store of a finished run of `recipe.yaml`."""
        return self.folder / "store"

    @property
    def recipe(self) -> Path:
        return self.folder / "recipe.yaml"

    @property
    def run(self) -> Path:
        """The file of that run."""
        return max((self.store / "runs").glob("*.json"))

    @property
    def gate(self) -> Path:
        """A baseline of that run."""
        return self.folder / "gate.json"

    @property
    def exporting(self) -> Path:
        """The store of a run that wrote a bundle, and waits for its device's result."""
        return self.folder / "exporting"

    @property
    def bundle(self) -> Path:
        return next((self.folder / "out").glob("*-onnxruntime"))

    @property
    def result(self) -> Path:
        """What the bundle's deploy.py wrote."""
        return self.bundle / "result.json"

    def artifact(self, stage: str) -> Path:
        """Return the first folder that this stage made."""
        return min(path.parent for path in (self.store / stage).glob("*/manifest.json"))


def make(folder: Path) -> World:
    """Make the world by the commands themselves, once: a minute."""
    world = World(folder)
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        world.recipe.write_text(yaml.safe_dump(RECIPE, sort_keys=False))
        _call(folder, "run", "recipe.yaml", "--store", "store", "--quiet")
        _call(folder, "gate", "--update", "--store", "store")
        shutil.copy(world.artifact("trace") / "model.onnx", folder / "net.onnx")
        asked = ("--calibration", "digits", "--count", "40", "--evaluation", "digits")
        _call(
            folder, "export", "net.onnx", *asked, "--target", "onnxruntime", "--output", "out", "--store", "exporting"
        )
        subprocess.run(
            [sys.executable, str(world.bundle / "deploy.py"), "--processes", "1", "--seconds", "0.2"],
            check=True,
            capture_output=True,
        )
        (folder / "done").touch()
    return world


def _call(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgeresnet", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)


def link(source: Path, folder: Path) -> Path:
    """Copy a file or a folder by hard links: a case writes new files, and changes none of these."""
    if source.is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.hardlink_to(source)
        return folder
    with contextlib.suppress(FileExistsError):
        folder.mkdir(parents=True)
    for path in source.rglob("*"):
        there = folder / path.relative_to(source)
        there.mkdir(parents=True, exist_ok=True) if path.is_dir() else link(path, there)
    return folder


def replace(path: Path, data: bytes) -> None:
    """Give a linked file another content: the one that it shares stays."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
