"""Every stored format with one place changed: it is read as its type, or refused in one line. Never anything else.

200 documents of each format in the unit tier, 5,000 at night.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeresnet import gate, report
from edgeresnet.errors import EdgeresnetError
from edgeresnet.portable import codec, manifest
from edgeresnet.runs import Run
from edgeresnet.stages.export import contents
from edgeresnet.store import Store, manifest_in
from edgeresnet.store import run_file as runs_on_disk

from ..gate import gated
from ..gate import runs as gate_runs
from ..portable import results, test_contents
from ..report import runs as report_runs
from . import documents
from .attempt import LONGEST_LINE
from .mutations import CHANGES, changed, trails, written


@dataclass(frozen=True)
class Format:
    """A stored format: a document, how it is written so that its digest fits, and all that reads it."""

    document: Callable[[], Any]
    spell: Callable[[Any], str]
    read: Callable[[Path], object]


def _read_run(path: Path) -> Run:
    run = runs_on_disk.read(path)
    for render in report.FORMATS.values():
        render(run)
    return run


def _read_baseline(path: Path) -> object:
    return gated.judged(gate_runs.run(), gate.read(path))


def _read_manifest(path: Path) -> object:
    folder = path.parent / "made"
    folder.mkdir(exist_ok=True)
    (folder / manifest.NAME).write_bytes(path.read_bytes())
    return manifest_in(folder)


def _read_about(path: Path) -> object:
    return contents.read_about(path.replace(path.with_name(contents.ABOUT)).parent)


def _result() -> Any:
    every = {
        name: results.variant(results.latency([results.process([1.0, 2.0], peak_memory_mb=9.0)]), predicted=[0, 1])
        for name in ("fp32", "int8")
    }
    about = {"classes": ["a", "b"], "labels": [0, 1], "reference_predicted": [0, 1]}
    return codec.encode(contents.DeviceResult(1, "b" * 64, 1.78e9, results.measured("int8", every, **about)))


@cache
def _manifest() -> str:
    from tempfile import TemporaryDirectory

    from ..test_store import make

    with TemporaryDirectory() as folder:
        return (make(Store(Path(folder))).path / manifest.NAME).read_text()


def _sealed_manifest(document: Any) -> str:
    data = written({key: value for key, value in document.items() if key != "seal"}).encode("utf-8", "backslashreplace")
    return documents.sealed_bytes(data, "seal").decode()


def _baseline() -> Any:
    return json.loads(gate.text(gated.BASELINE))


FORMATS = {
    "run": Format(report_runs.document, documents.sealed_run, _read_run),
    "baseline": Format(_baseline, documents.sealed_baseline, _read_baseline),
    "result": Format(_result, lambda found: documents.with_digest({**found, "digest": ""}), contents.opened),
    "manifest": Format(lambda: json.loads(_manifest()), _sealed_manifest, _read_manifest),
    "bundle": Format(lambda: test_contents.ABOUT, written, _read_about),
}


def _check(name: str, places: st.DataObject, folder: Path) -> None:
    form = FORMATS[name]
    document = form.document()
    trail = places.draw(st.sampled_from(trails(document)))
    change = places.draw(st.sampled_from(CHANGES))
    path = folder / "document.json"
    path.write_text(form.spell(changed(document, trail, change)), encoding="utf-8", errors="backslashreplace")
    refusal = None
    try:
        form.read(path)
    except EdgeresnetError as problem:
        refusal = problem
    assert refusal is None or len(refusal.message) + len(refusal.hint) < 2 * LONGEST_LINE


def _settings(count: int, *, same: bool = False) -> settings:
    """Return settings; with `same`, every call tries the same examples."""
    every = list(HealthCheck)
    return settings(max_examples=count, deadline=None, suppress_health_check=every, database=None, derandomize=same)


@pytest.mark.unit
@pytest.mark.parametrize("name", FORMATS)
def test_a_changed_document_is_read_or_refused(name: str, tmp_path: Path) -> None:
    @_settings(200, same=True)
    @given(st.data())
    def holds(places: st.DataObject) -> None:
        _check(name, places, tmp_path)

    FORMATS[name].read(_as_it_is(name, tmp_path))
    holds()


@pytest.mark.nightly
@pytest.mark.parametrize("name", FORMATS)
def test_many_changed_documents_are_read_or_refused(name: str, tmp_path: Path) -> None:
    @_settings(5000)
    @given(st.data())
    def holds(places: st.DataObject) -> None:
        _check(name, places, tmp_path)

    holds()


def _as_it_is(name: str, folder: Path) -> Path:
    """Write the document unchanged: it must be read, or the test would test nothing."""
    path = folder / "document.json"
    path.write_text(FORMATS[name].spell(FORMATS[name].document()), encoding="utf-8", errors="backslashreplace")
    return path
