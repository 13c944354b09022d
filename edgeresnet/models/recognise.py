"""Which network a checkpoint holds, told from its tensors' names and shapes. Loads nothing; a guess is told as one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .shapes import Tensor

# Blocks per stage → depth, by whether blocks are bottlenecks.
_DEPTHS: dict[tuple[bool, tuple[int, ...]], int] = {
    (False, (2, 2, 2, 2)): 18,
    (False, (3, 4, 6, 3)): 34,
    (True, (3, 4, 6, 3)): 50,
    (True, (3, 4, 23, 3)): 101,
    (True, (3, 8, 36, 3)): 152,
}
# A bottleneck's width in the first stage, and the inputs that each of its 3×3 filters sees → name by depth.
_WIDTHS = {
    (64, 64): "resnet{depth}",
    (128, 128): "wide_resnet{depth}_2",
    (128, 4): "resnext{depth}_32x4d",
    (256, 8): "resnext{depth}_32x8d",
    (256, 4): "resnext{depth}_64x4d",
}


@dataclass(frozen=True)
class Recognised:
    """`archs` are those that fit, the likeliest first; empty where this version builds none of them."""

    archs: tuple[str, ...]
    classes: int
    channels: int
    words: str  # for a person


def recognise(weights: Mapping[str, Tensor]) -> Recognised | None:
    """None for what is no ResNet that is known here."""
    stem, head = weights.get("conv1.weight"), weights.get("linear.weight") or weights.get("fc.weight")
    blocks = _blocks(weights)
    if stem is None or head is None or len(stem.shape) != 4 or len(head.shape) != 2 or not blocks:
        return None
    family = _cifar if len(blocks) == 3 else _imagenet if len(blocks) == 4 else None
    return family(weights, stem.shape, head.shape, blocks) if family else None


def _blocks(weights: Mapping[str, Tensor]) -> tuple[int, ...]:
    """How many blocks each stage has; empty where they are not numbered as stages are."""
    found: dict[int, set[int]] = {}
    for name in weights:
        numbered = re.fullmatch(r"layer(\d+)\.(\d+)\.conv1\.weight", name)
        if numbered:
            found.setdefault(int(numbered[1]), set()).add(int(numbered[2]))
    whole = sorted(found) == list(range(1, len(found) + 1)) and all(
        sorted(blocks) == list(range(len(blocks))) for blocks in found.values()
    )
    return tuple(len(found[stage]) for stage in sorted(found)) if whole else ()


def _cifar(
    weights: Mapping[str, Tensor], stem: tuple[int, ...], head: tuple[int, ...], blocks: tuple[int, ...]
) -> Recognised | None:
    if stem[2:] != (3, 3) or len(set(blocks)) != 1 or head[1] != 4 * stem[0]:
        return None
    depth, projected = 6 * blocks[0] + 2, any(".shortcut." in name for name in weights)
    kind = "projection shortcuts" if projected else "option-A shortcuts, or none: they have no weights"
    usual = stem[0] == 16 and "linear.weight" in weights
    width = "" if stem[0] == 16 else f", {stem[0]} channels wide instead of 16"
    archs = (f"cifar_resnet{depth}b",) if projected else (f"cifar_resnet{depth}", f"cifar_plain{depth}")
    words = f"ResNet-{depth}, CIFAR family{width}, {kind}, {head[0]} classes, {_channels(stem[1])}"
    return Recognised(archs if usual else (), head[0], stem[1], words)


def _imagenet(
    weights: Mapping[str, Tensor], stem: tuple[int, ...], head: tuple[int, ...], blocks: tuple[int, ...]
) -> Recognised | None:
    bottleneck = "layer1.0.conv3.weight" in weights
    depth = _DEPTHS.get((bottleneck, blocks))
    middle = weights["layer1.0.conv2.weight"].shape if "layer1.0.conv2.weight" in weights else ()
    if depth is None or len(middle) != 4:
        return None
    name = _WIDTHS.get((middle[0], middle[1]))
    usual = stem[0] == 64 and stem[2:] == (7, 7) and "fc.weight" in weights and (bottleneck or middle[0] == 64)
    arch = name.format(depth=depth) if name and usual and (bottleneck or name.startswith("resnet")) else None
    title = _title(arch, depth) if arch else f"blocks like ResNet-{depth}'s, but of a kind of its own"
    words = f"{title}, torchvision's family, {head[0]} classes, {_channels(stem[1])}"
    return Recognised((arch,) if arch else (), head[0], stem[1], words)


def _title(arch: str, depth: int) -> str:
    kind = {"wide": "Wide-ResNet", "resn": "ResNet"}[arch[:4]] if not arch.startswith("resnext") else "ResNeXt"
    detail = arch.split("_", 1)[1] if arch.startswith("resnext") else ""
    return f"{kind}-{depth}" + (f" {detail}" if detail else "")


def _channels(count: int) -> str:
    return f"{count} channel" + ("" if count == 1 else "s")
