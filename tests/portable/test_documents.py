"""Files that somebody else wrote: what is read at all, and in which words the rest is refused."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeresnet.errors import ArtifactError, MachineError
from edgeresnet.portable import documents
from edgeresnet.portable.documents import Missing, Unreadable
from edgeresnet.portable.frozen import dataclass

pytestmark = pytest.mark.unit


@dataclass(frozen=True)
class Named:
    name: str
    count: int = 0


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "does not exist"),
        (Path.mkdir, "is a folder, not a file"),
        (os.mkfifo, "is a pipe, not a file"),
        (_socket, "is a socket"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device, not a file"),
        (lambda path: path.symlink_to(path.name), "is a link that leads to itself"),
        (lambda path: path.write_bytes(b"x" * 11), "is larger than 0 kB"),
    ],
)
def test_only_regular_small_files_are_read(tmp_path: Path, make: Callable[[Path], object], words: str) -> None:
    make(tmp_path / "it")
    with pytest.raises(Unreadable) as caught:
        documents.read_bytes(tmp_path / "it", 10)
    assert words in str(caught.value) or ("socket" in words and "cannot be read" in str(caught.value))


@pytest.mark.parametrize(
    ("name", "words"), [("n" * 5000, "path that is too long"), ("a\0b", "name that no file can have")]
)
def test_a_name_that_no_file_has_is_refused_in_words(name: str, words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        documents.read_bytes(Path(name))
    with pytest.raises(Unreadable, match=words):
        documents.check_regular(Path(name))


def test_a_file_below_a_file_does_not_exist_and_a_pipe_is_never_waited_for(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unreadable, match="does not exist"):
        documents.read_bytes(tmp_path / "file" / "below")
    with pytest.raises(Missing):
        documents.read_bytes(tmp_path / "absent")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unreadable, match="is a pipe"):
        documents.check_regular(tmp_path / "pipe")
    assert documents.read_bytes(tmp_path / "file") == b""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON: line 1, column 2"),
        ("", "is not JSON: line 1"),
        ('{"a": 1, "a": 2}', "has the key 'a' twice"),
        ("[NaN]", "holds NaN"),
        ("[-Infinity]", "holds -Infinity"),
        ("[" * 66 + "]" * 66, "more than 64 levels"),
        ('{"a":' * 66 + "1" + "}" * 66, "more than 64 levels"),
        ("[" * 100_000, "more than 64 levels"),
        ("9" * 5000, "a number of too many digits"),
        (b"\xff\xfe{}", "is not a text in UTF-8"),
    ],
)
def test_what_is_not_plain_json_is_refused(text: str | bytes, words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        documents.parse_json(text)


def test_plain_json_is_read() -> None:
    assert documents.parse_json(b'{"a": [1, 2.5, null, "\\u00e9"]}') == {"a": [1, 2.5, None, "é"]}
    assert documents.parse_json("[" * 65 + "]" * 65)


def test_a_document_that_does_not_fit_its_type_names_the_file_and_the_path(tmp_path: Path) -> None:
    path = tmp_path / "it.json"
    path.write_text('{"name": "x", "count": "many"}')
    with pytest.raises(ArtifactError) as caught:
        documents.read_json(path, Named, hint="write it again")
    assert caught.value.message == f"{path} is not valid: count: is a string, not an integer: 'many'"
    assert documents.stored_json(path, Named) is None
    path.write_text("{")
    with pytest.raises(ArtifactError, match="is not JSON"):
        documents.read_json(path, Named, hint="write it again")
    path.write_text('{"name": "x"}')
    assert documents.read_json(path, Named, hint="") == documents.stored_json(path, Named) == Named("x")
    assert documents.stored_json(tmp_path / "absent", Named) is None


def test_a_full_disk_is_the_machines_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device", "it")

    (tmp_path / "it").touch()
    monkeypatch.setattr(os, "open", full)
    with pytest.raises(MachineError):
        documents.read_bytes(tmp_path / "it")


def test_a_long_path_is_shown_by_its_ends() -> None:
    assert documents.shown(Path("a/b.json")) == "a/b.json"
    assert len(documents.shown("x" * 6000)) <= 120


def test_a_seal_covers_every_byte() -> None:
    sealed = documents.seal(b'{"a":1}', "seal")
    assert documents.is_sealed(sealed, "seal")
    assert not documents.is_sealed(sealed, "digest")
    for place in range(len(sealed)):
        assert not documents.is_sealed(sealed[:place] + b"~" + sealed[place + 1 :], "seal")
