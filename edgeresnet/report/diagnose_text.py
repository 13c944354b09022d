"""A diagnosis as plain text that fits 80 columns: what was tried, and one conclusion in words."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from ..text import wrapped
from . import tables

if TYPE_CHECKING:
    from ..diagnose.diagnosis import Diagnosis, Gain, Score

_ROWS, _NAME = 10, 36  # of the table: the rows at most, and the widest name
_PAIRS = 5  # of classes in another order, or of candidates that tie, by name; `--json` has all
_MORE = 4  # times as many images separate candidates that tie
_ADVICE = "Check the weights, the size and the labels. Check which images the expected accuracy was measured on"


def render(about: Diagnosis, command: str = "edgeresnet diagnose") -> str:
    """Return the table of what was tried, then what follows from it. `command` is the one that was given."""
    images, seen, every = about.images, about.classes_seen, len(about.classes)
    of = f"{every} classes" if seen == every else f"{seen} of its {every} classes"
    head = f"{about.network}: {images.tried} images of {of}, and {images.confirmed} others to confirm on"
    concluded = [_conclusion(about), *_order(about), *_keys_to_write(about), *_few_images(about)]
    lines = "\n".join(wrapped(each) for each in concluded)
    parts = [wrapped(head), _table(about), *_undecided(about, command), lines]
    return "\n\n".join(parts) + "\n"


def _table(about: Diagnosis) -> str:
    """Return the best rows, and the row that they are compared with: what was given, or the best where nothing was."""
    mean_given = about.given.mean_given
    first, *others = about.tried
    ranked = sorted(others if mean_given else about.tried, key=lambda row: (-row.images, -row.share))
    shown, rest = ranked[:_ROWS], ranked[_ROWS:]
    reference = first.name if mean_given else about.best.name
    rows: list[tuple[str, ...]] = []
    for row in ([first] if mean_given else []) + shown:
        is_reference = row.won == row.lost == 0 and row.name == reference
        gain = f"{_signed(row.gain)} ({_signed(row.low)} to {_signed(row.high)})"
        name, *more = textwrap.wrap(row.name, _NAME)
        rows.append((name, str(row.images), _pct(row.share), "" if is_reference else gain))
        rows += [(f"  {line}", "", "", "") for line in more]
    head = "gain pp (corrected 95 %)" if mean_given else "to the best pp (corr. 95 %)"
    text = tables.columns(("tried", "images", "top-1", head), rows)
    most = max((row.share for row in rest), default=0.0)
    return text + (f"\n… and {len(rest)} more, at most {_pct(most)} (`--json` has all)" if rest else "")


def _is_undecided(about: Diagnosis) -> bool:
    """Return whether others may be as good as the best: then its line must not look like the answer."""
    return bool(about.best.alike) and about.outcome in ("explained", "fits") and about.best.low > about.chance


def _undecided(about: Diagnosis, command: str) -> list[str]:
    """Return that candidates tie, which ones, and how to compare only these; nothing where the best is alone."""
    if not _is_undecided(about):
        return []
    names = {about.best.name, *about.best.alike}
    tied = sorted((row for row in about.tried if row.name in names), key=lambda row: -row.share)
    lines = [
        wrapped(f"Undecided: these images cannot tell {len(names)} candidates apart. Correct answers in the search:")
    ]
    lines += [f"  {row.top1} of {row.images}  {row.name}" for row in tied[:_PAIRS]]
    lines += [f"  and {len(tied) - _PAIRS} more (`--json` has all)"] if len(tied) > _PAIRS else []
    count = min(_MORE * about.images.requested, about.images.there // 2)
    if count > about.images.tried:
        only = [f'    --only "{row.name}"' for row in tied]
        lines += ["Compare only these on more images:", " \\\n".join([f"  {command} --count {count}", *only])]
    else:
        lines.append("All images are used. Give more of them to compare these.")
    lines.append(wrapped("If they stay level, each costs the same accuracy. Take what the network was trained with."))
    return ["\n".join(lines)]


def _first_choice(about: Diagnosis) -> str:
    """Return why one of those that tie is named."""
    correct = {row.name: row.top1 for row in about.tried}
    others = (correct[name] for name in about.best.alike if name in correct)
    return "the best so far" if correct.get(about.best.name, 0) >= max(others, default=0) else "the most usual of them"


def _conclusion(about: Diagnosis) -> str:
    best, given = about.best, about.given
    words = [*best.changes, *(["another order of the classes"] if about.order else [])]
    what = ", ".join(words) or "the given preprocessing"
    if about.outcome == "explained":
        if _is_undecided(about):
            return f"{_first_choice(about)} explains it, and others may too: {what}, {_compared(about)}"
        return f"explained by {what}: {_compared(about)}"
    if about.outcome == "fits":
        if best.low <= about.chance:
            return f"no variant is better than chance. The best, {what}, has {_on_images(best)}. {_ADVICE}"
        which = _first_choice(about) if _is_undecided(about) else "best of all variants"
        return f"{which}: {what}, with {_on_images(best)}"
    least = f"So few images cannot show a gain below {100 * about.least_gain:.0f} points: {_remedy(about)}"
    if about.outcome == "chance":
        return (
            f"no variant explains it for certain. {what} looked better, but {best.images} other images do not confirm "
            f"it: {_pct(best.share)} instead of {_pct(given.share)}, {_points(best.gain)}. {least}"
        )
    chance = ", no more than chance" if given.low <= about.chance else ""
    return (
        f"no variant explains it. The given preprocessing has {_on_images(given)}{chance}. No other preprocessing or "
        f"class order is better by more than chance. {least}. {_ADVICE}"
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
        "Folders are numbered from 0 by name. Rename them into the order of the network.",
    ]


def _keys_to_write(about: Diagnosis) -> list[str]:
    keys = about.best.write
    fits = about.outcome == "fits" and about.best.low > about.chance
    if not keys or not (fits or about.outcome == "explained"):
        return []
    line = f"`preprocessing: {{{', '.join(f'{key}: {_yaml(value)}' for key, value in keys.items())}}}`"
    return [f"its line, which is not certain: {line}" if _is_undecided(about) else f"write {line}"]


def _few_images(about: Diagnosis) -> list[str]:
    images, notes = about.images, []
    if about.left == 1 and images.tried < images.requested:
        notes.append(f"note: one candidate was left after {images.tried} images, and so the search ended there")
    if max(images.confirmed, images.there - images.tried) < images.requested:
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
