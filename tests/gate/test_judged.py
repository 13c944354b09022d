"""What a gate judges of a run. Most of these break something on purpose: one that still passed would fail the suite."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgeresnet import gate
from edgeresnet.portable.probabilities import Probabilities
from edgeresnet.portable.result import Measured, Promise

from . import runs
from .gated import BASELINE, NO_MARGINS, baseline_of_openvino, judged, of_openvino, words

pytestmark = pytest.mark.unit

Change = Callable[[Measured], Measured]
SLOWER_RUNTIME = dict.fromkeys(("int8", "half", "fp32", "yardstick"), 1.5)


def changed_int8(**about: Any) -> Change:
    return lambda result: runs.with_variant(result, "int8", **about)


def changed_accuracy(**about: Any) -> Change:
    return lambda result: runs.with_variant(result, "int8", accuracy=replace(result.shipped.accuracy, **about))


def changed_yardstick(**about: Any) -> Change:
    return lambda result: runs.with_yardstick(result, **about)


def changed_answers(change: Callable[[list[Any]], object]) -> Change:
    def changed(result: Measured) -> Measured:
        answers = list(result.shipped.predicted)
        change(answers)
        return runs.with_variant(result, "int8", predicted=tuple(answers))

    return changed


def test_an_unchanged_run_is_kept_completely() -> None:
    found = judged(runs.run())
    assert found.verdict == "KEPT"
    each = ["max_loss_pp", "max_slowdown_pct half", "max_slowdown_pct yardstick", "max_runtime_slowdown_pct"]
    each.append("max_growth_pct")
    wanted = {f"{target} {name}" for target in ("openvino", "onnxruntime") for name in (*each, "max_drop_pp")}
    assert set(words(found)) == wanted
    assert found.notes == ()
    assert [one.by for one in found.verdicts] == ["baseline"] * 10 + ["recipe"] * 2


@pytest.mark.parametrize(
    ("changes", "promise", "verdict"),
    [
        ({"predicted": np.roll(runs.EXPECTED, 1)}, "max_loss_pp", "BROKEN"),
        ({"predicted": np.random.default_rng(0).permutation(runs.EXPECTED)}, "max_loss_pp", "BROKEN"),
        ({"predicted": runs.incorrect_for(0.03)}, "max_loss_pp", "BROKEN"),
        ({"predicted": runs.incorrect_for(0.012)}, "max_loss_pp", "UNDECIDED"),
        ({"predicted": runs.incorrect_for(0.002)}, "max_loss_pp", "KEPT"),
        ({"slower": {"int8": 1.15}}, "max_slowdown_pct half", "BROKEN"),
        ({"slower": {"int8": 1.15}}, "max_slowdown_pct yardstick", "BROKEN"),
        ({"slower": {"int8": 1.04}}, "max_slowdown_pct half", "UNDECIDED"),
        ({"slower": {"int8": 1.02}}, "max_slowdown_pct half", "KEPT"),
        ({"slower": {"int8": 0.5}}, "max_slowdown_pct half", "KEPT"),
        # a wider model, and its half-precision variant with it: their ratio shows nothing, the yardstick's does
        ({"slower": {"int8": 1.3, "half": 1.3, "fp32": 1.3}}, "max_slowdown_pct half", "KEPT"),
        ({"slower": {"int8": 1.3, "half": 1.3, "fp32": 1.3}}, "max_slowdown_pct yardstick", "BROKEN"),
        # a slower runtime: all variants and the yardstick together; the CPU's speed did not change
        ({"slower": SLOWER_RUNTIME}, "max_slowdown_pct yardstick", "KEPT"),
        ({"slower": SLOWER_RUNTIME}, "max_runtime_slowdown_pct", "BROKEN"),
        # so noisy that nothing is shown: never a pass that would be called one
        ({"by": (0.0, 0.5, -0.3, 0.2, -0.4)}, "max_slowdown_pct half", "UNDECIDED"),
    ],
)
def test_what_changed_on_one_target_shows_there_and_only_there(changes: Any, promise: str, verdict: str) -> None:
    found = judged(runs.run(runs.result("openvino", **changes), runs.result("onnxruntime")))
    assert words(found)[f"openvino {promise}"] == verdict
    assert {value for name, value in words(found).items() if name.startswith("onnxruntime")} == {"KEPT"}
    if verdict == "BROKEN":
        assert found.verdict == "BROKEN"


def _in_windows(value: float) -> Change:
    def change(result: Measured) -> Measured:
        assert result.shipped.latency
        processes = list(result.shipped.latency.processes)
        processes[2] = replace(processes[2], host_ms=((value,) * 60,) * 2)
        latency = replace(result.shipped.latency, processes=tuple(processes))
        return runs.with_variant(result, "int8", latency=latency)

    return change


def _without_half(result: Measured) -> Measured:
    return replace(result, variants={name: each for name, each in result.variants.items() if name != "half"})


@pytest.mark.parametrize(
    ("change", "promise", "reason"),
    [
        (_in_windows(math.nan), "max_slowdown_pct half", "a measured time is not a finite number"),
        (_in_windows(math.inf), "max_slowdown_pct yardstick", "a measured time is not a finite number"),
        (_in_windows(0.0), "max_slowdown_pct half", "the clock stood still"),
        (_in_windows(-1.0), "max_slowdown_pct half", "the clock went backwards"),
        (changed_int8(latency=None), "max_slowdown_pct half", "was not measured"),
        (changed_yardstick(latency=None), "max_slowdown_pct yardstick", "was not measured"),
        (changed_yardstick(latency=None), "max_runtime_slowdown_pct", "yardstick: its latency was not measured"),
        (changed_yardstick(sha256="0" * 64), "max_slowdown_pct yardstick", "the yardsticks differ"),
        (
            lambda result: replace(result, yardstick=None),
            "max_runtime_slowdown_pct",
            "the yardsticks differ: 05aeddd98256 in the baseline, none in this run",
        ),
        (_without_half, "max_slowdown_pct half", "the run lacks the half variant"),
        (runs.in_the_yardsticks_processes(cpu_work_ms=()), "max_runtime_slowdown_pct", "the CPU's speed was not"),
        (runs.in_the_yardsticks_processes(cpu_work_ms=(0.5,)), "max_runtime_slowdown_pct", "not measured in turn"),
        (changed_answers(list.pop), "max_loss_pp", "for each of 2000 images"),
        (changed_answers(lambda a: a.__setitem__(7, math.nan)), "max_loss_pp", "one answer of 10 classes"),
        (changed_answers(lambda a: a.__setitem__(7, 10)), "max_loss_pp", "one answer of 10 classes"),
        (changed_answers(list.reverse), "max_loss_pp", "do not match its answers"),
        (changed_accuracy(top1=math.nan), "max_loss_pp", "do not match its answers"),
        (changed_accuracy(top1=None), "max_loss_pp", "do not match its answers"),
        (changed_int8(size_mb=math.inf), "max_growth_pct", "the measured value is inf"),
        (lambda result: replace(result, labels=None), "max_loss_pp", "no image has a label"),
        (lambda result: replace(result, images=None), "max_loss_pp", "an older edgeresnet measured it"),
        (
            lambda result: replace(result, machine=replace(result.machine, python="3.12.1")),
            "max_runtime_slowdown_pct",
            "Python 3.11 measured the CPU's speed in the baseline, 3.12 in this run",
        ),
    ],
)
def test_what_is_not_a_number_or_missing_is_not_a_pass(change: Change, promise: str, reason: str) -> None:
    found = judged(runs.altered(runs.run(), change))
    one = of_openvino(found, promise)
    assert one.verdict == "NOT_MEASURED"
    assert reason in one.reason
    assert found.verdict in ("NOT_MEASURED", "BROKEN")


def test_times_of_another_machine_are_not_compared_but_answers_are() -> None:
    other = replace(runs.TIMED_MACHINE, cpu="Another CPU")
    found = judged(runs.altered(runs.run(), runs.in_every_process(machine=other)))
    assert words(found)["openvino max_slowdown_pct half"] == "NOT_MEASURED"
    assert words(found)["openvino max_loss_pp"] == "KEPT"
    reason = of_openvino(found, "max_slowdown_pct half").reason
    assert "cpu Some CPU in the baseline, Another CPU in this run" in reason
    other = replace(runs.TIMED_MACHINE, instructions=("avx2", "amx_int8"), governor="powersave")
    found = judged(runs.altered(runs.run(), runs.in_every_process(machine=other)))
    reason = of_openvino(found, "max_slowdown_pct half").reason
    assert "governor unknown in the baseline, powersave in this run" in reason


def test_another_machine_of_the_same_kind_is_the_same_here() -> None:
    other = runs.in_every_process(machine=replace(runs.TIMED_MACHINE, host="b"))
    assert judged(runs.altered(runs.run(), other)).verdict == "KEPT"


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_fewer_processes_than_the_baselines_are_not_a_pass(processes: int) -> None:
    """Fewer processes show less: a change that asks for fewer must not pass for that."""
    few = runs.times(1.0, by=(0.0, 0.05, -0.05, 0.02)[:processes])
    document = runs.run(recipe={"verify": {"processes": processes}})
    found = judged(runs.altered(document, lambda result: runs.with_latencies(result, lambda _: few)))
    assert words(found)["openvino max_slowdown_pct half"] == "NOT_MEASURED"
    assert words(found)["openvino max_slowdown_pct yardstick"] == "NOT_MEASURED"
    assert found.notes == (f"the settings of the measurement changed: verify.processes 5 → {processes}",)


@pytest.mark.parametrize(
    ("key", "values", "verdict"),
    [
        ("stolen_cpus", (0.3, 0.3), "UNDECIDED"),
        ("others_cpus", (None, None), "BROKEN"),  # unknown here: no reason to think that there were any
        ("cpu_mhz", (2000.0, 3000.0), "BROKEN"),  # the CPU's speed has that in it
    ],
)
def test_what_does_not_explain_a_slower_runtime_does_not_excuse_it(key: str, values: Any, verdict: str) -> None:
    slower = runs.run(runs.result("openvino", slower=SLOWER_RUNTIME), runs.result("onnxruntime"))
    found = judged(runs.altered(slower, runs.in_every_process(**{key: values})))
    assert words(found)["openvino max_runtime_slowdown_pct"] == verdict


def test_a_baseline_that_can_decide_nothing_of_the_runtime_reports_that() -> None:
    busy = runs.in_the_yardsticks_processes(stolen_cpus=(1.0, 1.0))
    remarks = gate.remarks(gate.of(runs.altered(runs.run(), busy), gate.Margins()))
    assert any("openvino: max_runtime_slowdown_pct can therefore never be BROKEN" in each for each in remarks)


def test_a_slower_machine_is_not_taken_for_a_slower_runtime() -> None:
    """Others kept it busy meanwhile: that the yardstick takes longer shows nothing of the runtime, nor is it a pass."""
    slower = runs.run(runs.result("openvino", slower=SLOWER_RUNTIME), runs.result("onnxruntime"))
    busy = runs.in_the_yardsticks_processes(others_cpus=(1.0, 1.0))
    one = of_openvino(judged(runs.altered(slower, busy)), "max_runtime_slowdown_pct")
    assert one.verdict == "UNDECIDED"
    assert "but other programs used" in one.reason
    baseline = gate.of(runs.altered(runs.run(), busy), gate.Margins())
    one = of_openvino(judged(slower, baseline), "max_runtime_slowdown_pct")
    assert one.verdict == "UNDECIDED"
    assert "but in the baseline other programs used" in one.reason


def test_the_recipes_own_broken_promise_is_red_here_too() -> None:
    assert judged(runs.run(promises=(Promise("min_top1_pct", 99.0),))).verdict == "BROKEN"


def test_of_several_builds_the_worst_is_judged() -> None:
    def built_again(result: Measured) -> Measured:
        return replace(result, rebuilds=(runs.variant(runs.incorrect_for(0.05), 1.3),))

    found = judged(runs.altered(runs.run(), built_again))
    assert words(found)["openvino max_loss_pp"] == "BROKEN"
    assert words(found)["openvino max_slowdown_pct half"] == "BROKEN"


def test_what_has_no_margin_is_not_gated() -> None:
    document = runs.run(runs.result("openvino", predicted=runs.incorrect_for(0.5)), runs.result("onnxruntime"))
    found = judged(document, replace(BASELINE, margins=NO_MARGINS))
    assert all(one.by == "recipe" for one in found.verdicts)


def test_one_process_that_fell_badly_shows_nothing_and_four_do() -> None:
    """Of five on each side: a single one that is half as slow again is left out, a slow-down of all is not."""
    badly = runs.run(runs.result("openvino", by=(0.0, 0.003, 0.5, 0.001, -0.001)), runs.result("onnxruntime"))
    assert words(judged(badly))["openvino max_slowdown_pct half"] == "KEPT"
    slower = runs.run(runs.result("openvino", by=(0.12, 0.125, 0.12, -0.3, 0.118)), runs.result("onnxruntime"))
    assert words(judged(slower))["openvino max_slowdown_pct half"] == "BROKEN"


def test_a_slow_down_is_red_where_it_is_certain_and_by_all_that_is_known_beyond_the_margin() -> None:
    """6 %, give or take 2: certainly slower, and probably by more than the margin of 5."""
    unsteady = (0.06, 0.048, 0.062, 0.071, 0.06)
    found = judged(runs.run(runs.result("openvino", by=unsteady), runs.result("onnxruntime")))
    one = of_openvino(found, "max_slowdown_pct half")
    assert one.verdict == "BROKEN"
    assert one.low is not None
    assert one.value is not None
    assert one.low < 5 < one.value


def test_how_many_more_images_would_decide_follows_from_the_gates_own_rule() -> None:
    """Lost beyond the margin at 95 %, not at what a gate asks for: not one more image, but hundreds."""
    found = judged(runs.run(runs.result("openvino", predicted=runs.incorrect_for(0.015)), runs.result("onnxruntime")))
    one = of_openvino(found, "max_loss_pp")
    assert one.verdict == "UNDECIDED"
    assert (one.low or 0) > 1.0
    assert "a gate needs more than 95 % certainty" in one.reason
    assert (one.more_images or 0) > 50


def test_answers_without_other_images_are_not_paired() -> None:
    def unread(result: Measured) -> Measured:
        return replace(result, skipped=("data/val/cat/7.jpg",))

    baseline = gate.of(runs.altered(runs.run(), unread), gate.Margins())
    one = of_openvino(judged(runs.run(), baseline), "max_loss_pp")
    assert one.verdict == "NOT_MEASURED"
    assert "unreadable images differ from those of the baseline: 7.jpg" in one.reason
    assert judged(runs.altered(runs.run(), unread), baseline).verdict == "KEPT"


def test_both_measurements_noise_counts() -> None:
    """A slow-down that a quiet baseline would show is not shown against a noisy one."""
    slower = runs.run(runs.result("openvino", slower={"int8": 1.12}))
    restless = runs.run(runs.result("openvino", by=(0.0, 0.2, -0.15, 0.1, -0.1)))
    noisy = gate.of(restless, gate.Margins(max_slowdown_pct=5))
    assert words(judged(slower, baseline_of_openvino()))["openvino max_slowdown_pct half"] == "BROKEN"
    assert words(judged(slower, noisy))["openvino max_slowdown_pct half"] == "UNDECIDED"


def test_red_by_chance_is_shared_among_all_promises() -> None:
    """The more targets, the more it takes: what is shown to be lost on one is not sure enough among four hundred."""
    one = runs.run(runs.result("openvino", predicted=runs.incorrect_for(0.018)))
    baseline = baseline_of_openvino()
    assert judged(one, baseline).verdict == "BROKEN"
    others = {f"another{n}": baseline.targets["openvino"] for n in range(400)}
    baseline = replace(baseline, targets={**baseline.targets, **others})
    assert words(judged(one, baseline))["openvino max_loss_pp"] == "UNDECIDED"


def _resized(size_mb: float) -> Change:
    return lambda result: runs.with_variant(result, "int8", size_mb=size_mb)


@pytest.mark.parametrize(
    ("changes", "change", "promise", "reason"),
    [
        (
            {"slower": {"int8": 0.72}},
            None,
            "max_slowdown_pct half",
            "28.00 % faster than in the baseline, relative to its half variant, 95 % interval 26.32 to 29.64; "
            "allowed: at most 5 % slower",
        ),
        (
            {"slower": {"int8": 1.02}},
            None,
            "max_slowdown_pct yardstick",
            "2.00 % slower than in the baseline, relative to the yardstick, 95 % interval 0.33 % faster to 4.38 % "
            "slower; allowed: at most 5 % slower",
        ),
        (
            {"slower": {"int8": 0.99}},
            None,
            "max_slowdown_pct half",
            "1.00 % faster than in the baseline, relative to its half variant, 95 % interval 1.31 % slower to 3.26 % "
            "faster; allowed: at most 5 % slower",
        ),
        (
            {"slower": dict.fromkeys(SLOWER_RUNTIME, 0.7)},
            None,
            "max_runtime_slowdown_pct",
            "30.00 % faster than in the baseline (the runtime: the yardstick relative to the CPU's speed), 95 % "
            "interval 24.98 to 34.68; allowed: at most 25 % slower",
        ),
        ({}, _resized(1.0), "max_growth_pct", "20.00 % smaller (1.25 → 1.00 MB); allowed: at most 10 % larger"),
        ({}, _resized(1.5), "max_growth_pct", "20.00 % larger (1.25 → 1.50 MB); allowed: at most 10 % larger"),
        ({}, None, "max_slowdown_pct half", "0.00 % slower than in the baseline"),
        (
            {"predicted": runs.incorrect_for(0.02)},
            None,
            "max_loss_pp",
            "2.00 points lost compared with the baseline (89.60 → 87.60 %), 95 % interval 1.47 to 2.71; allowed: at "
            "most 1 point lost",
        ),
    ],
)
def test_a_change_is_told_by_its_size_and_its_word(
    changes: Any, change: Change | None, promise: str, reason: str
) -> None:
    """And not as "-28.00 % slower"."""
    run = runs.run(runs.result("openvino", **changes), runs.result("onnxruntime"))
    found = of_openvino(judged(runs.altered(run, change) if change else run), promise)
    assert found.reason.startswith(reason)
    assert " -" not in found.reason


def test_what_was_won_is_no_negative_loss() -> None:
    worse = gate.of(runs.run(runs.result("openvino", predicted=runs.incorrect_for(0.02))), gate.Margins())
    found = judged(runs.run(runs.result("openvino")), worse)
    one = of_openvino(found, "max_loss_pp")
    assert one.reason == (
        "2.00 points gained compared with the baseline (87.60 → 89.60 %), 95 % interval 1.47 to 2.71; allowed: at most "
        "1 point lost"
    )
    assert one.value == pytest.approx(-2.0), "programs read the sign"


@pytest.mark.parametrize("ms", [1.0, 0.1, 5.0])
def test_two_processes_that_differ_widely_are_undecided_and_the_reason_says_why(ms: float) -> None:
    """With one degree of freedom on each side an interval would be "-99.9 to 171577 % slower"."""
    noisy = runs.run(runs.result("openvino", by=(0.0, 3.0)))
    pairs = runs.altered(
        noisy,
        lambda result: replace(
            runs.with_latencies(result, lambda times: replace(times, processes=times.processes[:2])),
            images=result.images,
        ),
    )
    slower = runs.altered(pairs, lambda result: runs.with_variant(result, "int8", latency=runs.times(ms, by=(0, 2))))
    found = of_openvino(judged(slower, gate.of(pairs, gate.Margins())), "max_slowdown_pct half")
    assert found.verdict == "UNDECIDED"
    assert ", no 95 % interval; allowed: at most 10 % slower" in found.reason
    assert "2 processes are too few for an interval of such noisy times: use 3 or more" in found.reason
    assert found.high is None


@pytest.mark.parametrize("side", ["run", "baseline"])
def test_one_process_is_not_a_measurement_to_compare(side: str) -> None:
    """Or a change that times one process could be as slow as it likes."""
    slow = runs.run(runs.result("openvino", slower={"int8": 3.0}), runs.result("onnxruntime"))
    alone = runs.altered(
        slow,
        lambda result: runs.with_latencies(result, lambda times: replace(times, processes=times.processes[:1])),
    )
    found = judged(alone) if side == "run" else judged(runs.run(), gate.of(alone, gate.Margins()))
    assert words(found)["openvino max_slowdown_pct half"] == "NOT_MEASURED"
    assert f"the {side} has times of only one process" in of_openvino(found, "max_slowdown_pct half").reason
    assert found.verdict == "NOT_MEASURED"


def _with_probabilities(fall: float) -> Measured:
    """Return a result whose INT8 network is less sure of every answer by this much."""
    found = runs.result("openvino")
    before = tuple(np.linspace(0.5, 0.99, runs.IMAGES).round(6).tolist())
    now = tuple(round(each - fall, 6) for each in before)
    found = runs.with_variant(found, "int8", probabilities=Probabilities(now))
    return replace(found, reference_probabilities=before)


@pytest.mark.parametrize(("fall", "verdict"), [(0.0, "KEPT"), (0.05, "BROKEN"), (None, "NOT_MEASURED")])
def test_a_promise_about_probabilities_is_part_of_a_gate(fall: float | None, verdict: str) -> None:
    promises = (Promise("max_confidence_change", 0.02),)
    baseline = gate.of(runs.run(_with_probabilities(0.0), promises=promises), gate.Margins(max_slowdown_pct=5.0))
    assert baseline.promises == {"max_confidence_change": 0.02}
    result = runs.result("openvino") if fall is None else _with_probabilities(fall)
    found = judged(runs.run(result, promises=promises), baseline)
    assert of_openvino(found, "max_confidence_change").verdict == found.verdict == verdict
    without = judged(runs.run(result), baseline)
    assert "the recipe's own promises differ from those in the baseline" in without.notes
