"""A folder of Hugging Face's hub as a network: what commands read there, and what they write into a recipe."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeresnet.cli import _one_shot
from edgeresnet.cli._options import ModelOptions
from edgeresnet.models import recognise

from ..hostile import tensors
from ..models.networks import in_files, lively, transformers_resnet
from .conftest import Command, expect, out_of, refused

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
DIGITS = {str(number): word for number, word in enumerate(WORDS)}
PIXELS = {
    "image_processor_type": "ConvNextImageProcessor",
    "size": {"shortest_edge": 14},
    "crop_pct": 0.875,
    "resample": 2,
    "image_mean": [0.3],
    "image_std": [0.4],
}


def folder(path: Path, pixels: object = None, **config: object) -> Path:
    """Write a small network for 10 classes of grayscale images, with what transformers saves next to it."""
    path.mkdir()
    (path / "model.safetensors").write_bytes(tensors.network())
    (path / "config.json").write_text(json.dumps({"id2label": DIGITS, **config}))
    (path / "preprocessor_config.json").write_text(json.dumps(pixels or PIXELS))
    return path


@pytest.fixture
def words(colours: Callable[[str], Path], tmp_path: Path) -> Path:
    """Class folders whose names, sorted, are not in the order of the network's answers."""
    source = next(colours("source").rglob("*.png"))
    for word in DIGITS.values():
        (tmp_path / "images" / word).mkdir(parents=True)
        for number in range(2):
            (tmp_path / "images" / word / f"{number}.png").write_bytes(source.read_bytes())
    return tmp_path / "images"


def test_inspect_shows_what_lies_next_to_the_weights(command: Command, tmp_path: Path) -> None:
    folder(tmp_path / "hub")
    for path in ("hub", "hub/model.safetensors"):
        out = " ".join(out_of(0, command("inspect", path)).split())
        assert out.startswith(f"{path}: a checkpoint, ")
        assert "wants size 14, resize 16, interpolation bilinear, mean [0.3], std [0.4]" in out
        assert "(transformers' record hub/preprocessor_config.json)" in out
        assert "its 10 classes are zero, one, two, " in out
        assert "(`images.names: hub/config.json`)" in out
    held = json.loads(out_of(0, command("inspect", "hub", "--json")))
    assert held["labels"] == {"file": "hub/config.json", "names": list(DIGITS.values()), "why_not": ""}


def test_inspect_says_why_names_are_not_used(command: Command, tmp_path: Path) -> None:
    folder(tmp_path / "hub", id2label={"0": "zero", "2": "two"})
    folder(tmp_path / "other", id2label={"0": "zero", "1": "one"})
    out = " ".join(out_of(0, command("inspect", "hub")).split())
    assert "its class names are not taken from hub/config.json: it names 2 classes, but not number 1" in out
    out = " ".join(out_of(0, command("inspect", "other")).split())
    assert "not taken from other/config.json: it names 2 classes, but the network has 10" in out


def test_a_recipe_from_a_folder_has_its_pixels_and_names(command: Command, tmp_path: Path, words: Path) -> None:
    folder(tmp_path / "hub")
    _, err = expect(0, command("init", "mine.yaml", "--checkpoint", "hub", "--evaluation", words))
    assert "taken from transformers' record hub/preprocessor_config.json: size 14, resize 16, mean [0.3]" in err
    assert "class names are taken from hub/config.json" in err
    written = (tmp_path / "mine.yaml").read_text()
    assert "model: {checkpoint: hub}" in written, "the network is recognised again"
    assert "names: hub/config.json" in written
    expect(0, command("check", "mine.yaml"))


def test_weights_with_names_next_to_them_are_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked, real = [], recognise.recognise

    def look(*given: Any) -> Any:
        looked.append(given)
        return real(*given)

    monkeypatch.setattr(recognise, "recognise", look)
    known = _one_shot.of_files(
        [str(folder(tmp_path / "hub"))], ModelOptions("auto", None, None, None, None, None, None, None, None)
    )
    assert (known.names, known.preprocessing["size"]) == (str(tmp_path / "hub/config.json"), 14)
    assert len(looked) == 1


def test_weights_in_several_files_go_through_a_command(command: Command, tmp_path: Path, words: Path) -> None:
    hub = folder(tmp_path / "hub")
    (hub / "model.safetensors").unlink()
    in_files(lively("cifar_resnet8", 10, 1), hub, "safetensors")
    named = ("--arch", "cifar_resnet8")  # its weights are random: recognised, it would be refused
    files = ("--output", "n.onnx", "--save-recipe", "r.yaml")
    _, err = expect(0, command("export", "hub", *named, "--evaluation", words, *files))
    assert "class names are taken from hub/config.json" in err
    assert (tmp_path / "n.onnx").is_file()
    next(hub.glob("model-00002*")).unlink()
    assert "names files that are missing (1): model-00002-of-00003.safetensors" in refused(command("run", "r.yaml"))


def test_what_tensors_do_not_show_is_read_from_the_folder(command: Command, tmp_path: Path, words: Path) -> None:
    in_files(transformers_resnet(first=True), folder(tmp_path / "hub", model_type="resnet"), "safetensors")
    (tmp_path / "hub" / "model.safetensors").unlink()
    about = {"id2label": DIGITS, "model_type": "resnet", "downsample_in_bottleneck": True}
    (tmp_path / "hub" / "config.json").write_text(json.dumps(about))
    out = " ".join(out_of(0, command("inspect", "hub")).split())
    assert "stem8k7s2_pool_projected_v1 wants" in out, "one architecture, and no others"
    assert "strides in each block's first convolution" in out
    (tmp_path / "hub" / "config.json").write_text(json.dumps({**about, "hidden_act": "gelu"}))
    out = " ".join(out_of(0, command("inspect", "hub")).split())
    assert "but its activation is gelu (config.json)" in out
    assert "no known --arch builds it" in out
    expect(0, command("init", "mine.yaml", "--checkpoint", "hub", "--evaluation", words))
    assert "but its activation is gelu (config.json)" in refused(command("check", "mine.yaml"))


def test_names_of_the_options_come_first(command: Command, tmp_path: Path, words: Path) -> None:
    folder(tmp_path / "hub")
    (tmp_path / "own.txt").write_text("\n".join(DIGITS.values()))
    expect(0, command("init", "mine.yaml", "--checkpoint", "hub", "--evaluation", words, "--names", "own.txt"))
    assert "names: own.txt" in (tmp_path / "mine.yaml").read_text()


def test_names_that_are_not_used_are_reported(command: Command, tmp_path: Path, words: Path) -> None:
    folder(tmp_path / "hub", id2label={"0": "zero", "2": "two"})
    _, err = expect(0, command("init", "mine.yaml", "--checkpoint", "hub", "--evaluation", words))
    assert "class names are not taken from hub/config.json; it names 2 classes, but not number 1" in err
    assert "names:" not in (tmp_path / "mine.yaml").read_text()


def test_images_in_another_order_than_the_names_are_refused(command: Command, tmp_path: Path, words: Path) -> None:
    folder(tmp_path / "hub")
    expect(0, command("init", "mine.yaml", "--checkpoint", "hub", "--evaluation", words))
    text = (tmp_path / "mine.yaml").read_text().replace(", names: hub/config.json", "")
    (tmp_path / "bare.yaml").write_text(text)
    line = refused(command("check", "bare.yaml"))
    assert "hub/config.json names class 0 'zero', but that of the images is 'eight'" in line
    assert "`images.names: hub/config.json`" in line


def test_preprocessing_that_a_recipe_cannot_express_is_to_be_given(command: Command, tmp_path: Path) -> None:
    pixels: dict[str, Any] = {**PIXELS, "resample": 1}
    folder(tmp_path / "hub", pixels)
    line = refused(command("init", "mine.yaml", "--checkpoint", "hub", "--evaluation", "x"))
    assert "needs --size, --mean, --std too" in line
    assert "transformers' record hub/preprocessor_config.json does not help: its resample is 1" in line


@pytest.mark.parametrize("name", ["net.h5", "net.keras"])
def test_a_file_of_keras_is_refused_wherever_it_is_given(command: Command, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    pixels = ("--size", 8, "--mean", "0.5", "--std", "0.5")
    for words in (("inspect", name), ("export", name, "--evaluation", "digits", "--output", "n.onnx", *pixels)):
        assert "model.export('net.onnx', format='onnx')" in refused(command(*words))
