"""What numbers can and cannot show: intervals and paired tests. Knows no promises; a proportion is a fraction of one.

Counts may be fractions of an image: twice the counts stand for twice as many images like these.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

Z95 = NormalDist().inv_cdf(0.975)
# Standard deviation, as a log, of how a ratio of two that are timed in turn moves from hour to hour, which is not seen
# inside a measurement: where memory fell, what a neighbour's cache held.
DRIFT = 0.01
# An end further from the estimate than this factor says nothing: two processes that differ would have ends like 1e5.
_FURTHEST = 4.0
_GROUPS = 4096  # values of which the interval of a mean is made: more are taken together
_DRIFT_FREEDOM = 8  # what moves from hour to hour is known from a few dozen recordings, and not exactly


Processes = Sequence[Sequence[Sequence[float]]]  # process by process, window by window, times


class Interval(NamedTuple):
    low: float
    high: float

    @property
    def is_open(self) -> bool:
        """Whether it rules nothing out: the values were too few, or too noisy for their number."""
        return self.low <= 0 and self.high == math.inf


OPEN = Interval(0.0, math.inf)  # of a time, or a ratio of times


def z_for(looks: int) -> float:
    """Return the two-sided 95 % point, corrected (Bonferroni) for several looks at once."""
    return NormalDist().inv_cdf(1 - 0.025 / max(looks, 1))


@lru_cache(maxsize=4096)  # of a thousand classes most have lost and won as many as another
def tango(lost: float, won: float, images: float, z: float = Z95) -> Interval:
    """Return the score interval of (lost - won) / images, from the two counts of discordant pairs.

    A positive drop is a loss. Tango 1998, "Equivalence test and confidence interval for the difference in proportions
    for the paired-sample design", Statistics in Medicine 17. It is paired: images that both networks answer correctly
    cost no certainty. `benchmarks/coverage.py` shows how often it holds the true drop.
    """
    if images == 0:
        return Interval(-1.0, 1.0)
    drop = (lost - won) / images
    return Interval(
        _root(lambda d: _tango_score(lost, won, images, d) - z, -1.0, drop),
        _root(lambda d: _tango_score(lost, won, images, d) + z, drop, 1.0),
    )


def finest_drop(images: int) -> float:
    """Return the smallest drop that this number of images can rule out: the upper end when not one answer changes."""
    return tango(0, 0, images).high


def better_than_chance(
    labels: Sequence[int] | np.ndarray, answers: Sequence[int] | np.ndarray, classes: int, p: float = 0.025
) -> bool:
    """Return whether answers are shown to be better than such as have nothing to do with the images (exact binomial).

    If they are not better, nothing could be lost. `p` is the largest probability that chance alone is as good.
    """
    correct = int((np.asarray(labels) == np.asarray(answers)).sum())
    return at_least(correct, len(labels), chance_of(labels, answers, classes)) <= p


def chance_of(labels: Sequence[int] | np.ndarray, answers: Sequence[int] | np.ndarray, classes: int) -> float:
    """Return how often answers that have nothing to do with the images are correct.

    They are as often of each class as these answers are, or of each class equally often: whichever is better.
    """
    often = [
        np.bincount(np.asarray(each, np.int64), minlength=classes) / max(len(each), 1) for each in (labels, answers)
    ]
    return max(1 / max(classes, 1), float(often[0] @ often[1]))


def at_least(hits: int, images: int, chance: float) -> float:
    """Return the probability of as many hits or more, where each image is one by this chance."""
    if hits <= 0 or chance >= 1:
        return 1.0
    log = math.lgamma(images + 1) - math.lgamma(hits + 1) - math.lgamma(images - hits + 1)
    term = math.exp(log + hits * math.log(chance) + (images - hits) * math.log1p(-chance))
    found = term
    for k in range(hits, images):
        term *= (images - k) / (k + 1) * chance / (1 - chance)
        found += term
        if k > images * chance and term < 1e-12 * found:
            break
    return min(1.0, found)


def mcnemar(lost: int, won: int) -> float:
    """Return the exact two-sided p-value that losses and wins are equally likely."""
    n, k = lost + won, min(lost, won)
    if n == 0:
        return 1.0
    logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2) for i in range(k + 1)]
    return min(1.0, 2 * sum(map(math.exp, logs)))


def wilson(hits: float, images: float, z: float = Z95) -> Interval:
    """Return the 95 % score interval of one proportion."""
    if images == 0:
        return Interval(0.0, 1.0)
    p, z2 = hits / images, z**2
    middle = (p + z2 / (2 * images)) / (1 + z2 / images)
    half = z / (1 + z2 / images) * math.sqrt(p * (1 - p) / images + z2 / (4 * images**2))
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def unit_mean(values: Sequence[float] | np.ndarray, z: float = Z95, times: float = 1.0) -> Interval:
    """Return the interval of the mean of values from 0 to 1, by empirical likelihood (Owen 1988).

    Most changes of a probability are tiny and a few are large, where mean ± z standard errors holds the truth too
    rarely. This interval needs no shape of the values, and ends between 0 and 1. Its upper end counts half a value of
    1 as seen (Jeffreys), so that values which are all alike rule nothing out that is rare. `times` as many values like
    these give its multiple.
    """
    if len(values) == 0:
        return Interval(0.0, 1.0)
    groups, counts = _grouped(np.sort(np.clip(np.asarray(values, np.float64), 0.0, 1.0)))
    log_ratio = z**2 / 2 / times
    ones, others = np.append(1 - groups, 0.0), np.append(counts, 0.5 / times)
    return Interval(_least_mean(groups, counts, log_ratio), 1 - _least_mean(ones, others, log_ratio))


def finest_mean(images: int, z: float = Z95) -> float:
    """Return the smallest mean of values from 0 to 1 that this number of them can rule out: when all of them are 0."""
    return unit_mean(np.zeros(images), z).high


def _grouped(ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return means of neighbours and how many they are: an interval needs no more than some thousand values."""
    starts = np.unique(np.linspace(0, len(ordered), min(len(ordered), _GROUPS), endpoint=False).astype(np.int64))
    counts = np.diff(np.append(starts, len(ordered)))
    return np.add.reduceat(ordered, starts) / counts, counts.astype(np.float64)


def _least_mean(values: np.ndarray, counts: np.ndarray, log_ratio: float) -> float:
    """Return the smallest mean whose best distribution on the values and 0 explains them within a log likelihood ratio.

    That distribution gives a value y the weight 1 / (y + a), so that one number decides all: the smaller a, the further
    the mean is moved. Where even a = 0 is not far enough, 0 itself gets weight though no value is 0.
    """
    total, mean = counts.sum(), float((counts * values).sum() / counts.sum())
    if mean <= 0:
        return 0.0

    def moved(log_a: float) -> tuple[float, float]:
        shifted = values + math.exp(log_a)
        scale = float((counts / shifted).sum() / total)
        return 1 / scale - math.exp(log_a), float((counts * np.log(scale * shifted)).sum()) - log_ratio

    low, high = -45.0, 20.0
    if moved(low)[1] < 0 and values.min() > 0:
        return math.exp((float((counts * np.log(values)).sum()) - log_ratio) / total)
    found = _root(lambda log_a: moved(log_a)[1], low, high)
    return min(mean, max(0.0, moved(found)[0]))


def independent_drop(before: int, images_before: int, now: int, images_now: int) -> Interval:
    """Return the 95 % interval of the accuracy lost between two sets of images that are independent.

    Newcombe, "Interval estimation for the difference between independent proportions", Statistics in Medicine 17,
    method 10: the distances to the ends of both score intervals, added as independent errors are. Wider than a paired
    one, since here the images differ, too.
    """
    if not images_before or not images_now:
        return Interval(-1.0, 1.0)
    p, q = before / images_before, now / images_now
    one, other = wilson(before, images_before), wilson(now, images_now)
    low = p - q - math.hypot(p - one.low, other.high - q)
    return Interval(max(-1.0, low), min(1.0, p - q + math.hypot(one.high - p, q - other.low)))


def quantile_interval(values: Sequence[float], q: float, looks: int = 1) -> Interval:
    """Return the distribution-free 95 % interval of a quantile, from order statistics; open above for too few values.

    How many values lie below the quantile is a binomial draw: the ends are where that draw has 2.5 % beyond it, or
    that part of it which several looks leave to each.
    """
    alpha = 0.025 / looks
    ordered, n = sorted(values), len(values)
    log_p, beyond, low, high = n * math.log(q), 0.0, 0.0, math.inf
    for k in range(n, 0, -1):
        beyond += math.exp(log_p)  # that k or more lie below
        if beyond <= alpha:
            high = ordered[k - 1]
        if beyond >= 1 - alpha:
            low = ordered[k - 1]
            break
        log_p += math.log(k / (n - k + 1) * (1 - q) / q)
    return Interval(low, high)


def median(values: Sequence[float] | np.ndarray) -> float:
    """Return the median. `np.median` does the same, and imports masked arrays first, which takes longer."""
    count = len(values)
    parts = np.partition(np.asarray(values, np.float64), [(count - 1) // 2, count // 2, count - 1])
    middle = (parts[(count - 1) // 2] + parts[count // 2]) / 2 if count % 2 == 0 else parts[count // 2]
    return float("nan") if np.isnan(parts[-1]) else float(middle)


def log_ratios(slower: Processes, faster: Processes) -> list[float]:
    """Return one log ratio per pair of fresh processes in turn, the mean over their windows.

    What varies most is the process, so windows of one process are one observation, however many there are.
    """
    return [
        sum(math.log(median(a) / median(b)) for a, b in zip(one, other, strict=True)) / len(one)
        for one, other in zip(slower, faster, strict=True)
    ]


def ratio_interval(slower: Processes, faster: Processes, looks: int = 1) -> tuple[float, Interval]:
    """Return how many times as fast: Student's t over the log ratios of pairs of processes.

    A single pair does not show how much pairs differ. The interval is corrected for several looks at once.
    """
    return ratio_of(log_ratios(slower, faster), looks)


def ratio_of(logs: Sequence[float], looks: int = 1) -> tuple[float, Interval]:
    """Return the same from `log_ratios`."""
    mean, reach = _t_interval(logs, looks)
    return math.exp(mean), _around(mean, reach)


class Center(NamedTuple):
    """Where values lie, the variance of that, and its degrees of freedom."""

    value: float
    variance: float
    freedom: int


def center(values: Sequence[float]) -> Center:
    """Return the mean without the lowest and highest fifth, and its variance (Tukey and McLaughlin 1963).

    Of five processes, one that fell badly in memory does not count for the others. Fewer than five are taken as they
    are.
    """
    ordered, cut = sorted(values), len(values) // 5
    kept = ordered[cut : len(ordered) - cut]
    mean = sum(kept) / len(kept)
    if len(values) < 2:
        return Center(mean, math.inf, 0)
    pulled = [min(max(value, kept[0]), kept[-1]) for value in ordered]
    return Center(mean, (len(pulled) - 1) * _variance(pulled) / (len(kept) * (len(kept) - 1)), len(kept) - 1)


def change_interval(
    before: Sequence[float], now: Sequence[float], *, drift: float, alpha: float = 0.025
) -> tuple[float, Interval]:
    """Return how many times as large a ratio is now as before, from the log ratios of two measurements.

    `alpha` lies beyond each end. Both had their own noise (Yuen's t, which is Welch's without outliers), and between
    two hours things move that neither could see: `drift`, the standard deviation of that.
    """
    change, reach = _change(before, now, drift, alpha)
    return _exp(change), _around(change, reach)


def surely_grew(before: Sequence[float], now: Sequence[float], *, drift: float, alpha: float) -> bool:
    """Return whether the lower end of that interval is above 1. How far off the other end lies does not matter."""
    change, reach = _change(before, now, drift, alpha)
    return change > reach


def _change(before: Sequence[float], now: Sequence[float], drift: float, alpha: float) -> tuple[float, float]:
    """Return the difference of two measurements' logs, and half the width of its interval."""
    both = center(before), center(now)
    variance = sum(each.variance for each in both) + drift**2
    change = both[1].value - both[0].value
    if not math.isfinite(variance):
        return change, math.inf
    spent = sum(each.variance**2 / each.freedom for each in both) + drift**4 / _DRIFT_FREEDOM
    freedom = variance**2 / spent if spent > 0 else math.inf
    return change, t_point(alpha, freedom) * math.sqrt(variance)


def _around(log: float, reach: float) -> Interval:
    """Return the interval of a ratio, from its log and half the width; without ends where these say nothing."""
    return OPEN if reach > math.log(_FURTHEST) else Interval(_exp(log - reach), _exp(log + reach))


@lru_cache(maxsize=256)
def t_point(alpha: float, freedom: float) -> float:
    """Return what Student's t exceeds with this probability (below one half); from 1e4 degrees on, the normal's point.

    With t = √f·tan(θ) the tail beyond t is the area under cos(θ)^(f-1): smooth, and over at a right angle or, of many
    degrees of freedom, long before.
    """
    if freedom > 1e4:
        return NormalDist().inv_cdf(1 - alpha)
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)

    def tail(theta: float) -> float:
        grid, step = np.linspace(theta, min(math.pi / 2, theta + 12 / math.sqrt(freedom)), 401, retstep=True)
        heights = np.clip(np.cos(grid), 0, 1) ** (freedom - 1)
        simpson = 4 * heights[1::2].sum() + 2 * heights[2:-1:2].sum() + heights[0] + heights[-1]
        return scale * float(step) / 3 * float(simpson)

    theta = 0.0  # the tail is convex, and so Newton's steps from its left never go too far
    for _ in range(100):
        step = (tail(theta) - alpha) / (scale * math.cos(theta) ** (freedom - 1))
        theta += step
        if step < 1e-12:
            break
    return math.sqrt(freedom) * math.tan(theta)


def tail_interval(processes: Processes, q: float, looks: int = 1) -> Interval:
    """Return the interval of a quantile of times, wide enough for what varies inside processes and between them.

    A single process does not show what varies between them, and two that differ widely show as little.
    """
    pooled = [value for windows in processes for window in windows for value in window]
    low, high = quantile_interval(pooled, q, looks)
    each = [float(np.quantile([value for window in windows for value in window], q)) for windows in processes]
    mean, reach = _t_interval(each, looks)
    if mean + reach > _FURTHEST * mean:
        return OPEN
    return Interval(min(low, max(0.0, mean - reach)), max(high, mean + reach))


def mean_interval(values: Sequence[float]) -> tuple[float, Interval]:
    """Return the mean of values above 0, one per process, and its 95 % interval.

    A single process does not show what varies between them, and two that differ widely show as little.
    """
    mean, reach = _t_interval(values)
    if mean + reach > _FURTHEST * mean:
        return mean, OPEN
    return mean, Interval(max(0.0, mean - reach), mean + reach)


def _t_interval(values: Sequence[float], looks: int = 1) -> tuple[float, float]:
    """Return the mean and half the width of its 95 % interval, which is infinite for a single value."""
    n, mean = len(values), sum(values) / len(values)
    if n < 2:
        return mean, math.inf
    return mean, t_point(0.025 / looks, n - 1) * math.sqrt(_variance(values) / n)


def _variance(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _exp(power: float) -> float:
    return math.exp(power) if power < 700 else math.inf


def _tango_score(lost: float, won: float, images: float, drop: float) -> float:
    """Return the score statistic of a hypothetical drop; it falls as the drop grows."""
    top = lost - won - images * drop
    a = 2.0 * images
    b = -lost - won + (2 * images - lost + won) * drop
    c = -won * drop * (1 - drop)
    q = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = images * (2 * q + drop * (1 - drop))
    if variance <= 0:
        return 0.0 if abs(top) < 1e-12 else math.copysign(math.inf, top)
    return top / math.sqrt(variance)


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    for _ in range(60):
        middle = (low + high) / 2
        if falling(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
