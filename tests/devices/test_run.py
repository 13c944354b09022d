"""A recipe whose target is measured on devices: in one run, judged like any result, and only what is missing again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from edgeresnet.portable.result import Measured, NotMeasured
from edgeresnet.store import Store

from ..cli.conftest import Command, command, err_of, expect, out_of  # noqa: F401 - a fixture
from ..conftest import step_of, tiny, write_recipe
from . import sshd


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sshd.Server]:
    """A device `orin` with devices.yaml in the test's folder, and one that is never there, `away`."""
    (tmp_path / "sshd").mkdir()
    found = sshd.made(tmp_path / "sshd", OMP_NUM_THREADS="1")
    found.start()
    monkeypatch.setattr("edgeresnet.devices.measuring.FIRST_S", 0.0)
    monkeypatch.setattr("edgeresnet.devices.measuring._BACKOFF_S", (0.1,))
    entry = found.device(python=sys.executable).model_dump(mode="json", exclude_unset=True)
    devices = {"orin": {**entry, "target": "onnxruntime"}, "away": {**entry, "ssh": "ssh://loopback:1"}}
    (tmp_path / "devices.yaml").write_text(yaml.safe_dump(devices))
    yield found
    found.stop()


def recipe_with(folder: Path, **target: object) -> Path:
    """Write the tiny recipe, whose training is stored already."""
    raw = tiny(verify={"processes": 1, "seconds": 0.2}, targets={"onnxruntime": target}, promises={"max_flips_pct": 50})
    return write_recipe(folder, raw)


def test_a_run_measures_on_a_device_and_the_next_one_has_nothing_to_do(
    server: sshd.Server,
    own_store: Store,
    tmp_path: Path,
    command: Command,  # noqa: F811
) -> None:
    path = recipe_with(tmp_path, where=["orin", "away"])
    out, err = expect(4, command("run", path, "--store", own_store.root))
    run = own_store.load_run()
    there, away = run.results["onnxruntime@orin"], run.results["onnxruntime@away"]
    assert isinstance(there, Measured)
    assert there.target == "onnxruntime@orin"
    assert isinstance(away, NotMeasured)
    assert away.reason.startswith("away cannot be reached: ")
    assert run.verdict_of("onnxruntime@orin") == "KEPT"
    assert "onnxruntime@orin" in out
    assert "verify:onnxruntime@away  failed: away cannot be reached" in err
    again = recipe_with(tmp_path, where="orin")
    out, err = expect(0, command("run", again, "--store", own_store.root))
    assert "nothing to do" in err
    assert (
        step_of(own_store.load_run(), "verify:onnxruntime@orin").digest
        == step_of(run, "verify:onnxruntime@orin").digest
    )
    (own_store.root / "devices" / "orin.json").write_text('{"identity": "0000000000000000"}')
    err = err_of(4, command("run", again, "--store", own_store.root))
    assert "orin is another device than last time under this name" in err


def test_on_replaces_where_and_refuses_what_is_not_known(
    server: sshd.Server,
    own_store: Store,
    tmp_path: Path,
    command: Command,  # noqa: F811
) -> None:
    path = recipe_with(tmp_path)
    err = err_of(2, command("run", path, "--store", own_store.root, "--on", "nano"))
    assert "devices.yaml (known devices: away, orin; `edgeresnet devices add" in err
    server.stop()
    err = err_of(4, command("run", path, "--store", own_store.root, "--on", "orin"))
    assert "orin cannot be reached: " in err
    out = out_of(0, command("report", "--store", own_store.root))
    assert "onnxruntime@orin" in out
