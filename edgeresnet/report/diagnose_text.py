"""What `verify --explain` found, in 80 columns: what was tried, and one conclusion in words."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from . import terminal

_ROWS, _NAME = 10, 44  # of the table: the best so many, and the widest name
_PAIRS = 5  # of classes in another order, by name; `--json` has all


def render(about: Mapping[str, Any]) -> str:
    images, seen = about["images"], about["classes_seen"]
    every = len(about["classes"])
    of = f"{every} classes" if seen == every else f"{seen} of its {every} classes"
    head = f"{about['network']}: {images['tried']} images of {of}, and {images['confirmed']} others to confirm on"
    concluded = [_conclusion(about), *_order(about), *_written(about), *_alike(about), *_few(about)]
    parts = [terminal.wrapped(head), _table(about), "\n".join(terminal.wrapped(each) for each in concluded)]
    return "\n\n".join(parts) + "\n"


def _table(about: Mapping[str, Any]) -> str:
    """The best ones, and what they are held against: what was given, or the best where nothing was."""
    said = about["given"]["said"]
    first, *others = about["variants"]
    ranked = sorted(others if said else about["variants"], key=lambda row: -_share(row, about))
    shown, rest = ranked[:_ROWS], ranked[_ROWS:]
    rows: list[tuple[str, ...]] = []
    for row in ([first] if said else []) + shown:
        against = row["won"] == row["lost"] == 0 and row["name"] in (first["name"] if said else about["best"]["name"])
        gain = _signed((row["won"] - row["lost"]) / _asked(row, about))
        gain += f" ({_signed(row['low'])} to {_signed(row['high'])})"
        name, *more = textwrap.wrap(row["name"], _NAME)
        rows.append((name, _pct(_share(row, about)), "" if against else gain))
        rows += [(f"  {line}", "", "") for line in more]
    head = "gain pp (corrected 95 %)" if said else "to the best pp (corr. 95 %)"
    text = terminal.columns(("tried", "top-1", head), rows)
    best = _pct(_share(rest[0], about)) if rest else ""
    return text + (f"\n… and {len(rest)} more, at most {best} (`--json` has all)" if rest else "")


def _asked(row: Mapping[str, Any], about: Mapping[str, Any]) -> int:
    """What a few images showed to be hopeless was asked about no more."""
    return row.get("images", about["images"]["tried"])


def _share(row: Mapping[str, Any], about: Mapping[str, Any]) -> float:
    return row["top1"] / _asked(row, about)


def _conclusion(about: Mapping[str, Any]) -> str:
    best, given = about["best"], about["given"]
    now, was = _accuracy(best), _pct(given["top1"] / given["images"])
    words = [*best["changes"], *(["another order of the classes"] if about["order"] else [])]
    what = ", ".join(words) or "what was given"
    if about["outcome"] == "explained":
        return f"explained by {what}: {now} instead of {was} on {best['images']} other images, {_gain(best)}"
    if about["outcome"] == "fits":
        if best["low"] <= about["chance"]:
            return f"nothing that was tried is better than chance: the best, {what}, has {_of_images(best)}. {_LOOK}"
        return f"best of all that was tried: {what}, with {_of_images(best)}"
    least = f"A gain below {100 * about['least_gain']:.0f} points does not show on so few images: {_more(about)}"
    chance = given["low"] <= about["chance"]
    beside = f"what was given has {_of_images(given)}, " + ("no more than chance, " if chance else "")
    if about["outcome"] == "chance":
        return (
            f"nothing explains it for certain: {what} seemed better, and {best['images']} other images do not confirm "
            f"it: {now} instead of {was}, {_gain(best)}. {least}"
        )
    return (
        f"nothing that was tried explains it: {beside}and no other preprocessing or order of the classes was better "
        f"by more than chance. {least}. {_LOOK}"
    )


_LOOK = (
    "Look at the weights (these, of this architecture, fully trained?), the size, the labels, and the images that the "
    "expected accuracy was measured on"
)


def _order(about: Mapping[str, Any]) -> list[str]:
    order = about["order"]
    if not order or about["outcome"] != "explained":
        return []
    moved = order["moved"]
    named = "; ".join(f"{one['folder']} is its class {one['answer']} ({one['called']})" for one in moved[:_PAIRS])
    more = f"; and {len(moved) - _PAIRS} more (`--json` has all)" if len(moved) > _PAIRS else ""
    return [
        f"the network has the classes in another order than the folders: {named}{more}",
        "folders are numbered from 0 in the order of their names: rename them so that each stands where the network "
        "has it",
    ]


def _written(about: Mapping[str, Any]) -> list[str]:
    keys = about["best"]["write"]
    fits = about["outcome"] == "fits" and about["best"]["low"] > about["chance"]
    if not keys or not (fits or about["outcome"] == "explained"):
        return []
    return [f"write `preprocessing: {{{', '.join(f'{key}: {_yaml(value)}' for key, value in keys.items())}}}`"]


def _alike(about: Mapping[str, Any]) -> list[str]:
    alike = about["best"]["alike"]
    if not alike or about["outcome"] not in ("explained", "fits") or about["best"]["low"] <= about["chance"]:
        return []
    more = f"; and {len(alike) - _PAIRS} more" if len(alike) > _PAIRS else ""
    return [f"so few images do not tell it from: {'; '.join(alike[:_PAIRS])}{more} ({_more(about)})"]


def _few(about: Mapping[str, Any]) -> list[str]:
    images, told = about["images"], []
    if images["confirmed"] < images["asked"]:
        told.append(
            f"note: {images['there']} images are few: what {images['confirmed']} of them are to confirm must gain "
            f"{100 * about['least_gain']:.0f} points or more"
        )
    if images["tried"] < 2 * about["classes_seen"]:
        told.append("note: one image of a class does not tell the order of the classes")
    return told


def _more(about: Mapping[str, Any]) -> str:
    images = about["images"]
    return "`--count` tries more" if images["there"] > images["tried"] + images["confirmed"] else "more would tell more"


def _of_images(counted: Mapping[str, Any]) -> str:
    return f"{_accuracy(counted)} on {counted['images']} other images (95 % interval {_span(counted)})"


def _accuracy(counted: Mapping[str, Any]) -> str:
    return _pct(counted["top1"] / counted["images"])


def _span(counted: Mapping[str, Any]) -> str:
    return f"{100 * counted['low']:.1f} to {100 * counted['high']:.1f}"


def _gain(best: Mapping[str, Any]) -> str:
    gain, low, high = best["gain"]
    return f"{100 * gain:+.2f} points (95 % interval {100 * low:+.1f} to {100 * high:+.1f})"


def _pct(part: float) -> str:
    return f"{100 * part:.2f} %"


def _signed(part: float) -> str:
    return f"{100 * part:+.1f}" if round(1000 * part) else "0.0"


def _yaml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
