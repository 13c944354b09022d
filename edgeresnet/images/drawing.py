"""What is seen in an image, as a picture: a mask in the colours of its classes, or boxes with names over the image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from ..portable.preprocessing import Preprocessing
from ..portable.tasks.average_precision import Detected, iou
from ..portable.tasks.precision import SURE
from ..portable.tasks.task import Seen
from ..text import on_one_line
from . import decode
from .coloured import colour_of, coloured

LABEL, CORRECT, OTHER, NEITHER = (46, 139, 70), (0, 92, 200), (204, 85, 0), (105, 105, 105)
_FOUND = 0.5  # IoU from which a box is an object; and the part of a box that is in a crowd
_LONGEST = 20  # letters of a name
_LEAST = 9  # pixels of a letter's height
_LINE, _LINES = 110, 16  # parts of a picture: the width of an outline, the height of a line of text


_Place: TypeAlias = tuple[int, int, int, int]  # left, top, right and bottom, in pixels


@dataclass(frozen=True)
class Outline:
    """How one box is drawn: its colour and the words over it."""

    colour: tuple[int, int, int]
    words: str


def drawn(seen: Seen, image: Image.Image, classes: Sequence[str], labels: Seen | None = None) -> Image.Image | None:
    """Return a picture of what is seen, as large as the network's input; None where that has no place.

    `labels`: what people saw. Found boxes are then in the colour of those that are an object, or of those that are not.
    """
    if seen.mask is not None:
        return coloured(seen.mask)
    if seen.boxes is None:
        return None
    sure = surest(seen.boxes)
    if labels is None or labels.boxes is None:
        outlines = [_by_class(classes, *each) for each in zip(sure.numbers, sure.scores, strict=True)]
    elif seen is labels:
        colours = np.where(_crowd(labels)[:, None], NEITHER, LABEL)
        outlines = [
            Outline(_colour(each), _called(classes, number)) for number, each in zip(sure.numbers, colours, strict=True)
        ]
    else:
        outlines = [
            Outline(_colour(each), f"{_called(classes, number)} {score:.2f}")
            for number, score, each in zip(sure.numbers, sure.scores, _judged(sure, labels), strict=True)
        ]
    return outlined(image, sure.boxes, outlines)


def outlined(image: Image.Image, boxes: np.ndarray, outlines: Sequence[Outline]) -> Image.Image:
    """Return an image with boxes drawn over it, the first ones on top."""
    found = image.convert("RGB")
    pen, width = ImageDraw.Draw(found), max(1, round(max(found.size) / _LINE))
    font = ImageFont.load_default(max(_LEAST, round(max(found.size) / _LINES)))
    places = [_within(box, found.size) for box in boxes]
    words: list[_Place] = []
    for place, outline in zip(places, outlines, strict=True):
        *_, across, down = pen.textbbox((0, 0), outline.words, font=font)
        words.append(_free(place, (math.ceil(across), math.ceil(down)), found.size, words))
    for place, outline in reversed(list(zip(places, outlines, strict=True))):
        pen.rectangle(place, outline=outline.colour, width=width)
    for place, outline in reversed(list(zip(words, outlines, strict=True))):
        pen.rectangle(place, fill=outline.colour)
        pen.text(place[:2], outline.words, fill=_ink(outline.colour), font=font)
    return found


def original(path: Path, preprocessing: Preprocessing) -> Image.Image:
    """Return an image as it is before it is resized, in colours or grays of 8 bits."""
    with decode.open_file(str(path)) as image:
        return eight_bits(ImageOps.exif_transpose(image) if preprocessing.exif else image)


def eight_bits(image: Image.Image) -> Image.Image:
    """Return 8 bits; of 16, stretched from the darkest to the brightest: few images use all levels."""
    if image.mode in ("L", "RGB"):
        image.load()
        return image
    if image.mode[0] not in "IF":
        return decode.plain(image, 3)
    levels = np.asarray(image).astype(np.float64)
    low, high = float(levels.min()), float(levels.max())
    return Image.fromarray((255 * (levels - low) / max(high - low, 1.0)).astype(np.uint8))


def scaled(seen: Seen, factor: float) -> Seen:
    """Return the same over a larger or smaller image. A mask stays as it is."""
    if seen.boxes is None:
        return seen
    return seen._replace(boxes=seen.boxes._replace(boxes=seen.boxes.boxes * factor))


def surest(found: Detected) -> Detected:
    """Return the boxes that count as answers."""
    sure = found.scores >= SURE
    return Detected(found.boxes[sure], found.numbers[sure], found.scores[sure])


def _by_class(classes: Sequence[str], number: int, score: float) -> Outline:
    return Outline(colour_of(int(number) % 254 + 1), f"{_called(classes, number)} {score:.2f}")


def _called(classes: Sequence[str], number: int) -> str:
    name = on_one_line(classes[number]) if number < len(classes) else str(number)
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _judged(found: Detected, labels: Seen) -> np.ndarray:
    """Return the colour of each box: it lies on an object of its class, in a crowd of its class, or on neither."""
    assert labels.boxes is not None
    crowd = _crowd(labels)
    there = iou(found.boxes, labels.boxes.boxes, crowd) >= _FOUND
    there &= found.numbers[:, None] == labels.boxes.numbers[None]
    is_object, in_crowd = ((there & kind).any(1)[:, None] for kind in (~crowd, crowd))
    return np.where(is_object, CORRECT, np.where(in_crowd, NEITHER, OTHER))


def _crowd(labels: Seen) -> np.ndarray:
    assert labels.boxes is not None
    return np.zeros(len(labels.boxes.boxes), bool) if labels.crowd is None else labels.crowd


def _colour(numbers: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = numbers.tolist()
    return red, green, blue


def _within(box: np.ndarray, size: tuple[int, int]) -> _Place:
    """Return the outermost pixels of a box that are in the picture."""
    left, top, width, height = (float(each) for each in box)
    right, bottom = (
        min(round(end) - 1, side - 1) for end, side in zip((left + width, top + height), size, strict=True)
    )
    left, top = (min(max(0, round(each)), side - 1) for each, side in zip((left, top), size, strict=True))
    return int(left), int(top), max(int(left), right), max(int(top), bottom)


def _free(box: _Place, words: tuple[int, int], size: tuple[int, int], taken: Sequence[_Place]) -> _Place:
    """Return where words stand: over the box, under it, or inside, where they cover no others if possible."""
    across, down = words
    left = max(0, min(box[0], size[0] - across))
    tops = [top for top in (box[1] - down, box[3] + 1) if 0 <= top <= size[1] - down] + [box[1]]
    found = [(left, top, left + across, top + down) for top in tops]
    return next((each for each in found if not any(_overlap(each, other) for other in taken)), found[0])


def _overlap(one: _Place, other: _Place) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _ink(colour: tuple[int, int, int]) -> str:
    """Return black or white, whichever is read better on a colour."""
    red, green, blue = colour
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"
