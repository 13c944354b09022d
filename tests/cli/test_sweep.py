"""`edgeresnet sweep` from outside: what it prints, its exit code, and how it goes on. Trials are made up."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeresnet import cli, targets
from edgeresnet.pipeline import trials
from edgeresnet.portable.session import Availability
from edgeresnet.sweeps import loop
from edgeresnet.sweeps.document import Outcome

from ..conftest import tiny
from ..sweeps.fake import failed, outcome
from .conftest import Command, err_of, expect, out_of, refused

pytestmark = pytest.mark.unit

Compute = Callable[[Mapping[str, Any]], Outcome]


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch) -> Callable[[Compute], list[loop.Trial]]:
    """`trial(compute)` stands for the run of a point; it returns a list that gets the trials that were run."""

    def use(compute: Compute) -> list[loop.Trial]:
        ran: list[loop.Trial] = []

        def submit(self: trials.InProcess, trial: loop.Trial) -> Future[Outcome]:
            future: Future[Outcome] = Future()
            future.set_result(compute(trial.params))
            ran.append(trial)
            return future

        monkeypatch.setattr(trials.InProcess, "submit", submit)
        monkeypatch.setattr(trials, "_check_targets", lambda wanted: None)
        return ran

    return use


def written(**changes: Any) -> str:
    """Write sweep.yaml into the current folder, of four points."""
    raw = {
        "version": 1,
        "recipe": tiny(),
        "space": {"train.epochs": [1, 2], "seed": [0, 1]},
        "objectives": ["max top1", "min size_mb"],
    }
    Path("sweep.yaml").write_text(yaml.safe_dump(raw | changes, sort_keys=False))
    return "sweep.yaml"


def by_epochs(params: Mapping[str, Any]) -> Outcome:
    return outcome(50.0 + params["train.epochs"] + params["seed"], 1.0 + params["seed"])


def test_a_sweep_ends_with_its_front_and_a_page(command: Command, trial: Callable[[Compute], list[loop.Trial]]) -> None:
    ran = trial(by_epochs)
    out, err = expect(0, command("sweep", written()))
    assert out.startswith("The front: 2 trials that no other trial is shown to beat")
    assert "4 of 40 trials: 4 feasible; every point of the space was tried." in out
    assert len(ran) == 4
    assert err.splitlines()[0] == "40 trials"
    assert err.splitlines()[1].startswith("trial 1 of 40: train.epochs ")
    (page,) = Path("artifacts").glob("sweeps/*/page.html")
    assert f"page:    {page}" in out
    out, err = expect(0, command("sweep", "sweep.yaml", "--quiet", "--json"))
    assert (err, len(ran)) == ("", 4), "nothing is run twice"
    report = json.loads(out)
    assert len(report["front"]) == 2
    assert report["objectives"][0] == {"direction": "max", "metric": "top1", "target": "onnxruntime"}
    recipes = [Path(point["recipe"]) for point in report["points"] if point["recipe"]]
    assert len(recipes) == 2
    assert all(path.is_file() for path in recipes)


def test_ctrl_c_ends_in_one_line_and_the_study_goes_on(
    command: Command, trial: Callable[[Compute], list[loop.Trial]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(params: Mapping[str, Any]) -> Outcome:
        if len(ran) == 2:
            raise KeyboardInterrupt
        return by_epochs(params)

    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(cli, "_leave", leave)
    ran = trial(interrupted)
    err = err_of(130, command("sweep", written(trials=4), "--quiet"))
    last = "error: interrupted (2 of 4 trials are stored: `edgeresnet sweep sweep.yaml` goes on)"
    assert err.strip().splitlines() == [last]
    before, ran = ran, trial(by_epochs)
    err = err_of(0, command("sweep", "sweep.yaml"))
    assert err.splitlines()[0] == "4 trials, 2 done already, 1 interrupted, tried again"
    assert len(before) == len(ran) == 2


def test_no_feasible_point_is_exit_code_3(command: Command, trial: Callable[[Compute], list[loop.Trial]]) -> None:
    trial(lambda _: outcome(50, 1, state="infeasible", verdict="BROKEN", reason="max_drop_pp is BROKEN", distance=1.0))
    out = out_of(3, command("sweep", written()))
    assert out.startswith("No trial is feasible")
    assert "trials 1, 2, 3, 4: max_drop_pp is BROKEN" in out


def test_if_every_trial_fails_it_says_why(command: Command, trial: Callable[[Compute], list[loop.Trial]]) -> None:
    trial(lambda params: failed(f"seed {params['seed']} is bad"))
    err = err_of(4, command("sweep", written(space={"seed": [1, 2]}), "--quiet"))
    assert err.startswith("error: all 2 trials failed: seed ")
    ran = trial(by_epochs_of_seed)
    out = out_of(0, command("sweep", "sweep.yaml", "--retry-failed", "--quiet"))
    assert len(ran) == 2
    assert "2 feasible" in out


def by_epochs_of_seed(params: Mapping[str, Any]) -> Outcome:
    return outcome(50.0 + params["seed"], 1.0)


def test_what_cannot_be_measured_is_one_line(command: Command, trial: Callable[[Compute], list[loop.Trial]]) -> None:
    trial(lambda _: failed("no energy sensor", hint="read the guide", unmeasured="min energy_mj onnxruntime"))
    line = "error: the objective `min energy_mj onnxruntime` cannot be measured: no energy sensor (read the guide)\n"
    assert refused(command("sweep", written(), "--quiet"), 4) == line


def test_wrong_keys_are_listed_before_anything_is_made(command: Command) -> None:
    err = err_of(2, command("sweep", written(space={"train.epoch": [1]}, trails=3)))
    assert "  sweep.yaml:" in err
    assert err.splitlines()[-1].startswith("error: sweep.yaml has ")
    assert not Path("artifacts").exists()
    assert "does not exist" in refused(command("sweep", "none.yaml"))


def test_a_target_that_is_not_here_is_refused_before_the_first_trial(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = Availability(False, "it is not installed", hint="pip install it")
    monkeypatch.setattr(type(targets.get("onnxruntime")), "available", lambda self, options=None: absent)
    line = refused(command("sweep", written(), "--quiet"), 4)
    assert line == f"error: {targets.get('onnxruntime').title} is not available: it is not installed (pip install it)\n"
    assert not list(Path("artifacts").glob("runs/*"))


def test_clean_removes_a_sweep_with_all_else(command: Command, trial: Callable[[Compute], list[loop.Trial]]) -> None:
    trial(by_epochs)
    expect(0, command("sweep", written(), "--quiet"))
    assert list(Path("artifacts").glob("sweeps/*/study.db"))
    expect(0, command("clean", "--older-than", "0s"))
    assert not list(Path("artifacts").glob("sweeps/*"))
