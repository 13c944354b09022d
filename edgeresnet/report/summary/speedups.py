"""How many times as fast one network is as another: the ratio, or why there is none, and the sentence on it."""

from __future__ import annotations

from ...portable import timing_warnings
from ...portable.frozen import dataclass
from ...portable.result import Measured
from ...portable.times import Latency, Ratio
from .cells import ratio_cell

BASELINES = ("fp32", "half")
CALLED = {"fp32": "FP32", "half": "the half-precision variant"}


@dataclass(frozen=True)
class Speedup:
    """`name` compared with `baseline`, which was timed in turn with it. Without a ratio, `why_not` is the reason."""

    name: str
    baseline: str
    ratio: Ratio | None
    why_not: str = ""
    processes: int = 0  # in which each was timed

    @property
    def differs(self) -> bool:
        """Whether a difference is shown."""
        return self.ratio is not None and self.ratio.differs

    @property
    def sentence(self) -> str:
        """The comparison in words: "int8: 2.500 times as fast as fp32, 95 % interval 2.400 to 2.600"."""
        if self.ratio is None:
            return f"{self.name}: not compared with {self.baseline}: {self.why_not}"
        value, low, high = self.ratio
        words = f"{self.name}: {value:.3f} times as fast as {self.baseline}"
        if not self.ratio.has_interval:
            do = timing_warnings.more_processes(self.processes)
            return f"{words}; {timing_warnings.no_interval(self.processes)}: {do}"
        word = "" if self.differs else "; no difference is shown"
        return f"{words}, 95 % interval {low:.3f} to {high:.3f}{word}"

    @property
    def short(self) -> str:
        """The same for a place with little room, without the name: "2.50 × as fast as FP32 (2.40 to 2.60)"."""
        baseline = CALLED.get(self.baseline, self.baseline)
        if self.ratio is None:
            return f"not compared with {baseline}: {self.why_not}"
        value, low, high = self.ratio
        words = f"{value:.2f} × as fast as {baseline}"
        if not self.ratio.has_interval:
            return f"{words} ({timing_warnings.no_interval(self.processes)})"
        return f"{words} ({low:.2f} to {high:.2f})" + ("" if self.differs else ": no difference is shown")

    def cell(self, places: int) -> str:
        """Return the ratio as a cell of a table: "2.50 (2.40 to 2.60)"."""
        return ratio_cell(self.ratio, places) if self.ratio else "not comparable"


def speedup(name: str, baseline: str, slower: Latency | None, faster: Latency | None) -> Speedup:
    """Compare `name` (timed as `faster`) with `baseline` (timed as `slower`, in turn with it)."""
    found = timing_warnings.speedup(slower, faster)
    if isinstance(found, str):
        return Speedup(name, baseline, None, found)
    return Speedup(name, baseline, found, processes=len(faster.processes) if faster else 0)


def speedups_of(result: Measured) -> list[Speedup]:
    """Return each timed variant compared with the baselines that come before it, named "target variant"."""
    timed = result.timed()
    names = list(timed)
    return [
        speedup(f"{result.target} {name}", baseline, timed[baseline], timed[name])
        for baseline in BASELINES
        if baseline in timed
        for name in names[names.index(baseline) + 1 :]
    ]


def shipped_speedups(result: Measured) -> list[Speedup]:
    """Return what would ship, compared with FP32 and its half-precision variant where they were evaluated."""
    return [
        speedup(result.ships, baseline, result.variants[baseline].latency, result.shipped.latency)
        for baseline in BASELINES
        if baseline in result.variants and baseline != result.ships
    ]
