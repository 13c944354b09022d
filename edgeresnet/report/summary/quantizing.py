"""What each step of quantizing gained, and which layers it left furthest from FP32: in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from ...notes import QuantizeNotes, QuantizeStep
from .cells import sqnr

_NOISIEST = 3  # layers by name; `--json` has all


def quantizing_sentences(steps: Sequence[QuantizeStep]) -> list[str]:
    """Return a sentence on what each step gained, compared with the best so far."""
    sentences: list[str] = []
    best: float | None = None
    for step in steps:
        if step.sqnr_db is None:
            sentences.append(f"{step.name}: applied; no held-out image measures its effect")
            continue
        undone = "" if step.kept else ", undone"
        change = "" if best is None else f" ({step.sqnr_db - best:+.2f} dB{undone})"
        sentences.append(f"{step.name}: {sqnr(step.sqnr_db)}{change}")
        best = step.sqnr_db if best is None or step.kept else best
    return sentences


def noisiest_layers(notes: QuantizeNotes) -> list[str]:
    """Return a sentence on the layers whose output is furthest from FP32's, where that is known."""
    known = [(value, layer) for layer, value in notes.layers.items() if value is not None]
    if not known:
        return []
    worst = ", ".join(f"{layer} {sqnr(value)}" for value, layer in sorted(known)[:_NOISIEST])
    return [f"noisiest layers (SQNR of their output, earlier noise included): {worst}"]
