"""What is said of a cut that was found by a clock."""

from __future__ import annotations

from edgeresnet.report import cuts

from . import runs


def test_what_is_not_sure_is_not_said() -> None:
    """Where times waver, the next milder cut may never have been measured."""
    notes = {"macs": [2e6, 1e6], "params": [2e5, 1e5], "speedup": {**runs.speedup(), "milder": None, "sure": False}}
    ((said, _),) = cuts.curves(notes)
    assert "times waver too much" in said
    assert "the mildest cut there is" not in said
    notes["speedup"] = {**runs.speedup(), "milder": None}
    assert "the mildest cut there is reaches it" in cuts.curves(notes)[0][0]
