"""Which network a checkpoint holds, recognised by its tensors' names and shapes. Loads nothing.

Every network that can be named has a plan, and a plan has tensors: a network fits if it has exactly these tensors.
Where several fit, all are listed: tensors show neither a max-pool nor how a stride is smoothed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from ..errors import listed, shortened
from . import names, namings, parts, plans, pyramids, refusals, segmenters, spelled, structure, two_stages
from .parts import Parts
from .pickles import Tensor
from .plans import Plan, Shape
from .recognised import Recognised, first
from .spelled import Spelled
from .structure import Reading

_SHOWN = 3


def recognise(weights: Mapping[str, Tensor], named: str = "") -> Recognised | None:
    """Recognise a network; return None where it is not a ResNet. `named` is the architecture that the file names
    itself. Names of tensors that are known decide first; then shapes and order.
    """
    shapes = {name: each.shape for name, each in weights.items()}
    if segmenter := segmenters.recognise(shapes, named):
        return segmenter
    if detector := pyramids.recognise(shapes, named) or two_stages.recognise(shapes):
        return detector
    named = "" if names.segmenter(named) or names.detector(named) else named
    if len(bodies := parts.bodies(shapes)) > 1:
        return refusals.several({each: sum(name.startswith(each) for name in shapes) for each in bodies})
    if strange := refusals.channels_last(shapes):
        return strange
    found = parts.of(shapes)
    by_names = _by_parts(found, shapes, named) if found else None
    if by_names and by_names.archs:
        return by_names
    readings = [(one, _by_reading(one, shapes, named)) for one in structure.readings(shapes)]
    known = any(not arch.startswith(spelled.PREFIX) for _, each in readings if each for arch in each.archs)
    # A chain of convolutions has the tensors of a ResNet without projections. Names of blocks, or of a family, decide.
    fit = [each for one, each in readings if each and (known or one.grouped or one.projected or not each.archs)]
    if by_names and not all(one.biased for one, _ in readings):
        return by_names  # a head that somebody put behind a known body: without a bias it may be a cosine
    if not any(each.archs for each in fit):
        return by_names or next(iter(fit), None) or refusals.why_not(shapes)
    return namings.decided(_merged([each for each in fit if each.archs], named), shapes)


def _images(classes: int, channels: int) -> str:
    return f"{classes} classes, {channels} channel{'' if channels == 1 else 's'}"


def _merged(readings: list[Recognised], named: str) -> Recognised:
    """Return one answer of several readings of the same tensors."""
    archs = tuple(dict.fromkeys(arch for each in readings for arch in each.archs))
    first = readings[0]
    if len(archs) < sum(len(each.archs) for each in readings):  # one network, in which tensors can be exchanged
        unsure = "Which of two tensors is a shortcut is not shown: the last one of a block is taken"
        first = replace(first, around=f"{first.around}. {unsure}")
    return replace(first, archs=(named,) if named in archs else archs)


def _by_reading(reading: Reading, shapes: Mapping[str, Shape], named: str) -> Recognised | None:
    bias = "" if reading.biased else ", without a bias"
    head = f", and its classifier is {shortened(reading.head, 40)}{bias}" if reading.head else ""
    around = f"the names of its tensors are unknown: their shapes and order show the network{head}"
    if not reading.projected:
        around += ". No tensor shows whether it has shortcuts"
    found = _of_tensors(reading.held(shapes), reading.blocks, named, around, by_names=False)
    if found and found.archs and found.archs[0].startswith(spelled.PREFIX):
        found = replace(found, around=f"{around}. It is taken to have ReLU, and stages that halve the size")
    if found and reading.averaged is not None:
        # Which module of a shortcut has the convolution shows whether an average stands before it.
        return first(found, lambda arch: names.plan(arch).pooled_shortcut == reading.averaged)
    return found


def _by_parts(found: Parts, shapes: Mapping[str, Shape], named: str) -> Recognised | None:
    held = {word: shapes[name] for name, word in found.words.items()}
    blocks = _blocks(held)
    stem = plans.stem(held)
    if len(stem) != 4 or not blocks:
        return None
    if not found.head:
        return _without_head(found, shapes, held, blocks)
    return _of_tensors(held, blocks, named, _around(found), by_names=True)


def _of_tensors(
    held: Mapping[str, Shape], blocks: tuple[int, ...], named: str, around: str, *, by_names: bool
) -> Recognised | None:
    """Recognise a network by its tensors in torchvision's words."""
    held = plans.without_counters(held)
    stem, head = plans.stem(held), held["fc.weight"]
    candidates = {name: names.plan(name) for name in _candidates(held, stem, blocks)}
    archs = [name for name, plan in candidates.items() if _fits(plan, held, by_names=by_names)]
    counts = _images(head[0], stem[1])
    written_out = [each for before in (False, True) for each in spelled.of(held, blocks, before)]
    pruned = () if archs else _pruned(held, named, candidates)
    if pruned and (named in pruned or not written_out):
        count = _weights(plans.tensors(names.plan(pruned[0]), head[0], stem[1]))
        words = f"{_words(pruned[0])}, pruned to {100 * _weights(held) / count:.1f} % of its weights, {counts}"
        return Recognised(pruned, head[0], stem[1], words, around)
    if archs:
        archs.sort(key=lambda name: not names.plan(name).pooled_shortcut and len(names.plan(name).stem) > 1)
        only_averaged = all(names.plan(name).pooled_shortcut for name in archs)
        others = [each.name for each in written_out if not each.first_strided][:1] if only_averaged else []
        if not by_names:  # somebody's own code, which may differ in what tensors do not show
            others += [each.name for each in written_out if each.activation or each.halved]
        archs += [*(name for arch in archs for name in names.relatives(arch)), *others]
    else:
        archs = [each.name for each in written_out]
    if not archs:
        near = _nearest(candidates, held)
        return Recognised((), head[0], stem[1], f"{_outline(held, blocks)}, of an unknown kind{near}, {counts}")
    archs = [named] if named in archs else archs
    return Recognised(tuple(archs), head[0], stem[1], f"{_words(archs[0])}, {counts}", around)


def _fits(plan: Plan, held: Mapping[str, Shape], *, by_names: bool) -> bool:
    """Return whether these are a plan's tensors. Unknown names do not show whether a shortcut averages."""
    channels = plans.stem(held)[1]
    plan = plan if by_names else replace(plan, pooled_shortcut=False)
    return plans.tensors(plan, held["fc.weight"][0], channels) == held


def _pruned(held: Mapping[str, Shape], named: str, candidates: Mapping[str, Plan]) -> tuple[str, ...]:
    """Return whose tensors these may be, pruned: those of the network that the file names, else the smallest first."""
    classes, channels = held["fc.weight"][0], plans.stem(held)[1]
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
    plan, cifar, written_out = names.plan(arch), names.cifar(arch), names.written_out(arch)
    base, _, kind = arch.rpartition("_")
    if written_out and not arch.startswith(spelled.PREFIX):
        return f"{_words(base)}, {_KINDS[kind]}"
    if written_out:
        return _written_out(written_out)
    if cifar:
        depth, shortcut, width = cifar
        wide = "" if width == 16 else f", {width} channels wide instead of 16"
        kind = "projection shortcuts" if shortcut == "B" else "option-A shortcuts, or none: they have no weights"
        return f"ResNet-{depth}, CIFAR family{wide}, {kind}"
    family = "timm's family" if arch in names.TIMM else "torchvision's family"
    small = ", a 3×3 stem for small images" if arch in names.SMALL_IMAGES else ""
    return f"{_title(plan)}, {family}{small}{_detail(plan)}"


_KINDS = {
    "v1": "version 1: each stage's stride is in a convolution of 1×1",
    **spelled.IN_WORDS,
}


def _written_out(found: Spelled) -> str:
    plan = found.plan
    kind = "pre-activation " if plan.preactivation else ""
    widths = ", ".join(str(plan.gives(stage)) for stage in range(len(plan.blocks)))
    blocks = f"{_counted(plan.blocks)} {'bottleneck' if plan.bottleneck else 'basic'} blocks"
    details = {
        f"{len(plan.stem)} convolutions as stem": len(plan.stem) > 1,
        f"a {plan.kernel}×{plan.kernel} stem": len(plan.stem) == 1,
        f"{plan.groups} groups": plan.groups > 1,
        f"squeeze-excitation{'' if plan.attention_biased else ' without biases'}": bool(plan.attention),
        "convolutions with a bias": bool(plan.biased),
        "shortcuts without tensors": not plan.projected,
        "means before the shortcuts' convolutions": found.averaged,
        "a first stage of stride 2": found.halved,
        spelled.ACTIVATIONS.get(found.activation, ""): bool(found.activation),
    }
    shown = "".join(f", {words}" for words, holds in details.items() if holds)
    return f"a {kind}ResNet of depth {plan.depth}: {blocks} of {widths} channels{shown}"


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
    return f"a ResNet of depth {depth}: {_counted(blocks)} {kind} blocks, {width} channels in the first of them"


def _counted(blocks: tuple[int, ...]) -> str:
    return listed(list(map(str, blocks)), 40) if sum(blocks) > 1 else "one"


def _nearest(candidates: Mapping[str, Plan], held: Mapping[str, Shape]) -> str:
    """Name the most similar known network and where it differs; empty where most of its tensors differ."""
    classes, channels = held["fc.weight"][0], plans.stem(held)[1]
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


def _without_head(
    found: Parts, shapes: Mapping[str, Shape], held: Mapping[str, Shape], blocks: tuple[int, ...]
) -> Recognised:
    """Return why a body whose classifier is not one Linear is refused."""
    words = _outline(held, blocks) + (f" under {shortened(found.body, 40)}*" if found.body else "")
    hint = refusals.fastai(shapes, found.others, blocks, "layer1.0.conv3.weight" in held)
    if not found.others:
        words, hint = f"{words}, without a classifier", refusals.HEADLESS
    elif hint:
        words += ", with fastai's head of two linear layers: it is not built here"
    else:
        shown = [f"{shortened(name, 40)} ({_product(shapes[name])})" for name in found.others[:_SHOWN]]
        words += (
            f", and next to it {listed(shown, count=len(found.others))}: the classifier is not a single "
            "Linear with a bias, and the tensors do not show what comes between"
        )
    return Recognised((), 0, plans.stem(held)[1], words, hint=hint)
