"""Numbers and places in sentences about causes."""

from __future__ import annotations

from collections.abc import Sequence

from .evidence import Site

EXACT_DB = 120.0  # and above: no difference
_LISTED = 3


def number(value: float) -> str:
    """Return three digits."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def percent(share: float) -> str:
    """Return a share in percent."""
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def decibels(value: float) -> str:
    """Return an SQNR with its unit."""
    return f"{value:.1f} dB" if value < EXACT_DB else "no limit: both are equal"


def listed(items: Sequence[object]) -> str:
    """Return the first items, and how many there are more."""
    shown = [str(item) for item in items[:_LISTED]]
    rest = len(items) - len(shown)
    if rest:
        return f"{', '.join(shown)} and {rest} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def counted(count: int, one: str, more: str = "") -> str:
    """Return a number with its noun."""
    return f"{count} {one if count == 1 else more or one + 's'}"


def what_is_read(site: Site) -> str:
    """Return a tensor as its readers know it, to begin a sentence."""
    names = list(dict.fromkeys(layer.name for layer, _ in site.readers))
    return f"The input of {listed(names)}"
