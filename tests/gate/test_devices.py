"""A gate compares each device with its own record, and one that is missing now is not a pass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeresnet import gate
from edgeresnet.errors import EdgeresnetError
from edgeresnet.portable.result import NotMeasured, Result
from edgeresnet.runs import Run

from . import runs
from .gated import judged, words

pytestmark = pytest.mark.unit


def run_on(*devices: str, away: str = "", named: object = None, slower: float = 1.0) -> Run:
    """Return a run of OpenVINO on these devices; one of them did not answer. `named`: how the recipe names them."""
    names = {device: f"openvino@{device}" for device in devices}
    times = runs.result("openvino", slower={"int8": slower})
    found: list[Result] = [replace(times, target=name) for name in names.values()]
    absent = NotMeasured(names.get(away, ""), f"{away} cannot be reached")
    recipe = {"targets": {"openvino": {"where": named or list(devices)}}}
    return runs.run(*(absent if each.target == absent.target else each for each in found), recipe=recipe)


def test_each_device_is_compared_with_its_own_record() -> None:
    baseline = gate.of(run_on("orin", "nano"), gate.Margins(max_loss_pp=1.0))
    fine = words(judged(run_on("orin", "nano"), baseline))
    assert {name.split()[0] for name in fine} == {"openvino@orin", "openvino@nano"}
    assert "BROKEN" not in fine.values()
    missing = judged(run_on("orin", "nano", away="nano"), baseline)
    assert missing.verdict == "NOT_MEASURED"
    assert {one.target for one in missing.verdicts if one.verdict == "NOT_MEASURED"} == {"openvino@nano"}


def test_other_devices_than_the_baselines_are_new_and_missing_ones_are_named() -> None:
    margins = gate.Margins(max_loss_pp=1.0, max_slowdown_pct=5.0)
    baseline = gate.of(run_on("orin", "nano"), margins)
    found = judged(run_on("orin", "xavier", named="xavier", slower=1.5), baseline)
    by_part: dict[str, set[str]] = {}
    for one in found.verdicts:
        by_part.setdefault(one.target, set()).add(one.verdict if one.by == "baseline" else "own promise")
    assert "BROKEN" in by_part["openvino@orin"], "compared with the device's own record"
    reasons = {one.target: one.reason for one in found.verdicts if one.verdict == "NOT_MEASURED"}
    assert reasons["openvino@nano"] == "missing: the run lacks openvino on nano"
    assert reasons["openvino@xavier"].startswith("new, and not compared: the baseline lacks openvino on xavier; review")
    assert by_part["openvino@xavier"] == {"NOT_MEASURED", "own promise"}
    assert judged(run_on("orin"), gate.of(run_on("orin", "nano"), margins)).verdict == "NOT_MEASURED"


def test_devices_that_a_recipe_names_in_another_way_are_the_same() -> None:
    baseline = gate.of(run_on("orin"), gate.Margins(max_loss_pp=1.0))
    assert "where" not in gate.text(baseline)
    older = replace(baseline, recipe={**baseline.recipe, "targets": {"openvino": {"where": "orin"}}})
    for each in (baseline, older):
        assert judged(run_on("orin", named="orin"), each).verdict == "KEPT"
        with pytest.raises(EdgeresnetError, match=r"targets\.openvino\.where nothing → bundle"):
            judged(run_on("orin", named="bundle"), each)
