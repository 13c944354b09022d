"""What `train` did: data for `--json`, and the same in 80 columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from ..portable import intervals
from . import curve, terminal

WEIGHTS = "weights.safetensors"


def of(part: Mapping[str, Any]) -> dict[str, Any]:
    """Out of the part of a recipe that was done."""
    model, step = part["recipe"]["model"], part["steps"]["train"]
    scored = part["results"].get("verify:reference")
    return {
        "name": model["arch"] or step["notes"].get("arch") or PurePath(model["checkpoint"]).stem,
        "from": model["checkpoint"],
        **step["notes"],
        "warnings": step["warnings"],
        "seconds": step["seconds"],
        "digest": step["digest"],
        "artifact": str(Path(step["path"]) / WEIGHTS),
        "evaluation": scored["variants"]["fp32"]["accuracy"] if scored else None,
    }


def render(found: Mapping[str, Any]) -> str:
    source = f", from {found['from']}" if found["from"] else ", from nothing"
    where = f"{found['device']} in {found['precision']}"
    many = f", {found['processes']} processes" if found["processes"] > 1 else ""
    epochs = f"{found['epochs']} epoch" + ("" if found["epochs"] == 1 else "s")
    title = f"{found['name']}{source}: {found['images']} images, {epochs} on {where}{many}"
    parts = [terminal.wrapped(title), terminal.columns(curve.COLUMNS, curve.rows(found))]
    parts.append(terminal.wrapped(curve.line(found)))
    if found["evaluation"]:
        right, images = found["evaluation"]["top1"], found["evaluation"]["images"]
        low, high = (100 * each for each in intervals.wilson(right, images))
        sentence = f"evaluation: {100 * right / images:.2f} % of {images} images, 95 % interval {low:.2f} to {high:.2f}"
        parts.append(terminal.wrapped(sentence))
    parts += [terminal.wrapped(f"note: {sentence}") for sentence in found["warnings"]]
    parts.append(f"{found['file']}, digest {found['digest'][:12]}")
    return "\n\n".join(parts) + "\n"
