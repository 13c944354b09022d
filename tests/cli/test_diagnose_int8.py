"""`edgeresnet diagnose` of INT8 networks: files of any quantizer, runs, recipes; text, JSON, page; what is refused."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from PIL import Image

import edgeresnet
from edgeresnet import cli, errors, images, pipeline, recipe, targets
from edgeresnet.cli import _noise
from edgeresnet.graph import about as description
from edgeresnet.noise.diagnosis import NoiseDiagnosis
from edgeresnet.pipeline import diagnosing
from edgeresnet.portable import codec
from edgeresnet.portable.session import Availability
from edgeresnet.report import noise_text
from edgeresnet.runs import Run
from edgeresnet.store import Store

from ..conftest import folder_of, tiny, traced, write_recipe
from ..test_api import EXAMPLES
from .conftest import Command, err_of, expect, out_of, refused

PLANTED = "layer2.0.conv2"
FILES = ("int8.onnx", "--reference", "fp32.onnx", "--evaluation", "digits", "--count", 24)


def int8_recipe() -> dict[str, Any]:
    calibration = {"from": "training", "count": 60}
    both: dict[str, Any] = {"onnxruntime": {}, "openvino": {}}
    return tiny(quantize={}, images__calibration=calibration, targets=both, verify={"processes": 1, "seconds": 0.1})


def widen(model: onnx.ModelProto, tensor: str, times: float) -> onnx.ModelProto:
    """Make the range of an activation wider than its values, as an outlier in calibration does."""
    found = {each.name: each for each in model.graph.initializer}
    first = next(node for node in model.graph.node if node.op_type == "QuantizeLinear" and node.input[0] == tensor)
    wide = numpy_helper.to_array(found[first.input[1]]) * np.float32(times)
    model.graph.initializer.append(numpy_helper.from_array(wide, "wide"))
    for node in model.graph.node:
        if node is first or (node.op_type == "DequantizeLinear" and node.input[0] == first.output[0]):
            node.input[1] = "wide"
    return model


@pytest.fixture(scope="session")
def made(once: Callable[[str, Callable[[Path], None]], Path], trained: tuple[Store, Run]) -> Path:
    """A folder with a run of INT8 for two targets, its FP32 file, and its INT8 file with a fault planted."""

    def make(folder: Path) -> None:
        shutil.copytree(trained[0].root, folder / "store")
        store = Store(folder / "store")
        part = pipeline.make(recipe.parse(int8_recipe()), store, "quantize", pipeline.Listener())
        steps = tuple(part.steps.values())
        run = replace(trained[1], id=f"3{trained[1].id[1:]}", recipe=part.recipe, steps=steps)  # the newest
        store.save_run(run)
        shutil.copy(traced(run), folder / "fp32.onnx")
        model = onnx.load(folder_of(run, "quantize:openvino") / "model.onnx")
        onnx.save(model, folder / "good.onnx")
        conv = next(node for node in model.graph.node if node.op_type == "Conv" and PLANTED in str(node.input[1]))
        given = next(node for node in model.graph.node if conv.input[0] in node.output)
        maker = next(node for node in model.graph.node if given.input[0] in node.output)
        onnx.save(widen(model, maker.input[0], 40.0), folder / "int8.onnx")

    return once("int8-run", make)


@pytest.fixture
def diagnose(command: Command, made: Path, tmp_path: Path) -> Command:
    """Call `diagnose` in a folder with these files; the run's store is named `store`."""
    for name in ("fp32.onnx", "int8.onnx", "good.onnx"):
        (tmp_path / name).symlink_to(made / name)
    return lambda *words: command("diagnose", *words)


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "store", tmp_path / "store"))


def patterns(raw: dict[str, Any]) -> tuple[str, ...]:
    """Return the expressions of a recipe's `quantize.exclude`."""
    quantize = recipe.parse(raw).quantize
    assert quantize is not None
    return quantize.patterns


def typed(out: str, sentence: str) -> list[str]:
    """Return the words of the command that stands below a sentence."""
    return shlex.split(out.split(sentence)[1].split("\nOr let ")[0].replace("\\\n", ""))


def test_a_file_of_any_quantizer(diagnose: Command, command: Command) -> None:
    """The planted fault stands first, and the command that is printed leaves this layer in float."""
    out, err = expect(0, diagnose(*FILES))
    lines = out.splitlines()
    assert lines[0].startswith("int8.onnx: SQNR ")
    assert lines[0].endswith(" % agree on 24 images")
    assert lines[3].split()[0] == PLANTED
    assert lines[3].split()[3:] == ["measured", "█" * 18]
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 80
    assert "taken from fp32.onnx itself: size 8, mean [0.305], std [0.376]" in err
    assert not list(Path("artifacts/runs").glob("*")), "it stores no run, and judges nothing"
    words = typed(out, "Quantize FP32 again with the worst layer in float:\n")
    given = ["edgeresnet", "quantize", "fp32.onnx", "--calibration", "DIR", "--exclude"]
    assert words == [*given, r"^layer2\.0\.conv2$", "--output", "int8"]
    assert out.endswith("\nOr let `--exclude auto --max-drop-pp 1` search the layers to leave.\n")
    words[words.index("DIR")] = "digits"
    assert f"stays float: {PLANTED}: excluded by " in out_of(0, command(*words[1:], "--count", 40))


def test_as_json_quietly_with_calibration_images_and_a_page(diagnose: Command) -> None:
    words = ("--calibration", "digits", "--output", "noise.html", "--json", "-q", "--seed", 3)
    code, out, err = diagnose(*FILES, *words)
    assert (code, err) == (0, "wrote noise.html\n")
    found = codec.decode(NoiseDiagnosis, json.loads(out))
    assert (found.network, found.reference, found.images) == ("int8.onnx", "fp32.onnx", 24)
    assert found.worst()[0].name == PLANTED
    page = Path("noise.html").read_text(encoding="utf-8")
    assert "The worst first" in page
    assert "In the network" in page


def test_from_python_it_is_the_same(
    diagnose: Command, made: Path, own: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the newest run, of a run, of a recipe, and of a file with its recipe."""
    out = out_of(0, diagnose("--int8", "--json", "--count", 16, "--store", own))
    expected = replace(codec.decode(NoiseDiagnosis, json.loads(out)), seconds=0.0)
    monkeypatch.setenv("EDGERESNET_STORE", str(own))
    run = edgeresnet.load_run()
    for subject in (None, run, int8_recipe()):
        assert replace(edgeresnet.diagnose_int8(subject, count=16), seconds=0.0) == expected
    with pytest.raises(dataclasses.FrozenInstanceError):
        expected.layers[0].name = "other"  # type: ignore[misc]
    planted = edgeresnet.diagnose_int8(int8_recipe(), int8=made / "int8.onnx", count=16)
    assert (planted.network, planted.worst()[0].name) == ("int8.onnx", PLANTED)
    with pytest.raises(errors.EdgeresnetError, match="has no INT8 for tensorrt") as caught:
        edgeresnet.diagnose_int8(run, target="tensorrt")
    assert caught.value.hint == "its INT8 is for onnxruntime, openvino"
    with pytest.raises(errors.EdgeresnetError, match="is more than 512"):
        edgeresnet.diagnose_int8(run, count=513)
    exec(compile(EXAMPLES[1], "python.md", "exec"), {})
    assert re.match(r"\S+ \d+\.\d\d dB (measured|estimated)\n", capsys.readouterr().out)


def test_images_need_no_labels_and_may_be_alike(diagnose: Command, tmp_path: Path) -> None:
    (tmp_path / "evaluation").mkdir()  # a word of a recipe, too
    pixels = np.random.default_rng(0).integers(0, 255, (8, 8)).astype(np.uint8)
    for number in range(3):
        Image.fromarray(pixels).save(tmp_path / "evaluation" / f"{number}.png")
    words = ("good.onnx", "--reference", "fp32.onnx", "--evaluation", "evaluation")
    out, _ = expect(0, diagnose(*words))
    assert out.startswith("good.onnx: SQNR ")
    assert "100.0 % agree on 3 images\n" in out
    error = refused(diagnose(*words, "--count", 4, "-q"))
    assert "--count 4 is more than the 3 images (give more, or lower it)" in error


class Digits(CalibrationDataReader):
    """Give onnxruntime's quantizer a few images."""

    def __init__(self) -> None:
        wanted = recipe.parse(tiny(images__evaluation={"from": "digits", "count": 60}))
        samples = images.open_samples(wanted, "evaluation")
        self._left = iter([samples.preprocessing.normalize(batch.pixels) for batch in samples.batches(30)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._left, None)
        return None if batch is None else {"image": batch}


def test_a_file_of_onnxruntimes_own_quantizer(diagnose: Command) -> None:
    """Its output is rounded too: that is worst, and the layer before it is what can be left in float."""
    quantize_static("fp32.onnx", "ort.onnx", Digits(), quant_format=QuantFormat.QDQ, per_channel=True)
    out = out_of(0, diagnose("ort.onnx", *FILES[1:], "-q"))
    assert float(out.split("SQNR ")[1].split()[0]) > 20
    assert "not match" not in out
    worst = out.splitlines()[3].split("  ")[0].rpartition(" after ")[2]
    assert f"--exclude '^{re.escape(worst)}$'" in out


def test_without_a_file_the_int8_of_the_newest_run(diagnose: Command, own: Path) -> None:
    """It is the target with the most noise; the command that is printed is one that a recipe accepts."""
    out, err = expect(0, diagnose("--int8", "--store", own, "--count", 16))
    target, other = ("onnxruntime", "openvino") if "for onnxruntime" in out else ("openvino", "onnxruntime")
    assert out.startswith(f"cifar_resnet8 for {target}: SQNR ")
    assert f"{target} has the most noise; `--target` chooses {other}\n" in err
    assert out_of(0, diagnose("--int8", "--store", own, "--count", 16, "--target", other, "-q")).startswith(
        f"cifar_resnet8 for {other}: SQNR "
    )
    words = typed(out, "Repeat the run with the worst layer in float:\n")
    assert words[:3] == ["edgeresnet", "verify", "--set"]
    assert out.endswith("\nOr let `--set quantize.exclude=auto` search the layers to leave.\n")
    raw = int8_recipe()
    recipe.change(raw, (words[3],))
    (pattern,) = patterns(raw)
    assert pattern.startswith("^")
    assert pattern.endswith("$")


def test_of_an_older_run_it_prints_a_line_of_the_recipe(diagnose: Command, own: Path) -> None:
    run = Store(own).load_run()
    newer = own / "runs" / f"4{run.id[1:]}.json"
    shutil.copy(own / "runs" / f"{run.id}.json", newer)
    out = out_of(0, diagnose(run.id, "--int8", "--store", own, "--count", 8, "-q"))
    assert "Leave the worst layer in float, in the recipe: `quantize: {exclude: [^" in " ".join(out.split())


def test_a_recipe_is_made_as_far_as_its_int8(diagnose: Command, own: Path, tmp_path: Path) -> None:
    path = write_recipe(tmp_path, int8_recipe())
    shutil.rmtree(own / "quantize")
    words = (
        path.name,
        "--int8",
        "--store",
        own,
        "--count",
        8,
        "--target",
        "openvino",
        "--set",
        "quantize.exclude=[fc]",
    )
    out, err = expect(0, diagnose(*words))
    assert "quantize:openvino" in err
    assert "quantize:onnxruntime" not in err
    command = typed(out, "Run it with the worst layer in float:\n")
    assert command[:4] == ["edgeresnet", "run", "recipe.yaml", "--set"]
    assert command[-1].startswith("quantize.exclude=[fc, ^")


def test_a_layer_that_was_left_in_float_on_purpose_is_no_cause(
    diagnose: Command, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, found = diagnosing.diagnose, list[str]()

    def seen(*given: Any, **more: Any) -> Any:
        diagnosis = real(*given, **more)
        found.extend(each.layer for each in diagnosis.causes if each.code == "float-layer")
        return diagnosis

    monkeypatch.setattr(diagnosing, "diagnose", seen)
    path = write_recipe(tmp_path, int8_recipe())
    more = ("--target", "openvino", "--set", "quantize.exclude=[layer2.0.conv1]", "--json", "-q")
    out, _ = expect(0, diagnose(path.name, "--int8", "--store", own, "--count", 8, *more))
    assert found == ["layer2.0.conv1"], "or this test shows nothing"
    assert not [each for each in json.loads(out)["causes"] if each["code"] == "float-layer"]


def test_a_recipe_of_another_tools_file(diagnose: Command, tmp_path: Path) -> None:
    raw = int8_recipe() | {"model": {"checkpoint": "fp32.onnx", "candidate": "int8.onnx"}}
    for key in ("quantize", "train", "promises"):
        del raw[key]
    del raw["images"]["training"], raw["images"]["calibration"]
    out = out_of(0, diagnose(write_recipe(tmp_path, raw).name, "--int8", "--count", 8, "-q"))
    assert out.startswith("int8.onnx: SQNR ")
    assert r"Quantize its FP32 network with `--exclude '^layer2\.0\.conv2$'`" in " ".join(out.split())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], [r"^a\.b$"]),
        (["fc", "x[12]"], ["fc", "x[12]", r"^a\.b$"]),
        ("auto", ["^found$", r"^a\.b$"]),
    ],
)
def test_expressions_are_added_to_those_of_the_recipe(given: object, expected: list[str]) -> None:
    """And to the layers that a search left in float: without these it would be another network."""
    wanted = recipe.parse(int8_recipe() | {"quantize": {"exclude": given}})
    raw = int8_recipe()
    recipe.change(raw, (f"quantize.exclude={_noise._expressions(wanted, expected[-1], ['^found$'])}",))
    assert patterns(raw) == tuple(expected)
    one = onnx.ModelProto()
    one.graph.output.add()
    about = diagnosing.Networks(one, one, "", "")
    assert bool(_noise._searched_by(wanted, about)) is (given != "auto")
    description.write(one, description.About(answers=description.CELLS))
    assert not _noise._searched_by(wanted, about), "it is refused for the first of two stages"


def test_a_lost_artifact_is_named(diagnose: Command, own: Path) -> None:
    shutil.rmtree(own / "trace")
    error = refused(diagnose("--int8", "--store", own, "-q"))
    assert "the trace artifact of run " in error
    assert "is missing or damaged" in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fp32.onnx", *FILES[1:2], "int8.onnx", *FILES[3:]], "fp32.onnx and int8.onnx are exchanged (name the INT8"),
        (["fp32.onnx", *FILES[1:]], "fp32.onnx is not quantized: it has no QuantizeLinear (name the INT8 file first"),
        (["good.onnx", *FILES[1:2], "int8.onnx", *FILES[3:]], "the reference int8.onnx is quantized too"),
        (["none.onnx", *FILES[1:]], "none.onnx does not exist"),
        (["int8.onnx", "--int8"], "int8.onnx needs --reference too (name the FP32 network that it was made of"),
        (["int8.onnx", *FILES[3:]], "int8.onnx is INT8, and needs --reference"),
        (["int8.onnx", *FILES[1:3]], "int8.onnx needs --evaluation too (name a folder of images: they need no labels)"),
        (FILES[1:], "--reference needs the INT8 file too"),
        ([*FILES, "--size", 16, "--mean", 0.3, "--std", 0.3], "takes 1×8×8 images, but preprocessing makes 1×16×16"),
        ([*FILES[:4], "nowhere"], "nowhere does not exist"),
        ([*FILES, "--only", "RGB"], "--only concerns preprocessing alone"),
        ([*FILES, "--masks", "m"], "--masks has no effect here: INT8 is diagnosed without labels"),
        ([*FILES, "--output", "noise.txt"], "noise.txt is not an .html file"),
        ([*FILES, "--output", "no/noise.html"], "the folder no does not exist"),
        ([*FILES[:-1], 513], "--count 513 is more than 512"),
        (["--target", "openvino"], "--target concerns INT8 alone (add --int8, or --reference for a file)"),
        (["--int8"], "holds no run yet"),
        (["--int8", "--size", 8], "--size has no effect here: a run or a recipe names its network and its images"),
        (["--int8", "--set", "train.epochs=3"], "--set train.epochs=3 has no effect here"),
        (["nothing.yaml", "--int8"], "nothing.yaml does not exist"),
    ],
)
def test_a_mistake_is_one_line(diagnose: Command, arguments: list[object], words: str) -> None:
    assert words in refused(diagnose(*arguments, "-q"))
    assert not list(Path().glob("artifacts/trace/*"))


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--target", "tensorrt"], "has no INT8 for tensorrt (its INT8 is for onnxruntime, openvino)"),
        (["2025"], "'2025' does not match any run"),
    ],
)
def test_a_run_or_a_target_that_is_not_there(diagnose: Command, made: Path, words: list[str], problem: str) -> None:
    assert problem in refused(diagnose(*words, "--int8", "--store", made / "store", "-q"))


def test_a_compiler_that_is_not_there(diagnose: Command, add_target: Callable[[Any], None]) -> None:
    """As a target that was not measured: the exit code is 4."""
    add_target(Absent())
    error = refused(diagnose(*FILES, "--target", "tensorrt", "-q"), 4)
    assert "TensorRT is not available: it is absent (install it)" in error


class Absent(type(targets.get("tensorrt"))):  # type: ignore[misc]
    """TensorRT on a machine without it."""

    def available(self, options: Any = None) -> Availability:
        return Availability(ok=False, reason="it is absent", hint="install it")


def test_the_compilers_answers_are_compared(diagnose: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a file, where a target is named."""
    seen: list[object] = []

    def see(*_: object, compiler: object, **__: object) -> NoiseDiagnosis:
        seen.append(compiler)
        return NOTHING

    monkeypatch.setattr(diagnosing, "diagnose", see)
    for words in (FILES, (*FILES, "--target", "openvino")):
        expect(0, diagnose(*words, "-q"))
    assert [each is None for each in seen] == [True, False]


NOTHING = NoiseDiagnosis("a", "b", 1, None, 0, 1.0, 1.0, (), (), (), 0.0)


def test_a_run_without_int8(diagnose: Command, trained: tuple[Store, Run]) -> None:
    assert "has no INT8 network (its targets are onnxruntime)" in refused(
        diagnose("--int8", "--store", trained[0].root, "-q")
    )


def fully_connected(path: str, name: str, *, operator: str = "", quantized: bool = False) -> None:
    """Write a network of one layer, in FP32 or in INT8; with another operator before it."""
    weights = np.random.default_rng(0).standard_normal((10, 64)).astype(np.float32)
    scale = np.float32(np.abs(weights).max() / 127)
    held = {f"{name}.weight": weights, "scale": np.float32(0.03), "zero": np.int8(0), "ws": scale}
    nodes = [helper.make_node("Flatten", ["x"], ["flat"])]
    if operator:
        nodes.insert(0, helper.make_node(operator, ["x"], ["before"]))
        nodes[1].input[0] = "before"
    read, weight = "flat", f"{name}.weight"
    if quantized:
        held["wq"] = np.rint(weights / scale).astype(np.int8)
        nodes += [
            helper.make_node("QuantizeLinear", ["flat", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
            helper.make_node("DequantizeLinear", ["wq", "ws", "zero"], ["wd"]),
        ]
        read, weight = "d", "wd"
    nodes.append(helper.make_node("Gemm", [read, weight], ["y"], transB=1))
    used = {each for node in nodes for each in node.input}
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])
    logits = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])
    tensors = [numpy_helper.from_array(np.asarray(value), key) for key, value in held.items() if key in used]
    graph = helper.make_graph(nodes, "net", [image], [logits], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


PREPARED = ("--evaluation", "digits", "--count", 8, "--size", 8, "--mean", 0.3, "--std", 0.4, "-q")


@pytest.mark.parametrize("name", ["fc", "a/" * 5000])
def test_one_layer_of_any_name(command: Command, name: str) -> None:
    fully_connected("a.onnx", name)
    fully_connected("b.onnx", name, quantized=True)
    out = out_of(0, command("diagnose", "b.onnx", "--reference", "a.onnx", *PREPARED))
    lines = out.splitlines()
    assert lines[3].split()[0].startswith(name[:10])
    assert max(map(len, lines)) <= 80
    words = typed(out, "in float:\n")
    pattern = words[words.index("--exclude") + 1]
    assert len(pattern) < 100
    assert pattern.startswith("^")


def test_a_network_that_cannot_be_computed(command: Command) -> None:
    fully_connected("a.onnx", "fc", operator="Sinh")
    fully_connected("b.onnx", "fc", operator="Sinh", quantized=True)
    error = refused(command("diagnose", "b.onnx", "--reference", "a.onnx", *PREPARED))
    assert "a.onnx uses Sinh, which a diagnosis by layers cannot compute" in error


def test_qoperator_form(command: Command) -> None:
    fully_connected("a.onnx", "fc")
    model = onnx.load("a.onnx")
    model.graph.node[-1].op_type = "QGemm"
    onnx.save(model, "b.onnx")
    error = refused(command("diagnose", "b.onnx", "--reference", "a.onnx", *PREPARED))
    assert "b.onnx computes with QGemm: only INT8 in Q/DQ form can be diagnosed (quantize it again in" in error


def test_another_networks_reference(diagnose: Command, tmp_path: Path) -> None:
    """Of the same architecture with other weights, and of another architecture."""
    model = onnx.load("fp32.onnx")
    rng = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        if tensor.name.endswith("weight"):
            other = rng.standard_normal(tuple(tensor.dims)).astype(np.float32) * 0.1
            tensor.CopyFrom(numpy_helper.from_array(other, tensor.name))
    onnx.save(model, tmp_path / "other.onnx")
    error = refused(diagnose("good.onnx", "--reference", "other.onnx", *PREPARED))
    assert "good.onnx was not quantized from other.onnx: " in error
    fully_connected("one.onnx", "fc")
    assert "name the FP32 network" in refused(diagnose("good.onnx", "--reference", "one.onnx", *PREPARED))


def test_an_interruption(diagnose: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(diagnosing, "diagnose", interrupt)
    monkeypatch.setattr(cli, "_leave", sys.exit)
    code, out, err = diagnose(*FILES, "-q", "--output", "noise.html")
    assert (code, out, err.strip()) == (130, "", "error: interrupted (run it again: finished stages are stored)")
    assert not Path("noise.html").exists()


def test_where_fp32_is_fine_the_search_points_to_int8(
    diagnose: Command, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise_text, "loss", lambda run: "INT8 loses 4.00 points.")
    assert out_of(0, diagnose("--store", own, "--count", 16, "-q")).endswith("\n\nINT8 loses 4.00 points.\n")
    wrong = ("--set", "preprocessing.mean=[-3.0]", "--set", "preprocessing.std=[0.05]")
    assert "INT8 loses" not in out_of(0, diagnose("--store", own, "--count", 64, "-q", *wrong))
    assert "INT8" not in err_of(0, diagnose("--store", own, "--count", 16, "--json", "-q"))
