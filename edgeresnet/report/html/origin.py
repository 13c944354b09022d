"""Where all of it comes from: the recipe, each artifact and what it was made from, notes, and the conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import yaml

from ...runs import Run, StepRecord
from ..summary import Summary
from .element import Child, Markup, el, name
from .figure import between, table

if TYPE_CHECKING:
    from .extras import Extras


def recipe(run: Run) -> list[Markup]:
    text = yaml.safe_dump(
        _without_nulls(run.recipe), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )
    digest = el("code", run.recipe_digest[:12], title=run.recipe_digest)
    return [
        el("p", "As it was run, with the defaults written out. Its digest is ", digest, "."),
        el("div", el("pre", el("code", text)), class_="wide", tabindex=0, role="group", aria_label="the recipe"),
    ]


def lineage(run: Run, extras: Extras) -> Markup:
    known = {step.digest: step.id for step in run.steps if step.digest}
    rows = [
        [
            step.id,
            _state(step),
            el("code", step.digest[:12], title=step.digest) if step.digest else "",
            _parents(step, extras, known),
        ]
        for step in run.steps
    ]
    return table(("step", "state", "digest", "made from"), rows)


def notes(seen: Summary) -> Markup | None:
    found = [*seen.advice, *seen.notes]
    return el("ul", [el("li", name(note)) for note in found], class_="notes") if found else None


def missing_stages(run: Run) -> Markup | None:
    """Name the stages of the recipe that left nothing to draw."""
    wanted = [key for key in ("train", "prune", "recover", "quantize") if run.recipe.get(key)]
    done = {step.stage for step in run.steps if step.notes}
    missing = [key for key in wanted if key not in done]
    if not missing:
        return None
    return el("p", name(f"Requested, and not reached: {', '.join(missing)}."), class_="quiet")


def conditions(seen: Summary) -> Markup:
    lines = [f"run {seen.run.id}, {seen.run.seconds:.0f} s in all", *seen.conditions]
    return el("ul", [el("li", name(line)) for line in lines], class_="notes")


def _state(step: StepRecord) -> Child:
    if step.state == "made":
        return f"made in {step.seconds:.1f} s"
    if step.state == "done":
        return "found done"
    return f"{step.state}: {step.reason}" if step.reason else step.state


def _parents(step: StepRecord, extras: Extras, known: Mapping[str, str]) -> Child:
    parents = extras.parents.get(step.id)
    if parents is None:
        return "not known here" if step.digest else ""
    named = (
        [
            f"{word} " if known.get(digest, word) == word else f"{word} ({known[digest]}) ",
            el("code", digest[:12], title=digest),
        ]
        for word, digest in parents.items()
    )
    return el("span", between(", ", named))


def _without_nulls(value: object) -> object:
    """Return a recipe without the keys that say nothing."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return value
