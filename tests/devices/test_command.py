"""`edgeresnet run` with devices, from outside: interrupted, killed and run again; two devices measure at once."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from edgeresnet.portable.result import Measured
from edgeresnet.store import Store

from ..cli.conftest import Command, command, expect  # noqa: F401 - a fixture
from ..conftest import hears_interrupts, step_of, tiny, write_recipe
from . import holding, sshd
from .holding import Holds


@pytest.fixture
def holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Holds:
    """A folder for devices of the test. None of them is left running."""
    monkeypatch.setattr("edgeresnet.devices.measuring.FIRST_S", 0.0)
    monkeypatch.setattr("edgeresnet.devices.measuring._BACKOFF_S", (0.1,))
    (tmp_path / "devices").mkdir()
    return Holds(tmp_path / "devices")


def project(folder: Path, **devices: sshd.Server | str) -> Path:
    """Write a recipe for these devices, and their devices.yaml. A device may be the address of nothing."""
    (real, *_) = (each for each in devices.values() if isinstance(each, sshd.Server))
    entries = {}
    for name, each in devices.items():
        changes = {"ssh": each} if isinstance(each, str) else {}
        device = (real if isinstance(each, str) else each).device(python=sys.executable, **changes)
        entries[name] = device.model_dump(mode="json", exclude_unset=True)
    (folder / "devices.yaml").write_text(yaml.safe_dump(entries))
    targets = {"onnxruntime": {"where": list(devices)}}
    raw = tiny(verify={"processes": 1, "seconds": 0.2}, targets=targets, promises={"max_flips_pct": 50})
    return write_recipe(folder, raw)


def started(path: Path, store: Store, *more: str) -> subprocess.Popen[str]:
    """Start `edgeresnet run` in a process group of its own, as a terminal does."""
    words = [sys.executable, "-m", "edgeresnet", "run", str(path), "--store", str(store.root), *more]
    return subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=hears_interrupts,
    )


@pytest.mark.slow
def test_a_run_that_is_interrupted_or_killed_costs_no_measurement(
    holds: Holds,
    own_store: Store,
    tmp_path: Path,
    command: Command,  # noqa: F811
) -> None:
    server = holds.device("orin")
    path, again = project(tmp_path, orin=server), ("--again", "verify:onnxruntime@orin")
    jobs = server.folder / "edgeresnet" / "jobs"
    try:
        interrupted = started(path, own_store)
        holding.until(holds.began)
        os.killpg(interrupted.pid, signal.SIGINT)
        shown, _ = interrupted.communicate()
        assert interrupted.returncode == 130, shown
        assert "asking orin to stop" in shown
        assert "verify:onnxruntime@orin  stopped" in shown
        assert "Traceback" not in shown
        assert not any(map(holding.runs, holds.began()))
        assert not list(jobs.iterdir()), "nothing of it is left there"

        digests = []
        for began, words in ((2, ()), (3, again)):
            killed = started(path, own_store, *words)
            holding.until(functools.partial(holds.has_begun, began))
            os.killpg(killed.pid, signal.SIGKILL)
            killed.communicate()
            assert any(map(holding.runs, holds.began())), "the device goes on"
            holds.go()
            err = expect(0, command("run", path, "--store", own_store.root, *words))[1]
            assert "verify:onnxruntime@orin" in err
            assert len(holds.began()) == began, "the measurement that was begun is the one that is collected"
            digests.append(step_of(own_store.load_run(), "verify:onnxruntime@orin").digest)
            holds.wait()
        assert len(set(digests)) == 2, "what was measured again replaces what was there"
        assert "nothing to do" in expect(0, command("run", path, "--store", own_store.root))[1]
        assert step_of(own_store.load_run(), "verify:onnxruntime@orin").digest == digests[1]

        def kill() -> None:
            holding.until(functools.partial(holds.has_begun, 4))
            server.cut()  # and with it the agent
            holding.kill_job(server)
            holds.go()

        killing = threading.Thread(target=kill)
        killing.start()
        err = expect(0, command("run", path, "--store", own_store.root, *again))[1]
        killing.join()
        assert "the measurement was killed there: starting it again" in err
        assert len(holds.began()) == 5
        assert not any(map(holding.runs, holds.began()))
        assert not list(jobs.iterdir())
    finally:
        holds.go()
        server.stop()


@pytest.mark.slow
def test_devices_measure_at_the_same_time_and_only_what_is_missing_is_measured_again(
    holds: Holds,
    own_store: Store,
    tmp_path: Path,
    command: Command,  # noqa: F811
) -> None:
    orin, nano = (holds.device(name, together=2) for name in ("orin", "nano"))
    try:
        path = project(tmp_path, orin=orin, nano=nano, away="ssh://loopback:1")
        err = expect(4, command("run", path, "--store", own_store.root))[1]
        run = own_store.load_run()
        assert "verify:onnxruntime@away  failed: away cannot be reached" in err
        assert {name: isinstance(each, Measured) for name, each in run.results.items()} == {
            "onnxruntime@orin": True, "onnxruntime@nano": True, "onnxruntime@away": False,
        }  # fmt: skip
        assert run.verdict_of("onnxruntime@away") == "NOT_MEASURED"
        assert [run.verdict_of(f"onnxruntime@{name}") for name in ("orin", "nano")] == ["KEPT", "KEPT"]
        assert len(holds.began()) == 2, "each waited until the other had begun, too"

        project(tmp_path, orin=orin, nano=nano, away=nano)
        expect(0, command("run", path, "--store", own_store.root))
        assert len(holds.began()) == 3
        again = own_store.load_run()
        assert isinstance(again.results["onnxruntime@away"], Measured)
        assert step_of(again, "verify:onnxruntime@orin").digest == step_of(run, "verify:onnxruntime@orin").digest
    finally:
        holds.go()
        orin.stop()
        nano.stop()
