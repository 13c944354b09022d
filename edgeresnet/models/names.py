"""Every architecture that can be named, and how it is built. Imports neither torch nor timm: plans ask here.

A test compares the lists and each network's plan with torchvision and timm themselves.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Collection
from functools import cache

from . import spelled
from .plans import Plan
from .spelled import Spelled

# `cifar_resnet20` has option-A shortcuts (no parameters, as in the paper), `…b` projections, `cifar_plain20` none. Any
# depth of 6n+2 can be named, and `_w32` for another width than the paper's 16; these are the usual ones.
CIFAR = tuple(
    name
    for depth in (8, 20, 32, 44, 56, 110)
    for name in (f"cifar_resnet{depth}", f"cifar_resnet{depth}b", f"cifar_plain{depth}")
)
TORCHVISION = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *("wide_resnet50_2", "wide_resnet101_2"),
    *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
)
# The same blocks for small images: a 3×3 stem of stride 1, without the max-pool, or with it.
_SMALL, _SMALL_POOLED = "_3x3", "_3x3_maxpool"
SMALL_IMAGES = tuple(name + kind for name in TORCHVISION for kind in (_SMALL, _SMALL_POOLED))
# What timm's ResNet class builds and torchvision has not; but not what timm pruned, whose widths follow no rule.
TIMM = (
    *("resnet10t", "resnet14t", "resnet18d", "resnet26", "resnet26d", "resnet26t", "resnet34d"),
    *("resnet50_gn", "resnet50c", "resnet50d", "resnet50s", "resnet50t", "resnet101c", "resnet101d", "resnet101s"),
    *("resnet152c", "resnet152d", "resnet152s", "resnet200", "resnet200d"),
    *("resnetaa34d", "resnetaa50", "resnetaa50d", "resnetaa101d"),
    *("resnetblur18", "resnetblur50", "resnetblur50d", "resnetblur101d"),
    *("resnetrs50", "resnetrs101", "resnetrs152", "resnetrs200", "resnetrs270", "resnetrs350", "resnetrs420"),
    *("resnext50d_32x4d", "resnext101_32x4d", "resnext101_32x16d", "resnext101_32x32d"),
    *("ecaresnet26t", "ecaresnet50d", "ecaresnet50t", "ecaresnet101d", "ecaresnet200d", "ecaresnet269d"),
    *("ecaresnetlight", "ecaresnext26t_32x4d", "ecaresnext50t_32x4d"),
    *("seresnet18", "seresnet34", "seresnet50", "seresnet50t", "seresnet101", "seresnet152", "seresnet152d"),
    *("seresnet200d", "seresnet269d", "seresnetaa50d", "seresnext26d_32x4d", "seresnext26t_32x4d"),
    *("seresnext50_32x4d", "seresnext101_32x4d", "seresnext101_32x8d", "seresnext101_64x4d", "seresnext101d_32x8d"),
    *("seresnextaa101d_32x8d", "seresnextaa201d_32x8d", "senet154"),
)
# A head that gives a class to each pixel, behind the body of a ResNet: torchvision's, and the same for small images.
_HEADS = ("fcn", "deeplabv3")
SEGMENTERS = (
    *(f"{head}_{body}" for head in _HEADS for body in ("resnet50", "resnet101")),
    *(f"{head}_cifar_resnet{depth}" for head in _HEADS for depth in (8, 20, 32, 44, 56)),
)
# Heads that give classes and offsets to anchors, behind a pyramid of features: torchvision's, and for small images.
RETINANET = "retinanet"
TORCHVISION_DETECTORS = ("retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2")
TWO_STAGE = ("fasterrcnn_resnet50_fpn",)  # their second stage looks at each box that the first one proposes
DETECTORS = (
    *TORCHVISION_DETECTORS,
    *TWO_STAGE,
    *(f"{RETINANET}_cifar_resnet{depth}" for depth in (8, 20, 32, 44, 56)),
)
_BASIC = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
_BOTTLENECK = {
    14: (1, 1, 1, 1), 26: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3),
    201: (3, 24, 36, 4), 269: (3, 30, 48, 8), 270: (4, 29, 53, 4), 350: (4, 36, 72, 4), 420: (4, 44, 87, 4),
}  # fmt: skip
_STEMS = {"c": (32, 32, 64), "d": (32, 32, 64), "s": (64, 64, 128), "t": (24, 32, 64)}
_NAME = re.compile(
    r"(?P<attention>se|eca)?res(?:net|next)(?P<kind>aa|blur|rs)?(?P<depth>\d+)(?P<stem>[cdst])?(?P<groupnorm>_gn)?"
    r"(?:_(?P<groups>\d+)x(?P<width>\d+)d)?"
)
_WIDE = re.compile(r"wide_resnet(\d+)_2")
_CIFAR = re.compile(r"cifar_(?P<kind>resnet|plain)(?P<depth>\d{1,4})(?P<projected>b?)(?:_w(?P<width>\d{1,5}))?")


def is_known(arch: str) -> bool:
    known = arch in TORCHVISION or arch in SMALL_IMAGES or arch in TIMM
    return known or any(each(arch) is not None for each in (cifar, written_out, segmenter, detector))


def task_of(arch: str) -> str | None:
    """Return the task of a known network; None for a factory, whose code decides it."""
    if detector(arch):
        return "detection"
    return "segmentation" if segmenter(arch) else "classification" if is_known(arch) else None


def missing_library(arch: str) -> str:
    """Return timm, where a network needs it and it is not installed."""
    return "timm" if arch in TIMM and importlib.util.find_spec("timm") is None else ""


def everything() -> tuple[str, ...]:
    """Return every classifier's name, the likeliest first where tensors cannot tell two networks apart."""
    return (*CIFAR, *TORCHVISION, *SMALL_IMAGES, *TIMM)


def cifar(arch: str) -> tuple[int, str, int] | None:
    """Return depth, shortcut ("A", "B", "none") and width of a network of the paper's CIFAR family."""
    parsed = _CIFAR.fullmatch(arch)
    if parsed is None or int(parsed["depth"]) < 8 or int(parsed["depth"]) % 6 != 2:
        return None
    if (parsed["kind"] == "plain" and parsed["projected"]) or parsed["width"] in ("0", "16"):
        return None
    shortcut = "none" if parsed["kind"] == "plain" else "B" if parsed["projected"] else "A"
    return int(parsed["depth"]), shortcut, int(parsed["width"] or 16)


def segmenter(arch: str) -> tuple[str, str] | None:
    """Return the head and the body of a network that gives a class to each pixel: "fcn", "resnet50"."""
    head, _, body = arch.partition("_")
    known = arch in SEGMENTERS or (cifar(body) is not None and body.startswith("cifar_resnet"))
    return (head, body) if head in _HEADS and known else None


def detector(arch: str) -> tuple[str, str] | None:
    """Return the kind and the body of a network that finds boxes: "retinanet", "resnet50"."""
    kind, _, body = arch.partition("_")
    if arch in (*TORCHVISION_DETECTORS, *TWO_STAGE):
        return kind, body.partition("_")[0]
    known = kind == RETINANET and body.startswith("cifar_resnet") and cifar(body) is not None
    return (kind, body) if known else None


def small_images(arch: str) -> tuple[str, bool]:
    """Return torchvision's network whose blocks it has, and whether it keeps the max-pool."""
    return (arch.removesuffix(_SMALL_POOLED), True) if arch.endswith("_maxpool") else (arch.removesuffix(_SMALL), False)


@cache
def written_out(arch: str) -> Spelled | None:
    """Return the network of a name that is outside the lists; also `resnet50_v1` and `cifar_resnet20_appended`.

    Version 1 of a bottleneck has its stride in the first convolution. The paper's own family pads on both sides.
    """
    base, _, kind = arch.rpartition("_")
    if kind == "v1" and base in TORCHVISION and plan(base).bottleneck:
        return Spelled(plan(base), 2, pooled=True, first_strided=True)
    of_paper = cifar(base) if kind in (spelled.APPENDED, spelled.AVERAGED) else None
    if of_paper and of_paper[1] == "A":
        return Spelled(plan(base), 1, pooled=False, shortcut=kind)
    return spelled.parsed(arch)


def unlike(arch: str, other: str) -> str:
    """Return how another network differs, in words where both names are long; else its name."""
    one, two = _build(arch), spelled.parsed(other)
    return f"one with {words}" if one and two and (words := spelled.unlike(one, two)) else other


def neighbours(arch: str, tried: Collection[str], things: int = 1) -> tuple[str, ...]:
    """Return the networks that differ from a known one in so few things that tensors do not show; but those that were
    tried, under whichever name.
    """
    build = _build(arch)
    known = {each.name for each in map(_build, tried) if each}
    found = [build] if build else []
    for _ in range(things):
        found = [other for each in found for other in spelled.neighbours(each)]
    every = dict.fromkeys(each.name for each in found)
    return tuple(name for name in every if name not in known and spelled.parsed(name))


def is_of_unknown_code(arch: str) -> bool:
    """Return whether a network has no short name: then its tensors were named by an unknown code."""
    return arch.startswith(spelled.PREFIX)


def _build(arch: str) -> Spelled | None:
    """Return what the tensors of a known network do not show; None for timm's."""
    if found := written_out(arch):
        return found
    if of_paper := cifar(arch):
        shortcut = {"A": spelled.PADDED, "none": spelled.NONE}.get(of_paper[1], "")
        return Spelled(plan(arch), 1, pooled=False, shortcut=shortcut)
    if arch in SMALL_IMAGES:
        return Spelled(plan(arch), 1, pooled=small_images(arch)[1])
    return Spelled(plan(arch), 2, pooled=True) if arch in TORCHVISION else None


def relatives(arch: str) -> tuple[str, ...]:
    """Return the names of networks that have the same tensors as a known one, and are outside the lists."""
    return tuple(name for kind in ("v1", spelled.APPENDED, spelled.AVERAGED) if written_out(name := f"{arch}_{kind}"))


@cache
def plan(arch: str) -> Plan:
    """Return the plan of a known network."""
    outside = written_out(arch)
    if outside:
        return outside.plan
    of_paper = cifar(arch)
    if of_paper:
        depth, shortcut, width = of_paper
        blocks = ((depth - 2) // 6,) * 3
        return Plan(blocks, width=width, stem=(width,), kernel=3, projected=shortcut == "B")
    if arch in SMALL_IMAGES:
        base = plan(small_images(arch)[0])
        return Plan(**{**vars(base), "kernel": 3})
    if arch == "senet154":
        return Plan(
            _BOTTLENECK[152], True, groups=64, group_width=4, stem=(64, 64, 128), shortcut_kernel=3, first_narrowed=2,
            attention="se16",
        )  # fmt: skip
    if arch == "ecaresnetlight":
        return Plan((1, 1, 11, 3), True, pooled_shortcut=True, attention="eca")
    wide = _WIDE.fullmatch(arch)
    if wide:
        return Plan(_BOTTLENECK[int(wide[1])], True, group_width=128)
    return _by_rule(arch)


def _by_rule(arch: str) -> Plan:
    parsed = _NAME.fullmatch(arch)
    assert parsed is not None, arch
    depth, scaled = int(parsed["depth"]), parsed["kind"] == "rs"
    stem = "s" if depth == 201 else "d" if scaled else parsed["stem"]
    return Plan(
        _BASIC.get(depth) or _BOTTLENECK[depth],
        depth not in _BASIC,
        groups=int(parsed["groups"] or 1),
        group_width=int(parsed["width"] or 64),
        stem=_STEMS.get(stem, (64,)),
        convolved_pool=scaled,
        pooled_shortcut=scaled or parsed["stem"] in ("d", "t"),
        attention={"se": "se16", "eca": "eca"}.get(parsed["attention"], "se4" if scaled else ""),
        batch_norm=not parsed["groupnorm"],
    )
