"""The doors, for the files that Keras writes."""

from __future__ import annotations

from ..cli.conftest import door

__all__ = ["door"]
