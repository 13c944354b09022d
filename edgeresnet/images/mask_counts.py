"""What masks hold: how many pixels each class has, how many are ignored, and which masks cannot be right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..errors import ImagesError, shortened
from ..portable import machine
from ..portable.frozen import dataclass
from ..portable.tasks.masks import IGNORED
from . import masks as mask_files
from .decode import BROKEN, Contradiction
from .samples import Samples
from .sources import Masked

_SAMPLE = 64  # masks of a set that is used
_SHOWN = 5  # classes by name
_WORD = 40  # characters of a name


@dataclass(frozen=True)
class MaskCounts:
    """Pixels of some masks: of each class by name or number, the most frequent first; and those without a class."""

    masks: int
    pixels: Mapping[str, int]
    ignored: int
    unlabelled: int  # masks that have no pixel with a class
    classes: Mapping[str, int]  # masks that have a pixel of the class

    @property
    def words(self) -> str:
        """What they hold, as a line."""
        every = max(1, sum(self.pixels.values()) + self.ignored)
        shown = [f"{shortened(name, _WORD)} {_share(count, every)}" for name, count in self.pixels.items()]
        more = f", and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        found = f"{', '.join(shown[:_SHOWN]) or 'no class'}{more} of the pixels of {self.masks} masks"
        if self.ignored:
            found += f"; {_share(self.ignored, every)} are ignored"
        return found + (f"; {self.unlabelled} of them have no class" if self.unlabelled else "")

    @property
    def doubt(self) -> str:
        """Why they may not be what is meant; empty where nothing speaks for that."""
        if not self.pixels:
            return (
                "no pixel of their masks has a class: set `images.ignore_index` to the number of ignored pixels alone"
            )
        if len(self.pixels) == 1 and self.ignored:
            only = shortened(next(iter(self.pixels)), _WORD)
            return f"their masks hold {only} and ignored pixels alone: a class must not have the ignored number"
        if len(self.pixels) == 1 and self.masks > 1:
            return (
                f"their masks hold {shortened(next(iter(self.pixels)), _WORD)} alone: nothing can be learned or shown"
            )
        return ""


def of_samples(samples: Samples) -> MaskCounts:
    """Count the pixels of a sample of masks, as the network sees them. Leave unreadable ones out; refuse wrong ones."""
    order = sorted(range(len(samples)), key=samples.hash)[:_SAMPLE]

    def one(index: int) -> np.ndarray | None:
        try:
            return samples.mask(index)
        except Contradiction:
            raise
        except ImagesError:  # a run reports it
            return None

    with ThreadPoolExecutor(machine.cores()) as pool:
        found = [_counted(mask) for mask in pool.map(one, order) if mask is not None]
    return _summed(found, IGNORED, lambda number: samples.classes[number])


def of_files(source: Masked) -> tuple[MaskCounts, list[tuple[str, str]]]:
    """Count the pixels of all masks in their files, and return which cannot be read or be right, each with why."""

    def one(index: int) -> Counter[int] | ImagesError:
        name = source.masks.name(index)
        try:
            with source.open(index) as image:
                mask = source.masks.read(index, image.size)
                mask_files.check_size(mask, image, (name, source.name(index)))
                return _counted(mask)
        except ImagesError as problem:
            return problem
        except BROKEN:  # the survey of the images names it
            return Counter()

    indices = range(len(source.labels))
    with ThreadPoolExecutor(machine.cores()) as pool:
        found = list(pool.map(one, indices))
    wrong = [(each.subject, each.problem) for each in found if isinstance(each, ImagesError)]
    known = [each for each in found if isinstance(each, Counter) and each]
    return _summed(known, source.masks.ignored, lambda number: _named(source.classes, number)), wrong


def _named(classes: Sequence[str], number: int) -> str:
    return classes[number] if number < len(classes) else str(number)


def _counted(mask: np.ndarray) -> Counter[int]:
    numbers, pixels = np.unique(mask, return_counts=True)
    return Counter(dict(zip(numbers.tolist(), pixels.tolist(), strict=True)))


def _summed(found: Iterable[Counter[int]], ignored: int, name: Callable[[int], str]) -> MaskCounts:
    every, classes, masks, unlabelled = Counter[int](), Counter[int](), 0, 0
    for each in found:
        every.update(each)
        classes.update(each.keys())
        masks += 1
        unlabelled += not each.keys() - {ignored}
    without = every.pop(ignored, 0)
    pixels = {name(number): count for number, count in every.most_common()}
    return MaskCounts(masks, pixels, without, unlabelled, {name(number): classes[number] for number in every})


def _share(part: int, every: int) -> str:
    pct = 100 * part / every
    return f"{pct:.1f} %" if pct >= 0.05 else "under 0.1 %"
