"""Classes whose recall is higher or lower than before."""

from __future__ import annotations

from collections.abc import Sequence

from ..summary import ClassChange, Summary, TargetSummary, class_columns, signed
from .element import Markup
from .figure import figure, verify_origin
from .scale import around
from .strips import Strip, strips

_DRAWN = 24
_TABLED = 200  # rows; of more classes those that changed most


def section(seen: Summary) -> list[Markup]:
    return [_of_target(seen, target) for target in seen.targets if target.classes]


def _of_target(seen: Summary, target: TargetSummary) -> Markup:
    found = sorted(target.classes, key=lambda each: (-abs(each.drop_pp), each.label))
    changed = [each for each in found if each.drop_pp]
    drawn = sorted((changed or found)[:_DRAWN], key=lambda each: -each.drop_pp)
    scale = around([0.0, *(end for each in drawn for end in each.interval)])
    return figure(
        f"Classes on {target.target}, {target.ships} against FP32",
        _caption(found, drawn),
        strips([_strip(each) for each in drawn], scale, line=0.0, unit="points lost"),
        [verify_origin(seen.run, target.target)],
        (class_columns(found[0].score)[1:], [each.cells[1:] for each in found[:_TABLED]]),
    )


def _caption(found: Sequence[ClassChange], drawn: Sequence[ClassChange]) -> str:
    worse, better = (sum(each.word == word for each in found) for word in ("worse", "better"))
    score = found[0].score
    head = f"{score[:1].upper()}{score[1:]}, before minus now."
    shown = f"The {score} of {worse} of {len(found)} classes is shown to be lower, that of {better} to be higher."
    few = f" The chart shows the {len(drawn)} that changed most." if len(drawn) < len(found) else ""
    more = f" The table has {_TABLED} of them, and `--format json` has all." if len(found) > _TABLED else ""
    return f"{head} The intervals are corrected for the number of classes. {shown}{few}{more}"


def _strip(each: ClassChange) -> Strip:
    words = (
        f"{each.label}: {each.score} {each.before_pct:.2f} % before, {each.now_pct:.2f} % now, of {each.images} "
        f"images; {each.drop_cell} points lost{f', {each.word}' if each.word else ''}"
    )
    kind = {"worse": "BROKEN", "better": "KEPT"}.get(each.word, "")
    return Strip(each.label, words, signed(each.drop_pp), each.drop_pp, *each.interval, kind)
