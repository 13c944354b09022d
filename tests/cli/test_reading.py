"""Commands that only read make no store, and need none where runs are named by their files."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from edgeresnet.store import Store

from ..report import runs
from .conftest import Command, out_of, refused

pytestmark = pytest.mark.unit


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs as a colleague sent them: files, and no store around them."""
    store = Store.open(tmp_path / "other")
    paths = [store.save_run(runs.run(id=f"2026010{day}-120000-000000-abcdef")) for day in "12"]
    one, other = (Path(shutil.copy(path, tmp_path / f"{name}.json")) for path, name in zip(paths, "ab", strict=True))
    shutil.rmtree(store.root)
    return one, other


@pytest.mark.parametrize(
    "words", ["compare a.json b.json", "report a.json", "report a.json --format html", "show a.json"]
)
def test_files_need_no_store_and_make_none(
    command: Command, files: tuple[Path, Path], tmp_path: Path, words: str
) -> None:
    before = sorted(tmp_path.iterdir())
    code, out, err = command(*words.split())
    assert (code, err) == (0, "")
    assert "KEPT" in out
    assert sorted(tmp_path.iterdir()) == before
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "thesis.txt").touch()
    assert command(*words.split()) == (code, out, err)
    assert [path.name for path in (tmp_path / "artifacts").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("there", [(), ("thesis.txt",), None])
@pytest.mark.parametrize(
    "words",
    [("report",), ("compare",), ("compare", "a.json"), ("compare", "2026", "b.json"), ("show",), ("predict", "x.png")],
    ids=" ".join,
)
def test_without_a_file_the_missing_store_is_the_error(
    command: Command, files: tuple[Path, Path], tmp_path: Path, words: tuple[str, ...], there: tuple[str, ...] | None
) -> None:
    store = tmp_path / "artifacts"
    (tmp_path / "x.png").touch()
    if there is not None:
        store.mkdir()
        for name in there:
            (store / name).touch()
    err = refused(command(*words))
    missing = "'2026' does not match any run" if "2026" in words else "holds no run yet"
    assert ("artifacts holds other files and is not a store" if there else missing) in err
    assert store.exists() == (there is not None)
    assert there is None or sorted(path.name for path in store.iterdir()) == sorted(there)


def test_networks_outside_a_store_are_not_used(command: Command, files: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "x.png").touch()
    refused(command("predict", "x.png", "--run", "a.json"))
    assert not (tmp_path / "artifacts").exists()


def test_a_gate_of_files_needs_no_store(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ..gate import runs as gated

    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    store = Store.open(tmp_path / "other")
    shutil.copy(store.save_run(gated.run(gated.result("openvino", began=time.time()))), tmp_path / "run.json")
    shutil.rmtree(store.root)
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "thesis.txt").touch()
    assert command("gate", "--update", "run.json")[0] == 0
    assert command("gate", "run.json")[0] == 0
    assert [path.name for path in (tmp_path / "artifacts").iterdir()] == ["thesis.txt"]
    assert "artifacts holds other files and is not a store" in refused(command("gate"))


def test_the_page_of_a_run_in_its_store_has_its_other_runs(command: Command, tmp_path: Path) -> None:
    older, newest = (runs.document(id=f"2026010{day}-120000-000000-abcdef") for day in (1, 2))
    older["results"]["openvino"]["variants"]["int8"]["digest"] = runs.digest(200)
    store = runs.stored(tmp_path / "store", *map(runs.decoded, (older, newest)))
    assert older["id"] in out_of(0, command("report", store.runs()[-1], "--format", "html", "--store", store.root))
