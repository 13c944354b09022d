"""Images that are answered differently than before: the picture, its label, and each network's answer."""

from __future__ import annotations

from collections.abc import Sequence

from ..summary import ChangedImage, Summary, changed_images, changes_sentence
from .element import Markup, el, name
from .extras import NAMED, Extras
from .figure import between, digest, table, verify_origin

_AT_ONCE = 12  # pictures; the others are a touch away


def section(seen: Summary, extras: Extras) -> Markup | None:
    targets = [result.target for result in seen.run.measured if result.labels]
    if not targets:
        return None
    changed = changed_images(seen.run.measured)
    origins = between(", ", (digest(verify_origin(seen.run, target)) for target in targets))
    if not changed:
        same = el("p", "Every answer is the same as in FP32.")
        return el("section", same, el("p", "From ", origins, class_="caption"), class_="flips")
    cards = [_card(each, extras) for each in changed if each.number in extras.pictures]
    words = f"{len(changed)} images have another answer than in FP32: {changes_sentence(seen.run.measured)}."
    if cards and len(changed) > len(cards):
        words += f" {len(cards)} are shown. Those that were correct before come first."
    why = extras.no_pictures or ("" if cards else "Pictures are looked up by `edgeresnet report --format html`.")
    return el(
        "section",
        el("p", words),
        el("p", name(why), class_="quiet") if why else None,
        el("ul", cards[:_AT_ONCE], class_="pictures") if cards else None,
        _behind(cards[_AT_ONCE:]),
        el("p", "From ", origins, class_="caption"),
        _table(changed, targets, extras),
        class_="flips",
    )


def _behind(cards: list[Markup]) -> Markup | None:
    if not cards:
        return None
    return el(
        "details", el("summary", f"{len(cards)} more pictures"), el("ul", cards, class_="pictures"), class_="more"
    )


def _table(changed: Sequence[ChangedImage], targets: Sequence[str], extras: Extras) -> Markup:
    cut = f"The first {NAMED} of {len(changed)}" if len(changed) > NAMED else "All of them"
    rows = [
        (_called(each, extras), each.label, each.before, *(each.now[target] for target in targets))
        for each in changed[:NAMED]
    ]
    return el("details", el("summary", f"{cut}, as a table"), table(("image", "is", "FP32", *targets), rows))


def _card(image: ChangedImage, extras: Extras) -> Markup:
    called = _called(image, extras)
    answers = [_answer(who, what, image.label) for who, what in (("FP32", image.before), *image.now.items())]
    return el(
        "li",
        el("img", src=extras.pictures[image.number], alt=f"{called}, which is {image.label}", width=84, height=84),
        el("p", name(image.label), class_="label"),
        el("p", name(called), class_="file"),
        el("dl", answers),
    )


def _called(image: ChangedImage, extras: Extras) -> str:
    return extras.names.get(image.number, f"image {image.number}")


def _answer(who: str, what: str, label: str) -> Markup:
    word = "correct" if what == label else "incorrect"
    return el("div", el("dt", name(who)), el("dd", name(what), " ", el("span", word, class_=word)))
