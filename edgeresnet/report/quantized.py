"""What `quantize` did, per target: data for `--json`, and the same in 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from . import terminal, view

_SHOWN, _NOISIEST = 6, 3  # names; `--json` has all


def of(part: Mapping[str, Any]) -> dict[str, Any]:
    """Out of the part of a recipe that was done."""
    model, steps = part["recipe"]["model"], part["steps"]
    found: dict[str, Any] = {
        "name": model["arch"] or PurePath(model["checkpoint"]).stem,
        "images": {key: steps["calibrate"]["notes"][key] for key in ("images", "held_out")},
        "dead_channels": steps["calibrate"]["notes"]["dead_channels"],
        "warnings": [sentence for step in steps.values() for sentence in step["warnings"]],
        "targets": {},
    }
    for target, step in part["int8"].items():
        about = steps[step]
        scored = part["results"].get(part["as_written"][target])
        found["targets"][target] = {
            **about["notes"],
            "digest": about["digest"],
            "artifact": str(Path(about["path"]) / "model.onnx"),
            "evaluation": scored["variants"]["int8"]["accuracy"] if scored else None,
        }
    return found


def render(found: Mapping[str, Any]) -> str:
    images = found["images"]
    lines = [
        terminal.wrapped(
            f"{found['name']}: ranges of {images['images']} calibration images, {images['held_out']} held out of them"
        )
    ]
    for target, about in found["targets"].items():
        lines += ["", *_target(target, about)]
    dead = sum(found["dead_channels"].values())
    if dead:
        lines += [
            "",
            terminal.wrapped(f"note: {dead} channels are dead: no calibration image reaches them"),
        ]
    return "\n".join(lines)


def _target(target: str, about: Mapping[str, Any]) -> list[str]:
    layers = f"{len(about['int8'])} layers INT8"
    before, after = about["bytes_before"], about["bytes_after"]
    lines = [
        f"{target}: {about.get('file', about['artifact'])}",
        f"  {before / 1e6:.2f} MB → {after / 1e6:.2f} MB, {layers}, digest {about['digest'][:12]}",
    ]
    lines += [
        terminal.wrapped(f"  stays float: {name}: {why}", 4) for name, why in list(about["kept_float"].items())[:_SHOWN]
    ]
    if len(about["kept_float"]) > _SHOWN:
        lines.append(f"  and {len(about['kept_float']) - _SHOWN} more stay float (--json names them)")
    if about["images_in_levels"]:
        lines.append("  images are read in their 256 levels: INT8 loses nothing there")
    lines += [terminal.wrapped(f"  {sentence}", 4) for sentence in gains(about["steps"])]
    held = about["held_out"]
    if held["images"]:
        agree = f"{held['agree']} of {held['images']}"
        lines.append(f"  held out: same answer for {agree}, SQNR {view.sqnr(held['sqnr_db'])}")
    else:
        lines.append(terminal.wrapped("  too few images to hold any out: nothing says how close it is", 4))
    lines += [terminal.wrapped(f"  {sentence}", 4) for sentence in noisiest(about)]
    if about["evaluation"]:
        lines.append(terminal.wrapped(f"  {_evaluated(about['evaluation'])}", 4))
    return lines


def gains(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each step came to; the next is held against the best so far."""
    told, best = [], None
    for step in steps:
        value = step["sqnr_db"]
        if value is None:
            told.append(f"{step['name']}: kept; no image was held out to hold it against")
            continue
        change = "" if best is None else f" ({value - best:+.2f} dB{'' if step['kept'] else ', undone'})"
        told.append(f"{step['name']}: {view.sqnr(value)}{change}")
        best = value if best is None or step["kept"] else best
    return told


def noisiest(notes: Mapping[str, Any]) -> list[str]:
    """The layers whose output is furthest from FP32's; an older version did not look."""
    known = [(value, layer) for layer, value in notes.get("layers", {}).items() if value is not None]
    if not known:
        return []
    worst = ", ".join(f"{layer} {view.sqnr(value)}" for value, layer in sorted(known)[:_NOISIEST])
    return [f"noisiest layers (SQNR of what comes out of them, with all that came before): {worst}"]


def _evaluated(counts: Mapping[str, Any]) -> str:
    images = counts["images"]
    drop, low, high = view.drop_pp(counts)
    return (
        f"{images} evaluation images, in onnxruntime before any compiler: top-1 {100 * counts['top1'] / images:.2f} %, "
        f"drop {drop:+.2f} points ({low:+.2f} to {high:+.2f}), same answer for "
        f"{100 * counts['agree'] / images:.2f} %, SQNR {view.sqnr(counts['sqnr_db'])}"
    )
