"""`edgeresnet diagnose`: what may be left out, what is refused, what it prints, and that it changes nothing."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
import torch
from safetensors.torch import load_file

import edgeresnet.diagnose
from edgeresnet import models, report, targets
from edgeresnet.cli import _diagnose
from edgeresnet.notes import Candidate, RecogniseNotes
from edgeresnet.runs import Run
from edgeresnet.store import Store

from ..conftest import folder_of, traced
from .conftest import Command, err_of, expect, out_of

TRAINED_WITH = ("--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225")
Bars = tuple[Store, Run, Path]


@pytest.fixture
def bars_net(bars_run: Bars, tmp_path: Path) -> Path:
    """The network as an ONNX file that another tool wrote: its preprocessing is not in it."""
    model = onnx.load(traced(bars_run[1]))
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bars.onnx")
    return tmp_path / "bars.onnx"


@pytest.fixture
def diagnose(command: Command, bars_run: Bars, bars_net: Path) -> Command:
    def call(*arguments: object, folder: Path = bars_run[2]) -> tuple[int, str, str]:
        return command("diagnose", "bars.onnx", "--evaluation", folder, *arguments)

    return call


def test_the_answer_in_words(diagnose: Command) -> None:
    out, err = expect(0, diagnose(*TRAINED_WITH, "--set", "preprocessing.order=bgr", "--count", 80))
    assert out.startswith("bars.onnx: 80 images of 8 classes, and 240 others to confirm on\n\ntried ")
    assert "\nexplained by RGB: " in out
    assert "\nwrite `preprocessing: {order: rgb}`\n" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "mean, std and order of channels: " in err
    assert "confirming on 240 other images" in err
    assert not list(Path("artifacts/runs").glob("*")), "it stores no run, and judges nothing"


def test_mean_std_and_size_may_be_left_out(diagnose: Command) -> None:
    code, out, err = diagnose("--count", 80)
    text = " ".join(out.split())
    assert (code, "the best so far: ImageNet's mean and std, with " in text) == (0, True), err
    line = "its line, which is not certain: `preprocessing: {size: 16, mean: [0.485, 0.456, 0.406], std: [0.229"
    assert text.index("Undecided: these images cannot tell 4 candidates apart") < text.index(line)
    for half in TRAINED_WITH[:2], TRAINED_WITH[2:]:
        out, err = expect(2, diagnose(*half))
        assert out == ""
        assert f"bars.onnx needs {'--std' if half[0] == '--mean' else '--mean'} too" in err


def test_candidates_that_tie_are_compared_alone(diagnose: Command, bars_run: Bars) -> None:
    _, out, _ = diagnose("--count", 40)
    lines = out[out.index("  edgeresnet diagnose") :].split("\nIf they")[0].replace("\\\n", "")
    repeated = shlex.split(lines)
    assert repeated[:7] == ["edgeresnet", "diagnose", "bars.onnx", "--evaluation", str(bars_run[2]), "--count", "160"]
    named = repeated[8::2]
    out, err = expect(0, diagnose(*repeated[5:]))
    assert "the named alternatives: 4 alternatives on 100 images" in err
    assert "images 101 to 160: 4 alternatives that may be the best" in err
    table = out.split("\n\n")[1].splitlines()
    assert [line.split("  ")[0] for line in table[1:]] == named
    assert all("   160  " in line for line in table[1:])
    words = "'ImageNet' is not a candidate for this network (did you mean "
    assert words in err_of(2, diagnose("--only", "ImageNet"))


def test_as_json_quietly(diagnose: Command) -> None:
    code, out, err = diagnose(*TRAINED_WITH, "--json", "-q", "--count", 40, "--seed", 2)
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["outcome"], found["network"]) == ("nothing", "bars.onnx")
    assert [row["name"] for row in found["variants"]][:2] == ["as given", "the given numbers divided by 255"]


def test_folders_in_another_order_than_the_networks_classes(diagnose: Command, bars_run: Bars, tmp_path: Path) -> None:
    folder = tmp_path / "renamed"
    shutil.copytree(bars_run[2], folder)
    (folder / "amber3").rename(folder / "x")
    (folder / "rust6").rename(folder / "amber3")
    (folder / "x").rename(folder / "rust6")
    out, _ = expect(0, diagnose(*TRAINED_WITH, "--count", 80, folder=folder))
    text = " ".join(out.split())
    assert "explained by another order of the classes: " in text
    assert "amber3 is its class 7 (rust6); rust6 is its class 0 (amber3) Folders are numbered" in text
    assert "write" not in text


def test_few_images_are_called_few(diagnose: Command, bars_run: Bars, tmp_path: Path) -> None:
    for label in sorted(bars_run[2].iterdir()):
        for file in sorted(label.iterdir())[:4]:
            (tmp_path / "few" / label.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, tmp_path / "few" / label.name)
    out, _ = expect(0, diagnose(*TRAINED_WITH, folder=tmp_path / "few"))
    text = " ".join(out.split())
    assert "note: 32 images are few: 16 of them can confirm only a gain of" in text
    assert "more images would show more" in text


def test_without_a_network_the_newest_run_is_diagnosed(command: Command, bars_run: Bars, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(bars_run[0].root, store)
    runs, pixels = len(Store(store).runs()), sorted((store / "cache" / "pixels").iterdir())
    code, out, err = command("diagnose", "--store", store, "--count", 80)
    assert (code, "no variant explains it" in out) == (0, True)
    assert "nothing to do: all 3 stages are done already" in err, "it shares the run's own steps"
    code, out, _ = command("diagnose", "--store", store, "--count", 80, "--set", "preprocessing.crop=squash")
    confirmed = "the best so far explains it, and others may too: shorter side 16, no border cropped, 100.00 %"
    assert (code, confirmed in " ".join(out.split())) == (0, True)
    assert len(Store(store).runs()) == runs
    assert sorted((store / "cache" / "pixels").iterdir()) == pixels, "what was tried is not stored"
    for change, words in {
        "train.epochs=9": "--set train.epochs=9",
        "preprocessing.size=20": "the network takes 3×16×16 images, but preprocessing makes 3×20×20",
        "preprocessing={size: 16, mean: [0.5], std: [0.5]}": "takes 3×16×16 images, but preprocessing makes 1×16×16",
    }.items():
        code, _, err = command("diagnose", "--store", store, "--set", change)
        assert (code, words in err.splitlines()[-1]) == (2, True), err


def test_a_checkpoint_has_its_channels_in_it(command: Command, bars_run: Bars) -> None:
    held = load_file(folder_of(bars_run[1], "train") / "weights.safetensors")
    torch.save(held, weights := Path("w.pth"))  # as another tool writes them: without preprocessing
    words = ("diagnose", weights, "--evaluation", bars_run[2], "--count", 80)
    assert f"{weights} needs --size too" in err_of(2, command(*words))
    out, err = expect(0, command(*words, "--size", 16))
    assert "the best so far: ImageNet's mean and std" in out
    assert out.startswith("w.pth as cifar_resnet8: "), "its tensors fit several networks"
    assert "\nrecognise " in f"\n{err}"


@pytest.mark.parametrize(
    ("lows", "network"),
    [
        ((0.9, 0.9, 0.9), "w.pth as first"),
        ((0.1, 0.1, 0.9), "w.pth as third"),
        ((0.1, 0.1, 0.1), "w.pth as first (as second or third it is no better)"),
    ],
)
def test_where_nothing_is_better_than_chance_the_other_candidates_are_diagnosed(
    lows: tuple[float, ...], network: str, command: Command, monkeypatch: pytest.MonkeyPatch, bars_run: Bars
) -> None:
    """One that cannot be run is not."""
    names = ("first", "second", "third")
    candidates = (*(Candidate(name, 30, 3) for name in names), Candidate("fourth", 0, 0, "does not fit"))
    notes = RecogniseNotes("first", candidates, shown=False, better_than_chance=False)
    monkeypatch.setattr(_diagnose, "_compiled", lambda made, store, how: (Path(), notes))
    monkeypatch.setattr(targets, "require", lambda name: contextlib.nullcontext())
    monkeypatch.setattr(contextlib.nullcontext, "load", lambda self, compiled: self, raising=False)
    monkeypatch.setattr(edgeresnet.diagnose, "diagnose", lambda *_, network, **__: Found(network, lows, names))
    monkeypatch.setattr(report.diagnose_text, "render", lambda found, words: f"{found.network}\n")
    torch.save(models.build("cifar_resnet8", 8, 3).state_dict(), "w.pth")
    words = ("diagnose", "w.pth", "--evaluation", bars_run[2], "--size", 16)
    assert out_of(0, command(*words)) == f"{network}\n"


@dataclass(frozen=True)
class Found:
    """Stands for a diagnosis."""

    network: str
    lows: tuple[float, ...]
    names: tuple[str, ...]
    chance: float = 0.125

    @property
    def best(self) -> SimpleNamespace:
        return SimpleNamespace(low=self.lows[self.names.index(self.network.split()[-1])])


def test_a_gray_network_is_tried_with_gray_means(command: Command, net: Path) -> None:
    out, err = expect(0, command("diagnose", "net.onnx", "--evaluation", "digits", "--count", 50))
    assert "taken from net.onnx itself: size 8, mean [0.305], std [0.376]" in err
    assert "MNIST's mean and std" in out
    assert "BGR" not in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "openvino"], "--target concerns INT8 alone (add --int8, or --reference for a file)"),
        (["--save-recipe", "r.yaml"], "No such option"),
        (["--count", 0], "--count"),
        (["--set", "preprocessing.ordr=bgr"], "one problem"),
    ],
)
def test_a_mistake_is_one_line(diagnose: Command, arguments: list[Any], words: str) -> None:
    code, out, err = diagnose(*TRAINED_WITH, *arguments)
    assert (code, out) == (2, "")
    assert words in err.splitlines()[-1]
    assert not Path("artifacts/trace").exists()


def test_images_need_class_folders(diagnose: Command, tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    assert "has no class folders" in err_of(2, diagnose(*TRAINED_WITH, folder=tmp_path / "flat"))


def test_without_a_network_options_that_describe_one_are_refused(command: Command) -> None:
    assert "--size cannot be given without a MODEL" in err_of(2, command("diagnose", "--size", 8))
    assert "the store artifacts holds no run yet" in err_of(2, command("diagnose"))


def test_verify_explain_still_works_and_names_the_command(command: Command, net: Path) -> None:
    words = ("net.onnx", "--evaluation", "digits", "--count", 50, "-q")
    out, err = expect(0, command("verify", "--explain", *words))
    assert err == "`edgeresnet diagnose net.onnx` is the command for this\n"
    assert out == out_of(0, command("diagnose", *words))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "openvino", "--max-drop-pp", 1], "--max-drop-pp, --target cannot be combined with --explain"),
        (["--reference", "net.onnx"], "--reference cannot be combined with --explain"),
        (["--save-recipe", "r.yaml"], "--save-recipe cannot be combined with --explain"),
        (["--from", "result.json"], "--from cannot be combined with --explain"),
    ],
)
def test_verify_explain_refuses_what_has_no_effect(command: Command, arguments: list[object], words: str) -> None:
    assert words in err_of(2, command("verify", "net.onnx", "--explain", *arguments)).splitlines()[-1]


def test_for_an_onnx_file_no_torch_is_loaded(diagnose: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torch"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert diagnose(*TRAINED_WITH, "--count", 16)[0] == 0
