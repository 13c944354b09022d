"""GitHub's runner, as far as the tests of action.yml and pipelines/ci need it: a job or a composite action.

A `run:` step is executed by bash, with the files that GitHub gives to a step. A `uses:` step is recorded with its
inputs, and does nothing. Only this repository's own action is executed there, step by step.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parent.parent
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
OURS = re.compile(r"edgeresnet/edgeresnet@v\d+")

_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")
_TOKEN = re.compile(r"'[^']*'|(?P<name>[A-Za-z_][\w-]*(?:\.[\w-]+)+)|\|\||&&|!(?!=)")
_STATUS = re.compile(r"\b(?:always|cancelled|success|failure)\(\)")

# pip installs nothing, and ends with PIP_CODE. If STORED names a prepared store, `edgeresnet run` leaves that one.
_PYTHON = """#!/bin/sh
if [ "$1 $2" = "-m pip" ]; then for word in "$@"; do printf '%s\\n' "$word" >> "$PIP"; done; exit "${{PIP_CODE:-0}}"; fi
exec {python} "$@"
"""
_EDGERESNET = """#!/bin/sh
if [ "$1" = run ] && [ -n "$STORED" ]; then
  for word in "$@"; do printf '%s\\n' "$word" >> "$RUN_WORDS"; done
  mkdir -p "$EDGERESNET_STORE"
  cp -r "$STORED"/. "$EDGERESNET_STORE"
  exit "$STORED_CODE"
fi
exec {python} -m edgeresnet "$@"
"""


class Done(NamedTuple):
    """What became of a job or an action."""

    code: int  # of the first step that failed
    output: str
    outputs: Mapping[str, str]


@dataclass
class Runner:
    """A machine with a folder of its own. `used` lists the foreign actions with their inputs."""

    folder: Path
    stored: Path | None = None
    stored_code: int = 0
    used: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("work", "temp", "bin"):
            (self.folder / name).mkdir(parents=True)
        for name, text in (("python3", _PYTHON), ("edgeresnet", _EDGERESNET)):
            (self.folder / "bin" / name).write_text(text.format(python=sys.executable))
            (self.folder / "bin" / name).chmod(0o755)

    @property
    def workspace(self) -> Path:
        return self.folder / "work"

    @property
    def summary(self) -> str:
        path = self.folder / "summary.md"
        return path.read_text() if path.exists() else ""

    def words(self, file: str) -> list[str]:
        """Return the arguments of all calls of `pip` or of `run`, one by one."""
        path = self.folder / file
        return path.read_text().splitlines() if path.exists() else []

    def action(self, inputs: Mapping[str, str]) -> Done:
        """Execute this repository's action."""
        unknown = inputs.keys() - ACTION["inputs"].keys()
        assert not unknown, f"action.yml has no input {unknown}"
        given = {name: str(inputs.get(name, each["default"])) for name, each in ACTION["inputs"].items()}
        context = {"github.action_path": str(ROOT), **{f"inputs.{name}": value for name, value in given.items()}}
        done = self._steps(ACTION["runs"]["steps"], context)
        outputs = {name: _filled(each["value"], context) for name, each in ACTION["outputs"].items()}
        return done._replace(outputs=outputs)

    def job(self, job: Mapping[str, Any], context: Mapping[str, str]) -> Done:
        """Execute a job of a workflow. `context` holds what its expressions name, as `github.event_name`."""
        return self._steps(job["steps"], dict(context))

    def _steps(self, steps: Iterable[Mapping[str, Any]], context: dict[str, str]) -> Done:
        """Execute steps in order. What they write into GITHUB_OUTPUT enters the context."""
        code, output = 0, ""
        for step in steps:
            condition = str(step.get("if", "success()"))
            if not _STATUS.search(condition):
                condition = f"success() && ({condition})"
            if not evaluate(_EXPRESSION.sub(r"\1", condition), context, failed=code != 0):
                continue
            done = self._step(step, context)
            context.update({f"steps.{step.get('id')}.outputs.{name}": value for name, value in done.outputs.items()})
            code, output = code or done.code, output + done.output
        return Done(code, output, {})

    def _step(self, step: Mapping[str, Any], context: Mapping[str, str]) -> Done:
        if "run" in step:
            return self._run(step, context)
        inputs = {name: _filled(str(value), context) for name, value in step.get("with", {}).items()}
        if OURS.fullmatch(step["uses"]):
            return self.action(inputs)
        self.used.append((step["uses"], inputs))
        return Done(0, "", {})

    def _run(self, step: Mapping[str, Any], context: Mapping[str, str]) -> Done:
        assert "${{" not in step["run"], "an expression in a script makes code of an input"
        written = self.folder / "output"
        written.write_text("")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "EDGERESNET_"))},
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "GITHUB_ACTIONS": "true",
            "GITHUB_OUTPUT": str(written),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
            "RUNNER_TEMP": str(self.folder / "temp"),
            "RUNNER_OS": "Linux",
            "RUNNER_ARCH": "X64",
            "PIP": str(self.folder / "pip"),
            "RUN_WORDS": str(self.folder / "run"),
            "STORED": str(self.stored or ""),
            "STORED_CODE": str(self.stored_code),
            **{name: _filled(str(value), context) for name, value in step.get("env", {}).items()},
        }
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        done = subprocess.run(command, cwd=self.workspace, env=environment, capture_output=True, text=True, check=False)
        pairs = [line.split("=", 1) for line in written.read_text().splitlines()]
        return Done(done.returncode, done.stdout + done.stderr, {name: value for name, value in pairs})


def _filled(text: str, context: Mapping[str, str]) -> str:
    """Return a text with its expressions evaluated."""
    return _EXPRESSION.sub(lambda found: _text(evaluate(found[1], context)), text)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def evaluate(expression: str, context: Mapping[str, str], *, failed: bool = False) -> Any:
    """Return the value of one of GitHub's expressions. A name that the context lacks is empty."""

    def python(token: re.Match[str]) -> str:
        if token["name"]:
            return repr(context.get(token["name"], ""))
        return {"||": " or ", "&&": " and ", "!": " not "}.get(token[0], token[0])

    functions = {
        "always": lambda: True,
        "success": lambda: not failed,
        "failure": lambda: failed,
        "cancelled": lambda: False,
        "fromJSON": yaml.safe_load,
    }
    return eval(_TOKEN.sub(python, expression.strip()), {"__builtins__": {}}, functions)
