"""What a worker needs, on another machine: pulled from the shared store, or refused in one line."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest

from edgeresnet.errors import MachineError
from edgeresnet.shards import fetching
from edgeresnet.shards.fetching import Source
from edgeresnet.shards.on_ray import cause_of
from edgeresnet.store import Store, shared

from ..test_store import make

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "cache", lambda: tmp_path / "cache")


def source(tmp_path: Path, *, is_shared: bool) -> Source:
    """Return where an artifact is, as it arrives at a worker."""
    store = Store.open(tmp_path / "store", str(tmp_path / "shared") if is_shared else None)
    found: Source = pickle.loads(pickle.dumps(Source.of(make(store), store.shared)))
    return found


def test_it_is_used_where_it_was_made_if_it_is_there(tmp_path: Path) -> None:
    found = source(tmp_path, is_shared=False)
    assert found.fetched() == found.path
    assert not (tmp_path / "cache").exists()


def test_it_is_pulled_once_from_the_shared_store(tmp_path: Path) -> None:
    found = source(tmp_path, is_shared=True)
    shutil.rmtree(tmp_path / "store")
    pulled = found.fetched()
    assert (pulled / "file.txt").read_text() == "content"
    shutil.rmtree(tmp_path / "shared" / "objects")
    assert found.fetched() == pulled


def test_what_workers_get_is_what_the_sender_has(tmp_path: Path) -> None:
    make(Store.open(tmp_path / "other", str(tmp_path / "shared")), text="other bytes")
    store = Store.open(tmp_path / "store")  # made before it was shared
    found = Source.of(make(store), Store.open(tmp_path / "store", str(tmp_path / "shared")).shared)
    shutil.rmtree(tmp_path / "store")
    assert (found.fetched() / "file.txt").read_text() == "content"


def test_without_a_shared_store_the_folder_is_named(tmp_path: Path) -> None:
    found = source(tmp_path, is_shared=False)
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(MachineError, match=f"does not see {found.path}, which ") as raised:
        found.fetched()
    assert "--shared s3://bucket/folder" in raised.value.hint


def test_another_artifact_of_the_same_key_is_not_taken(tmp_path: Path) -> None:
    found = source(tmp_path, is_shared=True)
    other = Store.open(tmp_path / "other", str(tmp_path / "shared"))
    make(other, text="other bytes")
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(MachineError, match=r"cannot take export from .*: it has other bytes"):
        found.fetched()


def test_a_folder_that_is_not_shared_is_refused(tmp_path: Path) -> None:
    found = source(tmp_path, is_shared=True)
    shutil.rmtree(tmp_path / "store")
    (tmp_path / "shared" / shared.MARK).write_text("cd" * 16)
    with pytest.raises(MachineError, match=r"is another one on .*: it has the mark cdcdcdcd there"):
        found.fetched()


def test_a_task_that_failed_is_reported_by_what_it_raised() -> None:
    class TaskError(Exception):
        cause = ImportError("cannot import name 'recipe'")

        def __str__(self) -> str:
            return f"ray::_do() (pid=7, ip=192.0.2.2)\n  File ...\n{self.cause}"

    assert cause_of(TaskError()) == "cannot import name 'recipe'"
    assert cause_of(ValueError("the node died\nmore")) == "the node died"
