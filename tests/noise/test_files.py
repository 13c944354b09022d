"""What is read of an INT8 file: without Q/DQ, in units of its own, and with ReLUs that its quantizer took out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from edgeresnet.noise import confirm, pair, scan
from edgeresnet.portable import inference
from edgeresnet.quantization.net import Net

from ..quantization import nets
from .conftest import diagnosed


def _without_relus(model: onnx.ModelProto) -> onnx.ModelProto:
    """Take out each ReLU before a grid that begins at zero, as onnxruntime's quantizer does."""
    found = onnx.ModelProto()
    found.CopyFrom(model)
    gone = {}
    for node in list(found.graph.node):
        if node.op_type == "Relu":
            gone[node.input[0]] = node.output[0]
            found.graph.node.remove(node)
    for node in found.graph.node:
        for slot, name in enumerate(node.output):
            if name in gone:
                node.output[slot] = gone[name]
    return found


def _answers(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {model.graph.input[0].name: images})[0])


def _sqnr_db(one: np.ndarray, two: np.ndarray) -> float:
    found = inference.sqnr_db(one, two)
    return 200.0 if found is None else found


@pytest.mark.parametrize("form", ["openvino", "tensorrt"])
def test_the_int8_network_answers_as_onnxruntime_runs_the_file(network: Callable[[str], Any], form: str) -> None:
    good = network(form)
    read = pair.read(good.exact, good.rounded, good.images)
    found = scan.scan(read, good.images)
    assert _sqnr_db(_answers(good.exact, good.images), found.exact) > 50
    assert _sqnr_db(_answers(good.rounded, good.images), found.given) > 50
    assert all(layer.matched for layer in read.layers)


def test_relus_that_a_quantizer_took_out_are_put_back(network: Callable[[str], Any]) -> None:
    good = network("openvino")
    bare = _without_relus(good.rounded)
    assert not any(node.op_type == "Relu" for node in bare.graph.node)
    one, two = (pair.read(good.exact, file, good.images) for file in (good.rounded, bare))
    assert all(layer.matched for layer in two.layers)
    every = {layer.name for layer in one.layers}
    expected, found = (confirm.run(each, good.images, ()) for each in (one, two))
    assert np.abs(found - expected).max() < 1e-4
    assert np.abs(confirm.run(two, good.images, every) - confirm.run(one, good.images, every)).max() < 1e-4


def test_clipped_weights_do_not_change_the_units_of_a_layer(network: Callable[[str], Any], faults: Any) -> None:
    planted = faults.clipped(network("openvino"), "layer2.0.conv2")
    read = pair.read(planted.exact, planted.rounded, planted.images)
    answers = confirm.run(read, planted.images, ())
    assert _sqnr_db(_answers(planted.exact, planted.images), answers) > 50


def test_layers_that_would_have_one_name_are_numbered() -> None:
    maker = nets.Maker()
    x = maker.relu(maker.conv("image", "c1", 8))
    model = maker.head(maker.plus(maker.plus(x, x, "first"), x, "second"))
    scale, zero = maker.hold("scale", 0.1, np.float32), maker.hold("zero", 0, np.int8)
    rounded = onnx.ModelProto()
    rounded.CopyFrom(maker.model())
    nodes = []
    for node in rounded.graph.node:
        for slot, name in enumerate(node.input):
            if node.op_type in ("Add", "Gemm") and name not in maker.held:
                made = f"{node.output[0]}.{slot}"
                nodes += [
                    helper.make_node("QuantizeLinear", [name, scale, zero], [f"{made}.q"]),
                    helper.make_node("DequantizeLinear", [f"{made}.q", scale, zero], [made]),
                ]
                node.input[slot] = made
        nodes.append(node)
    del rounded.graph.node[:]
    rounded.graph.node.extend(nodes)
    names = [layer.name for layer in pair.read(model, rounded, nets.images(4)).layers]
    assert names[:2] == ["addition after c1", "addition after c1 (2)"]
    assert len(names) == len(set(names))


def test_another_network_is_named_as_the_cause(network: Callable[[str], Any], faults: Any) -> None:
    good = network("openvino")
    other = faults._copy(good.exact)
    name = Net(other).weighted()[-1].inputs[1]
    tensor = next(each for each in other.graph.initializer if each.name == name)
    value = np.random.default_rng(0).normal(size=tuple(tensor.dims)).astype(np.float32)
    tensor.CopyFrom(onnx.numpy_helper.from_array(value, name))
    causes = diagnosed(replace(faults.without(good, good.rounded), exact=other)).causes
    assert "other-weights" in [cause.code for cause in causes]
