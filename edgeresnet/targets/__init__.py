"""The targets: one file each, listed from this folder. A new target is one new file that defines TARGET.

Importing a target's file never imports its runtime, so listing them is cheap and works where none is installed.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import cache

from ..errors import RecipeError, TargetError
from ..portable.session import Target


@cache
def discover() -> dict[str, Target]:
    """Return every target by its name in recipes. A file with a leading _ is shared code, not a target."""
    found = (info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_"))
    return {name: importlib.import_module(f".{name}", __name__).TARGET for name in sorted(found)}


def get(name: str) -> Target:
    """Return a target by its name."""
    known = discover()
    if name not in known:
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
