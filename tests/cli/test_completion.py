"""Completion, in the shells themselves where they are here: bash in full, zsh and fish as far as they can be driven."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from edgeresnet import cli, targets
from edgeresnet.cli import _complete
from edgeresnet.store import Store

from ..report import runs
from .conftest import Command, expect, refused

pytestmark = pytest.mark.unit

IDS = ["20260101-000001", "20260101-000002"]
BASH = """
eval "$(edgeresnet completion bash)"
tab() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    _edgeresnet_completion edgeresnet
    echo "${COMPREPLY[*]}"
}
"""


def completed(shell: list[str], script: str, folder: Path) -> list[str]:
    """Return the lines of stdout; anything on stderr is a failure: it would land in the middle of a person's line."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    known = {**os.environ, "PATH": path, "HOME": str(folder)}
    done = subprocess.run([*shell, script], capture_output=True, text=True, check=False, cwd=folder, env=known)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.open(tmp_path / "store")
    for name in IDS:
        store.save_run(runs.run(id=name))
    return store


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_bash_completes_commands_options_runs_and_targets(store: Store, tmp_path: Path) -> None:
    lines = completed(
        ["bash", "-c"],
        BASH
        + "tab edgeresnet rep\ntab edgeresnet compare --fo\ntab edgeresnet report --store store 2026\n"
        + f"tab edgeresnet compare --store store {IDS[0]} ''\ntab edgeresnet verify --target openv\n"
        + "tab edgeresnet report --store nowhere 20\ntab edgeresnet dance 20",
        tmp_path,
    )
    assert lines == ["report", "--format", " ".join(reversed(IDS)), IDS[1], "openvino", "", ""]
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.skipif(not shutil.which("fish"), reason="there is no fish")
def test_fish_completes(store: Store, tmp_path: Path) -> None:
    lines = completed(["fish", "-c"], "edgeresnet completion fish | source; complete -C 'edgeresnet rep'", tmp_path)
    assert [line.split("\t")[0] for line in lines] == ["report"]


@pytest.mark.skipif(not shutil.which("zsh"), reason="there is no zsh")
def test_zsh_accepts_it(store: Store, tmp_path: Path) -> None:
    script = 'autoload -U compinit; compinit -u; eval "$(edgeresnet completion zsh)"; echo $_comps[edgeresnet]'
    assert completed(["zsh", "-f", "-c"], script, tmp_path) == ["_edgeresnet_completion"]


@pytest.mark.parametrize(
    ("shell", "words"), [("bash", "complete -o"), ("zsh", "compdef"), ("fish", "complete --no-files")]
)
def test_each_shell_has_its_lines(command: Command, shell: str, words: str) -> None:
    out, _ = expect(0, command("completion", shell))
    assert words in out
    assert f"_EDGERESNET_COMPLETE={shell}_complete" in out


def test_a_shell_that_is_not_known_is_one_line(command: Command) -> None:
    refused(command("completion", "csh"))


def test_targets_are_those_that_are_known() -> None:
    context = click.Context(cli.cli)
    found = [item.value for item in _complete.targets(context, click.Option(["--target"]), "")]
    assert found == sorted(targets.discover())


def test_devices_are_those_of_the_file_that_the_command_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def completed_to(incomplete: str, **given: object) -> list[str]:
        context = click.Context(cli.cli)
        context.params = given
        found = _complete.devices(context, click.Option(["--on"], multiple=True), incomplete)
        return [item.value for item in found]

    assert completed_to("") == []
    (tmp_path / "recipes").mkdir()
    (tmp_path / "devices.yaml").write_text("orin: {ssh: a@b}\nnano: {ssh: c@d}\n")
    (tmp_path / "recipes" / "devices.yaml").write_text("pc: {ssh: a@b}\n")
    assert completed_to("") == ["orin", "nano"]
    assert completed_to("o") == ["orin"]
    assert completed_to("", on=("orin",)) == ["nano"]
    assert completed_to("", recipe_path=Path("recipes/recipe.yaml")) == ["pc"]
    assert completed_to("", path=Path("recipes/devices.yaml")) == ["pc"]
    (tmp_path / "devices.yaml").write_text("orin: {ssh")
    assert completed_to("") == []


def test_every_file_and_target_of_a_command_is_completed() -> None:
    """Check what is not a path by its type: that, Click completes itself."""
    named = {"run", "model", "reference", "checkpoint", "evaluation", "calibration", "training", "names", "target"}
    named |= {"on", "as"}
    for name in cli.COMMANDS:
        command = cli.cli.get_command(click.Context(cli.cli), name)
        assert command is not None
        for parameter in command.params:
            words = {parameter.name, *(option.lstrip("-") for option in parameter.opts)}
            if words & named and isinstance(parameter.type, click.types.StringParamType):
                assert parameter._custom_shell_complete is not None, f"{name} {parameter.name}"
