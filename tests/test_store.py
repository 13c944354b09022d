from __future__ import annotations

import errno
import json
import os
import threading
import time
from pathlib import Path

import pytest

from edgeresnet import store as artifact
from edgeresnet.errors import ArtifactError, EdgeresnetError, MachineError
from edgeresnet.portable import manifest
from edgeresnet.store import FORMAT, Artifact, Store

pytestmark = pytest.mark.unit

KEY = "ab" * 32


def make(store: Store, key: str = KEY, text: str = "content") -> Artifact:
    with store.making("trace", key) as making:
        (making.out / "file.txt").write_text(text)
        return making.commit(notes={}, spec={}, parents={}, seconds=0)


def test_what_was_made_is_found_and_its_digest_is_of_the_content_and_its_key_is_not(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one = make(store)
    found, problem = store.find("trace", KEY)
    assert found is not None
    assert found.digest == one.digest
    assert problem == ""
    assert not list((tmp_path / "work").iterdir())
    other, third = make(store, "cd" * 32), make(store, "ef" * 32, "else")
    assert one.digest == other.digest != third.digest
    assert one.key != other.key


@pytest.mark.parametrize("damage", ["byte", "manifest", "missing", "extra", "format"])
def test_a_damaged_artifact_is_a_miss_that_says_why(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    folder = make(store).path
    if damage == "byte":
        (folder / "file.txt").write_text("Content")
    elif damage == "manifest":
        (folder / "manifest.json").unlink()
    elif damage == "missing":
        (folder / "file.txt").unlink()
    elif damage == "extra":
        (folder / "new").touch()
    else:
        text = (folder / "manifest.json").read_text()
        (folder / "manifest.json").write_text(text.replace(f'"format": {FORMAT}', '"format": 99'))
    found, problem = store.find("trace", KEY)
    assert found is None
    assert str(folder) in problem
    make(store)
    assert store.find("trace", KEY)[0] is not None


def test_a_failed_making_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(RuntimeError), store.making("trace", KEY) as making:
        (making.out / "half").touch()
        raise RuntimeError
    assert store.find("trace", KEY) == (None, "")
    assert not list((tmp_path / "work").iterdir())


def test_scratch_survives_an_interruption_and_goes_with_success(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt), store.making("train", KEY) as making:
        (making.scratch / "state").write_text("epoch 3")
        raise KeyboardInterrupt
    with store.making("train", KEY) as making:
        assert (making.scratch / "state").read_text() == "epoch 3"
        making.commit(notes={})
    assert not making.scratch.exists()


def test_what_a_kill_after_the_last_rename_left_is_tidied(tmp_path: Path) -> None:
    store = Store(tmp_path)
    make(store)
    left = tmp_path / "work" / f"trace-{KEY[:24]}"
    (left / "scratch").mkdir(parents=True)
    store.tidy("trace", KEY)
    assert not left.exists()
    with store.making("trace", KEY) as making:
        store.tidy("trace", KEY)  # it is being made: hands off
        assert making.scratch.exists()
        making.commit(notes={})


def test_two_makers_of_one_key_take_turns(tmp_path: Path) -> None:
    order: list[str] = []

    def work(name: str) -> None:
        with Store(tmp_path).making("trace", KEY) as making:
            order.append(f"{name} in")
            time.sleep(0.05)
            (making.out / "file").write_text(name)
            making.commit(notes={})
            order.append(f"{name} out")

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [step.split()[1] for step in order] == ["in", "out", "in", "out"]


def test_a_prefix_finds_one_artifact(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = make(store)
    make(store, "cd" * 32, "else")
    assert store.by_prefix(made.digest[:10]).digest == made.digest
    with pytest.raises(ArtifactError, match="no artifact"):
        store.by_prefix("zz")
    with pytest.raises(ArtifactError, match="2 artifacts"):
        store.by_prefix("")


def test_runs_are_read_newest_first_and_refused_in_words(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(ArtifactError, match="no run"):
        store.load_run()
    for name in ("20260101-1", "20260102-1"):
        store.save_run({"id": name, "format": FORMAT})
    assert store.load_run()["id"] == "20260102-1"
    assert store.load_run("20260101-1")["id"] == "20260101-1"
    assert store.load_run(str(tmp_path / "runs" / "20260101-1.json"))["id"] == "20260101-1"
    with pytest.raises(ArtifactError, match="no run 'other'"):
        store.load_run("other")
    store.save_run({"id": "20260103-1", "format": 7})
    with pytest.raises(ArtifactError, match="format 7"):
        store.load_run()
    (tmp_path / "runs" / "20260104-1.json").write_text("{")
    with pytest.raises(ArtifactError, match="not a run"):
        store.load_run()
    assert store.load_run("20260102")["id"] == "20260102-1"
    with pytest.raises(ArtifactError, match="4 runs begin with"):
        store.load_run("2026")


def test_cleaning_by_age_and_by_size(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old, new = make(store, "aa" * 32, "x" * 1000), make(store, "bb" * 32, "y" * 1000)
    hours_ago = time.time() - 7200
    for file in old.path.rglob("*"):
        os.utime(file, (hours_ago, hours_ago))
    assert store.clean(older_than_s=3600)[0] == 1
    assert (old.path.exists(), new.path.exists()) == (False, True)
    assert store.clean(float("inf"), larger_than_mb=1)[0] == 0
    assert store.clean(float("inf"), larger_than_mb=0.0001)[0] == 1


def test_who_cleans_is_alone(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    with store.used(), store.used(), pytest.raises(ArtifactError, match="a run is using"), store.used(alone=True):
        raise AssertionError
    with store.used(alone=True), pytest.raises(ArtifactError, match="somebody is cleaning"), store.used():
        raise AssertionError


def test_a_folder_with_other_things_is_no_store_and_never_becomes_one(tmp_path: Path) -> None:
    (tmp_path / "train" / "cat").mkdir(parents=True)
    with pytest.raises(ArtifactError, match="is no store"):
        Store.open(tmp_path)
    assert Store.open(Store.open(tmp_path / "new").root)


def test_cleaning_removes_what_is_ours_and_nothing_else(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    made = make(store)
    store.save_run({"id": "20260101-1", "format": FORMAT})
    mine = ["train/cat/1.jpg", "cache/a.txt", "runs/notes.txt", "work/a.tex", "data/x/y", f"trace/{'z' * 24}/f"]
    for name in mine:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("precious")
    assert store.clean(older_than_s=0)[0] == 2
    assert not made.path.exists()
    assert all((tmp_path / name).read_text() == "precious" for name in mine)


def test_who_waits_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    store = Store(tmp_path)

    def second() -> None:
        with store.making("trace", KEY, lambda: told.append("waits")):
            told.append("in")

    with store.making("trace", KEY):
        thread = threading.Thread(target=second)
        thread.start()
        while not told:
            time.sleep(0.01)
    thread.join()
    assert told == ["waits", "in"]


@pytest.mark.parametrize("sealed", ["by its bytes", "by its values, as at first"])
def test_a_run_that_was_edited_is_no_evidence(tmp_path: Path, sealed: str) -> None:
    store, run = Store(tmp_path), {"id": "20260101-1", "format": FORMAT, "verdict": "BROKEN", "name": "µ\udcff"}
    path = store.save_run(run)
    if sealed != "by its bytes":
        artifact.write_text(path, json.dumps({**run, "digest": manifest.digest_of(run)}, indent=1, ensure_ascii=False))
    assert store.load_run()["verdict"] == "BROKEN"
    path.write_bytes(path.read_bytes().replace(b"BROKEN", b"KEPT"))
    with pytest.raises(ArtifactError, match="changed after it was written"):
        store.load_run()


def test_a_report_of_a_run_is_no_runs_file_and_a_newline_that_an_editor_added_changes_nothing(tmp_path: Path) -> None:
    store, run = Store(tmp_path), {"id": "20260101-1", "format": FORMAT}
    (tmp_path / "a.json").write_text(json.dumps(run))
    with pytest.raises(ArtifactError, match="a report of a run, not its file"):
        store.load_run(str(tmp_path / "a.json"))
    path = store.save_run(run)
    path.write_bytes(path.read_bytes() + b"\n")
    assert store.load_run()["id"] == "20260101-1"


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    artifact.write_text(path, "old")

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(MachineError, match="disk is full"):
        artifact.write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match="cannot be written"):
        artifact.write_text(tmp_path / "file" / "below", "x")


def test_ages_and_what_is_none() -> None:
    assert [artifact.seconds_of(text) for text in ("90s", "15m", "1.5h", "7d")] == [90, 900, 5400, 604800]
    with pytest.raises(EdgeresnetError, match="not an age"):
        artifact.seconds_of("soon")
