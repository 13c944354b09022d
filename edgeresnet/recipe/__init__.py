"""A recipe: what is to be done, as frozen models. Reads YAML, reports every wrong key at once, and has a digest.

Knows the keys and their limits; reads no images, no weights, and imports no runtime.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import ValidationError

from ..errors import RecipeError, first_line, quoted
from ..portable import documents
from ..portable.documents import Missing, Unreadable, shown
from . import problems as _problems
from . import strict_yaml
from .base import Argument, module_of_factory
from .problems import schema
from .sections import Augment, Delivery, Promises, Prune, Recipe, Recover, Source, Trace, Train, Verify, is_onnx

__all__ = [
    "Argument",
    "Augment",
    "Delivery",
    "Promises",
    "Prune",
    "Recipe",
    "Recover",
    "Source",
    "Trace",
    "Train",
    "Verify",
    "arguments",
    "change",
    "file_of_module",
    "is_onnx",
    "load",
    "module_of_factory",
    "parse",
    "put",
    "read",
    "read_text",
    "schema",
]


_LARGEST = 128 << 10  # bytes of a recipe
_SHOWN = 20  # problems of a recipe
_BEGINS = "a recipe begins with `version: 1`; `edgeresnet init` writes one"


def load(path: str | Path, changes: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe from a YAML file. `--set key.path=value` is applied before it is checked."""
    raw = read(read_text(path), str(path))
    change(raw, changes)
    return parse(raw, name=str(path))


def read_text(path: str | Path, kind: str = "recipe", make: str = "write a recipe with `edgeresnet init`") -> str:
    """Return the text of a YAML file that a person wrote: a recipe, or what names one. `make` says how to get one."""
    path, hint = Path(path), f"a {kind} is a YAML text file"
    try:
        return documents.read_bytes(path, _LARGEST).decode("utf-8")
    except Missing as problem:
        raise RecipeError(f"the {kind} {shown(path)}", "does not exist", hint=f"check the path, or {make}") from problem
    except UnicodeDecodeError as problem:
        raise RecipeError(shown(path), "is not a text in UTF-8", hint=hint) from problem
    except Unreadable as problem:
        raise RecipeError(shown(path), str(problem), hint=hint) from problem


def read(text: str, name: str, kind: str = "recipe", begins: str = _BEGINS) -> dict[str, object]:
    """Return what such a text holds: keys with values."""
    try:
        raw = strict_yaml.load(text)
    except yaml.YAMLError as problem:
        words = f"is not valid YAML{_where(problem)}"
        raise RecipeError(shown(name), words, hint="correct the YAML there") from problem
    if not isinstance(raw, dict):
        raise RecipeError(shown(name), f"is not a {kind}", hint=begins)
    return raw


def change(raw: dict[str, object], changes: tuple[str, ...]) -> None:
    """Apply `key.path=value` to what will be a recipe, in place."""
    for one in changes:
        _set(raw, one)


def arguments(given: tuple[str, ...]) -> dict[str, object]:
    """Read the arguments of a factory, each as `--arch-arg` takes it: `depth=20`."""
    found: dict[str, object] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name.isidentifier():
            raise RecipeError(
                f"--arch-arg {quoted(one)}", "must be NAME=VALUE", hint="write it as in --arch-arg depth=20"
            )
        if name in found:
            raise RecipeError(f"--arch-arg {quoted(name)}", "is given twice", hint="remove one of them")
        found[name] = _value(f"--arch-arg {quoted(one)}", value)
    return found


def parse(raw: Mapping[str, object], name: str = "the recipe") -> Recipe:
    """Build a recipe from parsed YAML; report all of its problems together."""
    problems: list[str] = []
    recipe, count = None, 0
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as problem:
        count = problem.error_count()
        problems += [_problems.in_words(error) for error in problem.errors()[:_SHOWN]]
    # Targets are checked by their own option classes, and together with all the rest.
    sections = raw.get("targets")
    for target, options in (sections if isinstance(sections, dict) else {}).items():
        found = _problems.of_target(str(target), options) if len(problems) < 2 * _SHOWN else ["not looked at"]
        problems, count = problems + found, count + len(found)
    if count or recipe is None:
        problems = problems[:_SHOWN] + ([f"… and {count - _SHOWN} more"] if count > _SHOWN else [])
        count_shown = "one problem" if count == 1 else f"{count} problems"
        hint = "correct the keys above; `edgeresnet schema` lists all keys"
        raise RecipeError(name, f"has {count_shown}", hint=hint, problems=problems)
    return recipe


def file_of_module(name: str) -> Path | None:
    """Return the source file of a module in user code, without running it."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    path = Path(spec.origin) if spec and spec.origin else None
    return path if path and path.is_file() else None


def put(raw: dict[str, object], path: str, value: object) -> None:
    """Set the value of one key, `train.epochs`, in what will be a recipe. Sections that are not there are made."""
    *sections, key = path.split(".")
    here = raw
    for section in sections:
        inner = here.get(section)
        if not isinstance(inner, dict):
            inner = {} if inner is None else {"from": inner}
        here[section] = here = inner
    here[key] = value


def _set(raw: dict[str, object], change: str) -> None:
    path, equals, value = change.partition("=")
    if not equals or not path:
        raise RecipeError(f"--set {quoted(change)}", "must be key=value", hint="write it as in `--set train.epochs=3`")
    put(raw, path, _value(f"--set {quoted(change)}", value))


def _value(option: str, text: str) -> object:
    """Read the value of an option as YAML."""
    try:
        return strict_yaml.load(text)
    except yaml.YAMLError as problem:
        raise RecipeError(f"the value of {option}", "is not valid YAML", hint="put quotes around it") from problem


def _where(problem: yaml.YAMLError) -> str:
    """Return where in a text a problem is, and which."""
    mark = getattr(problem, "problem_mark", None)
    where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{where}: {getattr(problem, 'problem', None) or first_line(problem)}"
