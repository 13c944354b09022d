"""What every target must do, once, over all that are discovered. A new target is included automatically."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeresnet import targets
from edgeresnet.errors import RecipeError, TargetError
from edgeresnet.portable.session import Availability, Dialect

from ..graph.classifier import classifier

NAMES = list(targets.discover())


STANDIN = "tensorrt on a stand-in"  # for TensorRT and a GPU: it shows that our code keeps the rules, and no more


@pytest.fixture(params=[*NAMES, STANDIN])
def target(request: pytest.FixtureRequest) -> targets.Target:
    return request.getfixturevalue("standin")() if request.param == STANDIN else targets.get(request.param)


def options_of(target: targets.Target) -> Any:
    """Return options for FP32, and for the batches used here where a compiler must know them."""
    if any(field.name == "batch" for field in fields(target.options)):
        return target.options(batch=(1, 4, 32), float_parts="f32")
    return target.options()


@pytest.fixture
def here(target: targets.Target) -> targets.Target:
    found = target.available()
    if not found.ok:
        pytest.skip(f"{target.name}: {found.reason}")
    return target


def small_network(batch: int | str = "batch") -> onnx.ModelProto:
    """Conv, ReLU, mean, Gemm: 3×8×8 to four logits."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(5, 3, 3, 3)), "b": rng.normal(size=5),
        "v": rng.normal(size=(5, 4)), "c": rng.normal(size=4),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["image", "w", "b"], ["y"], pads=[1] * 4),
        helper.make_node("Relu", ["y"], ["z"]),
        helper.make_node("GlobalAveragePool", ["z"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "v", "c"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 4])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    onnx.save(small_network(), tmp_path / "network.onnx")
    return tmp_path / "network.onnx"


@pytest.fixture
def compiled(here: targets.Target, network: Path, tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    here.compile(network, options_of(here), tmp_path / "out")
    return tmp_path / "out"


def test_what_it_declares(target: targets.Target) -> None:
    assert target.name in NAMES
    assert target.title
    assert target.libraries
    assert isinstance(target.dialect, Dialect)
    assert is_dataclass(target.options)
    assert target.options.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert all(field.default is not field.default_factory for field in fields(target.options))
    found = target.available()
    assert isinstance(found, Availability)
    assert found.versions if found.ok else (found.reason and found.hint)


def test_it_answers_as_the_reference_for_any_batch(here: targets.Target, compiled: Path, network: Path) -> None:
    reference = onnxruntime.InferenceSession(str(network), providers=["CPUExecutionProvider"])
    with here.load(compiled) as session:
        assert session.signature.batch is None
        assert (session.signature.channels, session.signature.size, session.signature.classes) == (3, 8, 4)
        for count in (1, 5, 32, 2, 7, 1):
            batch = np.random.default_rng(count).normal(size=(count, 3, 8, 8)).astype(np.float32)
            expected = reference.run(None, {"image": batch})[0]
            np.testing.assert_allclose(session.infer(batch), expected, atol=1e-4)


def test_an_answer_belongs_to_the_caller(here: targets.Target, compiled: Path) -> None:
    with here.load(compiled) as session:
        first = session.infer(np.ones((1, 3, 8, 8), np.float32))
        before = first.copy()
        session.infer(np.zeros((1, 3, 8, 8), np.float32))
        np.testing.assert_array_equal(first, before)


def test_the_same_array_with_other_images_gets_another_answer(here: targets.Target, compiled: Path) -> None:
    """As a camera's buffer does. A view that is not a plain array is seen as it is now, too."""
    rng = np.random.default_rng(0)
    with here.load(compiled) as session:
        buffer = np.zeros((2, 3, 8, 8), np.float32)
        turned = buffer.transpose(0, 1, 3, 2)
        for _ in range(3):
            buffer[...] = rng.normal(size=buffer.shape)
            fresh, fresh_turned = buffer.copy(), np.ascontiguousarray(turned)
            first, second = session.infer(buffer), session.infer(turned)
            np.testing.assert_array_equal(first, session.infer(fresh))
            np.testing.assert_array_equal(second, session.infer(fresh_turned))


def test_images_of_another_shape_are_refused(here: targets.Target, compiled: Path) -> None:
    with here.load(compiled) as session, pytest.raises(Exception, match=r"(?i)images|dimension"):
        session.infer(np.zeros((1, 1, 8, 8), np.float32))


def test_a_fixed_batch_is_in_the_signature(here: targets.Target, tmp_path: Path) -> None:
    onnx.save(small_network(batch=3), tmp_path / "fixed.onnx")
    (tmp_path / "out").mkdir()
    here.compile(tmp_path / "fixed.onnx", here.options(), tmp_path / "out")
    with here.load(tmp_path / "out") as session:
        assert session.signature.batch == 3
        assert session.infer(np.ones((3, 3, 8, 8), np.float32)).shape == (3, 4)


def test_layers_say_what_ran(here: targets.Target, compiled: Path) -> None:
    with here.load(compiled) as session:
        layers = session.layers()
    convolutions = [layer for layer in layers if "conv" in f"{layer.operator} {layer.name}".lower()]
    assert convolutions
    assert {layer.precision for layer in convolutions} == {"f32"}
    assert all(layer.name for layer in layers)


def test_throughput_counts_images(here: targets.Target, compiled: Path) -> None:
    with here.load(compiled) as session:
        found = session.throughput(np.ones((2, 3, 8, 8), np.float32), streams=2, seconds=0.05)
    assert found.images > 0
    assert found.images % 2 == 0
    assert found.seconds > 0


class Slow:
    """An onnxruntime session in which the first run, which does not count, takes longer than the time allowed."""

    def __init__(self, fails_at: int = 0):
        self._numbers, self._fails_at = itertools.count(1), fails_at
        self.runs: list[int] = []

    def run(self, names: None, feed: Any) -> None:
        number = next(self._numbers)
        self.runs.append(number)
        time.sleep(0.02)
        if number == self._fails_at:
            raise RuntimeError("out of memory")


@pytest.fixture
def slow(network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Loads onnxruntime for 8 threads, with sessions for throughput that are slow; notes the threads that they get."""
    target: Any = targets.get("onnxruntime")
    (tmp_path / "out").mkdir()
    target.compile(network, target.options(threads=8), tmp_path / "out")

    def load(session: Slow) -> Any:
        loaded = target.load(tmp_path / "out")
        given: list[int] = []

        def opened(threads: int) -> Slow:
            given.append(threads)
            return session

        monkeypatch.setattr(loaded, "_open", opened)
        return loaded, given

    return load


@pytest.mark.parametrize(("streams", "threads"), [(1, 8), (2, 7), (8, 1), (12, 1)])
def test_a_slow_network_has_a_throughput_too(slow: Any, streams: int, threads: int) -> None:
    loaded, given = slow(session := Slow())
    found = loaded.throughput(np.ones((2, 3, 8, 8), np.float32), streams, seconds=0.001)
    assert found.images == 2 * streams, "each stream answers once, however short the time"
    assert len(session.runs) == streams + 1
    assert 0.02 <= found.seconds < 5
    assert given == [threads], "callers and helpers together are the cores"


def test_what_a_stream_raises_is_raised(slow: Any) -> None:
    loaded, _ = slow(Slow(fails_at=3))
    with pytest.raises(RuntimeError, match="out of memory"):
        loaded.throughput(np.ones((1, 3, 8, 8), np.float32), streams=3, seconds=0.001)


def test_device_times_are_none_or_as_many_as_requested(here: targets.Target, compiled: Path) -> None:
    with here.load(compiled) as session:
        times = session.device_times_ms(np.ones((1, 3, 8, 8), np.float32), 3)
    assert times is None or len(times) == 3


def test_a_file_that_is_not_a_network_is_refused_in_words(here: targets.Target, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"this is not a network")
    (tmp_path / "out").mkdir()
    with pytest.raises(TargetError, match=r"bad\.onnx|model\.onnx"):
        here.compile(tmp_path / "bad.onnx", options_of(here), tmp_path / "out")


def _more(value: str, *nodes: onnx.NodeProto, also: str = "output") -> onnx.ModelProto:
    """With further nodes, and one more value among the outputs or inputs."""
    model = classifier()
    model.graph.node.extend(nodes)
    getattr(model.graph, also).append(helper.make_tensor_value_info(value, TensorProto.FLOAT, None))
    return model


def _answering(node: onnx.NodeProto, kind: int) -> onnx.ModelProto:
    model = classifier()
    model.graph.node.append(node)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(node.output[0], kind, None))
    return model


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (classifier(image=("n", 3, "h", "w")), r"the network takes \?×3×\?×\? instead"),
        (classifier(image=("n", 3, 8, 16)), r"the network takes \?×3×8×16 instead"),
        (_more("e"), "the network has 1 inputs and 2 outputs"),
        (_more("z", also="input"), "2 inputs and 1 outputs"),
        (
            _answering(helper.make_node("ArgMax", ["y"], ["k"], axis=1, keepdims=0), TensorProto.INT64),
            r"returns \? instead",
        ),
        (_answering(helper.make_node("NonZero", ["y"], ["k"]), TensorProto.INT64), r"returns 2×\? instead"),
    ],
    ids=["open sides", "not square", "two outputs", "two inputs", "no classes", "unknown classes"],
)
def test_what_a_signature_cannot_say_is_refused_in_words(
    here: targets.Target, tmp_path: Path, model: onnx.ModelProto, words: str
) -> None:
    onnx.save(model, tmp_path / "odd.onnx")
    (tmp_path / "out").mkdir()
    with pytest.raises(TargetError, match=words) as caught:
        here.compile(tmp_path / "odd.onnx", options_of(here), tmp_path / "out")
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_what_the_file_leaves_out_the_runtime_infers(here: targets.Target, tmp_path: Path) -> None:
    onnx.save(classifier(logits=None, weights_as_inputs=True, opset=9), tmp_path / "old.onnx")
    (tmp_path / "out").mkdir()
    notes, _ = here.compile(tmp_path / "old.onnx", options_of(here), tmp_path / "out")
    assert notes.signature.classes == 4
    with here.load(tmp_path / "out") as session:
        assert session.signature == notes.signature


def test_an_operator_that_openvino_does_not_know_is_named(tmp_path: Path) -> None:
    target = targets.get("openvino")
    if not target.available().ok:
        pytest.skip(target.available().reason)
    onnx.save(_answering(helper.make_node("Fancy", ["y"], ["k"]), TensorProto.FLOAT), tmp_path / "odd.onnx")
    (tmp_path / "out").mkdir()
    with pytest.raises(TargetError, match=r"^odd\.onnx is refused: .*operations: Fancy"):
        target.compile(tmp_path / "odd.onnx", target.options(), tmp_path / "out")


def test_a_scribbled_network_is_an_error_of_its_loading(compiled: Path, here: targets.Target) -> None:
    for path in compiled.glob("model.*"):
        path.write_bytes(b"<net")
    with pytest.raises(TargetError, match=r"model\.(onnx|xml|engine)"):
        here.load(compiled)


@pytest.mark.parametrize("change", ["version", "target", "absent", "key"])
def test_a_stale_engine_is_refused_before_it_is_loaded(here: targets.Target, compiled: Path, change: str) -> None:
    sidecar = compiled / "target.json"
    about = json.loads(sidecar.read_text())
    if change == "version":
        about["versions"] = {here.libraries[0]: "0.0.1"}
    if change == "target":
        about["target"] = "another"
    if change == "key":
        about["moon"] = 1
    sidecar.unlink() if change == "absent" else sidecar.write_text(json.dumps(about))
    with pytest.raises(TargetError, match=r"compiled|built by"):
        here.load(compiled)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_stored_options_that_are_not_known_are_refused(name: str, network: Path, tmp_path: Path) -> None:
    target = targets.get(name)
    if not target.available().ok:
        pytest.skip(target.available().reason)
    (tmp_path / "out").mkdir()
    target.compile(network, target.options(threads=1), tmp_path / "out")
    sidecar = tmp_path / "out" / "target.json"
    sidecar.write_text(sidecar.read_text().replace('"threads"', '"moons"'))
    with pytest.raises(TargetError, match=r"out was compiled with options that this version does not know: moons"):
        target.load(tmp_path / "out")


def test_options_are_refused_and_never_changed(target: targets.Target) -> None:
    if any(field.name == "threads" for field in fields(target.options)):
        with pytest.raises(ValueError, match="threads"):
            target.options(threads=0)


def test_openvino_refuses_a_precision_that_this_cpu_lacks(network: Path, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    has = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    target = targets.get("openvino")
    (tmp_path / "out").mkdir()
    absent = [precision for precision in ("bf16", "f16") if precision.replace("f16", "F16").upper() not in has]
    lacking = [p for p in ("bf16", "f16") if {"bf16": "BF16", "f16": "FP16"}[p] not in has]
    if not lacking or not absent:
        pytest.skip("this CPU has every precision")
    with pytest.raises(TargetError, match=lacking[0]):
        target.compile(network, target.options(float_parts=lacking[0]), tmp_path / "out")


def test_openvinos_own_choice_is_recorded(network: Path, tmp_path: Path) -> None:
    target = targets.get("openvino")
    if not target.available().ok:
        pytest.skip(target.available().reason)
    (tmp_path / "out").mkdir()
    notes, _ = target.compile(network, target.options(float_parts="auto"), tmp_path / "out")
    assert notes.float_parts in {"f32", "bf16", "f16"}


@pytest.mark.parametrize("device", ["GPU", "NPU"])
def test_openvino_refuses_a_device_that_is_not_here(device: str, network: Path, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    target: Any = targets.get("openvino")
    if any(each.startswith(device) for each in openvino.Core().available_devices):
        pytest.skip(f"a {device} is here")
    options = target.options(device=device)
    found = target.available(options)
    assert not found.ok
    assert found.reason.startswith(f"OpenVINO finds no {device} here, only CPU")
    assert found.versions
    assert "where: bundle" in found.hint
    assert target.available().ok
    assert target.available(target.options()).ok
    (tmp_path / "out").mkdir()
    with pytest.raises(TargetError, match=f"OpenVINO finds no {device} here, only CPU"):
        target.compile(network, options, tmp_path / "out")


def test_openvinos_npu_plug_in_has_the_precisions_that_its_options_allow() -> None:
    """Its table of properties answers without an NPU. The GPU's plug-in needs OpenCL to answer."""
    openvino = pytest.importorskip("openvino")
    try:
        has = openvino.Core().get_property("NPU", "OPTIMIZATION_CAPABILITIES")
    except RuntimeError:
        pytest.skip("this OpenVINO has no NPU plug-in")
    assert {"FP16", "INT8"} <= set(has)
    assert not {"FP32", "BF16"} & set(has)


def test_openvinos_auto_reports_the_device_that_it_chose(network: Path, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    target: Any = targets.get("openvino")
    (tmp_path / "out").mkdir()
    notes, _ = target.compile(network, target.options(device="AUTO"), tmp_path / "out")
    assert notes.device.partition(" ")[0] in openvino.Core().available_devices
    reference = onnxruntime.InferenceSession(str(network), providers=["CPUExecutionProvider"])
    image = np.ones((1, 3, 8, 8), np.float32)
    with target.load(tmp_path / "out") as session:
        np.testing.assert_allclose(session.infer(image), reference.run(None, {"image": image})[0], atol=1e-2)
        assert session.throughput(image, streams=2, seconds=0.05).images > 0


def test_an_unknown_target_gets_the_nearest_name() -> None:
    with pytest.raises(RecipeError, match="the target 'openvno' does not exist") as caught:
        targets.get("openvno")
    assert "openvino" in caught.value.hint
