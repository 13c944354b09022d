"""TensorRT from a file to answers and times, on a stand-in for TensorRT and a GPU: nothing of NVIDIA's runs here.

What the stand-in cannot show, that NVIDIA's library takes our calls, is shown by its real classes (test_nvapi.py), and
by TensorRT-RTX, which builds without a GPU.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from edgeresnet import targets
from edgeresnet.errors import EdgeresnetError, MachineError, TargetError
from edgeresnet.graph import deliver
from edgeresnet.graph.half import half
from edgeresnet.portable import inference, measure
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.portable.worker import Job
from edgeresnet.targets import _nvsession

from ..graph.quantized import clean
from .test_conformance import small_network


@pytest.fixture
def network(tmp_path: Path) -> Path:
    onnx.save(small_network(), tmp_path / "network.onnx")
    return tmp_path / "network.onnx"


def compiled(target: Any, network: Path, **options: Any) -> Path:
    out = network.parent / "out"
    out.mkdir(exist_ok=True)
    target.compile(network, target.options(**options), out)
    return out


def built(out: Path) -> dict[str, object]:
    """Return what the stand-in built."""
    return json.loads((out / "model.engine").read_bytes().partition(b"\n")[0])


def images(count: int) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, 3, 8, 8)).astype(np.float32)


def held() -> int:
    return sys.modules["tensorrt"].held()


@pytest.mark.parametrize("version", ["10.3.0", "11.4.0.106"])
def test_it_answers_as_the_reference(standin: Any, network: Path, version: str) -> None:
    target = standin(version=version)
    found = target.available()
    assert (found.ok, found.versions) == (True, {"tensorrt": version})
    out = compiled(target, network, float_parts="f32", batch=(1, 4, 8))
    reference = onnxruntime.InferenceSession(str(network), providers=["CPUExecutionProvider"])
    with target.load(out) as session:
        assert (session.signature.batch, session.signature.least, session.signature.most) == (None, 1, 8)
        for count in (1, 8, 3):
            expected = reference.run(None, {"image": images(count)})[0]
            np.testing.assert_allclose(session.infer(images(count)), expected, rtol=1e-6)
        thirty = inference.predict(session, [images(30)])
        np.testing.assert_allclose(thirty, reference.run(None, {"image": images(30)})[0], rtol=1e-6)


def test_what_is_taken_from_the_gpu_is_given_back(standin: Any, network: Path) -> None:
    target = standin()
    out = compiled(target, network)
    with target.load(out) as session:
        session.infer(images(1))
        before = held()
        assert session.device_memory_mb() == pytest.approx(2 * (3 * 8 * 8 + 4) * 4 / 1e6, rel=0.1), "both ends, twice"
        assert session.throughput(images(1), streams=3, seconds=0.01).images >= 3
        assert held() == before
        assert all(time > 0 for time in session.device_times_ms(images(1), 4))
    assert held() == 1, "the context alone stays"


def test_what_was_taken_is_given_back_when_loading_fails_halfway(
    standin: Any, network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = standin()
    out = compiled(target, network)
    monkeypatch.setattr(_nvsession._cuda, "Stopwatch", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        target.load(out)
    assert held() == 1


def test_what_the_options_say_is_what_is_built(standin: Any, network: Path) -> None:
    options: dict[str, object] = {"batch": (1, 8, 64), "workspace_mb": 256, "sparse": True}
    out = compiled(standin(), network, version_compatible=True, hardware="ampere-plus", **options)
    assert built(out) == {
        "flags": ["SPARSE_WEIGHTS", "VERSION_COMPATIBLE"],  # and no TF32: FP32 is FP32
        "profiles": [{"image": [[1, 3, 8, 8], [8, 3, 8, 8], [64, 3, 8, 8]]}],
        "verbosity": "DETAILED",
        "hardware": "AMPERE_PLUS",
        "limits": {"WORKSPACE": 256 << 20},
        "noise": None,
    }


def test_what_a_release_lacks_is_refused(standin: Any, network: Path) -> None:
    target = standin(version="10.3.0")
    with pytest.raises(TargetError, match=r"release 10\.3\.0 has no hardware .* SAME_COMPUTE_CAPABILITY"):
        compiled(target, network, hardware="same-capability")
    newer = standin(version="11.4.0")
    assert built(compiled(newer, network, hardware="same-capability"))["hardware"] == "SAME_COMPUTE_CAPABILITY"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"float_parts": "bf16"}, "float_parts must be one of f16, f32"),
        ({"batch": (8, 1, 64)}, "batch must be one number, or minimum, optimum and maximum"),
        ({"batch": (1, 2)}, "batch must be one number"),
        ({"batch": 0}, "batch must be one number"),
        ({"hardware": "all"}, "hardware must be one of same, same-capability, ampere-plus"),
        ({"workspace_mb": 0}, "workspace_mb must be at least 1"),
    ],
)
def test_options_are_checked_when_they_are_given(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        targets.get("tensorrt").options(**options)


def test_a_batch_is_static_unless_it_may_vary(standin: Any, network: Path) -> None:
    target = standin()
    out = compiled(target, network, batch=4)
    assert built(out)["profiles"] == [{"image": [[4, 3, 8, 8]] * 3}]
    with target.load(out) as session:
        assert session.signature.batch == 4
        with pytest.raises(TargetError, match="built for batches of 4 images, not of 5"):
            session.infer(images(5))
    out = compiled(target, network, batch=(2, 4, 8))
    with target.load(out) as session:
        with pytest.raises(TargetError, match=r"batches of 2 to 8 images, not of 1") as caught:
            session.infer(images(1))
        assert "batch: [1, 8, 64]" in caught.value.hint
        assert inference.predict(session, [images(9)]).shape == (9, 4)


def test_pixels_and_normalised_images_are_not_taken_for_each_other(standin: Any, network: Path, tmp_path: Path) -> None:
    target = standin()
    preprocessing = Preprocessing(8, mean=(0.5,) * 3, std=(0.25,) * 3)
    given = deliver.delivered(network, tmp_path / "pixels.onnx", halved=False, pixels=preprocessing)
    pixels = np.zeros((1, 8, 8, 3), np.uint8)
    for file, correct, other, words in (
        (given, pixels, pixels.astype(np.float32), "takes uint8 pixels, not float32"),
        (network, images(1), images(1).astype(np.uint8), "takes normalised images, not uint8"),
    ):
        with target.load(compiled(target, file)) as session:
            assert session.infer(correct).shape == (1, 4)
            with pytest.raises(TargetError, match=words):
                session.infer(other)


@pytest.mark.parametrize("kind", [onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.UINT8])
def test_a_map_of_integers_is_refused_when_it_is_compiled(standin: Any, tmp_path: Path, kind: int) -> None:
    helper = onnx.helper
    image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["batch", 3, 8, 8])
    classes = helper.make_tensor_value_info("classes", kind, ["batch", 8, 8])
    nodes = [helper.make_node("ArgMax", ["image"], ["found"], axis=1, keepdims=0)]
    nodes.append(helper.make_node("Cast", ["found"], ["classes"], to=kind))
    onnx.save(helper.make_model(helper.make_graph(nodes, "map", [image], [classes])), tmp_path / "map.onnx")
    with pytest.raises(TargetError, match=r"returns u?int[0-9]+, but answers are read as float32") as caught:
        compiled(standin(), tmp_path / "map.onnx")
    assert "Cast to float32" in caught.value.hint
    assert not (tmp_path / "out" / "model.engine").exists()


def test_a_file_of_a_fixed_batch_cannot_take_another(standin: Any, tmp_path: Path) -> None:
    target = standin()
    onnx.save(small_network(batch=3), tmp_path / "fixed.onnx")
    assert built(compiled(target, tmp_path / "fixed.onnx"))["profiles"] == []
    with pytest.raises(TargetError, match="the network has a fixed batch of 3 and cannot take batches of 1, 8, 64"):
        compiled(target, tmp_path / "fixed.onnx", batch=(1, 8, 64))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": "10.13.2"}, r"built by tensorrt 10\.3\.0, but tensorrt 10\.13\.2 is installed"),
        ({"version": "11.4.0"}, r"built by tensorrt 10\.3\.0, but tensorrt 11\.4\.0 is installed"),
        (
            {"capability": "8.9"},
            r"for Stand-in GPU of compute .* 8\.7 .* this machine has Stand-in GPU .* 8\.9",
        ),
        (
            {"gpu": "Another GPU"},
            r"for Stand-in GPU of compute .* 8\.7 .* this machine has Another GPU .* 8\.7",
        ),
        ({"processors": "8"}, r"8\.7 and 16 multiprocessors, but this machine has .* 8\.7 and 8 multiprocessors"),
    ],
)
def test_an_engine_from_another_machine_is_refused_before_it_is_read(
    standin: Any, network: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], words: str
) -> None:
    out = compiled(standin(), network)
    target = standin(**changes)
    monkeypatch.setattr(sys.modules["tensorrt"], "Runtime", lambda *_: pytest.fail("it was read"))
    with pytest.raises(TargetError, match=words) as caught:
        target.load(out)
    assert "build it on this machine" in caught.value.hint


def test_what_shall_be_portable_is(standin: Any, network: Path) -> None:
    out = compiled(standin(version="10.3.0"), network, version_compatible=True, hardware="ampere-plus")
    standin(version="10.13.2", gpu="Another GPU", capability="9.0").load(out).__exit__()
    for changes, words in (({"version": "10.1.0"}, "built by"), ({"version": "11.0.0"}, "built by")):
        with pytest.raises(TargetError, match=words):
            standin(**changes).load(out)
    with pytest.raises(TargetError, match="compute capability"):
        standin(version="10.3.0", capability="7.5").load(out)


@pytest.mark.parametrize("damage", ["flipped", "gone", "sidecar"])
def test_a_damaged_engine_is_refused_before_it_is_read(standin: Any, network: Path, damage: str) -> None:
    target = standin()
    out = compiled(target, network)
    engine = out / "model.engine"
    if damage == "flipped":
        data = bytearray(engine.read_bytes())
        data[-5] ^= 1
        engine.write_bytes(data)
    elif damage == "gone":
        engine.unlink()
    else:
        (out / "target.json").write_text("{}")
    with pytest.raises(
        TargetError, match=r"differs from the engine that its sidecar describes|its target\.json cannot be read"
    ):
        target.load(out)


def test_the_sidecar_records_where_it_was_built(standin: Any, network: Path) -> None:
    about = json.loads((compiled(standin(), network) / "target.json").read_text())
    assert about["versions"] == {"tensorrt": "10.3.0"}
    assert about["gpu"] == {"name": "Stand-in GPU", "capability": "8.7", "cuda": "12.4", "processors": 16}
    assert about["plan"]["batches"] == [1, 1, 1]
    assert {"driver", "engine_sha256", "source_sha256", "options"} <= about.keys()


@pytest.mark.parametrize(
    ("fails", "kind", "words", "hint"),
    [
        ("memory", MachineError, "memory ran out while an engine was built", "workspace_mb"),
        ("parse", TargetError, r"^network\.onnx is refused at conv1 \(Conv\): It is bad", "quantize.exclude"),
        ("start", TargetError, "newer than the NVIDIA driver", "update the driver"),
    ],
)
def test_what_fails_while_building_is_reported_with_what_to_do(
    standin: Any, network: Path, fails: str, kind: type[EdgeresnetError], words: str, hint: str
) -> None:
    target = standin(fails=fails)
    with pytest.raises(kind, match=words) as caught:
        compiled(target, network)
    assert hint in caught.value.hint
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("fails", "kind", "words"),
    [
        ("load", TargetError, r"^model\.engine failed to load: Error Code 6: The engine plan file is not compatible"),
        ("gpu-memory", MachineError, "the GPU's memory ran out"),
        ("lost", MachineError, r"the GPU failed: cuMemcpyHtoDAsync_v2 returned CUDA_ERROR_LAUNCH_FAILED"),
    ],
)
def test_what_fails_on_the_gpu_is_reported(
    standin: Any, network: Path, fails: str, kind: type[EdgeresnetError], words: str
) -> None:
    out = compiled(standin(), network)
    target = standin(fails=fails)
    with pytest.raises(kind, match=words), target.load(out) as session:
        session.infer(images(1))


def test_an_error_that_the_builder_got_over_is_a_warning(standin: Any, network: Path) -> None:
    target = standin(fails="tactic")
    out = network.parent / "out"
    out.mkdir()
    _, warnings = target.compile(network, target.options(), out)
    assert warnings == ("a kernel did not fit while it was tried",)
    assert (out / "model.engine").is_file()


def test_times_of_kernels_are_stored_for_the_next_build(standin: Any, network: Path, tmp_path: Path) -> None:
    target, cache = standin(), tmp_path / "cache"
    for _ in range(2):
        (tmp_path / "out").mkdir(exist_ok=True)
        assert target.compile(network, target.options(), tmp_path / "out", cache).warnings == ()
    (file,) = cache.iterdir()
    assert file.name == "tensorrt-10.3.0-8.7.timing"
    file.write_bytes(b"another's")
    target.compile(network, target.options(), tmp_path / "out", cache)
    assert file.read_bytes() == b"timed by the stand-in", "started again"


def test_layers_say_what_is_not_int8(standin: Any, tmp_path: Path) -> None:
    onnx.save(half(clean().model()), tmp_path / "network.onnx")
    for version in ("10.3.0", "11.4.0"):
        target = standin(version=version)
        with target.load(compiled(target, tmp_path / "network.onnx")) as session:
            found = {layer.operator: layer.precision for layer in session.layers()}
        assert found["QuantizeLinear"] == "f16"
        assert found["DequantizeLinear"] == "i8"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"Name": "a", "LayerType": "CaskConvolution", "Inputs": [{"Name": "x", "Format/Datatype": '
         '"Thirty-two wide channel vectorized row major Int8 format"}]}', ("a", "CaskConvolution", "i8")),
        ('{"Name": "a", "LayerType": "kgen", "Inputs": [{"Format/Datatype": "Half"}]}', ("a", "kgen", "f16")),
        ('{"Name": "a", "LayerType": "kgen", "Inputs": [{"DataType": "BFloat16", "Format": "kLINEAR"}]}',
         ("a", "kgen", "bf16")),
        ('{"Name": "a", "LayerType": "c", "Inputs": [], "Outputs": [{"Format/Datatype": "Row major linear FP32"}]}',
         ("a", "c", "f32")),
        ('"conv1"', ("conv1", "?", "?")),
        ('{"Name": "a", "LayerType": "gemm", "Inputs": [{"Format/Datatype": "Int8"}], "Metadata": "{"kernel": 1}"}',
         ("a", "gemm", "i8")),
    ],
    ids=["10, with a context", "10", "11", "no inputs", "names alone", "quotes in quotes"],
)  # fmt: skip
def test_an_inspectors_output_is_read(text: str, expected: tuple[str, str, str]) -> None:
    assert tuple(_nvsession.layer_of(text)) == expected


def test_it_is_timed_in_processes_of_its_own(standin: Any, network: Path) -> None:
    target = standin()
    job = Job(target, compiled(target, network), images(1))
    (found,) = list(measure.rounds({"int8": job}, processes=1, seconds=2, window_s=0.05))
    assert all(found["int8"].windows(kind) for kind in ("host", "device"))


def test_a_machine_without_a_gpu_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_nvsession._cuda, "LIBRARY", "libnothere.so.1")
    with pytest.raises(TargetError, match="the engine needs a GPU: there is no NVIDIA driver"):
        _nvsession._cuda.Gpu()
