"""Whether numbers are the probabilities that logits give, class by class: classes are the second axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

PROBABILITIES = ("Softmax", "LogSoftmax")  # operators that turn logits into other numbers, in the same order


def probable(answer: np.ndarray, logits: np.ndarray, last: str, within: float) -> bool:
    """Return whether an answer is what Softmax or LogSoftmax makes of logits."""
    import numpy as np

    found = np.exp(answer) if last == "LogSoftmax" else answer
    if found.shape != logits.shape:
        return False
    wanted = np.exp(logits - logits.max(1, keepdims=True))
    wanted /= wanted.sum(1, keepdims=True)
    return bool(np.abs(wanted - found).max() <= within)
