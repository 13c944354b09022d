"""A target that is slower by a known part, for `latency.py` to plant. A file of its own: fresh processes import it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeresnet import targets


@dataclass(frozen=True)
class Slowed:
    """A target of which every inference takes `part` longer than it did, by waiting busily."""

    target: str
    part: float

    def load(self, compiled: Path) -> Any:
        session = targets.get(self.target).load(compiled)
        real, part = session.infer, 1 + self.part

        def infer(batch: np.ndarray) -> np.ndarray:
            began = time.perf_counter()
            answer = real(batch)
            until = began + part * (time.perf_counter() - began)
            while time.perf_counter() < until:
                pass
            return answer

        session.infer = infer  # type: ignore[method-assign]
        return session
