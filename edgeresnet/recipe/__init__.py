"""A recipe: what shall be done, as frozen models. YAML in, every wrong key out at once, a digest of what was meant.

Knows the words and their limits; reads no images, no weights, and imports no runtime.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

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
    """A recipe from a YAML file, with `--set key.path=value` applied before it is judged."""
    path = Path(path)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as problem:
        raise RecipeError(f"there is no recipe {path}", hint="`edgeresnet init` writes one to start from") from problem
    except (OSError, UnicodeDecodeError) as problem:
        raise RecipeError(f"{path} cannot be read: {problem}", hint="a recipe is a YAML text file") from problem
    except (yaml.YAMLError, ValueError) as problem:  # a date that is none is a ValueError
        mark = getattr(problem, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise RecipeError(
            f"{path}{where}: {getattr(problem, 'problem', None) or problem}", hint="mend the YAML there"
        ) from problem
    if not isinstance(raw, dict):
        raise RecipeError(f"{path} holds no recipe", hint="it begins with `version: 1`; `edgeresnet init` writes one")
    change(raw, changes)
    return parse(raw, name=str(path))


def change(raw: dict[str, Any], changes: tuple[str, ...]) -> None:
    """Applies `key.path=value` to what will be a recipe, in place."""
    for one in changes:
        _set(raw, one)


def parse(raw: dict[str, Any], name: str = "the recipe") -> Recipe:
    problems: list[str] = []
    recipe = None
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as problem:
        problems += [_problems.in_words(error) for error in problem.errors()]
    # Targets are judged by their own option classes, and together with all the rest.
    sections = raw.get("targets")
    for target, options in (sections if isinstance(sections, dict) else {}).items():
        problems += _problems.of_target(str(target), options)
    if problems or recipe is None:
        count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise RecipeError(f"{name} has {count}", hint="`edgeresnet schema` is what a recipe may say", problems=problems)
    return recipe


def module_of_factory(arch: str) -> tuple[str, str] | None:
    """`my.module:make` → its two halves; None for a name of ours."""
    found = re.fullmatch(r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)", arch)
    return (found[1], found[2]) if found else None


def file_of_module(name: str) -> Path | None:
    """The source file of a module in user code, found without running it."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    path = Path(spec.origin) if spec and spec.origin else None
    return path if path and path.is_file() else None


def _set(raw: dict[str, Any], change: str) -> None:
    path, equals, value = change.partition("=")
    if not equals or not path:
        raise RecipeError(f"--set {change!r} is not key=value", hint="write `--set train.epochs=3`")
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
        raise RecipeError(f"--set {change!r}: the value is not YAML", hint="quote it as YAML wants it") from problem
