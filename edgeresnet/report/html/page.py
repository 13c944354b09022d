"""The page: what is seen first, then what it rests on. One file that loads nothing from anywhere.

The browser enforces that as well: but for this page's own script, style and pictures, nothing may load or run.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..summary import Summary, Table
from . import (
    answers,
    classes,
    first,
    flips,
    latencies,
    learning,
    noise,
    origin,
    promises,
    pruning,
    sureness,
    tradeoff,
)
from .element import Child, Markup, el, name
from .figure import table

if TYPE_CHECKING:
    from .extras import Extras


def page(seen: Summary, extras: Extras) -> str:
    """Return the page of a run, from its summary and what its store still has."""
    sections = [(title, inside) for title, inside in _sections(seen, extras) if inside]
    links = [el("a", title, href=f"#{_id(title)}") for title, _ in sections]
    body = [
        first.head(seen),
        el(
            "main",
            first.cards(seen),
            el("nav", links, aria_label="parts of this page"),
            [el("section", el("h2", title), inside, id=_id(title), class_="part") for title, inside in sections],
        ),
        el("footer", el("p", f"Run {seen.run.id}. This page loads nothing from any other place.")),
    ]
    return document(f"{seen.verdict}: {seen.title}", body)


def document(title: str, body: Child) -> str:
    """Return a complete page that loads nothing."""
    page = el("html", _head(title), el("body", body, _own("script", "page.js")), lang="en")
    return f"<!doctype html>\n{page.html}\n"


def _sections(seen: Summary, extras: Extras) -> list[tuple[str, Child]]:
    untrained = [each.sentence for each in seen.recoveries if not each.epochs.rows]
    return [
        ("Promises", promises.section(seen)),
        ("Devices", [*_tables(seen.matrix.table), *_sentences(seen.matrix.sentences)]),
        ("Accuracy against latency", tradeoff.section(seen.run, extras.others, extras.unread)),
        ("Latency", [*latencies.section(seen), *_sentences(each.sentence for each in seen.speedups)]),
        ("Energy and throughput", _amounts(seen)),
        ("Probabilities", sureness.section(seen)),
        ("Classes", classes.section(seen)),
        ("Flipped images", flips.section(seen, extras)),
        (answers.title(seen), answers.section(seen, extras)),
        ("INT8", [*noise.section(seen.run), *_sentences(seen.losses)]),
        ("Pruning", pruning.section(seen)),
        ("Learning", [*learning.curves(seen.run), *_sentences(untrained)]),
        ("Notes", [each for each in (origin.notes(seen), origin.missing_stages(seen.run)) if each]),
        ("Recipe", origin.recipe(seen.run)),
        ("Lineage", origin.lineage(seen.run, extras)),
        ("Conditions", origin.conditions(seen)),
    ]


def _amounts(seen: Summary) -> list[Markup]:
    """Return what an inference takes, and how many images a second are answered; and once why something is missing."""
    return [*_tables(seen.energy_table, seen.rate_table), *_sentences(seen.amount_sentences)]


def _tables(*tables: Table) -> list[Markup]:
    return [table(*each) for each in tables if each.rows]


def _sentences(sentences: Iterable[str]) -> list[Markup]:
    return [el("p", name(f"{each}."), class_="quiet") for each in sentences]


def _head(title: str) -> Markup:
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
        el("title", title),
        el("link", rel="icon", href="data:,"),
        _own("style", "page.css"),
    )


def _id(title: str) -> str:
    return title.lower().replace(" ", "-")


@functools.cache
def _file(called: str) -> str:
    return Path(__file__).with_name(called).read_text(encoding="utf-8")


def _hash(called: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(_file(called).encode()).digest()).decode()}"


def _own(element: str, called: str) -> Markup:
    """Return a file that ships with this package, as it is: it holds nothing of a run."""
    return Markup(f"<{element}>{_file(called)}</{element}>")
