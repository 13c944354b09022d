"""Writes what came of a sweep: a document, and for each point of the front a recipe that `edgeresnet run` takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from ..portable import codec
from ..store import write_text
from .document import Point, SweepReport
from .front import front
from .loading import Sweep, described

RECIPES, DOCUMENT = "recipes", "sweep.json"


def report_of(sweep: Sweep, points: Sequence[Point], ended: str, folder: Path) -> SweepReport:
    """Return what came of a sweep, and write it into its folder."""
    best = front(points, sweep.objectives)
    named = [replace(point, recipe=_file(folder, point)) if point.number in best else point for point in points]
    for point in named:
        if point.recipe:
            write_text(Path(point.recipe), recipe_text(sweep, point))
    for old in set(map(str, (folder / RECIPES).glob("*.yaml"))) - {point.recipe for point in named}:
        Path(old).unlink(missing_ok=True)  # it was on the front before
    report = SweepReport(
        digest=sweep.digest,
        title=sweep.title,
        objectives=sweep.objectives,
        space=sweep.space_as_json,
        trials=sweep.trials,
        ended=ended,
        points=tuple(named),
        front=best,
    )
    write_text(folder / DOCUMENT, json.dumps(codec.encode(report), indent=1, ensure_ascii=False, allow_nan=False))
    return report


def recipe_text(sweep: Sweep, point: Point) -> str:
    """Return the recipe of a point as a YAML file. Its paths are those of the sweep's recipe."""
    found = ", ".join(
        f"{goal.metric} {value.value:.4g}" for goal, value in zip(sweep.objectives, point.outcome.values, strict=True)
    )
    lines = [
        f"# Trial {point.number} of the sweep {sweep.title}: {described(point.values)}.",
        f"# Measured: {found}. `edgeresnet run` with the same store measures nothing again.",
    ]
    head = "".join(f"{' '.join(line.split())}\n" for line in lines)
    return head + yaml.safe_dump(
        sweep.raw(point.values), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )


def _file(folder: Path, point: Point) -> str:
    return str(folder / RECIPES / f"trial-{point.number:03}.yaml")
