"""How often correct against how fast: every compiled network of a run, and those that no other beats in both."""

from __future__ import annotations

import json
from collections.abc import Iterable

from ...portable import codec
from ...portable.frozen import dataclass
from ...portable.result import AnyAccuracy
from ...runs import Run


@dataclass(frozen=True)
class TradeoffPoint:
    """One variant on one target in one run. Times of another `conditions` are not drawn next to these."""

    run: str
    target: str
    variant: str
    digest: str
    accuracy: AnyAccuracy
    p50_ms: float
    conditions: str  # the machine, and how many images at once
    is_emulated: bool = False

    @property
    def score_pct(self) -> float:
        return self.accuracy.score_pct


def tradeoff_points(run: Run) -> list[TradeoffPoint]:
    """Return a point for each variant whose accuracy and latency are both known."""
    points = []
    for result in run.measured:
        for name, variant in result.variants.items():
            latency, accuracy = variant.latency, variant.accuracy
            if latency is None or not latency.p50 or latency.p50 <= 0 or not accuracy.has_labels or not accuracy.images:
                continue
            machine = {**codec.encode(latency.processes[0].machine), "boot": None}
            conditions = json.dumps([machine, latency.batch], sort_keys=True)
            named = run.id, result.target, name, variant.digest
            points.append(TradeoffPoint(*named, accuracy, latency.p50, conditions, latency.is_emulated))
    return points


def frontier(points: Iterable[TradeoffPoint]) -> list[TradeoffPoint]:
    """Return the points that no other beats: none is as fast and as often correct, and better in one of the two.

    Times under emulation are not a CPU's: such a point is none of them, and beats none.
    """
    best: list[TradeoffPoint] = []
    timed = [point for point in points if not point.is_emulated]
    for point in sorted(timed, key=lambda each: (each.p50_ms, -each.score_pct)):
        if not best or point.score_pct > best[-1].score_pct:
            best.append(point)
    return best
