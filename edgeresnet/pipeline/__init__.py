"""The conductor: recipe → steps → run.

stages (the table) → steps (what a recipe asks for) → conductor (found or made) → document (the run, judged).
Knows no deed from inside.
"""

from .conductor import Listener, look_at, make, plan, run
from .home import bring_home
from .stages import STAGES, Outcome, Step
from .steps import samples_of, steps

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
