"""What the names of tensors say of a network, where shapes leave it open: each well-known naming has its convention."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from . import spelled
from .recognised import Recognised, first


@dataclass(frozen=True)
class _Naming:
    """How somebody's own code names its tensors, and which architectures it builds then."""

    pattern: re.Pattern[str]  # of a tensor's name
    whose: str
    likely: Callable[[str], bool] = lambda arch: True  # architectures that come first
    fits: Callable[[str], bool] = lambda arch: True  # architectures that this code can build
    doubt: str = ""  # what else its tensors do not show
    unlike: str = ""  # what it has and is not built here


def _has_relu(arch: str) -> bool:
    return not arch.endswith(tuple(f"_{each}" for each in spelled.ACTIVATIONS))


def _is_plain(arch: str) -> bool:
    return _has_relu(arch) and not arch.endswith("_stage1s2")


_BGR = "detectron2 takes images as BGR unless its configuration says RGB: set `preprocessing.order`"
_NAMINGS = (
    _Naming(re.compile(r"(?:.*\.)?embedder\.embedder\.convolution\.weight"), "transformers", fits=_has_relu),
    _Naming(
        re.compile(r"(?:.*\.)?conv2_x\.0\.residual_function\.0\.weight"), "a collection for CIFAR-100", fits=_is_plain
    ),
    _Naming(
        re.compile(r"(?:.*\.)?res2\.0\.conv1\.(?:norm\.)?weight"),
        "detectron2",
        lambda arch: arch.endswith("_v1"),
        _is_plain,
        doubt=_BGR,
    ),
    _Naming(re.compile(r"(?:.*\.)?stages\.0\.blocks\.0\.norm1\.weight"), "timm", fits=_is_plain),
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


def whose(shapes: Iterable[str]) -> str:
    """Return whose code names tensors so; empty where that is not known."""
    every = list(shapes)
    return next((each.whose for each in _NAMINGS if each.whose and any(map(each.pattern.fullmatch, every))), "")


def _by(naming: _Naming, found: Recognised) -> Recognised:
    if naming.unlike:
        words = f"{found.words}, named as {naming.whose}, which have {naming.unlike}: that is not built here"
        return replace(found, archs=(), words=words)
    left = tuple(filter(naming.fits, found.archs)) or found.archs
    found = first(replace(found, archs=left), naming.likely)
    _, _, doubts = found.around.partition(". ")  # the first sentence says that the names are unknown
    around = ". ".join(filter(None, (doubts, naming.doubt))) if naming.whose else found.around
    return replace(found, around=around)
