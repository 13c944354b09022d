"""The door `verify --explain`: what may be left out, what is refused, what it prints, and that it changes nothing."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from safetensors.torch import load_file

from edgeresnet.store import Store

from .conftest import Door, err_of, left, out_of

RIGHT = ("--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225")
Run = tuple[Store, dict[str, Any], Path]


@pytest.fixture
def bars_net(bars_run: Run, tmp_path: Path) -> Path:
    """The network as somebody else's ONNX file: it says nothing of its preprocessing."""
    traced = next(step["path"] for step in bars_run[1]["steps"] if step["id"] == "trace")
    model = onnx.load(Path(traced) / "model.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bars.onnx")
    return tmp_path / "bars.onnx"


@pytest.fixture
def why(door: Door, bars_run: Run, bars_net: Path) -> Callable[..., tuple[int, str, str]]:
    def ask(*arguments: object, folder: Path = bars_run[2]) -> tuple[int, str, str]:
        return door("verify", "bars.onnx", "--evaluation", folder, "--explain", *arguments)

    return ask


def test_the_answer_in_words(why: Any) -> None:
    out, err = left(0, why(*RIGHT, "--set", "preprocessing.order=bgr", "--count", 80))
    assert out.startswith("bars.onnx: 80 images of 8 classes, and 240 others to confirm on\n\ntried ")
    assert "\nexplained by RGB: " in out
    assert "\nwrite `preprocessing: {order: rgb}`\n" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "mean, std and order of channels: " in err
    assert "confirming on 240 other images" in err
    assert not list(Path("artifacts/runs").glob("*")), "it is no run, and judges nothing"


def test_mean_std_and_size_may_be_left_out(why: Any) -> None:
    code, out, err = why("--count", 80)
    assert (code, "best of all that was tried: ImageNet's mean and std, with " in out) == (0, True), err
    assert "write `preprocessing: {size: 16, mean: [0.485, 0.456, 0.406], std: [0.229" in out
    for half in RIGHT[:2], RIGHT[2:]:
        out, err = left(2, why(*half))
        assert out == ""
        assert f"bars.onnx needs {'--std' if half[0] == '--mean' else '--mean'} too" in err


def test_as_json_quietly(why: Any) -> None:
    code, out, err = why(*RIGHT, "--json", "-q", "--count", 40, "--seed", 2)
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["outcome"], found["network"]) == ("nothing", "bars.onnx")
    assert [row["name"] for row in found["variants"]][:2] == ["as given", "these numbers for pixels to 255"]


def test_folders_in_another_order_than_the_networks_classes(why: Any, bars_run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "renamed"
    shutil.copytree(bars_run[2], folder)
    (folder / "amber3").rename(folder / "x")
    (folder / "rust6").rename(folder / "amber3")
    (folder / "x").rename(folder / "rust6")
    out, _ = left(0, why(*RIGHT, "--count", 80, folder=folder))
    said = " ".join(out.split())
    assert "explained by another order of the classes: " in said
    assert "amber3 is its class 7 (rust6); rust6 is its class 0 (amber3) folders are numbered" in said
    assert "write" not in said


def test_few_images_are_called_few(why: Any, bars_run: Run, tmp_path: Path) -> None:
    for label in sorted(bars_run[2].iterdir()):
        for file in sorted(label.iterdir())[:4]:
            (tmp_path / "few" / label.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, tmp_path / "few" / label.name)
    out, _ = left(0, why(*RIGHT, folder=tmp_path / "few"))
    said = " ".join(out.split())
    assert "note: 32 images are few: what 16 of them are to confirm must gain" in said
    assert "more would tell more" in said


def test_without_a_network_the_newest_run_is_explained(door: Door, bars_run: Run, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(bars_run[0].root, store)
    runs, pixels = len(Store(store).runs()), sorted((store / "cache" / "pixels").iterdir())
    code, out, err = door("verify", "--explain", "--store", store, "--count", 80)
    assert (code, "nothing that was tried explains it" in out) == (0, True)
    assert "nothing to do: all 3 stages were found done" in err, "it shares the run's own steps"
    code, out, _ = door("verify", "--explain", "--store", store, "--count", 80, "--set", "preprocessing.crop=squash")
    assert (code, "explained by shorter side 16, no border cut" in out) == (0, True)
    assert len(Store(store).runs()) == runs
    assert sorted((store / "cache" / "pixels").iterdir()) == pixels, "what was tried is kept nowhere"
    for change, words in {
        "train.epochs=9": "--set train.epochs=9 says nothing",
        "preprocessing.size=20": "the network takes 3×16×16 images, preprocessing makes 3×20×20",
        "preprocessing={size: 16, mean: [0.5], std: [0.5]}": "takes 3×16×16 images, preprocessing makes 1×16×16",
    }.items():
        code, _, err = door("verify", "--explain", "--store", store, "--set", change)
        assert (code, words in err.splitlines()[-1]) == (2, True), err


def test_a_checkpoint_says_its_channels_itself(door: Door, bars_run: Run) -> None:
    held = load_file(Path(bars_run[1]["steps"][0]["path"]) / "weights.safetensors")
    torch.save(held, weights := Path("w.pth"))  # as somebody else's: they say nothing of preprocessing
    asked = ("verify", weights, "--evaluation", bars_run[2], "--explain", "--count", 80)
    assert f"{weights} needs --size too" in err_of(2, door(*asked))
    assert "best of all that was tried: ImageNet's mean and std" in out_of(0, door(*asked, "--size", 16))


def test_a_gray_network_is_tried_with_gray_means(door: Door, net: Path) -> None:
    out, err = left(0, door("verify", "net.onnx", "--evaluation", "digits", "--explain", "--count", 50))
    assert "taken from net.onnx itself: size 8, mean [0.305], std [0.376]" in err
    assert "MNIST's mean and std" in out
    assert "BGR" not in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "openvino", "--max-drop-pp", 1], "--target, --max-drop-pp beside --explain says nothing"),
        (["--reference", "net.onnx"], "--reference beside --explain says nothing"),
        (["--save-recipe", "r.yaml"], "--save-recipe beside --explain says nothing"),
        (["--from", "result.json"], "--from beside --explain says nothing"),
        (["--count", 0], "--count"),
        (["--set", "preprocessing.ordr=bgr"], "one problem"),
    ],
)
def test_a_mistake_is_one_line(why: Any, arguments: list[Any], words: str) -> None:
    code, out, err = why(*RIGHT, *arguments)
    assert (code, out) == (2, "")
    assert words in err.splitlines()[-1]
    assert not Path("artifacts/trace").exists()


def test_images_need_class_folders(why: Any, tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    assert "has no class folders" in err_of(2, why(*RIGHT, folder=tmp_path / "flat"))


def test_without_a_network_options_that_describe_one_are_refused(door: Door) -> None:
    assert "--size without a MODEL" in err_of(2, door("verify", "--explain", "--size", 8))
    assert "there is no run in artifacts yet" in err_of(2, door("verify", "--explain"))


def test_for_an_onnx_file_no_torch_is_loaded(why: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torch"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert why(*RIGHT, "--count", 16)[0] == 0
