"""A sweep without networks: a runner that computes its objectives from the values of a point."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeresnet.sweeps import document, loading, loop, study
from edgeresnet.sweeps.document import Objective, Outcome, Value
from edgeresnet.sweeps.keys import Range

from ..conftest import tiny

GOALS = (Objective("max", "top1", "onnxruntime"), Objective("min", "p50", "onnxruntime"))
SPACE: Mapping[str, Any] = {"train.rate": Range(low=0.001, high=0.1, log=True), "model.arch": ("resnet18", "resnet34")}
Compute = Callable[[Mapping[str, Any]], Outcome]


class Killed(BaseException):
    """Stands for `kill -9`: nothing catches it."""


def sweep_of(space: Mapping[str, Any] = SPACE, **changes: Any) -> loading.Sweep:
    """Return a sweep of two objectives around the tiny recipe."""
    wanted: dict[str, Any] = {"trials": 8, "objectives": GOALS} | changes
    return loading.Sweep("fake", tiny(), dict(space), **wanted)


def computed(values: Mapping[str, Any]) -> Outcome:
    """Return an outcome that is better in one objective where it is worse in the other."""
    top1 = 100 * values["train.rate"] + (5 if values["model.arch"] == "resnet34" else 0)
    return outcome(top1, top1 / 2)


def outcome(top1: float, p50: float, apart: float = 0.0, **changes: Any) -> Outcome:
    """Return a feasible outcome whose intervals reach as far as `apart` to both sides."""
    values = tuple(Value(each, each - apart, each + apart) for each in (top1, p50))
    return replace(Outcome("feasible", values, "KEPT", run="r", made=2), **changes)


def failed(reason: str, **changes: Any) -> Outcome:
    return Outcome("failed", reason=reason, **changes)


class FakeRunner:
    """Runs in this process; is killed in the trial of a number."""

    slots = 1

    def __init__(self, compute: Compute = computed, killed_in: int | None = None) -> None:
        self._compute, self._killed_in = compute, killed_in
        self.ran: list[Mapping[str, object]] = []

    def submit(self, trial: loop.Trial) -> Future[Outcome]:
        if trial.number == self._killed_in:
            raise Killed
        self.ran.append(trial.params)
        future: Future[Outcome] = Future()
        future.set_result(self._compute(trial.params))
        return future

    def wait(self, running: Collection[Future[Outcome]]) -> Collection[Future[Outcome]]:
        return list(running)


def searched(sweep: loading.Sweep, file: Path, runner: FakeRunner) -> tuple[list[document.Point], str]:
    """Run a sweep; return its points and why it ended."""
    with contextlib.closing(study.Study(sweep, file)) as opened:
        ended = loop.search(sweep, opened, runner, loop.Shown())
        return opened.points, ended
