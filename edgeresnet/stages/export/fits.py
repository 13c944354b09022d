"""Does a device's result fit its bundle? All that is judged is counted again from the answers to every image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...errors import ArtifactError
from ...portable import inference, probabilities
from ...portable.result import Accuracy, Measured, Variant
from .contents import Bundle, BundleAbout

_AGAIN = "run deploy.py again on the device"


def check_fit(result: Measured, bundle: Bundle, target: str) -> None:
    """Refuse a result that is not of this bundle, or whose counts do not follow from its answers."""
    about = bundle.about
    if result.target != target or result.ships != about.ships:
        raise ArtifactError("its target or the network that would ship", "is not the bundle's", hint=_AGAIN)
    expected = np.asarray(bundle.array("expected")).argmax(1)
    _check_images(result, bundle, expected)
    _check_reference(result, bundle)
    _check_networks(result, about)
    for name, variant in _every(result):
        if len(variant.predicted) != len(expected):
            raise ArtifactError(f"{name}'s answers", f"are not one for each of {len(expected)} images", hint=_AGAIN)
        _check_counts(name, variant, inference.counts(expected, np.asarray(variant.predicted), bundle.labels))


def _check_networks(result: Measured, about: BundleAbout) -> None:
    """Refuse other networks than the bundle's, and one that would ship and was built less often than is wanted."""
    choice, same = result.choice, result.ships in result.variants and set(result.variants) <= set(about.variants)
    measured = [choice.taken, *choice.others, *choice.left_out] if choice else [result.ships]
    if not same or set(measured) != set(about.choices):
        raise ArtifactError("its networks", "are not the bundle's", hint=_AGAIN)
    others = [each.rebuilds for each in choice.others.values()] if choice else []
    built = 1 + min(map(len, [result.rebuilds, *others]))
    if built < about.rebuilds:
        raise ArtifactError(
            "what would ship",
            f"was built {built} times, and the bundle wants {about.rebuilds}",
            hint=f"{_AGAIN}, without --rebuilds",
        )


def _check_images(result: Measured, bundle: Bundle, expected: np.ndarray) -> None:
    about, labels = bundle.about, bundle.labels
    known = None if labels is None else tuple(labels.tolist())
    same = result.labels == known and result.reference_predicted == tuple(expected.tolist())
    same = same and result.images == about.images
    if not same or result.classes != about.classes or result.skipped != about.skipped:
        raise ArtifactError("its images", "are not the bundle's", hint=_AGAIN)


def _check_reference(result: Measured, bundle: Bundle) -> None:
    """Refuse other probabilities of the reference than its logits give. Code of an older edgeresnet gives none."""
    found = np.asarray(result.reference_probabilities)
    wanted = np.asarray(probabilities.of_reference(np.asarray(bundle.array("expected"))))
    if len(found) and (found.shape != wanted.shape or np.abs(found - wanted).max() > 1e-5):
        raise ArtifactError("the reference's probabilities", "do not follow from its answers", hint=_AGAIN)


def _every(result: Measured) -> Iterator[tuple[str, Variant]]:
    yield from result.variants.items()
    yield from ((result.ships, each) for each in result.rebuilds)
    for name, other in (result.choice.others if result.choice else {}).items():
        yield from ((name, each) for each in (other.variant, *other.rebuilds))


def _check_counts(name: str, variant: Variant, counted: Accuracy) -> None:
    found = variant.accuracy
    shown = (found.images, found.agree, found.top1, found.lost, found.won)
    if shown != (counted.images, counted.agree, counted.top1, counted.lost, counted.won):
        raise ArtifactError(f"{name}'s counts", "do not follow from its answers", hint=_AGAIN)
    if (found.top5 is None) != (counted.top1 is None):
        raise ArtifactError(f"{name}'s counts", "are not those of this bundle's images", hint=_AGAIN)
    if variant.latency is None or not variant.latency.processes:
        raise ArtifactError(name, "was not timed", hint=_AGAIN)
