"""What is sent to a device: which job it is, and so which measurement a later run finds there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgeresnet.devices.book import Device
from edgeresnet.pipeline.planner import device_step
from edgeresnet.pipeline.remote import Devices, Errand
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
