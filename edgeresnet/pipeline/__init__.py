"""The conductor: recipe → steps → run.

stages (the table) → steps (what a recipe asks for) → conductor (found or made) → document (the run, judged).
Knows no deed from inside.
"""

from ..stages.table import STAGES
from .collect import bring_home
from .planner import samples_of, steps
from .runner import Listener, look_at, make, plan, run
from .step import Outcome, Step

__all__ = [
    "STAGES",
    "Listener",
    "Outcome",
    "Step",
    "bring_home",
    "look_at",
    "make",
    "plan",
    "run",
    "samples_of",
    "steps",
]
