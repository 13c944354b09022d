"""The order of the classes: which of a network's answers belongs to which class folder. Knows no images.

A folder's number is its place in the order of names. Where the network was trained with another order, its answers are
correct under other numbers. Answers and labels alone show that.
"""

from __future__ import annotations

import numpy as np

_FOLDS = 4


def match_classes(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return for each class folder the answer that belongs to it: the most frequent pairs first, each side once.

    A folder's own number starts with one image more, and a folder without any image keeps its number.
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
    unmatched = [folder for folder in range(classes) if order[folder] < 0]
    for folder in unmatched:
        if folder not in taken:
            order[folder] = folder
            taken.add(folder)
    free = iter(answer for answer in range(classes) if answer not in taken)
    for folder in unmatched:
        if order[folder] < 0:
            order[folder] = next(free)
    return order


def correct_when_matched(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return which answers are correct in the order that the other images show: no image decides about itself."""
    correct = np.zeros(len(labels), bool)
    fold = index_in_class(labels) % _FOLDS
    for number in range(_FOLDS):
        mine = fold == number
        order = match_classes(labels[~mine], predicted[~mine], classes)
        correct[mine] = order[labels[mine]] == predicted[mine]
    return correct


def index_in_class(labels: np.ndarray) -> np.ndarray:
    """Return for each image how many of its class come before it."""
    places = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        mine = labels == label
        places[mine] = np.arange(mine.sum())
    return places
