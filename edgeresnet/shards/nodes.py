"""Machines that do what is sent to one of them by name. Knows no Ray: tests have nodes of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from ..portable.frozen import dataclass
from .work import Answered

Job: TypeAlias = Callable[[str], bytes]  # receives the id of the node that it runs on


@dataclass(frozen=True)
class Node:
    """A machine of a cluster, with what it offers."""

    id: str
    name: str
    cpus: int
    gpus: int
    offers: Mapping[str, float]  # resources by name, as its administrator declared them


class Died(Exception):
    """A worker, or its node, died before it answered."""


class Nodes(Protocol):
    """The machines of a cluster. A handle stands for what was started on one."""

    @property
    def here(self) -> str:
        """The id of the node that this process runs on."""

    def alive(self) -> Mapping[str, Node]:
        """Return the nodes that are there now, by id."""

    def start(self, node: Node, job: Job, parts: int | None) -> Any:
        """Start a job on a node, in one of as many equal parts. None: it has the node for itself."""

    def wait(self, handles: Sequence[Any], seconds: float) -> Sequence[Any]:
        """Return the handles of what has ended, of one at least, or none after some seconds."""

    def answer(self, handle: Any) -> Answered:
        """Return the answer of a job that has ended; raise Died where there is none."""

    def cancel(self, handles: Sequence[Any]) -> None:
        """End jobs at once."""
