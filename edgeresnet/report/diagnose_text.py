"""A diagnosis as plain text that fits 80 columns: what was tried, and one conclusion in words."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from ..text import wrapped
from . import tables

if TYPE_CHECKING:
    from ..diagnose.diagnosis import Diagnosis, Gain, Score

_ROWS, _NAME = 10, 44  # of the table: the rows at most, and the widest name
_PAIRS = 5  # of classes in another order, by name; `--json` has all
_ADVICE = (
    "Look at the weights (these, of this architecture, fully trained?), the size, the labels, and the images that the "
    "expected accuracy was measured on"
)


def render(about: Diagnosis) -> str:
    """Return the table of what was tried, then what follows from it."""
    images, seen, every = about.images, about.classes_seen, len(about.classes)
    of = f"{every} classes" if seen == every else f"{seen} of its {every} classes"
    head = f"{about.network}: {images.tried} images of {of}, and {images.confirmed} others to confirm on"
    concluded = [_conclusion(about), *_order(about), *_keys_to_write(about), *_alike(about), *_few_images(about)]
    parts = [wrapped(head), _table(about), "\n".join(wrapped(each) for each in concluded)]
    return "\n\n".join(parts) + "\n"


def _table(about: Diagnosis) -> str:
    """Return the best rows, and the row that they are compared with: what was given, or the best where nothing was."""
    mean_given = about.given.mean_given
    first, *others = about.tried
    ranked = sorted(others if mean_given else about.tried, key=lambda row: -row.share)
    shown, rest = ranked[:_ROWS], ranked[_ROWS:]
    reference = first.name if mean_given else about.best.name
    rows: list[tuple[str, ...]] = []
    for row in ([first] if mean_given else []) + shown:
        is_reference = row.won == row.lost == 0 and row.name == reference
        gain = f"{_signed(row.gain)} ({_signed(row.low)} to {_signed(row.high)})"
        name, *more = textwrap.wrap(row.name, _NAME)
        rows.append((name, _pct(row.share), "" if is_reference else gain))
        rows += [(f"  {line}", "", "") for line in more]
    head = "gain pp (corrected 95 %)" if mean_given else "to the best pp (corr. 95 %)"
    text = tables.columns(("tried", "top-1", head), rows)
    return text + (f"\n… and {len(rest)} more, at most {_pct(rest[0].share)} (`--json` has all)" if rest else "")


def _conclusion(about: Diagnosis) -> str:
    best, given = about.best, about.given
    words = [*best.changes, *(["another order of the classes"] if about.order else [])]
    what = ", ".join(words) or "the given preprocessing"
    if about.outcome == "explained":
        return f"explained by {what}: {_compared(about)}"
    if about.outcome == "fits":
        if best.low <= about.chance:
            return f"no variant is better than chance: the best, {what}, has {_on_images(best)}. {_ADVICE}"
        return f"best of all variants: {what}, with {_on_images(best)}"
    least = f"So few images cannot show a gain below {100 * about.least_gain:.0f} points: {_remedy(about)}"
    if about.outcome == "chance":
        return (
            f"no variant explains it for certain: {what} looked better, but {best.images} other images do not confirm "
            f"it: {_pct(best.share)} instead of {_pct(given.share)}, {_points(best.gain)}. {least}"
        )
    chance = "no more than chance, " if given.low <= about.chance else ""
    return (
        f"no variant explains it: the given preprocessing has {_on_images(given)}, {chance}and no other "
        f"preprocessing or class order is better by more than chance. {least}. {_ADVICE}"
    )


def _compared(about: Diagnosis) -> str:
    best = about.best
    return (
        f"{_pct(best.share)} instead of {_pct(about.given.share)} on {best.images} other images, {_points(best.gain)}"
    )


def _order(about: Diagnosis) -> list[str]:
    order = about.order
    if not order or about.outcome != "explained":
        return []
    named = "; ".join(f"{one.folder} is its class {one.answer} ({one.called})" for one in order.moved[:_PAIRS])
    more = f"; and {len(order.moved) - _PAIRS} more (`--json` has all)" if len(order.moved) > _PAIRS else ""
    return [
        f"the network has the classes in another order than the folders: {named}{more}",
        "folders are numbered from 0 by name: rename them into the order of the network",
    ]


def _keys_to_write(about: Diagnosis) -> list[str]:
    keys = about.best.write
    fits = about.outcome == "fits" and about.best.low > about.chance
    if not keys or not (fits or about.outcome == "explained"):
        return []
    return [f"write `preprocessing: {{{', '.join(f'{key}: {_yaml(value)}' for key, value in keys.items())}}}`"]


def _alike(about: Diagnosis) -> list[str]:
    alike = about.best.alike
    if not alike or about.outcome not in ("explained", "fits") or about.best.low <= about.chance:
        return []
    more = f"; and {len(alike) - _PAIRS} more" if len(alike) > _PAIRS else ""
    return [f"so few images cannot distinguish it from: {'; '.join(alike[:_PAIRS])}{more} ({_remedy(about)})"]


def _few_images(about: Diagnosis) -> list[str]:
    images, notes = about.images, []
    if images.confirmed < images.requested:
        notes.append(
            f"note: {images.there} images are few: {images.confirmed} of them can confirm only a gain of "
            f"{100 * about.least_gain:.0f} points or more"
        )
    if images.tried < 2 * about.classes_seen:
        notes.append("note: one image per class cannot show the order of the classes")
    return notes


def _remedy(about: Diagnosis) -> str:
    images = about.images
    return "`--count` tries more" if images.there > images.tried + images.confirmed else "more images would show more"


def _on_images(score: Score) -> str:
    span = f"{100 * score.low:.1f} to {100 * score.high:.1f}"
    return f"{_pct(score.share)} on {score.images} other images (95 % interval {span})"


def _points(gain: Gain | None) -> str:
    assert gain is not None
    return f"{100 * gain.value:+.2f} points (95 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f})"


def _pct(part: float) -> str:
    return f"{100 * part:.2f} %"


def _signed(part: float) -> str:
    return f"{100 * part:+.1f}" if round(1000 * part) else "0.0"


def _yaml(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
