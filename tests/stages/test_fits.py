"""A device's result must fit its bundle: what is judged is counted again from its answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeresnet.errors import ArtifactError
from edgeresnet.portable import codec, probabilities
from edgeresnet.portable.measure import TimingPlan
from edgeresnet.portable.result import PLAIN, SAFE, Alternative, Choice, Measured, Variant
from edgeresnet.portable.tasks import classification
from edgeresnet.stages.export.contents import Bundle, BundleAbout, BundleVariant
from edgeresnet.stages.export.fits import check_fit

from ..portable.results import unchecked

pytestmark = pytest.mark.unit

EXPECTED, LABELS, INT8 = np.array([0, 1, 2, 1]), np.array([0, 1, 2, 2]), np.array([0, 1, 2, 2])
MACHINE: dict[str, object] = {
    "cpu": {"model": "CPU", "instructions": [], "cores": 2, "quota": None, "governor": None},
    **{key: None for key in ("memory_gb", "load", "board", "l4t", "power_mode")},
    "gpus": [],
    "system": "Linux",
    "python": "3.10",
}
TIMED: dict[str, object] = {
    "cpu": "CPU",
    "instructions": [],
    "cores": 2,
    "system": "Linux",
    "gpus": [],
    "host": "h",
    "boot": None,
    "cpus": 2,
    **{key: None for key in ("board", "governor", "power_mode", "gpu_driver", "l4t")},
}
SIGNATURE = {"input": "i", "batch": None, "channels": 1, "size": 8, "output": "o", "classes": 3}


def bundle(folder: Path, *, labelled: bool = True, rebuilds: int = 1) -> Bundle:
    (folder / "evaluation").mkdir(parents=True)
    np.save(folder / "evaluation" / "expected.npy", np.eye(3)[EXPECTED])
    if labelled:
        np.save(folder / "evaluation" / "labels.npy", LABELS)
    variants = {name: BundleVariant(f"{name}.onnx", {}) for name in ("fp32", "int8")}
    about = BundleAbout(
        "1", "tensorrt", "net", "int8", ("a", "b", "c"), (), "i", {}, "float32", variants, TimingPlan(1, 1.0), rebuilds
    )
    return Bundle(folder, "d", about)


def variant(predicted: np.ndarray, *, labelled: bool = True) -> Variant:
    accuracy = classification.counts(EXPECTED, predicted, LABELS if labelled else None)
    process = {"began": 1.78e9, "machine": TIMED, "load_ms": 1, "first_ms": 1, "host_ms": [[1.0, 2.0]]}
    about = {"accuracy": {"images": 4, "agree": 4}, "predicted": predicted.tolist(), "digest": "d", "size_mb": 1.0}
    about |= {"latency": {"batch": 1, "processes": [process]}, "notes": {"signature": SIGNATURE}}
    return replace(codec.decode(Variant, about), accuracy=replace(accuracy, top5=4 if labelled else None))


def result(*, labelled: bool = True) -> Measured:
    about: dict[str, object] = {
        "target": "tensorrt",
        "candidate": "int8",
        "classes": ["a", "b", "c"],
        "skipped": [],
        "images": "i",
    }
    about |= {"labels": LABELS.tolist() if labelled else None, "reference_predicted": EXPECTED.tolist()}
    found = unchecked(Measured, {**about, "variants": {}, "machine": MACHINE, "versions": {}})
    variants = {"fp32": variant(EXPECTED, labelled=labelled), "int8": variant(INT8, labelled=labelled)}
    return replace(found, variants=variants)


def with_int8(change: Callable[[Variant], Variant]) -> Callable[[Measured], Measured]:
    return lambda found: replace(found, variants={**found.variants, "int8": change(found.shipped)})


def with_accuracy(**changes: Any) -> Callable[[Measured], Measured]:
    return with_int8(lambda int8: replace(int8, accuracy=replace(int8.accuracy, **changes)))


@pytest.mark.parametrize("labelled", [True, False])
def test_a_result_of_the_bundle_fits(tmp_path: Path, labelled: bool) -> None:
    found, wanted = result(labelled=labelled), bundle(tmp_path, labelled=labelled)
    check_fit(found, wanted, "tensorrt")
    known = probabilities.of_reference(wanted.expected)
    check_fit(replace(found, reference_probabilities=known), wanted, "tensorrt")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda found: replace(found, target="openvino"), "its target or the network that would ship is not"),
        (lambda found: replace(found, ships="fp32"), "its target or the network that would ship is not"),
        (lambda found: replace(found, labels=(0, 1, 2, 0)), "its images are not the bundle's"),
        (lambda found: replace(found, labels=None), "its images are not the bundle's"),
        (lambda found: replace(found, reference_predicted=(0, 0, 0, 0)), "its images are not the bundle's"),
        (lambda found: replace(found, images="j"), "its images are not the bundle's"),
        (lambda found: replace(found, classes=("a", "b", "d")), "its images are not the bundle's"),
        (lambda found: replace(found, skipped=("x.png",)), "its images are not the bundle's"),
        (lambda found: replace(found, variants={"fp32": found.variants["fp32"]}), "its networks are not the bundle's"),
        (
            lambda found: replace(found, variants={**found.variants, "half": found.shipped}),
            "its networks are not the bundle's",
        ),
        (
            lambda found: replace(found, reference_probabilities=(0.5,) * 4),
            "the reference's probabilities do not follow",
        ),
        (lambda found: replace(found, reference_probabilities=(1.0,)), "the reference's probabilities do not follow"),
        (with_int8(lambda int8: replace(int8, predicted=(0, 1, 2))), "int8's answers are not one for each of 4 images"),
        (with_int8(lambda int8: replace(int8, predicted=(0, 1, 0, 0))), "int8's counts do not follow"),
        (with_accuracy(top1=3), "int8's counts do not follow"),
        (with_accuracy(lost=1), "int8's counts do not follow"),
        (with_accuracy(top1=None, lost=None, won=None, top5=None), "int8's counts do not follow"),
        (with_accuracy(top5=None), "int8's counts are not those of this bundle's images"),
        (with_int8(lambda int8: replace(int8, latency=None)), "int8 was not timed"),
        (
            lambda found: replace(found, rebuilds=(replace(found.shipped, predicted=(0, 0, 0, 0)),)),
            "int8's counts do not follow",
        ),
    ],
)
def test_a_result_that_does_not_fit_is_refused(
    tmp_path: Path, change: Callable[[Measured], Measured], words: str
) -> None:
    with pytest.raises(ArtifactError, match=words) as caught:
        check_fit(change(result()), bundle(tmp_path), "tensorrt")
    assert "run deploy.py again" in caught.value.hint


def test_what_would_ship_must_be_built_as_often_as_the_bundle_wants(tmp_path: Path) -> None:
    wanted = bundle(tmp_path, rebuilds=3)
    with pytest.raises(ArtifactError, match="was built 1 times, and the bundle wants 3"):
        check_fit(result(), wanted, "tensorrt")
    found = result()
    check_fit(replace(found, rebuilds=(found.shipped,) * 2), wanted, "tensorrt")


def with_choice(found: Measured, *others: str, left_out: tuple[str, ...] = (), taken: str = "int8") -> Measured:
    alternatives = {name: Alternative(found.shipped) for name in others}
    return replace(found, choice=Choice(taken, alternatives, dict.fromkeys(left_out, "why")))


def test_all_networks_of_which_one_ships_are_there_or_named_as_left_out(tmp_path: Path) -> None:
    wanted, file = bundle(tmp_path), BundleVariant("x.onnx", {})
    wanted = replace(wanted, about=replace(wanted.about, alternatives={PLAIN: file, SAFE: file}))
    check_fit(with_choice(result(), PLAIN, SAFE), wanted, "tensorrt")
    check_fit(with_choice(result(), PLAIN, left_out=("int8",), taken=SAFE), wanted, "tensorrt")
    for wrong in (result(), with_choice(result(), SAFE), with_choice(result(), left_out=(PLAIN,))):
        with pytest.raises(ArtifactError, match="its networks are not the bundle's"):
            check_fit(wrong, wanted, "tensorrt")
    with pytest.raises(ArtifactError, match="its networks are not the bundle's"):
        check_fit(with_choice(result(), PLAIN, SAFE), bundle(tmp_path / "other"), "tensorrt")
    other = Alternative(replace(result().shipped, predicted=(0, 0, 0, 0)))
    damaged = replace(result(), choice=Choice("int8", {PLAIN: other}, {SAFE: "why"}))
    with pytest.raises(ArtifactError, match="int8-all's counts do not follow"):
        check_fit(damaged, wanted, "tensorrt")


def test_each_network_of_which_one_ships_is_built_as_often_as_the_bundle_wants(tmp_path: Path) -> None:
    wanted = bundle(tmp_path, rebuilds=2)
    wanted = replace(wanted, about=replace(wanted.about, alternatives={PLAIN: BundleVariant("x.onnx", {})}))
    found = with_choice(replace(result(), rebuilds=(result().shipped,)), PLAIN)
    with pytest.raises(ArtifactError, match="was built 1 times, and the bundle wants 2"):
        check_fit(found, wanted, "tensorrt")
    built = Alternative(found.shipped, (found.shipped,))
    check_fit(replace(found, choice=Choice("int8", {PLAIN: built})), wanted, "tensorrt")
