"""Which network a checkpoint holds, recognised by its tensors' names and shapes. Loads nothing.

Every network that can be named has a plan, and a plan has tensors: a network fits if it has exactly these tensors.
Where several fit, all are listed: tensors show neither a max-pool nor how a stride is smoothed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..errors import listed, shortened
from . import names, parts, plans
from .parts import Parts
from .pickles import Tensor
from .plans import Plan, Shape

_SHOWN = 3


@dataclass(frozen=True)
class Recognised:
    """What a file holds. `archs` are those that fit, the likeliest first; empty where none that can be named does."""

    archs: tuple[str, ...]
    classes: int
    channels: int
    words: str  # for a person
    around: str = ""  # what stands around the network in the file, and how it is read


def recognise(weights: Mapping[str, Tensor], named: str = "") -> Recognised | None:
    """Recognise a network; return None where it is not a known ResNet. `named` is the architecture that the file names
    itself.
    """
    shapes = {name: each.shape for name, each in weights.items()}
    if len(bodies := parts.bodies(shapes)) > 1:
        where = " and ".join(f"{shortened(prefix, 40)}*" for prefix in list(bodies)[:_SHOWN])
        return Recognised((), 0, 0, f"{len(bodies)} ResNets, {where}: the tensors do not show which one is meant")
    found = parts.of(shapes)
    held = {found.words[name]: each.shape for name, each in weights.items() if name in found.words} if found else {}
    stem, blocks = held.get("conv1.weight", held.get("conv1.0.weight", ())), _blocks(held)
    if found is None or len(stem) != 4 or len(blocks) not in (3, 4):
        return None
    if not found.head:
        return Recognised((), 0, stem[1], f"{_outline(held, blocks)}{_strange_head(found, weights)}")
    held = {name: shape for name, shape in held.items() if not name.endswith(plans.COUNTER)}
    head = held["fc.weight"]
    candidates = {name: names.plan(name) for name in _candidates(held, stem, blocks)}
    archs = [name for name, plan in candidates.items() if plans.tensors(plan, head[0], stem[1]) == held]
    counts = f"{head[0]} classes, {stem[1]} channel{'' if stem[1] == 1 else 's'}"
    if not archs and (pruned := _pruned(held, named, candidates)):
        count = _weights(plans.tensors(names.plan(pruned[0]), head[0], stem[1]))
        words = f"{_words(pruned[0])}, pruned to {100 * _weights(held) / count:.1f} % of its weights, {counts}"
        return Recognised(pruned, head[0], stem[1], words, _around(found))
    if not archs:
        near = _nearest(candidates, held)
        return Recognised((), head[0], stem[1], f"{_outline(held, blocks)}, of an unknown kind{near}, {counts}")
    archs = [named] if named in archs else archs
    return Recognised(tuple(archs), head[0], stem[1], f"{_words(archs[0])}, {counts}", _around(found))


def _pruned(held: Mapping[str, Shape], named: str, candidates: Mapping[str, Plan]) -> tuple[str, ...]:
    """Return whose tensors these may be, pruned: those of the network that the file names, else the smallest first."""
    classes, channels = held["fc.weight"][0], held.get("conv1.weight", held.get("conv1.0.weight", (0, 0)))[1]
    every = {re.sub(r"_w\d+$", "", name): None for name in candidates} | dict.fromkeys(candidates)
    if named and names.is_known(named) and sum(names.plan(named).blocks) <= len(held):
        every = {named: None, **every}
    wanted = {name: plans.tensors(names.plan(name), classes, channels) for name in every}
    fit = [name for name, tensors in wanted.items() if plans.is_narrower(tensors, held)]
    return (named,) if named in fit else tuple(sorted(fit, key=lambda name: _weights(wanted[name])))


def _weights(tensors: Mapping[str, Shape]) -> int:
    return sum(math.prod(shape) for name, shape in tensors.items() if not name.endswith(("mean", "var")))


def _around(found: Parts) -> str:
    """Describe what stands around the network; empty where it stands by itself."""
    if found.usual:
        return ""
    of_body = f" of {shortened(found.body, 40)}*" if found.body else ""
    return (
        f"{shortened(found.head, 40)} is used as the classifier{of_body}: the tensors show only averaging and "
        "this Linear after the last block"
    )


def _blocks(held: Mapping[str, Shape]) -> tuple[int, ...]:
    """Return how many blocks each stage has; empty where they are not numbered as stages are."""
    found: dict[int, set[int]] = {}
    for name in held:
        numbered = re.fullmatch(r"layer(\d{1,4})\.(\d{1,4})\.conv1\.weight", name)
        if numbered:
            found.setdefault(int(numbered[1]), set()).add(int(numbered[2]))
    complete = sorted(found) == list(range(1, len(found) + 1)) and all(
        sorted(blocks) == list(range(len(blocks))) for blocks in found.values()
    )
    return tuple(len(found[stage]) for stage in sorted(found)) if complete else ()


def _candidates(held: Mapping[str, Shape], stem: Shape, blocks: tuple[int, ...]) -> Iterator[str]:
    if len(blocks) == 3:
        depth, width = 6 * blocks[0] + 2, "" if stem[0] == 16 else f"_w{stem[0]}"
        projected = any(".downsample." in name for name in held)
        kinds = (f"resnet{depth}b",) if projected else (f"resnet{depth}", f"plain{depth}")
        yield from filter(names.is_known, (f"cifar_{kind}{width}" for kind in kinds))
        return
    bottleneck = "layer1.0.conv3.weight" in held
    for name in (*names.TORCHVISION, *names.SMALL_IMAGES, *names.TIMM):
        plan = names.plan(name)
        if (plan.blocks, plan.bottleneck) == (blocks, bottleneck):
            yield name


def _words(arch: str) -> str:
    plan, cifar = names.plan(arch), names.cifar(arch)
    if cifar:
        depth, shortcut, width = cifar
        wide = "" if width == 16 else f", {width} channels wide instead of 16"
        kind = "projection shortcuts" if shortcut == "B" else "option-A shortcuts, or none: they have no weights"
        return f"ResNet-{depth}, CIFAR family{wide}, {kind}"
    family = "timm's family" if arch in names.TIMM else "torchvision's family"
    small = ", a 3×3 stem for small images" if arch in names.SMALL_IMAGES else ""
    return f"{_title(plan)}, {family}{small}{_detail(plan)}"


def _title(plan: Plan) -> str:
    kind = "ResNeXt" if plan.groups > 1 else "ResNet"
    wide = "Wide-" if plan.groups == 1 and plan.group_width > 64 else ""
    attention = {"": "", "eca": "ECA-"}.get(plan.attention, "SE-")
    grouped = f" {plan.groups}x{plan.group_width}d" if plan.groups > 1 else ""
    return f"{attention}{wide}{kind}-{plan.depth}{grouped}"


def _detail(plan: Plan) -> str:
    """Describe what it has that torchvision's networks do not have."""
    details = {
        f"a stem of three convolutions ({', '.join(map(str, plan.stem))})": len(plan.stem) > 1,
        "a convolution for the max-pool": plan.convolved_pool,
        "averaged shortcuts": plan.pooled_shortcut,
        "group normalisation": not plan.batch_norm,
    }
    return "".join(f", {words}" for words, holds in details.items() if holds)


def _outline(held: Mapping[str, Shape], blocks: tuple[int, ...]) -> str:
    bottleneck = "layer1.0.conv3.weight" in held
    depth = Plan(blocks, bottleneck).depth
    width = (held.get(f"layer1.0.{'conv3' if bottleneck else 'conv2'}.weight") or (0,))[0]
    kind = "bottleneck" if bottleneck else "basic"
    return (
        f"a ResNet of depth {depth}: {', '.join(map(str, blocks))} {kind} blocks, {width} channels in the first of them"
    )


def _nearest(candidates: Mapping[str, Plan], held: Mapping[str, Shape]) -> str:
    """Name the most similar known network and where it differs; empty where most of its tensors differ."""
    classes, channels = held["fc.weight"][0], held.get("conv1.weight", held.get("conv1.0.weight", (0, 0)))[1]
    differing = {}
    for name, plan in candidates.items():
        wanted = plans.tensors(plan, classes, channels)
        differing[name] = [each for each in sorted({*wanted, *held}) if wanted.get(each) != held.get(each)]
    if not differing:
        return ""
    name = min(differing, key=lambda each: len(differing[each]))
    wanted, different = plans.tensors(candidates[name], classes, channels), differing[name]
    if 2 * len(different) > len(wanted):
        return ""
    shown = [_difference(each, held.get(each), wanted.get(each)) for each in different[:_SHOWN]]
    more = f" and {len(different) - _SHOWN} more" if len(different) > _SHOWN else ""
    return f": like {name}, but {'; '.join(shown)}{more}"


def _difference(name: str, here: Shape | None, wanted: Shape | None) -> str:
    name = shortened(name, 40)
    if here is None:
        return f"without {name}"
    return (
        f"with {name} ({_product(here)})" if wanted is None else f"{name} is {_product(here)}, not {_product(wanted)}"
    )


def _product(shape: Shape) -> str:
    return shortened("×".join(map(str, shape)), 40)


def _strange_head(found: Parts, weights: Mapping[str, Tensor]) -> str:
    under = f" under {shortened(found.body, 40)}*" if found.body else ""
    if not found.others:
        return f"{under}, without a classifier"
    shown = [f"{shortened(name, 40)} ({_product(weights[name].shape)})" for name in found.others[:_SHOWN]]
    return (
        f"{under}, and next to it {listed(shown, count=len(found.others))}: the classifier is not a single "
        "Linear with a bias, and the tensors do not show what comes between"
    )
