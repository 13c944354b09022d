"""The order of the classes: which of a network's answers belongs to which class folder. Knows no images.

A folder's number is its place in the order of names; where the network was trained with another order, its answers are
right under other numbers. That is told from answers and labels alone.
"""

from __future__ import annotations

import numpy as np

_FOLDS = 4


def order_of(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """For each class folder the answer that belongs to it: the pairs that occur most often first, each side once.

    A folder's own number has one image's start, and what nothing is known of stays where it is.
    """
    pairs, counts = np.unique(np.stack([labels, predicted]), axis=1, return_counts=True)
    ranked = sorted(
        zip(counts.tolist(), *pairs.tolist(), strict=True),
        key=lambda each: (-each[0] - (each[1] == each[2]), each[1] != each[2], each[1:]),
    )
    order, taken = np.full(classes, -1), set[int]()
    for _, folder, answer in ranked:
        if order[folder] < 0 and answer not in taken:
            order[folder] = answer
            taken.add(answer)
    open_ones = [folder for folder in range(classes) if order[folder] < 0]
    for folder in open_ones:
        if folder not in taken:
            order[folder] = folder
            taken.add(folder)
    free = iter(answer for answer in range(classes) if answer not in taken)
    for folder in open_ones:
        if order[folder] < 0:
            order[folder] = next(free)
    return order


def right_in_order(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Which answers are right in the order that the other images tell: no image has a say about itself."""
    right = np.zeros(len(labels), bool)
    fold = _places(labels) % _FOLDS
    for number in range(_FOLDS):
        mine = fold == number
        order = order_of(labels[~mine], predicted[~mine], classes)
        right[mine] = order[labels[mine]] == predicted[mine]
    return right


def _places(labels: np.ndarray) -> np.ndarray:
    """The how-manieth of its class each image is."""
    places = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        mine = labels == label
        places[mine] = np.arange(mine.sum())
    return places
