"""The processes that train together, as torchrun starts them. They learn what one process would: each batch is divided
among them, and normalisation sees all of it.

The first one leads: it alone uses the store and writes. The others wait for its call, take part, and write nothing.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from ..errors import EdgeresnetError, first_line

# A follower waits while the leader looks for stored results, and another run may be making them.
_PATIENCE = datetime.timedelta(days=7)
_TRAIN, _END = "train", "end"


class ProcessGroup:
    """This process among `size` of them; alone it is a group of one."""

    def __init__(self) -> None:
        together = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if together else 0
        self.size = dist.get_world_size() if together else 1
        self.device = _device()

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def call(self) -> None:
        """Call the followers to take part in a training. For the leader."""
        self.share(_TRAIN)

    def called(self) -> bool:
        """Wait for the leader's call. Return False when there is nothing more to do. For followers."""
        return self.share(None) == _TRAIN

    def dismiss(self) -> None:
        """Let the followers end. For the leader, when all is done."""
        self.share(_END)

    def share(self, value: Any) -> Any:
        """Return the leader's value, in every process."""
        if self.size == 1:
            return value
        held = [value]
        dist.broadcast_object_list(held, src=0, device=self.device)
        return held[0]

    def sum(self, *values: torch.Tensor) -> tuple[float, ...]:
        """Return each value added up over all processes."""
        return tuple(self.added(torch.stack([value.detach().double().to(self.device) for value in values])).tolist())

    def added(self, values: torch.Tensor) -> torch.Tensor:
        """Return a tensor whose values are added up over all processes."""
        added = values.detach().double().to(self.device)
        if self.size > 1:
            dist.all_reduce(added)
        return added.cpu()

    def part(self, count: int) -> slice:
        """Return which of `count` items are this process's."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def joined(self, network: nn.Module) -> nn.Module:
        """Return what learns in the network's stead: gradients are averaged over the processes, statistics shared."""
        if self.size == 1:
            return network
        on_gpu = self.device.type == "cuda"
        nn.SyncBatchNorm.convert_sync_batchnorm(network) if on_gpu else _share_statistics(network)
        ids = [self.device.index] if on_gpu else None
        return nn.parallel.DistributedDataParallel(network, device_ids=ids)


def mine() -> ProcessGroup:
    """Return the group that this process belongs to."""
    return ProcessGroup()


def threads(cores: int) -> int:
    """Return how many threads each of torchrun's processes on this machine may use."""
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def started_together() -> int:
    """Return how many processes torchrun started; 1 where it did not."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextlib.contextmanager
def entered() -> Iterator[ProcessGroup]:
    """Join the group, and leave it at the end. After an error it is not left: torchrun ends the other processes."""
    if started_together() == 1:
        yield ProcessGroup()
        return
    # Imported later, as DistributedDataParallel does, this module keeps the group as a default argument for ever: its
    # threads then outlive it, and a process may abort at exit.
    import torch.distributed.nn.functional

    device = _device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    except (ValueError, RuntimeError) as problem:
        raise EdgeresnetError(
            "the processes",
            f"cannot connect to each other: {first_line(problem)}",
            hint="start them with torchrun: torchrun --nproc-per-node 2 -m edgeresnet train …",
        ) from problem
    yield ProcessGroup()
    dist.destroy_process_group()


def _device() -> torch.device:
    """Return a GPU of its own for each process if there are enough, else the CPU."""
    local, all_local = (int(os.environ.get(name, default)) for name, default in _LOCAL)
    return torch.device("cuda", local) if torch.cuda.device_count() >= all_local else torch.device("cpu")


_LOCAL = (("LOCAL_RANK", "0"), ("LOCAL_WORLD_SIZE", "1"))


class _Sum(torch.autograd.Function):
    """Add up a tensor over all processes; on the way back, add up its gradients."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
        value = value.clone()
        dist.all_reduce(value)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        gradient = gradients[0].clone()
        dist.all_reduce(gradient)
        return gradient


class _SharedBatchNorm(nn.BatchNorm2d):
    """Normalises by the complete batch, wherever its parts are. torch's own SyncBatchNorm is for GPUs alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        x = x.float()  # whatever BF16 made of it
        count = x.new_tensor([x.numel() / x.shape[1]], dtype=torch.float64)
        sums = [x.sum((0, 2, 3), dtype=torch.float64), (x * x).sum((0, 2, 3), dtype=torch.float64)]
        one, two, images = _Sum.apply(torch.cat([*sums, count])).split([x.shape[1], x.shape[1], 1])
        mean = one / images
        variance = (two / images - mean * mean).clamp(min=0)
        with torch.no_grad():
            old = 1 - self.momentum  # type: ignore[operator]
            self.running_mean.mul_(old).add_(mean.float(), alpha=1 - old)  # type: ignore[union-attr]
            unbiased = variance * (images / (images - 1))
            self.running_var.mul_(old).add_(unbiased.float(), alpha=1 - old)  # type: ignore[union-attr]
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        scale = self.weight * (variance + self.eps).rsqrt().float()
        return x * scale[:, None, None] + (self.bias - mean.float() * scale)[:, None, None]


def _share_statistics(network: nn.Module) -> None:
    for module in network.modules():
        plain = type(module) is nn.BatchNorm2d and module.affine and module.track_running_stats
        if plain and module.momentum is not None:
            module.__class__ = _SharedBatchNorm
