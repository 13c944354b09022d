"""Images of 16 bits all the way: trained, in INT8, in a bundle, collected from a device, classified, timed from files.

All that distinguishes the two classes is in the low byte: whoever looks at 8 bits sees nothing.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeresnet.notes import QuantizeNotes
from edgeresnet.store import Store

from ..conftest import result_of, tiny, traced, write_recipe
from .conftest import Command
from .deployed import deployed

pytestmark = pytest.mark.slow  # tests/images/test_depth.py and test_modes.py have the parts

SIDE = 12
PREPROCESSING = {"size": SIDE, "mean": [0.488], "std": [0.005], "bits": 16}


def stripes(label: str, number: int) -> np.ndarray:
    """Make stripes, upright or lying, somewhere in the low byte; the high byte is a matter of chance."""
    rng = np.random.default_rng([number, len(label)])
    wave = np.sin(2 * np.pi * (np.arange(SIDE) / 4 + rng.random()))
    wave = np.tile(wave, (SIDE, 1))
    low = 128 + 90 * (wave if label == "upright" else wave.T) + rng.normal(0, 8, (SIDE, SIDE))
    return (256 * rng.integers(124, 127) + low.clip(0, 255)).astype(np.uint16)


def fill(folder: Path, first: int, count: int) -> None:
    for label in ("upright", "lying"):
        (folder / label).mkdir(parents=True)
        for number in range(first, first + count):
            kind = ("png", "tiff")[number % 2]
            Image.fromarray(stripes(label, number)).save(folder / label / f"{number}.{kind}")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("deep")
    fill(root / "train", 0, 100)
    fill(root / "val", 500, 60)
    return root


def raw_recipe(data: Path, **changes: object) -> dict:
    raw = tiny(
        model__classes=2, preprocessing=dict(PREPROCESSING), images={"training": str(data / "train"),
        "evaluation": str(data / "val"), "calibration": {"from": "training", "count": 64}},
        train={"epochs": 4, "rate": 0.02, "batch": 16, "schedule": "one-cycle"}, quantize={"effort": "fast"},
        verify={"processes": 1, "seconds": 0.2}, promises={"min_top1_pct": 90, "max_drop_pp": 8},
        targets={"onnxruntime": {}, "openvino": {}},
    )  # fmt: skip
    return raw | changes


@pytest.fixture(scope="module")
def run_once(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Run the complete recipe on this machine."""
    from edgeresnet import pipeline, recipe

    store = Store.open(tmp_path_factory.mktemp("deep-store"))
    pipeline.run(recipe.parse(raw_recipe(data)), store)
    return store


def test_the_low_byte_gets_through_training_and_int8(run_once: Store) -> None:
    run = run_once.load_run()
    assert run.verdict == "KEPT", run.verdicts
    for target in ("onnxruntime", "openvino"):
        accuracy = result_of(run, target).variants["int8"].accuracy
        assert accuracy.score_pct >= 95
    quantized = run.notes_of(QuantizeNotes)[0]
    assert not quantized.images_in_levels
    assert list(quantized.kept_float.values()) == ["it reads 16-bit images, but INT8 has only 256 levels"]
    assert len(quantized.int8) >= 6


def test_a_bundle_of_it_is_measured_on_a_device_and_collected(
    run_once: Store, command: Command, data: Path, tmp_path: Path
) -> None:
    write_recipe(tmp_path, raw_recipe(data, targets={"onnxruntime": {"where": "bundle"}}))
    assert command("run", "recipe.yaml", "--store", run_once.root)[0] == 0
    (bundle,) = run_once.root.glob("export/*/bundle")
    there = Path(shutil.copytree(bundle, tmp_path / "there"))
    assert np.load(there / "evaluation" / "pixels.npy").dtype == np.uint16
    assert json.loads((there / "bundle.json").read_text())["preprocessing"]["bits"] == 16
    assert len(list((there / "samples").glob("*.png"))) == 16
    done = deployed(there, "onnxruntime", more=("PIL", "pillow.libs"))
    assert done.returncode == 0, done.stderr
    measured = json.loads((there / "result.json").read_text())["result"]
    assert measured["decoding"]["pillow"] == {
        "images": 16, "mean_levels": 0.0, "largest_levels": 0, "answers_changed": 0,
    }  # fmt: skip
    code, out, err = command("collect", there / "result.json", "--store", run_once.root)
    assert (code, "DEFERRED" in out) == (0, False), out + err
    accuracy = result_of(run_once.load_run(), "onnxruntime").variants["int8"].accuracy
    assert accuracy.score_pct >= 95


def test_the_commands_take_it_by_its_options(run_once: Store, command: Command, data: Path, tmp_path: Path) -> None:
    shutil.copy(traced(run_once.load_run(str(run_once.runs()[0]))), tmp_path / "net.onnx")
    given = ("--size", SIDE, "--mean", 0.488, "--std", 0.005, "--bits", 16, "--evaluation", data / "val")
    quick = ("--set", "verify.processes=1", "--set", "verify.seconds=0.2", "--store", tmp_path / "store")
    code, out, err = command(
        "quantize", "net.onnx", *given, "--calibration", data / "train", "--count", 32, "--target", "openvino",
        "--output", "int8.onnx", "--store", tmp_path / "store", "--save-recipe", "net.yaml",
    )  # fmt: skip
    assert code == 0, err
    assert "it reads 16-bit images, but INT8 has only 256 levels" in " ".join(out.split())
    assert "bits: 16" in (tmp_path / "net.yaml").read_text()
    # our own file holds that
    code, out, err = command(
        "verify", "int8.onnx", "--reference", "net.onnx", "--evaluation", data / "val", "--target", "openvino", *quick
    )
    assert code == 0, out + err
    assert "bits 16" in err
    picture = data / "val" / "upright" / "500.png"
    code, out, err = command("predict", picture, "--store", tmp_path / "store")
    assert code == 0, err
    best = [line.split()[-1] for line in out.splitlines() if line.startswith("  ")][::2]
    assert best == ["upright"] * len(best)
    code, out, err = command("bench", "--processes", 1, "--seconds", 0.2, "--store", tmp_path / "store")
    assert code == 0, err
    assert "from the file on" not in err


def test_other_bits_and_uint8_are_refused_in_a_line(
    run_once: Store, command: Command, data: Path, tmp_path: Path
) -> None:
    shutil.copy(traced(run_once.load_run(str(run_once.runs()[0]))), tmp_path / "net.onnx")
    given = ("--size", SIDE, "--mean", 0.488, "--std", 0.005, "--evaluation", data / "val", "--store", "store")
    code, _, err = command("verify", "net.onnx", *given)
    assert code == 2
    assert "its pixels have 16 bits, but `preprocessing.bits` is 8" in err
    assert "(set `bits: 16` (--bits 16) if the network was trained with 16 bits; or skip such files" in err
    deep = (*given, "--bits", 16, "--output")
    raw = ("--precision", "fp16", "--input", "uint8")
    code, _, err = command("export", "net.onnx", *deep, "out", "--target", "tensorrt", *raw)
    assert code == 2
    assert "targets.tensorrt.input: uint8 has 8 bits" in " ".join(err.split())
    code, _, err = command("export", "net.onnx", *deep, "out.onnx", "--input", "uint8")
    assert code == 2
    assert "uint8 pixels have 8 bits, but the network's images have 16" in err
    for number, path in enumerate((data / "val" / "lying").iterdir()):
        (tmp_path / "flat" / "lying").mkdir(parents=True, exist_ok=True)
        (tmp_path / "flat" / "upright").mkdir(parents=True, exist_ok=True)
        Image.fromarray((np.asarray(Image.open(path)) // 256).astype(np.uint8)).save(
            tmp_path / "flat" / ("lying", "upright")[number % 2] / f"{number}.png"
        )
    shallow = tuple(tmp_path / "flat" if word == data / "val" else word for word in given)
    code, _, err = command("verify", "net.onnx", *shallow, "--bits", 16)
    assert code == 2
    assert "its pixels have 8 bits, but `preprocessing.bits` is 16" in err
