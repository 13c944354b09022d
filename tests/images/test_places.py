"""What lies where images are wanted and is not one: nothing of it is opened, and the error says what it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeresnet.errors import ImagesError
from edgeresnet.images import decode, place, sources, survey
from edgeresnet.images.sources import Names, naming, walking
from edgeresnet.recipe import Source

from ..hostile import binary, lists, npz

pytestmark = pytest.mark.unit

NO_FILES = {
    "a FIFO": "is a pipe, not",
    "a device": "is a device, not",
    "a socket": "is a socket, not",
    "a link to itself": "is a link that leads to itself",
    "a link to nothing": "does not exist",
    "a link to /proc/kmsg": "lies in /proc",
    "a terabyte of nothing": "more than any image",
}


def refusal(act: Callable[[], object]) -> str:
    """Return the message, which is short enough for a line of a log."""
    with pytest.raises(ImagesError) as caught:
        act()
    assert len(caught.value.message) < 300
    return caught.value.message


@pytest.mark.parametrize("kind", [kind for kind in NO_FILES if kind != "a terabyte of nothing"])
def test_a_class_folder_with_what_is_no_file(tmp_path: Path, kind: str) -> None:
    binary.classes(tmp_path, 2)
    binary.STRANGE[kind](tmp_path / "1" / "x.png")
    assert NO_FILES[kind] in refusal(lambda: sources.at(tmp_path, "evaluation", None))


def test_a_film_in_a_class_folder_is_an_image_that_cannot_be_read(tmp_path: Path) -> None:
    binary.classes(tmp_path, 2)
    binary.STRANGE["a terabyte of nothing"](tmp_path / "1" / "x.mp4")
    found = sources.at(tmp_path, "evaluation", None)
    film = next(index for index in range(len(found.hashes)) if found.name(index).endswith("x.mp4"))
    assert "more than any image" in refusal(lambda: found.open(film))


@pytest.mark.parametrize("name", ["list.csv", "list.json", "list.npz", "list.tar", "list"])
@pytest.mark.parametrize("kind", ["a FIFO", "a device", "a socket"])
def test_a_list_or_an_archive_that_is_no_file(tmp_path: Path, kind: str, name: str) -> None:
    binary.STRANGE[kind](tmp_path / name)
    assert NO_FILES[kind] in refusal(lambda: sources.at(tmp_path / name, "evaluation", None))


@pytest.mark.parametrize("kind", ["a FIFO", "a device"])
def test_names_that_are_no_file(tmp_path: Path, kind: str) -> None:
    binary.STRANGE[kind](tmp_path / "names.txt")
    assert NO_FILES[kind] in refusal(lambda: Names.read(tmp_path / "names.txt"))


def test_one_image_that_is_no_file(tmp_path: Path) -> None:
    binary.fifo(tmp_path / "x.png")
    assert "is a pipe" in refusal(lambda: decode.open_file(str(tmp_path / "x.png")))


@pytest.mark.skipif(not os.path.exists("/proc/self"), reason="no /proc here")
@pytest.mark.parametrize("path", ["/proc", "/proc/self/fd", "/sys"])
def test_folders_that_the_kernel_makes_up(path: str) -> None:
    assert "which holds no files of yours" in refusal(lambda: sources.at(Path(path), "evaluation", None))


def test_links_back_into_the_folder_end_somewhere(tmp_path: Path) -> None:
    """Each of them is followed once, and an image counts once."""
    binary.classes(tmp_path, 2)
    for at in range(12):
        (tmp_path / "1" / f"x{at}").symlink_to("..")
    assert len(walking.below(tmp_path, "1")) == 2 + 12 * 2  # its own, and those of the other class by each link


def test_links_from_each_folder_to_every_other_are_not_all_followed(tmp_path: Path) -> None:
    for one in range(9):
        (tmp_path / str(one)).mkdir()
        for other in range(9):
            (tmp_path / str(one) / f"to{other}").symlink_to(f"../{other}")
    assert "more than 100 links" in refusal(lambda: walking.below(tmp_path, "0"))


def test_a_path_that_no_file_can_have() -> None:
    assert "has a path that is too long" in refusal(lambda: sources.at(Path("n" * 5000), "evaluation", None))
    assert "has a name that no file can have" in refusal(lambda: sources.at(Path("a\0b"), "evaluation", None))


def test_a_tilde_of_an_unknown_user() -> None:
    named = Source.model_validate({"from": "~unknown9/x"})
    assert "does not exist" in refusal(lambda: sources.open_source(named, "evaluation", None))


def test_a_survey_looks_first_too(tmp_path: Path) -> None:
    binary.fifo(tmp_path / "list.npz")
    assert "is a pipe" in refusal(lambda: survey.survey(tmp_path / "list.npz"))


def test_what_lies_in_proc_is_only_what_its_file_system_holds(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    assert place.mode_of(tmp_path / "x")
    assert place.mode_of(tmp_path / "y") is None


TARS = lists.tars()
LIARS = {("set.npz", name): data for name, data in npz.files().items() if "bomb" not in name}
LIARS |= {("set.tar", name): data for name, data in TARS.items()}


@pytest.mark.parametrize("liar", LIARS, ids=" ".join)
def test_arrays_and_archives_that_lie_are_refused_or_read(tmp_path: Path, liar: tuple[str, str]) -> None:
    (tmp_path / liar[0]).write_bytes(LIARS[liar])
    problem = binary.refused(lambda: sources.at(tmp_path / liar[0], "evaluation", None))
    assert problem is None or len(problem.message) < 300


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("encrypted", "is encrypted"),
        ("of an unknown compression", "compression"),
        ("of another checksum", "CRC-32"),
        ("shape (-1, 8, 8)", r"its shape \(-1, 8, 8\) is not one"),
        ("shape (True, 8, 8)", r"its shape \(True, 8, 8\) is not one"),
        ("packed, shape (1000000000000000000000000000000, 8, 8)", "does not fit its"),
        ("a bomb that says less", "does not fit its"),
        ("type 'O'", "holds objects of Python"),
    ],
)
def test_why_arrays_are_refused(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "set.npz").write_bytes(npz.files()[name])
    with pytest.raises(ImagesError, match=words):
        sources.at(tmp_path / "set.npz", "evaluation", None)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a size of 2^62", "is said to have more bytes than the archive"),
        ("a negative pax size", "cannot be read as a plain .tar"),
        ("a pax sparse file", "cannot be read as a plain .tar"),
        ("a deep name", "a name in it has 40,005 characters"),
    ],
)
def test_why_archives_are_refused(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "set.tar").write_bytes(TARS[name])
    assert words in refusal(lambda: sources.at(tmp_path / "set.tar", "evaluation", None))


def test_labels_of_5000_digits(tmp_path: Path) -> None:
    names = [name for name, _ in binary.classes(tmp_path, 2)]
    (tmp_path / "list.csv").write_text("".join(f"{name},{'9' * 5000}{at}\n" for at, name in enumerate(names)))
    source = sources.at(tmp_path / "list.csv", "evaluation", None)
    for classes in (4, None):
        words = refusal(lambda classes=classes: naming.settled(source, None, classes, "list.csv"))  # type: ignore[misc]
        assert "has 5,001 digits" in words


def test_a_large_label_is_refused_without_counting_up_to_it(tmp_path: Path) -> None:
    names = [name for name, _ in binary.classes(tmp_path, 2)]
    (tmp_path / "list.csv").write_text("".join(f"{name},{10**17 * at}\n" for at, name in enumerate(names)))
    source = sources.at(tmp_path / "list.csv", "evaluation", None)
    assert "but none is 1" in refusal(lambda: naming.settled(source, None, None, "list.csv"))


def test_a_line_that_never_ends(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(b"a" * (1 << 20) + b"a")
    assert "line 1 of" in refusal(lambda: sources.at(tmp_path / "list.csv", "evaluation", None))


def test_names_of_100000_letters_are_cut_in_errors(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("".join(f"{'n' * 100_000}{at},1\n" for at in range(20)))
    assert "20 of the 20 files" in refusal(lambda: sources.at(tmp_path / "list.csv", "evaluation", None))


def test_an_image_that_pillow_does_not_expect(tmp_path: Path) -> None:
    """Of a DDS with unknown flags Pillow says NotImplementedError."""
    from PIL import Image

    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "x.dds")
    data = bytearray((tmp_path / "x.dds").read_bytes())
    data[80:84] = bytes(4)
    (tmp_path / "x.dds").write_bytes(data)
    with pytest.raises(decode.BROKEN):
        decode.open_file(str(tmp_path / "x.dds"))
