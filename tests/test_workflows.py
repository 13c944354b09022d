"""Workflows, hooks and issue forms: what runs on a server that is not here is tested as far as it can be here."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parent.parent
WORKFLOWS = {
    path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))
}
HOOKS = {
    hook["id"]: hook
    for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    for hook in repo["hooks"]
}
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))
EVENTS = True  # how YAML 1.1 reads the word `on`


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    outer = {"MAKEFLAGS", "MFLAGS", "PYTHON", "VENV", "TAG"}  # of the make that runs these tests
    inherited = {name: value for name, value in os.environ.items() if name not in outer}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=inherited | environment, capture_output=True, text=True, check=False
    )


def steps(workflow: str, job: str) -> list[str]:
    """Return what each step runs or uses, the action without its version."""
    return [step.get("run") or step["uses"].split("@")[0] for step in WORKFLOWS[workflow]["jobs"][job]["steps"]]


RUNS = sorted(
    {
        step["run"]
        for workflow in WORKFLOWS.values()
        for job in workflow["jobs"].values()
        for step in job["steps"]
        if "run" in step
    }
)


@pytest.mark.parametrize("run", RUNS)
def test_a_step_is_verbs_of_make(run: str) -> None:
    command, *verbs = shlex.split(run)
    assert command == "make"
    assert verbs, "make alone prints the help"
    assert all(re.fullmatch(r"[a-z-]+", verb) for verb in verbs), f"{run}: variables belong into `env:`"
    planned = make("--dry-run", *verbs)
    assert planned.returncode == 0, planned.stderr


def test_no_verb_runs_a_tier_twice() -> None:
    planned = make("--dry-run", "check", "test-unit", "test", "test-slow", "test-all", "test-nightly").stdout
    assert re.findall(r"--tier (\w+)", planned) == ["unit", "flow", "slow", "nightly"]
    assert "pytest" not in make("--dry-run", "--old-file=.venv/.ready", "check").stdout


def test_ci_fails_fast() -> None:
    ci = WORKFLOWS["ci"]
    jobs = ci["jobs"]
    assert list(jobs) == ["lint", "test", "slow"]
    assert "needs" not in jobs["lint"]
    assert jobs["test"]["needs"] == "lint"
    assert jobs["slow"]["needs"] == "test"
    assert jobs["slow"]["if"] == "github.ref == 'refs/heads/main'"
    assert jobs["test"]["strategy"]["matrix"]["python"] == supported()[:: len(supported()) - 1], (
        "the oldest, the newest"
    )
    assert [steps("ci", job)[-1] for job in jobs] == ["make check", "make test", "make test-slow"]
    assert "github.ref" in ci["concurrency"]["group"]
    assert "cancel-in-progress" in ci["concurrency"]


def supported() -> list[str]:
    """Return the versions of Python that pyproject.toml names, in order."""
    text = (ROOT / "pyproject.toml").read_text()
    versions = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', text)
    assert f'requires-python = ">={versions[0]}"' in text
    return versions


def test_nightly_takes_the_newest_and_the_lowest_and_mutates_once_a_week() -> None:
    nightly = WORKFLOWS["nightly"]
    jobs = nightly["jobs"]
    assert {steps("nightly", job)[-1] for job in jobs} == {
        "make test-newest", "make test-lowest", "make test-nightly", "make test-arm", "make mutation", "make hostile",
    }  # fmt: skip
    daily, weekly = (entry["cron"] for entry in nightly[EVENTS]["schedule"])
    assert daily.endswith("1-6")
    assert weekly.endswith(" 0")
    assert f"github.event.schedule == '{weekly}'" in jobs["mutation"]["if"]


def test_a_release_publishes_what_was_checked_and_only_then() -> None:
    release = WORKFLOWS["release"]
    assert release[EVENTS] == {"push": {"tags": ["v*.*.*"]}}, "v1 is moved to each release, and is not one"
    build, publish = release["jobs"]["build"], release["jobs"]["publish"]
    done = steps("release", "build")
    assert done[-3:] == ["make check-version", "make dist release-check", "actions/upload-artifact"]
    assert publish["needs"] == "build"
    assert steps("release", "publish") == ["actions/download-artifact", "pypa/gh-action-pypi-publish"]
    assert build["steps"][-1]["with"]["name"] == publish["steps"][0]["with"]["name"]
    # A tag's name is data: it reaches the shell as a variable, never as part of a command.
    assert build["steps"][-3]["env"] == {"TAG": "${{ github.ref_name }}"}
    assert publish["permissions"] == {"id-token": "write"}


def test_the_site_is_built_for_each_pull_request_and_published_from_main() -> None:
    docs = WORKFLOWS["docs"]
    assert docs[EVENTS] == {"push": {"branches": ["main"]}, "pull_request": None}
    build, publish = docs["jobs"]["build"], docs["jobs"]["publish"]
    assert steps("docs", "build")[-2:] == ["make docs", "actions/upload-pages-artifact"]
    assert "if" not in build
    only_main = "github.ref == 'refs/heads/main'"
    assert build["steps"][-1]["if"] == publish["if"] == only_main
    assert publish["needs"] == "build"
    assert steps("docs", "publish") == ["actions/configure-pages", "actions/deploy-pages"]
    assert publish["permissions"] == {"pages": "write", "id-token": "write"}


def test_no_other_job_may_write() -> None:
    for name, workflow in WORKFLOWS.items():
        assert workflow["permissions"] == {"contents": "read"}, name
        assert [job for job in workflow["jobs"] if "permissions" in workflow["jobs"][job]] == (
            ["publish"] if name in ("release", "docs") else []
        )


def test_actions_are_pinned_by_their_major_version() -> None:
    for workflow in WORKFLOWS.values():
        for job in workflow["jobs"].values():
            for step in job["steps"]:
                assert "run" in step or re.fullmatch(r"[\w/-]+@(release/)?v\d+", step["uses"]), step


def test_a_tag_is_compared_with_the_version() -> None:
    (version,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    assert make("check-version", TAG=f"v{version}").returncode == 0
    for tag in ("", version, f"v{version}.1", "v$(touch wrong)", "$(shell touch wrong)"):
        refused = make("check-version", TAG=tag)
        assert refused.returncode == 2, tag
        assert f"the tag is '{tag}', the version in pyproject.toml is {version}" in refused.stdout
    assert not (ROOT / "wrong").exists()


def subject_hook(message: bytes, folder: Path) -> int:
    """Run the hook on a commit's message, as pre-commit does."""
    hook = HOOKS["subject"]
    assert hook["stages"] == ["commit-msg"]
    (folder / "message").write_bytes(message)
    command = [sys.executable, "-m", "pre_commit.languages.pygrep", *hook["args"], hook["entry"], "message"]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode


@pytest.mark.parametrize("letter", ["x", "é", "→", "𝛼"])
def test_a_subject_has_at_most_72_characters(letter: str, tmp_path: Path) -> None:
    body = "\n\n" + 100 * "long lines are welcome below "
    assert subject_hook((72 * letter + body).encode(), tmp_path) == 0
    assert subject_hook((73 * letter).encode(), tmp_path) == 1
    assert subject_hook((73 * letter + body).encode(), tmp_path) == 1


def test_the_hooks_and_make_check_call_the_same_tools() -> None:
    planned = make("--dry-run", "--old-file=.venv/.ready", "check").stdout
    for hook in HOOKS.values():
        if hook["language"] == "system":
            tool = hook["entry"].removesuffix(" --force-exclude")
            assert re.search(rf"^{re.escape(tool)}( \.)?$", planned, re.M), f"make check does not call {tool}"
    node = HOOKS["actionlint"]
    (package,) = node["additional_dependencies"]
    pattern = shlex.split(node["entry"])[1]
    assert f"npx --yes {package} '{pattern}'" in planned
    assert pattern == "{.github/workflows,pipelines/ci}/*.yml", "a pattern that finds nothing passes"
    assert list((ROOT / "pipelines" / "ci").glob("*.yml"))
    assert list(HOOKS) == ["ruff-check", "ruff-format", "codespell", "mypy", "actionlint", "subject"]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_an_issue_form_is_one_and_asks_for_the_targets(path: Path) -> None:
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= set(form)
    fields = form["body"]
    assert len({field["id"] for field in fields}) == len(fields)
    for field in fields:
        assert field["type"] in {"textarea", "input", "dropdown", "checkboxes"}
        assert field["attributes"]["label"]
        assert set(field) <= {"type", "id", "attributes", "validations"}
    labels = [field["attributes"]["label"] for field in fields]
    assert any("`edgeresnet targets --json`" in label for label in labels)


def test_a_bug_cannot_be_filed_without_the_targets() -> None:
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text())
    (field,) = (field for field in form["body"] if field["id"] == "targets")
    assert field["validations"] == {"required": True}


def test_the_other_files_of_github_are_read() -> None:
    dependabot = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())
    assert {entry["package-ecosystem"] for entry in dependabot["updates"]} == {"github-actions", "pip"}
    assert "make check" in (ROOT / ".github" / "pull_request_template.md").read_text()


def test_lowest_versions_are_the_bounds_of_pyproject() -> None:
    script = ROOT / "tools" / "lowest.py"
    lowest = runpy.run_path(str(script))["lowest"]
    project: dict[str, Any] = {
        "dependencies": ["torch>=2.11", "types-PyYAML>=6.0.12.20250516; python_version < '4'"],
        "optional-dependencies": {"dev": ["codespell[toml]>=2.4"], "timm": ["timm>=1"]},
    }
    assert lowest(project) == [
        "torch==2.11", "types-PyYAML==6.0.12.20250516; python_version < '4'", "codespell[toml]==2.4",
    ]  # fmt: skip
    with pytest.raises(SystemExit, match="'numpy' is not NAME>=VERSION"):
        lowest({**project, "dependencies": ["numpy"]})
    printed = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True).stdout
    assert re.search(r"^torch==[\d.]+$", printed, re.M)
