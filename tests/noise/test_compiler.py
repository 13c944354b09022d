"""A compiler that computes something else than the file says, and one that cuts sums off."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest

from edgeresnet import targets
from edgeresnet.noise.compiled import Compiler, through, up_to
from edgeresnet.portable import machine

from .conftest import diagnosed


def _onnxruntime() -> Compiler:
    target = targets.get("onnxruntime")
    return through(target, target.options())


def test_a_compiler_that_does_as_the_file_says_is_no_cause(network: Callable[[str], Any], faults: Any) -> None:
    good = network("openvino")
    assert diagnosed(faults.without(good, good.rounded), compiler=_onnxruntime()).causes == ()


def test_the_first_layer_that_is_compiled_otherwise_is_named(network: Callable[[str], Any], faults: Any) -> None:
    good = network("openvino")
    bad = faults.clipped(good, "layer2.0.conv1").rounded
    real = _onnxruntime()

    def wrong(model: onnx.ModelProto, names: Sequence[str], images: np.ndarray) -> Mapping[str, np.ndarray]:
        return real(bad, names, images)

    causes = diagnosed(faults.without(good, good.rounded), compiler=wrong).causes
    assert [(cause.code, cause.layer) for cause in causes] == [("compiler-differs", "layer2.0.conv1")]
    assert "The layers before agree." in causes[0].evidence


def test_openvino_computes_a_part_of_a_file(network: Callable[[str], Any]) -> None:
    target = targets.get("openvino")
    if not target.available().ok:
        pytest.skip("OpenVINO is not installed")
    good = network("openvino")
    output = next(node.output[0] for node in good.rounded.graph.node if node.op_type == "Add")
    found = through(target, target.options())(good.rounded, [output], good.images[:5])[output]
    expected = _onnxruntime()(good.rounded, [output], good.images[:5])[output]
    assert found.shape == expected.shape
    assert np.square(found - expected).sum() < 0.01 * np.square(expected).sum()


def test_a_part_of_a_file_holds_no_more_than_its_tensor_needs(network: Callable[[str], Any]) -> None:
    good = network("openvino").rounded
    first = next(node for node in good.graph.node if node.op_type == "Conv")
    part = up_to(good, first.output[0])
    onnx.checker.check_model(part)
    assert [node.op_type for node in part.graph.node].count("Conv") == 1
    assert len(part.graph.initializer) < len(good.graph.initializer) / 3


def test_large_weights_are_named_where_sums_have_16_bits(
    network: Callable[[str], Any], faults: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = network("openvino")
    grown = faults.saturating(good, "layer2.0.conv2")
    assert diagnosed(grown).causes == ()
    monkeypatch.setattr(machine, "has_int8", lambda: False)
    first = diagnosed(grown).causes[0]
    assert (first.code, first.layer) == ("sums-saturate", "layer2.0.conv2")
    assert "sums of two products pass 16 bits" in first.evidence


def test_tensorrt_computes_a_part_of_a_file(network: Callable[[str], Any], standin: Callable[..., Any]) -> None:
    """On a stand-in: it shows that our code keeps the rules, and no more."""
    target, good = standin(), network("tensorrt")
    output = next(node.output[0] for node in good.rounded.graph.node if node.op_type == "Add")
    found = through(target, target.options())(good.rounded, [output], good.images[:3])[output]
    expected = _onnxruntime()(good.rounded, [output], good.images[:3])[output]
    assert np.allclose(found, expected, atol=1e-4)
