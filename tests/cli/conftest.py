"""A command as a user runs it: in an empty folder, by its words, with what it prints and its exit code."""

from __future__ import annotations

import contextlib
import errno
import io
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgeresnet.cli import main
from edgeresnet.runs import Run
from edgeresnet.store import Store

from ..conftest import traced
from .deployed import ASKED, SHORT, deployed

Command = Callable[..., tuple[int, str, str]]


def call_main(monkeypatch: pytest.MonkeyPatch, arguments: tuple[object, ...]) -> int:
    """Call edgeresnet in this process; return the exit code."""
    monkeypatch.setattr(sys, "argv", ["edgeresnet", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Call edgeresnet in an empty folder: `command("run", path)` returns the exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = call_main(monkeypatch, arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def expect(code: int, answer: tuple[int, str, str]) -> tuple[str, str]:
    """Compare a call's exit code with the expected one; return its stdout and stderr."""
    given, out, err = answer
    assert given == code, out + err
    assert "Traceback" not in err
    return out, err


def out_of(code: int, answer: tuple[int, str, str]) -> str:
    return expect(code, answer)[0]


def err_of(code: int, answer: tuple[int, str, str]) -> str:
    return expect(code, answer)[1]


def refused(answer: tuple[int, str, str], code: int = 2) -> str:
    """Check that a refusal prints one line with an error, and nothing else; return that line."""
    out, err = expect(code, answer)
    assert (out, len(err.splitlines())) == ("", 1), err
    assert err.startswith("error: ")
    return err


def close(monkeypatch: pytest.MonkeyPatch, looks: str, is_closed: Callable[[Path], bool]) -> None:
    """Make `Path.<looks>` fail as Python does below a folder that the user may not read."""
    looked = getattr(Path, looks)

    def refuse(path: Path, **how: Any) -> Any:
        if is_closed(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return looked(path, **how)

    monkeypatch.setattr(Path, looks, refuse)


def silently(folder: Path, *arguments: object) -> str:
    """Call edgeresnet in that folder; return what it printed. For the work of a fixture that many tests copy."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.chdir(folder)
        assert call_main(patch, arguments) == 0, err.getvalue()
    return out.getvalue()


@dataclass(frozen=True)
class Exported:
    """A bundle for onnxruntime, the store that made it, and what deploy.py wrote into the bundle."""

    store: Store
    bundle: Path

    @property
    def result(self) -> Path:
        return self.bundle / "result.json"


@pytest.fixture(scope="session")
def exported(once: Any, trained: tuple[Store, Run]) -> Path:
    """The folder of an export that was measured on its device: made once, copied by `made` and `measured`."""

    def export(folder: Path) -> None:
        shutil.copytree(trained[0].root, folder / "store")
        shutil.copy(traced(trained[1]), folder / "net.onnx")
        words = ("--target", "onnxruntime", "--output", "out", "--store", "store")
        silently(folder, "export", "net.onnx", *ASKED, *words)
        done = deployed(folder / "out" / "net-onnxruntime", "onnxruntime", *SHORT)
        assert done.returncode == 0, done.stderr

    return once("exported", export)


@pytest.fixture
def measured(exported: Path, tmp_path: Path) -> Exported:
    """A bundle with its result, and the store where the result is judged; a test may damage them."""
    shutil.copytree(exported, tmp_path / "exported")
    return Exported(Store(tmp_path / "exported" / "store"), tmp_path / "exported" / "out" / "net-onnxruntime")


@pytest.fixture
def made(measured: Exported) -> Path:
    """The same bundle before it ran anywhere."""
    measured.result.unlink()
    shutil.rmtree(measured.bundle / "built")
    return measured.bundle
