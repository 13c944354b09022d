"""A recipe: what is to be done, as frozen models. Reads YAML, reports every wrong key at once, and has a digest.

Knows the keys and their limits; reads no images, no weights, and imports no runtime.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import ValidationError

from ..errors import RecipeError
from . import problems as _problems
from .problems import schema
from .sections import Augment, Delivery, Promises, Prune, Recipe, Recover, Source, Trace, Train, Verify, is_onnx

__all__ = [
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
    "change",
    "file_of_module",
    "is_onnx",
    "load",
    "module_of_factory",
    "parse",
    "schema",
]


def load(path: str | Path, changes: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe from a YAML file. `--set key.path=value` is applied before it is checked."""
    path = Path(path)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as problem:
        hint = "check the path, or write a recipe with `edgeresnet init`"
        raise RecipeError(f"the recipe {path}", "does not exist", hint=hint) from problem
    except (OSError, UnicodeDecodeError) as problem:
        raise RecipeError(str(path), f"cannot be read: {problem}", hint="a recipe is a YAML text file") from problem
    except (yaml.YAMLError, ValueError) as problem:  # an impossible date is a ValueError
        mark = getattr(problem, "problem_mark", None)
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        words = f"is not valid YAML{where}: {getattr(problem, 'problem', None) or problem}"
        raise RecipeError(str(path), words, hint="correct the YAML there") from problem
    if not isinstance(raw, dict):
        hint = "a recipe begins with `version: 1`; `edgeresnet init` writes one"
        raise RecipeError(str(path), "is not a recipe", hint=hint)
    change(raw, changes)
    return parse(raw, name=str(path))


def change(raw: dict[str, object], changes: tuple[str, ...]) -> None:
    """Apply `key.path=value` to what will be a recipe, in place."""
    for one in changes:
        _set(raw, one)


def parse(raw: Mapping[str, object], name: str = "the recipe") -> Recipe:
    """Build a recipe from parsed YAML; report all of its problems together."""
    problems: list[str] = []
    recipe = None
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as problem:
        problems += [_problems.in_words(error) for error in problem.errors()]
    # Targets are checked by their own option classes, and together with all the rest.
    sections = raw.get("targets")
    for target, options in (sections if isinstance(sections, dict) else {}).items():
        problems += _problems.of_target(str(target), options)
    if problems or recipe is None:
        count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
        hint = "correct the keys above; `edgeresnet schema` lists all keys"
        raise RecipeError(name, f"has {count}", hint=hint, problems=problems)
    return recipe


def module_of_factory(arch: str) -> tuple[str, str] | None:
    """Return the two halves of `my.module:make`; None for a name of ours."""
    found = re.fullmatch(r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)", arch)
    return (found[1], found[2]) if found else None


def file_of_module(name: str) -> Path | None:
    """Return the source file of a module in user code, without running it."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    path = Path(spec.origin) if spec and spec.origin else None
    return path if path and path.is_file() else None


def _set(raw: dict[str, object], change: str) -> None:
    path, equals, value = change.partition("=")
    if not equals or not path:
        raise RecipeError(f"--set {change!r}", "must be key=value", hint="write it as in `--set train.epochs=3`")
    *sections, key = path.split(".")
    here = raw
    for section in sections:
        inner = here.get(section)
        if not isinstance(inner, dict):
            inner = {} if inner is None else {"from": inner}
        here[section] = here = inner
    try:
        here[key] = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError) as problem:
        raise RecipeError(
            f"the value of --set {change!r}", "is not valid YAML", hint="put quotes around it"
        ) from problem
