"""What changed for whom: classes that are found more or less often than before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import view
from . import facts
from .element import Markup
from .figure import figure
from .scale import around
from .strips import Strip, strips

_DRAWN = 24
_TABLED = 200  # rows; of more classes those that changed most


def section(run: Mapping[str, Any]) -> list[Markup]:
    return [_of_target(run, result) for result in facts.judged(run)]


def _of_target(run: Mapping[str, Any], result: Mapping[str, Any]) -> Markup:
    found = sorted(view.changes(result), key=lambda each: (-abs(each.lost), each.label))
    changed = [each for each in found if each.lost]
    drawn = sorted((changed or found)[:_DRAWN], key=lambda each: -each.lost)
    scale = around([0.0, *(end for each in drawn for end in (each.low, each.high))])
    rows = [_strip(each) for each in drawn]
    unit = "points lost"
    return figure(
        f"Classes on {result['target']}, {result['candidate']} against FP32",
        _said(found, drawn),
        strips(rows, scale, line=0.0, unit=unit),
        [facts.verified(run, result)],
        (view.CLASS_COLUMNS[1:], [view.change_row(each) for each in found[:_TABLED]]),
    )


def _said(found: Sequence[view.Change], drawn: Sequence[view.Change]) -> str:
    worse, better = (sum(each.word == word for each in found) for word in ("worse", "better"))
    shown = f"{worse} of {len(found)} classes are shown to be found less often, {better} more often"
    few = f"; drawn are the {len(drawn)} that changed most" if len(drawn) < len(found) else ""
    cut = f"; the table has {_TABLED} of them, `--format json` all" if len(found) > _TABLED else ""
    return f"Recall, before minus now, with intervals corrected for looking at so many classes. {shown}{few}{cut}."


def _strip(each: view.Change) -> Strip:
    before, now = (100 * count / each.images for count in (each.before, each.now))
    said = (
        f"{each.label}: found {before:.2f} % before, {now:.2f} % now, of {each.images} images; {each.lost:+.2f} points "
        f"lost ({each.low:+.2f} to {each.high:+.2f}){f', {each.word}' if each.word else ''}"
    )
    kind = {"worse": "BROKEN", "better": "KEPT"}.get(each.word, "")
    return Strip(each.label, said, f"{each.lost:+.2f}" if each.lost else "0.00", each.lost, each.low, each.high, kind)
