"""Where all of it comes from: the recipe, each artifact and what it was made from, notes, and the conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from .. import view
from .element import Child, Markup, el, name
from .figure import between, table

if TYPE_CHECKING:
    from .beside import Beside


def recipe(run: Mapping[str, Any]) -> list[Markup]:
    said = yaml.safe_dump(
        _spoken(run["recipe"]), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )
    digest = run["recipe_digest"]
    return [
        el(
            "p",
            "As it was run, with the defaults written out. Its digest is ",
            el("code", digest[:12], title=digest),
            ".",
        ),
        el("div", el("pre", el("code", said)), class_="wide", tabindex=0, role="group", aria_label="the recipe"),
    ]


def lineage(run: Mapping[str, Any], beside: Beside) -> Markup:
    known = {step["digest"]: step["id"] for step in run["steps"] if step["digest"]}
    rows = [
        [
            step["id"],
            _state(step),
            el("code", step["digest"][:12], title=step["digest"]) if step["digest"] else "",
            _from(step, beside, known),
        ]
        for step in run["steps"]
    ]
    return table(("step", "state", "digest", "made from"), rows)


def notes(seen: view.View) -> Markup | None:
    told = [*seen.advice, *seen.notes]
    return el("ul", [el("li", name(note)) for note in told], class_="notes") if told else None


def conditions(run: Mapping[str, Any], seen: view.View) -> Markup:
    lines = [f"run {run['id']}, {run['seconds']:.0f} s in all"] if "seconds" in run else [f"run {run['id']}"]
    return el("ul", [el("li", name(line)) for line in [*lines, *seen.conditions]], class_="notes")


def _state(step: Mapping[str, Any]) -> Child:
    if step["state"] == "made":
        return f"made in {step['seconds']:.1f} s"
    if step["state"] == "done":
        return "found done"
    return f"{step['state']}: {step['reason']}" if step.get("reason") else step["state"]


def _from(step: Mapping[str, Any], beside: Beside, known: Mapping[str, str]) -> Child:
    parents = beside.parents.get(step["id"])
    if parents is None:
        return "not known here" if step["digest"] else ""
    named = (
        [
            f"{word} " if known.get(digest, word) == word else f"{word} ({known[digest]}) ",
            el("code", digest[:12], title=digest),
        ]
        for word, digest in parents.items()
    )
    return el("span", between(", ", named))


def _spoken(value: Any) -> Any:
    """Without what says nothing."""
    if isinstance(value, Mapping):
        return {key: _spoken(each) for key, each in value.items() if each is not None}
    return value
