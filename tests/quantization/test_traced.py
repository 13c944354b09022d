"""Real networks, traced untrained: all layers become INT8, no compiler objects, and equalizing leaves the function."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgeresnet import models, targets
from edgeresnet.graph import accepts
from edgeresnet.quantization import qdq
from edgeresnet.quantization.net import Net
from edgeresnet.quantization.placement import label
from edgeresnet.quantization.ranges import Ranges
from edgeresnet.stages import trace

from ..graph.running import answers, openvino_answers, sqnr
from ..models.networks import lively
from .nets import collect, engine, equalize


def traced(arch: str) -> onnx.ModelProto:
    """Torchvision's with one block a stage: their kinds of layers are those of the large ones."""
    import torch
    from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

    torch.manual_seed(0)
    if arch.startswith("cifar"):
        return trace.to_onnx(models.build(arch, 16, 3).eval(), 3, 32)
    about = {"block": Bottleneck, "width_per_group": 8} if arch == "bottleneck" else {"block": BasicBlock}
    return trace.to_onnx(ResNet(layers=[1, 1, 1, 1], num_classes=16, **about).eval(), 3, 32)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["cifar_resnet8", "cifar_resnet8b", "basic", "bottleneck"])
def test_a_real_network_becomes_int8_as_every_compiler_wants_it(arch: str) -> None:
    model = traced(arch)
    given = np.random.default_rng(0).normal(size=(8, 3, 32, 32)).astype(np.float32)
    equalized = equalize(model, given, 0)
    assert equalized is not None
    expected = answers(model, given)
    assert sqnr(expected, answers(equalized, given)) > 100
    source = engine.Source(model, collect(model, [given], Ranges()))
    for name, target in targets.discover().items():
        found = engine.scaled(source, engine.Choices(target.dialect))
        assert found.placement.kept == {}
        assert set(found.placement.weights) == {node.name for node in Net(model).weighted()}
        file = qdq.write(model, found.placement, found.values)
        onnx.checker.check_model(file, full_check=True)
        assert accepts.findings(file, name, target.dialect) == []
        assert sqnr(expected, answers(file, given)) > 15
        if name == "openvino":
            assert sqnr(expected, openvino_answers(file, given)) > 15


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["resnet18d", "resnetblur18", "seresnet18", "ecaresnet26t"])
def test_timms_kinds_become_int8(arch: str) -> None:
    """Averaged shortcuts and blurred strides whole; what scales channels by a sigmoid stays float, and is named."""
    model = trace.to_onnx(lively(arch, 16, 3), 3, 64)
    given = np.random.default_rng(0).normal(size=(8, 3, 64, 64)).astype(np.float32)
    expected, source = answers(model, given), engine.Source(model, collect(model, [given], Ranges()))
    for name, target in targets.discover().items():
        found = engine.scaled(source, engine.Choices(target.dialect))
        assert bool(found.placement.kept) is (arch.startswith(("se", "eca")))
        left = {label(node) for node in Net(model).weighted() if node.name not in found.placement.weights}
        assert left <= set(found.placement.kept)
        assert bool(left) is arch.startswith("se")  # the layers of its attention
        file = qdq.write(model, found.placement, found.values)
        onnx.checker.check_model(file, full_check=True)
        problems = accepts.findings(file, name, target.dialect)
        assert [each for each in problems if each.severity == accepts.ERROR] == []
        assert sqnr(expected, answers(file, given)) > 15
        if name == "openvino":
            assert sqnr(expected, openvino_answers(file, given)) > 15
