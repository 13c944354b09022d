"""How transformers prepares pixels, read from the file that it saves next to weights, in a recipe's words.

Knows the image processors that ResNets are published with. What a recipe cannot express, or the file leaves open, is
the reason why nothing is taken from it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import quoted
from ..portable.preprocessing import LARGEST, Preprocessing
from . import hub

_FILES = ("preprocessor_config.json", "processor_config.json")
_NESTED = "image_processor"  # in the second of the files
_SHORT, _SQUARE = "shortest_edge", "height and width"  # what a size is of
# Processor → what one number means, and whether it crops where the file does not say so.
_KNOWN = {
    "ConvNext": (_SHORT, False),
    "ViT": (_SQUARE, False),
    "DeiT": (_SQUARE, True),
    "Bit": (_SHORT, True),
    "CLIP": (_SHORT, True),
}
_ENDINGS = ("Pil", "Fast", "ImageProcessor", "FeatureExtractor")
_STEPS = {"do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb"}
_RESAMPLE = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # as Pillow numbers them
_SQUASHED_FROM = 384  # pixels: ConvNext's processor crops below
_CROP_PCT = 0.875  # ConvNext's, where the file has none

_Json: TypeAlias = Any  # as another program wrote it


@dataclass(frozen=True)
class Pixels:
    """`preprocessing` in a recipe's words; empty where `why_not` says why it is not taken."""

    file: Path
    preprocessing: Mapping[str, object] = field(default_factory=dict)
    why_not: str = ""


class _NotExpressible(Exception):
    """Why a recipe cannot have the same, as a clause."""


def of(folder: Path) -> Pixels | None:
    """Return how the weights in a folder want their pixels; None where transformers saved nothing about it there."""
    file = next((folder / name for name in _FILES if os.path.isfile(folder / name)), None)
    held: _Json = hub.document(file) if file else {}
    held = held.get(_NESTED, held) if file and file.name == _FILES[1] else held
    kind = _kind(held) if isinstance(held, dict) else ""
    if file is None or not kind:
        return None
    try:
        found = _in_recipes_words(held, kind)
        Preprocessing.from_json(found)
    except (_NotExpressible, ValueError) as problem:
        return Pixels(file, why_not=str(problem))
    return Pixels(file, found)


def _kind(held: Mapping[str, _Json]) -> str:
    """Return the processor's name without the endings that changed over time; empty where there is none."""
    name = held.get("image_processor_type", held.get("feature_extractor_type"))
    name = name if isinstance(name, str) else ""
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    return name


def _in_recipes_words(held: Mapping[str, _Json], kind: str) -> dict[str, object]:
    if kind not in _KNOWN:
        raise _NotExpressible(f"its image processor {quoted(kind, 40)} is not one that edgeresnet knows")
    if others := [key for key, on in held.items() if key.startswith("do_") and on and key not in _STEPS]:
        raise _NotExpressible(f"it has {quoted(others[0], 40)}, which a recipe cannot express")
    if not _flag(held, "do_resize", default=True):
        raise _NotExpressible("it does not resize images, and a recipe always does")
    resample = held.get("resample")
    if type(resample) is not int or resample not in _RESAMPLE:
        raise _NotExpressible(f"its resample is {quoted(resample)}, which a recipe cannot express")
    geometry = _convnext(held) if kind == "ConvNext" else _general(held, kind)
    return {**geometry, "interpolation": _RESAMPLE[resample], **_normalisation(held)}


def _convnext(held: Mapping[str, _Json]) -> dict[str, object]:
    """Return ConvNext's: below 384 pixels it crops the center of a larger image, else it scales both sides."""
    what, size = _size(held, "size", _SHORT)
    if what != _SHORT:
        raise _NotExpressible(f"its size is {quoted(held.get('size'))}, without shortest_edge")
    if _flag(held, "do_center_crop", default=False) and _size(held, "crop_size", _SQUARE)[1] != size:
        raise _NotExpressible("it crops twice, which a recipe cannot express")
    if size >= _SQUASHED_FROM:
        return {"size": size, "crop": "squash"}
    crop = held.get("crop_pct")
    share = _CROP_PCT if crop is None else crop
    if not _is_number(share) or not 0.01 <= share <= 1:
        raise _NotExpressible(f"its crop_pct is {quoted(crop)}, not a share from 0.01 to 1")
    return {"size": size, "resize": int(size / share)}


def _general(held: Mapping[str, _Json], kind: str) -> dict[str, object]:
    number, crops = _KNOWN[kind]
    what, size = _size(held, "size", number)
    cropped = _size(held, "crop_size", _SQUARE)[1] if _flag(held, "do_center_crop", default=crops) else None
    if what == _SQUARE and cropped in (None, size):
        return {"size": size, "crop": "squash"}
    if what == _SQUARE:
        raise _NotExpressible("it scales both sides and then crops, which a recipe cannot express")
    if cropped is None:
        raise _NotExpressible("it does not make images square, and a recipe always does")
    if cropped > size:
        raise _NotExpressible(f"it crops {cropped} pixels out of {size}, which a recipe cannot express")
    return {"size": cropped, "resize": size}


def _size(held: Mapping[str, _Json], key: str, number: str) -> tuple[str, int]:
    """Return a size and which one it is: of the shorter side, or of both. `number` is which one a single number is."""
    size = held.get(key)
    sides = {each: side for each, side in size.items() if side is not None} if isinstance(size, dict) else {}
    if type(size) is int:
        sides = {_SHORT: size} if number == _SHORT else {"height": size, "width": size}
    what = _SHORT if sides.keys() == {_SHORT} else _SQUARE if sides.keys() == {"height", "width"} else ""
    pixels, *others = sides.values() or [None]
    if not what or others not in ([], [pixels]) or type(pixels) is not int or not 1 <= pixels <= LARGEST:
        raise _NotExpressible(f"its {key} is {quoted(size)}, which a recipe cannot express")
    return what, pixels


def _normalisation(held: Mapping[str, _Json]) -> dict[str, object]:
    """Return mean and std of pixels from 0 to 1, whatever factor the file brings pixels to its own range with."""
    factor = held.get("rescale_factor", 1 / 255) if _flag(held, "do_rescale", default=True) else 1.0
    brightest = 255 * factor if _is_number(factor) and factor > 0 else math.nan
    brightest = 1.0 if math.isclose(brightest, 1, rel_tol=1e-6) else brightest
    if not math.isfinite(brightest):
        raise _NotExpressible(f"its rescale_factor is {quoted(factor)}, not a positive number")
    if not _flag(held, "do_normalize", default=True):
        return {"mean": [0.0] * 3, "std": [1 / brightest] * 3}
    return {key: [each / brightest for each in _channels(held, f"image_{key}")] for key in ("mean", "std")}


def _channels(held: Mapping[str, _Json], key: str) -> list[float]:
    values = held.get(key)
    values = [values] * 3 if _is_number(values) else values
    if not isinstance(values, list) or len(values) not in (1, 3) or not all(map(_is_number, values)):
        raise _NotExpressible(f"its {key} is {quoted(values)}, not a number for each channel")
    return values


def _flag(held: Mapping[str, _Json], key: str, *, default: bool) -> bool:
    found = held.get(key)
    return default if found is None else bool(found)


def _is_number(value: _Json) -> bool:
    return (type(value) is int and abs(value) < 1 << 53) or (type(value) is float and math.isfinite(value))
