"""Makes a network as narrow as pruned weights are: their shapes alone show how many channels each layer has.

So a pruned network can be built again from its tensors; `plans.is_narrower` decides whose they may be.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from . import cifar
from .plans import Shape


def narrow(network: nn.Module, shapes: Mapping[str, Shape]) -> None:
    """Make a network narrower in place, without initialising it. What `prune` never narrows stays as it is."""
    for name, module in network.named_modules():
        key = f"{name}.weight"
        if key in shapes and tuple(module.weight.shape) != tuple(shapes[key]):
            _narrow_one(module, tuple(shapes[key]))
    for module in network.modules():
        if isinstance(module, cifar.Block) and isinstance(module.shortcut, cifar.PadShortcut):
            missing = module.conv2.out_channels - module.conv1.in_channels
            module.shortcut = type(module.shortcut)(missing, module.shortcut.stride)


def _narrow_one(module: nn.Module, shape: tuple[int, ...]) -> None:
    if isinstance(module, nn.Conv2d):
        # Complete groups are removed: what a filter sees stays as wide as it was, and there are fewer filters.
        each = module.out_channels // module.groups
        module.groups = shape[0] // each if module.groups > 1 else 1
        module.out_channels, module.in_channels = shape[0], shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = shape
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):
        module.num_features = shape[0]
    else:
        return
    module.weight = nn.Parameter(torch.empty(shape, dtype=module.weight.dtype, device=module.weight.device))
    for name in ("bias", "running_mean", "running_var"):
        held = getattr(module, name, None)
        if held is not None:
            empty = torch.empty(shape[:1], dtype=held.dtype, device=held.device)
            setattr(module, name, nn.Parameter(empty) if name == "bias" else empty)
