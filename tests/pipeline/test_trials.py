"""What a run means for a sweep; and real trials, killed once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeresnet import recipe
from edgeresnet.pipeline import Listener, trials
from edgeresnet.runs import Run
from edgeresnet.store import Store
from edgeresnet.sweeps import loop
from edgeresnet.sweeps.document import Objective

from ..cli.conftest import Command, command, expect  # noqa: F401 - a fixture
from ..conftest import hears_interrupts, tiny
from ..report.test_report import run_document
from .test_robustness import wait_for

TOP1, SIZE = Objective("max", "top1", "openvino"), Objective("min", "size_mb", "openvino")
ENERGY = Objective("min", "energy_mj", "openvino")


def judged(word: str, **changes: Any) -> Run:
    """Return a stored run whose one promise has this verdict."""
    verdict: dict[str, Any] = {
        "target": "openvino",
        "promise": {"kind": "max_drop_pp", "limit": 1.0, "subject": ""},
        "verdict": word,
    }
    verdict |= {"reason": "2.00 points lost", "value": 2.0, "low": 1.5, "high": 2.5}
    return run_document(verdicts=[verdict], verdict=word, **changes)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("word", "undecided", "state"),
    [
        ("KEPT", "fail", "feasible"),
        ("UNDECIDED", "warn", "feasible"),
        ("UNDECIDED", "fail", "infeasible"),
        ("BROKEN", "warn", "infeasible"),
        ("NOT_MEASURED", "warn", "infeasible"),
    ],
)
def test_promises_are_constraints_and_undecided_counts_as_the_recipe_says(
    word: str, undecided: str, state: str
) -> None:
    found = trials.outcome_of(judged(word, undecided=undecided), [TOP1, SIZE])
    assert (found.state, found.verdict) == (state, word)
    assert [value.value for value in found.values] == [90.0, 1.25]
    if state == "infeasible":
        assert found.distance > 0
        assert found.reason == f"max_drop_pp on openvino is {word}: 2.00 points lost"


@pytest.mark.unit
def test_an_objective_that_was_not_measured_is_a_failure_with_its_reason() -> None:
    found = trials.outcome_of(judged("KEPT"), [TOP1, ENERGY])
    assert found.state == "failed"
    assert found.unmeasured == "min energy_mj openvino"
    assert found.reason
    absent = run_document(results={"openvino": {"state": "not_measured", "target": "openvino", "reason": "not here"}})
    found = trials.outcome_of(absent, [TOP1])
    assert (found.state, found.reason, found.unmeasured) == ("failed", "openvino: not here", "")


@pytest.mark.unit
def test_a_run_that_ends_early_is_a_failed_trial(tmp_path: Path) -> None:
    raw = tiny(images__evaluation=str(tmp_path / "none"), promises={})
    runner = trials.InProcess([TOP1], Store.open(tmp_path / "store"), Listener())
    found = runner.submit(loop.Trial(1, {}, recipe.parse(raw))).result()
    assert found.state == "failed"
    assert "none" in found.reason


@pytest.mark.slow
def test_real_trials_share_their_stages_and_a_kill_costs_nothing(own_store: Store, command: Command) -> None:  # noqa: F811
    raw = {
        "version": 1,
        "recipe": tiny(promises={}),
        "space": {"targets.onnxruntime.threads": [1, 2], "trace.batch": ["dynamic", 1]},
        "objectives": ["max top1", "min p50", "min size_mb"],
    }
    Path("sweep.yaml").write_text(yaml.safe_dump(raw))
    words = ("sweep", "sweep.yaml", "--store", own_store.root, "--json")
    line, pipe = [sys.executable, "-m", "edgeresnet", *map(str, words)], subprocess.PIPE
    process = subprocess.Popen(line, stdout=pipe, stderr=pipe, text=True, preexec_fn=hears_interrupts)
    wait_for(own_store.root, "sweeps/*/study.db", process)
    while len(own_store.runs()) < 2 and process.poll() is None:  # the trained one, and the first trial's
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = {path: path.stat().st_mtime_ns for path in own_store.root.glob("*/*/manifest.json")}
    out, _ = expect(0, command(*words))
    report = json.loads(out)
    assert [point["outcome"]["state"] for point in report["points"]] == ["feasible"] * 4
    assert report["points"][0]["outcome"]["reused"] >= 2, "the training, and the reference's answers"
    assert {path: path.stat().st_mtime_ns for path in before} == before, "nothing is made twice"
    best = next(point["recipe"] for point in report["points"] if point["recipe"])
    _, err = expect(0, command("run", best, "--store", own_store.root))
    assert "nothing to do" in err
