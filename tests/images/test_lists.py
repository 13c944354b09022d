"""Images that a .csv or .json list names: what people write, and what may be wrong with a list, in words."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeresnet.errors import ImagesError
from edgeresnet.images import sources

from .test_images import opened

pytestmark = pytest.mark.unit

Folder = Callable[[str], Path]


def pairs(folder: Path) -> list[tuple[str, str]]:
    """(path below the folder, class) of all images."""
    return [(path.relative_to(folder).as_posix(), path.parent.name) for path in sorted(folder.rglob("*.png"))]


def write_csv(path: Path, rows: list, head: list[str] | None = None) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([*([head] if head else []), *rows])
    return path


@pytest.fixture
def root(colours: Folder, tmp_path: Path) -> Path:
    (tmp_path / "data").symlink_to(colours("a"))
    return tmp_path


def listed(path: Path, *, labelled: bool = True) -> sources.Listed:
    return sources.Listed(path, None, labelled=labelled)


def test_paths_of_windows_are_reported(root: Path) -> None:
    (root / "list.csv").write_text("data\\red\\0.png,red\n")
    with pytest.raises(ImagesError, match="do not exist") as caught:
        listed(root / "list.csv")
    assert "those of Windows" in caught.value.hint


def test_a_list_is_the_folder_it_lists(colours: Folder, root: Path) -> None:
    """In the list's own folder's terms, wherever edgeresnet was started."""
    rows = [(f"data/{name}", label) for name, label in pairs(colours("a"))]
    samples = opened(colours("a"))
    pandas = [(7, label, name, 7) for name, label in rows]
    for path in (
        write_csv(root / "plain.csv", rows),
        write_csv(root / "headed.csv", rows, ["path", "label"]),
        write_csv(root / "pandas.csv", pandas, ["", "Label", "File_name", "age"]),
    ):
        found = opened(path)
        assert found.classes == ("blue", "green", "red")
        assert found.digest == samples.digest
        assert found.path(0) == str(root / rows[0][0])
    for mark in ";\t":  # a spreadsheet where numbers have commas
        text = "".join(f"{name}{mark}{label}\n" for name, label in [("path", "label"), *rows])
        (root / "marked.csv").write_text(text, encoding="utf-8-sig")
        assert opened(root / "marked.csv").digest == samples.digest
    shapes = {"pairs": rows, "objects": [{"file": name, "label": label} for name, label in rows], "map": dict(rows)}
    for name, held in shapes.items():
        (root / f"{name}.json").write_text(json.dumps(held))
        assert opened(root / f"{name}.json").digest == samples.digest


def test_absolute_paths_spreadsheets_and_quoted_commas(colours: Folder, root: Path) -> None:
    odd = root / "a, b.png"
    odd.write_bytes((colours("a") / "red" / "000.png").read_bytes())
    rows = [(str(root / "data" / "blue" / "000.png"), "blue"), ("a, b.png", "red")]
    path = write_csv(root / "list.csv", rows, ["Image", "Class"])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n\r\n")
    found = listed(path)
    assert [found.path(index) for index in range(2)] == [str(root / "data" / "blue" / "000.png"), str(odd)]
    assert found.labels.tolist() == [0, 1]


def test_a_calibration_list_needs_no_labels(root: Path) -> None:
    names = ["data/red/000.png", "data/blue/001.png"]
    (root / "paths.json").write_text(json.dumps(names))
    headed = write_csv(root / "headed.csv", [[name] for name in names], ["path"])
    for path in (write_csv(root / "paths.csv", [[name] for name in names]), headed, root / "paths.json"):
        assert listed(path, labelled=False).classes == ()
        with pytest.raises(ImagesError, match=r"gives some images no label \(2 of 2\)"):
            listed(path)
    both = write_csv(root / "both.csv", [(names[0], "red"), (names[1], "blue")])
    assert listed(both, labelled=False).classes == ("blue", "red")


def test_missing_files_are_counted_and_ten_are_named(root: Path) -> None:
    rows = [("data/red/000.png", "red"), *((f"gone/{number:02}.png", "red") for number in range(25))]
    with pytest.raises(ImagesError) as caught:
        listed(write_csv(root / "list.csv", rows))
    assert "25 of the 26 files that" in caught.value.message
    assert "gone/00.png, gone/01.png" in caught.value.message
    assert "gone/09.png and 15 more" in caught.value.message
    assert "gone/10.png" not in caught.value.message
    assert str(root) in caught.value.hint


def test_an_unknown_header_ends_as_a_file_that_is_not_there(root: Path) -> None:
    with pytest.raises(ImagesError, match=r"1 of the 2 files .* do not exist: img"):
        listed(write_csv(root / "list.csv", [("data/red/000.png", "red")], ["img", "y"]))


RED = "data/red/000.png,red\n"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("l.csv", b"", "lists no images"),
        ("l.csv", b"path,label\n", "lists no images"),
        ("l.json", b"[]", "lists no images"),
        ("l.csv", RED + "x.png,red,3\n\ny.png\n", r"than the first row's 2 cells \(2\): line 2, line 4"),
        ("l.csv", RED + ",red\n", r"rows without a path, .* \(1\): line 2"),
        ("l.csv", RED + "data/red/001.png,\n", r"gives some images no label \(1 of 2\): line 2"),
        ("l.csv", RED + "data/red/../red/000.png,blue\n", r"twice \(1\): data/red/000.png \(line 1 and 2\)"),
        ("l.csv", "a,b,c\n1,2,3\n", "3 columns, but its first row does not name them"),
        ("l.csv", "path,file,label\na,b,c\n", "more than one column for the path"),
        ("l.csv", RED.encode() + b"data/\xe9t\xe9.png,red\n", "line 2 of .* is not UTF-8"),
        ("l.csv", '"data/red/000.png,red\n', "line 1 of .* is not valid CSV: unexpected end of data"),
        ("l.csv", RED.encode("utf-16"), "line 1 of .* is not UTF-8"),
        ("l.json", b"{", "is not JSON: line 1, column 2"),
        ("l.json", b'"a.jpg"', "does not hold a list of images"),
        ("l.json", b'[["a.jpg", "red"], ["b.jpg", 1.5]]', 'is not an image with its label: \\["b.jpg", 1.5'),
        ("l.json", b'[{"label": "red"}]', "entry 1 of .* is not an image"),
        ("l.json", b'[["a.jpg", true]]', "entry 1 of .* is not an image"),
        ("l.json", b'{"a.jpg": "red", "a.jpg": "blue"}', "has the key 'a.jpg' twice"),
        ("l.json", b'[{"path": "a.jpg", "label": "red"}, {"path": "b.jpg"}]', r"no label \(1 of 2\): entry 2"),
    ],
)  # fmt: skip
def test_a_list_that_will_not_do(root: Path, name: str, text: str | bytes, words: str) -> None:
    (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ImagesError, match=words) as caught:
        listed(root / name)
    assert caught.value.hint


def test_a_list_that_is_not_there_and_a_file_of_no_known_kind(root: Path) -> None:
    with pytest.raises(ImagesError, match=r"the file .*gone\.csv does not exist"):
        opened(root / "gone.csv")
    (root / "list.txt").write_text(RED)
    with pytest.raises(ImagesError, match="of an unknown kind") as caught:
        opened(root / "list.txt")
    assert ".csv, .json, .npz, .tar" in caught.value.hint


def test_integers_are_the_networks_answers(root: Path) -> None:
    rows = [("data/red/000.png", 2), ("data/blue/000.png", 0), ("data/green/000.png", 1), ("data/green/001.png", 1)]
    found = opened(write_csv(root / "list.csv", rows))
    assert found.classes == ("0", "1", "2")
    assert found.labels.tolist() == [2, 0, 1, 1]
    (root / "list.json").write_text(json.dumps(rows))
    assert opened(root / "list.json").digest == found.digest
    ten = opened(root / "list.csv", model__classes=11)
    assert ten.classes == tuple(map(str, range(11)))
    assert ten.labels.tolist() == [2, 0, 1, 1]


@pytest.mark.parametrize(
    ("labels", "classes", "words"),
    [
        ((1, 2, 3), 3, r"labels are out of range \(1\): .*data/blue/000\.png is of class 3, and there are 3 classes"),
        ((1, 2, 3), None, "integers up to 3, but none is 0"),
        ((0, 1, 3), None, "integers up to 3, but none is 2"),
        ((-1, 0, 1), None, "but one is -1"),
        ((-1, 0, 1), 3, "is of class -1"),
    ],
)
def test_integers_that_are_no_answers(root: Path, labels: tuple, classes: int | None, words: str) -> None:
    names = ["data/red/000.png", "data/green/000.png", "data/blue/000.png"]
    path = write_csv(root / "list.csv", list(zip(names, labels, strict=True)))
    with pytest.raises(ImagesError, match=words):
        opened(path, model__classes=classes)


def test_a_long_list_is_read_in_its_own_order(root: Path) -> None:
    names = [f"data/{label}/{number:03}.png" for number in range(40) for label in ("red", "blue", "green")]
    found = opened(write_csv(root / "list.csv", [(name, Path(name).parent.name) for name in names]))
    assert [found.path(index) for index in range(120)] == [str(root / name) for name in names]
    pixels = np.concatenate([batch.pixels for batch in found.batches(50)])
    assert pixels[0].mean(axis=(0, 1)).argmax() == 0
    assert pixels[1].mean(axis=(0, 1)).argmax() == 2
