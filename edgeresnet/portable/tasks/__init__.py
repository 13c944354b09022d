"""Tasks: what labels are, how outputs become predictions, which metric there is, and how two networks are compared.

Each task is a file here. Nothing outside asks which task it is: callers call methods of a `Task`, or of
what it returned. Copied to devices verbatim.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any, Literal

TaskName = Literal["classification", "segmentation", "detection"]
DEFAULT: TaskName = "classification"


@cache
def member(name: str) -> Any:
    """Return a task by its name: the `TASK` of its file. `task.task_of` returns it with its type."""
    return importlib.import_module(f"{__name__}.{name}").TASK
