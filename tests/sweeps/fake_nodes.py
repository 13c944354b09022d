"""Nodes of a cluster without one: a job is done when it is waited for, those that time last; some cost their worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from edgeresnet.shards.nodes import Died, Job, Node
from edgeresnet.shards.work import Answered, answered


def node(name: str, cpus: int = 1, **offers: float) -> Node:
    return Node(name, name, cpus, 0, offers)


@dataclass
class FakeNodes:
    """A cluster. `dies` tells which starts cost their worker; a start's number and node are its handle."""

    nodes: dict[str, Node]
    dies: Callable[[str, int], bool] = lambda node, start: False
    here: str = "host"
    started: list[tuple[str, int | None]] = field(default_factory=list)  # node, and in how many parts
    cancelled: list[object] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)  # by the number of their start
    _jobs: dict[tuple[int, str], Job] = field(default_factory=dict)
    _alone: set[tuple[int, str]] = field(default_factory=set)

    @staticmethod
    def of(*names: str, cpus: int = 1) -> FakeNodes:
        return FakeNodes({name: node(name, cpus) for name in ("host", *names)})

    def alive(self) -> Mapping[str, Node]:
        return dict(self.nodes)

    def start(self, node: Node, job: Job, parts: int | None) -> tuple[int, str]:
        handle = len(self.started), node.id
        self.started.append((node.id, parts))
        self.jobs.append(job)
        self._jobs[handle] = job
        if parts is None:
            self._alone.add(handle)
        for number, busy in self._alone & self._jobs.keys():
            others = [each for each in self._jobs if each[1] == busy and each[0] != number]
            assert not others, f"{busy} works while it times"
        return handle

    def wait(self, handles: Sequence[object], seconds: float) -> Sequence[object]:
        known = [handle for handle in self._jobs if handle in handles]
        return sorted(known, key=lambda handle: (handle in self._alone, handle))[:1]

    @property
    def times(self) -> bool:
        """Whether something is timed now."""
        return bool(self._alone & self._jobs.keys())

    def answer(self, handle: object) -> Answered:
        assert isinstance(handle, tuple)
        number, name = handle
        job = self._jobs.pop(handle)
        if name not in self.nodes or self.dies(name, number):
            raise Died("the worker died")
        return answered(lambda: job(name))

    def cancel(self, handles: Sequence[object]) -> None:
        self.cancelled += handles
