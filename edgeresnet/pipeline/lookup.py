"""Devices that a recipe names: looked up in devices.yaml, refused where they are unknown. Connects to none."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from .. import recipe as recipes
from ..devices import book
from ..devices.book import Device
from ..errors import RecipeError, listed, quoted
from ..portable.documents import shown
from ..recipe import Recipe


def found_for(
    recipe: Recipe, folder: Path, name: str = "the recipe", on: Sequence[str] = (), file: Path | None = None
) -> tuple[Recipe, Mapping[str, Device]]:
    """Return a recipe of this folder with the devices that it may name; refuse one that is not known.

    `on`: devices that measure it, as on the command line. `file`: the devices; None: the folder's or the user's.
    """
    names = (*on, *recipe.devices())
    if not names:
        return recipe, {}
    known = book.read(file) if file else book.near(folder, names[0])
    path = shown(file or book.find(folder) or book.NAME)
    if on:
        recipe = placed(recipe, on, known, path)
    return recipe, checked(recipe, known, path, name)


def checked(
    recipe: Recipe, devices: Mapping[str, object], file: str = "`devices`", name: str = "the recipe"
) -> Mapping[str, Device]:
    """Return devices as their type; refuse those that a recipe names and that are not among them, all at once."""
    raw = {each: device for each, device in devices.items() if not isinstance(device, Device)}
    known = {**devices, **book.parse(raw, file)}
    named = [(target, device) for target in recipe.targets for device in recipe.delivery(target).devices]
    problems = [
        f"targets.{target}.where: {quoted(device)} is not a device of {file}{_nearest(device, known)}"
        for target, device in named
        if device not in known
    ]
    if problems:
        count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise RecipeError(name, f"has {count}", hint=_listed(known), problems=problems)
    return {each: device for each, device in known.items() if isinstance(device, Device)}


def placed(recipe: Recipe, names: Sequence[str], known: Mapping[str, Device], file: str = book.NAME) -> Recipe:
    """Return a recipe whose targets are measured on these devices, each on those that measure it."""
    places: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        if name not in known:
            raise RecipeError(f"--on {name}", f"is not a device of {file}{_nearest(name, known)}", hint=_listed(known))
        device = known[name]
        wanted = [each for each in recipe.targets if not device.target or each in device.target]
        if not wanted:
            missing = ", ".join(device.target) or "any"
            hint = f"add one of them to `targets`: {missing}" if device.target else "add a target to the recipe"
            raise RecipeError(f"--on {name}", "measures no target of this recipe", hint=hint)
        for each in wanted:
            places.setdefault(each, []).append(name)
    raw = recipe.to_json()
    raw["targets"] = {
        name: {**options, **({"where": places[name]} if name in places else {})}
        for name, options in recipe.targets.items()
    }
    return recipes.parse(raw, name="the recipe with --on")


def _nearest(name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f", did you mean {near[0]}?" if near else ""


def _listed(known: Mapping[str, object]) -> str:
    how = "`edgeresnet devices add NAME user@host` writes an entry"
    return f"known devices: {listed(known)}; {how}" if known else how
