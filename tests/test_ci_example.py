"""The workflow in pipelines/ci is run as it stands: its `run:` steps as shell scripts, on a tiny recipe."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from .conftest import write_recipe

FILE = Path(__file__).parent.parent / "pipelines" / "ci" / "gate.yml"
WORKFLOW = yaml.safe_load(FILE.read_text())


@pytest.fixture
def job(tmp_path: Path, net: Path) -> Any:
    """Run a job's scripts in order, as a runner does, until one fails; return that exit code and all output."""
    raw = {
        "version": 1,
        "model": {"checkpoint": net.name},
        "preprocessing": {"size": 8, "mean": [0.305], "std": [0.376]},
        "images": {"evaluation": {"from": "digits", "count": 300}},
        "targets": {"onnxruntime": {}},
        "verify": {"processes": 1, "seconds": 0.2},
        "promises": {"max_drop_pp": 2.0},
    }
    write_recipe(tmp_path, raw)
    environment = {
        **os.environ,
        **{name: str(value) for name, value in WORKFLOW["env"].items()},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "EDGERESNET": "edgeresnet",  # is installed already
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "EDGERESNET_STORE": "artifacts",
    }

    def run(name: str) -> tuple[int, str]:
        output = ""
        for step in WORKFLOW["jobs"][name]["steps"]:
            if "run" in step and step["name"] != "Whose code":
                command = ["bash", "-e", "-o", "pipefail", "-c", step["run"]]
                done = subprocess.run(
                    command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
                )
                output += done.stdout + done.stderr
                if done.returncode:
                    return done.returncode, output
        return 0, output

    return run


def test_the_workflow_begins_with_what_it_is_for_and_has_its_jobs() -> None:
    assert FILE.read_text().startswith("# A gate for GitHub Actions")
    assert set(WORKFLOW["jobs"]) == {"gate", "renew"}


def test_no_branch_cancels_anothers_gate_and_no_fork_runs_its_code_on_the_runner() -> None:
    group = WORKFLOW["concurrency"]["group"]
    assert "github.ref" in group, "a gate that waits is cancelled by the next one of its group"
    events = WORKFLOW[True]  # YAML's word for `on`
    assert events["push"] == {"branches": ["main"]}, "a branch is measured once, by its pull request"
    assert set(events) == {"push", "pull_request", "workflow_dispatch"}
    gate = WORKFLOW["jobs"]["gate"]
    (where,) = re.findall(r"\$\{\{ fromJSON\((.+)\) \}\}", gate["runs-on"])
    refusal = gate["steps"][0]
    assert "exit 1" in refusal["run"], "a job that is skipped is green on GitHub"

    def evaluated(text: str, github: SimpleNamespace) -> Any:
        return eval(text.replace("||", "or").replace("&&", "and"), {"github": github})

    for event, whose, ours in (
        ("push", None, True),
        ("pull_request", "me/mine", True),
        ("pull_request", "fork/mine", False),
        ("pull_request", None, False),  # of a fork that is gone
    ):
        head = SimpleNamespace(repo=SimpleNamespace(full_name=whose))
        about = SimpleNamespace(pull_request=SimpleNamespace(head=head))
        github = SimpleNamespace(event_name=event, event=about, repository="me/mine")
        assert evaluated(gate["if"], github)
        assert json.loads(evaluated(where, github)) == (["self-hosted", "edgeresnet"] if ours else ["ubuntu-latest"])
        assert evaluated(refusal["if"], github) != ours, (event, whose)
    assert not evaluated(gate["if"], SimpleNamespace(event_name="workflow_dispatch"))


@pytest.mark.slow
def test_renewed_reviewed_and_compared(job: Any, tmp_path: Path) -> None:
    code, output = job("renew")
    assert code == 0, output
    path = tmp_path / "gate.json"
    baseline = json.loads(path.read_text())
    untimed = {"max_slowdown_pct": None, "max_runtime_slowdown_pct": None}  # how fast it is depends on what else runs
    baseline["margins"] = {"max_loss_pp": 2.0, "max_growth_pct": 0.0, **untimed}
    path.write_text(json.dumps(baseline))
    code, output = job("gate")
    assert code == 0, output
    assert "::notice title=edgeresnet gate::KEPT" in output
    assert "# Gate: KEPT" in (tmp_path / "summary.md").read_text()
    assert (tmp_path / "gate.xml").is_file()


@pytest.mark.slow
def test_a_broken_promise_of_the_recipe_reaches_the_gate_and_is_red_there(job: Any, tmp_path: Path) -> None:
    assert job("renew")[0] == 0
    recipe = yaml.safe_load((tmp_path / "recipe.yaml").read_text())
    write_recipe(tmp_path, {**recipe, "promises": {"min_top1_pct": 100}})
    code, output = job("gate")
    assert code == 3, output
    assert "::error file=gate.json,title=onnxruntime min_top1_pct%3A BROKEN" in output
