"""Are our metrics those that everyone else computes?

mIoU, IoU and pixel accuracy are compared with torchmetrics, average precision with pycocotools, faster-coco-eval and
torchmetrics.

    python -m venv peers && peers/bin/pip install torch torchmetrics pycocotools faster-coco-eval
    PYTHONPATH=. peers/bin/python benchmarks/metrics.py

Random cases: few and many classes, images of one class only, classes that are nowhere, or only in answers, ignored
pixels, images without any label, and one image; for boxes (`_boxes.py`) crowds, ties and images without a box. The
command fails where a number differs by more than 1e-6.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Iterator

import _boxes
import numpy as np

from edgeresnet.portable.tasks.overlap import IGNORED, Packed, overlaps

CASES = 200
NEAR = 1e-6
_IGNORED = -1  # torchmetrics' number of it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=CASES, help=f"random cases (default: {CASES})")
    differences: dict[str, float] = {}
    cases = parser.parse_args().cases
    found = [_compared(*case) for case in _masks(cases)] + [_boxes.compared(*case) for case in _boxes.cases(cases)]
    for name, (ours, theirs) in itertools.chain.from_iterable(each.items() for each in found):
        differences[name] = max(differences.get(name, 0.0), _apart(ours, theirs))
    for name, largest in differences.items():
        print(f"{name:32} largest difference {largest:.1e}")
    if max(differences.values()) > NEAR:
        raise SystemExit(f"a metric differs by more than {NEAR:g}")


def _masks(cases: int) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Return labels, answers and the number of classes; images are rows."""
    rng = np.random.default_rng(0)
    for case in range(cases):
        classes, images = int(rng.integers(2, 25)), int(rng.integers(1, 9))
        shape = images, int(rng.integers(1, 24)), int(rng.integers(1, 24))
        there = rng.permutation(classes)[: rng.integers(1, classes + 1)]  # the others are nowhere in labels
        labels = rng.choice(there, shape)
        answers = np.where(rng.random(shape) < rng.random(), labels, rng.integers(0, classes, shape))
        if case % 3 == 0:
            answers = np.where(np.isin(answers, there), answers, there[0])  # nor in answers
        if case % 5 == 0:
            labels[0] = there[0]  # one class only
        labels = np.where(rng.random(shape) < rng.choice([0, 0.1, 0.9]), IGNORED, labels)
        if case % 7 == 0:
            labels[-1] = IGNORED
        yield labels.astype(np.uint16), answers.astype(np.uint16), classes


def _compared(labels: np.ndarray, answers: np.ndarray, classes: int) -> dict[str, tuple[object, object]]:
    """Return our numbers and theirs."""
    import torch
    from torchmetrics.functional.classification import multiclass_accuracy, multiclass_jaccard_index

    def theirs(number: int | slice, average: str) -> np.ndarray:
        wanted = torch.from_numpy(np.where(labels == IGNORED, _IGNORED, labels.astype(np.int64))[number])
        given = torch.from_numpy(answers[number].astype(np.int64))
        about = {"num_classes": classes, "average": average, "ignore_index": _IGNORED}
        function = multiclass_accuracy if average == "micro" else multiclass_jaccard_index
        return np.asarray(function(given, wanted, **about))

    found = overlaps(Packed.of(labels), Packed.of(answers), classes)
    no_label = bool((labels == IGNORED).all())
    every = slice(None)
    return {
        "mIoU": (found.miou, theirs(every, "macro")),
        "IoU": (np.nan_to_num(found.iou()), theirs(every, "none")),  # torchmetrics has 0 for a class that is nowhere
        "pixel accuracy": (found.pixel_accuracy, math.nan if no_label else theirs(every, "micro")),
        "mIoU of images": (found.miou_of_images(), [theirs(number, "macro") for number in range(len(labels))]),
    }


def _apart(one: object, other: object) -> float:
    """Return the largest difference; numbers that only one of the two has are infinitely far apart."""
    ours, theirs = (np.asarray(each, np.float64) for each in (one, other))
    if ours.shape != theirs.shape or (np.isnan(ours) != np.isnan(theirs)).any():
        return math.inf
    return float(np.nan_to_num(np.abs(ours - theirs)).max(initial=0.0))


if __name__ == "__main__":
    main()
