"""Who evaluates and calibrates, as the options say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgeresnet.cli import _workers
from edgeresnet.errors import EdgeresnetError
from edgeresnet.shards.processes import Processes

pytestmark = pytest.mark.unit


def test_one_worker_is_this_process() -> None:
    assert _workers.ScaleOptions(None, None, None).start(quiet=True) is None
    assert _workers.ScaleOptions(1, None, None).start(quiet=True) is None
    several = _workers.ScaleOptions(3, None, None).start(quiet=True)
    assert isinstance(several, Processes)
    assert several.count == 3


def test_ray_takes_no_number_of_workers() -> None:
    with pytest.raises(EdgeresnetError, match="--workers cannot be combined with --ray"):
        _workers.ScaleOptions(3, "auto", None).start(quiet=True)


def test_without_ray_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EdgeresnetError, match="--ray needs Ray, which is not installed") as raised:
        _workers.ScaleOptions(None, "local", None).start(quiet=True)
    assert raised.value.hint == "pip install 'edgeresnet[ray]'"


def test_a_store_shares_where_that_is_wanted(tmp_path: Path) -> None:
    assert _workers.ScaleOptions(None, None, None).open_store(tmp_path / "a").shared is None
    shared = _workers.ScaleOptions(None, None, str(tmp_path / "shared")).open_store(tmp_path / "b").shared
    assert shared is not None
    assert shared.url == str(tmp_path / "shared")
