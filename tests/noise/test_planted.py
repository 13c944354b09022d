"""Each of these plants a fault in an INT8 file on purpose. A diagnosis that misses it fails the suite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgeresnet import targets
from edgeresnet.noise.causes import evidence
from edgeresnet.quantization import engine

from .conftest import diagnosed

# fault, form, layer, words of the evidence
PLANTED = [
    ("outlier", "openvino", "layer1.0.conv1", "in calibration image 18. In the 63 others"),
    ("halves", "openvino", "layer1.0.conv1", "in the first half of the calibration images"),
    ("shift", "tensorrt", "layer1.0.conv1", "leaves its range in"),
    ("wide", "openvino", "layer1.0.conv1", "has a range up to"),
    ("narrow", "tensorrt", "layer2.0.conv1", "but its range ends at"),
    ("signed", "openvino", "layer1.0.conv1", "Half of the integers are not used"),
    ("unsigned", "openvino", "layer1.0.conv2", "reaches down to -"),
    ("zero_point", "openvino", "layer1.0.conv1", "its grid between -"),
    ("per_tensor", "openvino", "layer2.0.conv1", "have one scale"),
    ("clipped", "openvino", "layer2.0.conv2", "times the largest that its grid holds"),
    ("dead", "tensorrt", "layer2.0.conv2", "that are zero in all images"),
    ("apart", "openvino", "layer2.0.conv2", "All channels share one scale"),
    ("float_layer", "openvino", "layer2.0.conv1", "is in float, but the layers before and behind are in INT8"),
    ("float_input", "openvino", "layer2.0.conv2", "is in float. In 2 of 3 additions it is in INT8"),
    ("split", "openvino", "layer2.0.conv1", "between layer2.0.conv1 and its ReLU"),
]


@pytest.mark.parametrize(("fault", "form", "layer", "words"), PLANTED, ids=[each[0] for each in PLANTED])
def test_a_planted_fault_is_named_first(
    network: Callable[[str], Any], faults: Any, fault: str, form: str, layer: str, words: str
) -> None:
    planted = getattr(faults, fault)(network(form), layer)
    causes = diagnosed(planted).causes
    assert causes, "no cause"
    assert causes[0].code in planted.codes
    assert causes[0].layer in planted.layers()
    assert words in causes[0].evidence
    assert causes[0].remedy.endswith(".")


def test_calibration_on_darker_images_is_the_cause_in_all_the_network(
    network: Callable[[str], Any], faults: Any, digits: np.ndarray
) -> None:
    good, dark = network("openvino"), digits * 0.25
    rounded = faults.network_of(good.exact, dark, engine.Choices(targets.get("openvino").dialect)).rounded
    cause = diagnosed(replace(faults.without(good, rounded), calibration=dark)).causes[0]
    assert (cause.code, cause.layer) == ("range-left", "")
    assert "tensors leave their calibrated range: the inputs of" in cause.evidence


@pytest.mark.parametrize("form", ["openvino", "tensorrt"])
def test_a_good_file_has_no_cause(network: Callable[[str], Any], faults: Any, form: str) -> None:
    good = network(form)
    assert diagnosed(faults.without(good, good.rounded)).causes == ()


def test_calibration_images_are_run_only_where_a_range_is_doubtful(
    network: Callable[[str], Any], faults: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*given: Any) -> None:
        raise AssertionError("calibration images are run")

    monkeypatch.setattr(evidence, "look", refused)
    good = network("tensorrt")
    assert diagnosed(faults.without(good, good.rounded)).causes == ()
    with pytest.raises(AssertionError, match="are run"):
        diagnosed(faults.shift(good, "layer1.0.conv1"))
