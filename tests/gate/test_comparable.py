"""Which runs a gate compares with a baseline, and what it reports of those that it cannot compare."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from edgeresnet import gate
from edgeresnet.errors import EdgeresnetError
from edgeresnet.notes import TraceNotes
from edgeresnet.portable.result import Deferred, Measured, NotMeasured, Promise
from edgeresnet.runs import Problem, Run, StepId

from . import runs
from .gated import BASELINE, NO_MARGINS, baseline_of_openvino, judged, of_openvino, words

pytestmark = pytest.mark.unit

BOTH_TARGETS: dict[str, object] = {"openvino": {}, "onnxruntime": {}}


def test_fewer_builds_than_the_baselines_are_not_a_pass() -> None:
    complete = runs.altered(runs.run(), lambda result: replace(result, rebuilds=(result.shipped,)))
    baseline = gate.of(complete, gate.Margins())
    assert judged(complete, baseline).verdict == "KEPT"
    found = judged(runs.run(), baseline)
    assert words(found)["openvino max_loss_pp"] == "NOT_MEASURED"
    reason = next(one.reason for one in found.verdicts if one.target == "openvino")
    assert reason == "the run has 1 of the baseline's 2 builds: set `verify.rebuilds`"


def test_a_note_names_the_baselines_own_measurement() -> None:
    def measured(digest: str) -> Run:
        document = runs.run()
        return replace(document, steps=(*document.steps, runs.step(StepId("verify", "openvino"), digest)))

    baseline = gate.of(measured("b" * 64), gate.Margins())
    (note,) = judged(measured("b" * 64), baseline).notes
    assert note == "openvino: the baseline was made from this measurement, and nothing was measured since"
    assert judged(measured("c" * 64), baseline).notes == ()


def test_without_a_name_a_network_is_known_by_what_was_traced() -> None:
    def traced(parameters: int, checkpoint: str) -> Run:
        notes = TraceNotes(0.0, 1, 17, {"Conv": 3}, parameters)
        model = {"arch": None, "classes": runs.CLASSES, "checkpoint": checkpoint}
        return runs.run(recipe={"model": model}, steps=(runs.step(StepId("trace"), "e" * 64, notes),))

    baseline = gate.of(traced(1000, "v1.onnx"), gate.Margins())
    assert judged(traced(1000, "v2.onnx"), baseline).verdict == "KEPT", "its weights may be others"
    with pytest.raises(EdgeresnetError, match=r"another model .*: model\.parameters 1000 → 1001"):
        judged(traced(1001, "v1.onnx"), baseline)
    early = replace(traced(1000, "v1.onnx"), steps=(), problem=Problem("no room", "", "trace"))
    found = judged(early, baseline)
    assert found.verdict == "NOT_MEASURED"
    (one,) = (each for each in found.verdicts if each.target == "run")
    assert one.reason == "it ended early in step trace: no room"


@pytest.mark.parametrize(
    ("began", "reason"),
    [
        (runs.NOW - 3600, "measured 75 min ago, but --max-age is 1 h"),
        (runs.NOW - 30 * 86400, "measured 30 d ago"),
        (runs.NOW + 86400, "in the future: set the clock"),
        (math.nan, "the time of the measurement is unknown"),
    ],
)
def test_a_stale_run_is_not_a_pass(began: float, reason: str) -> None:
    found = judged(runs.run(runs.result("openvino", began=began), runs.result("onnxruntime")))
    mine = [one for one in found.verdicts if one.target == "openvino"]
    assert {one.verdict for one in mine} == {"NOT_MEASURED"}, "the recipe's own promises too"
    assert all(reason in one.reason for one in mine)
    assert {one.verdict for one in found.verdicts if one.target != "openvino"} == {"KEPT"}
    alone = runs.run(runs.result("openvino", began=runs.NOW - 3600))
    assert judged(alone, baseline_of_openvino(), max_age_s=7200).verdict == "KEPT"


def test_other_images_in_equal_number_are_refused() -> None:
    with pytest.raises(EdgeresnetError) as caught:
        judged(runs.run(runs.result("openvino", images="o" * 64), runs.result("onnxruntime")), path="gate.json")
    assert caught.value.message == (
        "gate.json is of other images than openvino: iiiiiiiiiiii (2000 images) in the baseline, oooooooooooo "
        "(2000 images) in this run"
    )


@pytest.mark.parametrize(
    ("section", "changes", "what", "key"),
    [
        (
            "model",
            {"arch": "resnet50", "classes": runs.CLASSES, "checkpoint": "weights/v1.pth"},
            "model",
            "model.arch resnet18",
        ),
        ("quantize", {"effort": "best"}, "recipe", "quantize.effort fast"),
    ],
)
def test_another_recipe_is_refused_or_noted(section: str, changes: Any, what: str, key: str) -> None:
    problem = f"another {what} (ffffffffffff in the baseline, aaaaaaaaaaaa in this run): {key}"
    document = runs.run(recipe={section: changes}, recipe_digest="a" * 64)
    with pytest.raises(EdgeresnetError) as caught:
        judged(document)
    assert problem in caught.value.message
    found = judged(document, across_recipes=True)
    assert found.verdict == "KEPT"
    assert problem in found.notes[0]


def test_other_weights_and_promises_of_the_same_recipe_are_what_is_judged() -> None:
    document = runs.run(
        promises=(Promise("max_drop_pp", 20.0),),
        recipe={"model": {"arch": "resnet18", "classes": runs.CLASSES, "checkpoint": "weights/v2.pth"}},
        recipe_digest="a" * 64,
        steps=(runs.step(StepId("trace"), "a" * 64),),
    )
    found = judged(document)
    assert found.verdict == "KEPT"
    assert found.notes == (
        "the recipe's own promises differ from those in the baseline",
        "trace: the network differs from the baseline's, eeeeeeeeeeee → aaaaaaaaaaaa",
    )


def test_a_note_names_what_ships_and_versions_that_changed() -> None:
    def changed(result: Measured) -> Measured:
        return replace(result, ships="half", versions={"openvino": "2.0"})

    notes = judged(runs.altered(runs.run(), changed)).notes
    assert notes == ("openvino: half would ship, but int8 in the baseline", "openvino: openvino 1.0 → openvino 2.0")


def test_a_target_that_vanished_is_not_a_pass() -> None:
    found = judged(runs.run(runs.result("openvino"), recipe={"targets": BOTH_TARGETS}))
    assert found.verdict == "NOT_MEASURED"
    assert words(found)["onnxruntime max_loss_pp"] == "NOT_MEASURED"


def test_a_target_that_was_not_reviewed_is_not_a_pass() -> None:
    baseline = baseline_of_openvino()
    baseline = replace(baseline, recipe={**baseline.recipe, "targets": BOTH_TARGETS})
    found = judged(runs.run(), baseline)
    assert found.verdict == "NOT_MEASURED"
    reason = next(one.reason for one in found.verdicts if one.target == "onnxruntime")
    assert reason.startswith("new, and not compared: the baseline lacks this target; ")


@pytest.mark.parametrize("kind", [Deferred, NotMeasured])
def test_what_waits_for_a_device_or_failed_was_not_measured(kind: Any) -> None:
    document = runs.run(kind("openvino", "the device must measure its bundle"), runs.result("onnxruntime"))
    assert document.verdict == ("DEFERRED" if kind is Deferred else "NOT_MEASURED")
    found = judged(document)
    assert {one.verdict for one in found.verdicts if one.target == "openvino"} == {"NOT_MEASURED"}
    assert "the device must measure" in of_openvino(found, "max_loss_pp").reason


def test_a_run_that_ended_early_is_not_a_pass() -> None:
    found = judged(runs.run(problem=Problem("the disk is full", "")))
    assert words(found)["run complete"] == "NOT_MEASURED"


def test_a_target_that_is_missing_is_not_a_pass_whatever_is_gated() -> None:
    absent = NotMeasured("openvino", "OpenVINO is not installed")
    found = judged(runs.run(absent, runs.result("onnxruntime"), promises=()), replace(BASELINE, margins=NO_MARGINS))
    assert words(found)["openvino measured"] == "NOT_MEASURED"
    assert found.verdict == "NOT_MEASURED"


def test_other_calibration_images_are_another_recipe_or_are_noted() -> None:
    def calibrated(where: str, **changes: Any) -> Run:
        images = {"evaluation": {"from": "data/val"}, "calibration": {"from": where, "count": 16}}
        return runs.run(recipe={"images": images}, **changes)

    with pytest.raises(EdgeresnetError, match=r"images\.calibration nothing → \{count: 16\}"):
        judged(calibrated("other"))
    baseline = gate.of(calibrated("other"), gate.Margins())
    steps = runs.step(StepId("trace"), "e" * 64), runs.step(StepId("quantize", "openvino"), "9" * 64)
    found = judged(calibrated("/another/place", steps=steps), baseline)
    assert found.verdict == "KEPT"
    assert "quantize:openvino: the network differs from the baseline's, none → 999999999999" in found.notes


def test_a_run_cannot_soften_what_its_baseline_was_strict_about() -> None:
    strict = gate.of(runs.run(undecided="fail"), gate.Margins())
    found = judged(runs.run(promises=()), strict)
    assert found.undecided == "fail"
    assert any("own promises differ from those" in note for note in found.notes)
