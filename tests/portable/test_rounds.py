"""Rounds of processes that were timed before an interruption: continued, unless networks or machine changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeresnet.context import Context
from edgeresnet.errors import TargetError
from edgeresnet.portable import machine, worker
from edgeresnet.portable.measure import Round, TimingPlan
from edgeresnet.stages import verify

from .scripted import Scripted, here, job

PLAN = TimingPlan(3, 0.01)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[worker.Job]:
    """The jobs that were started, each in this process."""
    jobs: list[worker.Job] = []

    def start(given: worker.Job) -> worker.Worker:
        jobs.append(given)
        return here(given)

    monkeypatch.setattr(worker, "start", start)
    return jobs


def _rounds(folder: Path, digest: str = "d", ends: int = 0) -> tuple[list[Round], Context]:
    """Time three rounds; the device is lost in the process with the number `ends`."""
    ctx, session = Context(seed=0, scratch=folder), Scripted()
    device = _Lost(ends) if ends else session
    return verify._rounds({"a": job(device)}, PLAN, [digest], ctx), ctx


class _Lost(Scripted):
    """Loads a number of times, and then no more."""

    def __init__(self, times: int):
        super().__init__()
        self.times = times

    def __enter__(self) -> Any:
        self.times -= 1
        if self.times == 0:
            raise TargetError("the network", "failed: device lost", hint="again")
        return self


def _interrupted(folder: Path) -> None:
    with pytest.raises(TargetError, match="a: the network failed: device lost"):
        _rounds(folder, ends=3)


def test_an_interrupted_measurement_continues(tmp_path: Path, started: list[worker.Job]) -> None:
    _interrupted(tmp_path)
    started.clear()
    found, ctx = _rounds(tmp_path)
    assert (len(found), len(started)) == (3, 1)
    (warning,) = ctx.warnings
    assert warning.code == "continued"
    assert warning.text.startswith("timing continues after an interruption: 2 of 3 rounds date from 20")
    assert len(_rounds(tmp_path)[0]) == 3
    assert len(started) == 1


def test_rounds_of_other_networks_are_not_continued(tmp_path: Path, started: list[worker.Job]) -> None:
    _interrupted(tmp_path)
    started.clear()
    found, ctx = _rounds(tmp_path, "other")
    assert (len(found), len(started), ctx.warnings) == (3, 3, [])


def test_rounds_of_a_machine_in_another_state_are_not_continued(
    tmp_path: Path, started: list[worker.Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    _interrupted(tmp_path)
    started.clear()
    real = machine.conditions()
    monkeypatch.setattr(machine, "conditions", lambda: replace(real, power_mode="15W"))
    assert (len(_rounds(tmp_path)[0]), len(started)) == (3, 3)


@pytest.mark.parametrize("text", ["", "{", '{"about": [], "rounds": []}', "[]"])
def test_damaged_rounds_are_measured_again(tmp_path: Path, started: list[worker.Job], text: str) -> None:
    (tmp_path / "rounds.json").write_text(text)
    assert (len(_rounds(tmp_path)[0]), len(started)) == (3, 3)
