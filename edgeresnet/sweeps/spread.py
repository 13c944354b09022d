"""Trials on several machines: which piece of which trial runs where, and what becomes of it when a machine leaves.

Pieces that prepare a network run anywhere, several at once. A piece that times runs on one node, which it has for
itself. While one is timed, this process ends no trial and proposes none: that work would disturb what is timed. Knows
no Ray and no stage: `shards/ray_nodes.py` reaches the machines, `pipeline/spreading.py` cuts a trial into pieces.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from ..errors import EdgeresnetError, MachineError
from ..portable.frozen import dataclass as frozen_dataclass
from ..shards.nodes import Died, Job, Node, Nodes
from ..shards.work import DEATHS, Answered
from .document import Outcome
from .loop import Shown, Trial

_POLL_S = 1.0  # between two looks at which nodes are there
_PATIENCE = 60  # looks without any node that could work


@frozen_dataclass(frozen=True)
class Piece:
    """A part of a trial. Pieces of one key are the same, and done once. `alone`: nothing else runs on its node."""

    key: str
    title: str
    job: Job
    alone: bool = False


class Ended(NamedTuple):
    """A piece's answer, and whether it was done for this trial first: others that need it share it."""

    answered: Answered
    is_own: bool


Life: TypeAlias = Generator[Piece, Ended, Outcome]  # of a trial: the pieces that it needs, one after the other


@dataclass
class _Begun:
    """A trial that runs."""

    trial: Trial
    life: Life
    future: Future[Outcome]


@dataclass
class _Task:
    """A piece that waits or runs, and the trials that need it."""

    piece: Piece
    trials: list[_Begun]
    deaths: int = 0
    avoided: set[str] = field(default_factory=set)  # nodes that a worker died on: others come first


class Spread:
    """Runs the pieces of trials on the nodes of a cluster, with `parts` of them at once on each."""

    def __init__(self, nodes: Nodes, life: Callable[[Trial], Life], shown: Shown, measuring: str, parts: int = 1):
        """Take the cluster, what a trial consists of, and the id of the node that times."""
        self._nodes, self._life, self._shown, self._measuring, self._parts = nodes, life, shown, measuring, parts
        self._waiting: list[_Task] = []
        self._running: dict[Any, tuple[_Task, Node]] = {}
        self._known: dict[str, Answered] = {}  # by key
        self._left_out: dict[str, MachineError] = {}  # nodes whose machine failed

    @property
    def slots(self) -> int:
        """As many trials as can be prepared at once; one more where another node times meanwhile."""
        places = [self._places(node) for node in self._nodes.alive().values() if node.id not in self._left_out]
        return max(1, sum(places)) + (len(places) > 1)

    def submit(self, trial: Trial) -> Future[Outcome]:
        """Begin a trial: its first piece waits for a node."""
        begun = _Begun(trial, self._life(trial), Future())
        self._advance(begun, None)
        return begun.future

    def wait(self, running: Collection[Future[Outcome]]) -> Collection[Future[Outcome]]:
        """Let nodes work until a trial has ended and nothing is timed; return those that have ended."""
        patience = _PATIENCE
        while True:
            ended = [future for future in running if future.done()]
            if ended and not any(task.piece.alone for task, _ in self._running.values()):
                return ended
            self._dispatch()
            patience = patience - 1 if not self._running else _PATIENCE
            if patience < 0:
                raise self._no_node()
            for handle in self._nodes.wait(list(self._running), _POLL_S):
                self._take(handle)

    @contextlib.contextmanager
    def ending(self) -> Iterator[None]:
        """End what still runs when all is over, however it ends."""
        try:
            yield
        finally:
            self._nodes.cancel(list(self._running))

    def _advance(self, begun: _Begun, ended: Ended | None) -> None:
        """Go on with a trial until it needs a piece that is not done yet."""
        while True:
            try:
                piece = next(begun.life) if ended is None else begun.life.send(ended)
            except StopIteration as stopped:
                begun.future.set_result(stopped.value)
                return
            if piece.key not in self._known:
                break
            ended = Ended(self._known[piece.key], is_own=False)
        for task, node in [(task, None) for task in self._waiting] + list(self._running.values()):
            if task.piece.key == piece.key:
                task.trials.append(begun)
                self._show(task, begun, node)
                return
        self._waiting.append(_Task(piece, [begun]))

    def _dispatch(self) -> None:
        """Start what waits, as far as there are free nodes. What is to be timed comes first: its node gets free."""
        alive = self._nodes.alive()
        for task in sorted(self._waiting, key=lambda task: not task.piece.alone):
            node = self._node_for(task, alive)
            if node is None:
                continue
            handle = self._nodes.start(node, task.piece.job, None if task.piece.alone else self._places(node))
            self._running[handle] = task, node
            self._waiting.remove(task)
            for begun in task.trials:
                self._show(task, begun, node)

    def _node_for(self, task: _Task, alive: Mapping[str, Node]) -> Node | None:
        """Return the node that a task is to run on now, if there is one."""
        if task.piece.alone:
            return None if self._used(self._measuring) else alive.get(self._measuring)
        busy = {node.id for running, node in self._running.values() if running.piece.alone}
        busy |= {self._measuring} if any(waiting.piece.alone for waiting in self._waiting) else set()
        free = [
            node
            for node in alive.values()
            if node.id not in busy | self._left_out.keys() and self._used(node.id) < self._places(node)
        ]
        usual = lambda node: (node.id in task.avoided, node.id == self._measuring, self._used(node.id))  # noqa: E731
        return min(free, key=usual, default=None)

    def _take(self, handle: Any) -> None:
        """Take an answer to the trials that need it, or let another node do what a dead worker did."""
        task, node = self._running.pop(handle)
        try:
            answered = self._nodes.answer(handle)
        except Died as death:
            task.deaths += 1
            task.avoided.add(node.id)
            if task.deaths < DEATHS:
                self._shown.warns(f"a worker on {node.name} died during {task.piece.title}, which is done again")
                self._waiting.insert(0, task)
                return
            hint = "give each task more memory, or look at the log of its node (`ray logs`)"
            answered = Answered(b"", EdgeresnetError(task.piece.title, f"cost {DEATHS} workers: {death}", hint=hint))
        problem = answered.problem
        if isinstance(problem, MachineError) and node.id != self._measuring:
            if node.id not in self._left_out:
                self._shown.warns(f"{node.name} is left out: {problem.message} ({problem.hint})")
            self._left_out[node.id] = problem
            self._waiting.insert(0, task)
            return
        if problem is None and not task.piece.alone:
            self._known[task.piece.key] = answered
        for number, begun in enumerate(task.trials):
            self._show(task, begun, None)
            self._advance(begun, Ended(answered, is_own=number == 0))

    def _show(self, task: _Task, begun: _Begun, node: Node | None) -> None:
        self._shown.works(begun.trial, f"{task.piece.title} on {node.name}" if node else "")

    def _places(self, node: Node) -> int:
        """Return how many pieces a node prepares at once: at most one for each CPU."""
        return min(self._parts, node.cpus)

    def _used(self, node: str) -> int:
        return sum(each.id == node for _, each in self._running.values())

    def _no_node(self) -> MachineError:
        first = next(iter(self._left_out.values()), None)
        hint = first.hint if first else "start nodes again with `ray start`, and run the sweep again: its study is kept"
        why = f"; one was left out: {first.message}" if first else ""
        return MachineError("the Ray cluster", f"has no node left that can go on{why}", hint=hint)
