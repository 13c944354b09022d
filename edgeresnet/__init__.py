"""edgeresnet: may this ResNet ship to this device? Answers with evidence. Importing it imports nothing heavy.

    run = edgeresnet.run("recipe.yaml")
    run.verdict, run.verdicts, run.results
    run.save_report("report.md")

The names in `__all__` are the interface for Python. Each is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._version import __version__ as __version__
    from .api import Made, Run, compare, diagnose_int8, load_run, make, plan, run, sweep
    from .errors import EdgeresnetError
    from .noise.diagnosis import Cause, LayerNoise, NoiseDiagnosis
    from .pipeline import Listener
    from .recipe import Recipe

__all__ = [
    "Cause",
    "EdgeresnetError",
    "LayerNoise",
    "Listener",
    "Made",
    "NoiseDiagnosis",
    "Recipe",
    "Run",
    "compare",
    "diagnose_int8",
    "load_run",
    "make",
    "plan",
    "run",
    "sweep",
]

# Nothing is imported above: this file travels to devices, where most of these modules are not.
_MODULES = {"EdgeresnetError": "errors", "Listener": "pipeline", "Recipe": "recipe", "__version__": "_version"}
_MODULES |= dict.fromkeys(("Cause", "LayerNoise", "NoiseDiagnosis"), "noise.diagnosis")


def __getattr__(name: str) -> object:
    if name not in __all__ and name not in _MODULES:
        raise AttributeError(f"module 'edgeresnet' has no attribute {name!r}")
    found: object = getattr(importlib.import_module(f".{_MODULES.get(name, 'api')}", __name__), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
