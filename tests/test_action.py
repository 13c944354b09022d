"""The action at the root: its steps are executed on a run that the test stored, and its file is as GitHub wants it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeresnet import gate
from edgeresnet.portable.result import Promise
from edgeresnet.runs import Run
from edgeresnet.store import Store

from .actions import ACTION, ROOT, Runner
from .gate import runs

pytestmark = pytest.mark.unit

STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
MALICIOUS = '"; touch executed #$(touch executed)`touch executed`'
PAGE = "<title>page</title>"

Prepare = Callable[..., Runner]


def measured(**changes: Any) -> Run:
    return runs.run(runs.result("openvino", began=time.time()), **changes)


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    """Return a runner whose `edgeresnet run` stores this run, and ends with this code; its workspace has a baseline."""

    def make(run: Run | None = None, code: int = 0, *, baseline: bool = True) -> Runner:
        stored = Store.open(tmp_path / "stored")
        if run:
            stored.save_run(run)
            (stored.root / "runs" / f"{run.id}.html").write_text(PAGE)
            (stored.root / "runs" / f"{run.id}.md").write_text("# The run\n")
        runner = Runner(tmp_path / "runner", stored.root, code)
        if baseline:
            (runner.workspace / "gate.json").write_text(gate.text(gate.of(measured(), gate.Margins())))
        return runner

    return make


def uploaded(runner: Runner) -> set[str]:
    """Return the names of the uploaded files."""
    (inputs,) = [inputs for action, inputs in runner.used if action.startswith("actions/upload-artifact")]
    return {path.name for path in Path(inputs["path"]).iterdir()}


def test_a_kept_run_is_green_with_summary_and_outputs(prepare: Prepare) -> None:
    runner = prepare(measured())
    done = runner.action({"recipe": "nets/recipe.yaml", "processes": "10", "args": "--verbose\n--set seed=3"})
    assert done.code == 0, done.output
    assert {name: value for name, value in done.outputs.items() if name != "page"} == {
        "verdict": "KEPT",
        "exit-code": "0",
        "baseline": "",
    }
    assert Path(done.outputs["page"]).read_text() == PAGE
    assert runner.summary.startswith("# Gate: KEPT\n")
    assert "::notice title=edgeresnet gate::KEPT" in done.output
    assert uploaded(runner) == {"page.html", "report.md", "run.json", "junit.xml", "gate.json"}
    changes = ["--verbose", "--set", "seed=3", "--set", "verify.processes=10"]
    assert runner.words("run") == ["run", "--again", "verify", "--quiet", *changes, "--", "nets/recipe.yaml"]
    assert runner.words("pip")[-1] == str(ROOT)


def test_a_broken_promise_is_red_and_its_page_stays(prepare: Prepare) -> None:
    runner = prepare(measured(promises=(Promise("min_top1_pct", 100.0),)), code=3)
    done = runner.action({})
    assert (done.code, done.outputs["verdict"], done.outputs["exit-code"]) == (3, "BROKEN", "3")
    assert "::error file=gate.json,title=openvino min_top1_pct%3A BROKEN" in done.output
    assert "# Gate: BROKEN" in runner.summary
    assert {"page.html", "junit.xml"} <= uploaded(runner)


def test_a_lost_baseline_is_red_and_the_page_stays(prepare: Prepare) -> None:
    runner = prepare(measured(), baseline=False)
    done = runner.action({})
    assert (done.code, done.outputs["verdict"]) == (2, "NOT_MEASURED")
    assert (
        "::error file=gate.json,title=edgeresnet gate%3A refused::the baseline gate.json does not exist" in done.output
    )
    assert "# Gate: refused" in runner.summary
    assert {"page.html", "junit.xml"} <= uploaded(runner)


def test_a_run_that_stored_nothing_is_red_and_no_older_run_is_judged(prepare: Prepare) -> None:
    runner = prepare(measured())
    assert runner.action({}).code == 0
    done = runner.action({})  # the same run is there, and no new one
    assert (done.code, done.outputs["verdict"], done.outputs["page"]) == (1, "NOT_MEASURED", "")
    assert (
        "::error title=edgeresnet::NOT_MEASURED: edgeresnet run ended with exit code 1 and stored 0 runs" in done.output
    )
    assert "# Run: NOT_MEASURED" in runner.summary
    runner.stored_code = 5
    assert runner.action({}).code == 5


def test_a_run_that_failed_halfway_ends_with_its_own_code(prepare: Prepare) -> None:
    done = prepare(measured(), code=5).action({})
    assert (done.code, done.outputs["exit-code"]) == (5, "5")


def test_a_failed_installation_is_red_and_nothing_is_measured(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CODE", "1")
    runner = prepare(measured())
    done = runner.action({})
    assert (done.code, done.outputs["verdict"], done.outputs["exit-code"]) == (1, "NOT_MEASURED", "1")
    assert runner.words("run") == []
    assert uploaded(runner) == set()


def test_without_a_baseline_the_recipes_promises_decide(prepare: Prepare) -> None:
    runner = prepare(measured(), baseline=False)
    done = runner.action({"baseline": ""})
    assert (done.code, done.outputs["verdict"]) == (0, "KEPT")
    assert runner.summary == "# The run\n"
    assert uploaded(runner) == {"page.html", "report.md", "run.json", "junit.xml"}


def test_an_update_offers_a_new_baseline_of_a_kept_run_only(prepare: Prepare) -> None:
    runner = prepare(measured(), baseline=False)
    done = runner.action({"update": "true"})
    assert done.code == 0, done.output
    assert gate.read(Path(done.outputs["baseline"])).run == measured().id
    assert "baseline.json" in uploaded(runner)


def test_an_update_of_a_broken_run_writes_nothing(prepare: Prepare) -> None:
    runner = prepare(measured(promises=(Promise("min_top1_pct", 100.0),)), code=3, baseline=False)
    done = runner.action({"update": "true"})
    assert (done.code, done.outputs["verdict"], done.outputs["baseline"]) == (3, "BROKEN", "")
    assert not (runner.workspace / "gate.json").exists()


@pytest.mark.parametrize("name", sorted(ACTION["inputs"]))
def test_an_input_is_never_code(prepare: Prepare, name: str) -> None:
    runner = prepare(measured())
    done = runner.action({name: MALICIOUS})
    assert "executed" not in {path.name for path in runner.folder.rglob("*")}
    if name in ("recipe", "args"):
        assert done.code == 0, done.output
        assert MALICIOUS.split()[0] in " ".join(runner.words("run"))
    if name == "extras":
        assert runner.words("pip")[-1] == f"{ROOT}[{MALICIOUS}]"


def test_the_store_is_cached_under_what_it_holds(prepare: Prepare) -> None:
    runner = prepare(measured())
    artifact = Store(runner.stored or Path()).root / "trace" / ("a" * 24)
    artifact.mkdir(parents=True)
    (artifact / "manifest.json").write_text("{}")
    runner.action({"store": "kept/store"})
    restored, saved = (inputs for action, inputs in runner.used if action.startswith("actions/cache"))
    assert restored["path"] == saved["path"] == "kept/store"
    assert saved["key"].startswith(restored["restore-keys"])
    runner.action({"store": "other"})
    assert runner.used[-2][1]["key"] == saved["key"], "the same artifacts have the same key"
    artifact.rename(artifact.with_name("b" * 24))
    runner.action({"store": "third"})
    assert runner.used[-2][1]["key"] != saved["key"]


def test_what_is_switched_off_is_not_used(prepare: Prepare) -> None:
    runner = prepare(measured())
    assert runner.action({"cache": "false", "artifact": "", "python-version": ""}).code == 0
    assert runner.used == []


def test_github_can_read_the_action() -> None:
    assert set(ACTION) == {"name", "description", "author", "branding", "inputs", "outputs", "runs"}
    assert ACTION["runs"]["using"] == "composite"
    for each in ACTION["inputs"].values():
        assert set(each) == {"description", "default"}
        assert isinstance(each["default"], str), "a version such as 3.10 must not become a number"
    for each in ACTION["outputs"].values():
        assert set(each) == {"description", "value"}
    for step in STEPS:
        assert set(step) <= {"name", "id", "if", "shell", "env", "run", "uses", "with"}
        assert ("run" in step) != ("uses" in step)
        assert step.get("shell") == ("bash" if "run" in step else None), "a composite action must name the shell"
        assert "run" in step or re.fullmatch(r"[\w/-]+@v\d+", step["uses"])


def test_every_name_in_an_expression_exists() -> None:
    text = (ROOT / "action.yml").read_text()
    ids = {step["id"] for step in STEPS if "id" in step}
    written = {name for step in STEPS for name in re.findall(r'echo "([\w-]+)=', step.get("run", ""))}
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(ACTION["inputs"])
    for step, output in re.findall(r"steps\.([\w-]+)\.outputs\.([\w-]+)", text):
        assert step in ids
        assert output in written or (step, output) == ("restore", "cache-matched-key")


def test_the_gates_report_names_its_verdict_as_the_action_reads_it(prepare: Prepare) -> None:
    runner = prepare(measured())
    runner.action({})
    (inputs,) = [inputs for action, inputs in runner.used if "upload" in action]
    for name in ("run.json", "gate.json"):
        assert json.loads((Path(inputs["path"]) / name).read_text())["verdict"] == "KEPT"
