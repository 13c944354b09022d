"""How long a large image set takes on a cluster: a formula over measured rates, for `scale.py estimate`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from edgeresnet.portable import inference
from edgeresnet.shards import cut
from edgeresnet.shards.evaluating import IMAGES


class Measured(NamedTuple):
    """What was measured: images a second of one worker, for each variant; and seconds of the other parts."""

    rates: Sequence[float]
    load_s: float  # until a worker has a network ready
    timing_s: float  # on one machine, after all workers


class Estimate(NamedTuple):
    """What follows for a number of nodes."""

    workers: int
    rounds: int  # shards that the busiest worker does of one variant
    evaluating_s: float
    total_s: float
    busy: float  # part of the workers' time that is work


def estimate(measured: Measured, images: int, nodes: int, cores: int) -> Estimate:
    """Return how long all variants take on nodes of as many cores, a worker each. Variants come one after the other.

    A variant ends with its busiest worker, which does as many shards as there are rounds: the others wait for it.
    """
    shards, workers = len(cut(images, inference.BATCH, IMAGES)), nodes * cores
    rounds = math.ceil(shards / workers)
    shard = images / shards
    spans = [measured.load_s + rounds * shard / rate for rate in measured.rates]
    work = sum(images / rate for rate in measured.rates)
    evaluating = sum(spans)
    return Estimate(workers, rounds, evaluating, evaluating + measured.timing_s, work / (workers * evaluating))


def table(measured: Measured, images: int, cores: int, counts: Sequence[int]) -> str:
    """Return the estimates for some numbers of nodes, and where more nodes gain nothing, as Markdown."""
    shards = len(cut(images, inference.BATCH, IMAGES))
    lines = [
        f"{images:,} images: {shards} shards of up to {IMAGES}. {len(measured.rates)} variants, {cores} workers a node",
        "",
        "| nodes | workers | shards of the busiest | answers | with timing | workers' time that is work |",
        "|---|---|---|---|---|---|",
    ]
    for nodes in counts:
        found = estimate(measured, images, nodes, cores)
        lines.append(
            f"| {nodes} | {found.workers} | {found.rounds} | {_span(found.evaluating_s)} | {_span(found.total_s)} "
            f"| {100 * found.busy:.0f} % |"
        )
    last = math.ceil(shards / cores)
    return "\n".join([*lines, "", f"From {last} nodes on there is a worker for each shard: more nodes gain nothing."])


def _span(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
