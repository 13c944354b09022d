"""Shared by all tests: tiers, tiny recipes, one trained network per suite, and a header on what is not exercised."""

from __future__ import annotations

import fcntl
import functools
import importlib
import importlib.abc
import inspect
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

# Several tests run at once, on networks too small to gain by threads: a thread each, and those that wait sleep.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import hypothesis
import numpy as np
import pytest
from PIL import Image

from edgeresnet import pipeline, recipe, targets
from edgeresnet.portable.result import Measured
from edgeresnet.runs import Run, StepRecord
from edgeresnet.stages import trace
from edgeresnet.store import Store
from edgeresnet.targets import _cuda

from . import exports

STANDIN = Path(__file__).parent / "standin"  # for TensorRT and a GPU
# No deadline: how long an example takes depends on the machine. The same examples in every run, so that a change does
# not fail by chance; `pytest --hypothesis-profile=explore` draws others.
hypothesis.settings.register_profile("explore", deadline=None)
hypothesis.settings.register_profile("fixed", deadline=None, derandomize=True)
hypothesis.settings.load_profile("fixed")
DATA = os.environ.get("EDGERESNET_DATA")  # a folder with cifar10 class folders `eval` and `train`, and weights


def pytest_report_header(config: pytest.Config) -> list[str]:
    if config.getoption("--tier") == ["unit"]:
        return ["unit tests: an import of torch or of a runtime is an error"]
    lines = []
    for name, target in targets.discover().items():
        found = target.available()
        lines.append(f"target {name}: {dict(found.versions) if found.ok else 'not exercised, ' + found.reason}")
    if not DATA:
        lines.append("real weights and images: not exercised, EDGERESNET_DATA names no folder")
    return lines


TIERS = ("unit", "flow", "slow", "nightly")
HEAVY = {"torch", "torchvision", "timm", "onnxscript", "onnxruntime", "openvino", "tensorrt", "tensorrt_rtx"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--tier",
        action="append",
        choices=TIERS,
        help="the tests of this tier, and no others; may be given more than once. Default: unit and flow",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--tier") == ["unit"]:
        sys.meta_path.insert(0, Refused())


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skip files of other tiers: those that import torch in the unit tier, those of unit tests in the others."""
    tiers = config.getoption("--tier")
    if not tiers or not collection_path.match("test_*.py"):
        return None
    text = collection_path.read_text()
    if "unit" not in tiers:
        return "\npytestmark = pytest.mark.unit\n" in text or None
    return (tiers == ["unit"] and "mark.unit" not in text) or None


class Refused(importlib.abc.MetaPathFinder):
    """Makes an import of torch or of a runtime an error: a unit test needs neither."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> None:
        if name.split(".")[0] in HEAVY:
            raise AssertionError(f"a unit test imports {name}: give it what it needs, or take its mark `unit` away")


def tier_of(item: pytest.Item) -> str:
    """Return the slowest tier that a test or its file is marked with; flow where none is.

    What names TensorRT-RTX is slow: `make test-slow` installs it.
    """
    marked = next((tier for tier in ("nightly", "slow", "unit") if item.get_closest_marker(tier)), "flow")
    return "slow" if marked == "flow" and "tensorrt_rtx" in item.nodeid else marked


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    tiers = config.getoption("--tier")
    if tiers:
        others = [item for item in items if tier_of(item) not in tiers]
        items[:] = [item for item in items if tier_of(item) in tiers]
        config.hook.pytest_deselected(items=others)
        return
    for item in items:
        if (tier := tier_of(item)) in ("slow", "nightly"):
            item.add_marker(pytest.mark.skip(reason=f"`--tier {tier}` runs it"))


def tiny(**changes: Any) -> dict[str, Any]:
    """Return a recipe on the shipped digits that trains in about a second."""
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


def step_of(run: Run, name: str) -> StepRecord:
    """Return the step of a run by its id."""
    return next(step for step in run.steps if step.id == name)


def folder_of(run: Run, name: str) -> Path:
    """Return the folder that a step of a run made."""
    path = step_of(run, name).path
    assert path is not None, f"{name} made nothing"
    return Path(path)


def traced(run: Run) -> Path:
    """Return the network that a run traced."""
    return folder_of(run, "trace") / "model.onnx"


def result_of(run: Run, target: str) -> Measured:
    """Return what a run measured on a target."""
    result = run.results[target]
    assert isinstance(result, Measured), result
    return result


def hears_interrupts() -> None:
    """Restore SIGINT, as the `preexec_fn` of a process that a test interrupts: a background job ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def write_recipe(folder: Path, raw: dict[str, Any]) -> Path:
    import yaml

    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of the suite share."""
    root = tmp_path_factory.getbasetemp()
    return root.parent if os.environ.get("PYTEST_XDIST_WORKER") else root


@pytest.fixture(scope="session", autouse=True)
def _exported_once(shared_folder: Path) -> Iterator[None]:
    """Export equal networks to ONNX once in a suite; `fresh_exports` is for tests of the exporter itself."""
    folder = shared_folder / "exports"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace, "to_onnx", exports.remembered(trace.to_onnx, folder))
        yield


@pytest.fixture
def fresh_exports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Export each network again."""
    monkeypatch.setattr(trace, "to_onnx", inspect.unwrap(trace.to_onnx))


@pytest.fixture(scope="session", autouse=True)
def _short_windows() -> Iterator[None]:
    """Measure a few windows of some milliseconds, in this process: no test judges real time.

    Two windows always agree here, so that a busy machine does not make a measurement longer. Real processes and real
    windows have tests of their own (tests/portable/test_measure.py, and where `start` is set back).
    """
    from edgeresnet.portable import measure, worker

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace, "_quiet", _operators_are_listed_once(trace._quiet))
        patch.setattr(measure, "WINDOW_S", 0.008)
        patch.setattr(measure, "_STABLE", float("inf"))
        patch.setattr(worker, "_WARM_GROUP_S", 0.002)
        patch.setattr(worker, "start", worker.Worker)
        yield


def _operators_are_listed_once(real: Callable[[], Any]) -> Callable[[], Any]:
    """Make torch's exporter list its operators once, not for each network: 0.6 s of 1.5."""

    @functools.cache
    def prepare() -> None:
        from torch.onnx._internal.exporter import _registration

        registry: Any = getattr(_registration, "ONNXRegistry", None)
        if hasattr(registry, "from_torchlib"):
            registry.from_torchlib = staticmethod(functools.cache(registry.from_torchlib))

    def quiet() -> Any:
        prepare()
        return real()

    return quiet


@pytest.fixture(scope="session")
def once(shared_folder: Path) -> Callable[[str, Callable[[Path], None]], Path]:
    """`once(name, make)` is a folder that `make` filled: by the first process of the suite that needs it."""

    def find_or_make(name: str, make: Callable[[Path], None]) -> Path:
        folder, done = shared_folder / f"once-{name}", shared_folder / f"once-{name}.done"
        with (shared_folder / f"once-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return find_or_make


@pytest.fixture(scope="session")
def trained(once: Callable[[str, Callable[[Path], None]], Path]) -> tuple[Store, Run]:
    """A finished run of the tiny recipe, and its store. Tests that change the store copy it first."""

    def run(folder: Path) -> None:
        pipeline.run(recipe.parse(tiny()), Store.open(folder))

    store = Store.open(once("trained", run))
    return store, store.load_run()


@pytest.fixture
def own_store(trained: tuple[Store, Run], tmp_path: Path) -> Store:
    """A copy of the trained store that a test may damage."""
    shutil.copytree(trained[0].root, tmp_path / "store")
    return Store(tmp_path / "store")


@pytest.fixture
def net(trained: tuple[Store, Run], tmp_path: Path) -> Path:
    """The trained network as an ONNX file of the user's own."""
    return Path(shutil.copy(traced(trained[1]), tmp_path / "net.onnx"))


@pytest.fixture(scope="session")
def colours(once: Callable[[str, Callable[[Path], None]], Path]) -> Callable[[str], Path]:
    """Class folders of noisy red, green and blue squares: a network that mixes up channels fails on them at once."""

    def folder(name: str) -> Path:
        def make(root: Path) -> None:
            rng = np.random.default_rng(sum(map(ord, name)))
            for channel, label in enumerate(("red", "green", "blue")):
                (root / label).mkdir()
                for number in range(40):
                    pixels = rng.integers(0, 120, (10, 12, 3))
                    pixels[..., channel] += 110
                    Image.fromarray(pixels.astype(np.uint8)).save(root / label / f"{number:03}.png")

        return once(f"colours-{name}", make)

    return folder


@pytest.fixture
def add_target(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Add a target of the test's own to the real ones."""

    def add(target: Any) -> None:
        known = {**targets.discover(), target.name: target}
        monkeypatch.setattr(targets, "discover", lambda: known)

    return add


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return the target `tensorrt` on a stand-in: `standin(version="11.4.0", fails="memory")`. Processes started here
    have it too.
    """
    monkeypatch.syspath_prepend(str(STANDIN))
    monkeypatch.setattr(_cuda, "load", _cuda.load)  # put back afterwards: importing the stand-in changes it
    sys.modules.pop("tensorrt", None)

    def use(**changes: str) -> targets.Target:
        for name, value in changes.items():
            monkeypatch.setenv(f"STANDIN_{name.upper()}", value)
        sys.modules.pop("tensorrt", None)
        importlib.import_module("tensorrt")
        return targets.get("tensorrt")

    yield use
    sys.modules.pop("tensorrt", None)


@pytest.fixture(scope="session")
def bars(once: Callable[[str, Callable[[Path], None]], Path]) -> Callable[[str], Path]:
    """Class folders of wide pictures of a bar. Its colour, how bright it is and how wide tell the class: a network
    that swaps channels, scales pixels otherwise or squashes the picture sees other classes, and not a mere exchange.
    """
    colours = {"amber": (200, 130, 30), "brown": (110, 70, 20), "green": (40, 170, 60), "rust": (180, 50, 20)}

    def folder(name: str) -> Path:
        def make(root: Path) -> None:
            rng = np.random.default_rng(sum(map(ord, name)))
            for colour, level in colours.items():
                for width in (3, 6):
                    label = root / f"{colour}{width}"
                    label.mkdir()
                    for number in range(40):
                        pixels = rng.integers(60, 110, (16, 30, 3))
                        left = int(rng.integers(9, 16))
                        pixels[:, left : left + width] = np.asarray(level) + rng.integers(-12, 13, (16, width, 3))
                        Image.fromarray(pixels.astype(np.uint8)).save(label / f"{number:03}.png")

        return once(f"bars-{name}", make)

    return folder


@pytest.fixture(scope="session")
def bars_run(
    bars: Callable[[str], Path], once: Callable[[str, Callable[[Path], None]], Path]
) -> tuple[Store, Run, Path]:
    """(store, run, evaluation folder) of a network that tells these bars apart, trained on 16×16 middles of them."""
    raw = tiny(
        model={"arch": "cifar_resnet8"},
        preprocessing={"size": 16, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        images={"training": str(bars("training")), "evaluation": str(bars("evaluation"))},
        train={"epochs": 10, "rate": 0.01, "batch": 32, "schedule": "one-cycle", "precision": "f32"},
    )

    def run(folder: Path) -> None:
        pipeline.run(recipe.parse(raw), Store.open(folder))

    store = Store.open(once("bars-store", run))
    return store, store.load_run(), bars("evaluation")
