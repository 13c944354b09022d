"""What a file is recognised as: the architectures that its tensors fit, and how that is said to a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ..portable.frozen import OMIT


@dataclass(frozen=True)
class Recognised:
    """What a file holds. `archs` are those that fit, the likeliest first; empty where none that can be named does."""

    archs: tuple[str, ...]
    classes: int
    channels: int
    words: str  # for a person
    around: str = ""  # what stands around the network in the file, and how it is read
    hint: str = field(default="", metadata=OMIT)  # what to do where nothing is recognised


def first(found: Recognised, fits: Callable[[str], bool]) -> Recognised:
    """Move the architectures that fit to the front."""
    return replace(found, archs=tuple(sorted(found.archs, key=lambda arch: not fits(arch))))
