"""What the conductor hands to every deed beside its parents and spec: progress, seed, scratch space, warnings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Progress = Callable[[int, int, str], None]  # done, of how many, a word about it


@dataclass
class Context:
    seed: int
    scratch: Path  # survives an interruption of this stage; gone when it is finished
    progress: Progress = lambda done, total, word: None
    record: Callable[[Mapping[str, Any]], None] = lambda line: None  # what was just learned, for who watches
    cache: Path | None = None  # a folder for what makes the next time faster, and may be lost
    warnings: list[str] = field(default_factory=list)

    def warn(self, sentence: str) -> None:
        self.warnings.append(sentence)
