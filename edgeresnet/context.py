"""What the conductor hands to a deed beside its parents and spec: progress, seed, scratch space, warnings, times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .portable.result import RunWarning

Progress = Callable[[int, int, str], None]  # done, of how many, a word about it


class Measure(Protocol):
    """Networks timed in turn as they would ship, in fresh processes: target → name → raw values."""

    def __call__(
        self, networks: Mapping[str, Any], *, processes: int, seconds: float
    ) -> Mapping[str, Mapping[str, Mapping[str, Any]]]: ...


@dataclass
class Context:
    seed: int
    scratch: Path  # survives an interruption of this stage; gone when it is finished
    progress: Progress = lambda done, total, word: None
    record: Callable[[Mapping[str, Any]], None] = lambda line: None  # what was just learned, for who watches
    cache: Path | None = None  # a folder for what makes the next time faster, and may be lost
    measure: Measure | None = None  # for a deed that has to know what its networks' times are while it works
    warnings: list[RunWarning] = field(default_factory=list)

    def warn(self, code: str, text: str, *, subject: str = "") -> None:
        """Report something that a person should know. `code` names its kind for programs."""
        self.warnings.append(RunWarning(code, text, subject))
