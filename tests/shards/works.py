"""Workers and work for tests: light, for each process imports this file."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edgeresnet.errors import TargetError
from edgeresnet.portable import machine
from edgeresnet.shards.work import Work

T = TypeVar("T")


class InOrder:
    """Does all items in this process, in the order of these numbers; those that are left over come last."""

    def __init__(self, order: Sequence[int] = ()):
        self.order, self.did = order, list[int]()

    def each(
        self, work: Callable[[T], bytes], items: Iterable[T], *, on_card: bool = False
    ) -> Iterator[tuple[int, bytes]]:
        every = dict(enumerate(items))
        for number in [*(each for each in self.order if each in every), *(set(every) - set(self.order))]:
            self.did.append(number)
            yield number, work(every[number])


@dataclass(frozen=True)
class Echo:
    """Answers a number by itself and the number of cores. It sleeps, fails or is killed over some of them."""

    folder: Path
    dies_over: int = -1
    deaths: int = 1
    fails_over: int = -1
    raises_over: int = -1
    seconds: float = 0.0

    def __call__(self, number: int) -> bytes:
        if number == self.dies_over:
            before = len(list(self.folder.glob("death*")))
            if before < self.deaths:
                (self.folder / f"death{before}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
        if number == self.fails_over:
            raise TargetError("the network", "failed", hint="measure again")
        if number == self.raises_over:
            raise KeyError("a bug")
        time.sleep(self.seconds)
        (self.folder / f"did{number}-{time.monotonic_ns()}").touch()
        return f"{number} on {machine.cores()}".encode()


def from_another(work: Callable[[T], bytes], **wanted: str) -> Work:
    """Return work that another machine sent, which differs in this."""
    from edgeresnet.shards.work import here

    return Work(work, "head", {**here(False), **wanted}, on_card=False)
