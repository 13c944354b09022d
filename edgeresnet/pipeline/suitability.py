"""Whether the calibration images suit the network and the evaluation, and whether masks and boxes are what is meant.

Known before hours are spent. Warnings only, and no key depends on them; but labels that cannot be right are refused.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..images import Samples, contents, likeness
from ..portable.result import RunWarning
from .resolving import Resolved

_FEW, _LARGE = 300, 224  # images; pixels to a side from which they are needed
_MOST_SHOWN = 2  # differences in one sentence


def warnings_of(resolved: Resolved) -> tuple[RunWarning, ...]:
    """Return what makes the images doubtful. Decodes a sample of them, and what calibration images look like once."""
    return (*of_labels(resolved), *of_calibration(resolved))


def of_labels(resolved: Resolved) -> tuple[RunWarning, ...]:
    """Return why masks or boxes may not be what is meant; refuse those that cannot be right before anything runs."""
    found = []
    for slot in ("training", "evaluation"):
        given = resolved.samples.get(slot)
        held = contents.of(given.value) if given else None
        if held:
            found += [RunWarning(f"doubtful-{held.kind}", f"of the {slot} images: {doubt}") for doubt in held.doubts]
    return tuple(found)


def of_calibration(resolved: Resolved) -> tuple[RunWarning, ...]:
    """Return why the calibration images may not suit."""
    given, judged = resolved.samples.get("calibration"), resolved.samples.get("evaluation")
    if resolved.recipe.quantize is None or given is None:
        return ()
    evaluation = judged.value if judged else None
    found = [
        *_too_few(given.value),
        *_of_one_class(given.value, evaluation, resolved.network.architecture.classes),
        *(_unlike(given.value, evaluation) if evaluation else ()),
    ]
    return tuple(found)


def _too_few(calibration: Samples) -> Iterator[RunWarning]:
    size, there = calibration.preprocessing.size, len(calibration.source.labels)
    if size < _LARGE or len(calibration) >= _FEW:
        return
    if there < _FEW:
        remedy = f"add images until there are {_FEW}"
    else:
        remedy = f"set `images.calibration.count` to {_FEW} or more"
    many = "1 calibration image is" if len(calibration) == 1 else f"{len(calibration)} calibration images are"
    yield RunWarning("few-calibration-images", f"{many} few for a network at {size} pixels: {remedy}")


def _of_one_class(calibration: Samples, evaluation: Samples | None, classes: int) -> Iterator[RunWarning]:
    there = np.unique(calibration.labels)
    if not calibration.classes or len(there) != 1 or len(calibration) == 1 or classes == 1:
        return
    name, known = calibration.classes[int(there[0])], evaluation.classes if evaluation else ()
    if known and name not in known:
        return  # a folder that is not a class
    every = f"all {len(calibration)} calibration images"
    if known or len(calibration.classes) > 1:
        text = f"{every} are of the class {name}, one of {classes}: add images of the other classes"
    else:
        text = f"{every} lie in one folder, {name}: if it is one class, add images of the other classes"
    yield RunWarning("one-calibration-class", text)


def _unlike(calibration: Samples, evaluation: Samples) -> Iterator[RunWarning]:
    found = likeness.differences(calibration, evaluation)[:_MOST_SHOWN]
    if found:
        shown = " and ".join(map(_shown, found))
        yield RunWarning(
            "calibration-unlike-evaluation",
            f"the calibration images differ from the evaluation images: they {shown}. INT8 ranges may not fit: "
            "calibrate with images like those that the network will see",
        )


def _shown(difference: likeness.Difference) -> str:
    if difference.values is None:
        return difference.words
    one, other = difference.values
    return f"{difference.words} ({one:.2f}, not {other:.2f})"
