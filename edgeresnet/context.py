"""What the runner hands to a stage next to its inputs and spec: progress, seed, scratch space, warnings, times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from .portable.result import RunWarning
from .portable.times import Latency

if TYPE_CHECKING:
    from torch import nn

    from .store import Shared

T = TypeVar("T")

Progress = Callable[[int, int, str], None]  # done, of how many, a word about it


class Measure(Protocol):
    """Times networks in turn as they would ship, in fresh processes. Returns target → name → latency."""

    def __call__(
        self, networks: Mapping[str, nn.Module | Path], *, processes: int, seconds: float, may_fail: bool = False
    ) -> Mapping[str, Mapping[str, Latency]]: ...


class Workers(Protocol):
    """Does pieces of one work at once, anywhere and in any order."""

    def each(
        self, work: Callable[[T], bytes], items: Iterable[T], *, on_card: bool = False
    ) -> Iterator[tuple[int, bytes]]:
        """Yield the number of each item with its answer, as they come. `on_card`: each needs a GPU."""


@dataclass
class Context:
    """The surroundings of a stage while it works."""

    seed: int
    scratch: Path  # survives an interruption of this stage; removed when the stage is finished
    progress: Progress = lambda done, total, word: None
    record: Callable[[Mapping[str, object]], None] = lambda line: None  # one epoch, for listeners
    cache: Path | None = None  # a folder for what makes the next time faster, and may be lost
    measure: Measure | None = None  # for a stage that needs its networks' latency while it works
    workers: Workers | None = None  # for a stage whose images can be cut into shards; None: this process
    shared: Shared | None = None  # where workers on other machines find what the stage reads
    warnings: list[RunWarning] = field(default_factory=list)

    def warn(self, code: str, text: str, *, subject: str = "") -> None:
        """Report something that a person should know. `code` names its kind for programs."""
        self.warnings.append(RunWarning(code, text, subject))
