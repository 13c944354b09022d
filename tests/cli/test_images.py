"""Images as users have them, in commands: the same digits as a folder, a list, arrays and an archive."""

from __future__ import annotations

import csv
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from edgeresnet import models
from edgeresnet.images import sources
from edgeresnet.store import Store

from ..conftest import result_of
from .conftest import Command, err_of, expect, out_of, refused

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
NET = ("--size", 8, "--mean", 0.305, "--std", 0.376, "--target", "onnxruntime", "--store", "store")
QUICK = ("--set", "verify.processes=1", "--set", "verify.seconds=0.2")


@pytest.fixture
def digits(tmp_path: Path, command: Command) -> dict[str, str]:
    """200 evaluation digits, in the folder where commands run; the classes have ids, and names in a file."""
    held, rows = sources.digits(evaluation=True), []
    for index in range(200):
        label = int(held.labels[index])
        name = Path("data") / f"d{label}" / f"{index:03}.png"
        name.parent.mkdir(parents=True, exist_ok=True)
        held.open(index).save(name)
        rows.append((str(name), label))
    with open("list.csv", "w", newline="") as file:
        csv.writer(file).writerows([("file", "label"), *rows])
    Path("list.json").write_text(json.dumps([{"path": name, "label": f"d{label}"} for name, label in rows]))
    with tarfile.open("set.tar", "w") as tar:
        tar.add("data")
    np.savez("set.npz", x_test=held._pixels[:200], y_test=held.labels[:200])
    Path("names.txt").write_text("".join(f"d{number} {word}\n" for number, word in enumerate(WORDS)))
    return {"folder": "data", "csv": "list.csv", "json": "list.json", "tar": "set.tar", "npz": "set.npz"}


def test_every_form_of_images_leads_to_the_same_answers(command: Command, net: Path, digits: dict[str, str]) -> None:
    store, found = Store(Path("store")), {}
    for kind, where in digits.items():
        code, out, err = command("verify", "net.onnx", *NET, "--evaluation", where, "--names", "names.txt", *QUICK)
        assert code == 0, (kind, out, err)
        result = result_of(store.load_run(), "onnxruntime")
        assert result.classes == tuple(WORDS), kind
        found[kind] = result.variants["fp32"].accuracy.score_pct
    assert len(set(found.values())) == 1, found
    assert found["folder"] > 90
    seven = min(Path("data/d7").iterdir())
    code, out, _ = command("predict", seven, "--store", "store", "--top", 1)
    assert (code, out.split()[-1]) == (0, "seven")


def test_a_promise_for_a_class_is_made_by_its_name(command: Command, net: Path, digits: dict[str, str]) -> None:
    given = (*NET, "--evaluation", "list.csv", "--names", "names.txt", *QUICK)
    out, _ = expect(0, command("verify", "net.onnx", *given, "--set", "promises.min_recall_pct={seven: 50}"))
    assert "min_recall_pct 50 of class seven: " in out
    _, err = expect(2, command("verify", "net.onnx", *given, "--set", "promises.min_recall_pct={seve: 50}"))
    assert "did you mean seven?" in err


def test_a_calibration_list_without_labels_and_arrays(command: Command, net: Path, digits: dict[str, str]) -> None:
    held = sources.digits(evaluation=False)
    np.savez("calibration.npz", images=held._pixels[:40])
    Path("calibration").mkdir()
    for index in range(40):
        held.open(index).save(f"calibration/{index}.png")
    Path("calibration.csv").write_text("".join(f"calibration/{index}.png\n" for index in range(40)))
    written = []
    for where in ("calibration.npz", "calibration.csv", "calibration"):
        expect(0, command("quantize", "net.onnx", *NET, "--calibration", where, "--output", "int8.onnx"))
        model = onnx.load("int8.onnx")
        del model.metadata_props[:]  # which hold the digest of images in this order
        written.append(model)
    assert written[1] == written[2]


def test_names_that_do_not_match_are_one_line(command: Command, net: Path, digits: dict[str, str]) -> None:
    Path("few.txt").write_text("".join(f"d{number} {word}\n" for number, word in enumerate(WORDS[:9])))
    err = refused(command("verify", "net.onnx", *NET, "--evaluation", "data", "--names", "few.txt"))
    assert "few.txt names 9 classes, and 1 of the 10 of data are not among them: d9" in err
    Path("data/d9").rename("data/d9x")
    _, err = expect(2, command("verify", "net.onnx", *NET, "--evaluation", "data", "--names", "names.txt"))
    assert "did you mean d9?" in err


def test_a_list_whose_files_are_gone_is_one_line(command: Command, net: Path, digits: dict[str, str]) -> None:
    for path in Path("data/d3").iterdir():
        path.unlink()
    err = refused(command("verify", "net.onnx", *NET, "--evaluation", "list.csv"))
    assert "of the 200 files that list.csv lists do not exist: data/d3/" in err


def test_lists_arrays_and_archives_are_inspected(command: Command, digits: dict[str, str]) -> None:
    for where in ("list.csv", "list.json", "set.tar"):
        out, _ = expect(0, command("inspect", where))
        assert f"{where}: 200 images, 10 classes" in out
        assert "sizes: 8×8 (200); modes: L 200" in out
    _, out, _ = command("inspect", "set.npz")
    assert "test: 200 images, 10 classes" in out
    held = sources.digits(evaluation=True)
    first, rest = slice(20), slice(19, 30)
    train: dict[str, Any] = {"x_train": held._pixels[first], "y_train": held.labels[first]}
    np.savez("leaky.npz", **train, x_test=held._pixels[rest], y_test=held.labels[rest])
    out, _ = expect(2, command("inspect", "leaky.npz"))
    assert "1 image of train is in test too: leaky.npz:x_train[19]" in " ".join(out.split())
    for name, words in (("gone.csv", "the file gone.csv does not exist"), ("set.tar.gz", "set.tar.gz is compressed")):
        Path("set.tar.gz").touch()
        assert words in err_of(2, command("inspect", name))


def test_init_writes_its_options(command: Command, digits: dict[str, str]) -> None:
    code, _, err = command(
        "init", "mine.yaml", "--training", "list.csv", "--arch", "cifar_resnet8", "--classes", 10, "--size", 8,
        "--mean", 0.3, "--std", 0.3, "--bits", 16, "--evaluation", "set.tar", "--names", "names.txt",
    )  # fmt: skip
    assert code == 0, err
    text = Path("mine.yaml").read_text()
    assert "bits: 16" in text
    assert "images: {training: list.csv, evaluation: set.tar, names: names.txt}" in text


def test_a_photograph_on_its_side_is_reported(command: Command, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Path("set/a").mkdir(parents=True)
    Image.new("RGB", (8, 8), (1, 2, 3)).save("set/a/x.jpg", exif=exif)
    _, out, _ = command("inspect", "set")
    assert (
        "1 are rotated by EXIF, but are read as they are stored: `preprocessing: {exif: true}` turns them"
        in " ".join(out.split())
    )
    assert max(map(len, out.splitlines())) <= 80


def test_what_is_in_two_classes_or_has_other_bits_is_reported(command: Command) -> None:
    for split, label, shade in (("train", "a", 1), ("train", "b", 1), ("val", "a", 2)):
        Path("data", split, label).mkdir(parents=True)
        Image.new("L", (8, 8), shade).save(Path("data", split, label, "x.png"))
    code, out, _ = command("inspect", "data")
    text = " ".join(out.split())
    assert (code, "1 are in more than one class: data/train/a/x.png = data/train/b/x.png" in text) == (0, True), out
    assert "val has no b, but sets that are used together need the same classes" in text
    Path("deep/a").mkdir(parents=True)
    Image.new("I;16", (8, 8), 40000).save("deep/a/x.png")
    code, out, _ = command("inspect", "deep")
    assert (code, "1 have one channel of 16 bits: `preprocessing: {bits: 16}`" in " ".join(out.split())) == (0, True)
    Image.new("F", (8, 8), 0.5).save("deep/a/y.tif")
    assert "error: 1 cannot be read: their colours have 16 bits, or their values have 32 bits or a sign." in " ".join(
        out_of(2, command("inspect", "deep")).split()
    )


def test_a_checkpoint_may_be_called_tar_and_of_an_unknown_file_what_is_known_is_listed(command: Command) -> None:
    torch.save({"state_dict": models.build("cifar_resnet8", 3, 1).state_dict()}, "model_best.pth.tar")
    assert "ResNet-8, CIFAR family" in out_of(0, command("inspect", "model_best.pth.tar"))
    Path("val.txt").write_text("a/x.png 0\n")
    code, _, err = command("inspect", "val.txt")
    assert (code, "and its name has no known ending" in err, ".csv .json .npz .tar" in err) == (2, True, True), err
