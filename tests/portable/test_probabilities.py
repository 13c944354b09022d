"""What changes of probabilities: the definitions by hand, and the intervals against chance itself."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from edgeresnet.portable import codec, confidence, intervals, judging, probabilities
from edgeresnet.portable.codec import CodecError
from edgeresnet.portable.probabilities import Crossings, Probabilities
from edgeresnet.portable.result import Measured, Promise
from edgeresnet.portable.tasks.task import task_of

from .results import change, measured, variant

pytestmark = pytest.mark.unit

EXPECTED = np.log(np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.4, 0.35, 0.25], [0.1, 0.1, 0.8]]))
GIVEN = np.log(np.array([[0.6, 0.3, 0.1], [0.5, 0.3, 0.2], [0.3, 0.45, 0.25], [0.1, 0.2, 0.7]]))
LABELS = np.array([0, 0, 1, 2])


def result(expected: np.ndarray, given: np.ndarray, labels: np.ndarray | None = None) -> Measured:
    """Return a result whose INT8 network gave these logits."""
    about: dict[str, object] = {"labels": None if labels is None else labels.tolist(), "classes": ["a", "b", "c"]}
    before = expected.argmax(1).tolist()
    found = measured("int8", {"int8": variant(predicted=given.argmax(1).tolist())}, reference_predicted=before, **about)
    found = change(found, "int8", probabilities=probabilities.of(expected, given))
    return replace(found, reference_probabilities=probabilities.of_reference(expected))


def test_the_change_is_of_the_class_that_fp32_answers() -> None:
    found = result(EXPECTED, GIVEN)
    assert found.reference_probabilities == pytest.approx((0.7, 0.5, 0.4, 0.8))
    given = found.shipped.probabilities
    assert given is not None
    assert given.own == pytest.approx((0.6, 0.5, 0.45, 0.7))
    assert given.reference == pytest.approx((0.3,)), "the third image has another answer; FP32's has 0.3 now"
    assert confidence.changes(found, found.shipped) == pytest.approx([0.1, 0.0, 0.1, 0.1])
    described = confidence.described(found, 0.45).confidence["int8"]
    assert described.mean_change.value == pytest.approx(0.075)
    assert described.calibration is None, "no image has a label"
    assert described.crossings == Crossings(0.45, images=4, above=3, fell=0, rose=1), "at the threshold is above it"


def test_logits_and_probabilities_of_a_network_are_told_apart() -> None:
    soft = np.exp(EXPECTED)
    assert probabilities.are_probabilities(soft)
    assert not probabilities.are_probabilities(EXPECTED)
    assert not probabilities.are_probabilities(np.zeros((0, 3)))
    rounded = np.round(np.exp(GIVEN) * 256) / 256  # as an INT8 softmax answers: the sums are not 1
    assert probabilities.of(soft, rounded).own == pytest.approx((0.6, 0.5, 0.45, 0.7), abs=1 / 256)
    assert probabilities.of(np.log(soft), GIVEN) == probabilities.of(soft, np.exp(GIVEN))


def test_large_logits_overflow_nothing_and_many_images_are_taken_in_parts() -> None:
    many = np.tile(np.array([[5e4, 0.0], [0.0, 1e-3]], np.float32), (1500, 1))
    assert probabilities.of_reference(many)[:2] == pytest.approx((1.0, 0.50025))
    assert probabilities.of(many, many[::-1]).reference[-2:] == pytest.approx((0.49975, 0.0), abs=1e-5)


def test_the_calibration_error_is_that_of_fifteen_bins() -> None:
    rng = np.random.default_rng(0)
    before, now = rng.random(500), rng.random(500)
    correct = rng.random(500) < before

    def by_hand(probable: np.ndarray) -> float:
        error = 0.0
        for low, high in itertools.pairwise(np.linspace(0, 1, 16)):
            inside = (probable > low) & (probable <= high)
            error += abs(float((probable[inside] - correct[inside]).sum())) / len(probable)
        return error

    found = probabilities.calibration(before, correct, now, correct)
    assert found is not None
    assert (found.before, found.now) == pytest.approx((by_hand(before), by_hand(now)))
    assert found.change.low > 0, "probabilities that have nothing to do with the answers are worse"
    same = probabilities.calibration(before, correct, before, correct)
    assert same is not None
    assert (same.change.value, same.change.low, same.change.high) == (0, 0, 0)
    assert probabilities.calibration(before[:1], correct[:1], now[:1], correct[:1]) is None


# --- intervals against chance -----------------------------------------------------------------------------------------

_DATASETS = 200


def _spread(rng: np.random.Generator, images: int) -> np.ndarray:
    return np.abs(rng.beta(5, 0.5, images) ** np.exp(rng.normal(0, 0.3, images)) - rng.beta(50, 5, images))


def _rare(rng: np.random.Generator, images: int) -> np.ndarray:
    return np.where(rng.random(images) < 0.01, rng.random(images), 1e-3 * rng.random(images))


def _tiny(rng: np.random.Generator, images: int) -> np.ndarray:
    return rng.gamma(0.3, 0.02, images).clip(0, 1)


@pytest.mark.parametrize("draw", [_spread, _rare, _tiny])
@pytest.mark.parametrize("images", [60, 1000])
def test_the_mean_lies_in_its_interval_as_often_as_it_says(
    draw: Callable[[np.random.Generator, int], np.ndarray], images: int
) -> None:
    rng = np.random.default_rng(images)
    truth = float(draw(np.random.default_rng(1), 200_000).mean())
    found = [intervals.unit_mean(draw(rng, images)) for _ in range(_DATASETS)]
    assert sum(low <= truth <= high for low, high in found) >= 0.93 * _DATASETS
    assert sum(high < truth for _, high in found) <= 0.045 * _DATASETS, "and seldom is a promise KEPT that is broken"


def test_of_rare_and_complete_changes_it_holds_the_truth_by_exact_enumeration() -> None:
    """Of 1000 images, each changes by 1 or not at all: from 1 in 2000 on to 4 in 100."""
    images, found = 1000, []
    ends = [intervals.unit_mean([1.0] * hits + [0.0] * (images - hits)) for hits in range(70)]
    for truth in np.linspace(0.0005, 0.04, 80):
        parts = [math.exp(_log_binomial(images, hits, truth)) for hits in range(len(ends))]
        held = sum(part for part, (low, high) in zip(parts, ends, strict=True) if low <= truth <= high)
        found.append((held, sum(part for part, (_, high) in zip(parts, ends, strict=True) if high < truth)))
    assert min(held for held, _ in found) > 0.94
    assert max(above for _, above in found) < 0.035


def _log_binomial(images: int, hits: int, p: float) -> float:
    ways = math.lgamma(images + 1) - math.lgamma(hits + 1) - math.lgamma(images - hits + 1)
    return ways + hits * math.log(p) + (images - hits) * math.log1p(-p)


def _networks(rng: np.random.Generator, images: int, *how: float) -> tuple[np.ndarray, ...]:
    """Return top probabilities and correct answers of a network (`sure` times too sure) and of a changed one."""
    tempered, noise, sure = how
    logits = rng.normal(0, 2.5, (images, 10))
    labels = (_soft(logits).cumsum(1) > rng.random((images, 1))).argmax(1)
    before, now = _soft(sure * logits), _soft(tempered * (sure * logits + rng.normal(0, noise, logits.shape)))
    return before.max(1), before.argmax(1) == labels, now.max(1), now.argmax(1) == labels


def _soft(logits: np.ndarray) -> np.ndarray:
    found = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(found / found.sum(1, keepdims=True))


@pytest.mark.parametrize(
    ("sure", "tempered", "noise"),
    [(1.0, 1.0, 0.15), (1.4, 1.0, 0.15), (1.4, 1.0, 0.6), (1.0, 0.5, 0.0), (1.4, 0.5, 0.0), (1.0, 0.8, 0.0)],
)
def test_the_change_of_the_calibration_error_lies_in_its_interval(sure: float, tempered: float, noise: float) -> None:
    """Well calibrated before or 1.4 times too sure; little or much changed: what few images add is corrected."""
    truth = probabilities.calibration(*_networks(np.random.default_rng(1), 100_000, tempered, noise, sure))
    assert truth is not None
    rng, held = np.random.default_rng(2), 0
    for _ in range(_DATASETS):
        found = probabilities.calibration(*_networks(rng, 500, tempered, noise, sure))
        assert found is not None
        assert found.change.high is not None
        held += found.change.low <= truth.change.value <= found.change.high
    assert held >= 0.93 * _DATASETS


def test_the_99th_percentile_lies_in_its_interval() -> None:
    rng, held = np.random.default_rng(3), 0
    truth = float(np.quantile(_spread(np.random.default_rng(1), 200_000), 0.99))
    for _ in range(_DATASETS):
        _, found = probabilities.mean_and_p99(_spread(rng, 500))
        assert found.high is not None
        held += found.low <= truth <= found.high
    assert held >= 0.93 * _DATASETS
    _, few = probabilities.mean_and_p99(_spread(rng, 100))
    assert few.high is None, "100 images do not bound it"


def test_crossings_are_a_share_with_its_score_interval() -> None:
    found = Crossings(0.5, images=450, above=400, fell=5, rose=2)
    assert (found.crossed, found.share_pct) == (7, pytest.approx(700 / 450))
    low, high = intervals.wilson(7, 450)
    assert found.interval_pct() == pytest.approx((100 * low, 100 * high))


# --- the interval of a mean -------------------------------------------------------------------------------------------


def test_of_zeros_and_ones_it_is_the_likelihood_ratios() -> None:
    """Known in closed form: for hits k of n, k·log(p̂/p) + (n-k)·log((1-p̂)/(1-p)) is z²/2 at the lower end."""
    low, high = intervals.unit_mean([1.0] * 30 + [0.0] * 70)

    def ratio(hits: float, images: float, p: float) -> float:
        share = hits / images
        return hits * math.log(share / p) + (images - hits) * math.log((1 - share) / (1 - p))

    assert ratio(30, 100, low) == pytest.approx(intervals.Z95**2 / 2, abs=1e-6)
    assert ratio(30.5, 100.5, high) == pytest.approx(intervals.Z95**2 / 2, abs=1e-6)


def test_as_many_values_again_give_the_interval_of_the_multiple() -> None:
    values = np.random.default_rng(0).beta(0.2, 4, 80)
    assert intervals.unit_mean(values, times=4) == pytest.approx(intervals.unit_mean(np.tile(values, 4)), abs=1e-9)
    many = np.random.default_rng(0).beta(0.2, 4, 20_000)
    found = intervals.unit_mean(many)
    reach = 1.96 * many.std() / math.sqrt(len(many))
    assert found == pytest.approx((many.mean() - reach, many.mean() + reach), abs=2e-4), "as of the normal distribution"


def test_values_that_are_all_alike_rule_nothing_out_that_is_rare() -> None:
    assert intervals.unit_mean([]) == (0, 1)
    assert intervals.unit_mean([0.0] * 450) == pytest.approx((0, 0.00747), abs=1e-5)
    assert intervals.finest_mean(450) == intervals.unit_mean([0.0] * 450).high
    low, high = intervals.unit_mean([0.02] * 30)
    assert 0.018 < low < 0.02 < 0.1 < high
    assert intervals.unit_mean([1.0] * 20).high == 1


# --- the promise ------------------------------------------------------------------------------------------------------


def _tempered(times: float, images: int = 450) -> Measured:
    logits = np.random.default_rng(0).normal(0, 2.5, (images, 3))
    return result(logits, times * logits)


@pytest.mark.parametrize(
    ("found", "limit", "verdict"),
    [
        (_tempered(1.0), 0.01, "KEPT"),
        (_tempered(1.0), 0.005, "UNDECIDED"),
        (_tempered(0.5), 0.05, "BROKEN"),
        (_tempered(0.5), 0.15, "UNDECIDED"),
        (_tempered(0.97), 0.02, "KEPT"),
    ],
)
def test_a_promise_about_it_is_judged_by_its_interval(found: Measured, limit: float, verdict: str) -> None:
    (judged,) = judging.judge([Promise("max_confidence_change", limit)], "x", found)
    assert judged.verdict == verdict, judged
    assert (verdict == "UNDECIDED") == (judged.more_images is not None)


def test_its_sentence_has_four_decimals_and_what_would_decide() -> None:
    (judged,) = judging.judge([Promise("max_confidence_change", 0.15)], "x", _tempered(0.5))
    start = f"{judged.value:.4f} mean change of the top probability, 95 % interval {judged.low:.4f} to "
    assert judged.reason.startswith(start)
    assert "; promised at most 0.15; about " in judged.reason
    assert judged.reason.endswith("more images like these would decide it")


def test_what_was_not_measured_is_not_kept() -> None:
    promised = [Promise("max_confidence_change", 1.0)]
    older = change(_tempered(1.0), "int8", probabilities=None)
    (found,) = judging.judge(promised, "x", older)
    assert (found.verdict, found.value) == ("NOT_MEASURED", None)
    assert "without probabilities" in found.reason
    alike = np.tile(EXPECTED[:1], (50, 1))
    (found,) = judging.judge(promised, "x", result(alike, alike))
    assert found.verdict == "NOT_MEASURED"
    assert "answers a for every image" in found.reason


def _too_few(limit: float) -> list[str]:
    return judging.out_of_reach(
        [Promise("max_confidence_change", limit)], 450, {"a": 450}, 5, task_of("classification")
    )


def test_images_that_are_too_few_for_it_are_named_before_anything_is_measured() -> None:
    (words,) = _too_few(0.001)
    assert words == (
        "450 images are too few for max_confidence_change 0.001: "
        "the smallest mean change that they can rule out is 0.0075"
    )
    assert _too_few(0.008) == []


def test_the_worst_build_is_judged() -> None:
    good, bad = _tempered(1.0), _tempered(0.5)
    both = replace(good, rebuilds=(bad.shipped,))
    (found,) = judging.judge([Promise("max_confidence_change", 0.05)], "x", both)
    assert found.verdict == "BROKEN"
    assert found.reason.endswith("worst of 2 builds")


# --- as it is stored --------------------------------------------------------------------------------------------------


def test_it_is_stored_and_read_and_what_cannot_be_is_refused() -> None:
    found = confidence.described(result(EXPECTED, GIVEN), 0.45)
    stored = codec.encode(found)
    stored["variants"]["int8"]["accuracy"] = {"images": 4, "agree": 3}
    read = codec.decode(Measured, stored)
    assert read.confidence == found.confidence
    assert read.shipped.probabilities == found.shipped.probabilities
    for path, value, words in (
        (("reference_probabilities",), [0.5], "are not one for each image"),
        (("variants", "int8", "probabilities", "own"), [0.5], "are not one for each answer"),
        (("variants", "int8", "probabilities", "reference"), [], "are not one for each answer"),
        (("variants", "int8", "probabilities", "own"), [1.5] * 4, "is 1.5, not between 0 and 1"),
        (("rebuilds",), [{**stored["variants"]["int8"], "predicted": [0, 0]}], "are not one for each answer"),
        (("confidence",), {"half": stored["confidence"]["int8"]}, "is of a variant that was not measured"),
    ):
        document = codec.encode(read)
        place = document
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        with pytest.raises(CodecError, match=words):
            codec.decode(Measured, document)


def test_without_probabilities_nothing_is_described_and_nothing_written() -> None:
    older = measured("int8", {"int8": variant()})
    assert confidence.described(older, 0.5) == older
    assert not {"confidence", "reference_probabilities"} & set(codec.encode(older))
    assert "probabilities" not in codec.encode(older)["variants"]["int8"]
    assert Probabilities(()) == Probabilities((), ())
