"""FP32 or BF16: in which of them a network learns faster here. Both are timed: some CPUs with BF16 are slower in it."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import torch
from torch import nn

from ..errors import ModelError
from ..portable import machine

_WORTH = 1.1  # times as fast: below that, FP32's exactness is worth more
_TRIES = 3
_Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # of logits and labels, or of images and logits


def has_bf16(device: torch.device) -> bool:
    return torch.cuda.is_bf16_supported() if device.type == "cuda" else machine.has_bf16()


def chosen(
    wanted: str,
    network: nn.Module,
    device: torch.device,
    loss_of: _Loss,
    batch: Callable[[], tuple[torch.Tensor, torch.Tensor]],
) -> str:
    """Return f32 or bf16: what is `wanted`, and for `auto` the faster one."""
    if wanted == "bf16" and not has_bf16(device):
        raise ModelError("precision", "is bf16, which this machine does not have", hint="write f32, or auto")
    if wanted != "auto" or not has_bf16(device):
        return "f32" if wanted == "auto" else wanted
    images, labels = batch()
    seconds = {word: step_s(copy.deepcopy(network), images, labels, loss_of, word) for word in ("f32", "bf16")}
    return "bf16" if seconds["f32"] > _WORTH * seconds["bf16"] else "f32"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def step_s(
    network: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    loss_of: _Loss,
    precision: str,
    teach: _Loss | None = None,
) -> float:
    """Return the least time that forward and backward took, in seconds."""
    times = []
    for _ in range(1 + _TRIES):  # the first finds kernels and memory
        began = time.perf_counter()
        with autocast(images.device, precision):
            logits = network(images)
            loss = loss_of(logits.float(), labels) + (teach(images, logits) if teach else 0)
        loss.backward()
        if images.device.type == "cuda":
            torch.cuda.synchronize(images.device)
        times.append(time.perf_counter() - began)
    return min(times[1:])
