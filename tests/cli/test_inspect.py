"""`edgeresnet inspect`: what a file is, what each target has against it, and how it leaves."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

from edgeresnet import inspect, targets
from edgeresnet.errors import TargetError
from edgeresnet.portable import machine
from edgeresnet.targets import tensorrt_rtx
from edgeresnet.targets._nvinfer import Complaint, Reading

from ..graph.classifier import classifier
from ..graph.quantized import ERRORS, clean
from .conftest import Command, err_of, expect, out_of, refused


@pytest.fixture
def no_rtx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "versions", lambda *names: {})


@pytest.fixture
def parser_answers(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replace what TensorRT-RTX's parser makes of a file."""

    def answers(reading: Any) -> None:
        def read(path: Path) -> Reading:
            if isinstance(reading, Exception):
                raise reading
            return reading

        monkeypatch.setattr(machine, "versions", lambda *names: {"tensorrt-rtx": "9.9"})
        monkeypatch.setattr(tensorrt_rtx, "read", read)

    return answers


def net(model: onnx.ModelProto) -> str:
    """Save a model in the current folder; return its name."""
    onnx.save(model, "net.onnx")
    return "net.onnx"


def test_a_good_file_and_how_it_is_described(command: Command, no_rtx: None) -> None:
    code, out, err = command("inspect", net(clean().model()), "--target", "tensorrt")
    assert (code, err) == (0, "")
    assert "net.onnx: ONNX opset 18, image ?×3×8×8 in, logits ?×16 out" in out
    assert "7 DequantizeLinear" in out
    assert "quantized: 3 of 3 convolutions and Gemms have INT8 data and weights" in out
    assert "tensorrt: no problem found\n" in out
    assert "TensorRT-RTX's parser did not read it: TensorRT-RTX is not installed" in out


def test_a_float_file_is_described_with_what_would_be_made_of_it(command: Command, no_rtx: None) -> None:
    out, _ = expect(0, command("inspect", net(classifier())))
    assert "not quantized: every operator computes in float" in out
    for name in targets.discover():
        assert f"{name}: no problem found; it would run in float" in out
    assert "channels" not in out
    _, out, _ = command("inspect", net(classifier(channels_last=True, last="Softmax")))
    words = " ".join(out.split())
    assert "the file takes images as NHWC; the networks that edgeresnet makes of it take NCHW" in words
    assert "the file ends in a Softmax; the networks that edgeresnet makes of it return the logits before it" in words
    assert all(len(line) <= 80 for line in out.splitlines())


def test_an_error_leaves_with_2_and_a_warning_with_0(command: Command, no_rtx: None) -> None:
    path = net(ERRORS["uint8 after a ReLU"][1]())
    out, _ = expect(2, command("inspect", path))
    assert "tensorrt: error: 8-bit values are unsigned" in " ".join(out.split())
    assert "openvino: error" not in out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert command("inspect", path, "--target", "openvino")[0] == 0
    assert command("inspect", path, "--target", "openvino", "--target", "tensorrt_rtx")[0] == 2
    assert command("inspect", net(clean(conv_edge={}).model()))[0] == 0


def test_alike_findings_are_one_paragraph_and_json_has_all(command: Command, no_rtx: None) -> None:
    path = net(clean(image={"zero": 1}, relu={"zero": 2}).model())
    _, out, _ = command("inspect", path, "--target", "tensorrt")
    assert out.count("error:") == 1
    assert "and 1 more" in " ".join(out.split())
    about = json.loads(out_of(2, command("inspect", path, "--target", "tensorrt", "--json")))
    assert len(about["targets"]["tensorrt"]) == 4
    assert about["refused_by"] == ["tensorrt"]
    assert about["tensorrt_rtx_parser"]["accepted"] is None


def test_the_parsers_answer_is_shown_as_its_own(command: Command, parser_answers: Any) -> None:
    path = net(clean().model())
    parser_answers(Reading("9.9", True, (Complaint("warning", "", "", "reads it as something else", times=7),)))
    out, _ = expect(0, command("inspect", path, "--target", "tensorrt"))
    assert "TensorRT-RTX 9.9's parser accepts the file\n" in out
    assert "  warning, 7 times: reads it as something else" in out

    parser_answers(Reading("9.9", False, (Complaint("error", "c1", "Conv", "no such thing"),)))
    out, _ = expect(2, command("inspect", path, "--target", "tensorrt"))
    assert "TensorRT-RTX 9.9's parser refuses the file\n  error at c1: no such thing" in out
    assert "parser" not in out_of(0, command("inspect", path, "--target", "openvino")), "TensorRT was not requested"

    parser_answers(TargetError("the network", "did not finish", hint="wait"))
    out, _ = expect(0, command("inspect", path, "--target", "tensorrt_rtx"))
    assert "TensorRT-RTX's parser did not read it: the network did not finish (wait)" in out


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent.onnx", None, "absent.onnx does not exist"),
        ("net.onnx", b"some words", "is not an ONNX file"),
        ("net.onnx", b"", "is not an ONNX file"),
        ("net.txt", b"hello", "is not an ONNX file, and its name has no known ending"),
        ("net.pth", b"", "is empty"),
        ("net.engine", b"", "an engine by its name"),
        ("folder", "folder", "folder has no images"),
        ("odd.onnx", "invalid", "is not a valid ONNX model"),
    ],
)
def test_another_file_is_refused_in_one_line(command: Command, name: str, content: Any, words: str) -> None:
    if content == "folder":
        Path(name).mkdir()
    elif content == "invalid":
        model = clean().model()
        del model.graph.node[1].input[1:]
        onnx.save(model, name)
    elif content is not None:
        Path(name).write_bytes(content)
    assert words in refused(command("inspect", name))


def test_an_unknown_target_is_reported(command: Command, no_rtx: None) -> None:
    assert "is not one of 'onnxruntime'" in err_of(2, command("inspect", net(clean().model()), "--target", "tensort"))


def test_it_needs_no_runtime(tmp_path: Path) -> None:
    onnx.save(clean().model(), tmp_path / "net.onnx")
    code = (
        "import sys; from edgeresnet.cli import main\nsys.argv = ['edgeresnet', 'inspect', 'net.onnx', '--json']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'onnxruntime', 'openvino', 'tensorrt', 'tensorrt_rtx'}\n"
        "print(*sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["quantized"]
    assert done.stderr.strip() == ""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="TensorRT-RTX is not installed")
def test_the_real_parser_reads_the_file(tmp_path: Path) -> None:
    onnx.save(ERRORS["uint8 after a ReLU"][1](), tmp_path / "net.onnx")
    parser = inspect.inspect_onnx(tmp_path / "net.onnx", ["tensorrt"]).tensorrt_rtx_parser
    assert parser
    assert parser.accepted is True
    assert parser.version
    assert "Defaulting to INT8" in parser.complaints[0].said


def test_a_checkpoint_is_described(command: Command, tmp_path: Path) -> None:
    import torch

    from edgeresnet import models

    torch.save({"state_dict": models.build("cifar_resnet8b", 4, 1).state_dict()}, tmp_path / "w.pth")
    code, out, err = command("inspect", "w.pth")
    assert (code, err) == (0, "")
    assert "ResNet-8, CIFAR family, projection shortcuts, 4 classes, 1 channel" in " ".join(out.split())
    assert "--arch cifar_resnet8b" in out
    assert max(map(len, out.splitlines())) <= 80
    _, out, _ = command("inspect", "w.pth", "--json")
    assert json.loads(out)["recognised"]["archs"] == ["cifar_resnet8b"]
    torch.save({"features.0.weight": torch.zeros(2, 2)}, tmp_path / "o.pth")
    out, _ = expect(0, command("inspect", "o.pth"))
    assert "not recognised: no known ResNet has tensors named features.0.weight" in out


def test_a_folder_of_images_is_looked_at(command: Command, tmp_path: Path) -> None:
    from ..images.test_survey import fill

    fill(tmp_path / "data" / "cat", 30, 1)
    fill(tmp_path / "data" / "dog", 2, 2)
    code, out, err = command("inspect", "data")
    assert (code, err) == (0, "")
    assert (
        "data: 32 images, 2 classes, from 2 (dog) to 30 (cat); a class with so few images decides little"
        in " ".join(out.split())
    )
    assert "sizes: 9×7 (32); modes: RGB 32" in out
    (tmp_path / "data" / "cat" / "RGB-0.png").write_bytes(b"\x89PNG")
    out, _ = expect(2, command("inspect", "data"))
    assert "error: 1 cannot be read: data/cat/RGB-0.png" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80
    _, out, _ = command("inspect", "data", "--json")
    assert json.loads(out)["wrong"] is True


def test_masks_are_looked_at_with_their_images(command: Command, tmp_path: Path) -> None:
    from ..images.test_masks import colour, set_of

    set_of(tmp_path)
    out, _ = expect(0, command("inspect", "images", "--masks", "masks"))
    assert "  masks: 1 26.4 %, 2 25.8 %" in out
    colour(tmp_path)
    out, _ = expect(2, command("inspect", "images", "--masks", "masks"))
    assert "error: 1 of the masks cannot be used: masks/deep/2.png is a colour image" in " ".join(out.split())
    assert "the folder of masks none does not exist" in refused(command("inspect", "images", "--masks", "none"))


def test_a_store_next_to_the_images_is_left_out(command: Command, tmp_path: Path) -> None:
    from edgeresnet.store import Store

    from ..images.test_survey import fill

    Store.open(tmp_path / "artifacts")
    for number, label in enumerate(("cat", "dog")):
        fill(tmp_path / "images" / label, 3, number)
    out, _ = expect(0, command("inspect", "."))
    assert "images: 6 images, 2 classes of 3 each\n" in out
    assert "artifacts is a store of edgeresnet, and is left out\n" in out
    _, out, _ = command("inspect", ".", "--json")
    assert json.loads(out)["ours"] == {"artifacts": "a store"}
