"""The documents fit the code: commands are parsed or planned, scripts have their options, recipes are recipes."""

from __future__ import annotations

import itertools
import json
import re
import runpy
import shlex
import subprocess
import sys
import textwrap
from datetime import date
from pathlib import Path

import click
import pytest

from edgeresnet import cli, recipe
from edgeresnet.portable import manifest
from edgeresnet.sweeps.keys import SweepKeys

ROOT = Path(__file__).parents[2]
# What a user reads: README and the site, in one text.
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXT = "\n".join(path.read_text(encoding="utf-8") for path in PAGES)
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
OTHERS = [ROOT / name for name in ("calibration_data/README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
DOCUMENTS = [*PAGES, *OTHERS]
KNOWN_TOOLS = {"make", "edgeresnet", "pip", "git", "cd", "python", "python3", "source", "scp", "ssh", "tar", "ray"}
RECIPES = sorted((ROOT / "pipelines").glob("[!s]*.yaml"))  # no sweep


def commands() -> list[str]:
    """Return every command in a block of shell, each once."""
    blocks = re.findall(r"```sh[^\n]*\n(.*?)```", TEXT, re.S)
    lines = [line.strip() for line in "\n".join(blocks).replace("\\\n", " ").splitlines()]
    return list(dict.fromkeys(line.split("  #")[0].strip() for line in lines if line and not line.startswith("#")))


def test_nothing_names_a_place_that_is_not_everywhere() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    words = re.compile("/" + "root/|/" + "work/|farm" + "-|pypi" + r"\.org")
    for name in tracked:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".yaml", ".yml", ""} and path.is_file():
            found = words.search(path.read_text(errors="ignore"))
            assert found is None, f"{name} names {found and found.group()}"


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("make ")])
def test_make_commands_exist(line: str) -> None:
    done = subprocess.run(["make", "-n", *shlex.split(line)[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("edgeresnet ")])
def test_our_commands_are_understood(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsed by the real commands: names, arguments and options must exist. The recipes they name are planned below."""
    monkeypatch.chdir(tmp_path)
    Path("picture.jpg").touch()
    _, name, *arguments = shlex.split(line)
    command = cli.cli.get_command(click.Context(cli.cli), name)
    assert command is not None, line
    with command.make_context(name, list(arguments), resilient_parsing=False):
        pass


def test_other_commands_are_of_known_kinds() -> None:
    for line in commands():
        words = itertools.dropwhile(lambda word: re.fullmatch(r"\w+=\S*", word), line.split())  # its environment
        assert next(words) in KNOWN_TOOLS, line


@pytest.mark.parametrize("script", sorted({shlex.split(line)[1] for line in commands() if line.startswith("python ")}))
def test_scripts_that_are_named_tell_how_they_are_used(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, which has torch already: a new one for each would spend its time on imports."""
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    assert not left.value.code
    printed = capsys.readouterr().out
    for line in commands():
        if line.startswith("python ") and shlex.split(line)[1] == script:
            for option in re.findall(r"--[a-z-]+", line):
                assert option in printed, f"{script} has no {option}"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_shipped_recipe_is_planned_and_opens_with_its_purpose(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeresnet import pipeline
    from edgeresnet.store import Store

    assert path.read_text().startswith("# ")
    assert path.name in TEXT
    monkeypatch.chdir(tmp_path)
    wanted = recipe.load(path)
    _stand_in(wanted)
    assert pipeline.preview(wanted, Store(tmp_path / "store"))


def _stand_in(wanted: recipe.Recipe) -> None:
    """The weights and images that a recipe names, from the folder where one starts: of the right form, and no more."""
    import torch

    from edgeresnet import models
    from edgeresnet.models import checkpoint

    if wanted.model.checkpoint:
        network, file = (
            models.build(wanted.model.arch or "", wanted.model.classes or 10, 3),
            _within(wanted.model.checkpoint),
        )
        is_ours = file.suffix == ".safetensors"
        checkpoint.write(network, file, {}) if is_ours else torch.save(network.state_dict(), file)
    for number, source in enumerate((wanted.images.training, wanted.images.evaluation, wanted.images.calibration)):
        if source and source.source not in {"digits", "training", "cifar10"}:
            for index in range(600):  # none is decoded
                image = _within(f"{source.source}/{index % (wanted.model.classes or 10)}/{index}.png")
                image.write_bytes(bytes([number, index % 256, index // 256]))


def _within(name: str) -> Path:
    assert not Path(name).is_absolute()
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    return Path(name)


@pytest.mark.parametrize("block", re.findall(r"^( *)```yaml[^\n]*\n(.*?)^\1```", TEXT, re.S | re.M))
def test_yaml_is_read_and_complete_recipes_are_recipes(block: tuple[str, str]) -> None:
    import yaml

    found = yaml.safe_load(textwrap.dedent(block[1]))
    if isinstance(found, dict) and "space" in found:
        SweepKeys.model_validate(found)
    elif isinstance(found, dict) and "version" in found:
        recipe.parse(found)


def test_the_shipped_digits_are_those_of_their_manifest() -> None:
    folder = ROOT / "calibration_data"
    (about,) = json.loads((folder / "manifest.json").read_text())["files"]
    assert about["sha256"] == manifest.sha256_of(folder / about["name"])


def test_the_version_is_said_once() -> None:
    from importlib import metadata

    import edgeresnet

    assert metadata.version("edgeresnet") == edgeresnet.__version__


def test_the_changelog_has_this_version_and_every_version_its_date() -> None:
    import edgeresnet

    unreleased, *headings = re.findall(r"^## (.+)$", CHANGELOG, re.M)
    assert unreleased == "[Unreleased]"
    dated = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)", heading) for heading in headings]
    assert all(dated), headings
    versions, dates = zip(*(match.groups() for match in dated if match), strict=True)
    assert versions[0] == edgeresnet.__version__
    assert f'\nversion = "{versions[0]}"\n' in (ROOT / "pyproject.toml").read_text()
    assert sorted(dates, key=date.fromisoformat, reverse=True) == list(dates)
    assert len(set(versions)) == len(versions)


def test_the_changelog_groups_its_lines() -> None:
    unreleased, *released = re.split(r"^## .+$", CHANGELOG, flags=re.M)[1:]
    for section in [*([unreleased] if unreleased.strip() else []), *released]:
        groups = re.findall(r"^### (.+)$", section, re.M)
        assert groups, section
        assert set(groups) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
        assert not re.match(r"\s*-", section), "a line before the first group"


def test_every_version_of_the_changelog_has_a_link() -> None:
    links = re.findall(r"^\[(.+)\]: https://", CHANGELOG, re.M)
    assert links == re.findall(r"^## \[(.+?)\]", CHANGELOG, re.M)


def test_contributing_is_a_page_and_its_verbs_exist() -> None:
    assert len(CONTRIBUTING.splitlines()) <= 80
    for verb in set(re.findall(r"\bmake (?!s |the )([a-z-]+)", CONTRIBUTING)):
        done = subprocess.run(["make", "-n", verb, "TAG=v1"], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    for path in re.findall(r"`((?:tests|edgeresnet|pipelines)/[\w./]+)`", CONTRIBUTING):
        assert (ROOT / path).exists(), path


def test_nothing_was_left_to_be_filled_in() -> None:
    for path in DOCUMENTS:
        assert not re.search(r"^(TODO|[A-Z_]{6,})$", path.read_text(), re.M), path


def test_make_help_lists_the_verbs() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for verb in ("demo", "test", "test-all", "check", "clean"):
        assert f"make {verb} " in done.stdout
