"""The reader of ONNX files that needs no onnx is compared with onnx itself, and given what is not a file of ONNX."""

from __future__ import annotations

import random
import warnings
from pathlib import Path

import onnx
import pytest
import torch

from edgeresnet.errors import ModelError
from edgeresnet.portable import onnx_file

from ..graph.classifier import classifier, with_external_weights, written


def _by_onnx(path: Path) -> tuple[list[tuple], list[tuple], set[str], dict[str, str]]:
    model = onnx.load(path, load_external_data=False)
    weights = {tensor.name for tensor in model.graph.initializer}

    def value(info: onnx.ValueInfoProto) -> tuple:
        kind = info.type.tensor_type
        shape = tuple(dim.dim_value if dim.dim_value > 0 else None for dim in kind.shape.dim)
        return info.name, kind.elem_type, shape if kind.HasField("shape") else None

    return (
        [value(info) for info in model.graph.input if info.name not in weights],
        [value(info) for info in model.graph.output],
        {node.op_type for node in model.graph.node},
        {entry.key: entry.value for entry in model.metadata_props},
    )


@pytest.mark.parametrize("which", ["trained", "old", "open", "apart", "torch"])
def test_it_reads_what_onnx_reads(tmp_path: Path, net: Path, which: str) -> None:
    if which == "old":
        net = written(tmp_path, weights_as_inputs=True, opset=9)
    elif which == "open":
        net = written(tmp_path, image=("n", "c", "h", "w"), logits=None)
    elif which == "apart":
        net = with_external_weights(tmp_path, classifier())
    elif which == "torch":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter warns of itself
            torch.onnx.export(
                torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)).eval(), (torch.zeros(1, 1, 8, 8),), net,
                dynamo=True, verbose=False, external_data=True,
            )  # fmt: skip
    found = onnx_file.read(net)
    inputs, outputs, operators, metadata = _by_onnx(net)
    assert [tuple(value) for value in found.inputs] == inputs
    assert [tuple(value) for value in found.outputs] == outputs
    assert found.operators == operators
    assert found.metadata == metadata


def test_an_incomplete_or_damaged_file_is_read_or_refused_and_no_more(tmp_path: Path) -> None:
    whole = with_external_weights(tmp_path, classifier()).read_bytes()
    rng, refused = random.Random(0), 0
    for _ in range(300):
        data = bytearray(whole[: rng.randrange(len(whole))] if rng.random() < 0.5 else whole)
        for _ in range(rng.randrange(4)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        (tmp_path / "net.onnx").write_bytes(data)
        try:
            onnx_file.read(tmp_path / "net.onnx")
        except ModelError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("data", [b"", b"not a network", b"\x08\x08", bytes(1000), b"\xff" * 40])
def test_what_is_not_an_onnx_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "net.onnx").write_bytes(data)
    with pytest.raises(ModelError, match=r"net\.onnx is not an ONNX file"):
        onnx_file.read(tmp_path / "net.onnx")


def test_a_file_that_is_not_there_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        onnx_file.read(tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="is a folder, not a file"):
        onnx_file.read(tmp_path)


def test_weights_next_to_the_file_belong_to_its_digest(tmp_path: Path) -> None:
    path = with_external_weights(tmp_path, classifier())
    assert onnx_file.read(path).external == ("net.weights",)
    before = onnx_file.read(path).digest
    weights = bytearray((tmp_path / "net.weights").read_bytes())
    weights[10] ^= 1
    (tmp_path / "net.weights").write_bytes(weights)
    assert onnx_file.read(path).digest != before


def test_weights_that_are_missing_or_in_another_folder(tmp_path: Path) -> None:
    model = classifier()
    path = with_external_weights(tmp_path, model)
    (tmp_path / "net.weights").rename(tmp_path / "other.weights")
    with pytest.raises(ModelError, match=r"keeps its weights in net\.weights, which is not next to it"):
        onnx_file.read(path)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        tensor.external_data[0].value = "../net.weights"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="outside its own folder"):
        onnx_file.read(path)


def test_the_last_operator_is_the_one_that_computes(tmp_path: Path) -> None:
    assert onnx_file.read(written(tmp_path)).last == "Gemm"
    model = classifier(last="Softmax")
    assert onnx_file.read(written(tmp_path, model)).last == "Softmax"
    model.graph.node[-1].output[0] = "s"
    model.graph.node.append(onnx.helper.make_node("Reshape", ["s", "to"], ["y"]))
    assert onnx_file.read(written(tmp_path, model)).last == "Softmax"
    del model.graph.node[:-1]
    assert onnx_file.read(written(tmp_path, model)).last == ""
