"""What `prune` did: data for `--json`, and the same in 80 columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from ..portable import timing_warnings
from . import curve, cuts, terminal, view
from .trained import WEIGHTS

_UNTIMED = "how many milliseconds that is was not measured: give --evaluation, or --speedup for a goal in them"


def of(part: Mapping[str, Any]) -> dict[str, Any]:
    """Out of the part of a recipe that was done."""
    model, steps = part["recipe"]["model"], part["steps"]
    last = steps.get("recover") or steps["prune"]
    scored = part["results"].get("verify:reference:pruned")
    timed = {name: result for name, result in part["results"].items() if not name.startswith("verify:reference")}
    return {
        "name": model["arch"] or PurePath(model["checkpoint"]).stem,
        **steps["prune"]["notes"],
        "recovered": steps["recover"]["notes"] if "recover" in steps else None,
        "warnings": [sentence for step in steps.values() for sentence in step["warnings"]],
        "digest": last["digest"],
        "artifact": str(Path(last["path"]) / WEIGHTS),
        "evaluation": {name: each["accuracy"] for name, each in scored["variants"].items()} if scored else None,
        "untimed": [
            f"{step['id']}: {step['reason']}"
            for step in steps.values()
            if step["stage"] == "verify" and step["path"] is None
        ]
        + [said for name, result in timed.items() if (said := _trouble(name, result))],
        "times": [each for result in timed.values() for each in cuts.beside(steps["prune"]["notes"], result)],
    }


def _trouble(name: str, result: Mapping[str, Any]) -> str:
    """Why what was timed says nothing."""
    raw = [each["latency"] for each in result.get("variants", {}).values()]
    why = timing_warnings.untimed(raw) if raw else ""
    return f"{name}: its milliseconds say nothing: {why}" if why else ""


def render(found: Mapping[str, Any]) -> str:
    parts = [terminal.wrapped(f"{found['name']}: {cuts.sentence(found)}")]
    for title, rows in cuts.curves(found):
        parts += [terminal.wrapped(title), terminal.columns(*view.filled(cuts.COLUMNS, rows))]
    if found["times"]:
        parts.append(terminal.columns(*view.filled(cuts.BESIDE, cuts.rows(found["times"]))))
    elif not found["untimed"] and not found.get("speedup"):
        parts.append(terminal.wrapped(_UNTIMED))
    parts += [terminal.wrapped(each) for each in (*cuts.slower(found["times"]), *found["untimed"])]
    recovered = found["recovered"]
    if recovered:
        parts.append(terminal.wrapped(curve.recovery(recovered)))
        if recovered["history"]:
            parts.append(terminal.columns(curve.COLUMNS, curve.rows(recovered)))
    if found["evaluation"]:
        whole, pruned = found["evaluation"]["fp32"], found["evaluation"]["pruned"]
        drop, low, high = view.drop_pp(pruned)
        said = (
            f"evaluation: {100 * pruned['top1'] / pruned['images']:.2f} % of {pruned['images']} images, "
            f"{100 * whole['top1'] / whole['images']:.2f} % before: {drop:.2f} points lost, 95 % interval {low:.2f} to "
            f"{high:.2f}"
        )
        parts.append(terminal.wrapped(said))
    parts += [terminal.wrapped(f"note: {each}") for each in found["warnings"]]
    parts.append(f"{found['file']}, digest {found['digest'][:12]}")
    return "\n\n".join(parts) + "\n"
