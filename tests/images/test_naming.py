"""What classes are called: the network's first answer is the first name, however the images are labelled."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeresnet import images, recipe
from edgeresnet.errors import ImagesError
from edgeresnet.images import Samples

from ..conftest import tiny
from .test_images import COLOUR
from .test_lists import write_csv

pytestmark = pytest.mark.unit

Folder = Callable[[str], Path]
IDS = {"blue": "n02", "green": "n01", "red": "n03"}  # the order of ids is not that of the colours


def called(names: Path, folder: Path, classes: int | None = 3) -> Samples:
    raw = tiny(model__classes=classes, preprocessing=COLOUR, images__evaluation=str(folder), images__names=str(names))
    return images.open_samples(recipe.parse(raw), "evaluation")


@pytest.fixture
def by_id(colours: Folder, tmp_path: Path) -> Path:
    (tmp_path / "set").mkdir()
    for colour, word in IDS.items():
        (tmp_path / "set" / word).symlink_to(colours("a") / colour)
    return tmp_path / "set"


def colour_of(samples: Samples, index: int) -> str:
    """By its pixels."""
    return ("red", "green", "blue")[samples.pixels([index])[0].mean(axis=(0, 1)).argmax()]


LINES = "n03 the red one\nn01 the green one\nn02 the blue one\n"
PLAIN = "the green one\nthe blue one\nthe red one\n"  # in the order of the folders


@pytest.mark.parametrize(
    ("name", "text", "order"),
    [
        ("ids.txt", LINES, ["red", "green", "blue"]),
        ("tabs.txt", LINES.replace(" ", "\t", 1).replace("1 ", "1\t").replace("2 ", "2\t"), ["red", "green", "blue"]),
        ("bom.txt", "\ufeff" + LINES.replace("\n", "\r\n"), ["red", "green", "blue"]),
        ("plain.txt", PLAIN, ["green", "blue", "red"]),
        ("plain.json", json.dumps(PLAIN.splitlines()), ["green", "blue", "red"]),
        ("pairs.json", json.dumps([line.split(" ", 1) for line in LINES.splitlines()]), ["red", "green", "blue"]),
        ("keras.json", json.dumps({n: line.split(" ", 1) for n, line in enumerate(LINES.splitlines())}),
         ["red", "green", "blue"]),
        ("numbered.json", json.dumps({n: line for n, line in reversed(list(enumerate(PLAIN.splitlines())))}),
         ["green", "blue", "red"]),
        ("sorted.json", json.dumps({"n01": "the green one", "n02": "the blue one", "n03": "the red one"}),
         ["green", "blue", "red"]),
    ],
)  # fmt: skip
def test_folders_of_ids_get_names(by_id: Path, tmp_path: Path, name: str, text: str, order: list[str]) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    samples = called(tmp_path / name, by_id)
    assert samples.classes == tuple(f"the {colour} one" for colour in order)
    for index in (0, 40, 119):
        assert samples.classes[samples.labels[index]] == f"the {colour_of(samples, index)} one"


def test_folders_that_are_called_so_are_put_into_the_networks_order(colours: Folder, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("red\ngreen\nblue\nblack\n")
    samples = called(tmp_path / "names.txt", colours("a"), classes=4)
    assert samples.classes == ("red", "green", "blue", "black")  # of one there is no image
    assert samples.labels[[0, 40, 119]].tolist() == [2, 1, 0]
    (tmp_path / "index.json").write_text(json.dumps({"blue": 1, "red": 0, "green": 2}))  # torchvision's class_to_idx
    assert called(tmp_path / "index.json", colours("a")).classes == ("red", "blue", "green")


def test_integers_of_a_list_are_numbers_of_names(colours: Folder, tmp_path: Path) -> None:
    rows = [(str(colours("a") / colour / "000.png"), number) for number, colour in enumerate(("red", "blue"))]
    path = write_csv(tmp_path / "list.csv", rows)
    (tmp_path / "names.txt").write_text("great red\ngreat blue\ngreat white shark\n")
    samples = called(tmp_path / "names.txt", path)
    assert samples.classes == ("great red", "great blue", "great white shark")
    assert samples.labels.tolist() == [0, 1]
    (tmp_path / "names.txt").write_text("only one\n")
    with pytest.raises(ImagesError, match=r"labels are out of range \(1\): .* is of class 1, and .* names 1 classes"):
        called(tmp_path / "names.txt", path)


def test_a_name_of_two_classes_gets_their_numbers(by_id: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("crane\nblue\ncrane\n")
    assert called(tmp_path / "names.txt", by_id).classes == ("crane (0)", "blue", "crane (2)")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("n.txt", b"a\nb\n", "names 2 classes, and 3 of the 3 of .* are not among them: n01, n02, n03"),
        ("n.txt", b"n01 a\nn02 b\nn04 c\n", "names 3 classes, and 1 of the 3 of .* are not among them: n03"),
        ("n.txt", b"n01 a\nn01 b\nn02 c\nn03 d\n", "which can be ids or parts of names"),  # two ids are one
        ("n.txt", b"n01\ta\nn01\tb\nn02\tc\n", "has n01 twice"),
        ("n.txt", b"a\n\nb\n", "line 2 of .* is empty"),
        ("n.txt", b"", "names no classes"),
        ("n.txt", b"caf\xe9\n", "is not UTF-8"),
        ("n.json", b"[", "is not JSON: line 1, column 2"),
        ("n.json", b"3", "is not a list of names"),
        ("n.json", b'["a", 3, "b"]', "is not a list of names"),
        ("n.json", b'{"n02": "a", "n01": "b", "n03": "c"}', "does not give an order of its classes"),
        ("n.json", b'{"a": 0, "b": 0, "c": 1}', "is not a list of names"),
        ("n.json", b'{"a": 0, "a": 1}', "'a' twice"),
    ],
)
def test_names_that_will_not_do(by_id: Path, tmp_path: Path, name: str, text: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(text)
    with pytest.raises(ImagesError, match=words):
        called(tmp_path / name, by_id)


def test_names_that_are_not_there(by_id: Path, tmp_path: Path) -> None:
    with pytest.raises(ImagesError, match=r"names\.txt does not exist"):
        called(tmp_path / "names.txt", by_id)


def test_folders_that_are_numbers_are_not_named_by_their_order(colours: Folder, tmp_path: Path) -> None:
    """0, 1, 10, 11, 2, …: the third name may be meant for the folder 2."""
    (tmp_path / "set").mkdir()
    for number in range(12):
        (tmp_path / "set" / str(number)).symlink_to(colours("a") / "red")
    words = [f"name {chr(97 + number)}" for number in range(12)]
    (tmp_path / "names.txt").write_text("\n".join(words))
    with pytest.raises(ImagesError, match="in the order 0, 1, 10, 11"):
        called(tmp_path / "names.txt", tmp_path / "set", classes=12)
    (tmp_path / "names.txt").write_text("\n".join(f"{number} {word}" for number, word in enumerate(words)))
    samples = called(tmp_path / "names.txt", tmp_path / "set", classes=12)
    assert samples.classes == tuple(words)
    assert samples.labels[[0, 80]].tolist() == [0, 10]


def test_first_words_that_are_folders_are_not_taken_for_other_folders_names(colours: Folder, tmp_path: Path) -> None:
    """By their order alone, blue would be called `red wine`."""
    (tmp_path / "names.txt").write_text("red wine\nblue sky\ngreen leaf\n")
    with pytest.raises(ImagesError, match="which can be ids or parts of names"):
        called(tmp_path / "names.txt", colours("a"))
    (tmp_path / "names.txt").write_text("red\twine\nblue\tsky\ngreen\tleaf\n")
    samples = called(tmp_path / "names.txt", colours("a"))
    assert samples.classes == ("wine", "sky", "leaf")
    assert samples.labels[[0, 40, 119]].tolist() == [1, 2, 0]


def test_all_sets_of_a_recipe_are_called_alike(colours: Folder, by_id: Path, tmp_path: Path) -> None:
    rows = [(str(path), colour) for colour in IDS for path in sorted((colours("b") / colour).iterdir())]
    (tmp_path / "names.txt").write_text("n03\tred\nn01\tgreen\nn02\tblue\n")
    raw = tiny(
        model__classes=3, preprocessing=COLOUR, images__names=str(tmp_path / "names.txt"),
        images__evaluation=str(by_id), images__training=str(write_csv(tmp_path / "list.csv", rows)),
    )  # fmt: skip
    sets = [(slot, images.open_samples(recipe.parse(raw), slot)) for slot in ("training", "evaluation")]
    images.same_classes(sets)
    assert sets[0][1].classes == ("red", "green", "blue")
