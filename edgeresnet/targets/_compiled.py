"""What all targets share: availability by import, signatures, and the sidecar that tells what was compiled for what."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import TargetError, first_line
from ..portable import machine, manifest
from ..portable.session import Availability, Signature, Target

SIDECAR = "target.json"

_EXPORT = "export one batch of images in, batch × classes logits out, with every side but the batch fixed"

Sides = Sequence[int | None] | None  # None for a side that may vary, and where not even their number is known


def availability(module: str, target: Target) -> Availability:
    """Imports the runtime for real: a wheel that is installed but cannot load is not available."""
    try:
        version_of(module)
    except Exception as problem:  # noqa: BLE001 - the one place where any failure becomes a reason
        return Availability(False, f"cannot import {module}: {first_line(problem)}", hint=target.install)
    return Availability(True, versions=machine.versions(*target.libraries))


def version_of(module: str) -> str:
    """By the module itself. A folder of that name without a library inside has none, and is no runtime."""
    return str(importlib.import_module(module).__version__)


def write_sidecar(out: Path, target: Target, options: Any, onnx: Path, versions: dict[str, str], **about: Any) -> None:
    """What was compiled, from what, by which version: read before anything is loaded."""
    said = {
        "target": target.name,
        "options": asdict(options),
        "versions": versions,
        "source_sha256": manifest.sha256_of(onnx),
        **about,
    }
    (out / SIDECAR).write_text(json.dumps(said, indent=1))


def read_sidecar(compiled: Path, target: Target) -> dict[str, Any]:
    try:
        sidecar = dict(json.loads((compiled / SIDECAR).read_text()))
    except (OSError, ValueError, TypeError) as problem:
        raise TargetError(
            f"{compiled} was not compiled by edgeresnet: its {SIDECAR} cannot be read", hint="run the recipe again"
        ) from problem
    if sidecar.get("target") != target.name:
        raise TargetError(
            f"{compiled} was compiled for {sidecar.get('target')}, not {target.name}", hint="compile again"
        )
    return sidecar


def check_versions(sidecar: dict[str, Any], here: dict[str, str], compiled: Path) -> None:
    if sidecar["versions"] != here:
        raise TargetError(
            f"{compiled} was compiled by {words(sidecar['versions'])}, and {words(here)} is installed",
            hint="run the recipe again: it compiles anew for the installed version",
        )


def signature(
    inputs: Sequence[tuple[str, Sides]], outputs: Sequence[tuple[str, Sides]], *, pixels: bool = False
) -> Signature:
    """Of a network as its runtime tells of it, each value by name and sides; refuses what a Signature cannot say.

    `pixels`: its input is uint8, with the channels last.
    """
    if len(inputs) != 1 or len(outputs) != 1:
        raise TargetError(
            f"finds {len(inputs)} inputs and {len(outputs)} outputs in the network instead of one each", hint=_EXPORT
        )
    (image, sides), (logits, answers) = inputs[0], outputs[0]
    known = [side for side in (sides or ())[1:] if side is not None]
    if not sides or len(sides) != 4 or len(known) != 3:
        raise _no_images(sides)
    channels, height, width = (known[2], *known[:2]) if pixels else known
    if height != width:
        raise _no_images(sides)
    classes = answers[1] if answers and len(answers) > 1 else None
    if classes is None:
        raise TargetError(
            f"reads the network's answer as {_shown(answers)}, not as batch × so many classes", hint=_EXPORT
        )
    return Signature(image, sides[0], channels, height, logits, classes, pixels)


def _no_images(sides: Sides) -> TargetError:
    return TargetError(
        f"reads the network's input as {_shown(sides)}, not as square images of one known size", hint=_EXPORT
    )


def _shown(sides: Sides) -> str:
    return "×".join("?" if side is None else str(side) for side in sides) if sides else "an unknown shape"


def words(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
