"""The agent in this process: files on a full disk, and the states of a job, without a line or a measurement."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from edgeresnet.devices.agent import bundles, jobs, work

pytestmark = pytest.mark.unit

BODY = b"a part of a file"
FILE = {"sha256": hashlib.sha256(BODY).hexdigest(), "offset": 0, "total": len(BODY), "size": len(BODY)}


def test_a_file_that_finds_no_room_is_removed_and_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        real = os.fdopen

        def full(*words: Any) -> Any:
            class Full:
                def __enter__(self) -> Any:
                    self.file = real(*words)
                    return self

                def __exit__(self, *problem: object) -> None:
                    self.file.close()

                def seek(self, offset: int) -> None: ...

                def write(self, data: bytes) -> None:
                    raise OSError(errno.ENOSPC, "No space left on device")

            return Full()

        patch.setattr(os, "fdopen", full)
        with pytest.raises(OSError, match="No space left"):
            bundles.put(str(tmp_path), FILE, BODY)
    assert not list((tmp_path / "objects").iterdir())
    assert bundles.stored(str(tmp_path), [FILE], False) == {FILE["sha256"]: 0}
    bundles.put(str(tmp_path), FILE, BODY)
    assert bundles.stored(str(tmp_path), [FILE], True) == {}


def test_a_file_that_was_damaged_on_its_way_or_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(bundles.Refused, match="damaged on its way"):
        bundles.put(str(tmp_path), FILE, BODY[::-1])
    bundles.put(str(tmp_path), FILE, BODY)
    (stored,) = (tmp_path / "objects").iterdir()
    stored.write_bytes(BODY[::-1])
    assert bundles.stored(str(tmp_path), [FILE], False) == {}
    assert bundles.stored(str(tmp_path), [FILE], True) == {FILE["sha256"]: 0}


def test_the_state_of_a_job_is_what_its_lock_and_its_files_show(tmp_path: Path) -> None:
    job = tmp_path / "job"
    assert jobs.state(str(job)) == {"state": "absent"}
    job.mkdir()
    (job / "job.json").write_text("{}")
    assert jobs.state(str(job)) == {"state": "lost"}, "nothing holds its lock: it was killed"
    with open(job / "alive", "w") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        assert jobs.state(str(job)) == {"state": "running"}
        (job / "waits.json").write_text('{"who": "bob@pc"}')
        assert jobs.state(str(job)) == {"state": "waiting", "holder": {"who": "bob@pc"}}
    (job / "end.json").write_text(json.dumps({"code": 0, "at": work.moment()}))
    ended = jobs.state(str(job))
    assert ended["state"] == "ended"
    assert 0 <= ended["age_s"] < 60
    assert work.age_s({"boot": "another start", "s": 1.0}) is None


def test_a_lock_names_its_holder_until_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGERESNET_LOCKS", str(tmp_path))
    assert work.holder() is None
    with open(work.lock_path(), "w") as lock:
        lock.write(json.dumps({"who": "bob@pc", "job": "j", "at": work.moment()}))
        lock.flush()
        assert work.holder() is None, "its process is dead"
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert (work.holder() or {})["who"] == "bob@pc"
