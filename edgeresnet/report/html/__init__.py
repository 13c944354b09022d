"""A run as one page for a browser: no library, no request, a phone's width or paper, light or dark.

element → scale → strips, plot → figure: what a chart is made of. first: what is seen first. promises, tradeoff,
latencies, classes, flips, noise, pruning, learning, origin: one part each, drawn from the run's summary. `extras` alone
reads more than the run; drawing knows no file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...runs import Run
    from ...store import Store

__all__ = ["of_store", "render"]


def render(run: Run) -> str:
    """Return the page of a run alone: no pictures, no other runs."""
    from .. import summary
    from .extras import Extras
    from .page import page

    return page(summary.of(run), Extras(no_pictures="Pictures are shown where the store is at hand."))


def of_store(run: Run, store: Store) -> str:
    """Return the page of a run with what its store still has: pictures, other runs, what artifacts were made from."""
    from .. import summary
    from .extras import look_up
    from .page import page

    return page(summary.of(run), look_up(run, store))
