"""Runs compared with one another: what is paired, what is not comparable, what changed; and the page as a string."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest

from edgeresnet import report
from edgeresnet.portable import intervals
from edgeresnet.report.compared import AccuracyDifference, Comparison, Difference, LatencyDifference

from . import runs
from .test_report import document as small_run

pytestmark = pytest.mark.unit

LABELS = [0] * 100 + [1] * 100
MACHINE = {**runs.MACHINE, "host": "box"}


def timed(milliseconds: float, machine: runs.Json | None = None) -> runs.Json:
    """Return three processes, two percent apart."""
    processes = [
        runs.process(machine=machine or MACHINE, host_ms=[[milliseconds * (1 + 0.02 * n)] * 50] * 2) for n in range(3)
    ]
    return {"batch": 1, "processes": processes}


def variant(predicted: list[int], milliseconds: float) -> runs.Json:
    correct = sum(one == label for one, label in zip(predicted, LABELS, strict=True))
    accuracy = {"images": 200, "top1": correct, "top5": 200, "flips_lost": 0, "flips_won": 0, "agree": 200}
    base = small_run()["results"]["openvino"]["variants"]["fp32"]
    about = {"accuracy": {**accuracy, "sqnr_db": 30.0}, "predicted": predicted, "latency": timed(milliseconds)}
    return {**base, **about}


def document(name: str, wrong: int = 0, int8_ms: float = 1.0, **changes: Any) -> runs.Json:
    """Return the JSON of a run: INT8 in half of FP32's time, wrong about the first images."""
    run = small_run(id=f"20260101-00000{name}", **changes)
    predicted = [1 - label for label in LABELS[:wrong]] + LABELS[wrong:]
    run["results"]["openvino"] |= {
        "labels": LABELS,
        "reference_predicted": LABELS,
        "images": "i" * 64,
        "candidate": "int8",
        "variants": {"fp32": variant(LABELS, 2.0), "int8": variant(predicted, int8_ms)},
    }
    return run


def compared(*documents: runs.Json) -> Comparison:
    return report.compared.of([runs.decoded(each) for each in documents])


def int8(comparison: Comparison) -> Difference:
    return next(one for one in comparison.differences if one.variant == "int8")


def accuracy(*documents: runs.Json) -> AccuracyDifference:
    found = int8(compared(*documents)).accuracy
    assert found
    return found


def latency(*documents: runs.Json) -> LatencyDifference:
    found = int8(compared(*documents)).latency
    assert found
    return found


def text(*documents: runs.Json, kind: str = "terminal") -> str:
    return report.compare_text.FORMATS[kind](compared(*documents))


def words(*documents: runs.Json, kind: str = "terminal") -> str:
    """Return the text without its line breaks."""
    return " ".join(text(*documents, kind=kind).split())


def test_the_whole_page() -> None:
    one, other = document("1", wrong=2), document("2", wrong=10, int8_ms=0.8, verdict="BROKEN")
    other["recipe"] = {"model": {"arch": "resnet18", "classes": 2}, "quantize": {"estimator": "mse"}}
    other["steps"] = [{**other["steps"][0], "digest": "a" * 64, "key": "b" * 64}]
    assert (
        text(one, other)
        == """\
A  20260101-000001  resnet18, 2 classes: UNDECIDED
B  20260101-000002  resnet18, 2 classes: BROKEN

What was measured
target    as    run     top-1     SQNR  p50 ms    p99  × fp32    MB
openvino  fp32  A    100.00 %  30.0 dB   2.040  2.080          1.25
openvino  fp32  B    100.00 %  30.0 dB   2.040  2.080          1.25
openvino  int8  A     99.00 %  30.0 dB   1.020  1.040   2.000  1.25
openvino  int8  B     95.00 %  30.0 dB   0.816  0.832   2.500  1.25
Energy was not measured: an older edgeresnet measured it, without energy:
  measure again with `edgeresnet run RECIPE --again verify`

Accuracy against A
target    as    run          drop pp (95 %)     agree  lost/won    dB
openvino  fp32  B     0.00 (-1.88 to +1.88)  100.00 %       0/0  +0.0
openvino  int8  B    +4.00 (+2.04 to +7.69)   96.00 %       8/0  +0.0

Latency and size against A
target    as    run    times as fast (95 %)  its gain, times (95 %)    MB
openvino  fp32  B    1.000 (0.957 to 1.045)                          0.00
openvino  int8  B    1.250 (1.196 to 1.307)  1.250 (1.222 to 1.279)  0.00
times as fast: the runs were not timed in turn, so this interval knows only how
  processes of one run differ
its gain: each run compares with a baseline that was timed in turn with it; this
  interval includes the drift between hours

What changed from A to B
recipe, quantize: nothing → {estimator: mse}
artifacts: 0 are the same; the first that differs is trace (0e0e0e0e0e0e →
  aaaaaaaaaaaa)
the machine is the same
"""
    )


def test_the_same_images_are_paired_and_others_are_not() -> None:
    one, other = document("1", wrong=2), document("2", wrong=10)
    paired = accuracy(one, other)
    assert (paired.lost, paired.won, paired.paired) == (8, 0, True)
    assert paired.low_pp == pytest.approx(100 * intervals.tango(8, 0, 200).low)
    assert paired.low_pp is not None
    assert paired.high_pp is not None
    other["results"]["openvino"]["images"] = "j" * 64
    apart = accuracy(one, other)
    assert not apart.paired
    assert apart.agree is None
    assert apart.drop_pp == pytest.approx(paired.drop_pp)
    assert apart.low_pp is not None
    assert apart.high_pp is not None
    assert apart.low_pp < paired.low_pp
    assert apart.high_pp > paired.high_pp
    assert "images are not the same (digest iiiiiiiiiiii, here jjjjjjjjjjjj)" in words(one, other)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"images": None}, "an older run does not record which images"),
        ({"classes": ["a", "c"]}, "their classes are not the same"),
        ({"skipped": ["x.png"]}, "the runs could not read the same images"),
    ],
)
def test_whatever_may_not_be_paired_is_reported(changes: dict[str, Any], expected: str) -> None:
    one, other = document("1"), document("2")
    other["results"]["openvino"] |= changes
    for kind in ("terminal", "md"):
        assert expected in words(one, other, kind=kind)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"cpu": "Another CPU", "host": "b"},
            "measured on another machine: cpu Another CPU, in run A Some CPU; host b",
        ),
        ({"power_mode": "15W"}, "measured on this machine in another state: power_mode 15W, in run A nothing"),
        ({"boot": "2"}, "the machine was restarted in between"),
    ],
)
def test_times_of_two_machines_or_states_are_never_compared(changes: dict, expected: str) -> None:
    one, other = document("1"), document("2")
    for each in other["results"]["openvino"]["variants"].values():
        each["latency"] = timed(1.0, {**MACHINE, **changes})
    found = latency(one, other)
    assert found == LatencyDifference(found.why_not)
    assert f"B openvino: times are not compared with A's: {expected}" in words(one, other)
    assert "not comparable" in words(one, other)


def test_times_that_are_none_or_of_other_batches_make_no_ratio() -> None:
    one, other = document("1"), document("2")
    other["results"]["openvino"]["variants"]["int8"]["latency"]["batch"] = 8
    assert "with batch 8, in run A with batch 1" in latency(one, other).why_not
    other["results"]["openvino"]["variants"]["int8"]["latency"] = None
    assert latency(one, other).why_not == "its latency was not measured"
    assert latency(other, one).why_not == "in run A its latency was not measured"
    assert text(one, other)


def test_one_process_has_no_interval() -> None:
    one, other = document("1"), document("2")
    for run in (one, other):
        for each in run["results"]["openvino"]["variants"].values():
            each["latency"]["processes"] = each["latency"]["processes"][:1]
    assert "1.000, no interval" in text(one, other)
    assert json.loads(text(one, other, kind="json"))["differences"][0]["latency"]["than_first"]["high"] is None


def test_two_processes_that_differ_widely_have_no_interval_and_a_sentence_says_so() -> None:
    one, other = document("1"), document("2")
    for run in (one, other):
        for each in run["results"]["openvino"]["variants"].values():
            each["latency"]["processes"] = each["latency"]["processes"][:2]
    assert "no interval" not in text(one, other)
    for run in (one, other):
        processes = run["results"]["openvino"]["variants"]["int8"]["latency"]["processes"]
        processes[1]["host_ms"] = [[30.0] * 50] * 2
    assert "1.000, no interval" in text(one, other)
    assert "Measure both runs in 3 or more (`verify.processes`)" in words(one, other)


def test_a_shared_measurement_is_no_comparison() -> None:
    one, other = document("1"), document("2", recipe_digest="0" * 64)
    for run in (one, other):
        run["steps"].append(runs.step("verify:openvino", 7, {"images": 200}))
    assert int8(compared(one, other)).same_measurement
    assert "both runs share one measurement: nothing was measured again" in words(one, other)
    assert "Accuracy against A" not in words(one, other)


def test_an_equal_request_with_another_result_is_named() -> None:
    one, other = document("1"), document("2")
    names = ("train", "trace", "quantize:openvino")
    one["steps"] = [runs.step(name, 1, digest=f"{name}-1", key="k") for name in names]
    names = ("train", "prune", "trace")
    other["steps"] = [runs.step(name, 2, digest=f"{name}-2", key="k") for name in names]
    other["steps"][2]["key"] = "another"
    about = compared(one, other).changed[0].artifacts
    assert about.first == "train"
    assert [each.step for each in about.differ] == ["train", "prune", "trace", "quantize:openvino"]
    assert "the first that differs is train (train-1 → train-2)" in words(one, other)
    assert words(one, other).count("same inputs, different result: train the") == 1


def test_machines_versions_and_verdicts_are_shown_before_and_after() -> None:
    one, other = document("1"), document("2")
    other["results"]["openvino"]["versions"] = {"openvino": "2026.5"}
    other["machine"] = {**one["machine"], "memory_gb": 16, "load": 3.0}
    other["verdicts"] = [{**one["verdicts"][0], "verdict": "KEPT"}]
    page = text(one, other)
    assert "machine, memory_gb: 8 → 16" in page
    assert "load" not in page
    assert "version, openvino.openvino: 2026.4.1 → 2026.5" in page
    assert "promise, openvino max_drop_pp: UNDECIDED → KEPT" in page


def test_what_is_in_one_run_alone_or_was_not_measured_is_reported() -> None:
    one, other = document("1"), document("2", problem={"message": "the disk is full", "hint": ""})
    other["results"] = {"tensorrt": runs.not_measured("tensorrt", "the run ended before it")}
    for kind in ("terminal", "md"):
        page = words(one, other, kind=kind)
        assert "B tensorrt: not measured: the run ended before it" in page
        assert "it ended early: the disk is full" in page
    assert compared(one, other).differences == ()


def test_images_without_labels_have_answers_to_compare_and_no_accuracy() -> None:
    one, other = document("1", wrong=2), document("2", wrong=10)
    for run in (one, other):
        run["results"]["openvino"]["labels"] = None
        for each in run["results"]["openvino"]["variants"].values():
            each["accuracy"] = {"images": 200, "agree": 200, "sqnr_db": None}
    found = accuracy(one, other)
    assert (found.agree, found.drop_pp) == (192, None)
    assert "not known" in text(one, other)


def test_many_runs_fit_eighty_columns_and_each_is_compared_with_the_first() -> None:
    every = [document(str(number), wrong=number, int8_ms=1 + number / 10) for number in range(5)]
    for run in every:
        run["results"]["onnxruntime"] = {**copy.deepcopy(run["results"]["openvino"]), "target": "onnxruntime"}
        variants = run["results"]["onnxruntime"]["variants"]
        more = {"half": variants["fp32"], "candidate": variants["int8"]}
        run["results"]["onnxruntime"]["variants"] = variants | more
    page = text(*every)
    assert max(map(len, page.splitlines())) <= 80
    assert "What changed from A to E" in page
    assert {one.run for one in compared(*every).differences} == set("BCDE")


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "a|b", "line\nbreak", "🦊 'x\"", "שלום", "`code`", "![i](u)"]
)
def test_odd_names_stay_text(name: str) -> None:
    one, other = document("1"), document("2")
    other["recipe"] = {"model": {"arch": name, "classes": 2}}
    page = text(one, other, kind="md")
    assert "<script>" not in page
    assert "![i]" not in page
    assert [line for line in page.splitlines() if line.startswith("#")] == [
        "# 2 runs, compared with 20260101-000001",
        "## What was measured",
        "## Accuracy against A",
        "## Latency and size against A",
        "## What changed from A to B",
    ]
    assert name.splitlines()[0] in text(one, other)
    assert json.loads(text(one, other, kind="json"))["changed"][0]["recipe"][0][2] == name


def test_independent_intervals_are_the_published_ones() -> None:
    """Newcombe 1998, table II, method 10: 56/70 against 48/80, 9/10 against 3/10, 10/10 against 0/10."""
    for counts, low, high in (((56, 70, 48, 80), 0.0524, 0.3339), ((9, 10, 3, 10), 0.1705, 0.8090)):
        assert intervals.independent_drop(*counts) == pytest.approx((low, high), abs=1e-4)
    assert intervals.independent_drop(10, 10, 0, 10) == pytest.approx((0.6075, 1.0), abs=1e-4)
    assert intervals.independent_drop(0, 0, 5, 10) == (-1.0, 1.0)


def test_two_separate_measurements_are_compared_by_welchs_interval() -> None:
    """Against scipy.stats.ttest_ind(equal_var=False).confidence_interval(), of 3.806 degrees of freedom."""
    value, (low, high) = intervals.change_interval([0.5, 0.52, 0.55], [0.0, 0.02, 0.04], drift=0.0)
    assert value == pytest.approx(math.exp(0.02 - 0.5233333), rel=1e-6)
    assert low < value < high
    assert math.log(high / value) == pytest.approx(0.05258155, rel=1e-6)
    assert intervals.change_interval([0.0, 0.1], [1.0], drift=0.0)[1] == (0.0, math.inf)
