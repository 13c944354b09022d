"""The runner: recipe → steps → run.

resolve (opens what a recipe names) → planner (what it asks for, as steps) → runner (found or made) → document (the run,
judged) · collect (what a device measured). Knows no stage from inside.
"""

from ..stages.table import STAGES
from .collect import collect
from .planner import plan
from .resolve import Resolved, resolve
from .runner import Listener, look_at, make, preview, run
from .step import Outcome, Step

__all__ = [
    "STAGES",
    "Listener",
    "Outcome",
    "Resolved",
    "Step",
    "collect",
    "look_at",
    "make",
    "plan",
    "preview",
    "resolve",
    "run",
]
