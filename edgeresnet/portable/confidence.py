"""What a user feels of a result: how far the top probability moved, which images cross a threshold, how honest it is.

Computed from a result's probabilities when it becomes part of a run, so that another threshold needs no measurement.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from . import probabilities
from .probabilities import Calibration, Confidence
from .result import Measured, Variant


def described(measured: Measured, threshold: float | None = None) -> Measured:
    """Return a result with what changed of the probabilities of each variant, where they were measured."""
    found = {name: _of(measured, each, threshold) for name, each in measured.variants.items()}
    return replace(measured, confidence={name: each for name, each in found.items() if each is not None})


def changes(measured: Measured, variant: Variant) -> np.ndarray | None:
    """Return the change of the top probability of each image; None where no probability was measured."""
    given = variant.probabilities
    if given is None or not measured.reference_probabilities:
        return None
    return probabilities.changes(np.asarray(measured.reference_probabilities), given, _changed(measured, variant))


def _changed(measured: Measured, variant: Variant) -> np.ndarray:
    """Return which images have another answer than the reference's."""
    return np.asarray(variant.predicted) != np.asarray(measured.reference_predicted)


def _of(measured: Measured, variant: Variant, threshold: float | None) -> Confidence | None:
    found, given = changes(measured, variant), variant.probabilities
    if found is None or given is None:
        return None
    before, now = np.asarray(measured.reference_probabilities), np.asarray(given.own)
    crossed = None if threshold is None else probabilities.crossings(threshold, before, now)
    return Confidence(*probabilities.mean_and_p99(found), crossed, _calibration(measured, variant, before, now))


def _calibration(measured: Measured, variant: Variant, before: np.ndarray, now: np.ndarray) -> Calibration | None:
    if measured.labels is None:
        return None
    labels = np.asarray(measured.labels)
    was_correct = np.asarray(measured.reference_predicted) == labels
    return probabilities.calibration(before, was_correct, now, np.asarray(variant.predicted) == labels)
