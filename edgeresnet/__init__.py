"""edgeresnet: may this ResNet ship to this device? Answers with evidence. Importing it imports nothing heavy.

    run = edgeresnet.run("recipe.yaml")
    run.verdict, run.verdicts, run.results
    run.save_report("report.md")

What is named in `__all__` is the interface for Python, and is imported when it is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import Made, Run, compare, load_run, make, plan, run
    from .errors import EdgeresnetError
    from .pipeline import Listener
    from .recipe import Recipe

__version__ = "0.1.0"
__all__ = [
    "EdgeresnetError",
    "Listener",
    "Made",
    "Recipe",
    "Run",
    "compare",
    "load_run",
    "make",
    "plan",
    "run",
]

_ELSEWHERE = {"EdgeresnetError": "errors", "Listener": "pipeline", "Recipe": "recipe"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'edgeresnet' has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_ELSEWHERE.get(name, 'api')}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
