"""What is sent to a device: which job it is, and so which measurement a later run finds there."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgeresnet.devices import measuring, ssh
from edgeresnet.devices.book import Device
from edgeresnet.errors import TargetError
from edgeresnet.pipeline.planner import device_step
from edgeresnet.pipeline.remote import Devices, Errand, Shown
from edgeresnet.store import Store

pytestmark = pytest.mark.unit


def job(folder: Path, *, bundle: str = "b" * 64, again: str = "", device: str = "orin") -> str:
    known = {name: Device(ssh=f"me@{name}") for name in ("orin", "nano")}
    given: Any = SimpleNamespace(digest=bundle, path=folder)
    return Devices(known, Store(folder))._order(Errand(device_step("onnxruntime", device), given, again)).job


def test_a_job_is_found_again_until_its_result_is_stored(tmp_path: Path) -> None:
    """A run that was killed has stored nothing: the next one names the same job, also where it measures again."""
    first, again = job(tmp_path), job(tmp_path, again="1" * 64)
    assert (job(tmp_path), job(tmp_path, again="1" * 64)) == (first, again)
    others = [
        job(tmp_path, again="2" * 64),
        job(tmp_path, bundle="c" * 64),
        job(tmp_path, device="nano"),
        job(tmp_path / "other"),
    ]
    assert len({first, again, *others}) == 6


def test_devices_measure_at_once_and_one_that_fails_ends_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of three waits until all have begun; on one device its two errands come one after the other."""
    together, done = threading.Barrier(3, timeout=60), list[str]()

    def measure(order: measuring.Order[Any], *words: object) -> Any:
        if order.target == "onnxruntime":
            together.wait()
        done.append(f"{order.name} {order.target}")
        raise TargetError(order.name, "has a full disk", hint="free some space")

    monkeypatch.setattr(measuring, "measure", measure)
    bundle: Any = SimpleNamespace(digest="b" * 64, path=tmp_path)
    devices = Devices({name: Device(ssh=f"me@{name}") for name in ("orin", "nano", "pc")}, Store(tmp_path))
    places = [(target, name) for name in devices.known for target in ("onnxruntime", "openvino")]
    devices.errands = [Errand(device_step(*place), bundle, "") for place in places]
    found = {(each.step.id.target, each.reason) for each in devices.measure(_UNSEEN)}
    assert found == {(f"{target}@{name}", f"{name} has a full disk") for target, name in places}
    assert all(done.index(f"{name} onnxruntime") < done.index(f"{name} openvino") for name in devices.known)


_UNSEEN = Shown(lambda *count: None, lambda *sentence: None)


def test_a_device_that_is_away_is_tried_once_in_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its other targets end with the same reason, also those of a later round of a search."""
    tried: list[str] = []

    def connection(line: ssh.Line) -> Any:
        tried.append(line.name)
        raise ssh.Dropped("no route to host", "check the network")

    monkeypatch.setattr(ssh.Line, "connection", connection)
    monkeypatch.setattr(measuring, "FIRST_S", 0.0)
    monkeypatch.setattr(measuring, "_BACKOFF_S", (0.0,))
    bundle: Any = SimpleNamespace(digest="b" * 64, path=tmp_path)
    devices = Devices({name: Device(ssh=f"me@{name}") for name in ("orin", "nano")}, Store(tmp_path))
    for targets in (("onnxruntime", "openvino"), ("tensorrt",)):
        devices.errands = [Errand(device_step(each, "orin"), bundle, "") for each in targets]
        found = list(devices.measure(_UNSEEN))
        assert {outcome.state for outcome in found} == {"failed"}
        assert {outcome.reason for outcome in found} == {"orin cannot be reached: no route to host"}
        assert {outcome.hint for outcome in found} == {"check the network"}
    assert tried == ["orin"] * measuring.FIRST_TIMES
    devices.errands = [Errand(device_step("onnxruntime", "nano"), bundle, "")]
    list(devices.measure(_UNSEEN))
    assert tried.count("nano") == measuring.FIRST_TIMES, "another device is tried"
