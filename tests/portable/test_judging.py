"""Verdicts from results, and the statistics behind them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeresnet.portable import intervals, judging, readings
from edgeresnet.portable.result import Accuracy, Deferred, Measured, NotMeasured, Promise, Result
from edgeresnet.portable.tasks.task import task_of
from edgeresnet.portable.times import Latency

from .results import change, latency, measured, process, promises, timed_machine, variant, windows
from .scripted import of_benchmarks

pytestmark = pytest.mark.unit


def _likeliest(lost: int, won: int, images: int, drop: float) -> float:
    """The share of won pairs that fits best if the true drop is `drop`: found by trying them all."""
    shares = np.linspace(max(0.0, -drop), (1 - drop) / 2, 400_001)[1:-1]
    same = images - lost - won
    with np.errstate(divide="ignore", invalid="ignore"):
        fit = lost * np.log(shares + drop) + won * np.log(shares) + same * np.log(1 - 2 * shares - drop)
    return float(shares[np.nanargmax(fit)])


@pytest.mark.parametrize(("lost", "won", "images"), [(12, 2, 50), (5, 1, 450), (60, 40, 5000), (3, 9, 200)])
def test_the_interval_ends_where_the_score_test_rejects(lost: int, won: int, images: int) -> None:
    low, high = intervals.tango(lost, won, images)
    for end in (low, high):
        share = _likeliest(lost, won, images, end)
        z = (lost - won - images * end) / math.sqrt(images * (2 * share + end * (1 - end)))
        assert abs(z) == pytest.approx(1.959964, abs=2e-3)
    assert low < (lost - won) / images < high


@given(st.integers(1, 2000), st.data())
def test_the_interval_holds_the_estimate_and_mirrors(images: int, data: st.DataObject) -> None:
    lost = data.draw(st.integers(0, images))
    won = data.draw(st.integers(0, images - lost))
    low, high = intervals.tango(lost, won, images)
    assert -1 <= low <= (lost - won) / images + 1e-9
    assert (lost - won) / images - 1e-9 <= high <= 1
    assert intervals.tango(won, lost, images) == pytest.approx((-high, -low), abs=1e-9)


@pytest.mark.parametrize("images", [(200,), pytest.param((200, 1000, 5000), marks=pytest.mark.slow)])
def test_the_interval_holds_the_true_drop_as_often_as_it_says(images: tuple[int, ...]) -> None:
    """The benchmark's own exact enumeration, over its discordances and drops; the goal's mean is over all of them."""
    benchmark = of_benchmarks("coverage")
    found = [
        benchmark._exact(count, discordance, part * discordance)[0]
        for count in images
        for discordance in benchmark.DISCORDANCE
        for part in benchmark.PARTS
    ]
    assert min(found) >= 0.94
    assert 0.95 <= sum(found) / len(found) <= 0.98


def test_no_image_decides_nothing() -> None:
    assert intervals.tango(0, 0, 0) == (-1, 1)


def test_more_images_decide_finer_drops() -> None:
    assert intervals.finest_drop(10) > 0.25
    assert 100 * intervals.finest_drop(450) == pytest.approx(0.85, abs=0.01)
    assert intervals.finest_drop(5000) < intervals.finest_drop(450)


def test_the_interval_of_a_drop_is_the_counts_own() -> None:
    counts = Accuracy(images=100, agree=96, top1=87, lost=3, won=1, top5=100)
    low, high = intervals.tango(3, 1, 100)
    assert counts.drop_interval_pp() == pytest.approx((100 * low, 100 * high))
    assert counts.drop_pp == pytest.approx(2)


@pytest.mark.parametrize(
    ("promised", "within"),
    [
        (promises(max_drop_pp=30), True),
        (promises(max_drop_pp=20), False),
        (promises(min_top1_pct=72), True),
        (promises(min_top1_pct=75), False),
        (promises(max_flips_pct=28), True),
        (promises(max_flips_pct=25), False),
        (promises({"crack": 50}), True),
        (promises({"crack": 60}), False),
        (promises({"crack": 50, "fine": 45}), False),
        (promises(max_size_mb=1e-9), True),
    ],
)
def test_what_ten_images_can_show(promised: list[Promise], within: bool) -> None:
    """`check` warns of exactly those promises that perfect answers would leave undecided."""
    counts = {"crack": 4, "fine": 6}
    assert (judging.out_of_reach(promised, 10, counts, 5, task_of("classification")) == []) is within
    perfect = _answers(("crack", 4, 4, 4), ("fine", 6, 6, 6))
    perfect = _counted(perfect, Accuracy(images=10, agree=10, top1=10, lost=0, won=0))
    if promised != promises(max_size_mb=1e-9):
        kept = all(verdict.verdict == "KEPT" for verdict in judging.judge(promised, "x", perfect))
        assert kept is within


def test_what_is_out_of_reach_is_named() -> None:
    promised = promises({"crack": 60}, max_drop_pp=0.5, max_latency_p99_ms=5)
    found = judging.out_of_reach(promised, 4, {"crack": 4}, 1, task_of("classification"))
    assert found[0].startswith("4 images are too few for max_drop_pp 0.5: the smallest drop")
    assert found[1].startswith("4 images of crack are too few for min_recall_pct crack 60: the highest")
    assert found[2] == "max_latency_p99_ms: one process does not show how much times vary between processes"


@pytest.mark.parametrize("task", ["segmentation", "detection"])
def test_masks_and_boxes_decide_less_of_a_class_that_is_in_few_images(task: str) -> None:
    name = {"segmentation": "min_iou_pct", "detection": "min_ap_pct"}[task]
    promised = [Promise(name, 99.0, "crack"), Promise("max_drop_pp", 0.05)]
    found = judging.out_of_reach(promised, 100, {"crack": 30, "hole": 90}, 5, task_of(task))
    assert found == [
        f"30 images of crack are too few for {name} crack 99: the highest value that they can show is 98.72",
        "100 images are too few for max_drop_pp 0.05: the smallest drop that they can rule out is 0.38",
    ]
    assert judging.out_of_reach([Promise("max_drop_pp", 0.5)], 100, {}, 5, task_of(task)) == []


def test_answers_are_better_than_chance_or_not() -> None:
    labels = [0, 1] * 50
    assert intervals.better_than_chance(labels, labels, 2)
    assert not intervals.better_than_chance(labels, [0] * 100, 2), "half of them are correct by chance"
    assert not intervals.better_than_chance([], [], 2)


def test_wilson_never_leaves_the_unit_interval() -> None:
    assert intervals.wilson(0, 0) == (0, 1)
    assert intervals.wilson(10, 10).high == pytest.approx(1)
    low, high = intervals.wilson(81, 263)
    assert (low, high) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe 1998, the same worked example


def test_quantile_interval_is_exact() -> None:
    """Against the binomial sums themselves: at least 95 %, and no narrower one would do."""

    def below(n: int, q: float, most: int) -> float:
        return sum(math.comb(n, k) * q**k * (1 - q) ** (n - k) for k in range(most + 1))

    for n, q in ((400, 0.99), (1000, 0.99), (101, 0.5), (37, 0.9)):
        low, high = intervals.quantile_interval([float(k) for k in range(1, n + 1)], q)  # value = its rank
        if high < math.inf:
            assert 1 - below(n, q, int(high) - 1) <= 0.025 < 1 - below(n, q, int(high) - 2)
        assert below(n, q, int(low) - 1) <= 0.025 < below(n, q, int(low))
    assert intervals.quantile_interval([1.0] * 366, 0.99).high == math.inf
    assert intervals.quantile_interval([1.0] * 368, 0.99).high == 1.0
    # open where values are too few
    assert intervals.quantile_interval([1.0] * 20, 0.99).high == math.inf
    low, high = intervals.quantile_interval(list(range(10_000)), 0.5)
    assert low < 5000 < high
    assert high - low < 250


def test_ratio_interval_is_over_processes() -> None:
    slower = [[[2.0, 2.1], [2.0, 2.2]], [[2.1, 2.2]], [[1.9, 2.0]]]
    faster = [[[1.0, 1.05], [1.0, 1.1]], [[1.05, 1.1]], [[0.96, 1.0]]]
    value, (low, high) = intervals.ratio_interval(slower, faster)
    assert value == pytest.approx(2.0, rel=0.01)
    assert 1.9 < low <= value <= high < 2.1
    many_windows = [[[2.0] * 100] * 8, [[2.4] * 100] * 8]
    _, (low, high) = intervals.ratio_interval(many_windows, [[[1.0] * 100] * 8] * 2)
    assert low < 1, "two processes that differ say little, however many windows they have"
    assert high > 4
    assert intervals.ratio_interval([[[1.0]]], [[[1.0]]])[1] == (0, math.inf)


def test_a_tail_varies_inside_processes_and_between_them() -> None:
    assert intervals.tail_interval([[[1.0] * 5000]], 0.99) == (0, math.inf), "one process knows nothing of others"
    same = [[[1.0 + 0.0001 * n for n in range(1000)]]] * 5
    inner = intervals.tail_interval(same, 0.99)
    assert inner.low <= 1.099 <= inner.high
    other = [*same[:4], [[2 * value for value in same[0][0]]]]
    outer = intervals.tail_interval(other, 0.99)
    assert outer.high > 2
    assert outer.low < inner.low
    assert intervals.tail_interval([[[1.0] * 20]] * 2, 0.99).high == math.inf


def _latency(times: float, processes: int = 5) -> Latency:
    each = [[times * (1 + 1e-7 * n) for n in range(200)]] * 2
    return latency([process(*each, peak_memory_mb=100.0)] * processes)


def _result(lost: int = 0, won: int = 0, images: int = 5000, top1: int = 4500, times: float = 1.0) -> Measured:
    before = top1 + lost - won  # of ten equal classes; the incorrect answers name the next class
    labels = [n % 10 for n in range(images)]
    answers = [label if n < before else (label + 1) % 10 for n, label in enumerate(labels)]
    about = {"classes": [f"c{n}" for n in range(10)], "labels": labels, "reference_predicted": answers}
    counts = Accuracy(images=images, agree=images - lost - won, top1=top1, lost=lost, won=won)
    return measured("fp32", {"fp32": variant(_latency(times), counts)}, **about)


def _answers(*classes: tuple[str, int, int, int]) -> Measured:
    """A result from (class, images, correct before, correct now)."""
    labels, before, now = [], [], []
    for index, (_, images, correct_before, correct_now) in enumerate(classes):
        labels += [index] * images
        other = (index + 1) % len(classes)
        before += [index] * correct_before + [other] * (images - correct_before)
        now += [index] * correct_now + [other] * (images - correct_now)
    about = {"classes": tuple(each[0] for each in classes), "labels": tuple(labels)}
    result = replace(_result(), **about, reference_predicted=tuple(before))  # type: ignore[arg-type]
    return change(result, "fp32", predicted=tuple(now))


def _counted(result: Measured, counts: Accuracy) -> Measured:
    return change(result, "fp32", accuracy=counts)


@pytest.mark.parametrize(
    ("promise", "result", "verdict"),
    [
        (Promise("max_drop_pp", 0.5), _result(), "KEPT"),
        (Promise("max_drop_pp", 0.5), _result(lost=200), "BROKEN"),
        (Promise("max_drop_pp", 0.5), _result(lost=25), "UNDECIDED"),
        (Promise("max_drop_pp", 0.5), _result(images=10, top1=9), "UNDECIDED"),
        (Promise("min_top1_pct", 89), _result(), "KEPT"),
        (Promise("min_top1_pct", 90), _result(), "UNDECIDED"),
        (Promise("min_top1_pct", 95), _result(), "BROKEN"),
        (Promise("max_flips_pct", 1), _result(lost=10, won=10), "KEPT"),
        (Promise("max_flips_pct", 1), _result(lost=100, won=100), "BROKEN"),
        (Promise("max_latency_p99_ms", 1.1), _result(), "KEPT"),
        (Promise("max_latency_p99_ms", 0.9), _result(), "BROKEN"),
        (Promise("max_size_mb", 2), _result(), "KEPT"),
        (Promise("max_size_mb", 1), _result(), "BROKEN"),
        (Promise("max_peak_memory_mb", 100), _result(), "KEPT"),
        (Promise("max_peak_memory_mb", 99), _result(), "BROKEN"),
        (Promise("min_speedup_fp32", 1.2), _result(), "NOT_MEASURED"),
        (Promise("max_drop_pp", 0.5), NotMeasured("openvino", "is not here"), "NOT_MEASURED"),
        (Promise("max_drop_pp", 0.5), Deferred("openvino", "its bundle waits"), "DEFERRED"),
        (Promise("max_drop_pp", 0.5), Deferred("openvino", "waits", unlabelled=True), "NOT_MEASURED"),
        (Promise("max_drop_pp", 0.5), replace(_result(), labels=None), "NOT_MEASURED"),
        (Promise("max_size_mb", 2), Deferred("openvino", "waits", unlabelled=True), "DEFERRED"),
        (Promise("max_latency_p99_ms", 5), _result(times=float("nan")), "NOT_MEASURED"),
    ],
)
def test_verdicts(promise: Promise, result: Result, verdict: str) -> None:
    (found,) = judging.judge([promise], "openvino", result)
    assert (found.verdict, found.promise) == (verdict, promise)
    assert found.reason


def test_more_correct_answers_than_before_are_points_gained() -> None:
    (found,) = judging.judge(promises(max_drop_pp=0.5), "x", _result(lost=5, won=30))
    assert found.reason.startswith("0.50 points gained compared with FP32, 95 % interval 0.2")
    assert found.reason.endswith("; promised at most 0.5")
    (found,) = judging.judge(promises(max_drop_pp=0.5), "x", _result(lost=5, won=4))
    assert "0.02 points lost compared with FP32, 95 % interval 0.12 points gained to 0.16 points lost" in found.reason


def test_of_two_builds_the_worse_is_judged() -> None:
    """Which of them ships is not known."""
    result = _result()
    worse = replace(result.shipped, size_mb=3.0)
    (found,) = judging.judge(promises(max_size_mb=2), "x", replace(result, rebuilds=(worse,)))
    assert (found.verdict, found.value) == ("BROKEN", 3.0)
    assert found.reason.endswith("; worst of 2 builds")


def test_a_drop_from_chance_says_nothing() -> None:
    (found,) = judging.judge(promises(max_drop_pp=0.5), "openvino", _result(top1=500))
    assert found.verdict == "NOT_MEASURED"
    assert "do not show that the FP32 reference is better than chance" in found.reason


def test_a_rare_class_does_not_make_correct_answers_likely() -> None:
    """Two cracks in a hundred parts, both found: always saying `fine` is correct 98 times, and is not what it did."""
    result = _answers(("fine", 98, 98, 98), ("crack", 2, 2, 2))
    result = _counted(result, Accuracy(images=100, agree=100, top1=100, lost=0, won=0))
    (found,) = judging.judge(promises(max_drop_pp=5), "x", result)
    assert found.verdict == "KEPT"
    result = _counted(result, Accuracy(images=100, agree=100, top1=98, lost=0, won=0))
    (found,) = judging.judge(promises(max_drop_pp=5), "x", replace(result, reference_predicted=(0,) * 100))
    assert found.verdict == "NOT_MEASURED"


def test_a_rare_class_needs_more_images_of_its_own() -> None:
    result = _answers(("fine", 980, 980, 980), ("crack", 20, 20, 20))
    (found,) = judging.judge(promises({"crack": 95}), "x", result)
    assert found.verdict == "UNDECIDED"
    assert "more images of crack would decide" in found.reason


def test_one_process_does_not_keep_a_latency_and_few_inferences_do_not_either() -> None:
    result = change(_result(), "fp32", latency=_latency(1.0, processes=1))
    (found,) = judging.judge(promises(max_latency_p99_ms=5), "x", result)
    assert (found.verdict, found.high) == ("UNDECIDED", None)
    assert "inferences are too few" not in found.reason
    assert "one process gives no interval: use 3 or more (`verify.processes`)" in found.reason
    assert judging.out_of_reach(promises(max_latency_p99_ms=5), 10, {"a": 10}, 1, task_of("classification"))
    few = latency([process([1.0] * 20)] * 5)
    (found,) = judging.judge(promises(max_latency_p99_ms=5), "x", change(result, "fp32", latency=few))
    assert found.verdict == "UNDECIDED"
    assert "100 inferences are too few: a longer measurement would decide it" in found.reason


def test_a_tick_as_long_as_a_hundredth_of_an_inference_measures_nothing() -> None:
    result = _faster(2, clock_ms=0.1)
    (found,) = judging.judge(promises(min_speedup_fp32=1.5), "x", result)
    assert found.verdict == "NOT_MEASURED"
    assert "too coarse" in found.reason


@pytest.mark.parametrize(("times", "words"), [(0.0812, "0.0812 ms at p99"), (27.456, "27.46 ms at p99")])
def test_fast_networks_keep_their_digits(times: float, words: str) -> None:
    (found,) = judging.judge(promises(max_latency_p99_ms=50), "x", _result(times=times))
    assert words in found.reason


def _faster(by: float, half: bool = True, processes: int = 5, **last: object) -> Measured:
    """INT8 `by` times as fast as the others; `last` changes its last process."""
    slower = replace(_result().shipped, latency=_latency(1.0, processes))
    *others, changed = _latency(1 / by, processes).processes
    changed = replace(changed, **last)  # type: ignore[arg-type]
    every = {"fp32": slower, "int8": replace(slower, latency=latency([*others, changed]))}
    return replace(_result(), variants=every | ({"half": slower} if half else {}), ships="int8")


def test_a_faster_half_precision_variant_decides_min_speedup_half() -> None:
    found = judging.judge(promises(min_speedup_half=1.5, min_speedup_fp32=2.5), "openvino", _faster(2))
    assert [verdict.verdict for verdict in found] == ["KEPT", "BROKEN"]
    assert "× as fast as the half-precision variant" in found[0].reason
    (absent,) = judging.judge(promises(min_speedup_half=1.5), "onnxruntime", _faster(2, half=False))
    assert absent.verdict == "NOT_MEASURED"
    assert absent.reason == "this target has no half-precision variant on this machine"


def test_one_process_cannot_show_a_speed_up() -> None:
    (found,) = judging.judge(promises(min_speedup_fp32=1.5), "openvino", _faster(2, processes=1))
    assert found.verdict == "UNDECIDED"
    assert "one process gives no interval: use 3 or more (`verify.processes`)" in found.reason


@pytest.mark.parametrize(("limit", "kind"), [(1.5, "min_speedup_fp32"), (50, "max_latency_p99_ms")])
def test_two_processes_that_differ_widely_decide_nothing_and_the_reason_says_so(limit: float, kind: str) -> None:
    last = windows([[40.0] * 200] * 2)
    (found,) = judging.judge([Promise(kind, limit)], "openvino", _faster(2, processes=2, host_ms=last))
    assert found.verdict == "UNDECIDED"
    assert (found.low, found.high) == (0.0, None)
    assert ", no 95 % interval; promised at " in found.reason
    words = "; 2 processes are too few for an interval of such noisy times: use 3 or more (`verify.processes`)"
    assert found.reason.endswith(words)


def test_times_of_two_machines_are_never_compared() -> None:
    result = _faster(2, machine=timed_machine(host="another"))
    (found,) = judging.judge(promises(min_speedup_fp32=1.5), "openvino", result)
    assert found.verdict == "NOT_MEASURED"
    assert "different machines" in found.reason


def _is_of_the_machine(kind: str) -> bool:
    return readings.KINDS[kind].needs not in ("labels", "answers") and kind != "max_size_mb"


@pytest.mark.parametrize("kind", [kind for kind in readings.KINDS if _is_of_the_machine(kind)])
def test_what_an_emulator_measured_is_never_kept(kind: str) -> None:
    """Sabotage: limits that any measurement keeps."""
    result = _faster(2, machine=timed_machine(), peak_memory_mb=1.0)
    emulated = replace(
        result,
        variants={
            name: replace(each, latency=each.latency and latency(replace(one, machine=timed_machine(emulated=True))
                                                                 for one in each.latency.processes))
            for name, each in result.variants.items()
        },
    )  # fmt: skip
    promised = [Promise(kind, 1e9 if readings.KINDS[kind].ceiling else 1e-9)]
    (found,) = judging.judge(promised, "onnxruntime", emulated)
    assert found.verdict == "NOT_MEASURED"
    assert "emulator" in found.reason or "not measured" in found.reason
    if kind in ("max_latency_p99_ms", "max_peak_memory_mb", "min_speedup_fp32"):
        assert judging.judge(promised, "onnxruntime", result)[0].verdict == "KEPT", "the measurement itself is good"


def test_a_clock_that_stepped_back_measured_nothing() -> None:
    result = _faster(2, host_ms=windows([[0.5] * 99 + [-100.0], [0.5] * 100]))
    found = judging.judge(promises(min_speedup_fp32=1.5, max_latency_p99_ms=5), "openvino", result)
    assert [verdict.verdict for verdict in found] == ["NOT_MEASURED"] * 2
    assert "went backwards" in found[0].reason


def test_the_process_that_used_most_memory_counts() -> None:
    two = latency([process(peak_memory_mb=90.0), process(peak_memory_mb=110.0)])
    (found,) = judging.judge(promises(max_peak_memory_mb=100), "x", change(_result(), "fp32", latency=two))
    assert (found.verdict, found.value) == ("BROKEN", 110.0)
    for unknown in (latency([process()]), None):
        result = change(_result(), "fp32", latency=unknown)
        assert judging.judge(promises(max_peak_memory_mb=100), "x", result)[0].verdict == "NOT_MEASURED"


@pytest.mark.parametrize(
    "promised",
    [promises(min_top1_pct=90), promises(max_drop_pp=5), promises({"fine": 90})],
    ids=lambda each: each[0].kind,
)
def test_the_same_answer_to_every_image_keeps_no_promise(promised: list[Promise]) -> None:
    """98 in 100 images are of one class: a network that always names it is correct often enough."""
    result = _answers(("fine", 980, 980, 980), ("crack", 20, 15, 0))
    counts = Accuracy(images=1000, agree=985, top1=980, lost=15, won=0)
    result = change(result, "fp32", predicted=(0,) * 1000, accuracy=counts)
    (found,) = judging.judge(promised, "x", result)
    assert found.verdict == "NOT_MEASURED"
    assert "the network answers fine for every image" in found.reason


def test_the_worst_verdict_is_the_runs() -> None:
    assert judging.worst([]) == "KEPT"
    assert judging.worst(["KEPT", "DEFERRED"]) == "DEFERRED"
    assert judging.worst(["UNDECIDED", "NOT_MEASURED", "KEPT"]) == "NOT_MEASURED"
    assert judging.worst(["NOT_MEASURED", "BROKEN"]) == "BROKEN"


def test_recalls_are_counted_from_the_answers() -> None:
    result = _answers(("crack", 100, 99, 90), ("fine", 50, 50, 50), ("absent", 0, 0, 0))
    found = [(label, of.images, of.before_pct, of.score_pct) for label, of in task_of(result.task).classes(result)]
    assert found == [("crack", 100, 99, 90), ("fine", 50, 100, 100), ("absent", 0, 0, 0)]
    assert [each.of.drop_pp for each in task_of(result.task).classes(result)] == [9, 0, 0]


@pytest.mark.parametrize(
    ("images", "correct", "limit", "verdict"),
    [(1000, 995, 98, "KEPT"), (1000, 950, 98, "BROKEN"), (1000, 985, 98, "UNDECIDED"), (0, 0, 98, "NOT_MEASURED")],
)
def test_a_promise_on_one_class(images: int, correct: int, limit: float, verdict: str) -> None:
    result = _answers(("crack", images, correct, correct), ("fine", 10, 10, 10))
    (found,) = judging.judge(promises({"crack": limit}), "openvino", result)
    assert (found.verdict, found.promise.name) == (verdict, "min_recall_pct crack")


def test_looking_at_many_classes_widens_the_interval() -> None:
    result = _answers(*((f"c{n}", 500, 480, 480) for n in range(10)))
    (alone,) = judging.judge(promises({"c0": 94}), "x", result)
    many = judging.judge(promises({f"c{n}": 94 for n in range(10)}), "x", result)
    assert len(many) == 10
    assert many[0].low is not None
    assert alone.low is not None
    assert many[0].low < alone.low
    assert "% recall of c0" in alone.reason


@pytest.mark.parametrize(("lost", "won", "p"), [(0, 0, 1.0), (5, 5, 1.0), (10, 0, 2 / 1024), (8, 2, 112 / 1024)])
def test_mcnemar_is_exact(lost: int, won: int, p: float) -> None:
    assert intervals.mcnemar(lost, won) == pytest.approx(p)
    assert intervals.mcnemar(won, lost) == pytest.approx(p)


def test_undecided_says_how_many_more_images_would_decide_and_they_do() -> None:
    result = _result(lost=20, won=10, images=5000)
    (found,) = judging.judge(promises(max_drop_pp=0.4), "x", result)
    assert found.verdict == "UNDECIDED"
    assert found.more_images
    shown = int(found.reason.split("about ")[1].split(" more")[0].replace(",", ""))
    assert found.more_images <= shown <= 1.11 * found.more_images
    k = (5000 + found.more_images) / 5000
    assert 100 * intervals.tango(20 * k, 10 * k, 5000 * k).high <= 0.4 + 1e-6
    k = (5000 + 0.9 * found.more_images) / 5000
    assert 100 * intervals.tango(20 * k, 10 * k, 5000 * k).high > 0.4


def test_what_lies_on_the_limit_no_number_of_images_decides() -> None:
    (found,) = judging.judge(promises(max_drop_pp=0.2), "x", _result(lost=20, won=10, images=5000))
    assert (found.verdict, found.more_images) == ("UNDECIDED", None)


@pytest.mark.parametrize("promised", [promises(max_drop_pp=5), promises(min_top1_pct=75), promises(max_flips_pct=10)])
def test_ten_images_keep_only_what_ten_images_can_decide(promised: list[Promise]) -> None:
    (found,) = judging.judge(promised, "x", _result(images=10, top1=10))
    assert found.verdict == "UNDECIDED"
    assert found.more_images
    kept = judging.judge(promises(max_drop_pp=30, min_top1_pct=70), "x", _result(images=10, top1=10))
    assert [verdict.verdict for verdict in kept] == ["KEPT", "KEPT"]
