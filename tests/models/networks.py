"""Networks whose every tensor matters: in a fresh one, batch normalisations change nothing, or hide a whole block."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any, cast

import timm
import torch
from safetensors.torch import save_file
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


def in_files(network: nn.Module, folder: Path, ending: str) -> Path:
    """Write weights in three files, as transformers does; return the index."""
    held = {key: value.clone() for key, value in network.state_dict().items()}
    stem = "model" if ending == "safetensors" else "pytorch_model"
    named = {key: f"{stem}-{1 + 3 * at // len(held):05}-of-00003.{ending}" for at, key in enumerate(held)}
    for file in set(named.values()):
        part = {key: held[key] for key in held if named[key] == file}
        save_file(part, folder / file) if ending == "safetensors" else torch.save(part, folder / file)
    index = folder / f"{stem}.{ending}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": dict(sorted(named.items()))}))
    return index


class TransformersBlock(nn.Module):
    """A bottleneck under transformers' names, with its stride in the first convolution or in the second."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, first: bool) -> None:
        super().__init__()
        middle = outputs // 4
        self.shortcut = _normed(inputs, outputs, 1, stride) if stride > 1 or inputs != outputs else nn.Identity()
        self.layer = nn.Sequential(
            _normed(inputs, middle, 1, stride if first else 1, nn.ReLU()),
            _normed(middle, middle, 3, 1 if first else stride, nn.ReLU()),
            _normed(middle, outputs, 1, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.layer(x) + self.shortcut(x))


def transformers_resnet(*, first: bool, classes: int = 10) -> nn.Module:
    """A small network of one block per stage, with the names that transformers gives to tensors."""
    torch.manual_seed(0)
    stem = nn.Sequential(OrderedDict(embedder=_normed(1, 8, 7, 2, nn.ReLU()), pooler=nn.MaxPool2d(3, 2, 1)))
    blocks = [(8, 16, 1), (16, 32, 2), (32, 64, 2), (64, 128, 2)]
    stages = [
        nn.Sequential(OrderedDict(layers=nn.Sequential(TransformersBlock(*block, first=first)))) for block in blocks
    ]
    parts = {"embedder": stem, "encoder": nn.Sequential(OrderedDict(stages=nn.Sequential(*stages)))}
    body = nn.Sequential(OrderedDict(**parts, pooler=nn.AdaptiveAvgPool2d(1)))
    head = nn.Sequential(nn.Flatten(), nn.Linear(128, classes))
    return enlivened(nn.Sequential(OrderedDict(resnet=body, classifier=head)))


def _normed(inputs: int, outputs: int, kernel: int, stride: int, *activation: nn.Module) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    parts = [("convolution", convolution), ("normalization", nn.BatchNorm2d(outputs))]
    return nn.Sequential(OrderedDict([*parts, *(("activation", each) for each in activation)]))
