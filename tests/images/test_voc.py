"""Boxes of Pascal VOC's .xml files: their pixels, their pairs, and every mistake in one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from edgeresnet.errors import ImagesError

from .test_coco_boxes import numbers, opened

pytestmark = pytest.mark.unit

SIZE = "<size><width>8</width><height>8</height><depth>3</depth></size>"


def thing(name: str, *corners: Any, difficult: int = 0) -> str:
    found = "".join(
        f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    )
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{found}</bndbox></object>"


def set_of(root: Path, *inside: str, size: str = SIZE) -> dict[str, str]:
    """Write an image and an .xml for each."""
    for folder in ("JPEGImages", "Annotations"):
        (root / folder).mkdir(exist_ok=True)
    for number, each in enumerate(inside):
        Image.new("L", (8, 8), 10 * number).save(root / "JPEGImages" / f"{number}.png")
        (root / "Annotations" / f"{number}.xml").write_text(f"<annotation>{size}{each}</annotation>")
    return {"from": str(root / "JPEGImages"), "boxes": str(root / "Annotations")}


def refused(source: Any, words: str, **changes: Any) -> str:
    with pytest.raises(ImagesError, match=words) as problem:
        opened(source, **changes).check_labels([0])
    return problem.value.hint


def test_corners_are_pixels_from_one_on(tmp_path: Path) -> None:
    things = thing("dog", 1, 1, 8, 8), thing("cat", 3, 2, 6, 4.5, difficult=1)
    samples = opened(set_of(tmp_path, "".join(things), ""))
    assert samples.classes == ("cat", "dog")
    found = samples.boxes([0, 1])
    assert found.counts.tolist() == [2, 0]
    assert found.boxes.tolist() == [[0, 0, 8, 8], [2, 1, 4, 3.5]]
    assert (found.numbers.tolist(), found.crowd.tolist()) == ([1, 0], [False, True])


def test_images_and_boxes_may_lie_in_one_folder_or_in_a_list(tmp_path: Path) -> None:
    samples = opened(set_of(tmp_path, thing("dog", 1, 1, 8, 8)))
    (tmp_path / "list.csv").write_text("image,boxes\nJPEGImages/0.png,Annotations/0.xml\n")
    assert opened(str(tmp_path / "list.csv")).identity == samples.identity
    (tmp_path / "JPEGImages" / "0.png").rename(tmp_path / "Annotations" / "0.png")
    together = {"from": str(tmp_path / "Annotations"), "boxes": str(tmp_path / "Annotations")}
    assert opened(together).identity == samples.identity


def test_names_number_the_classes(tmp_path: Path) -> None:
    source = set_of(tmp_path, thing("dog", 1, 1, 8, 8) + thing("cat", 3, 2, 6, 4))
    assert (numbers(opened(source)), numbers(opened(source, 2)), numbers(opened(source, 3))) == ([1, 0], [1, 0], [2, 1])
    hint = refused(source, r"has 2 categories, .* but the network has 21 classes", classes=21)
    assert "`images.names`" in hint
    (tmp_path / "names.txt").write_text("cow\ndog\ncat\n")
    assert numbers(opened(source, images__names=str(tmp_path / "names.txt"))) == [1, 2]
    (tmp_path / "names.txt").write_text("cow\ndog\n")
    refused(source, r"not among the 2 names of classes: cat", images__names=str(tmp_path / "names.txt"))


def test_every_image_needs_its_file_and_every_file_its_image(tmp_path: Path) -> None:
    source = set_of(tmp_path, thing("dog", 1, 1, 8, 8), thing("dog", 1, 1, 8, 8))
    (tmp_path / "Annotations" / "1.xml").unlink()
    assert "image,boxes" in refused(source, r"has images without a file of boxes \(1 of 2\): 1\.png")
    (tmp_path / "JPEGImages" / "1.png").unlink()
    (tmp_path / "JPEGImages" / "0.png").rename(tmp_path / "JPEGImages" / "7.png")
    (tmp_path / "Annotations" / "7.xml").write_bytes((tmp_path / "Annotations" / "0.xml").read_bytes())
    refused(source, r"has files of boxes without an image \(1 of 2\): 0\.xml")
    (tmp_path / "Annotations" / "7.xml").rename(tmp_path / "Annotations" / "7.txt")
    (tmp_path / "Annotations" / "0.xml").unlink()
    refused(source, r"Annotations has no files of boxes, which end in \.xml")


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        (thing("dog", 1, 1, 8, "many"), r"0\.xml has a box that is not four numbers: 1, 1, 8, many"),
        (thing("dog", 1, 1, 8, ""), r"0\.xml has a box that is not four numbers: 1, 1, 8, nothing"),
        (thing("dog", 1, 1, 8, "nan"), r"0\.xml has a box of numbers that are not pixels"),
        (thing("dog", 5, 1, 2, 8), r"0\.xml has a box of -2×8 pixels: a side is negative"),
        (thing(" ", 1, 1, 8, 8), r"0\.xml has an object without a name or a bndbox"),
        ("<object><name>dog</name><polygon/></object>", r"0\.xml has an object without a name or a bndbox"),
        ("<object>", r"0\.xml is not XML: line 1, column"),
        ("", r"Annotations has no box: no image has an object"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, inside: str, words: str) -> None:
    refused(set_of(tmp_path, inside), words)


def test_an_image_has_the_size_that_its_file_says(tmp_path: Path) -> None:
    swapped = SIZE.replace("<width>8", "<width>6")
    source = set_of(tmp_path, thing("dog", 1, 1, 6, 8), size=swapped)
    refused(source, r"0\.xml is about 6×8 pixels, but its image .*0\.png has 8×8")
    for side in ("0", "9" * 5000, "wide"):
        unknown = SIZE.replace(">8<", f">{side}<")
        assert opened(set_of(tmp_path, thing("dog", 1, 1, 6, 8), size=unknown)).boxes([0]).counts.tolist() == [1]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_not_read(tmp_path: Path, encoding: str) -> None:
    source = set_of(tmp_path, thing("dog", 1, 1, 8, 8))
    declared = '<!DOCTYPE annotation [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    text = f"{declared}<annotation>{thing('&b;', 1, 1, 8, 8)}</annotation>"
    (tmp_path / "Annotations" / "0.xml").write_text(f'<?xml version="1.0" encoding="{encoding}"?>{text}', encoding)
    refused(source, r"0\.xml has a document type, which is not read")


def test_what_cannot_be_a_file_of_boxes_is_refused(tmp_path: Path) -> None:
    source = set_of(tmp_path, thing("dog", 1, 1, 8, 8))
    path = tmp_path / "Annotations" / "0.xml"
    path.write_bytes(b"<annotation>" + b" " * (1 << 22) + b"</annotation>")
    refused(source, r"0\.xml is larger than 4 MB")
    path.write_bytes(b"<a>" * 200_000 + b"</a>" * 200_000)
    refused(source, r"has no box: no image has an object")
    path.write_bytes(b"")
    refused(source, r"0\.xml is not XML")
    path.write_bytes(b'<?xml version="1.0" encoding="klingon"?><annotation/>')
    refused(source, r"0\.xml ")
