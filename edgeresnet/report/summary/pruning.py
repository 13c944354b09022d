"""What pruning left of a network, next to what that is in milliseconds, and how a goal in milliseconds was reached.

Multiplications are never shown alone: whoever shows the sentence shows a table of times with it, or that none were
measured.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...notes import CutPoint, PruneNotes, SpeedupSearch
from ...portable import advice, timing_warnings
from ...portable.frozen import dataclass
from ...portable.result import Measured
from ...portable.times import Ratio
from .cells import Table, ms, ratio_cell, table

REMAINING_COLUMNS = ("target", "as", "MACs %", "params %", "p50 ms", "times fp32 (95 %)")
UNTIMED = "the effect on latency was not measured"

_SHIPS = {"pruned": "FP32", "half": "half precision", "int8": "INT8"}  # what is timed is what would ship


def cut_columns(metric: str) -> tuple[str, ...]:
    """Return the heads over the cuts of a search."""
    return "MACs %", "params %", "dense ms", "ms", "times as fast (95 %)", f"{metric} %", ""


@dataclass(frozen=True)
class Remaining:
    """What is left of the network in one variant on one target, as parts of one, and how fast that is."""

    target: str
    variant: str
    macs: float
    params: float
    p50_ms: float | None
    ratio: Ratio  # to FP32

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells under REMAINING_COLUMNS."""
        sizes = f"{100 * self.macs:.1f}", f"{100 * self.params:.1f}"
        times = "" if self.variant == "fp32" else ratio_cell(self.ratio)
        return self.target, self.variant, *sizes, ms(self.p50_ms), times


@dataclass(frozen=True)
class CutSearch:
    """How the goal of one target was reached: in a sentence, and cut by cut."""

    target: str
    goal: float
    chosen: int  # which of the cuts
    cuts: tuple[Cut, ...]
    unpruned_top1: float | None  # a part of one
    sentence: str
    table: Table
    metric: str


@dataclass(frozen=True)
class Cut:
    """One cut that was measured on one target."""

    part: float  # of the multiplications that stay, of one
    ratio: Ratio  # to the unpruned network
    top1: float | None  # before recovery


@dataclass(frozen=True)
class Pruning:
    """What was pruned: a sentence, its times, and the searches for goals in milliseconds."""

    sentence: str
    remaining: tuple[Remaining, ...]
    searches: tuple[CutSearch, ...]

    @property
    def table(self) -> Table:
        return remaining_table(self.remaining)


def pruning(notes: PruneNotes, measured: Sequence[Measured]) -> Pruning:
    """Summarize one pruning with what was measured of it."""
    remaining = tuple(each for result in measured for each in remaining_of(notes, result))
    untimed = "" if remaining or notes.speedup else f"; {UNTIMED}"
    return Pruning(f"{pruned_sentence(notes)}{untimed}", remaining, tuple(cut_searches(notes)))


def pruned_sentence(notes: PruneNotes) -> str:
    """Return what was pruned."""
    (macs, less), (params, fewer) = notes.macs, notes.params
    return (
        f"{less / 1e6:.1f} of {macs / 1e6:.1f} million multiplications stay ({100 * less / macs:.1f} %), "
        f"{fewer / 1e6:.2f} of {params / 1e6:.2f} million weights ({100 * fewer / params:.1f} %); "
        f"{100 * notes.ratio:.1f} % of the channels were removed, by {notes.importance}, to widths in multiples of "
        f"{_widths(notes)}"
    )


def remaining_of(notes: PruneNotes, result: Measured) -> list[Remaining]:
    """Return what is left in each variant of one target with its milliseconds; empty where times say nothing."""
    timed = result.timed()
    if "fp32" not in timed or timing_warnings.untimed(list(timed.values())):
        return []
    found = []
    for name, latency in timed.items():
        macs, params = (1.0 if name == "fp32" else now / before for before, now in (notes.macs, notes.params))
        ratio = latency.speedup_over(timed["fp32"])
        found.append(Remaining(result.target, name, macs, params, latency.p50, ratio))
    return found


def remaining_table(remaining: Sequence[Remaining]) -> Table:
    """Return the table of what is left and how fast it is."""
    return table(REMAINING_COLUMNS, [each.cells for each in remaining])


def slower_sentences(remaining: Sequence[Remaining]) -> list[str]:
    """Return a sentence for each target where fewer multiplications brought no time."""
    return [
        f"{each.target}: {no_faster}, with {100 * each.macs:.1f} % of the multiplications"
        for each in remaining
        if each.variant == "pruned" and (no_faster := advice.no_faster_pruned(each.ratio))
    ]


def cut_searches(notes: PruneNotes) -> list[CutSearch]:
    """Return the search for each target's goal in milliseconds; empty where none was set."""
    search = notes.speedup
    return [_search(notes, search, target) for target in search.goals] if search else []


def _search(notes: PruneNotes, search: SpeedupSearch, target: str) -> CutSearch:
    cuts = tuple(Cut(each.macs / notes.macs[0], each.targets[target].ratio, each.top1) for each in search.curve)
    sentence = _search_sentence(search, target)
    rows = table(cut_columns(search.metric), _cut_rows(notes, search, target))
    return CutSearch(target, search.goals[target], search.chosen, cuts, search.top1, sentence, rows, search.metric)


def _search_sentence(search: SpeedupSearch, target: str) -> str:
    goal = search.goals[target]
    clauses = [f"{target}, {_SHIPS[search.ships[target]]}: the goal is {goal:g} times as fast as the unpruned network"]
    if not search.sure:
        clauses.append("times vary too much to exclude that a milder cut reaches it")
    elif search.milder is None:
        clauses.append("the mildest possible cut reaches it")
    else:
        clauses.append(_milder_sentence(search.curve[search.milder].targets[target].ratio, goal))
    slow = [cut.part for cut in search.curve if cut.targets[target].times <= 1]
    if slow:
        clauses.append(f"not faster than the unpruned network: cuts to {_parts(slow)} of the multiplications")
    beaten = [cut.part for number, cut in enumerate(search.curve) if _is_beaten(search.curve, number, target)]
    if beaten:
        clauses.append(f"not faster than a milder cut: cuts to {_parts(beaten)} of the multiplications")
    return "; ".join(clauses)


def _milder_sentence(milder: Ratio, goal: float) -> str:
    """Compare the next milder cut with the goal by its interval: it may only have been unlucky."""
    if milder.value >= goal:  # there is another target
        return (
            f"the next milder cut also reaches it ({milder.value:.3f} times as fast), but misses another target's goal"
        )
    if milder.high < goal:
        return "the next milder cut misses it; both were measured again in fresh processes"
    return (
        f"the next milder cut was {milder.value:.3f} times as fast: below the goal, but within the noise; both were "
        "measured again in fresh processes"
    )


def _is_beaten(curve: Sequence[CutPoint], number: int, target: str) -> bool:
    times = [cut.targets[target].times for cut in curve[: number + 1]]
    return times[-1] > 1 and times[-1] <= max(times[:-1], default=0.0)


def _cut_rows(notes: PruneNotes, search: SpeedupSearch, target: str) -> list[tuple[str, ...]]:
    """Return rows under `cut_columns`, the unpruned network first. A cut has the time of the one it was timed with."""
    words = {search.milder: "next milder", search.chosen: "chosen"}
    rows: list[tuple[str, ...]] = [("100.0", "100.0", "", "", "", _hundredths(search.top1), "")]
    for number, cut in enumerate(search.curve):
        times = cut.targets[target]
        sizes = f"{100 * cut.macs / notes.macs[0]:.1f}", f"{100 * cut.params / notes.params[0]:.1f}"
        speed = ms(times.whole_ms), ms(times.ms), ratio_cell(times.ratio)
        rows.append((*sizes, *speed, _hundredths(cut.top1), words.get(number, "")))
    return rows


def _widths(notes: PruneNotes) -> str:
    finest = notes.finest or notes.multiple
    return f"{notes.multiple}, of {finest} where layers are narrow" if finest < notes.multiple else f"{notes.multiple}"


def _parts(parts: Sequence[float]) -> str:
    return ", ".join(f"{part:.3g}" for part in parts)


def _hundredths(part: float | None) -> str:
    return "" if part is None else f"{100 * part:.2f}"
