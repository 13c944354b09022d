"""Files of torch's two exporters, of every opset that they write and a user may hold: one network, one form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn

from edgeresnet import pipeline, recipe
from edgeresnet.graph import adopt
from edgeresnet.models import build
from edgeresnet.notes import TraceNotes
from edgeresnet.runs import Run
from edgeresnet.stages import trace
from edgeresnet.store import Store

from .conftest import result_of, step_of, tiny, traced


class Classifier(nn.Module):
    """The paper's ResNet with what people write around it: a permuted input, a view by the batch, a softmax."""

    def __init__(self, *, channels_last: bool):
        super().__init__()
        torch.manual_seed(0)
        self.channels_last, self.body = channels_last, build("cifar_resnet8", 10, 1)
        self.body.linear = nn.Identity()
        self.linear = nn.Linear(64, 10)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):  # as after training
                assert module.running_mean is not None
                assert module.running_var is not None
                nn.init.uniform_(module.running_mean, -0.5, 0.5)
                nn.init.uniform_(module.running_var, 0.5, 2.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(x.permute(0, 3, 1, 2) if self.channels_last else x)
        return torch.softmax(self.linear(x.view(x.size(0), -1)), 1)


@pytest.fixture(scope="module")
def usual() -> list[str]:
    """The operators of the network as edgeresnet traces it, without its softmax."""
    network = Classifier(channels_last=False).eval()
    return [kind for kind in _kinds(trace.to_onnx(network, 1, 8)) if kind != "Softmax"]


def _kinds(model: onnx.ModelProto) -> list[str]:
    """List the operators but for those of which one exporter writes two where the other writes one."""
    return sorted(node.op_type for node in model.graph.node if node.op_type not in ("Reshape", "Slice"))


def _exported(path: Path, opset: int, batch: int | None, *, dynamo: bool, channels_last: bool = True) -> Path:
    network = Classifier(channels_last=channels_last).eval()
    example = torch.zeros(batch or 2, *((8, 8, 1) if channels_last else (1, 8, 8)))
    how: dict[str, Any] = {"dynamo": dynamo, "opset_version": opset, "input_names": ["x"], "output_names": ["y"]}
    if dynamo:
        how |= {"verbose": False, "dynamic_shapes": None if batch else ({0: torch.export.Dim("batch")},)}
    elif not batch:
        how |= {"dynamic_axes": {"x": {0: "batch"}, "y": {0: "batch"}}}
    with trace._quiet():
        torch.onnx.export(network, (example,), path, **how)
    return path


def _run(path: Path, store: Path, **changes: Any) -> Run:
    raw = tiny(model={"checkpoint": str(path)}, train=None, images={"evaluation": "digits"}, promises={}, **changes)
    return pipeline.run(recipe.parse(raw), Store(store))


WRITTEN = [(False, opset, batch) for opset, batch in ((11, None), (12, 1), (13, None), (17, 8), (18, None), (20, None))]
WRITTEN += [(True, 18, None), (True, 21, 8)]
ALWAYS = {(False, 11, None), (True, 21, 8)}  # the oldest form and the newest; the slow tier has those between


@pytest.mark.parametrize(
    ("dynamo", "opset", "batch"),
    [pytest.param(*each, marks=() if each in ALWAYS else pytest.mark.slow) for each in WRITTEN],
)
def test_it_is_accepted_whatever_wrote_it(
    tmp_path: Path, usual: list[str], dynamo: bool, opset: int, batch: int | None
) -> None:
    path = _exported(tmp_path / "net.onnx", opset, batch, dynamo=dynamo)
    assert adopt.version(onnx.load(path)) == opset
    run = _run(path, tmp_path / "store", targets={})
    step, model = step_of(run, "trace"), onnx.load(traced(run))
    assert isinstance(step.notes, TraceNotes)
    assert step.notes.parity < 1e-5
    assert _kinds(model) == usual
    assert len(step.warnings) == 2
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == (batch or 0)
    assert adopt.OLDEST <= adopt.version(model) <= adopt.OPSET


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dynamo", "opset"),
    [(False, 11), *(pytest.param(*each, marks=pytest.mark.slow) for each in ((False, 13), (True, 21)))],
)
def test_it_is_quantized_like_any_other(tmp_path: Path, dynamo: bool, opset: int) -> None:
    path = _exported(tmp_path / "net.onnx", opset, None, dynamo=dynamo)
    images = {"evaluation": "digits", "calibration": {"from": "digits", "count": 40}}
    targets: dict[str, Any] = {"onnxruntime": {}, "tensorrt": {"where": "bundle"}}
    changes = {"images": images, "targets": targets, "quantize": {"effort": "fast"}}
    raw = tiny(model={"checkpoint": str(path)}, train=None, promises={}, **changes)
    run = pipeline.run(recipe.parse(raw), Store(tmp_path / "store"))
    assert len([step for step in run.steps if step.stage == "quantize"]) == 2
    assert (result_of(run, "onnxruntime").variants["int8"].accuracy.sqnr_db or 0) > 20
