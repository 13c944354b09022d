"""The targets: one file each, listed from this folder. A new target is one new file that defines TARGET.

Importing a target's file never imports its runtime, so listing them is cheap and works where none is installed.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

from ..errors import RecipeError, TargetError

if TYPE_CHECKING:
    from ..portable.session import Target


def names() -> list[str]:
    """List the targets by their names in recipes, without importing them: a file with a leading _ is shared code."""
    return sorted(info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_"))


@cache
def discover() -> dict[str, Target]:
    """Return every target by its name in recipes."""
    return {name: importlib.import_module(f".{name}", __name__).TARGET for name in names()}


def get(name: str) -> Target:
    """Return a target by its name."""
    known = discover()
    if name not in known:
        import difflib

        near = difflib.get_close_matches(name, known, 1)
        raise RecipeError(
            f"the target {name!r}",
            "does not exist",
            hint=f"did you mean {near[0]}?" if near else f"available targets: {', '.join(known)}",
        )
    return known[name]


def require(name: str) -> Target:
    """Return a target that is available here; else raise the reason and what to do."""
    found = get(name).available()
    if not found.ok:
        raise TargetError(get(name).title, f"is not available: {found.reason}", hint=found.hint)
    return get(name)
