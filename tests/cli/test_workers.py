"""Who evaluates and calibrates, as the options say."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgeresnet.cli import _workers
from edgeresnet.errors import EdgeresnetError
from edgeresnet.shards.on_ray import NICENESS
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


def test_a_sweep_has_workers_on_a_cluster_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _workers.TrialsOptions(None, None, None).start(quiet=True) is None
    with pytest.raises(EdgeresnetError, match="--workers needs --ray"):
        _workers.TrialsOptions(2, None, None).start(quiet=True)
    with pytest.raises(EdgeresnetError, match="the Ray cluster ray://head:10001 is reached from outside"):
        _workers.TrialsOptions(None, "ray://head:10001", None).start(quiet=True)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EdgeresnetError, match="--ray needs Ray, which is not installed"):
        _workers.TrialsOptions(2, "local", None).start(quiet=True)


def test_what_ray_reports_stays_out_of_stdout_and_local_workers_have_our_priority(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    internal = SimpleNamespace(print_to_stdstream=print)
    found = SimpleNamespace(dashboard_url="127.0.0.1:8265")
    context = SimpleNamespace(get_node_id=lambda: "the node")
    ray = SimpleNamespace(
        is_initialized=lambda: False,
        init=lambda *_, **__: found,
        remote=lambda **_: lambda function: function,
        get_runtime_context=lambda: context,
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray._private.worker", internal)
    monkeypatch.setenv(NICENESS, "15")  # is taken back after the test
    monkeypatch.delenv(NICENESS)
    nodes = _workers.TrialsOptions(None, "local", None).start(quiet=False)
    assert nodes is not None
    assert nodes.here == "the node"
    assert os.environ[NICENESS] == "0"
    internal.print_to_stdstream("a node died")
    assert capsys.readouterr() == ("", "Ray's dashboard: http://127.0.0.1:8265\n")


def test_versions_that_differ_are_refused_with_both(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(*_: object, **__: object) -> None:
        words = "Version mismatch: The cluster was started with:\n    Ray: 2.40.0\n    Python: 3.10.1\n"
        raise RuntimeError(f"{words}This process on node a was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False, init=init))
    with pytest.raises(EdgeresnetError) as raised:
        _workers.TrialsOptions(None, "auto", None).start(quiet=True)
    assert "Ray: 2.40.0 Python: 3.10.1" in raised.value.message
    assert "Ray: 2.60.0 Python: 3.11.7" in raised.value.message
    assert "\n" not in raised.value.message
