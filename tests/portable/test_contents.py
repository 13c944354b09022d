"""What a bundle holds and what a device reports, as they are stored, and refused where they do not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeresnet.errors import ArtifactError
from edgeresnet.portable import codec, manifest
from edgeresnet.portable.measure import TimingPlan
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.stages.export import contents
from edgeresnet.stages.export.contents import Bundle, BundleVariant, DeviceResult

from .results import latency, measured, process, variant

pytestmark = pytest.mark.unit

ABOUT = {
    "made_by": "0.1.0",
    "target": "openvino",
    "network": "cifar_resnet8",
    "candidate": "int8",
    "classes": ["crack", "fine"],
    "skipped": [],
    "images": "f9f5",
    "preprocessing": {
        "size": 8,
        "mean": [0.305],
        "std": [0.376],
        "resize": 8,
        "crop": "center",
        "interpolation": "bilinear",
        "order": "rgb",
    },
    "input": "float32",
    "variants": {
        "fp32": {"file": "fp32.onnx", "options": {"float_parts": "f32", "batch": None}},
        "half": {"file": "fp32.onnx", "options": {"float_parts": "f32", "batch": None}, "twin": True},
        "int8": {"file": "int8.onnx", "options": {"float_parts": "f32", "batch": None}},
    },
    "verify": {"processes": 5, "seconds": 30.0},
    "rebuilds": 1,
}


def _bundle(folder: Path, about: object = ABOUT) -> Path:
    (folder / contents.ABOUT).write_text(json.dumps(about))
    manifest.write(folder, format=contents.FORMAT)
    return folder


def test_a_bundle_is_read_and_written_as_ever(tmp_path: Path) -> None:
    bundle = Bundle.open(_bundle(tmp_path))
    assert bundle.about.variants["half"] == BundleVariant("fp32.onnx", {"float_parts": "f32", "batch": None}, half=True)
    assert bundle.about.timing == TimingPlan(5, 30.0)
    assert bundle.network("int8") == tmp_path / "networks" / "int8.onnx"
    assert bundle.preprocessing == Preprocessing(8, (0.305,), (0.376,), resize=8)
    contents.write_about(tmp_path, bundle.about)
    assert (tmp_path / contents.ABOUT).read_text() == json.dumps(ABOUT, indent=1)


def test_a_bundle_with_several_int8_networks_names_them(tmp_path: Path) -> None:
    """One without them, as an older edgeresnet wrote it, has one network that ships."""
    assert Bundle.open(_bundle(tmp_path)).about.choices == ("int8",)
    more = {"int8-all": {"file": "int8-all.onnx", "options": {}}}
    about = Bundle.open(_bundle(tmp_path, {**ABOUT, "alternatives": more})).about
    assert about.choices == ("int8", "int8-all")
    assert list(about.networks) == ["fp32", "half", "int8", "int8-all"]
    assert Bundle.open(tmp_path).network("int8-all") == tmp_path / "networks" / "int8-all.onnx"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda about: about.pop("target"), "is not valid: target: is missing"),
        (lambda about: about["variants"]["int8"].pop("file"), "variants.int8.file: is missing"),
        (lambda about: about.update(verify={"processes": "5", "seconds": 1}), "verify.processes: is a string"),
    ],
)
def test_a_bundle_that_does_not_fit_is_refused(tmp_path: Path, change: Callable[[Any], object], words: str) -> None:
    about = json.loads(json.dumps(ABOUT))
    change(about)
    with pytest.raises(ArtifactError, match=words):
        Bundle.open(_bundle(tmp_path, about))


def test_another_format_is_refused(tmp_path: Path) -> None:
    manifest.write(tmp_path, format=contents.FORMAT + 1)
    with pytest.raises(ArtifactError, match=r"is a bundle of format 3, and this program reads 2"):
        Bundle.open(tmp_path)
    with pytest.raises(ArtifactError, match=r"absent is not a bundle: it has no manifest\.json"):
        Bundle.open(tmp_path / "absent")


def _result() -> DeviceResult:
    every = {"int8": variant(latency([process([1.0, 2.0], peak_memory_mb=9.0)]))}
    return DeviceResult(contents.RESULT_FORMAT, "b" * 64, 1.78e9, measured("int8", every, classes=["crack", "fine"]))


def test_a_devices_result_survives_its_journey(tmp_path: Path) -> None:
    path, result = tmp_path / "result.json", _result()
    sealed = contents.sealed(codec.encode(result))
    assert list(sealed) == ["format", "bundle", "measured", "result", "digest"]
    path.write_text(json.dumps(sealed))
    found = contents.opened(path)
    assert (found.bundle, found.measured, found.result) == (result.bundle, 1.78e9, result.result)
    assert found.digest == sealed["digest"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda one: one["result"].pop("variants"), "is not a device's result: result.variants: is missing"),
        (lambda one: one["result"]["variants"]["int8"].pop("predicted"), "result.variants.int8.predicted: is missing"),
        (lambda one: one["result"].update(more=1), "result.more: is not a known key"),
        (
            lambda one: one["result"]["variants"]["int8"]["latency"]["processes"][0].update(host_ms=[["1"]]),
            r"result.variants.int8.latency.processes\[0\].host_ms\[0\]\[0\]: is a string",
        ),
        (lambda one: one.update(format=2), "has changed since deploy.py wrote it"),
        (lambda one: one.update(measured=12.0), "measured: is before 2020: set the clock"),
        (lambda one: one.update(measured=9e9), "measured: is in the future: set the clock"),
        (
            lambda one: one["result"]["variants"]["int8"]["accuracy"].update(agree=11),
            r"agree: is 11, not between 0 and 10",
        ),
        (lambda one: one["result"].update(candidate="int4"), "result.variants: lack 'int4', which would ship"),
    ],
)
def test_a_result_that_does_not_fit_names_the_path(tmp_path: Path, change: Callable[[Any], object], words: str) -> None:
    document = codec.encode(_result())
    change(document)
    (tmp_path / "result.json").write_text(json.dumps(contents.sealed(document)))
    with pytest.raises(ArtifactError, match=words):
        contents.opened(tmp_path / "result.json")


def test_a_result_that_was_changed_or_is_not_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    with pytest.raises(ArtifactError, match=r"result\.json does not exist"):
        contents.opened(path)
    sealed = contents.sealed(codec.encode(_result()))
    for text, words in (
        ("{", "is not a device's result"),
        ("[]", "is not a device's result"),
        (json.dumps(codec.encode(_result())), "is not a device's result"),
        (json.dumps({**sealed, "measured": 2.0}), "has changed since deploy.py wrote it"),
        (json.dumps({**sealed, "measured": float("nan")}), "it holds NaN, which is not a number"),
    ):
        path.write_text(text)
        with pytest.raises(ArtifactError, match=words):
            contents.opened(path)
