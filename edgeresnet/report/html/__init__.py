"""A run as one page for a browser: no library, no request, a phone's width or paper, light or dark.

element → scale → strips, plot → figure: what a chart is made of. first: what is seen first. promises, tradeoff,
latencies, changes, flips, cutting, learned, origin: one part each. `beside` alone reads more than the run; drawing
knows no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...store import Store

__all__ = ["of_store", "render"]


def render(run: Mapping[str, Any]) -> str:
    """Of the run alone: no pictures, no other runs."""
    from . import page
    from .beside import Beside

    return page.page(run, Beside(no_pictures="Pictures are shown where the store is at hand."))


def of_store(run: Mapping[str, Any], store: Store) -> str:
    """With what still lies beside it."""
    from . import page
    from .beside import look

    return page.page(run, look(run, store))
