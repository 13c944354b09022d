from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeresnet.device import intervals, judge


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


def test_the_interval_from_records_is_paired() -> None:
    before = np.array([True] * 90 + [False] * 10)
    now = before.copy()
    now[:3] = False
    assert judge.drop_interval(before, now) == intervals.tango(3, 0, 100)
    assert judge.drop_interval([], []) == (-1, 1)
    with pytest.raises(ValueError, match="same images"):
        judge.drop_interval([True], [True, False])


def test_more_images_decide_finer_drops() -> None:
    assert intervals.finest_drop(10) > 0.25
    assert 100 * intervals.finest_drop(450) == pytest.approx(0.85, abs=0.01)
    assert intervals.finest_drop(5000) < intervals.finest_drop(450)


def test_wilson_never_leaves_the_unit_interval() -> None:
    assert intervals.wilson(0, 0) == (0, 1)
    assert intervals.wilson(10, 10).high == pytest.approx(1)
    low, high = intervals.wilson(81, 263)
    assert (low, high) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe 1998, the same worked example


def test_quantile_interval_is_open_where_values_are_too_few() -> None:
    assert intervals.quantile_interval([1.0] * 20, 0.99).high == math.inf
    low, high = intervals.quantile_interval(list(range(10_000)), 0.5)
    assert low < 5000 < high
    assert high - low < 250


def test_ratio_interval_of_equals_holds_one() -> None:
    value, (low, high) = intervals.ratio_interval([[2.0, 2.1], [2.0, 2.2]], [[1.0, 1.05], [1.0, 1.1]])
    assert value == pytest.approx(2.0, rel=0.01)
    assert low <= value <= high
    assert intervals.ratio_interval([[1.0]], [[1.0]])[1] == (0, math.inf)


def _result(lost: int = 0, won: int = 0, images: int = 5000, top1: int = 4500, times: float = 1.0) -> dict:
    accuracy = {"images": images, "top1": top1, "flips_lost": lost, "flips_won": won, "agree": images - lost - won}
    variant = {"accuracy": accuracy, "latency": {"latency_ms": [[times] * 1000] * 4}, "size_mb": 1.5}
    return {"candidate": "fp32", "chance": 0.1, "variants": {"fp32": variant}}


def _answers(*classes: tuple[str, int, int, int]) -> dict:
    """A result from (class, images, right before, right now)."""
    result = _result()
    labels, before, now = [], [], []
    for index, (_, images, right_before, right_now) in enumerate(classes):
        labels += [index] * images
        before += [index] * right_before + [-1] * (images - right_before)
        now += [index] * right_now + [-1] * (images - right_now)
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
        ({"min_speedup_fp32": 1.2}, _result(), "NOT_MEASURED"),
        ({"max_drop_pp": 0.5}, {"reason": "is not here"}, "NOT_MEASURED"),
        ({"max_latency_p99_ms": 5}, _result(times=float("nan")), "NOT_MEASURED"),
    ],
)
def test_verdicts(promises: dict, result: dict, verdict: str) -> None:
    (found,) = judge.judge(promises, "openvino", result)
    assert found.verdict == verdict
    assert found.reason


def test_a_drop_from_chance_says_nothing() -> None:
    (found,) = judge.judge({"max_drop_pp": 0.5}, "openvino", _result(top1=500))
    assert found.verdict == "NOT_MEASURED"
    assert "no better than chance" in found.reason


def test_a_faster_twin_decides_min_speedup_half() -> None:
    result = _result()
    result["variants"]["half"] = result["variants"]["fp32"]
    quick = {**result["variants"]["fp32"], "latency": {"latency_ms": [[0.5] * 100] * 4}}
    result["variants"]["int8"], result["candidate"] = quick, "int8"
    found = judge.judge({"min_speedup_half": 1.5, "min_speedup_fp32": 2.5}, "openvino", result)
    assert [verdict.verdict for verdict in found] == ["KEPT", "BROKEN"]


def test_the_worst_verdict_is_the_runs() -> None:
    assert judge.worst([]) == "KEPT"
    assert judge.worst(["KEPT", "DEFERRED"]) == "DEFERRED"
    assert judge.worst(["UNDECIDED", "NOT_MEASURED", "KEPT"]) == "NOT_MEASURED"
    assert judge.worst(["NOT_MEASURED", "BROKEN"]) == "BROKEN"


def test_recalls_are_read_off_the_answers() -> None:
    result = _answers(("crack", 100, 99, 90), ("fine", 50, 50, 50), ("absent", 0, 0, 0))
    assert judge.recalls(result) == [("crack", 100, 99, 90), ("fine", 50, 50, 50), ("absent", 0, 0, 0)]
    assert judge.flips(result) == [(9, 0), (0, 0), (0, 0)]


@pytest.mark.parametrize(
    ("images", "right", "limit", "verdict"),
    [(1000, 995, 98, "KEPT"), (1000, 950, 98, "BROKEN"), (1000, 985, 98, "UNDECIDED"), (0, 0, 98, "NOT_MEASURED")],
)
def test_a_promise_on_one_class(images: int, right: int, limit: float, verdict: str) -> None:
    result = _answers(("crack", images, right, right), ("fine", 10, 10, 10))
    (found,) = judge.judge({"min_recall_pct": {"crack": limit}}, "openvino", result)
    assert (found.verdict, found.promise) == (verdict, "min_recall_pct crack")


def test_looking_at_many_classes_widens_the_interval() -> None:
    result = _answers(*((f"c{n}", 500, 480, 480) for n in range(10)))
    (alone,) = judge.judge({"min_recall_pct": {"c0": 94}}, "x", result)
    many = judge.judge({"min_recall_pct": {f"c{n}": 94 for n in range(10)}}, "x", result)
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
    (found,) = judge.judge({"max_drop_pp": 0.4}, "x", result)
    assert found.verdict == "UNDECIDED"
    assert found.more_images
    said = int(found.reason.split("about ")[1].split(" more")[0].replace(",", ""))
    assert found.more_images <= said <= 1.11 * found.more_images
    k = (5000 + found.more_images) / 5000
    assert 100 * intervals.tango(20 * k, 10 * k, 5000 * k).high <= 0.4 + 1e-6
    k = (5000 + 0.9 * found.more_images) / 5000
    assert 100 * intervals.tango(20 * k, 10 * k, 5000 * k).high > 0.4


def test_what_lies_on_the_limit_no_number_of_images_decides() -> None:
    (found,) = judge.judge({"max_drop_pp": 0.2}, "x", _result(lost=20, won=10, images=5000))
    assert (found.verdict, found.more_images) == ("UNDECIDED", None)


@pytest.mark.parametrize("promise", [{"max_drop_pp": 5}, {"min_top1_pct": 75}, {"max_flips_pct": 10}])
def test_ten_images_keep_only_what_ten_images_can_decide(promise: dict) -> None:
    (found,) = judge.judge(promise, "x", _result(images=10, top1=10))
    assert found.verdict == "UNDECIDED"
    assert found.more_images
    (found,) = judge.judge({"max_drop_pp": 30, "min_top1_pct": 70}, "x", _result(images=10, top1=10))[:1]
    assert found.verdict == "KEPT"
