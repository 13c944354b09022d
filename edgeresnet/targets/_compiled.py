"""What all targets share: availability by import, signatures, and the sidecar that records what was compiled."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..errors import TargetError, first_line
from ..portable import codec, documents, machine
from ..portable.session import Availability, Signature, Target

SIDECAR = "target.json"

_EXPORT = "export it with one input of images and one output of logits; only the batch may vary"

Sides = Sequence[int | None] | None  # None for a side that may vary, and for an unknown shape


@dataclass(frozen=True)
class Sidecar:
    """What was compiled, from what, by which version: read before anything is loaded."""

    target: str
    options: object  # the target's own dataclass; JSON once it is read
    versions: Mapping[str, str]
    source_sha256: str


S = TypeVar("S", bound=Sidecar)
O = TypeVar("O")  # noqa: E741 - options


def availability(module: str, target: Target) -> Availability:
    """Import the runtime: a wheel that is installed but cannot load is not available."""
    try:
        version_of(module)
    except Exception as problem:  # noqa: BLE001 - the one place where any failure becomes a reason
        return Availability(False, f"cannot import {module}: {first_line(problem)}", hint=target.install)
    return Availability(True, versions=machine.versions(*target.libraries))


def version_of(module: str) -> str:
    """Return a module's version. A folder of that name without a library inside has none, and is not a runtime."""
    return str(importlib.import_module(module).__version__)


def write(out: Path, sidecar: Sidecar) -> None:
    """Write the sidecar next to what was compiled."""
    (out / SIDECAR).write_text(json.dumps(codec.encode(sidecar), indent=1))


def read(compiled: Path, target: Target, kind: type[S]) -> S:
    """Read the sidecar; refuse what was compiled for another target."""
    try:
        document = documents.parse_json(documents.read_bytes(compiled / SIDECAR))
        name = document.get("target") if isinstance(document, dict) else None
        if name in (None, target.name):
            return codec.decode(kind, document)
    except ValueError as problem:
        raise TargetError(
            str(compiled),
            f"was not compiled by this version of edgeresnet: its {SIDECAR} cannot be read ({first_line(problem)})",
            hint="run the recipe again",
        ) from problem
    raise TargetError(str(compiled), f"was compiled for {name}, not {target.name}", hint="compile again")


def options_of(sidecar: Sidecar, kind: type[O], compiled: Path) -> O:
    """Return the options that it was compiled with."""
    try:
        return codec.decode(kind, sidecar.options)
    except codec.CodecError as problem:
        raise TargetError(
            str(compiled),
            f"was compiled with options that this version does not know: {problem}",
            hint="run the recipe again",
        ) from problem


def check_versions(sidecar: Sidecar, here: Mapping[str, str], compiled: Path) -> None:
    """Refuse what another version compiled."""
    if sidecar.versions != here:
        raise TargetError(
            str(compiled),
            f"was compiled by {words(sidecar.versions)}, but {words(here)} is installed",
            hint="run the recipe again: it compiles the network for the installed version",
        )


def signature(
    inputs: Sequence[tuple[str, Sides]], outputs: Sequence[tuple[str, Sides]], *, pixels: bool = False
) -> Signature:
    """Return the signature of a network whose runtime reports these values, by name and sides; refuse any other.

    `pixels`: its input is uint8, with the channels last.
    """
    if len(inputs) != 1 or len(outputs) != 1:
        raise TargetError(
            "the network", f"has {len(inputs)} inputs and {len(outputs)} outputs instead of one each", hint=_EXPORT
        )
    (image, sides), (logits, answers) = inputs[0], outputs[0]
    known = [side for side in (sides or ())[1:] if side is not None]
    if not sides or len(sides) != 4 or len(known) != 3:
        raise _no_images(sides)
    channels, height, width = (known[2], *known[:2]) if pixels else known
    if height != width:
        raise _no_images(sides)
    if answers and len(answers) in (3, 4) and None not in answers[1:]:
        of_image = tuple(side for side in answers[1:] if side is not None)
        classes = of_image[0] if len(of_image) == 3 else 1
        return Signature(image, sides[0], channels, height, logits, classes, pixels, map=of_image)
    if not answers or len(answers) != 2 or answers[1] is None:
        wanted = "batch × classes logits, or a map of them"
        raise TargetError("the network", f"returns {_shown(answers)} instead of {wanted}", hint=_EXPORT)
    return Signature(image, sides[0], channels, height, logits, answers[1], pixels)


def _no_images(sides: Sides) -> TargetError:
    return TargetError("the network", f"takes {_shown(sides)} instead of square images of one fixed size", hint=_EXPORT)


def _shown(sides: Sides) -> str:
    return "×".join("?" if side is None else str(side) for side in sides) if sides else "an unknown shape"


def words(versions: Mapping[str, str]) -> str:
    """Return versions for people."""
    return ", ".join(f"{name} {version}" for name, version in versions.items())
