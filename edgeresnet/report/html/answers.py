"""Masks or boxes before and after: the picture, its label, and each network's answer. The worst losses come first."""

from __future__ import annotations

from ...portable.result import Measured
from ...portable.tasks.task import Task, task_of
from ..summary import Summary
from .answer_pictures import AnswerPictures, worst
from .element import Markup, el, name
from .extras import Extras
from .figure import between, digest, table, verify_origin

_TABLED = 200  # rows


def title(seen: Summary) -> str:
    """Return the title of the section: what is drawn."""
    measured = _drawable(seen)
    return task_of(measured[0].task).drawn.capitalize() if measured else ""


def section(seen: Summary, extras: Extras) -> Markup | None:
    measured = _drawable(seen)
    if not measured:
        return None
    task, changed = task_of(measured[0].task), worst(measured)
    origins = between(", ", (digest(verify_origin(seen.run, each.target)) for each in measured))
    caption = el("p", "From ", origins, class_="caption")
    if not changed:
        return el("section", el("p", _unchanged(task, measured)), caption, class_="flips")
    shown = extras.drawn.images
    why = extras.no_pictures or ("" if shown else "Pictures are looked up by `edgeresnet report --format html`.")
    return el(
        "section",
        el("p", _words(task, len(changed), measured[0].count, len(shown))),
        [el("p", name(each), class_="quiet") for each in (why, extras.drawn.absent) if each],
        [_row(each, measured) for each in shown],
        caption,
        _table(changed, measured, extras),
        class_="flips",
    )


def _drawable(seen: Summary) -> list[Measured]:
    return [each for each in seen.run.measured if each.shipped.accuracy.has_image_scores]


def _unchanged(task: Task, measured: list[Measured]) -> str:
    why = [each.shipped.accuracy.uncompared for each in measured]
    return f"Nothing is compared: {why[0]}." if all(why) else f"All {task.drawn} are the same as in FP32."


def _words(task: Task, changed: int, images: int, shown: int) -> str:
    words = f"{changed} of {images} images have other {task.flipped} than in FP32."
    if shown:
        words += f" {shown} {'is' if shown == 1 else 'are'} shown. Those that lost most come first. {task.legend}"
    return words.strip()


def _row(image: AnswerPictures, measured: list[Measured]) -> Markup:
    shown = [_picture(head, source, image) for head, source in image.pictures.items()]
    scores = [el("li", _scores(each, image.number)) for each in measured if each.has_labels]
    return el(
        "div", el("p", name(image.file), class_="file"), el("ul", shown, class_="pictures large"), el("ul", scores),
        class_="drawn",
    )  # fmt: skip


def _picture(head: str, source: str, image: AnswerPictures) -> Markup:
    alt = f"{head} of {image.file}"
    return el("li", el("img", src=source, alt=alt, width=184, height=184), el("p", name(head), class_="label"))


def _scores(result: Measured, number: int) -> str:
    before, now = result.shipped.accuracy.of_image(number)
    return f"{result.target}: {result.shipped.accuracy.name.short} {before:.2f} → {now:.2f} % on this image"


def _table(changed: list[int], measured: list[Measured], extras: Extras) -> Markup:
    cut = f"The first {_TABLED} of {len(changed)}" if len(changed) > _TABLED else "All of them"
    known = [each for each in measured if each.has_labels]
    rows = []
    for number in changed[:_TABLED]:
        scores = [
            f"{before:.2f} → {now:.2f} %" for before, now in (each.shipped.accuracy.of_image(number) for each in known)
        ]
        rows.append((extras.names.get(number, f"image {number}"), *scores))
    score = measured[0].shipped.accuracy.name.short
    heads = ("image", *(f"{score} on {each.target}" for each in known))
    return el("details", el("summary", f"{cut}, as a table"), table(heads, rows))
