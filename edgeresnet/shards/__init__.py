"""A set of images cut into shards. Workers do them in any order; the answers are merged in the order of the images.

work (what travels to a worker) · evaluating (a network's answers) · processes and on_ray (the workers). Where a shard
ends follows from the images alone: neither how many workers there are nor which of them ends first changes a byte.
nodes and ray_nodes are the machines of a cluster, for what is sent to one of them by name: the trials of a sweep.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TypeVar, cast

from ..context import Workers
from ..portable.frozen import dataclass
from ..store import write_bytes

T = TypeVar("T")

_SEAL = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Shard:
    """Images in a row, by their places in the set."""

    first: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.first


def cut(images: int, batch: int, size: int) -> list[Shard]:
    """Cut a set into shards of about `size` images. Each begins where a batch of the complete set begins."""
    step = max(1, size // batch) * batch
    return [Shard(first, min(first + step, images)) for first in range(0, images, step)]


def gather(
    workers: Workers,
    work: Callable[[T], bytes],
    shards: Sequence[Shard],
    item: Callable[[Shard], T],
    folder: Path,
    on_done: Callable[[int], None] = lambda images: None,
    *,
    on_card: bool = False,
) -> Iterator[bytes]:
    """Let workers do what `folder` does not hold yet of these shards, and yield all answers in order.

    Each answer is stored at once: whatever is interrupted costs only the shards that were being done, and no answer
    stays in memory. `on_done` receives how many images are done.
    """
    files = {shard: folder / f"{shard.first}-{shard.stop}" for shard in shards}
    missing = [shard for shard in shards if _stored(files[shard]) is None]
    done = sum(map(len, shards)) - sum(map(len, missing))
    on_done(done)
    answers = cast(
        "Generator[tuple[int, bytes]]", workers.each(work, (item(shard) for shard in missing), on_card=on_card)
    )
    with contextlib.closing(answers):
        for number, answer in answers:
            write_bytes(files[missing[number]], hashlib.sha256(answer).digest() + answer)
            done += len(missing[number])
            on_done(done)
    for shard in shards:
        yield _stored(files[shard]) or b""


def _stored(path: Path) -> bytes | None:
    """Return an answer that was stored; None where it is missing or damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    answer = data[_SEAL:]
    return answer if hashlib.sha256(answer).digest() == data[:_SEAL] else None
