"""The last net: what no reader expected of a file that the user named is an input error, and all else is a bug."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from edgeresnet import recipe

from .conftest import Command, err_of, refused

pytestmark = pytest.mark.unit


def _reads(monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    def read(path: Path, *_: object) -> None:
        raise problem

    monkeypatch.setattr(recipe, "load", read)


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (ValueError("cannot reshape array"), "mine.yaml cannot be read: cannot reshape array"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "pictures/x"), "pictures/x cannot be read: File name too"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "mine.yaml"), "mine.yaml cannot be read: Is a directory"),
    ],
)
def test_an_unexpected_problem_with_a_named_file_is_an_input_error(
    command: Command, monkeypatch: pytest.MonkeyPatch, problem: Exception, words: str
) -> None:
    Path("mine.yaml").write_text("images: {evaluation: pictures}")
    _reads(monkeypatch, problem)
    err = refused(command("plan", "mine.yaml"))
    assert words in err
    assert "EDGERESNET_DEBUG=1" in err
    monkeypatch.setenv("EDGERESNET_DEBUG", "1")
    code, _, err = command("plan", "mine.yaml")
    assert (code, "Traceback" in err) == (2, True)


@pytest.mark.parametrize(
    "problem",
    [KeyError("lost"), FileNotFoundError(errno.ENOENT, "No such file", "/another/file"), TypeError("of ours")],
)
def test_any_other_problem_is_a_bug(command: Command, monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    def schema() -> None:
        raise problem

    monkeypatch.setattr(recipe, "schema", schema)
    code, _, err = command("schema", "recipe")
    assert code == 1
    assert "this is a bug of edgeresnet" in err
    assert "Traceback" in err


def test_an_error_line_is_never_longer_than_a_person_reads(command: Command) -> None:
    err = err_of(2, command("plan", "d" * 5000))
    assert len(err) <= 301
    text = "version: 1\nmodel: {arch: " + "r" * 100_000 + "}\n"
    Path("mine.yaml").write_text(text + "".join(f"unknown_{number}: 1\n" for number in range(500)))
    err = err_of(2, command("plan", "mine.yaml"))
    assert max(map(len, err.splitlines())) <= 300
    assert "… and " in err
    assert len(err.splitlines()) < 30
