"""Networks that give a class to each pixel, recognised by their tensors: a head behind the body of a ResNet.

A network fits if it has exactly the tensors of a name, or fewer channels in them. Loads nothing, and imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from . import names, plans
from .plans import Shape
from .recognised import Recognised

AUXILIARY = "aux_classifier."  # torchvision's second head, which serves training alone
_BODY, _HEAD = "backbone.", "classifier."
_LAST = f"{_HEAD}4.weight"  # the convolution that gives the classes
_TITLES = {"fcn": "FCN", "deeplabv3": "DeepLabV3"}


def without_auxiliary(shapes: Mapping[str, object]) -> list[str]:
    """Return the names of the tensors that do not belong to a second head."""
    return [name for name in shapes if not name.startswith(AUXILIARY)]


def recognise(shapes: Mapping[str, Shape], named: str = "") -> Recognised | None:
    """Recognise such a network; return None for others. `named` is the architecture that the file names itself."""
    held = plans.without_counters({name: shapes[name] for name in without_auxiliary(shapes)})
    last, stem = held.get(_LAST, ()), held.get(f"{_BODY}conv1.weight", ())
    if len(last) != 4 or len(stem) != 4:
        return None
    classes, channels = last[0], stem[1]
    wanted = {arch: tensors(arch, classes, channels) for arch in _candidates(held, stem, named)}
    same = next((arch for arch, each in wanted.items() if each == held), None)
    found = same or next((arch for arch, each in wanted.items() if plans.is_narrower(each, held)), None)
    if found is None:
        return None
    pruned = "" if same else ", pruned"
    second = "; its auxiliary head is left out" if any(each.startswith(AUXILIARY) for each in shapes) else ""
    counts = f"{classes} classes, {channels} channel{'' if channels == 1 else 's'}"
    return Recognised((found,), classes, channels, f"{_words(found)}{pruned}, {counts}{second}")


def tensors(arch: str, classes: int, channels: int) -> dict[str, Shape]:
    """Return the names and shapes of all tensors of such a network, in its order, without counters."""
    parsed = names.segmenter(arch)
    assert parsed is not None, arch
    head, body = parsed
    plan, cifar = names.plan(body), names.cifar(body)
    found = plans.tensors(plan, classes, channels)
    held = {f"{_BODY}{name}": shape for name, shape in found.items() if not name.startswith("fc.")}
    if cifar:
        held = {name.replace(".downsample.", ".shortcut."): shape for name, shape in held.items()}
    features = plan.features
    width = features if cifar else features // 4 if head == "fcn" else 256
    return (
        held | dict(_fcn(features, width) if head == "fcn" else _deeplab(features, width)) | _classifier(width, classes)
    )


def _candidates(held: Mapping[str, Shape], stem: Shape, named: str) -> Iterator[str]:
    """Yield the names whose tensors these may be, the one that the file names first."""
    head = "deeplabv3" if f"{_HEAD}0.project.0.weight" in held else "fcn"
    if names.segmenter(named):
        yield named
    blocks = sum(name.endswith(".conv1.weight") for name in held if name.startswith(f"{_BODY}layer1."))
    if f"{_BODY}layer4.0.conv1.weight" in held:
        yield from (arch for arch in names.SEGMENTERS if arch.startswith(head) and "cifar" not in arch)
    elif blocks:
        projected = "b" if f"{_BODY}layer2.0.shortcut.0.weight" in held else ""
        depth = f"{head}_cifar_resnet{6 * blocks + 2}{projected}"
        yield from filter(names.segmenter, (f"{depth}_w{stem[0]}", depth))


def _classifier(width: int, classes: int) -> dict[str, Shape]:
    return {_LAST: (classes, width, 1, 1), f"{_HEAD}4.bias": (classes,)}


def _fcn(features: int, width: int) -> Iterator[tuple[str, Shape]]:
    yield from _convolved(f"{_HEAD}0", f"{_HEAD}1", (width, features, 3, 3))


def _deeplab(features: int, width: int) -> Iterator[tuple[str, Shape]]:
    branches = f"{_HEAD}0.convs."
    yield from _convolved(f"{branches}0.0", f"{branches}0.1", (width, features, 1, 1))
    for number in (1, 2, 3):
        yield from _convolved(f"{branches}{number}.0", f"{branches}{number}.1", (width, features, 3, 3))
    yield from _convolved(f"{branches}4.1", f"{branches}4.2", (width, features, 1, 1))
    yield from _convolved(f"{_HEAD}0.project.0", f"{_HEAD}0.project.1", (width, 5 * width, 1, 1))
    yield from _convolved(f"{_HEAD}1", f"{_HEAD}2", (width, width, 3, 3))


def _convolved(convolution: str, norm: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    yield f"{convolution}.weight", shape
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{norm}.{part}", shape[:1]


def _words(arch: str) -> str:
    parsed = names.segmenter(arch)
    assert parsed is not None, arch
    head, body = parsed
    plan = names.plan(body)
    family = "CIFAR family" if names.cifar(body) else "torchvision's family"
    return f"{_TITLES[head]} for segmentation, with the body of ResNet-{plan.depth}, {family}"
