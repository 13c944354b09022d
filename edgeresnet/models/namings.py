"""What the names of tensors say of a network, where shapes leave it open: each well-known naming has its convention."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Recognised:
    """What a file holds. `archs` are those that fit, the likeliest first; empty where none that can be named does."""

    archs: tuple[str, ...]
    classes: int
    channels: int
    words: str  # for a person
    around: str = ""  # what stands around the network in the file, and how it is read


@dataclass(frozen=True)
class _Naming:
    """How somebody's own code names its tensors, and which architectures it builds then."""

    pattern: re.Pattern[str]  # of a tensor's name
    whose: str
    likely: Callable[[str], bool] = lambda arch: True  # architectures that come first
    unlike: str = ""  # what it has and is not built here


_NAMINGS = (
    _Naming(re.compile(r"(?:.*\.)?embedder\.embedder\.convolution\.weight"), "transformers"),
    _Naming(re.compile(r"(?:.*\.)?conv2_x\.0\.residual_function\.0\.weight"), "a collection for CIFAR-100"),
    _Naming(re.compile(r"(?:.*\.)?res2\.0\.conv1\.weight"), "detectron2", lambda arch: arch.endswith("_v1")),
    _Naming(re.compile(r"(?:.*\.)?stages\.0\.blocks\.0\.norm1\.weight"), "timm"),
    # Pre-activation networks that say `downsample` read a shortcut's input before its normalisation.
    _Naming(re.compile(r".*\bdownsample\.0\.weight"), "", lambda arch: arch.endswith("_raw")),
    _Naming(re.compile(r".*\.se_module\.fc1\.weight"), "older SENets", unlike="another max-pool"),
    _Naming(re.compile(r"(?:.*\.)?stages\.0\.0\.conv1_(?:1x1|kxk)\..+"), "timm's byobnets", unlike="other stems"),
)


def decided(found: Recognised, shapes: Iterable[str]) -> Recognised:
    """Return what a naming leaves of the architectures, or puts first. Known names need no warning."""
    for naming in _NAMINGS:
        if any(map(naming.pattern.fullmatch, shapes)):
            found = _by(naming, found)
    return found


def _by(naming: _Naming, found: Recognised) -> Recognised:
    if naming.unlike:
        words = f"{found.words}, named as {naming.whose}, which have {naming.unlike}: that is not built here"
        return replace(found, archs=(), words=words)
    found = first(found, naming.likely)
    _, _, doubts = found.around.partition(". ")  # the first sentence says that the names are unknown
    return replace(found, around=doubts if naming.whose else found.around)


def first(found: Recognised, fits: Callable[[str], bool]) -> Recognised:
    """Move the architectures that fit to the front."""
    return replace(found, archs=tuple(sorted(found.archs, key=lambda arch: not fits(arch))))
