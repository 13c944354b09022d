"""torch → canonical ONNX, and the comparison that must not be fooled."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from edgeresnet import images, models, recipe
from edgeresnet.context import Context
from edgeresnet.errors import ModelError
from edgeresnet.graph import canonical
from edgeresnet.notes import TraceNotes
from edgeresnet.stages import trace
from edgeresnet.stages.specs import Architecture, TraceInputs, TraceSpec
from edgeresnet.store import Given

from .. import exports
from ..conftest import tiny

ARCHITECTURES: list[Any] = ["cifar_resnet8", "cifar_resnet14b"]  # option A's padded shortcuts, option B's convolutions
ARCHITECTURES += [pytest.param(arch, marks=pytest.mark.slow) for arch in ("cifar_plain20", "resnet18")]


def _answers(model: onnx.ModelProto, batch: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {canonical.INPUT: batch})[0]


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_canonical_form(arch: str) -> None:
    torch.manual_seed(0)
    network = models.build(arch, 6, 3).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after training: an untrained one folds to almost nothing
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    model = trace.to_onnx(network, 3, 32)
    assert [value.name for value in model.graph.input] == ["image"]
    assert [value.name for value in model.graph.output] == ["logits"]
    assert model.opset_import[0].version <= 18
    assert not {node.op_type for node in model.graph.node} & {"BatchNormalization", "Constant", "Identity", "Dropout"}
    assert not any(value.metadata_props for value in [*model.graph.node, *model.graph.input])
    assert canonical.canonical(model).SerializeToString() == model.SerializeToString(), "a second time changes nothing"
    for count in (1, 3):
        batch = np.random.default_rng(count).normal(size=(count, 3, 32, 32)).astype(np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(batch)).numpy()
        np.testing.assert_allclose(_answers(model, batch), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def _traced(folder: Path, network: nn.Module, **changes: Any) -> tuple[TraceNotes, onnx.ModelProto]:
    wanted = recipe.parse(tiny(**changes))
    few = images.open_samples(wanted, "evaluation").subset(range(16))
    torch.save(network.state_dict(), folder / "weights.pth")
    spec = TraceSpec(Architecture(wanted.model.arch, 10, 1), wanted.trace)
    inputs = TraceInputs(Given("n", folder / "weights.pth"), Given("i", few))
    (folder / "out").mkdir()
    notes = trace.trace(inputs, spec, folder / "out", Context(0, folder))
    return notes, onnx.load(folder / "out" / trace.FILE)


def test_tracing_writes_what_the_network_answers_and_how_its_images_are_prepared(tmp_path: Path) -> None:
    notes, model = _traced(tmp_path, models.build("cifar_resnet8", 10, 1))
    assert notes.parity < 1e-5
    assert notes.parity_images == 16
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert '"size": 8' in metadata["edgeresnet.preprocessing"]
    assert '"9"' in metadata["edgeresnet.classes"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param


def test_a_fixed_batch(tmp_path: Path) -> None:
    notes, model = _traced(tmp_path, models.build("cifar_resnet8", 10, 1), trace={"batch": 5})
    assert notes.parity_images == 16
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 5
    assert _answers(model, np.zeros((5, 1, 8, 8), np.float32)).shape == (5, 10)


def test_a_failed_parity_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = trace.to_onnx

    def sabotaged(network: nn.Module, channels: int, size: int) -> onnx.ModelProto:
        model = real(network, channels, size)
        weight = next(tensor for tensor in model.graph.initializer if tensor.name == "linear.weight")
        array = onnx.numpy_helper.to_array(weight).copy()
        array[3, 5] *= 1.05
        weight.CopyFrom(onnx.numpy_helper.from_array(array, weight.name))
        return model

    monkeypatch.setattr(trace, "to_onnx", sabotaged)
    with pytest.raises(ModelError, match="does not answer as torch does"):
        _traced(tmp_path, models.build("cifar_resnet8", 10, 1))


FACTORY = """
import torch
from torch import nn

class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        {forward}

def make():
    return Odd()
"""


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        ("return self.linear(x.flatten(1) if x.sum() > 0 else -x.flatten(1))", "cannot be exported by torch"),
        ("y = self.linear(x.flatten(1)); return y, y", "shape tuple for two images"),
        ("return self.linear(x.flatten(1))[:, :, None]", r"shape \(2, 10, 1\) for two images"),
        ("return self.linear(x)", "cannot take images"),
    ],
)
def test_networks_that_are_not_classifiers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forward: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = f"odd_{abs(hash(forward)) % 10**8}"
    (tmp_path / f"{name}.py").write_text(FACTORY.format(forward=forward))
    network = models.build(f"{name}:make", 10, 1)
    with pytest.raises(ModelError, match=words):
        _traced(tmp_path, network, model__arch=f"{name}:make")


def test_the_suite_exports_equal_networks_once_and_no_other(tmp_path: Path) -> None:
    """What tests/exports.py does for all other tests."""
    exported: list[nn.Module] = []

    def export(network: nn.Module, channels: int, size: int) -> onnx.ModelProto:
        exported.append(network)
        return onnx.ModelProto(producer_name=str(len(exported)))

    class Own(nn.Conv2d):
        pass

    once = exports.remembered(export, tmp_path)
    torch.manual_seed(0)
    one, other = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
    again, strided, own = copy.deepcopy(one), nn.Conv2d(3, 4, 3, stride=2), Own(3, 4, 3)
    strided.load_state_dict(one.state_dict())
    names = [
        once(each, 3, 8).producer_name for each in (one, again, other, strided, copy.deepcopy(one).eval(), own, own)
    ]
    assert names == ["1", "1", "2", "3", "4", "5", "6"]
    assert once(one, 3, 16).producer_name == "7"
