"""What every shared store must do, on whatever it lies: tests call this with a place of their own."""

from __future__ import annotations

from pathlib import Path

from edgeresnet.store import Store, shared

from .test_store import KEY, make


def travels(url: str, tmp_path: Path) -> None:
    """Make an artifact on one machine, and find it on another, byte by byte."""
    here, there = Store.open(tmp_path / "here", url), Store.open(tmp_path / "there", url)
    assert here.shared == there.shared
    assert there.find("export", KEY) == (None, "")
    made = make(here)
    found, problem = there.find("export", KEY)
    assert found is not None, problem
    assert (found.digest, found.manifest) == (made.digest, made.manifest)
    assert (found.path / "file.txt").read_text() == "content"
    assert found.path.is_relative_to(tmp_path / "there")
    assert not list((tmp_path / "there" / "work").iterdir())
    assert there.find("export", "cd" * 32) == (None, "")


def changed_bytes_are_not_used(url: str, tmp_path: Path) -> None:
    """Damage the file, then the manifest: both are a miss that says why. Making it again mends the place."""
    here = Store.open(tmp_path / "here", url)
    record = make(here).manifest
    assert here.shared is not None
    url = here.shared.url
    for name, data, problem in (
        (shared._object(record.files[0].sha256), b"c0ntent", "file.txt has changed"),
        (shared._manifest("export", KEY), b"{}", "its manifest has changed"),
    ):
        shared._write(url, name, data)
        found, why = Store.open(tmp_path / f"other-{len(data)}", url).find("export", KEY)
        assert found is None
        assert why == f"export in {url} is damaged: {problem}"
    again = Store.open(tmp_path / "again", url)
    make(again)
    assert Store.open(tmp_path / "last", url).find("export", KEY)[0] is not None
