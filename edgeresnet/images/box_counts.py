"""What boxes hold: how many objects each class has, how many images have none, and which boxes cannot be meant so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ..errors import ImagesError, shortened
from ..portable import machine
from ..portable.frozen import dataclass
from ..portable.preprocessing import Preprocessing
from . import boxes, decode
from .boxes import Drawn
from .decode import BROKEN, Contradiction
from .samples import Samples
from .sources import Boxed

_SAMPLE = 64  # images of a set that is used: they are opened
_SHOWN = 5  # classes by name
_WORD = 40  # characters of a name
_ROUNDED = 1.0  # pixels that a box may go beyond its image: what labels are rounded to
_CUT = 0.05  # of the objects: if more are cut off, it is hardly meant


class _Seen(NamedTuple):
    """One image of a sample."""

    size: tuple[int, int]
    turned: bool  # by EXIF, and its labels do not show how they were drawn
    objects: int  # without crowds
    kept: int  # of these, after the crop


@dataclass(frozen=True)
class BoxCounts:
    """Objects of some images: of each class by name, the most frequent first; and boxes that may be wrong."""

    images: int
    objects: Mapping[str, int]
    classes: Mapping[str, int]  # images with an object of the class
    crowds: int
    empty: int  # images without an object
    doubts: tuple[str, ...] = ()  # why boxes may not be what is meant

    @property
    def words(self) -> str:
        """What they hold, as a line."""
        shown = [f"{shortened(name, _WORD)} {count}" for name, count in self.objects.items()]
        more = f", and {len(shown) - _SHOWN} more classes" if len(shown) > _SHOWN else ""
        many = sum(self.objects.values())
        found = f"{many} objects in {self.images} images: {', '.join(shown[:_SHOWN]) or 'no class'}{more}"
        found += f"; crowds {self.crowds}" if self.crowds else ""
        return found + (f"; images without an object {self.empty}" if self.empty else "")


def of_samples(samples: Samples) -> BoxCounts:
    """Count the objects of a set that is used. Open a sample of its images; refuse one that its labels are not of."""
    source, chosen = samples.source, samples.chosen.tolist()
    assert isinstance(source, Boxed)
    order = sorted(range(len(samples)), key=samples.hash)[:_SAMPLE]

    def one(index: int) -> _Seen | None:
        try:
            return _seen(source, chosen[index], samples.preprocessing)
        except Contradiction:
            raise
        except ImagesError:  # a run reports it
            return None

    with ThreadPoolExecutor(machine.cores()) as pool:
        seen = dict(zip(order, pool.map(one, order), strict=True))
    drawn = [source.drawn[index] for index in chosen]
    sizes = {at: each.size for at, each in seen.items() if each}
    found = [each for each in seen.values() if each]
    return _summed(drawn, sizes, source.classes, [*_turned(found), *_cut(found, samples.preprocessing)])


def of_files(source: Boxed) -> tuple[BoxCounts, list[tuple[str, str]]]:
    """Count the objects of all images, and return which labels cannot be right, each with why."""

    def one(index: int) -> _Seen | ImagesError:
        try:
            return _seen(source, index, None)
        except ImagesError as problem:
            return problem

    indices = range(len(source.labels))
    with ThreadPoolExecutor(machine.cores()) as pool:
        found = list(pool.map(one, indices))
    wrong = [(each.subject, each.problem) for each in found if isinstance(each, Contradiction)]
    sizes = {at: each.size for at, each in enumerate(found) if isinstance(each, _Seen)}
    turned = _turned([each for each in found if isinstance(each, _Seen)])
    return _summed(source.drawn, sizes, source.classes, list(turned)), wrong


def _seen(source: Boxed, index: int, preprocessing: Preprocessing | None) -> _Seen:
    drawn = source.drawn[index]
    try:
        with source.open(index) as image:
            boxes.check_size(drawn, image, source.name(index))
            turned = decode.turned(image) and (drawn.size is None or image.width == image.height)
            kept = boxes.fitted(drawn.objects, image, preprocessing).crowd if preprocessing else drawn.objects.crowd
            return _Seen(image.size, turned, int((~drawn.objects.crowd).sum()), int((~kept).sum()))
    except BROKEN as problem:
        raise ImagesError(source.name(index), decode.reason(problem), hint="remove or replace it") from problem


def _summed(
    drawn: Sequence[Drawn], sizes: Mapping[int, tuple[int, int]], names: Sequence[str], doubts: Sequence[str]
) -> BoxCounts:
    objects, images = Counter[int](), Counter[int]()
    empty = crowds = 0
    for each in drawn:
        numbers = each.objects.numbers[~each.objects.crowd].tolist()
        objects.update(numbers)
        images.update(set(numbers))
        empty += not numbers
        crowds += int(each.objects.crowd.sum())
    ranked = [number for number, _ in objects.most_common()]
    return BoxCounts(
        len(drawn),
        {names[number]: objects[number] for number in ranked},
        {names[number]: images[number] for number in ranked},
        crowds,
        empty,
        (*_none(objects), *_outside(drawn, sizes), *_flat(drawn), *doubts),
    )


def _none(objects: Mapping[int, int]) -> Iterable[str]:
    if not objects:
        yield "none of these images has an object, so no accuracy can be measured: take other images, or more of them"


def _outside(drawn: Sequence[Drawn], sizes: Mapping[int, tuple[int, int]]) -> Iterable[str]:
    """Yield how many boxes end outside their images, as far as the images' sizes are known."""
    known = [(at, sizes.get(at) or each.size) for at, each in enumerate(drawn) if len(each.objects.boxes)]
    there = [(drawn[at], size) for at, size in known if size]
    if not there:
        return
    counts = [len(each.objects.boxes) for each, _ in there]
    corners = np.concatenate([each.objects.boxes for each, _ in there])
    corners[:, 2:] += corners[:, :2]
    ends = np.repeat([[*size, *size] for _, size in there], counts, axis=0)
    beyond = np.maximum(-corners, corners - ends).max(axis=1)
    outside = np.flatnonzero(beyond > _ROUNDED)
    if len(outside):
        first = there[int(np.searchsorted(np.cumsum(counts), outside[0], side="right"))][0]
        words, pixels = f"{len(outside)} boxes end outside their images, by up to", f"{beyond.max():.0f} pixels"
        words = "1 box ends outside its image, by" if len(outside) == 1 else words
        cut = "is cut off there" if len(outside) == 1 else "these are cut off there"
        yield f"{words} {pixels}, and {cut} ({first.name})"


def _flat(drawn: Sequence[Drawn]) -> Iterable[str]:
    flat, first = sum(each.flat for each in drawn), next((each.name for each in drawn if each.flat), "")
    if flat:
        words = "1 box has no area, and is" if flat == 1 else f"{flat} boxes have no area, and are"
        yield f"{words} left out ({first})"


def _turned(seen: Sequence[_Seen]) -> Iterable[str]:
    turned = sum(each.turned for each in seen)
    if turned:
        which = f"EXIF turns {turned} of {len(seen)} photographs"
        yield f"{which}: their boxes must be in pixels of the photographs as they are stored"


def _cut(seen: Sequence[_Seen], preprocessing: Preprocessing) -> Iterable[str]:
    objects, kept = sum(each.objects for each in seen), sum(each.kept for each in seen)
    if preprocessing.crop == "center" and objects - kept > _CUT * objects:
        lost = f"the center crop leaves less than a quarter of {objects - kept} of {objects} objects"
        yield f"{lost}: `preprocessing: {{crop: pad}}` keeps them, if the network was trained so"
