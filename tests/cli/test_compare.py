"""The command `compare`: which runs it takes, what it refuses in a line, and the same page in three formats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeresnet.store import Store

from ..report import runs as stored_runs
from ..report.test_compared import document
from .conftest import Command, err_of, expect, refused

pytestmark = pytest.mark.unit


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.open(tmp_path / "store")
    for number in (1, 2, 3):
        store.save_run(stored_runs.decoded(document(str(number), wrong=number)))
    return store


def test_which_runs_are_compared(command: Command, store: Store) -> None:
    """None: the two newest. One: the newest against it. A file may be of another store."""
    file = store.root / "runs" / "20260101-000001.json"
    for names, wanted in (
        ([], "23"),
        (["20260101-000001"], "13"),
        (["20260101-000003", "20260101-000001"], "31"),
        ([file, "20260101-000002", "20260101-000003"], "123"),
    ):
        code, out, err = command("compare", *names, "--store", store.root)
        assert (code, err) == (0, "")
        heads = [line.split()[1][-1] for line in out.splitlines()[: len(wanted)]]
        assert "".join(heads) == wanted


def test_three_formats_and_a_file(command: Command, store: Store) -> None:
    for kind, words in (("terminal", "What changed"), ("md", "## What changed"), ("json", '"changed"')):
        out, _ = expect(0, command("compare", "--store", store.root, "--format", kind))
        assert words in out
        assert command("compare", "--store", store.root, "--format", kind, "--output", "page")[1] == ""
        assert Path("page").read_text() == out
    assert json.loads(out)["differences"][1]["accuracy"]["flips_lost"] == 1


def test_what_cannot_be_compared_is_one_line(command: Command, store: Store, tmp_path: Path) -> None:
    runs = store.root / "runs"
    (runs / "20250101-old.json").write_text(json.dumps({"format": 1, "id": "20250101-old"}))
    (runs / "20250102-html.json").write_text("<html>")
    edited = (runs / "20260101-000001.json").read_text().replace("UNDECIDED", "KEPT")
    (runs / "20250103-edited.json").write_text(edited)
    for names, words in (
        (["20260101-000003"], "would be compared with itself"),
        (["2026", "20260101-000002"], "'2026' matches 3 runs"),
        (["1999", "20260101-000002"], "'1999' does not match any run"),
        (["nowhere.json", "20260101-000002"], "the run nowhere.json does not exist"),
        (["20250101"], "is a run of format 1, but this version reads 2"),
        (["20250102"], "cannot be read: it is not JSON: line 1"),
        (["20250103"], "it was changed after it was written"),
    ):
        assert words in refused(command("compare", *names, "--store", store.root))
    assert "holds no run yet" in err_of(2, command("compare", "--store", tmp_path / "empty"))


def test_a_single_run_has_nothing_to_be_compared_with(command: Command, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "one")
    store.save_run(stored_runs.decoded(document("1")))
    assert "has one run, and nothing to compare it with" in err_of(2, command("compare", "--store", store.root))
