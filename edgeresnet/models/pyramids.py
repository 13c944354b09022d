"""Networks that find boxes, recognised by their tensors: heads behind a pyramid of features and the body of a ResNet.

A network fits if it has exactly the tensors of a name, or fewer channels in them. Older versions of torchvision have
other names for the pyramid and the heads. Loads nothing, and imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from . import names, plans
from .plans import Shape
from .recognised import Recognised

BODY, PYRAMID = "backbone.body.", "backbone.fpn."
_SCORES, _OFFSETS = "head.classification_head.", "head.regression_head."
_FEATURES = 256  # channels of torchvision's pyramid
_ANCHORS, _SMALL_ANCHORS = 9, 6  # in a cell; `anchors`, which needs numpy, has their sizes
_OLDER = (
    (re.compile(r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)"), r"\1.0.\2"),
    (re.compile(r"(rpn\.head\.conv)\.(weight|bias)"), r"\1.0.0.\2"),
)
_OLDER_HEAD = re.compile(r"(head\.(?:classification|regression)_head\.conv)\.([0246])\.(weight|bias)")


def current(name: str) -> str:
    """Return the name that today's torchvision gives a tensor of a detector: before version 0.13 there were others."""
    for older, newer in _OLDER:
        if older.fullmatch(name):
            return older.sub(newer, name)
    if found := _OLDER_HEAD.fullmatch(name):
        return f"{found[1]}.{int(found[2]) // 2}.0.{found[3]}"
    return name


def adds_nothing_to_variances(tensors: Collection[str]) -> bool:
    """Return whether a detector's normalisations divide by the variance alone, as torchvision's published ones do.

    Those have the older names, and no counters: nothing that trains wrote them.
    """
    older = any(current(name) != name for name in tensors)
    return older and not any(name.endswith(plans.COUNTER) for name in tensors)


def recognise(shapes: Mapping[str, Shape], named: str = "") -> Recognised | None:
    """Recognise such a network; return None for others. `named` is the architecture that the file names itself."""
    held = plans.without_counters({current(name): shape for name, shape in shapes.items()})
    scores, offsets = held.get(f"{_SCORES}cls_logits.weight", ()), held.get(f"{_OFFSETS}bbox_reg.weight", ())
    stem = held.get(f"{BODY}conv1.weight", ())
    if {len(scores), len(offsets), len(stem)} != {4} or offsets[0] < 4:
        return None
    each, channels = offsets[0] // 4, stem[1]
    classes = scores[0] // each
    counts = f"{classes} classes, {channels} channel{'' if channels == 1 else 's'}"
    wanted = {arch: tensors(arch, classes, channels) for arch in _candidates(held, stem, named)}
    same = next((arch for arch, one in wanted.items() if one == held), None)
    found = same or next((arch for arch, one in wanted.items() if plans.is_narrower(one, held)), None)
    if found is None:
        anchors_of = f"a RetinaNet with {each} anchors in a cell, {counts}, that has no name here"
        hint = "name your own function that returns it as `model.arch`, and its anchors as `model.anchors`"
        return Recognised((), classes, channels, anchors_of, hint=hint)
    return Recognised((found,), classes, channels, f"{_words(found)}{'' if same else ', pruned'}, {counts}")


def tensors(arch: str, classes: int, channels: int) -> dict[str, Shape]:
    """Return the names and shapes of all tensors of a RetinaNet, in its order, without counters."""
    found = body(arch, channels)
    if cifar := names.cifar(_body_of(arch)):
        width = cifar[2]
        found |= dict(pyramid((2 * width, 4 * width), 2 * width))
        found |= dict(_convolved(f"{PYRAMID}extra_blocks.p6", (2 * width, 2 * width, 3, 3)))
        return found | dict(_heads(2 * width, 2, _SMALL_ANCHORS, classes))
    grouped = arch.endswith("_v2")
    found |= dict(pyramid((512, 1024, 2048), _FEATURES))
    found |= dict(_convolved(f"{PYRAMID}extra_blocks.p6", (_FEATURES, 2048 if grouped else _FEATURES, 3, 3)))
    found |= dict(_convolved(f"{PYRAMID}extra_blocks.p7", (_FEATURES, _FEATURES, 3, 3)))
    return found | dict(_heads(_FEATURES, 4, _ANCHORS, classes, grouped=grouped))


def body(arch: str, channels: int) -> dict[str, Shape]:
    """Return the tensors of a detector's body."""
    name = _body_of(arch)
    found = plans.tensors(names.plan(name), 1, channels)
    found = {f"{BODY}{each}": shape for each, shape in found.items() if not each.startswith("fc.")}
    if names.cifar(name) is None:
        return found
    return {each.replace(".downsample.", ".shortcut."): shape for each, shape in found.items()}


def pyramid(inputs: tuple[int, ...], features: int) -> Iterator[tuple[str, Shape]]:
    """Yield the tensors of a pyramid of features, without its extra levels."""
    for at, each in enumerate(inputs):
        yield from _convolved(f"{PYRAMID}inner_blocks.{at}.0", (features, each, 1, 1))
    for at in range(len(inputs)):
        yield from _convolved(f"{PYRAMID}layer_blocks.{at}.0", (features, features, 3, 3))


def _body_of(arch: str) -> str:
    parsed = names.detector(arch)
    assert parsed is not None, arch
    return parsed[1]


def _heads(
    features: int, convolutions: int, each: int, classes: int, *, grouped: bool = False
) -> Iterator[tuple[str, Shape]]:
    for head, last, numbers in ((_SCORES, "cls_logits", classes), (_OFFSETS, "bbox_reg", 4)):
        for at in range(convolutions):
            shape = (features, features, 3, 3)
            yield from [(f"{head}conv.{at}.0.weight", shape)] if grouped else _convolved(f"{head}conv.{at}.0", shape)
            if grouped:  # group normalisation
                yield from ((f"{head}conv.{at}.1.{part}", (features,)) for part in ("weight", "bias"))
        yield from _convolved(f"{head}{last}", (each * numbers, features, 3, 3))


def _convolved(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _candidates(held: Mapping[str, Shape], stem: Shape, named: str) -> Iterator[str]:
    """Yield the names whose tensors these may be, the one that the file names first."""
    if names.detector(named) and named not in names.TWO_STAGE:
        yield named
    blocks = sum(name.endswith(".conv1.weight") for name in held if name.startswith(f"{BODY}layer1."))
    if f"{BODY}layer4.0.conv1.weight" in held:
        yield from names.TORCHVISION_DETECTORS
    elif blocks:
        projected = "b" if f"{BODY}layer2.0.shortcut.0.weight" in held else ""
        depth = f"{names.RETINANET}_cifar_resnet{6 * blocks + 2}{projected}"
        yield from filter(names.detector, (f"{depth}_w{stem[0]}", depth))


def _words(arch: str) -> str:
    name = _body_of(arch)
    plan, version = names.plan(name), ", version 2" if arch.endswith("_v2") else ""
    family = "CIFAR family" if names.cifar(name) else "torchvision's family"
    return f"RetinaNet for detection{version}, with the body of ResNet-{plan.depth}, {family}"
