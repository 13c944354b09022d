"""SWEEP.yaml → a `Sweep`. Every wrong key is reported at once, with its line, before anything is run.

The recipe is checked at the ends of each range and with each listed value, so that a key of the space that the recipe
does not have is refused here. Opens the two files and nothing that they name.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .. import recipe as recipes
from .. import targets
from ..errors import RecipeError, quoted
from ..portable import codec, machine, manifest
from ..recipe import Recipe, problems, strict_yaml
from . import objectives
from .document import FORMAT, Objective
from .keys import Axis, Range, SweepKeys

_BEGINS = "a sweep begins with `version: 1`, `recipe`, `space` and `objectives`: see docs/how-to/sweep.md"
_SHOWN = 20
Params = Mapping[str, object]
Place = tuple[str, ...]


@dataclass(frozen=True)
class Sweep:
    """A sweep that can be run: a recipe as it was read, the values of its keys that are tried, and what is best."""

    title: str
    base: Mapping[str, object]
    space: Mapping[str, Axis]
    objectives: tuple[Objective, ...]
    trials: int = 40
    minutes: float | None = None
    seed: int = 0
    storage: str | None = None
    folder: Path = Path()  # of the file: devices.yaml is looked for there

    def raw(self, params: Params) -> dict[str, object]:
        """Return the recipe of a point as a file holds it."""
        found: dict[str, object] = copy.deepcopy(dict(self.base))
        for key, value in params.items():
            recipes.put(found, key, copy.deepcopy(value))
        return found

    def recipe(self, params: Params) -> Recipe:
        """Return the recipe of a point; RecipeError where its values contradict one another."""
        return recipes.parse(self.raw(params), name=described(params))

    @property
    def first(self) -> dict[str, object]:
        """The point of the lowest values, and of those that are listed first."""
        return {key: axis.low if isinstance(axis, Range) else axis[0] for key, axis in self.space.items()}

    @property
    def size(self) -> int | None:
        """How many points the space has; None where there is any number of them."""
        counts = [None if values is None else len(values) for values in map(values_of, self.space.values())]
        return None if None in counts else math.prod(count for count in counts if count is not None)

    def every(self) -> Iterator[Params]:
        """Yield every point of a space that has a number of them."""
        for values in itertools.product(*(values_of(axis) or () for axis in self.space.values())):
            yield dict(zip(self.space, values, strict=True))

    @property
    def space_as_json(self) -> dict[str, object]:
        """Return the space as the file has it."""
        return {
            key: axis.model_dump(exclude_unset=True) if isinstance(axis, Range) else list(axis)
            for key, axis in self.space.items()
        }

    @property
    def digest(self) -> str:
        """The digest of all that decides what is proposed and measured. More trials or minutes continue a study."""
        first = self.recipe(self.first)
        names = ("edgeresnet", "torch", *(library for name in first.targets for library in targets.get(name).libraries))
        return manifest.digest_of(
            {
                "format": FORMAT,
                "recipe": first.to_json(),
                "space": self.space_as_json,
                "objectives": list(map(str, self.objectives)),
                "seed": self.seed,
                "machine": codec.encode(machine.fingerprint()),
                "libraries": machine.versions(*names),
            }
        )


def load(path: Path) -> Sweep:
    """Read a sweep, and the recipe that it names, from YAML."""
    text = recipes.read_text(path, "sweep", "write one: docs/how-to/sweep.md has an example")
    raw = recipes.read(text, str(path), "sweep", _BEGINS)
    lines = strict_yaml.lines(text)
    keys, axes = _keys(raw, str(path), lines)
    base = _base(keys, path)
    found = _Problems(str(path), lines)
    first = _checked(base, axes, found)
    found.refuse()
    assert first is not None
    goals = _objectives(keys.objectives, first, found)
    found.refuse()
    return Sweep(path.stem, base, axes, goals, keys.trials, keys.minutes, keys.seed, keys.storage, path.parent)


def described(params: Params) -> str:
    """Return a point in words: "prune.macs 0.6, quantize.effort fast"."""
    return ", ".join(f"{key} {shown(value)}" for key, value in params.items())


def shown(value: object) -> str:
    """Return a value of the space as a person writes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def values_of(axis: Axis) -> tuple[Any, ...] | None:
    """Return every value of a key; None where there is any number of them."""
    return axis.values if isinstance(axis, Range) else axis


class _Problems:
    """What is wrong in a sweep, each with its line."""

    def __init__(self, name: str, lines: Mapping[Place, int]) -> None:
        self.name, self.lines = name, lines
        self.found: list[str] = []

    def add(self, place: Place, words: str) -> None:
        """Add what is wrong at a place, which `words` name themselves."""
        while place and place not in self.lines:
            place = place[:-1]
        line = f"{self.name}:{self.lines[place]}: " if place else ""
        if f"{line}{words}" not in self.found:
            self.found.append(f"{line}{words}")

    def refuse(self) -> None:
        """Raise all that was found, if anything was."""
        count = len(self.found)
        if count:
            shown_here = self.found[:_SHOWN] + ([f"… and {count - _SHOWN} more"] if count > _SHOWN else [])
            words = "has one problem" if count == 1 else f"has {count} problems"
            hint = "correct the lines above; docs/how-to/sweep.md has the keys"
            raise RecipeError(self.name, words, hint=hint, problems=shown_here)


def _keys(raw: dict[str, object], name: str, lines: Mapping[Place, int]) -> tuple[SweepKeys, dict[str, Axis]]:
    """Return the keys of the file and the axes of its space, or raise all problems of both."""
    found, keys = _Problems(name, lines), None
    try:
        keys = SweepKeys.model_validate(raw)
    except ValidationError as problem:
        for error in problem.errors():
            loc = error["loc"][:1] if error["loc"][:1] == ("recipe",) else error["loc"]
            found.add(tuple(map(str, loc)), problems.sentence(loc, error, list(SweepKeys.model_fields)))
    space = raw.get("space")
    axes = {key: _axis(str(key), value, found) for key, value in (space if isinstance(space, dict) else {}).items()}
    found.refuse()
    assert keys is not None
    return keys, {str(key): axis for key, axis in axes.items() if axis is not None}


def _axis(key: str, value: object, found: _Problems) -> Axis | None:
    place = ("space", key)
    if isinstance(value, dict):
        try:
            return Range.model_validate(value)
        except ValidationError as problem:
            for error in problem.errors():
                at = (*place, *(str(part) for part in error["loc"] if part not in ("int", "float")))
                found.add(at, problems.sentence(at, error, list(Range.model_fields)))
        return None
    where = ".".join(place)
    if not isinstance(value, list) or not value:
        found.add(place, f"{where}: must be a list of values, or a range with `low` and `high`")
        return None
    spelled = [json.dumps(each, sort_keys=True, default=str) for each in value]
    if len(set(spelled)) < len(spelled):
        found.add(place, f"{where}: has a value twice")
    return tuple(value)


def _base(keys: SweepKeys, path: Path) -> dict[str, object]:
    if isinstance(keys.recipe, dict):
        return keys.recipe
    named = path.parent / keys.recipe
    return recipes.read(recipes.read_text(named), str(named))


def _checked(base: dict[str, object], space: Mapping[str, Axis], found: _Problems) -> Recipe | None:
    """Check the recipe with the ends of each range and with each listed value; return it with the first of all."""
    sweep, recipe = Sweep("", base, space, ()), None
    try:
        recipe = sweep.recipe(sweep.first)
    except RecipeError as problem:
        for words in problem.problems:
            _blame(words, space, found)
        return None
    for key, axis in space.items():
        for value in (axis.low, axis.high) if isinstance(axis, Range) else axis:
            try:
                sweep.recipe({**sweep.first, key: value})
            except RecipeError as problem:
                for words in problem.problems:
                    _blame(words, {key: axis}, found, shown(value))
    return recipe


def _blame(words: str, space: Mapping[str, Axis], found: _Problems, value: str = "") -> None:
    """Add a problem of the recipe, with the key of the space that it comes from, if it comes from one."""
    path = words.partition(":")[0]
    for key in space:
        if path == key or path.startswith(f"{key}."):
            found.add(("space", key), f"space.{words}")
            return
    if value:
        key = next(iter(space))
        found.add(("space", key), f"space.{key}: with {value}, {words}")
        return
    found.add(("recipe",), f"recipe: {words}")


def _objectives(texts: Sequence[str], recipe: Recipe, found: _Problems) -> tuple[Objective, ...]:
    """Return the objectives; add what is wrong with their words, and what no trial can measure."""
    goals: list[Objective] = []
    for number, text in enumerate(texts):
        place = ("objectives", str(number))
        try:
            goal = objectives.parse(text, list(recipe.places()))
        except ValueError as problem:
            found.add(place, f"objectives: {problem}")
            continue
        if goal in goals:
            found.add(place, f"objectives: {quoted(text)} is there twice")
        elif missing := _unmeasurable(goal, recipe):
            found.add(place, f"objectives: {quoted(text)}: {missing}")
        goals.append(goal)
    return tuple(goals)


def _unmeasurable(goal: Objective, recipe: Recipe) -> str:
    """Return why no trial of this recipe can measure an objective; empty where one may."""
    target = recipe.places()[goal.target]
    if recipe.delivery(target).where == "bundle":
        return f"a person carries the bundle of {target} to its device, and a sweep cannot wait: set `where: here`"
    if recipe.images.evaluation is None:
        return "nothing is measured without evaluation images: set images.evaluation"
    if goal.metric == "throughput" and recipe.timing().throughput is None:
        return "throughput is not measured: set verify.streams"
    if goal.metric == "speedup_fp32" and recipe.ships(target) == "fp32":
        return f"{target} would ship the FP32 network, and is compared with it: add quantize or prune"
    return ""
