"""The mAP of each image by itself, of thousands of images at once: the same numbers as image by image."""

from __future__ import annotations

import numpy as np

from .average_precision import RECALLS, THRESHOLDS


def of_groups(group: np.ndarray, correct: np.ndarray, ignored: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Return the AP@[.5:.95] of each group: of one class in one image.

    `group` names that of each box. Boxes are in order of groups, then the most probable first. `correct` and `ignored`
    have a row for each threshold; `objects` is how many each group has.
    """
    found = np.zeros(len(objects))
    for row, left_out in zip(correct, ignored, strict=True):
        counted = ~left_out
        hit = row & counted
        hits, boxes = (_within(group, each)[hit] for each in (hit, counted))
        of, total = group[hit], objects[group[hit]]
        share = np.searchsorted(RECALLS, hits / total, side="right")
        share = share - np.where(hits > 1, np.searchsorted(RECALLS, (hits - 1) / total, side="right"), 0)
        found += np.bincount(of, share * _best(of, hits / boxes), len(objects))
    return found / len(RECALLS) / len(THRESHOLDS)


def _within(group: np.ndarray, each: np.ndarray) -> np.ndarray:
    """Return running counts, which begin at zero in each group."""
    sums = np.cumsum(each)
    first = np.searchsorted(group, group)
    return np.asarray(sums - sums[first] + each[first])


def _best(group: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the largest of each value and all later ones of its group."""
    step = 1
    while step < len(group) and (same := group[:-step] == group[step:]).any():
        later = np.where(same, values[step:], 0.0)
        values = np.append(np.maximum(values[:-step], later), values[-step:])
        step *= 2
    return values
