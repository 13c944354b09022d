"""Real Keras ResNets, written by Keras' own exporters (tests/keras/make.py): accepted, answered and quantized."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgeresnet import pipeline, recipe, targets
from edgeresnet.graph import accepts, adopt, canonical, quantized
from edgeresnet.notes import TraceNotes
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.store import Store

from ..cli.conftest import Command
from ..conftest import result_of, tiny, traced
from ..graph import rtx
from ..graph.running import answers, openvino_answers

ROOT = Path(__file__).parents[2]
READY = ROOT / ".venv-keras" / ".ready"  # written when all of it was installed
PYTHON = Path(os.environ.get("EDGERESNET_KERAS", READY.with_name("bin") / "python"))
DIGITS = ["export", "opset11", "opset13", "opset18", "batch8", "first"]
BIG = ["ResNet50", "ResNet50V2"]
COLOURS = ("--size", 64, "--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25")

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(
        "EDGERESNET_KERAS" not in os.environ and not READY.is_file(),
        reason="no environment with Keras: `make test-keras` makes one, where there is a network",
    ),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what Keras wrote."""
    folder = tmp_path_factory.mktemp("keras")
    words = [PYTHON, Path(__file__).with_name("make.py"), folder, ROOT / "calibration_data" / "digits.npz"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def _softmax(logits: np.ndarray) -> np.ndarray:
    parts = np.exp(logits - logits.max(axis=1, keepdims=True))
    return parts / parts.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("name", [*(f"digits-{which}" for which in DIGITS), *BIG])
def test_it_answers_as_keras_does(made: Path, name: str) -> None:
    with np.load(made / f"{name.split('-')[0]}.npz") as held:
        images, probabilities = held["images"].transpose(0, 3, 1, 2), held["probabilities"]
    size, channels, classes = images.shape[2], images.shape[1], probabilities.shape[1]
    found = adopt.adopt(made / f"{name}.onnx", Preprocessing(size, (0.5,) * channels, (0.5,) * channels), classes)
    assert found.channels_last == (name != "digits-first")
    assert found.last == "Softmax"
    kinds = {node.op_type for node in found.model.graph.node}
    assert not kinds & {"Transpose", "Softmax", "MatMul", "BatchNormalization", "Identity", "Shape"}, kinds
    assert "Pad" not in kinds or name == "ResNet50V2"  # whose zeros are between a signed sum and its maximum
    few = np.ascontiguousarray(images[:8])
    np.testing.assert_allclose(_softmax(answers(found.model, few)), probabilities[:8], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(_softmax(openvino_answers(found.model, few)), probabilities[:8], rtol=1e-3, atol=1e-3)
    assert canonical.canonical(found.model).SerializeToString() == found.model.SerializeToString()


@pytest.mark.parametrize("which", ["export", "opset11", "opset18"])
def test_a_trained_one_keeps_its_accuracy_in_int8_on_every_target(made: Path, which: str, tmp_path: Path) -> None:
    images = {"evaluation": "digits", "calibration": {"from": "digits", "count": 128}}
    wanted: dict[str, Any] = {"onnxruntime": {}, "openvino": {"float_parts": "f32"}, "tensorrt": {"where": "bundle"}}
    model, promises = {"checkpoint": str(made / f"digits-{which}.onnx")}, {"max_drop_pp": 3.0, "min_top1_pct": 94}
    raw = tiny(model=model, train=None, images=images, targets=wanted, quantize={"effort": "fast"}, promises=promises)
    run = pipeline.run(recipe.parse(raw), Store(tmp_path))
    assert run.verdict == "DEFERRED", [verdict.reason for verdict in run.verdicts]
    for target in ("onnxruntime", "openvino"):
        assert (result_of(run, target).variants["int8"].accuracy.sqnr_db or 0) > 25
    (notes,) = run.notes_of(TraceNotes)
    assert notes.parity < 1e-5
    assert {"MatMul", "Softmax", "Transpose"} & set(notes.operators) == set()
    assert traced(run).is_file()


@pytest.mark.parametrize("name", BIG)
def test_the_big_ones_go_through_the_commands(
    made: Path,
    name: str,
    command: Command,
    colours: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    about = (*COLOURS, "--store", tmp_path / "store")
    quick = ("--set", "verify.processes=1", "--set", "verify.seconds=0.5")
    code, out, err = command(
        "verify", made / f"{name}.onnx", "--evaluation", colours("val"), "--target", "onnxruntime", *about, *quick
    )
    assert code == 0, err
    assert "the file takes images channels last (NHWC)" in err
    assert "the file ends in a Softmax" in " ".join(out.split())
    both = ("--target", "openvino", "--target", "tensorrt", "--count", 32, "--output", "int8")
    code, out, err = command("quantize", made / f"{name}.onnx", "--calibration", colours("train"), *both, *about)
    assert code == 0, err
    for target in ("openvino", "tensorrt"):
        model = onnx.load(tmp_path / "int8" / f"{name}-{target}-int8.onnx")
        found = accepts.findings(model, target, targets.get(target).dialect)
        assert not [each for each in found if each.severity == accepts.ERROR]
        assert quantized.Plan(model).summary().int8 >= 53
    images = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    assert openvino_answers(onnx.load(tmp_path / "int8" / f"{name}-openvino-int8.onnx"), images).shape == (2, 3)
    if importlib.util.find_spec("tensorrt_rtx"):
        assert rtx.parsed_and_built(onnx.load(tmp_path / "int8" / f"{name}-tensorrt-int8.onnx"))


def test_kerass_caffe_preprocessing_is_a_preprocessing(made: Path) -> None:
    """Normalize as README writes it: BGR, the means of ImageNet in levels, no division."""
    with np.load(made / "caffe.npz") as held:
        mean = tuple(level / 255 for level in (103.939, 116.779, 123.68))
        ours = Preprocessing(8, mean, (1 / 255,) * 3, order="bgr").normalize(held["pixels"])
        np.testing.assert_allclose(ours.transpose(0, 2, 3, 1), held["normal"], atol=1e-4)
