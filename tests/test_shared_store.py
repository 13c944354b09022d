"""A shared store in a folder: what one machine makes another one finds, and nothing half-made is seen."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest

from edgeresnet.errors import ArtifactError, EdgeresnetError, MachineError
from edgeresnet.portable import documents, manifest
from edgeresnet.store import Shared, Store, shared

from . import shared_stores
from .test_store import KEY, make

pytestmark = pytest.mark.unit


def test_an_artifact_travels(tmp_path: Path) -> None:
    shared_stores.travels(str(tmp_path / "shared"), tmp_path)


def test_changed_bytes_are_not_used(tmp_path: Path) -> None:
    shared_stores.changed_bytes_are_not_used(str(tmp_path / "shared"), tmp_path)


def test_a_damaged_artifact_is_replaced_by_the_shared_one(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "here", str(tmp_path / "shared"))
    (make(store).path / "file.txt").write_text("damaged")
    found, _ = store.find("export", KEY)
    assert found is not None
    assert (found.path / "file.txt").read_text() == "content"


def test_what_was_made_before_is_offered_once_it_is_found(tmp_path: Path) -> None:
    make(Store.open(tmp_path / "here"))
    here, there = (Store.open(tmp_path / name, str(tmp_path / "shared")) for name in ("here", "there"))
    assert there.find("export", KEY) == (None, "")
    assert here.find("export", KEY)[0] is not None
    assert there.find("export", KEY)[0] is not None


def test_what_was_interrupted_is_not_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Store.open(tmp_path / "here", str(tmp_path / "shared"))
    real = shared._put

    def killed(url: str, source: Path, name: str) -> None:
        if name.startswith("artifacts"):
            raise KeyboardInterrupt
        real(url, source, name)

    with monkeypatch.context() as patch:
        patch.setattr(shared, "_put", killed)
        with pytest.raises(KeyboardInterrupt):
            make(here)
    there = Store.open(tmp_path / "there", str(tmp_path / "shared"))
    assert there.find("export", KEY) == (None, "")
    assert here.find("export", KEY)[0] is not None  # it is complete where it was made
    make(there)
    assert Store.open(tmp_path / "third", str(tmp_path / "shared")).find("export", KEY)[0] is not None


def test_a_folder_that_is_another_one_on_each_machine_is_refused_with_both_marks(tmp_path: Path) -> None:
    one = Shared.open(str(tmp_path / "shared"))
    pickle.loads(pickle.dumps(one)).refuse_another("head")
    (tmp_path / "shared" / shared.MARK).write_text("ab" * 16 + "\n")
    with pytest.raises(MachineError, match=f"has the mark abababab there, and {one.mark[:8]} on head"):
        one.refuse_another("head")
    (tmp_path / "shared" / shared.MARK).unlink()
    with pytest.raises(MachineError, match="it has no mark there"):
        one.refuse_another("head")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_rights(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir(mode=0o500)
    with pytest.raises(ArtifactError, match="cannot be used without permission"):
        Shared.open(str(tmp_path / "shared"))


def test_a_place_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def absent(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", absent)
    with pytest.raises(EdgeresnetError, match=r"the shared store s3://bucket/absent needs a package") as raised:
        Shared.open("s3://bucket/absent")
    assert raised.value.hint == "pip install 'edgeresnet[s3]'"


def test_a_manifest_cannot_write_outside_of_its_folder(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "here", str(tmp_path / "shared"))
    written = json.loads((make(store).path / manifest.NAME).read_text().replace('"file.txt"', '"../file.txt"'))
    del written[manifest.SEAL]
    data = documents.seal(json.dumps(written).encode(), manifest.SEAL)
    assert store.shared is not None
    shared._write(store.shared.url, shared._manifest("export", KEY), data)
    found, problem = Store.open(tmp_path / "there", str(tmp_path / "shared")).find("export", KEY)
    assert found is None
    assert "names a file outside of it" in problem
