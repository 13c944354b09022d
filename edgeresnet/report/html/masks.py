"""Masks before and after: the picture, its label, and what each network made of it. Those that lost most come first."""

from __future__ import annotations

from ...portable.result import Measured
from ..summary import Summary
from .element import Markup, el, name
from .extras import Extras
from .figure import between, digest, table, verify_origin
from .mask_pictures import MaskPictures, worst

_TABLED = 200  # rows


def section(seen: Summary, extras: Extras) -> Markup | None:
    measured = [each for each in seen.run.measured if each.shipped.accuracy.has_image_scores]
    if not measured:
        return None
    changed = worst(measured)
    origins = between(", ", (digest(verify_origin(seen.run, each.target)) for each in measured))
    caption = el("p", "From ", origins, class_="caption")
    if not changed:
        return el("section", el("p", "Every mask is the same as in FP32."), caption, class_="flips")
    images = measured[0].count
    words = f"{len(changed)} of {images} images have other pixels than in FP32."
    if extras.masks:
        words += f" {len(extras.masks)} are shown. Those that lost most come first."
    why = extras.no_pictures or ("" if extras.masks else "Masks are looked up by `edgeresnet report --format html`.")
    return el(
        "section",
        el("p", words),
        el("p", name(why), class_="quiet") if why else None,
        [_row(each, measured) for each in extras.masks],
        caption,
        _table(changed, measured, extras),
        class_="flips",
    )


def _row(image: MaskPictures, measured: list[Measured]) -> Markup:
    shown = [_picture(head, source, image) for head, source in image.pictures.items()]
    scores = [el("li", _scores(each, image.number)) for each in measured if each.has_labels]
    return el(
        "div", el("p", name(image.file), class_="file"), el("ul", shown, class_="pictures"), el("ul", scores),
        class_="drawn",
    )  # fmt: skip


def _picture(head: str, source: str, image: MaskPictures) -> Markup:
    alt = f"{head} of {image.file}"
    return el("li", el("img", src=source, alt=alt, width=84, height=84), el("p", name(head), class_="label"))


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
