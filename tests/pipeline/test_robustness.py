"""Real processes, killed, raced, interrupted, and out of disk. The store must never mind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeresnet import pipeline
from edgeresnet.recipe import load
from edgeresnet.store import Store

from ..conftest import hears_interrupts, tiny, write_recipe

SLOW = tiny(
    verify={"processes": 1, "seconds": 0.1},
    images__training={"from": "digits", "count": 300},
    train__epochs=3,
    promises={},
)


def start(recipe: Path, store: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "edgeresnet", "run", str(recipe), "--store", str(store), "--json", *more]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, preexec_fn=hears_interrupts)


def finish(process: subprocess.Popen[str]) -> tuple[int, dict, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, json.loads(out) if out.strip() else {}, err


def wait_for(store: Path, pattern: str, process: subprocess.Popen[str]) -> None:
    for _ in range(6000):
        if list(store.glob(pattern)) or process.poll() is not None:
            return
        time.sleep(0.01)
    raise AssertionError(f"{pattern} never came")


# Where the run is when it is killed: loading, training, after training, tracing, or measuring.
MOMENTS = [
    "work/train-*/scratch/state.pt",
    pytest.param("locks", marks=pytest.mark.slow),
    pytest.param("train/*", marks=pytest.mark.slow),
    pytest.param("work/trace-*", marks=pytest.mark.slow),
    pytest.param("work/verify-*", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_killed_at_any_moment_leaves_a_store_that_works(tmp_path: Path, moment: str) -> None:
    recipe, store = write_recipe(tmp_path, SLOW), tmp_path / "store"
    process = start(recipe, store)
    wait_for(store, moment, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    run = pipeline.run(load(recipe), Store(store))
    assert run.verdict == "KEPT"
    assert not any(warning.code == "made-again" for step in run.steps for warning in step.warnings)
    assert not list((store / "work").iterdir())
    again = pipeline.preview(load(recipe), Store(store))
    assert [outcome.step.id for outcome in again if outcome.state != "done"] == []


@pytest.mark.slow
def test_two_runs_share_one_store_at_once(tmp_path: Path) -> None:
    recipe, store = write_recipe(tmp_path, SLOW), tmp_path / "store"
    both = [start(recipe, store), start(recipe, store)]
    found = [finish(process) for process in both]
    assert [code for code, _, _ in found] == [0, 0]
    runs = [run for _, run, _ in found]
    assert runs[0]["results"] == runs[1]["results"]
    made = [step["id"] for run in runs for step in run["steps"] if step["state"] == "made"]
    assert len(made) == len(set(made)), "something was made twice"
    assert len(list((store / "runs").glob("*.json"))) == 2


def test_ctrl_c_ends_in_one_line_and_training_goes_on_later(tmp_path: Path) -> None:
    recipe, store = (
        write_recipe(tmp_path, tiny(verify={"processes": 1, "seconds": 0.1}, train__epochs=200, promises={})),
        tmp_path / "store",
    )
    process = start(recipe, store)
    wait_for(store, "work/train-*/scratch/state.pt", process)
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130
    assert "Traceback" not in err
    assert err.strip().splitlines()[-1] == "error: interrupted (run it again: finished stages are stored)"
    assert list(store.glob("work/train-*/scratch/state.pt"))
    halfway = json.loads(next((store / "runs").glob("*.json")).read_text())
    assert halfway["problem"]["message"] == "interrupted"


@contextlib.contextmanager
def _small_disk(folder: Path, kilobytes: int) -> Iterator[None]:
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("no right to mount a small disk here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


@pytest.mark.skipif(os.name != "posix", reason="mounts a small disk")
@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [8, 500, 1100, 1700])
def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path, kilobytes: int) -> None:
    recipe, disk = write_recipe(tmp_path, SLOW), tmp_path / "disk"
    with _small_disk(disk, kilobytes):
        code, _, err = finish(start(recipe, disk / "store"))
        assert code == 5, err
        assert "Traceback" not in err
        assert err.strip().splitlines()[-1].startswith("error: the disk is full")
        subprocess.run(["mount", "-o", "remount,size=20000k", str(disk)], check=True)
        code, run, err = finish(start(recipe, disk / "store"))
        assert code == 0, err
        assert run["verdict"] == "KEPT"
