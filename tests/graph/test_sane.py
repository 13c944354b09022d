"""What no exporter writes is refused before onnx and the runtimes compute with it, some of which end the process."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from edgeresnet.errors import ModelError
from edgeresnet.graph import adopt, quantized, sane
from edgeresnet.portable import onnx_file
from edgeresnet.portable.preprocessing import Preprocessing

from ..hostile import binary, graphs, protobuf
from .classifier import classifier

CHANGES = graphs.changes()
TWELVE = Preprocessing(size=8, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def written(folder: Path, change: Callable[[ModelProto], None]) -> Path:
    model = classifier()
    for tensor in model.graph.initializer:  # as torch writes them
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name))
    change(model)
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    return folder / "net.onnx"


def both(path: Path) -> None:
    onnx_file.read(path)
    adopt.adopt(path, TWELVE, 4)


@pytest.mark.parametrize("name", [name for name in CHANGES if "constant" not in name and "nodes in a row" not in name])
def test_a_hostile_file_is_adopted_or_refused_in_a_line(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, CHANGES[name])
    problem = binary.refused(lambda: both(path))
    assert problem is None or len(problem.message) - len(str(path)) < 250


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("weights of type 99", "has the type 99, which ONNX does not have"),
        ("sides (-1, 3)", r"has the shape \[-1, 3\]"),
        ("raw data too short", "bytes instead of"),
        ("strides of 0", r"its Conv has strides \[0, 0\]"),
        ("a kernel of 2^40", "its Conv has kernel_shape"),
        ("groups of -1", r"its Conv has group \[-1\]"),
    ],
)
def test_why_it_is_refused(tmp_path: Path, name: str, words: str) -> None:
    path = written(tmp_path, CHANGES[name])
    with pytest.raises(ModelError, match=f"is not a valid ONNX model: .*{words}"):
        sane.check(onnx.load(path), path)
    with pytest.raises(ModelError, match="is not a valid ONNX model: "):
        adopt.adopt(path, TWELVE, 4)


def test_a_tensor_in_a_branch_is_looked_at_too(tmp_path: Path) -> None:
    branch = helper.make_graph([], "branch", [], [], [TensorProto(name="odd", data_type=99)])
    model = classifier()
    model.graph.node.append(helper.make_node("If", ["c"], ["o"], then_branch=branch, else_branch=branch))
    with pytest.raises(ModelError, match="'odd' has the type 99"):
        sane.check(model, tmp_path / "net.onnx")


def test_a_network_that_is_as_it_should_be(tmp_path: Path) -> None:
    sane.check(classifier(), tmp_path / "net.onnx")


def test_a_batch_of_0_may_vary(tmp_path: Path) -> None:
    path = written(tmp_path, lambda model: None)
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 0
    onnx.save(model, path)
    found = adopt.adopt(path, TWELVE, 4)
    for each in (found.model, found.original):
        assert each.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_a_constant_behind_thousands_of_identities() -> None:
    """Each of them was a call in a call once."""
    names = ["fc.b", *(f"i{at}" for at in range(3000))]
    model = classifier()
    chain = [helper.make_node("Identity", [one], [other]) for one, other in itertools.pairwise(names)]
    model.graph.node.extend(chain)
    assert quantized.Plan(model).value(names[-1]) is not None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("2^16 calls", "has more than 10,000 operators, with those of the functions that it calls"),
        ("2^40 calls", "has more than 10,000 operators"),
        ("10^9 calls", "has more than 10,000 operators"),
        ("a function in itself", "is not an ONNX file, or is incomplete"),
        ("functions in a circle", "is not an ONNX file, or is incomplete"),
        ("60000 nodes in a row", "has more than 10,000 operators"),
        ("external 'pipe'", "keeps its weights in pipe, which is not next to it"),
    ],
)
def test_a_file_that_would_grow_is_refused_before_it_does(tmp_path: Path, name: str, words: str) -> None:
    path = written(tmp_path, CHANGES[name])
    with pytest.raises(ModelError, match=words):
        onnx_file.read(path)


@pytest.mark.parametrize("name", ["2^4 calls", "300 functions"])
def test_functions_that_stay_small_are_read(tmp_path: Path, name: str) -> None:
    assert onnx_file.read(written(tmp_path, CHANGES[name])).operators >= {"Conv", "F0"}


@pytest.mark.slow
def test_bytes_that_protobuf_does_not_write(tmp_path: Path) -> None:
    plain = classifier().SerializeToString()
    for name, data in protobuf.files(plain).items():
        path = tmp_path / "net.onnx"
        path.write_bytes(data)
        problem = binary.refused(functools.partial(both, path))
        assert problem is None or len(problem.message) - len(str(path)) < 250, name
