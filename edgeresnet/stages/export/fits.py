"""Does a device's result fit its bundle? All that is judged is counted again from the answers to every image."""

from __future__ import annotations

from ...errors import ArtifactError
from ...portable.result import Measured
from ...portable.tasks.task import AGAIN
from .contents import Bundle, BundleAbout


def check_fit(result: Measured, bundle: Bundle, target: str) -> None:
    """Refuse a result that is not of this bundle, or whose counts do not follow from its answers."""
    about = bundle.about
    if result.target != target or result.ships != about.ships:
        raise ArtifactError("its target or the network that would ship", "is not the bundle's", hint=AGAIN)
    _check_images(result, about)
    _check_networks(result, about)
    about.outputs.of_task.check_counts(result, bundle.expected, bundle.labels, about.outputs)
    for name, variant in result.every_build():
        if variant.latency is None or not variant.latency.processes:
            raise ArtifactError(name, "was not timed", hint=AGAIN)


def _check_networks(result: Measured, about: BundleAbout) -> None:
    """Refuse other networks than the bundle's, and one that would ship and was built less often than is wanted."""
    choice, same = result.choice, result.ships in result.variants and set(result.variants) <= set(about.variants)
    measured = [choice.taken, *choice.others, *choice.left_out] if choice else [result.ships]
    if not same or set(measured) != set(about.choices):
        raise ArtifactError("its networks", "are not the bundle's", hint=AGAIN)
    others = [each.rebuilds for each in choice.others.values()] if choice else []
    built = 1 + min(map(len, [result.rebuilds, *others]))
    if built < about.rebuilds:
        raise ArtifactError(
            "what would ship",
            f"was built {built} times, and the bundle wants {about.rebuilds}",
            hint=f"{AGAIN}, without --rebuilds",
        )


def _check_images(result: Measured, about: BundleAbout) -> None:
    same = result.images == about.images and result.task == about.task
    if not same or result.classes != about.classes or result.skipped != about.skipped:
        raise ArtifactError("its images", "are not the bundle's", hint=AGAIN)
