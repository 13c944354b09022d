"""The files that `calibrate` leaves for `quantize`, and what both read: the traced network and its images."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from ..images import Samples
from ..portable import manifest
from ..store import Artifact, Given, Parent
from .net import unshare

FILE = "model.onnx"
EQUALIZED, RANGES, EQUALIZED_RANGES = "equalized.onnx", "ranges.json", "equalized-ranges.json"


def network_of(network: Parent) -> onnx.ModelProto:
    assert isinstance(network, Artifact)
    model = onnx.load(network.path / FILE)
    unshare(model)
    return model


def samples_of(parents: Mapping[str, Parent]) -> Samples:
    given = parents["calibration"]
    assert isinstance(given, Given)
    return given.value


def identity_of(parents: Mapping[str, Parent]) -> dict[str, str]:
    """What ranges belong to. The images are told by their content, whatever their order."""
    samples = samples_of(parents)
    return {
        "network": parents["network"].digest,
        "images": manifest.digest_of(sorted(samples.hash(index).hex() for index in range(len(samples)))),
        "preprocessing": samples.preprocessing.digest,
    }
