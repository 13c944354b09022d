"""Causes in what was given: images that FP32 does not recognise, and weights that are not the FP32 network's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...portable import inference
from ...portable.probabilities import softmax
from ..diagnosis import Cause
from . import words
from .evidence import Evidence

UNSURE, OTHER = "preprocessing", "other-weights"
_SEARCHED = "Check the preprocessing first: `edgeresnet diagnose` compares its variants on images with labels."
_GIVEN = "Check the preprocessing first: size, mean and std must be those of the network's training."
_UNSURE = 0.2  # of the way from chance to certainty
_SAME_DB = 30.0  # without rounding, the file and the FP32 network are closer than that


def causes(evidence: Evidence) -> Iterator[Cause]:
    """Yield what is doubtful about the images and the two files."""
    yield from _unsure(evidence)
    yield from _other(evidence)


def _unsure(evidence: Evidence) -> Iterator[Cause]:
    logits = evidence.scan.exact
    classes = logits.shape[-1]
    if evidence.scan.unit in ("anchor", "cell"):
        return  # almost all anchors are background, whatever the images are
    found = softmax(logits.reshape(-1, classes))
    top, chance = float(np.median(found.max(1))), 1 / classes
    if classes > 1 and top - chance < _UNSURE * (1 - chance):
        yield Cause(
            UNSURE,
            "",
            f"FP32 is not confident either: in a median {'image' if logits.ndim == 2 else 'pixel'} its most likely "
            f"class has {words.percent(top)}.",
            _SEARCHED if logits.ndim == 2 else _GIVEN,
        )


def _other(evidence: Evidence) -> Iterator[Cause]:
    pair = evidence.pair
    same = inference.sqnr_db(pair.answers, evidence.scan.exact[: len(pair.answers)])
    if same is None or same >= _SAME_DB:
        return
    unmatched = next((layer.name for layer in pair.layers if not layer.matched), "")
    yield Cause(
        OTHER,
        unmatched,
        f"Without rounding, the file's answers differ from the FP32 network's: their SQNR is {words.decibels(same)}."
        + (f" {unmatched} is the first layer that differs." if unmatched else ""),
        "Name the FP32 network that the file was quantized from. Weights may have been trained since.",
    )
