"""The command `quantize`: a network and images in, INT8 files out, and what was done in words and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from edgeresnet import targets
from edgeresnet.graph import accepts
from edgeresnet.images import sources
from edgeresnet.runs import Run
from edgeresnet.store import Store

from ..conftest import folder_of
from .conftest import Command, err_of, expect, out_of

IMAGES = ("--calibration", "digits", "--count", 40)
ONE = ("--target", "openvino")


@pytest.fixture
def asked(command: Command, own_store: Store, net: Path) -> Command:
    """Return the command with the network and the store in place."""
    return lambda *rest: command("quantize", "net.onnx", "--store", own_store.root, *rest)


def test_one_target_gives_one_file(asked: Command, tmp_path: Path) -> None:
    out, err = expect(0, asked(*IMAGES, *ONE, "--output", "int8.onnx"))
    model = onnx.load(tmp_path / "int8.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert accepts.findings(model, "openvino", targets.get("openvino").dialect) == []
    assert out.startswith("net: ranges from 30 calibration images; 10 others were held out\n")
    assert "openvino: int8.onnx" in out
    assert "layers INT8" in out
    assert "  held-out images: " in out
    assert "bias correction: " in out
    assert "taken from net.onnx itself: size 8, mean [0.305], std [0.376]" in err
    assert all(len(line) <= 80 for line in out.splitlines())


def test_a_search_for_float_layers_says_that_it_looked(asked: Command) -> None:
    """TensorRT is not here: nothing is timed."""
    given = (*IMAGES, "--target", "tensorrt", "--output", "int8.onnx", "-q", "--exclude", "auto")
    out, _ = expect(0, asked(*given, "--max-drop-pp", 5))
    assert "the search kept no layer in float" in out
    assert "forecast on 40 calibration images, without labels: 0.00 % of answers changed" in " ".join(out.split())
    assert "needs a promise to search for" in err_of(2, asked(*given))
    both = err_of(2, asked(*given, "--exclude", "conv1"))
    assert "--exclude auto cannot be combined with other layers" in both


def test_two_targets_give_a_folder_and_json_has_it_all(asked: Command, tmp_path: Path) -> None:
    both = ("--target", "tensorrt", "--target", "openvino")
    code, out, err = asked(*IMAGES, *both, "--output", "files", "--exclude", "layer1", "--json", "-q")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["images"] == {"images": 30, "held_out": 10}
    assert set(found["targets"]) == {"tensorrt", "openvino"}
    for target, about in found["targets"].items():
        path = tmp_path / "files" / f"net-{target}-int8.onnx"
        assert (tmp_path / about["file"]) == path
        assert path.stat().st_size == about["bytes_after"]
        found_there = accepts.findings(onnx.load(path), target, targets.get(target).dialect)
        assert {each.rule for each in found_there} <= {"residual-float"}  # behind what was excluded
        excluded = {name for name, why in about["kept_float"].items() if why == "excluded by 'layer1'"}
        assert excluded
        assert all("layer1" in name for name in excluded)
        assert about["evaluation"] is None
        assert [step["name"] for step in about["steps"]][:2] == ["scales", "bias correction"]
    kept = found["targets"]["tensorrt"]["kept_float"]
    assert "it has 10 outputs: this target keeps layers with fewer than 16 in float" in kept.values()


def test_with_evaluation_images_it_shows_what_int8_costs(asked: Command) -> None:
    given = ("--calibration", "digits", "--evaluation", "digits", "--set", "images.calibration.count=24")
    words = " ".join(out_of(0, asked(*given, *ONE, "--output", "int8.onnx")).split())
    assert "450 evaluation images, in onnxruntime before any compiler: top-1 " in words
    assert "drop " in words


def test_the_same_again_writes_the_same_bytes_and_does_nothing_else(asked: Command, tmp_path: Path) -> None:
    files = []
    for name in ("one.onnx", "two.onnx"):
        _, err = expect(0, asked(*IMAGES, *ONE, "--output", name))
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]
    assert "nothing to do" in err


def test_too_few_images_to_hold_any_out_are_reported(asked: Command) -> None:
    out, _ = expect(0, asked("--calibration", "digits", "--count", 10, *ONE, "--output", "int8.onnx"))
    assert "too few images to hold some out" in " ".join(out.split())
    assert "bias correction: applied; no held-out image" in " ".join(out.split())


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Write digits as files into one folder, without classes."""
    folder = tmp_path / "flat"
    folder.mkdir()
    for index, image in enumerate(sources.digits(evaluation=False)._pixels[:40]):
        Image.fromarray(image).save(folder / f"{index:03}.png")
    return folder


def test_calibration_images_need_no_class_folders(asked: Command, flat: Path, tmp_path: Path) -> None:
    out, _ = expect(0, asked("--calibration", flat, *ONE, "--output", "int8.onnx"))
    assert out.startswith("net: ranges from 30 calibration images; 10 others were held out\n")
    (flat / "seven").mkdir()
    for file in sorted(flat.glob("*.png")):
        file.rename(flat / "seven" / file.name)
    expect(0, asked("--calibration", flat, *ONE, "--output", "some.onnx"))  # some of the network's classes are enough
    expect(0, asked("--calibration", flat / "seven", *ONE, "--evaluation", "digits", "--output", "again.onnx"))
    names = ("int8.onnx", "some.onnx", "again.onnx")
    one, *others = ([tensor.raw_data for tensor in onnx.load(tmp_path / name).graph.initializer] for name in names)
    assert others == [one, one]


def test_evaluation_images_do_need_them(asked: Command, flat: Path) -> None:
    assert "flat has no class folders" in err_of(2, asked(*IMAGES, "--evaluation", flat, *ONE, "--output", "int8.onnx"))


def test_an_unreadable_calibration_image_is_named(asked: Command, flat: Path, tmp_path: Path) -> None:
    (flat / "broken.png").write_bytes(b"no image at all")
    assert "broken.png" in err_of(2, asked("--calibration", flat, *ONE, "--output", "int8.onnx"))
    assert not (tmp_path / "int8.onnx").exists()
    out, _ = expect(0, asked("--calibration", flat, *ONE, "--output", "int8.onnx", "--set", "images.unreadable=skip"))
    assert "ranges from" in out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((*ONE, "--output", "int8.onnx"), "net.onnx needs --calibration too"),
        ((*IMAGES, *ONE), "--output is missing"),
        ((*IMAGES, *ONE, "--output", "."), ". is not an .onnx file"),
        ((*IMAGES, *ONE, "--output", "int8.xml"), "int8.xml is not an .onnx file"),
        ((*IMAGES, *ONE, "--output", "absent/int8.onnx"), "the folder absent does not exist"),
        ((*IMAGES, *ONE, "--target", "tensorrt", "--output", "int8.onnx"), "int8.onnx is not a folder"),
        ((*IMAGES, "--target", "openvino", "--target", "tensorrt", "--output", "net.onnx"), "net.onnx is not a folder"),
        ((*IMAGES, "--target", "opnvino", "--output", "int8.onnx"), "is not one of 'onnxruntime', 'openvino'"),
        ((*IMAGES, *ONE, "--output", "int8.onnx", "--effort", "much"), "is not one of 'fast', 'balanced', 'best'"),
        ((*IMAGES, *ONE, "--output", "int8.onnx", "--estimator", "guess"), "is not one of 'min-max', "),
        ((*IMAGES, *ONE, "--output", "int8.onnx", "--exclude", "["), "is not a regular expression"),
        ((*IMAGES, *ONE, "--output", "int8.onnx", "--exclude", "."), "become INT8"),
        (("--calibration", "absent", *ONE, "--output", "int8.onnx"), "absent"),
        (("--calibration", "digits", "--count", 5000, *ONE, "--output", "int8.onnx"), "5000 calibration images"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    asked: Command, tmp_path: Path, options: tuple[object, ...], words: str
) -> None:
    before = (tmp_path / "net.onnx").read_bytes()
    out, err = expect(2, asked(*options))
    assert out == ""
    assert words in " ".join(err.split())
    assert not (tmp_path / "int8.onnx").exists()
    assert (tmp_path / "net.onnx").read_bytes() == before


def test_an_int8_file_is_not_quantized_again(asked: Command, command: Command, own_store: Store) -> None:
    assert asked(*IMAGES, *ONE, "--output", "int8.onnx")[0] == 0
    _, err = expect(
        2, command("quantize", "int8.onnx", "--store", own_store.root, *IMAGES, *ONE, "--output", "again.onnx")
    )
    assert "is quantized already" in " ".join(err.split())
    assert "edgeresnet inspect" in " ".join(err.split())
    assert command("inspect", "int8.onnx", "--target", "openvino")[0] == 0


def test_a_checkpoint_gives_the_same_kind_of_file_named_or_not(
    command: Command, own_store: Store, trained: tuple[Store, Run], tmp_path: Path
) -> None:
    state = load_file(folder_of(trained[1], "train") / "weights.safetensors")
    torch.save(state, weights := tmp_path / "w.pth")  # of another tool: its preprocessing is not in it
    rest = (*IMAGES, *ONE, "--output", "int8.onnx", "--store", own_store.root)
    assert "needs --size, --mean, --std too" in err_of(2, command("quantize", weights, *rest))
    prepared = ("--size", 8, "--mean", 0.305, "--std", 0.376)
    files = []
    for named in (("--arch", "cifar_resnet8", "--classes", 10), ("--arch", "auto"), ()):
        assert "ranges from 30 calibration images" in out_of(0, command("quantize", weights, *named, *prepared, *rest))
        files.append((tmp_path / "int8.onnx").read_bytes())
    assert files[0] == files[1] == files[2]


def test_the_recipe_can_be_saved(asked: Command, tmp_path: Path) -> None:
    expect(0, asked(*IMAGES, *ONE, "--output", "int8.onnx", "--estimator", "entropy", "--save-recipe", "r.yaml"))
    text = (tmp_path / "r.yaml").read_text()
    assert "estimator: entropy" in text
