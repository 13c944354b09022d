from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeresnet.portable import intervals, judging

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


def test_the_interval_from_records_is_paired() -> None:
    before = np.array([True] * 90 + [False] * 10)
    now = before.copy()
    now[:3] = False
    assert judging.drop_interval(before.tolist(), now.tolist()) == intervals.tango(3, 0, 100)
    assert judging.drop_interval([], []) == (-1, 1)
    with pytest.raises(ValueError, match="same images"):
        judging.drop_interval([True], [True, False])


def test_more_images_decide_finer_drops() -> None:
    assert intervals.finest_drop(10) > 0.25
    assert 100 * intervals.finest_drop(450) == pytest.approx(0.85, abs=0.01)
    assert intervals.finest_drop(5000) < intervals.finest_drop(450)


@pytest.mark.parametrize(
    ("promises", "within"),
    [
        ({"max_drop_pp": 30}, True),
        ({"max_drop_pp": 20}, False),
        ({"min_top1_pct": 72}, True),
        ({"min_top1_pct": 75}, False),
        ({"max_flips_pct": 28}, True),
        ({"max_flips_pct": 25}, False),
        ({"min_recall_pct": {"crack": 50}}, True),
        ({"min_recall_pct": {"crack": 60}}, False),
        ({"min_recall_pct": {"crack": 50, "fine": 45}}, False),
        ({"max_size_mb": 1e-9}, True),
    ],
)
def test_what_ten_images_can_show(promises: dict, within: bool) -> None:
    """`check` warns of exactly those promises that perfect answers would leave undecided."""
    counts = {"crack": 4, "fine": 6}
    assert (judging.out_of_reach(promises, counts, 5) == []) is within
    perfect = _answers(("crack", 4, 4, 4), ("fine", 6, 6, 6))
    perfect["variants"]["fp32"]["accuracy"] = {"images": 10, "top1": 10, "flips_lost": 0, "flips_won": 0, "agree": 10}
    if "max_size_mb" not in promises:
        kept = all(verdict.verdict == "KEPT" for verdict in judging.judge(promises, "x", perfect))
        assert kept is within


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


def _latency(times: float, processes: int = 5) -> dict:
    windows = [[times * (1 + 1e-7 * n) for n in range(200)]] * 2
    process = {"machine": {"cpu": "this"}, "host_ms": windows, "peak_memory_mb": 100.0}
    return {"processes": [process] * processes}


def _result(lost: int = 0, won: int = 0, images: int = 5000, top1: int = 4500, times: float = 1.0) -> dict:
    accuracy = {"images": images, "top1": top1, "flips_lost": lost, "flips_won": won, "agree": images - lost - won}
    variant = {"accuracy": accuracy, "latency": _latency(times), "size_mb": 1.5}
    before = top1 + lost - won  # of ten equal classes; the wrong answers name the next class
    labels = [n % 10 for n in range(images)]
    answers = [label if n < before else (label + 1) % 10 for n, label in enumerate(labels)]
    about = {"classes": [f"c{n}" for n in range(10)], "labels": labels, "reference_predicted": answers}
    return {"candidate": "fp32", "variants": {"fp32": variant}, **about}


def _answers(*classes: tuple[str, int, int, int]) -> dict:
    """A result from (class, images, right before, right now)."""
    result = _result()
    labels, before, now = [], [], []
    for index, (_, images, right_before, right_now) in enumerate(classes):
        labels += [index] * images
        other = (index + 1) % len(classes)
        before += [index] * right_before + [other] * (images - right_before)
        now += [index] * right_now + [other] * (images - right_now)
    result["variants"]["fp32"]["predicted"] = now
    return {**result, "classes": [c[0] for c in classes], "labels": labels, "reference_predicted": before}


@pytest.mark.parametrize(
    ("promises", "result", "verdict"),
    [
        ({"max_drop_pp": 0.5}, _result(), "KEPT"),
        ({"max_drop_pp": 0.5}, _result(lost=200), "BROKEN"),
        ({"max_drop_pp": 0.5}, _result(lost=25), "UNDECIDED"),
        ({"max_drop_pp": 0.5}, _result(images=10, top1=9), "UNDECIDED"),
        ({"min_top1_pct": 89}, _result(), "KEPT"),
        ({"min_top1_pct": 90}, _result(), "UNDECIDED"),
        ({"min_top1_pct": 95}, _result(), "BROKEN"),
        ({"max_flips_pct": 1}, _result(lost=10, won=10), "KEPT"),
        ({"max_flips_pct": 1}, _result(lost=100, won=100), "BROKEN"),
        ({"max_latency_p99_ms": 1.1}, _result(), "KEPT"),
        ({"max_latency_p99_ms": 0.9}, _result(), "BROKEN"),
        ({"max_size_mb": 2}, _result(), "KEPT"),
        ({"max_size_mb": 1}, _result(), "BROKEN"),
        ({"max_peak_memory_mb": 100}, _result(), "KEPT"),
        ({"max_peak_memory_mb": 99}, _result(), "BROKEN"),
        ({"min_speedup_fp32": 1.2}, _result(), "NOT_MEASURED"),
        ({"max_drop_pp": 0.5}, {"reason": "is not here"}, "NOT_MEASURED"),
        ({"max_latency_p99_ms": 5}, _result(times=float("nan")), "NOT_MEASURED"),
    ],
)
def test_verdicts(promises: dict, result: dict, verdict: str) -> None:
    (found,) = judging.judge(promises, "openvino", result)
    assert found.verdict == verdict
    assert found.reason


def test_a_drop_from_chance_says_nothing() -> None:
    (found,) = judging.judge({"max_drop_pp": 0.5}, "openvino", _result(top1=500))
    assert found.verdict == "NOT_MEASURED"
    assert "do not show the FP32 reference to be better than chance" in found.reason


def test_a_rare_class_makes_no_chance_of_a_right_answer() -> None:
    """Two cracks in a hundred parts, both found: always saying `fine` is right 98 times, and is not what it did."""
    result = _answers(("fine", 98, 98, 98), ("crack", 2, 2, 2))
    result["variants"]["fp32"]["accuracy"] = {"images": 100, "top1": 100, "flips_lost": 0, "flips_won": 0, "agree": 100}
    (found,) = judging.judge({"max_drop_pp": 5}, "x", result)
    assert found.verdict == "KEPT"
    result["reference_predicted"] = [0] * 100
    result["variants"]["fp32"]["accuracy"] |= {"top1": 98}
    (found,) = judging.judge({"max_drop_pp": 5}, "x", result)
    assert found.verdict == "NOT_MEASURED"


def test_a_rare_class_needs_more_images_of_its_own() -> None:
    result = _answers(("fine", 980, 980, 980), ("crack", 20, 20, 20))
    (found,) = judging.judge({"min_recall_pct": {"crack": 95}}, "x", result)
    assert found.verdict == "UNDECIDED"
    assert "more images of crack would decide" in found.reason


def test_one_process_does_not_keep_a_latency_and_few_inferences_do_not_either() -> None:
    result = _result()
    result["variants"]["fp32"]["latency"] = _latency(1.0, processes=1)
    (found,) = judging.judge({"max_latency_p99_ms": 5}, "x", result)
    assert (found.verdict, found.high) == ("UNDECIDED", None)
    assert judging.out_of_reach({"max_latency_p99_ms": 5}, {"a": 10}, processes=1)
    result["variants"]["fp32"]["latency"] = _latency(1.0)
    for process in result["variants"]["fp32"]["latency"]["processes"]:
        process["host_ms"] = [[1.0] * 20]
    (found,) = judging.judge({"max_latency_p99_ms": 5}, "x", result)
    assert found.verdict == "UNDECIDED"
    assert "100 inferences are few: more seconds would decide" in found.reason


def test_a_tick_as_long_as_a_hundredth_of_an_inference_measures_nothing() -> None:
    result = _faster(2)
    for process in result["variants"]["int8"]["latency"]["processes"]:
        process["clock_ms"] = 0.1
    (found,) = judging.judge({"min_speedup_fp32": 1.5}, "x", result)
    assert found.verdict == "NOT_MEASURED"
    assert "too coarse" in found.reason


@pytest.mark.parametrize(("times", "words"), [(0.0812, "0.0812 ms at p99"), (27.456, "27.46 ms at p99")])
def test_fast_networks_keep_their_digits(times: float, words: str) -> None:
    (found,) = judging.judge({"max_latency_p99_ms": 50}, "x", _result(times=times))
    assert words in found.reason


def _faster(by: float, half: bool = True, processes: int = 5) -> dict:
    result = _result()
    result["variants"]["fp32"]["latency"] = _latency(1.0, processes)
    if half:
        result["variants"]["half"] = result["variants"]["fp32"]
    result["variants"]["int8"] = {**result["variants"]["fp32"], "latency": _latency(1 / by, processes)}
    return {**result, "candidate": "int8"}


def test_a_faster_twin_decides_min_speedup_half() -> None:
    found = judging.judge({"min_speedup_half": 1.5, "min_speedup_fp32": 2.5}, "openvino", _faster(2))
    assert [verdict.verdict for verdict in found] == ["KEPT", "BROKEN"]
    (absent,) = judging.judge({"min_speedup_half": 1.5}, "onnxruntime", _faster(2, half=False))
    assert (absent.verdict, "no half twin" in absent.reason) == ("NOT_MEASURED", True)


def test_one_process_cannot_show_a_speed_up() -> None:
    (found,) = judging.judge({"min_speedup_fp32": 1.5}, "openvino", _faster(2, processes=1))
    assert found.verdict == "UNDECIDED"
    assert "more processes would decide" in found.reason


def test_times_of_two_machines_are_never_held_against_one_another() -> None:
    result = _faster(2)
    last = result["variants"]["int8"]["latency"]["processes"]
    last[-1] = {**last[-1], "machine": {"cpu": "another"}}
    (found,) = judging.judge({"min_speedup_fp32": 1.5}, "openvino", result)
    assert found.verdict == "NOT_MEASURED"
    assert "two machines" in found.reason


def test_a_clock_that_stepped_back_measured_nothing() -> None:
    result = _faster(2)
    latency = result["variants"]["int8"]["latency"]
    latency["processes"][4] = {**latency["processes"][4], "host_ms": [[0.5] * 99 + [-100.0], [0.5] * 100]}
    found = judging.judge({"min_speedup_fp32": 1.5, "max_latency_p99_ms": 5}, "openvino", result)
    assert [verdict.verdict for verdict in found] == ["NOT_MEASURED"] * 2
    assert "stepped back" in found[0].reason


def test_the_process_that_used_most_memory_counts() -> None:
    result = _result()
    result["variants"]["fp32"]["latency"]["processes"] = [{"peak_memory_mb": 90.0}, {"peak_memory_mb": 110.0}]
    (found,) = judging.judge({"max_peak_memory_mb": 100}, "x", result)
    assert (found.verdict, found.value) == ("BROKEN", 110.0)
    result["variants"]["fp32"]["latency"]["processes"] = [{"peak_memory_mb": None}]
    assert judging.judge({"max_peak_memory_mb": 100}, "x", result)[0].verdict == "NOT_MEASURED"


@pytest.mark.parametrize("promise", [{"min_top1_pct": 90}, {"max_drop_pp": 5}, {"min_recall_pct": {"fine": 90}}])
def test_the_same_answer_to_every_image_keeps_no_promise(promise: dict) -> None:
    """98 in 100 images are of one class: a network that always names it is right often enough."""
    result = _answers(("fine", 980, 980, 980), ("crack", 20, 15, 0))
    result["variants"]["fp32"]["predicted"] = [0] * 1000
    result["variants"]["fp32"]["accuracy"] |= {"images": 1000, "top1": 980, "agree": 985, "flips_lost": 15}
    (found,) = judging.judge(promise, "x", result)
    assert found.verdict == "NOT_MEASURED"
    assert "every image is answered fine" in found.reason


def test_the_worst_verdict_is_the_runs() -> None:
    assert judging.worst([]) == "KEPT"
    assert judging.worst(["KEPT", "DEFERRED"]) == "DEFERRED"
    assert judging.worst(["UNDECIDED", "NOT_MEASURED", "KEPT"]) == "NOT_MEASURED"
    assert judging.worst(["NOT_MEASURED", "BROKEN"]) == "BROKEN"


def test_recalls_are_read_off_the_answers() -> None:
    result = _answers(("crack", 100, 99, 90), ("fine", 50, 50, 50), ("absent", 0, 0, 0))
    assert judging.recalls(result) == [("crack", 100, 99, 90), ("fine", 50, 50, 50), ("absent", 0, 0, 0)]
    assert judging.flips(result) == [(9, 0), (0, 0), (0, 0)]


@pytest.mark.parametrize(
    ("images", "right", "limit", "verdict"),
    [(1000, 995, 98, "KEPT"), (1000, 950, 98, "BROKEN"), (1000, 985, 98, "UNDECIDED"), (0, 0, 98, "NOT_MEASURED")],
)
def test_a_promise_on_one_class(images: int, right: int, limit: float, verdict: str) -> None:
    result = _answers(("crack", images, right, right), ("fine", 10, 10, 10))
    (found,) = judging.judge({"min_recall_pct": {"crack": limit}}, "openvino", result)
    assert (found.verdict, found.promise) == (verdict, "min_recall_pct crack")


def test_looking_at_many_classes_widens_the_interval() -> None:
    result = _answers(*((f"c{n}", 500, 480, 480) for n in range(10)))
    (alone,) = judging.judge({"min_recall_pct": {"c0": 94}}, "x", result)
    many = judging.judge({"min_recall_pct": {f"c{n}": 94 for n in range(10)}}, "x", result)
    assert len(many) == 10
    assert many[0].low is not None
    assert alone.low is not None
    assert many[0].low < alone.low


@pytest.mark.parametrize(("lost", "won", "p"), [(0, 0, 1.0), (5, 5, 1.0), (10, 0, 2 / 1024), (8, 2, 112 / 1024)])
def test_mcnemar_is_exact(lost: int, won: int, p: float) -> None:
    assert intervals.mcnemar(lost, won) == pytest.approx(p)
    assert intervals.mcnemar(won, lost) == pytest.approx(p)


def test_undecided_says_how_many_more_images_would_decide_and_they_do() -> None:
    result = _result(lost=20, won=10, images=5000)
    (found,) = judging.judge({"max_drop_pp": 0.4}, "x", result)
    assert found.verdict == "UNDECIDED"
    assert found.more_images
    said = int(found.reason.split("about ")[1].split(" more")[0].replace(",", ""))
    assert found.more_images <= said <= 1.11 * found.more_images
    k = (5000 + found.more_images) / 5000
    assert 100 * intervals.tango(20 * k, 10 * k, 5000 * k).high <= 0.4 + 1e-6
    k = (5000 + 0.9 * found.more_images) / 5000
    assert 100 * intervals.tango(20 * k, 10 * k, 5000 * k).high > 0.4


def test_what_lies_on_the_limit_no_number_of_images_decides() -> None:
    (found,) = judging.judge({"max_drop_pp": 0.2}, "x", _result(lost=20, won=10, images=5000))
    assert (found.verdict, found.more_images) == ("UNDECIDED", None)


@pytest.mark.parametrize("promise", [{"max_drop_pp": 5}, {"min_top1_pct": 75}, {"max_flips_pct": 10}])
def test_ten_images_keep_only_what_ten_images_can_decide(promise: dict) -> None:
    (found,) = judging.judge(promise, "x", _result(images=10, top1=10))
    assert found.verdict == "UNDECIDED"
    assert found.more_images
    kept = judging.judge({"max_drop_pp": 30, "min_top1_pct": 70}, "x", _result(images=10, top1=10))
    assert [verdict.verdict for verdict in kept] == ["KEPT", "KEPT"]
