"""The workflow in pipelines/ci is executed as it stands, action.yml included, on a tiny recipe."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from .actions import OURS, Runner, evaluate
from .conftest import write_recipe

FILE = Path(__file__).parent.parent / "pipelines" / "ci" / "gate.yml"
WORKFLOW = yaml.safe_load(FILE.read_text())
GATE: dict[str, Any] = WORKFLOW["jobs"]["gate"]
EVENTS = True  # how YAML 1.1 reads the word `on`
OUR_PULL_REQUEST = {
    "github.event_name": "pull_request",
    "github.event.pull_request.head.repo.full_name": "me/mine",
    "github.repository": "me/mine",
}


def test_the_workflow_begins_with_what_it_is_for_and_uses_the_action() -> None:
    assert FILE.read_text().startswith("# A gate for GitHub Actions")
    assert list(WORKFLOW["jobs"]) == ["gate"]
    assert [step for step in GATE["steps"] if OURS.fullmatch(step.get("uses", ""))]
    assert WORKFLOW["permissions"] == {"contents": "read"}


def test_no_branch_cancels_anothers_gate() -> None:
    assert "github.ref" in WORKFLOW["concurrency"]["group"], "a gate that waits is cancelled by the next of its group"
    events = WORKFLOW[EVENTS]
    assert events["push"] == {"branches": ["main"]}, "a branch is measured once, by its pull request"
    assert set(events) == {"push", "pull_request", "workflow_dispatch"}


@pytest.mark.parametrize(
    ("event", "owner", "is_ours"),
    [
        ("push", "", True),
        ("workflow_dispatch", "", True),
        ("pull_request", "me/mine", True),
        ("pull_request", "fork/mine", False),
        ("pull_request", "", False),  # of a fork that is gone
    ],
)
def test_no_fork_runs_its_code_on_the_runner(event: str, owner: str, is_ours: bool, tmp_path: Path) -> None:
    changes = {"github.event_name": event, "github.event.pull_request.head.repo.full_name": owner}
    context = {**OUR_PULL_REQUEST, **changes}
    (machine,) = re.findall(r"\$\{\{(.+)\}\}", GATE["runs-on"])
    assert evaluate(machine, context) == (["self-hosted", "edgeresnet"] if is_ours else ["ubuntu-latest"])
    if not is_ours:
        runner = Runner(tmp_path)
        done = runner.job(GATE, context)
        assert done.code == 1, "a job that is skipped is green on GitHub"
        assert "::error::edgeresnet does not measure a fork's change" in done.output
        assert (runner.used, runner.words("pip")) == ([], [])


@pytest.mark.slow
def test_a_baseline_is_made_by_hand_reviewed_and_compared(tmp_path: Path, net: Path) -> None:
    runner = Runner(tmp_path / "runner")
    recipe = {
        "version": 1,
        "model": {"checkpoint": net.name},
        "preprocessing": {"size": 8, "mean": [0.305], "std": [0.376]},
        "images": {"evaluation": {"from": "digits", "count": 300}},
        "targets": {"onnxruntime": {}},
        "verify": {"seconds": 0.2},
        "promises": {"max_drop_pp": 2.0},
    }
    write_recipe(runner.workspace, recipe)
    shutil.copy(net, runner.workspace)
    done = runner.job(shortened(), {**OUR_PULL_REQUEST, "github.event_name": "workflow_dispatch"})
    assert done.code == 0, done.output
    (uploaded,) = [inputs["path"] for action, inputs in runner.used if "upload" in action]
    baseline = json.loads((Path(uploaded) / "baseline.json").read_text())
    untimed = {"max_slowdown_pct": None, "max_runtime_slowdown_pct": None}  # how fast it is depends on what else runs
    baseline["margins"] = {"max_loss_pp": 2.0, "max_growth_pct": 0.0, **untimed}
    (runner.workspace / "gate.json").write_text(json.dumps(baseline))
    done = runner.job(shortened(), OUR_PULL_REQUEST)
    assert done.code == 0, done.output
    assert "::notice title=edgeresnet gate::KEPT" in done.output
    assert "# Gate: KEPT" in runner.summary


def shortened() -> dict[str, Any]:
    """Return the job with one process instead of ten."""
    steps = [{**step, "with": {**step["with"], "processes": 1}} if "with" in step else step for step in GATE["steps"]]
    return {**GATE, "steps": steps}
