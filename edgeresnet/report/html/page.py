"""The page: what is seen first, then what it rests on. One file that asks for nothing, from anywhere.

The browser is told so, too: but for this page's own script, style and pictures within it, nothing may load or run.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import view
from . import changes, cutting, first, flips, latencies, learned, origin, promises, tradeoff
from .element import Child, Markup, el, name

if TYPE_CHECKING:
    from .beside import Beside


def page(run: Mapping[str, Any], beside: Beside) -> str:
    seen = view.of(run)
    sections = [(title, inside) for title, inside in _sections(run, seen, beside) if inside]
    links = [el("a", title, href=f"#{_id(title)}") for title, _ in sections]
    body = [
        first.head(run, seen),
        el(
            "main",
            first.cards(run),
            el("nav", links, aria_label="parts of this page"),
            [el("section", el("h2", title), inside, id=_id(title), class_="part") for title, inside in sections],
        ),
        _foot(run),
    ]
    return f"<!doctype html>\n{el('html', _head(seen), el('body', body, _own('script', 'page.js')), lang='en').html}\n"


def _sections(run: Mapping[str, Any], seen: view.View, beside: Beside) -> list[tuple[str, Child]]:
    found: list[tuple[str, Child]] = [
        ("Promises", promises.section(run)),
        ("Accuracy against latency", tradeoff.section(run, beside.others, beside.unread)),
        ("Latency", [*latencies.section(run), *_sentences(seen.speedups)]),
        ("Classes", changes.section(run)),
        ("Flipped images", flips.section(run, beside)),
        ("INT8", [*learned.noise(run), *_sentences(seen.losses)]),
        ("Pruning", cutting.section(run, seen)),
        ("Learning", [*learned.curves(run), *_sentences(said for said, rows in seen.recoveries if not rows)]),
        ("Notes", [each for each in (origin.notes(seen), learned.absent(run)) if each]),
        ("Recipe", origin.recipe(run)),
        ("Lineage", origin.lineage(run, beside)),
        ("Conditions", origin.conditions(run, seen)),
    ]
    return found


def _sentences(said: Any) -> list[Markup]:
    return [el("p", name(f"{each}."), class_="quiet") for each in said]


def _head(seen: view.View) -> Markup:
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash('page.css')}'; script-src '{_hash('page.js')}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="referrer", content="no-referrer"),
        el("title", f"{seen.verdict}: {seen.title}"),
        el("link", rel="icon", href="data:,"),
        _own("style", "page.css"),
    )


def _foot(run: Mapping[str, Any]) -> Markup:
    return el("footer", el("p", f"Run {run['id']}. Nothing on this page was loaded from elsewhere."))


def _id(title: str) -> str:
    return title.lower().replace(" ", "-")


@functools.cache
def _file(called: str) -> str:
    return Path(__file__).with_name(called).read_text(encoding="utf-8")


def _hash(called: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(_file(called).encode()).digest()).decode()}"


def _own(element: str, called: str) -> Markup:
    """What ships with this package stands as it is: it holds nothing that a run says."""
    return Markup(f"<{element}>{_file(called)}</{element}>")
