"""The runner: recipe → steps → run.

resolving (opens what a recipe names) → planner (what it asks for, as steps) → runner (found or made) → document (the
run, judged) · collecting (what a device measured). The runner calls every stage through the table of stages, and knows
none from inside; that a bundle is measured on its device is all that it knows of one.
"""

from ..stages.table import STAGES
from .collecting import collect
from .listener import Listener
from .making import look_at
from .planner import plan
from .resolving import Resolved, ResolvedTarget, resolve
from .runner import make, planned, preview, run
from .step import Outcome, Step
from .suitability import warnings_of

__all__ = [
    "STAGES",
    "Listener",
    "Outcome",
    "Resolved",
    "ResolvedTarget",
    "Step",
    "collect",
    "look_at",
    "make",
    "plan",
    "planned",
    "preview",
    "resolve",
    "run",
    "warnings_of",
]
