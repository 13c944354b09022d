"""Networks whose every tensor matters: in a fresh one, batch normalisations change nothing, or hide a whole block."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import timm
import torch
from timm.models._hub import save_for_hf
from torch import nn

from edgeresnet import models


def lively(arch: str, classes: int = 5, channels: int = 3) -> nn.Module:
    """A network by name, in the state of one that was trained."""
    torch.manual_seed(0)
    return enlivened(models.build(arch, classes, channels))


def enlivened(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            nn.init.uniform_(module.weight, 0.3, 0.9)
            nn.init.normal_(module.bias, std=0.1)
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


def hub(folder: Path, *, data: dict[str, Any] | None = None, arguments: dict[str, Any] | None = None) -> Path:
    """As timm writes what goes to its hub: weights, and next to them how pixels are prepared."""
    torch.manual_seed(0)
    network = timm.create_model("resnet10t", num_classes=3, **(arguments or {}))
    about = {"pretrained_cfg": {**cast(dict[str, Any], network.pretrained_cfg), **(data or {})}}
    save_for_hf(network, str(folder), model_config=about, model_args=arguments, safe_serialization=True)
    return folder / "model.safetensors"
