"""What pruning left: of each layer, and, where it was pruned for a goal in milliseconds, what each cut was worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...notes import PruneNotes
from ...text import as_sentence
from ..summary import Cut, CutSearch, Pruning, Summary
from . import plot
from .element import Child, Markup, el
from .figure import Origin, figure, mark, step_origin, table
from .scale import Scale, around
from .strips import Strip, strips

_HIGH = 190


def section(seen: Summary) -> list[Markup]:
    if seen.pruning is None:
        return []
    step = next(step for step in seen.run.steps if isinstance(step.notes, PruneNotes))
    assert isinstance(step.notes, PruneNotes)
    return list(_parts(seen.pruning, step.notes.widths, step_origin(step)))


def _parts(pruning: Pruning, widths: Mapping[str, tuple[int, int]], origin: Origin) -> Iterator[Markup]:
    for search in pruning.searches:
        yield _curve(search, origin)
    if widths:
        yield _widths(widths, origin)
    # multiplications never stand without their milliseconds, or that there are none
    yield el("p", as_sentence(pruning.sentence), class_="explains")
    if pruning.remaining:
        yield table(*pruning.table)


def _widths(widths: Mapping[str, tuple[int, int]], origin: Origin) -> Markup:
    rows = [
        Strip(
            layer, f"{layer}: {now} of {before} channels stay", f"{now}/{before}", None, 0, 100 * now / before, "part"
        )
        for layer, (before, now) in widths.items()
    ]
    numbers = [(layer, str(before), str(now), f"{100 * now / before:.0f} %") for layer, (before, now) in widths.items()]
    return figure(
        "Channels that stay",
        "The part of each layer's channels that stays.",
        strips(rows, Scale(0, 100), unit="% that stay"),
        [origin],
        (("layer", "channels before", "now", "stay"), numbers),
    )


def _curve(search: CutSearch, origin: Origin) -> Markup:
    """Draw what each cut was worth: each was timed in turn with the unpruned network."""
    across = around([100.0, *(100 * cut.part for cut in search.cuts)], log=False)
    drawn = [_times(across, search)]
    if any(cut.top1 is not None for cut in search.cuts):
        drawn.append(_top1(across, search))
    words = (
        f"{as_sentence(search.sentence)} Each pruned network was timed in turn with the unpruned one. The level "
        "line is the goal, and the ring is what was chosen. Whiskers are 95 % intervals. The "
        f"{search.metric} before recovery {'is in the second chart' if len(drawn) > 1 else 'was not measured'}."
    )
    title = f"Pruning for {search.target}: what is faster"
    return figure(title, words, el("div", drawn, class_="pair"), [origin], search.table)


def _ends(cut: Cut) -> tuple[float, float]:
    """Return the ends of its whisker; without an interval it has none."""
    _, low, high = cut.ratio
    return (low, high) if cut.ratio.has_interval else (cut.ratio.value, cut.ratio.value)


def _times(across: Scale, search: CutSearch) -> Markup:
    ends = [end for cut in search.cuts for end in (cut.ratio.value, *_ends(cut))]
    up = around([1.0, search.goal, *ends], log=False)
    level = plot.down(up, search.goal, _HIGH)
    inside: list[Child] = [el("line", x1=0, x2="100%", y1=level, y2=level, class_="limit")]
    for number, cut in enumerate(search.cuts):
        x, y = across.across(100 * cut.part), plot.down(up, cut.ratio.value, _HIGH)
        low, high = (plot.down(up, end, _HIGH) for end in _ends(cut))
        chosen = number == search.chosen
        words = (
            f"{100 * cut.part:.1f} % of the multiplications: {cut.ratio.value:.3f} times as fast on {search.target}"
            f"{', chosen' if chosen else ''}"
        )
        whisker = el("line", x1=x, x2=x, y1=low, y2=high, class_="whisker")
        hit = el("circle", cx=x, cy=y, r=11, class_="hit")
        point = el("circle", cx=x, cy=y, r=5 if chosen else 3.5, class_="value")
        inside.append(mark(words, hit, whisker, point, class_="v-pruned kept" if chosen else "v-pruned"))
    names = "multiplications that stay, %", "times as fast as the unpruned network"
    return plot.axes(across, up, _HIGH, names, inside)


def _top1(across: Scale, search: CutSearch) -> Markup:
    known = [
        (100 * cut.part, 100 * cut.top1, "v-pruned kept" if number == search.chosen else "v-pruned")
        for number, cut in enumerate(search.cuts)
        if cut.top1 is not None
    ]
    known += [(100.0, 100 * search.unpruned_top1, "v-fp32")] if search.unpruned_top1 is not None else []
    up = around([top1 for _, top1, _ in known], log=False)
    inside: list[Child] = []
    for part, top1, kind in known:
        what = "the unpruned network" if kind == "v-fp32" else f"{part:.1f} % of the multiplications"
        x, y = across.across(part), plot.down(up, top1, _HIGH)
        inside.append(plot.dot(f"{what}: {top1:.2f} % {search.metric} before recovery", x, y, 4, kind))
    return plot.axes(across, up, _HIGH, ("multiplications that stay, %", f"{search.metric} before recovery, %"), inside)
