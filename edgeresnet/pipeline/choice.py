"""What is chosen before the other steps are known: which network given weights are, where the recipe does not name it.

Labelled images decide it in the step `recognise`. Opens no file, and runs no network.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import ModelError
from ..images import Samples, choose
from ..notes import RecogniseNotes
from ..portable.frozen import dataclass
from ..stages.specs import Architecture
from ..store import Given

ImageSets = Mapping[str, Given[Samples]]  # slot → its images

_MOST = 128  # images to compare candidates on
# A choice is made on images that the verdict does not see, where there are such. A calibration folder may hold only
# some of the classes.
_SLOTS = ("training", "calibration", "evaluation")


@dataclass(frozen=True)
class Choice:
    """The networks that given weights fit, the likeliest first, and labelled images to run them on."""

    candidates: tuple[Architecture, ...]
    images: Given[Samples]


def check(notes: RecogniseNotes, checkpoint: str) -> None:
    """Refuse to go on with a network that was recognised, and is surely no better than chance."""
    if notes.better_than_chance or notes.unclear:
        return
    count = len(notes.candidates)
    fits = f"fits {count} networks, and none of them is" if count > 1 else "is recognised as a network that is not"
    raise ModelError(
        checkpoint,
        f"{fits} better than chance: {notes.sentence()}",
        hint="`edgeresnet diagnose` looks for another preprocessing, class order or network; --arch, or `model.arch`, "
        "goes on with one as it is",
    )


def images(samples: ImageSets, classes: int, seed: int) -> Given[Samples] | None:
    """Return a few labelled images, balanced over the classes, or over some of them; None where no labels are known."""
    names = next((samples[slot].value.classes for slot in ("evaluation", "training") if slot in samples), ())
    for slot in _SLOTS:
        given = samples[slot].value if slot in samples else None
        if given and len(given.classes) == classes and given.classes == (names or given.classes):
            present = np.random.default_rng(seed).permutation(np.unique(given.labels))
            if len(present) > 1:  # of one class nothing is better than chance
                some = given.subset(np.flatnonzero(np.isin(given.labels, present[:_MOST])))
                few = some.subset(choose.balanced(some, min(_MOST, len(some)), seed))
                return Given(few.digest, few)
    return None
