"""Shared by all tests: tiny recipes, one trained network per session, and a header saying what is not exercised."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Threads that wait for work sleep: those of several tests at once would take the cores from each other by spinning.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pytest
from PIL import Image

from edgeresnet import pipeline, recipe, targets
from edgeresnet.artifact import Store
from edgeresnet.targets import _cuda

STANDIN = Path(__file__).parent / "standin"  # for TensorRT and a GPU
DATA = os.environ.get("EDGERESNET_DATA")  # a folder with cifar10 class folders `eval` and `train`, and weights


def pytest_report_header() -> list[str]:
    lines = []
    for name, target in targets.discover().items():
        found = target.available()
        lines.append(f"target {name}: {dict(found.versions) if found.ok else 'not exercised, ' + found.reason}")
    if not DATA:
        lines.append("real weights and images: not exercised, EDGERESNET_DATA names no folder")
    return lines


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="the slow tests too")
    parser.addoption("--slow", action="store_true", help="what is left out without: slow tests, and TensorRT-RTX's")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        items[:] = [item for item in items if item.get_closest_marker("slow") or "tensorrt_rtx" in item.nodeid]
    elif not config.getoption("--all"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="slow: `make test-all` runs it"))


def tiny(**changes: Any) -> dict[str, Any]:
    """A recipe on the shipped digits that trains in about a second."""
    raw: dict[str, Any] = {
        "version": 1,
        "model": {"arch": "cifar_resnet8", "classes": 10},
        "preprocessing": {"size": 8, "mean": [0.305], "std": [0.376]},
        "images": {"training": {"from": "digits", "count": 500}, "evaluation": "digits"},
        "train": {"epochs": 4, "rate": 0.01, "batch": 32, "schedule": "one-cycle", "precision": "f32"},
        "verify": {"processes": 3, "seconds": 0.5},
        "targets": {"onnxruntime": {}},
        "promises": {"max_drop_pp": 2.0},
    }
    for path, value in changes.items():
        here = raw
        *sections, key = path.split("__")
        for section in sections:
            here = here.setdefault(section, {})
        if value is None:
            here.pop(key, None)
        else:
            here[key] = value
    return raw


def write_recipe(folder: Path, raw: dict[str, Any]) -> Path:
    import yaml

    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


@pytest.fixture(scope="session", autouse=True)
def _short_windows() -> Iterator[None]:
    """No test judges real time: a few windows of a twentieth of a second, in this process, show that the way is whole.

    Real processes have tests of their own (tests/device/test_measure.py, and where `start` is set back).
    """
    from edgeresnet.device import measure, worker

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "WINDOW_S", 0.02)
        patch.setattr(worker, "_WARM_GROUP_S", 0.01)
        patch.setattr(worker, "start", worker.Worker)
        yield


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, dict[str, Any]]:
    """A finished run of the tiny recipe, and the store it lies in. Tests that change the store copy it first."""
    store = Store.open(tmp_path_factory.mktemp("trained"))
    return store, pipeline.run(recipe.parse(tiny()), store)


@pytest.fixture
def own_store(trained: tuple[Store, dict[str, Any]], tmp_path: Path) -> Store:
    """A copy of the trained store that a test may damage."""
    shutil.copytree(trained[0].root, tmp_path / "store")
    return Store(tmp_path / "store")


@pytest.fixture
def net(trained: tuple[Store, dict[str, Any]], tmp_path: Path) -> Path:
    """The trained network as an ONNX file of the user's own."""
    traced = next(step["path"] for step in trained[1]["steps"] if step["id"] == "trace")
    return Path(shutil.copy(Path(traced) / "model.onnx", tmp_path / "net.onnx"))


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Class folders of noisy red, green and blue squares: a network that mixes up channels fails on them at once."""
    root = tmp_path_factory.mktemp("colours")

    def folder(name: str) -> Path:
        if not (root / name).exists():
            rng = np.random.default_rng(sum(map(ord, name)))
            for channel, label in enumerate(("red", "green", "blue")):
                (root / name / label).mkdir(parents=True)
                for number in range(40):
                    pixels = rng.integers(0, 120, (10, 12, 3))
                    pixels[..., channel] += 110
                    Image.fromarray(pixels.astype(np.uint8)).save(root / name / label / f"{number:03}.png")
        return root / name

    return folder


@pytest.fixture
def add_target(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Puts a target of the test's own beside the real ones."""

    def add(target: Any) -> None:
        known = {**targets.discover(), target.name: target}
        monkeypatch.setattr(targets, "discover", lambda: known)

    return add


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`standin(version="11.4.0", fails="memory")` is the target `tensorrt` as it would be there, here and in processes
    that are started from here.
    """
    monkeypatch.syspath_prepend(str(STANDIN))
    monkeypatch.setattr(_cuda, "load", _cuda.load)  # put back afterwards: importing the stand-in changes it
    sys.modules.pop("tensorrt", None)

    def use(**said: str) -> targets.Target:
        for name, value in said.items():
            monkeypatch.setenv(f"STANDIN_{name.upper()}", value)
        sys.modules.pop("tensorrt", None)
        importlib.import_module("tensorrt")
        return targets.get("tensorrt")

    yield use
    sys.modules.pop("tensorrt", None)


@pytest.fixture(scope="session")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Class folders of wide pictures of a bar. Its colour, how bright it is and how wide tell the class: whoever turns
    channels round, scales pixels otherwise or squashes the picture sees other classes, and no mere exchange of them.
    """
    root = tmp_path_factory.mktemp("bars")
    colours = {"amber": (200, 130, 30), "brown": (110, 70, 20), "green": (40, 170, 60), "rust": (180, 50, 20)}

    def folder(name: str) -> Path:
        if not (root / name).exists():
            rng = np.random.default_rng(sum(map(ord, name)))
            for colour, level in colours.items():
                for width in (3, 6):
                    label = root / name / f"{colour}{width}"
                    label.mkdir(parents=True)
                    for number in range(40):
                        pixels = rng.integers(60, 110, (16, 30, 3))
                        left = int(rng.integers(9, 16))
                        pixels[:, left : left + width] = np.asarray(level) + rng.integers(-12, 13, (16, width, 3))
                        Image.fromarray(pixels.astype(np.uint8)).save(label / f"{number:03}.png")
        return root / name

    return folder


@pytest.fixture(scope="session")
def bars_run(
    bars: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, dict[str, Any], Path]:
    """(store, run, evaluation folder) of a network that tells these bars apart, trained on 16×16 middles of them."""
    raw = tiny(
        model={"arch": "cifar_resnet8"},
        preprocessing={"size": 16, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        images={"training": str(bars("training")), "evaluation": str(bars("evaluation"))},
        train={"epochs": 10, "rate": 0.01, "batch": 32, "schedule": "one-cycle", "precision": "f32"},
    )
    store = Store.open(tmp_path_factory.mktemp("bars-store"))
    return store, pipeline.run(recipe.parse(raw), store), bars("evaluation")
