"""What a rule of `accepts` reads and finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..portable.session import Dialect
from .quantized import Plan

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True)
class Finding:
    """One problem of a file for a compiler."""

    severity: str
    rule: str
    place: str  # the node
    what: str
    why: str
    remedy: str


@dataclass(frozen=True)
class Compiler:
    """The compiler that the file is for."""

    name: str
    dialect: Dialect

    @property
    def symmetric(self) -> bool:
        """TensorRT and TensorRT-RTX."""
        return self.dialect.activations == "s8-symmetric"


Rule = Callable[[Plan, Compiler], Iterator[Finding]]
