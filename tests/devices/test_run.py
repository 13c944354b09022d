"""A recipe whose target is measured on devices: in one run, judged like any result, and only what is missing again."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeresnet.devices import looking, ssh
from edgeresnet.notes import VerifyNotes
from edgeresnet.portable.result import Measured, NotMeasured
from edgeresnet.stages.export import contents
from edgeresnet.store import Store
from edgeresnet.tune import forecast

from ..cli.conftest import Command, command, err_of, expect, out_of  # noqa: F401 - a fixture
from ..conftest import step_of, tiny, write_recipe
from . import sshd
from .test_state import YEAR_S


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sshd.Server]:
    """A device `orin` with devices.yaml in the test's folder, and one that is never there, `away`.

    Its clock is a year ahead.
    """
    (tmp_path / "sshd").mkdir()
    found = sshd.made(tmp_path / "sshd", OMP_NUM_THREADS="1")
    sshd.set_clock(found, YEAR_S)
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
    path, began = recipe_with(tmp_path, where=["orin", "away"]), time.time()
    out, err = expect(4, command("run", path, "--store", own_store.root))
    run = own_store.load_run()
    assert server.logins() == 1
    there, away = run.results["onnxruntime@orin"], run.results["onnxruntime@away"]
    assert isinstance(there, Measured)
    assert there.target == "onnxruntime@orin"
    assert isinstance(away, NotMeasured)
    assert away.reason.startswith("away cannot be reached: ")
    assert run.verdict_of("onnxruntime@orin") == "KEPT"
    assert "onnxruntime@orin" in out
    step = step_of(run, "verify:onnxruntime@orin")
    assert isinstance(step.notes, VerifyNotes)
    assert step.notes.measured is not None
    assert began < step.notes.measured < time.time()
    assert "its clock was 365 days ahead: the time of the measurement is corrected" in [w.text for w in step.warnings]
    assert "verify:onnxruntime@away  failed: away cannot be reached" in err
    again = recipe_with(tmp_path, where="orin")
    out, err = expect(0, command("run", again, "--store", own_store.root))
    assert "nothing to do" in err
    assert step_of(own_store.load_run(), "verify:onnxruntime@orin").digest == step.digest
    (own_store.root / "devices" / "orin.json").write_text('{"identity": "0000000000000000"}')
    err = err_of(4, command("run", again, "--store", own_store.root))
    assert "orin is another device than last time under this name" in err


@pytest.mark.slow
def test_a_result_that_is_damaged_or_of_another_bundle_is_not_used(
    server: sshd.Server,
    own_store: Store,
    tmp_path: Path,
    command: Command,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is fetched again, in case that the line damaged it; the last reason is the one that is shown."""
    real, fetched = looking.request, list[str]()

    def request(connection: ssh.Connection, op: str, **fields: object) -> tuple[dict[str, Any], bytes]:
        answer, body = real(connection, op, **fields)
        if op != "fetch":
            return answer, body
        fetched.append(op)
        if len(fetched) < 3:
            return answer, body.replace(b'"format"', b'"farmat"')
        document = json.loads(body)
        del document["digest"]
        return answer, json.dumps(contents.sealed({**document, "bundle": "0" * 64})).encode()

    monkeypatch.setattr(looking, "request", request)
    path = recipe_with(tmp_path, where="orin")
    err = err_of(4, command("run", path, "--store", own_store.root))
    words = "orin sent a result that is not used: the result is of bundle 000000000000, and not of this one"
    assert words in " ".join(err.split())
    assert len(fetched) == 3


@pytest.mark.slow
def test_a_search_for_float_layers_goes_on_after_a_devices_verdict(
    server: sshd.Server,
    own_store: Store,
    tmp_path: Path,
    command: Command,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first forecast expects no change at all: INT8 in all layers is not KEPT there, and another bundle follows."""
    monkeypatch.setattr(forecast, "_MARGINS", (0.0, 4.0, 4.0, 4.0))
    raw = tiny(
        images__calibration={"from": "training", "count": 64}, train__epochs=1, train__rate=1e-5,
        quantize={"exclude": "auto", "minutes": 5}, verify={"processes": 1, "seconds": 0.2},
        targets={"onnxruntime": {"where": "orin"}}, promises={"max_flips_pct": 2.0},
    )  # fmt: skip
    path = write_recipe(tmp_path, raw)
    _, err = expect(0, command("run", path, "--store", own_store.root))
    assert len(re.findall(r"verify:onnxruntime@orin +[0-9.]+ s", err)) == 2, "two bundles were measured there"
    run = own_store.load_run()
    (verdict,) = run.verdicts
    assert (verdict.target, verdict.verdict) == ("onnxruntime@orin", "KEPT")
    assert "verdict 2 of at most 4 on these images" in verdict.reason
    _, err = expect(0, command("run", path, "--store", own_store.root))
    assert "nothing to do" in err
    assert own_store.load_run().verdicts == run.verdicts
    assert "stages are done" in out_of(0, command("plan", path, "--store", own_store.root))


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
