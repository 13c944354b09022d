"""Latencies by script, in the form in which `ctx.measure` returns them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from edgeresnet.portable.machine import TimedMachine
from edgeresnet.portable.times import Latency, ProcessTimes
from edgeresnet.tune.speedup import UNPRUNED

Speed = Callable[[float], float]  # the part of the weights that stays → times as fast

MACHINE = TimedMachine(
    cpu="scripted",
    instructions=(),
    cores=1,
    system="any",
    board=None,
    gpus=(),
    governor=None,
    power_mode=None,
    gpu_driver=None,
    l4t=None,
    host="here",
    boot=None,
    cpus=1,
)


def latency(ms: float, processes: int = 3) -> Latency:
    """Return what a network of this latency would be measured as: processes differ a little."""
    each = [ms * (1 + 0.001 * number) for number in range(processes)]
    times = [
        ProcessTimes(1.78e9, MACHINE, load_ms=1.0, first_ms=one, host_ms=((one,) * 5,) * 2, others_cpus=(0.0,) * 2)
        for one in each
    ]
    return Latency(1, tuple(times))


def params(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


class Clock:
    """`ctx.measure` by script: each target has a curve. From call `ends_at` on it is interrupted."""

    def __init__(self, **curves: Speed):
        self.curves, self.ends_at = curves, 1000
        self.calls: list[tuple[str, ...]] = []

    def __call__(
        self, networks: Mapping[str, Any], *, processes: int, seconds: float, may_fail: bool = False
    ) -> dict[str, dict[str, Latency]]:
        if len(self.calls) == self.ends_at:
            raise KeyboardInterrupt
        self.calls.append(tuple(networks))
        parts = {name: params(network) / params(networks[UNPRUNED]) for name, network in networks.items()}
        return {
            target: {name: latency(8 / curve(part), processes) for name, part in parts.items()}
            for target, curve in self.curves.items()
        }
