"""How weights want their pixels prepared, from the records of those who published them: torchvision's, timm's and
transformers' own.

A record counts only for the file that it is about: published files have the beginning of their sha256 in their name,
and on Hugging Face's hub the records lie next to `model.safetensors`. An architecture's name alone is never enough: the
same network has been trained in many ways. What a recipe cannot express is reported, and nothing similar replaces it.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import quoted, shortened
from ..portable import manifest
from ..portable.documents import parse_json, shown
from . import hub, names, shapes

_PUBLISHED = re.compile(r".+-([0-9a-f]{8,64})\.(?:pth|pt|safetensors)")
_USUAL_CROP = 0.875  # timm's, where a record has none


@dataclass(frozen=True)
class Record:
    """`preprocessing` in a recipe's words; empty where `why_not` names what a recipe cannot express."""

    source: str  # whose record, and its name there
    arch: str  # empty where the record names none
    preprocessing: Mapping[str, object] = field(default_factory=dict)
    why_not: str = ""


_Json: TypeAlias = Any  # as timm wrote it


def of(path: Path, fits: Collection[str]) -> Record | None:
    """Return the record of exactly this file, whose tensors fit the architectures `fits`; the file's own record where
    edgeresnet wrote it.

    Imports torchvision and timm only for a file that may be published there, by its name and content.
    """
    path = hub.weights_of(path)
    if found := _own(path) or _of_hub(path, fits):
        return found
    digits = _PUBLISHED.fullmatch(path.name)
    if digits is None or not manifest.sha256_of(path).startswith(digits[1]):
        return None
    return next((record for file, record in _published() if file == path.name), None)


def _own(path: Path) -> Record | None:
    """Return what `train` and `prune` write next to the weights."""
    held = shapes.metadata(path)
    if "preprocessing" not in held:
        return None
    from ..portable.preprocessing import Preprocessing  # needs numpy

    try:
        about: _Json = parse_json(held["preprocessing"])
        wants = Preprocessing.from_json(about).to_json()
        return Record(f"{shown(path)} itself", held["arch"], wants)
    except (LookupError, ValueError, TypeError, ArithmeticError):
        return None


def doubt(path: Path) -> str:
    """Return why a file with a published file's name is not that file; empty where it is, or has another name."""
    path = hub.weights_of(path)
    digits = _PUBLISHED.fullmatch(path.name)
    if digits is None or (found := manifest.sha256_of(path)).startswith(digits[1]):
        return ""
    return (
        f"its name is that of a published file, but its sha256 begins with {found[: len(digits[1])]}: no record applies"
    )


def _published() -> Iterator[tuple[str, Record]]:
    """Yield file names with their records."""
    yield from _torchvisions()
    if importlib.util.find_spec("timm"):
        yield from _timms()


def _torchvisions() -> Iterator[tuple[str, Record]]:
    from torchvision.models import get_model_weights

    for arch in (*names.TORCHVISION, *(each for each in names.SEGMENTERS if "cifar" not in each)):
        for weights in get_model_weights(arch):
            wanted = weights.transforms()
            (resize,) = wanted.resize_size
            (size,) = getattr(wanted, "crop_size", (resize,))  # segmentation crops nothing, but ours are square
            found = {"size": size, "resize": resize, "interpolation": wanted.interpolation.value}
            found |= {"mean": list(wanted.mean), "std": list(wanted.std)}
            yield weights.url.rsplit("/", 1)[-1], Record(f"torchvision's record {weights}", arch, found)


def _timms() -> Iterator[tuple[str, Record]]:
    import timm

    for name in timm.list_models(module="resnet", pretrained=True):
        arch = name.split(".")[0]
        about = timm.models.get_pretrained_cfg(name)
        if about and isinstance(about.url, str) and names.is_known(arch):
            yield about.url.rsplit("/", 1)[-1], _in_recipes_words(f"timm's record {name}", arch, about.to_dict())


def _of_hub(path: Path, fits: Collection[str]) -> Record | None:
    """Return the record that lies next to weights on Hugging Face's hub."""
    config = hub.file_of(path)
    if config is None:
        return None
    if found := _timms_own(config, fits):
        return found
    from . import processors  # needs numpy

    pixels = processors.of(config.parent)
    return Record(f"transformers' record {pixels.file}", "", pixels.preprocessing, pixels.why_not) if pixels else None


def _timms_own(path: Path, fits: Collection[str]) -> Record | None:
    """Read timm's `config.json`; return None for another library's."""
    about: _Json = hub.document(path)
    try:
        arch, wants = str(about["architecture"]), about["pretrained_cfg"]
        record = _in_recipes_words(f"timm's record {path}", arch, wants)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
        return None
    if arguments := hub.arguments_of(about):
        return replace(record, preprocessing={}, why_not=f"its network was built with other arguments ({arguments})")
    if arch not in fits:
        return replace(
            record,
            preprocessing={},
            why_not=f"it describes {shortened(arch, 40)}, but these tensors are another network",
        )
    return record


def _in_recipes_words(source: str, arch: str, wants: _Json) -> Record:
    """Return the record of a network, read as timm's `create_transform` reads it for evaluation."""
    from ..portable.preprocessing import INTERPOLATIONS  # needs numpy

    _, height, width = wants.get("input_size") or (3, 224, 224)
    crop, mode = wants.get("crop_pct") or _USUAL_CROP, wants.get("crop_mode") or "center"
    interpolation = wants.get("interpolation") or "bicubic"
    wrong = {
        f"its images are {width}×{height}, not square": width != height,
        f"its crop is {quoted(mode)}": mode not in ("center", "squash") or (mode == "squash" and crop != 1),
        f"its interpolation is {quoted(interpolation)}": interpolation not in INTERPOLATIONS,
        "its mean and std are missing": not wants.get("mean") or not wants.get("std"),
    }
    why_not = next((words for words, holds in wrong.items() if holds), "")
    if why_not:
        return Record(source, arch, why_not=f"{why_not}, which a recipe cannot express")
    found = {"size": height, "resize": math.floor(height / crop), "interpolation": interpolation}
    found |= {"crop": mode} if mode == "squash" else {}
    return Record(source, arch, {**found, "mean": list(wants["mean"]), "std": list(wants["std"])})
