"""A gate compares each device with its own record, and one that is missing now is not a pass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeresnet import gate
from edgeresnet.portable.result import NotMeasured, Result
from edgeresnet.runs import Run

from . import runs
from .gated import judged, words

pytestmark = pytest.mark.unit


def run_on(*devices: str, away: str = "") -> Run:
    """Return a run of OpenVINO on these devices; one of them did not answer."""
    names = {device: f"openvino@{device}" for device in devices}
    found: list[Result] = [replace(runs.result("openvino"), target=name) for name in names.values()]
    absent = NotMeasured(names.get(away, ""), f"{away} cannot be reached")
    return runs.run(*(absent if each.target == absent.target else each for each in found))


def test_each_device_is_compared_with_its_own_record() -> None:
    baseline = gate.of(run_on("orin", "nano"), gate.Margins(max_loss_pp=1.0))
    fine = words(judged(run_on("orin", "nano"), baseline))
    assert {name.split()[0] for name in fine} == {"openvino@orin", "openvino@nano"}
    assert "BROKEN" not in fine.values()
    missing = judged(run_on("orin", "nano", away="nano"), baseline)
    assert missing.verdict == "NOT_MEASURED"
    assert {one.target for one in missing.verdicts if one.verdict == "NOT_MEASURED"} == {"openvino@nano"}
