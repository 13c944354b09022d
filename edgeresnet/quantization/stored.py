"""The files that `calibrate` leaves for `quantize`, and what both read: the traced network and its images."""

from __future__ import annotations

import onnx

from ..images import Samples
from ..portable import manifest
from ..store import Artifact
from .net import unshare
from .ranges import Origin

FILE = "model.onnx"
EQUALIZED, RANGES, EQUALIZED_RANGES = "equalized.onnx", "ranges.json", "equalized-ranges.json"


def network_of(network: Artifact) -> onnx.ModelProto:
    """Read the traced network, each layer with weights of its own."""
    model = onnx.load(network.path / FILE)
    unshare(model)
    return model


def origin_of(network: Artifact, samples: Samples) -> Origin:
    """Return what ranges of this network over these images belong to. The images count by content, not by order."""
    images = sorted(samples.hash(index).hex() for index in range(len(samples)))
    return Origin(network.digest, manifest.digest_of(images), samples.preprocessing.digest)
