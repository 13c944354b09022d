"""What Hugging Face's folders say about the weights in them: class names, and what tensors do not show of the network.

A folder holds the weights under names that are always the same, and next to them `config.json`. transformers and timm
write such folders. `processors` reads how transformers prepares pixels, `records` how timm does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import ModelError, listed, quoted, shortened
from ..portable.documents import Unreadable, parse_json, read_bytes, shown

CONFIG = "config.json"
V1, V15 = "v1", "v1.5"  # where a bottleneck has its stride: in its first 1×1 convolution, or in its 3×3 convolution
RELU = "relu"
_WEIGHTS = (
    *("model.safetensors", "model.safetensors.index.json"),
    *("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
_NAMED_SO = re.compile(r"(?:model|pytorch_model)(?:\.\w{1,20})?\.(?:safetensors|bin)(?:\.index\.json)?")
_OTHERS = {
    "tf_model.h5": "TensorFlow",
    "flax_model.msgpack": "Flax",
    "saved_model.pb": "TensorFlow",
    "model.weights.h5": "Keras",
}
_LARGEST = 1 << 24  # bytes of a configuration: it names each class twice
_USUAL_ARGUMENTS = {"num_classes", "in_chans", "drop_rate", "drop_path_rate", "drop_block_rate"}  # of timm's networks
_PLACEHOLDER = re.compile(r"LABEL_\d+")  # transformers' names of classes that have none

_Json: TypeAlias = Any  # as another program wrote it


@dataclass(frozen=True)
class Labels:
    """Class names in the order of the network's answers; empty where `why_not` says why they are not used."""

    file: str
    names: tuple[str, ...] = ()
    why_not: str = ""


@dataclass(frozen=True)
class Convention:
    """What `config.json` says of a network that its tensors do not show; None, or empty: it does not say.

    Of transformers' ResNet: its stem is a 7×7 convolution of stride 2 and a max-pool of 3 with stride 2. `activation`
    follows the stem and each block's sum; between the convolutions of a block there is always a ReLU. timm's file has
    only the name of the architecture, and the arguments that it was made with.
    """

    library: str  # "transformers", "timm" or "mmpretrain"
    stride: str | None = None  # V1 or V15
    activation: str | None = None  # as torch.nn.functional and transformers name it: "relu", "gelu", "silu"
    first_stage_strided: bool | None = None
    bottleneck: bool | None = None
    max_pool: bool | None = None
    arch: str = ""  # timm's name of the network
    arguments: str = ""  # that timm made it with, in words, where they change what it computes

    @property
    def unusual(self) -> str:
        """Return, in words, what none of edgeresnet's own networks has; empty where there is nothing."""
        found = {
            f"its activation is {shortened(str(self.activation), 40)}": self.activation not in (None, RELU),
            f"it was built with other arguments ({self.arguments})": bool(self.arguments),
        }
        return " and ".join(words for words, holds in found.items() if holds)


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder with weights, of any library, under their usual names."""
    return os.path.isdir(path) and any(os.path.lexists(path / name) for name in (*_WEIGHTS, *_OTHERS))


def weights_of(path: Path) -> Path:
    """Return the file of weights in a folder, or its index; for what is not a folder, the path itself."""
    if not os.path.isdir(path):
        return path
    found = next((path / name for name in _WEIGHTS if os.path.lexists(path / name)), None)
    if found is not None:
        return found
    if others := [name for name in _OTHERS if os.path.lexists(path / name)]:
        problem = f"holds weights of {_OTHERS[others[0]]} ({others[0]}), not of PyTorch"
        hint = "export it to ONNX in the program that made it, or get the folder with PyTorch's weights"
        raise ModelError(shown(path), problem, hint=hint)
    hint = f"name the file of weights; folders hold {_WEIGHTS[0]} or {_WEIGHTS[2]}"
    raise ModelError(shown(path), "is a folder, and no weights are in it", hint=hint)


def labels_of(path: Path) -> Labels | None:
    """Return the class names that lie next to weights; None where there are none."""
    config, file = _config(path), str(file_of(path))
    held, in_order = config.get("id2label"), config.get("label_names")  # transformers' and timm's
    if held is None and isinstance(in_order, list):
        held = {str(number): name for number, name in enumerate(in_order)}
    if not isinstance(held, dict) or not held:
        return None
    absent = [str(number) for number in range(len(held)) if str(number) not in held]
    if absent:
        return Labels(file, why_not=f"it names {len(held)} classes, but not number {listed(absent, 40)}")
    names = [held[str(number)] for number in range(len(held))]
    if not all(isinstance(name, str) and name.strip() for name in names):
        return Labels(file, why_not="it has a class without a name")
    if all(_PLACEHOLDER.fullmatch(name) for name in names):
        return None
    return Labels(file, tuple(names))


def fitting(labels: Labels, classes: int) -> Labels:
    """Return class names as a network with `classes` classes may have them; 0: how many it has is not known."""
    if labels.why_not or not classes or len(labels.names) == classes:
        return labels
    return Labels(labels.file, why_not=f"it names {len(labels.names)} classes, but the network has {classes}")


def check_order(path: Path, classes: Sequence[str]) -> None:
    """Refuse images whose classes are those of the weights in another order: each label would be another class's."""
    labels = labels_of(path)
    if labels:
        file = labels.file
        refuse_order(labels.names, classes, file, f"use its order: `images.names: {file}`, --names {file}")


def refuse_order(names: Sequence[str], classes: Sequence[str], file: str, hint: str) -> None:
    """Raise ModelError if the images' classes are these names of a file in another order."""
    if list(names) != list(classes) and sorted(names) == sorted(classes):
        at = next(number for number, pair in enumerate(zip(names, classes, strict=True)) if len(set(pair)) > 1)
        problem = f"names class {at} {quoted(names[at], 40)}, but that of the images is {quoted(classes[at], 40)}"
        raise ModelError(file, problem, hint=hint)


def convention_of(path: Path) -> Convention | None:
    """Return what lies next to weights about their network: `path` is the file of weights, or the folder.

    None where no `config.json` of transformers' ResNet or of timm lies there.
    """
    config = _config(path)
    if config.get("model_type") == "resnet" and "architecture" not in config:
        kind, act = config.get("layer_type", "bottleneck"), config.get("hidden_act", RELU)
        return Convention(
            "transformers",
            stride=V1 if config.get("downsample_in_bottleneck") is True else V15,
            activation=act if isinstance(act, str) else "unknown",
            first_stage_strided=config.get("downsample_in_first_stage") is True,
            bottleneck={"bottleneck": True, "basic": False}.get(kind) if isinstance(kind, str) else None,
            max_pool=True,
        )
    arch = config.get("architecture")
    return Convention("timm", arch=arch, arguments=arguments_of(config)) if isinstance(arch, str) and arch else None


def arguments_of(config: Mapping[str, _Json]) -> str:
    """Return the arguments of timm's network that change what it computes, in words; empty where there are none."""
    held = config.get("model_args") or {}
    if not isinstance(held, dict):
        return shortened(str(held), 80)
    usual = {*_USUAL_ARGUMENTS, *({"global_pool"} if held.get("global_pool") == "avg" else ())}
    return listed([f"{key} {value}" for key, value in held.items() if key not in usual], 80)


def file_of(path: Path) -> Path | None:
    """Return the `config.json` that belongs to weights: next to a file of the usual name, or in the folder."""
    if os.path.isdir(path):
        return path / CONFIG
    return path.parent / CONFIG if _NAMED_SO.fullmatch(path.name) else None


def _config(path: Path) -> Mapping[str, _Json]:
    """Return the configuration; nothing where there is none, or none that can be read."""
    file = file_of(path)
    return {} if file is None else document(file)


def document(file: Path) -> Mapping[str, _Json]:
    """Return a JSON object; an empty one where there is no such file, or it holds something else."""
    try:
        held = parse_json(read_bytes(file, _LARGEST))
    except Unreadable:
        return {}
    return held if isinstance(held, dict) else {}
