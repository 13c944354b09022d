"""What a bundle carries for model servers: Triton's own schema parses it, and it says what the network's file says."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edgeresnet import targets
from edgeresnet.portable import codec, manifest
from edgeresnet.portable.measure import TimingPlan
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.stages.export import contents, serving
from edgeresnet.stages.export.contents import BundleAbout, BundleVariant

from ..graph.classifier import classifier

FILES = {"tensorrt": "model.engine", "onnxruntime": "model.onnx", "openvino": "model.xml"}
LABELS = ("cat", "dog", "newt", "owl")


def about(target: str, *, half: bool = False, **changes: Any) -> BundleAbout:
    options = codec.encode(targets.get(target).options(**changes))
    preprocessing = Preprocessing(8, (0.5,) * 3, (0.25,) * 3, resize=8)
    return BundleAbout(
        made_by="1", target=target, network="My net (v2).onnx", ships="int8", classes=LABELS, skipped=(), images=None,
        preprocessing=preprocessing.to_json(), input="float32",
        variants={"int8": BundleVariant("int8.onnx", options, half=half)}, timing=TimingPlan(1, 1.0), rebuilds=1,
    )  # fmt: skip


def bundle(folder: Path, what: BundleAbout, model: onnx.ModelProto | None = None) -> str:
    """Write the parts of a bundle that serving needs; return the README's section."""
    (folder / "networks").mkdir()
    onnx.save(model or classifier(), folder / "networks" / "int8.onnx")
    section = serving.write(folder, what, folder / "networks" / "int8.onnx", len(LABELS))
    contents.write_about(folder, what)
    manifest.write(folder, format=contents.FORMAT)
    return section


def parsed(config: Path) -> Any:
    """Read a config.pbtxt by Triton's own schema: an unknown field or a wrong type is an error."""
    from google.protobuf import text_format

    schema = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="tritonclient is not installed")
    return text_format.Parse(config.read_text(encoding="utf-8"), schema.ModelConfig())


def configured(folder: Path, what: BundleAbout, model: onnx.ModelProto | None = None) -> Any:
    bundle(folder, what, model)
    return parsed(folder / "serve" / "triton" / "My_net_v2" / "config.pbtxt")


def run_commands(section: str, folder: Path) -> None:
    """Run the commands of the README that lay out folders, all but docker's, twice: a second time changes nothing."""
    for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL):
        lines = block.split("docker run")[0]
        assert lines.count("\n") == 3
        for _ in range(2):
            subprocess.run(["sh", "-euc", lines], cwd=folder, check=True)


@pytest.mark.unit
@pytest.mark.parametrize("target", list(FILES))
def test_triton_reads_names_types_and_sides(tmp_path: Path, target: str) -> None:
    config = configured(tmp_path, about(target), classifier(image=(2, 3, 8, 8), logits=(2, 4)))
    kind = type(config).DESCRIPTOR.file.enum_types_by_name["DataType"].values_by_name["TYPE_FP32"].number
    (image,), (logits,) = config.input, config.output
    assert (config.name, config.backend, config.default_model_filename) == ("My_net_v2", target, FILES[target])
    assert config.platform == {"tensorrt": "tensorrt_plan", "onnxruntime": "onnxruntime_onnx", "openvino": ""}[target]
    assert (image.name, image.data_type, list(image.dims)) == ("x", kind, [2, 3, 8, 8])
    assert (logits.name, logits.data_type, list(logits.dims)) == ("y", kind, [2, 4])
    assert config.max_batch_size == 0, "the file fixes the batch: the sides above are all of them"
    assert not config.HasField("dynamic_batching")
    (group,) = config.instance_group
    assert group.Kind.Name(group.kind) == ("KIND_GPU" if target == "tensorrt" else "KIND_CPU")
    labels = tmp_path / "serve" / "triton" / "My_net_v2" / logits.label_filename
    assert labels.read_text().split() == list(LABELS)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("target", "options", "expected"),
    [
        ("onnxruntime", {}, (32, True, [])),
        ("openvino", {}, (1, False, [])),
        ("tensorrt", {"batch": (1, 8, 64)}, (64, True, [8])),
        ("tensorrt", {"batch": (4, 8, 64)}, (64, True, [8])),
    ],
)
def test_a_batch_that_may_vary(tmp_path: Path, target: str, options: dict[str, Any], expected: Any) -> None:
    config = configured(tmp_path, about(target, **options))
    batching = list(config.dynamic_batching.preferred_batch_size)
    assert (config.max_batch_size, config.HasField("dynamic_batching"), batching) == expected
    assert list(config.input[0].dims) == [3, 8, 8], "Triton puts the batch in front"
    assert list(config.output[0].dims) == [4]


@pytest.mark.unit
@pytest.mark.parametrize("sides", [(4, 8, 8), (4, None, None), (120, 8)], ids=["map", "open map", "anchors"])
def test_an_answer_with_several_logits_of_a_class_keeps_its_sides(
    tmp_path: Path, sides: tuple[int | None, ...]
) -> None:
    model = classifier()
    side = model.graph.output[0].type.tensor_type.shape.dim
    del side[1:]
    for each in sides:
        side.add(dim_value=each) if each else side.add(dim_param="s")
    (answer,) = configured(tmp_path, about("onnxruntime"), model).output
    assert list(answer.dims) == [each or -1 for each in sides]
    assert not answer.label_filename, "a server would name the classes of the first numbers alone"


@pytest.mark.unit
@pytest.mark.parametrize("batch", [None, 8])
def test_an_engine_of_one_batch_takes_that_alone(tmp_path: Path, batch: int | None) -> None:
    config = configured(tmp_path, about("tensorrt", batch=batch))
    assert config.max_batch_size == 0
    assert list(config.input[0].dims) == [batch or 1, 3, 8, 8]
    assert list(config.output[0].dims) == [batch or 1, 4]
    assert not config.HasField("dynamic_batching")


@pytest.mark.unit
def test_pixels_go_in_as_uint8_with_channels_last_and_an_odd_name_survives(tmp_path: Path) -> None:
    model = classifier(image=("n", 8, 8, 3), kinds=(TensorProto.UINT8, TensorProto.FLOAT16))
    odd = 'im"a\\ge\n✓'
    model.graph.input[0].name = odd
    config = configured(tmp_path, about("onnxruntime"), model)
    types = type(config).DESCRIPTOR.file.enum_types_by_name["DataType"].values_by_number
    assert (config.input[0].name, list(config.input[0].dims)) == (odd, [8, 8, 3])
    assert [types[each.data_type].name for each in (*config.input, *config.output)] == ["TYPE_UINT8", "TYPE_FP16"]


@pytest.mark.unit
@pytest.mark.parametrize(
    ("target", "options", "triton", "ovms"),
    [
        ("onnxruntime", {"threads": 3}, {"intra_op_thread_count": "3"}, None),
        ("onnxruntime", {"fused": False}, {}, None),
        ("openvino", {}, {"NUM_STREAMS": "1"}, {"NUM_STREAMS": "1", "INFERENCE_PRECISION_HINT": "f32"}),
        ("openvino", {"float_parts": "auto"}, {"NUM_STREAMS": "1"}, {"NUM_STREAMS": "1"}),
        (
            "openvino",
            {"half": True, "threads": 2},
            {"NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": "2", "HINT_BF16": "YES"},
            {"NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": "2", "INFERENCE_PRECISION_HINT": "bf16"},
        ),
    ],
)
def test_a_server_computes_as_it_was_measured(
    tmp_path: Path, target: str, options: dict[str, Any], triton: dict[str, str], ovms: dict[str, str] | None
) -> None:
    config = configured(tmp_path, about(target, **options))
    assert {key: value.string_value for key, value in config.parameters.items()} == triton
    assert config.optimization.graph.level == (2 if options.get("fused") is False else 0), "2: nothing is fused"
    path = tmp_path / "serve" / "ovms" / "config.json"
    if ovms is None:
        assert not path.exists()
        return
    (model,) = json.loads(path.read_text())["model_config_list"]
    assert model["config"] == {"name": "My_net_v2", "base_path": "/models/My_net_v2", "plugin_config": ovms}


@pytest.mark.unit
@pytest.mark.parametrize(
    ("name", "word"), [("net.onnx", "net"), ("../a b;c", "a_b_c"), ("模型", "network"), ("", "network")]
)
def test_a_servers_name_is_safe_in_paths_and_shells(name: str, word: str) -> None:
    assert serving.model_name(name) == word


@pytest.mark.unit
@pytest.mark.parametrize("target", list(FILES))
def test_the_readmes_commands_lay_out_what_servers_read(tmp_path: Path, target: str) -> None:
    section = bundle(tmp_path, about(target))
    built = tmp_path / "built" / "int8"
    built.mkdir(parents=True)
    files = [FILES[target], *(["model.bin"] if target == "openvino" else [])]
    for name in (*files, "target.json"):
        (built / name).write_text(name)
    run_commands(section, tmp_path)
    for server in ("triton", "ovms") if target == "openvino" else ("triton",):
        laid = tmp_path / "built" / server
        version = laid / "My_net_v2" / "1"
        assert sorted(path.name for path in version.iterdir()) == sorted(files), "a version holds the network alone"
        assert f'-v "$PWD/built/{server}:/models' in section
    config = parsed(tmp_path / "built" / "triton" / "My_net_v2" / "config.pbtxt")
    assert (tmp_path / "built" / "triton" / "My_net_v2" / "1" / config.default_model_filename).is_file()
    assert contents.Bundle.open(tmp_path).about.target == target, "the bundle stays complete: deploy.py still runs"
    assert "no server has run them" in " ".join(section.split())


@pytest.mark.unit
def test_a_target_that_no_server_runs_has_no_files_for_one(tmp_path: Path) -> None:
    assert bundle(tmp_path, about("tensorrt_rtx")) == ""
    assert not (tmp_path / "serve").exists()


@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
def test_what_is_laid_out_is_what_the_runtime_loads(tmp_path: Path, target: str) -> None:
    """Load the folder as the servers do, with the settings that they are given, and compare names and answers."""
    what, runtime = about(target), targets.get(target)
    section = bundle(tmp_path, what)
    built = tmp_path / "built" / "int8"
    built.mkdir(parents=True)
    runtime.compile(tmp_path / "networks" / "int8.onnx", runtime.options(), built)
    run_commands(section, tmp_path)
    config = parsed(tmp_path / "built" / "triton" / "My_net_v2" / "config.pbtxt")
    image = np.random.default_rng(0).normal(size=(1, *config.input[0].dims)).astype(np.float32)
    with runtime.load(built) as session:
        seen, expected = session.signature, session.infer(image)
    assert (config.input[0].name, config.output[0].name) == (seen.input, seen.output)
    assert list(config.input[0].dims) == list(seen.shape(1)[1:])
    assert list(config.output[0].dims) == [seen.classes]
    served = _served(tmp_path / "built", target, config, image)
    np.testing.assert_allclose(served, expected, rtol=1e-5, atol=1e-6)


def _served(built: Path, target: str, config: Any, image: np.ndarray) -> np.ndarray:
    """Return what a server's runtime answers, from its own folder."""
    if target == "onnxruntime":
        import onnxruntime

        file = built / "triton" / config.name / "1" / config.default_model_filename
        found = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        return np.asarray(found.run([config.output[0].name], {config.input[0].name: image})[0])
    import openvino

    (model,) = json.loads((built / "ovms" / "config.json").read_text())["model_config_list"]
    about = model["config"]
    core = openvino.Core()
    network = core.read_model(built / "ovms" / about["base_path"].removeprefix("/models/") / "1" / "model.xml")
    compiled = core.compile_model(network, "CPU", about["plugin_config"])
    assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"
    return np.asarray(compiled({config.input[0].name: image})[config.output[0].name])
