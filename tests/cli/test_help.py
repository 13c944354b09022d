"""What `--help` shows: groups, choices and defaults that are the recipe's own, examples that are commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from pydantic.fields import FieldInfo

from edgeresnet import cli, images, recipe, targets
from edgeresnet.cli import _help
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.recipe import sections

from .conftest import Command, out_of, refused

pytestmark = pytest.mark.unit

# Where a recipe has what a command's option sets; those of the same name in `train` need no line here.
PLACES: dict[tuple[str, str], tuple[Any, str]] = {
    ("export", "precision"): (sections.Delivery, "precision"),
    ("export", "where"): (sections.Delivery, "where"),
    ("export", "input"): (sections.Delivery, "input"),
    ("export", "rebuilds"): (sections.Verify, "rebuilds"),
}
SECTIONS = (sections.Quantize, sections.Prune, sections.Train, sections.Augment)
# The commands differ from the recipe on purpose: a bundle of INT8 is what `export` is for.
OWN_DEFAULTS = {("export", "precision"): "int8", ("export", "where"): "bundle"}


def command_of(name: str) -> click.Command:
    found = cli.cli.get_command(click.Context(cli.cli), name)
    assert found is not None
    return found


COMMANDS = {name: command_of(name) for name in cli.COMMANDS}


def options(kind: str) -> Iterator[tuple[str, str, click.Option]]:
    """Yield command, spelling and option, of those that have choices or a default in words."""
    for name, command in COMMANDS.items():
        for option in command.params:
            if isinstance(option, click.Option):
                wanted = (
                    isinstance(option.type, click.Choice) if kind == "choice" else isinstance(option.show_default, str)
                )
                if wanted:
                    yield name, option.opts[-1].removeprefix("--"), option


def field_of(command: str, option: str) -> FieldInfo | None:
    """Return the recipe's field that an option sets."""
    key = option.replace("-", "_")
    if command == "bench":  # it makes no recipe
        return None
    if key.startswith("recover_"):
        return sections.Recover.model_fields[key.removeprefix("recover_")]
    section, name = PLACES.get((command, option), (None, key))
    kinds = [section] if section else SECTIONS
    found = [kind.model_fields[name] for kind in kinds if name in kind.model_fields]
    return found[0] if found else None


def values_of(annotation: Any) -> set[str]:
    """Return the words that a field accepts."""
    inner = get_args(annotation)
    return {each for each in inner if isinstance(each, str)} or {word for each in inner for word in values_of(each)}


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_option_has_a_help_text_and_a_group_of_its_own(command: Command, name: str) -> None:
    shown = [each for each in COMMANDS[name].params if isinstance(each, click.Option) and not each.hidden]
    out = out_of(0, command(name, "--help"))
    for option in shown:
        assert isinstance(option, _help.Option), option.opts
        assert option.group in _help.GROUPS, option.opts
        assert (option.help or "").endswith((".", "…")) or ":" in (option.help or ""), option.opts
        assert f"\n{option.group}:\n" in out
        assert "default)" not in (option.help or ""), "Click shows defaults"
    titles = re.findall(r"^([A-Z][\w ]+):$", out, re.MULTILINE)
    wanted = [group for group in _help.GROUPS if group in titles]
    assert [title for title in titles if title in _help.GROUPS] == wanted, "in one order in all commands"
    assert titles[-1] in ("Example", "Examples")


@pytest.mark.parametrize(
    ("name", "example"),
    [(name, example) for name, command in COMMANDS.items() for example in command.examples],  # type: ignore[attr-defined]
)
def test_every_example_is_a_command(
    command: Command, name: str, example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("picture.jpg").touch()
    program, first, *words = shlex.split(example)
    assert (program, first) == ("edgeresnet", name)
    with COMMANDS[name].make_context(name, list(words)):
        pass
    shown = " ".join(out_of(0, command(name, "--help")).replace("\\\n", "").split())
    assert example in shown, "in lines that a shell reads as one"


def test_every_command_has_an_example_and_a_line_in_the_list(command: Command) -> None:
    out = out_of(0, command("--help"))
    assert [title for title in re.findall(r"^(\w+):$", out, re.MULTILINE) if title != "Options"] == list(cli.GROUPS)
    for name, each in COMMANDS.items():
        assert getattr(each, "examples", ()), f"{name} has no example"
        first = (each.help or "").splitlines()[0]
        assert re.search(rf"^  {name} +{re.escape(first)}$", out, re.MULTILINE), f"{name} is cut"
        assert first.endswith(".")
    assert max(map(len, out.splitlines())) <= 80


def test_targets_are_those_of_the_registry() -> None:
    assert list(_help.TARGET_NAMES.choices) == list(targets.discover())


def test_choices_are_what_a_recipe_accepts() -> None:
    compared = set()
    for name, option, each in options("choice"):
        assert isinstance(each.type, click.Choice)
        field = field_of(name, option)
        if option == "target":
            assert list(each.type.choices) == targets.names()
        elif field is not None:
            compared.add(option)
            assert set(each.type.choices) == values_of(field.annotation), f"{name} --{option}"
    wanted = {
        "effort",
        "estimator",
        "importance",
        "scope",
        "schedule",
        "optimizer",
        "head",
        "precision",
        "where",
        "input",
    }
    assert wanted <= compared


def test_defaults_are_the_recipes() -> None:
    compared = set()
    for name, option, each in options("default"):
        field = field_of(name, option)
        if (name, option) in OWN_DEFAULTS:
            assert each.show_default == OWN_DEFAULTS[name, option]
        elif field is not None and field.default is not None:
            compared.add(option)
            assert each.show_default == str(field.default), f"{name} --{option}"
    assert {"rate", "batch", "recover-epochs", "label-smoothing", "shift", "importance", "estimator"} <= compared
    by_hand = {
        "seed": str(recipe.Recipe.model_fields["seed"].default),
        "bits": str(Preprocessing.__dataclass_fields__["bits"].default),
    }
    for _, option, each in options("default"):
        assert each.show_default == by_hand.get(option, each.show_default)
    calibration = {
        each.show_default for name, option, each in options("default") if (name, option) == ("quantize", "count")
    }
    assert calibration == {f"at most {images.CALIBRATION}"}


@pytest.mark.parametrize(
    ("words", "choices"),
    [
        (["quantize", "net.pth", "--effort", "bset"], "'fast', 'balanced', 'best'"),
        (["quantize", "net.pth", "--target", "opnvino"], ", ".join(map(repr, targets.names()))),
        (["train", "resnet18", "--schedule", "linear"], "'cosine', 'one-cycle'"),
        (["prune", "net.pth", "--importance", "l3"], "'l1', 'l2', 'bn', 'taylor'"),
    ],
)
def test_an_unknown_choice_is_one_line_with_the_list(command: Command, words: list[str], choices: str) -> None:
    err = refused(command(*words))
    assert f"is not one of {choices}" in err
    assert f"`edgeresnet {words[0]} --help` lists its arguments and options" in err
