"""Images that are answered otherwise than before: the picture, what it is, and what each network said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import facts
from .element import Child, Markup, el, name
from .figure import between, digest, table

if TYPE_CHECKING:
    from .beside import Beside

_AT_ONCE = 12  # pictures; the others are a touch away


def section(run: Mapping[str, Any], beside: Beside) -> Markup | None:
    judged = facts.judged(run)
    if not judged:
        return None
    numbers = facts.changed(run)
    origins = between(", ", (digest(facts.verified(run, result)) for result in judged))
    if not numbers:
        said = "Every image is answered as FP32 answers it."
        return el("section", el("p", said), el("p", "From ", origins, class_="caption"), class_="flips")
    cards = [_card(run, number, beside) for number in numbers if number in beside.pictures]
    more = len(numbers) - len(cards)
    said = f"{len(numbers)} images are answered otherwise than in FP32: {_sums(run)}."
    if cards and more:
        said += f" Shown are {len(cards)}, those first that were right before."
    why = beside.no_pictures or ("" if cards else "Pictures are looked up by `edgeresnet report --format html`.")
    columns = ("image", "is", "FP32", *(result["target"] for result in judged))
    rows = [_row(run, number, beside) for number in numbers[: facts.NAMED]]
    cut = f"The first {facts.NAMED} of {len(numbers)}" if len(numbers) > facts.NAMED else "All of them"
    return el(
        "section",
        el("p", said),
        el("p", name(why), class_="quiet") if why else None,
        el("ul", cards[:_AT_ONCE], class_="pictures") if cards else None,
        _behind(cards[_AT_ONCE:]),
        el("p", "From ", origins, class_="caption"),
        el("details", el("summary", f"{cut}, as a table"), table(columns, rows)),
        class_="flips",
    )


def _behind(cards: list[Markup]) -> Markup | None:
    if not cards:
        return None
    return el(
        "details", el("summary", f"{len(cards)} more pictures"), el("ul", cards, class_="pictures"), class_="more"
    )


def _sums(run: Mapping[str, Any]) -> str:
    told = []
    for result in facts.judged(run):
        counts = result["variants"][result["candidate"]]["accuracy"]
        wrong = counts["images"] - counts["agree"] - counts["flips_lost"] - counts["flips_won"]
        told.append(
            f"on {result['target']} {counts['flips_lost']} lost, {counts['flips_won']} won, {wrong} wrong both times"
        )
    return "; ".join(told)


def _card(run: Mapping[str, Any], number: int, beside: Beside) -> Markup:
    called = beside.names.get(number, f"image {number}")
    judged = facts.judged(run)
    first = judged[0]
    label = first["classes"][first["labels"][number]]
    before = first["classes"][first["reference_predicted"][number]]
    said: list[Child] = [_answer("FP32", before, before == label)]
    for result in judged:
        now = result["classes"][result["variants"][result["candidate"]]["predicted"][number]]
        said.append(_answer(result["target"], now, now == label))
    return el(
        "li",
        el("img", src=beside.pictures[number], alt=f"{called}, which is {label}", width=84, height=84),
        el("p", name(label), class_="label"),
        el("p", name(called), class_="file"),
        el("dl", said),
    )


def _answer(who: str, what: str, right: bool) -> Markup:
    sign = el("span", "right" if right else "wrong", class_="right" if right else "wrong")
    return el("div", el("dt", name(who)), el("dd", name(what), " ", sign))


def _row(run: Mapping[str, Any], number: int, beside: Beside) -> list[Child]:
    judged = facts.judged(run)
    first = judged[0]
    classes = first["classes"]
    called = beside.names.get(number, f"image {number}")
    now = [result["classes"][result["variants"][result["candidate"]]["predicted"][number]] for result in judged]
    return [called, classes[first["labels"][number]], classes[first["reference_predicted"][number]], *now]
