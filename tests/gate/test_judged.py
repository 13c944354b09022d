"""What a gate says of a run. Most of these break something on purpose: one that still passed would fail the suite."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

from edgeresnet import gate
from edgeresnet.errors import EdgeresnetError

from . import runs

pytestmark = pytest.mark.unit

BASELINE = gate.of(runs.run(), gate.Margins(max_loss_pp=1.0, max_slowdown_pct=5.0))
NO_MARGINS = dict.fromkeys(("max_loss_pp", "max_slowdown_pct", "max_growth_pct", "max_runtime_slowdown_pct"))


def judged(document: dict[str, Any], held: dict[str, Any] = BASELINE, **how: Any) -> dict[str, Any]:
    return gate.gate(document, held, **{"now": runs.NOW + 600, **how})


def words(found: dict[str, Any]) -> dict[str, str]:
    return {f"{one['target']} {one['promise']}": one["verdict"] for one in found["verdicts"]}


def openvinos(found: dict[str, Any], promise: str) -> dict[str, Any]:
    return next(v for v in found["verdicts"] if (v["target"], v["promise"]) == ("openvino", promise))


def in_every_process(**about: Any) -> Any:
    """What openvino's networks and its yardstick were measured under."""

    def change(result: dict[str, Any]) -> None:
        for raw in (*(one["latency"] for one in result["variants"].values()), result["yardstick"]["latency"]):
            for process in raw["processes"]:
                process.update(about)

    return change


def test_an_unchanged_run_is_kept_whole() -> None:
    found = judged(runs.run())
    assert found["verdict"] == "KEPT"
    each = ["max_loss_pp", "max_slowdown_pct half", "max_slowdown_pct yardstick", "max_runtime_slowdown_pct"]
    each.append("max_growth_pct")
    wanted = {f"{target} {name}" for target in ("openvino", "onnxruntime") for name in (*each, "max_drop_pp")}
    assert set(words(found)) == wanted
    assert found["notes"] == []


@pytest.mark.parametrize(
    ("changes", "promise", "verdict"),
    [
        ({"predicted": np.roll(runs.EXPECTED, 1)}, "max_loss_pp", "BROKEN"),
        ({"predicted": np.random.default_rng(0).permutation(runs.EXPECTED)}, "max_loss_pp", "BROKEN"),
        ({"predicted": runs.wrong_for(0.03)}, "max_loss_pp", "BROKEN"),
        ({"predicted": runs.wrong_for(0.012)}, "max_loss_pp", "UNDECIDED"),
        ({"predicted": runs.wrong_for(0.002)}, "max_loss_pp", "KEPT"),
        ({"slower": {"int8": 1.15}}, "max_slowdown_pct half", "BROKEN"),
        ({"slower": {"int8": 1.15}}, "max_slowdown_pct yardstick", "BROKEN"),
        ({"slower": {"int8": 1.04}}, "max_slowdown_pct half", "UNDECIDED"),
        ({"slower": {"int8": 1.02}}, "max_slowdown_pct half", "KEPT"),
        ({"slower": {"int8": 0.5}}, "max_slowdown_pct half", "KEPT"),
        # a wider model, and its twin with it: the ratio of the two says nothing, the yardstick does
        ({"slower": {"int8": 1.3, "half": 1.3, "fp32": 1.3}}, "max_slowdown_pct half", "KEPT"),
        ({"slower": {"int8": 1.3, "half": 1.3, "fp32": 1.3}}, "max_slowdown_pct yardstick", "BROKEN"),
        # a slower runtime: model, twin and yardstick together; the processor kept its pace
        ({"slower": dict.fromkeys(("int8", "half", "fp32", "yardstick"), 1.5)}, "max_slowdown_pct yardstick", "KEPT"),
        ({"slower": dict.fromkeys(("int8", "half", "fp32", "yardstick"), 1.5)}, "max_runtime_slowdown_pct", "BROKEN"),
        # so noisy that nothing is shown: never a pass that would be called one
        ({"by": (0.0, 0.5, -0.3, 0.2, -0.4)}, "max_slowdown_pct half", "UNDECIDED"),
    ],
)
def test_what_changed_on_one_target_shows_there_and_only_there(changes: dict, promise: str, verdict: str) -> None:
    found = judged(runs.run(runs.result("openvino", **changes), runs.result("onnxruntime")))
    assert words(found)[f"openvino {promise}"] == verdict
    assert {value for name, value in words(found).items() if name.startswith("onnxruntime")} == {"KEPT"}
    if verdict == "BROKEN":
        assert found["verdict"] == "BROKEN"


def _in_windows(value: float) -> Any:
    def change(result: dict[str, Any]) -> None:
        result["variants"]["int8"]["latency"]["processes"][2]["host_ms"] = [[value] * 60] * 2

    return change


def _without(*path: str) -> Any:
    def change(result: dict[str, Any]) -> None:
        for key in path[:-1]:
            result = result[key]
        del result[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "promise", "reason"),
    [
        (_in_windows(math.nan), "max_slowdown_pct half", "its times are no finite numbers"),
        (_in_windows(math.inf), "max_slowdown_pct yardstick", "its times are no finite numbers"),
        (_in_windows(0.0), "max_slowdown_pct half", "the clock did not move"),
        (_in_windows(-1.0), "max_slowdown_pct half", "the clock stepped back"),
        (lambda r: r["variants"]["int8"].update(latency=None), "max_slowdown_pct half", "was not measured"),
        (lambda r: r["yardstick"].update(latency=None), "max_slowdown_pct yardstick", "was not measured"),
        (lambda r: r["yardstick"].update(sha256="0" * 64), "max_slowdown_pct yardstick", "the yardstick is another"),
        (_without("yardstick"), "max_runtime_slowdown_pct", "the yardstick is another: 05aeddd98256 there, none here"),
        (_without("variants", "half"), "max_slowdown_pct half", "no half twin"),
        (lambda r: r["variants"]["int8"]["predicted"].pop(), "max_loss_pp", "for each of 2000 images"),
        (lambda r: r["variants"]["int8"]["predicted"].__setitem__(7, math.nan), "max_loss_pp", "one of 10 classes"),
        (lambda r: r["variants"]["int8"]["predicted"].__setitem__(7, 10), "max_loss_pp", "one of 10 classes"),
        (lambda r: r["variants"]["int8"]["predicted"].reverse(), "max_loss_pp", "do not follow from its answers"),
        (lambda r: r["variants"]["int8"]["accuracy"].update(top1=math.nan), "max_loss_pp", "do not follow from"),
        (lambda r: r["variants"]["int8"]["accuracy"].pop("top1"), "max_loss_pp", "do not follow from its answers"),
        (lambda r: r["variants"]["int8"].update(size_mb=math.inf), "max_growth_pct", "the measured value is inf"),
        (lambda r: r.update(labels=None), "max_loss_pp", "no image has a label"),
        (lambda r: r.update(images=None), "max_loss_pp", "an older edgeresnet measured it"),
        (lambda r: r["machine"].update(python="3.12.1"), "max_runtime_slowdown_pct", "Python 3.11 there, and of 3.12"),
    ],
)
def test_what_is_no_number_or_not_there_is_no_pass(change: Any, promise: str, reason: str) -> None:
    found = judged(runs.altered(runs.run(), change))
    one = openvinos(found, promise)
    assert one["verdict"] == "NOT_MEASURED"
    assert reason in one["reason"]
    assert found["verdict"] in ("NOT_MEASURED", "BROKEN")


def test_times_of_another_machine_are_not_compared_but_answers_are() -> None:
    found = judged(runs.altered(runs.run(), in_every_process(machine={**runs.MACHINE, "cpu": "Another CPU"})))
    assert words(found)["openvino max_slowdown_pct half"] == "NOT_MEASURED"
    assert words(found)["openvino max_loss_pp"] == "KEPT"
    reason = next(one["reason"] for one in found["verdicts"] if one["promise"] == "max_slowdown_pct half")
    assert "cpu Some CPU there, Another CPU here" in reason


def test_another_machine_of_the_same_kind_is_the_same_here() -> None:
    other = in_every_process(machine={**runs.MACHINE, "host": "b"})
    assert judged(runs.altered(runs.run(), other))["verdict"] == "KEPT"


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_less_measuring_than_the_baselines_is_no_pass(processes: int) -> None:
    """Fewer processes show less: a change that asks for fewer must not pass for that."""
    by = (0.0, 0.05, -0.05, 0.02)[:processes]
    document = runs.run()
    for raw in (each["latency"] for each in document["results"]["openvino"]["variants"].values()):
        raw["processes"] = runs.times(1.0, by=by)["processes"]
    document["results"]["openvino"]["yardstick"]["latency"] = runs.times(1.0, by=by)
    document["recipe"]["verify"] = {"processes": processes}
    found = judged(document)
    assert words(found)["openvino max_slowdown_pct half"] == "NOT_MEASURED"
    assert words(found)["openvino max_slowdown_pct yardstick"] == "NOT_MEASURED"
    assert found["notes"] == [f"how it is measured was changed: verify.processes 5 → {processes}"]


def test_fewer_builds_than_the_baselines_are_no_pass() -> None:
    whole = runs.run()
    whole["results"]["openvino"]["rebuilds"] = [copy.deepcopy(whole["results"]["openvino"]["variants"]["int8"])]
    held = gate.of(whole, gate.Margins())
    assert judged(whole, held)["verdict"] == "KEPT"
    found = judged(runs.run(), held)
    assert words(found)["openvino max_loss_pp"] == "NOT_MEASURED"
    said = next(one["reason"] for one in found["verdicts"] if one["target"] == "openvino")
    assert said == "built 1 times, and 2 in the baseline: `verify.rebuilds`"


def test_the_baselines_own_measurement_is_told() -> None:
    document = runs.run()
    document["steps"].append({"id": "verify:openvino", "stage": "verify", "digest": "b" * 64})
    held = gate.of(document, gate.Margins())
    (note,) = judged(document, held)["notes"]
    assert note == "openvino: this is the very measurement that the baseline was made of: nothing was measured since"
    document["steps"][-1] = {**document["steps"][-1], "digest": "c" * 64}
    assert judged(document, held)["notes"] == []


def test_without_a_name_a_network_is_known_by_what_was_traced() -> None:
    def traced(parameters: int, checkpoint: str) -> dict[str, Any]:
        document = runs.run()
        document["recipe"]["model"] |= {"arch": None, "checkpoint": checkpoint}
        document["steps"][0]["notes"] = {"operators": {"Conv": 3}, "parameters": parameters}
        return document

    held = gate.of(traced(1000, "v1.onnx"), gate.Margins())
    assert judged(traced(1000, "v2.onnx"), held)["verdict"] == "KEPT", "its weights may be others"
    with pytest.raises(EdgeresnetError, match=r"another model .*: model\.parameters 1000 → 1001"):
        judged(traced(1001, "v1.onnx"), held)
    early = traced(1000, "v1.onnx") | {"steps": [], "problem": {"message": "no room", "step": "trace"}}
    found = judged(early, held)
    assert found["verdict"] == "NOT_MEASURED"
    (one,) = (each for each in found["verdicts"] if each["target"] == "run")
    assert one["reason"] == "it ended early in step trace: no room"


@pytest.mark.parametrize(
    ("key", "values", "verdict"),
    [
        ("stolen_cpus", [0.3, 0.3], "UNDECIDED"),
        ("others_cpus", [None, None], "BROKEN"),  # not to be seen here: no reason to think that there were any
        ("cpu_mhz", [2000.0, 3000.0], "BROKEN"),  # the pace has that in it
    ],
)
def test_what_does_not_explain_a_slower_runtime_does_not_excuse_it(key: str, values: list, verdict: str) -> None:
    slower = dict.fromkeys(("int8", "half", "fp32", "yardstick"), 1.5)
    strange = in_every_process(**{key: values})
    found = judged(runs.altered(runs.run(runs.result("openvino", slower=slower), runs.result("onnxruntime")), strange))
    assert words(found)["openvino max_runtime_slowdown_pct"] == verdict


def test_a_baseline_that_can_decide_nothing_of_the_runtime_says_so() -> None:
    def busy(result: dict[str, Any]) -> None:
        for process in result["yardstick"]["latency"]["processes"]:
            process["stolen_cpus"] = [1.0, 1.0]

    said = gate.remarks(gate.of(runs.altered(runs.run(), busy), gate.Margins()))
    assert any("openvino: so max_runtime_slowdown_pct can find nothing BROKEN" in each for each in said)


def test_a_slower_machine_is_not_taken_for_a_slower_runtime() -> None:
    """Others kept it busy meanwhile: that the yardstick takes longer is no news of the runtime, and no pass either."""
    slower = dict.fromkeys(("int8", "half", "fp32", "yardstick"), 1.5)

    def busy(result: dict[str, Any]) -> None:
        for process in result["yardstick"]["latency"]["processes"]:
            process["others_cpus"] = [1.0, 1.0]

    found = judged(runs.altered(runs.run(runs.result("openvino", slower=slower), runs.result("onnxruntime")), busy))
    one = openvinos(found, "max_runtime_slowdown_pct")
    assert one["verdict"] == "UNDECIDED"
    assert "but other programs kept" in one["reason"]


@pytest.mark.parametrize(
    ("began", "reason"),
    [
        (runs.NOW - 3600, "measured 75 min ago, --max-age is 1 h"),
        (runs.NOW - 30 * 86400, "measured 30 d ago"),
        (runs.NOW + 86400, "a clock is wrong"),
        (math.nan, "does not say when it was measured"),
    ],
)
def test_a_stale_run_is_no_pass(began: float, reason: str) -> None:
    found = judged(runs.run(runs.result("openvino", began=began), runs.result("onnxruntime")))
    mine = [one for one in found["verdicts"] if one["target"] == "openvino"]
    assert {one["verdict"] for one in mine} == {"NOT_MEASURED"}, "the recipe's own promises too"
    assert all(reason in one["reason"] for one in mine)
    assert {one["verdict"] for one in found["verdicts"] if one["target"] != "openvino"} == {"KEPT"}
    alone = runs.run(runs.result("openvino", began=runs.NOW - 3600))
    assert judged(alone, max_age_s=7200, held=_of_openvino())["verdict"] == "KEPT"


def _of_openvino() -> dict[str, Any]:
    return gate.of(runs.run(runs.result("openvino")), gate.Margins(max_slowdown_pct=5.0))


def test_other_images_in_equal_number_are_refused() -> None:
    words = r"is of other images than openvino .* iiiiiiiiiiii .* there, oooooooooooo"
    with pytest.raises(EdgeresnetError, match=words):
        judged(runs.run(runs.result("openvino", images="o" * 64), runs.result("onnxruntime")))


@pytest.mark.parametrize(
    ("section", "changes", "what", "key"),
    [
        ("model", {"arch": "resnet50"}, "model", "model.arch resnet18"),
        ("quantize", {"effort": "best"}, "recipe", "quantize.effort fast"),
    ],
)
def test_another_recipe_is_refused_or_told(section: str, changes: dict, what: str, key: str) -> None:
    said = f"another {what} (ffffffffffff there, aaaaaaaaaaaa here): {key}"
    document = runs.run(recipe_digest="a" * 64)
    document["recipe"][section] = {**document["recipe"][section], **changes}
    with pytest.raises(EdgeresnetError) as caught:
        judged(document)
    assert said in caught.value.message
    found = judged(document, across_recipes=True)
    assert found["verdict"] == "KEPT"
    assert said in found["notes"][0]


def test_other_weights_and_promises_of_the_same_recipe_are_what_is_judged() -> None:
    document = runs.run(promises={"max_drop_pp": 20.0}, recipe_digest="a" * 64)
    document["recipe"]["model"]["checkpoint"] = "weights/v2.pth"
    document["steps"][0]["digest"] = "a" * 64
    found = judged(document)
    assert found["verdict"] == "KEPT"
    assert found["notes"] == [
        "the recipe's own promises are not those that it had in the baseline",
        "trace: another network than the baseline's, eeeeeeeeeeee → aaaaaaaaaaaa",
    ]


def test_a_target_that_vanished_is_no_pass() -> None:
    document = runs.run(runs.result("openvino"))
    document["recipe"]["targets"]["onnxruntime"] = {}
    found = judged(document)
    assert found["verdict"] == "NOT_MEASURED"
    assert words(found)["onnxruntime max_loss_pp"] == "NOT_MEASURED"


def test_a_target_that_nobody_reviewed_is_no_pass() -> None:
    held = _of_openvino()
    held["recipe"]["targets"]["onnxruntime"] = {}
    found = judged(runs.run(), held)
    assert found["verdict"] == "NOT_MEASURED"
    reason = next(v["reason"] for v in found["verdicts"] if v["target"] == "onnxruntime")
    assert "the baseline has no such target" in reason


@pytest.mark.parametrize("deferred", [True, False])
def test_what_waits_for_a_device_or_failed_was_not_measured(deferred: bool) -> None:
    absent = {"target": "openvino", "reason": "its bundle is to be measured on the device", "hint": ""}
    document = runs.run(absent | ({"deferred": True} if deferred else {}), runs.result("onnxruntime"))
    assert document["verdict"] == ("DEFERRED" if deferred else "NOT_MEASURED")
    found = judged(document)
    assert {one["verdict"] for one in found["verdicts"] if one["target"] == "openvino"} == {"NOT_MEASURED"}


def test_a_run_that_ended_early_is_no_pass() -> None:
    found = judged(runs.run(problem={"message": "the disk is full", "hint": ""}))
    assert words(found)["run whole"] == "NOT_MEASURED"


def test_the_recipes_own_broken_promise_is_red_here_too() -> None:
    assert judged(runs.run(promises={"min_top1_pct": 99.0}))["verdict"] == "BROKEN"


def test_of_several_builds_the_worst_is_judged() -> None:
    def built_again(result: dict[str, Any]) -> None:
        result["rebuilds"] = [runs.answered(runs.wrong_for(0.05), 1.3)]

    found = judged(runs.altered(runs.run(), built_again))
    assert words(found)["openvino max_loss_pp"] == "BROKEN"
    assert words(found)["openvino max_slowdown_pct half"] == "BROKEN"


def test_what_has_no_margin_is_not_gated() -> None:
    held = {**BASELINE, "margins": NO_MARGINS}
    document = runs.run(runs.result("openvino", predicted=runs.wrong_for(0.5)), runs.result("onnxruntime"))
    assert all(one["by"] == "recipe" for one in judged(document, held)["verdicts"])


def test_a_target_that_is_missing_is_no_pass_whatever_is_gated() -> None:
    absent = {"target": "openvino", "reason": "OpenVINO is not here", "hint": ""}
    document = runs.run(absent, runs.result("onnxruntime"), promises={})
    found = judged(document, {**BASELINE, "margins": NO_MARGINS})
    assert words(found)["openvino measured"] == "NOT_MEASURED"
    assert found["verdict"] == "NOT_MEASURED"


def test_one_process_that_fell_badly_says_nothing_and_four_do() -> None:
    """Of five on each side: a single one that is half as slow again is left out, a slow-down of all is not."""
    badly = runs.run(runs.result("openvino", by=(0.0, 0.003, 0.5, 0.001, -0.001)), runs.result("onnxruntime"))
    assert words(judged(badly))["openvino max_slowdown_pct half"] == "KEPT"
    slower = runs.run(runs.result("openvino", by=(0.12, 0.125, 0.12, -0.3, 0.118)), runs.result("onnxruntime"))
    assert words(judged(slower))["openvino max_slowdown_pct half"] == "BROKEN"


def test_a_slow_down_is_red_where_it_is_certain_and_by_all_that_is_known_beyond_the_margin() -> None:
    """6 %, give or take 2: certainly slower, and probably by more than the margin of 5."""
    unsteady = (0.06, 0.048, 0.062, 0.071, 0.06)
    found = judged(runs.run(runs.result("openvino", by=unsteady), runs.result("onnxruntime")))
    one = openvinos(found, "max_slowdown_pct half")
    assert one["verdict"] == "BROKEN"
    assert one["low"] < 5 < one["value"]


def test_how_many_more_images_would_decide_is_asked_of_the_gates_own_rule() -> None:
    """Lost beyond the margin at 95 %, not at what a gate asks for: not one more image, but hundreds."""
    found = judged(runs.run(runs.result("openvino", predicted=runs.wrong_for(0.015)), runs.result("onnxruntime")))
    one = openvinos(found, "max_loss_pp")
    assert one["verdict"] == "UNDECIDED"
    assert one["low"] > 1.0
    assert "a gate asks for more than 95 %" in one["reason"]
    assert one["more_images"] > 50


def test_answers_without_other_images_are_not_paired() -> None:
    def unread(result: dict[str, Any]) -> None:
        result["skipped"] = ["elsewhere/val/cat/7.jpg"]

    held = gate.of(runs.altered(runs.run(), unread), gate.Margins())
    found = judged(runs.run(), held)
    one = openvinos(found, "max_loss_pp")
    assert one["verdict"] == "NOT_MEASURED"
    assert "other images could not be read than in the baseline: 7.jpg" in one["reason"]
    assert judged(runs.altered(runs.run(), unread), held)["verdict"] == "KEPT"


def test_other_calibration_images_are_another_recipe_or_are_told() -> None:
    changed = runs.run()
    changed["recipe"]["images"]["calibration"] = {"from": "elsewhere", "count": 16}
    with pytest.raises(EdgeresnetError, match=r"images\.calibration nothing → \{'count': 16\}"):
        judged(changed)
    held = gate.of(changed, gate.Margins())
    moved = copy.deepcopy(changed)
    moved["recipe"]["images"]["calibration"]["from"] = "/another/place"
    moved["steps"].append({**moved["steps"][0], "id": "quantize:openvino", "stage": "quantize", "digest": "9" * 64})
    found = judged(moved, held)
    assert found["verdict"] == "KEPT"
    assert "quantize:openvino: another network than the baseline's, none → 999999999999" in found["notes"]


def test_both_measurements_noise_counts() -> None:
    """A slow-down that a quiet baseline would show is not shown against a noisy one."""
    slower = runs.run(runs.result("openvino", slower={"int8": 1.12}))
    restless = runs.run(runs.result("openvino", by=(0.0, 0.2, -0.15, 0.1, -0.1)))
    noisy = gate.of(restless, gate.Margins(max_slowdown_pct=5))
    assert words(judged(slower, _of_openvino()))["openvino max_slowdown_pct half"] == "BROKEN"
    assert words(judged(slower, noisy))["openvino max_slowdown_pct half"] == "UNDECIDED"


def test_red_by_chance_is_shared_among_all_promises() -> None:
    """The more targets, the more it takes: what is shown to be lost on one is not sure enough among four hundred."""
    part = 0.018
    one = runs.run(runs.result("openvino", predicted=runs.wrong_for(part)))
    assert judged(one, _of_openvino())["verdict"] == "BROKEN"
    held = copy.deepcopy(_of_openvino())
    for n in range(400):
        held["targets"][f"another{n}"] = held["targets"]["openvino"]
    assert words(judged(one, held))["openvino max_loss_pp"] == "UNDECIDED"


@pytest.mark.parametrize("side", ["run", "baseline"])
def test_one_process_is_no_measurement_to_compare(side: str) -> None:
    """Or a change that times one process could be as slow as it likes."""
    slow = runs.result("openvino", slower={"int8": 3.0})
    for each in (*slow["variants"].values(), slow["yardstick"]):
        each["latency"]["processes"] = each["latency"]["processes"][:1]
    alone = runs.run(slow, runs.result("onnxruntime"))
    found = judged(alone) if side == "run" else judged(runs.run(), gate.of(alone, gate.Margins()))
    assert words(found)["openvino max_slowdown_pct half"] == "NOT_MEASURED"
    assert found["verdict"] == "NOT_MEASURED"


def test_a_run_cannot_soften_what_its_baseline_was_strict_about() -> None:
    strict = gate.of(runs.run(undecided="fail"), gate.Margins())
    found = judged(runs.run(promises={}), strict)
    assert found["undecided"] == "fail"
    assert any("own promises are not those" in note for note in found["notes"])
