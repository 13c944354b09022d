"""Commands, for the files that Keras writes."""

from __future__ import annotations

from ..cli.conftest import command

__all__ = ["command"]
