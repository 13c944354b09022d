"""Detectors of two stages, recognised by their tensors: torchvision's Faster R-CNN. Loads nothing, imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from . import names, plans, pyramids
from .plans import Shape
from .recognised import Recognised

_PROPOSES, _JUDGES = "rpn.head.", "roi_heads."
_SCORES = f"{_JUDGES}box_predictor.cls_score.weight"
_OTHERS = {  # networks of torchvision that have no name here, by the beginning of a tensor's name
    f"{_JUDGES}mask_": "Mask R-CNN",
    f"{_JUDGES}keypoint_": "Keypoint R-CNN",
    f"{_JUDGES}box_head.5.": "version 2 of Faster R-CNN",
}
_WIDTH, _HIDDEN, _CELLS, _ANCHORS, _LEVELS = 256, 1024, 49, 3, 4


def recognise(shapes: Mapping[str, Shape]) -> Recognised | None:
    """Recognise such a network; return None for others."""
    held = plans.without_counters({pyramids.current(name): shape for name, shape in shapes.items()})
    last, stem = held.get(_SCORES, ()), held.get(f"{pyramids.BODY}conv1.weight", ())
    if len(last) != 2:
        return None
    classes, channels = last[0], stem[1] if len(stem) == 4 else 0
    counts = f"{classes} classes with the background"
    counts += f", {channels} channel{'' if channels == 1 else 's'}" if channels else ""
    for arch in names.TWO_STAGE:
        if tensors(arch, classes, channels) == held:
            return Recognised((arch,), classes, channels, f"Faster R-CNN, torchvision's, with ResNet-50-FPN, {counts}")
    hint = f"known detectors of two stages: {', '.join(names.TWO_STAGE)}, unpruned and without masks or key points"
    words = f"{_kind(held)} is not built here, {counts}"
    return Recognised((), classes, channels, words, hint=hint)


def _kind(held: Mapping[str, Shape]) -> str:
    """Return what a network is that has no name here, as the beginning of a clause."""
    shown = (name for part, name in _OTHERS.items() if any(each.startswith(part) for each in held))
    found = next(shown, "")
    return f"{found}, which" if found else "a detector of two stages that"


def tensors(arch: str, classes: int, channels: int) -> dict[str, Shape]:
    """Return the names and shapes of all tensors of such a network, without counters."""
    parsed = names.detector(arch)
    assert parsed is not None, arch
    features = names.plan(parsed[1]).features
    return pyramids.body(arch, channels) | dict(_with_bias(_after(features, classes)))


def _after(features: int, classes: int) -> Iterator[tuple[str, Shape]]:
    """Yield the weights after the body."""
    for level in range(_LEVELS):
        yield f"{pyramids.PYRAMID}inner_blocks.{level}.0", (_WIDTH, features >> (_LEVELS - 1 - level), 1, 1)
        yield f"{pyramids.PYRAMID}layer_blocks.{level}.0", (_WIDTH, _WIDTH, 3, 3)
    yield f"{_PROPOSES}conv.0.0", (_WIDTH, _WIDTH, 3, 3)
    yield f"{_PROPOSES}cls_logits", (_ANCHORS, _WIDTH, 1, 1)
    yield f"{_PROPOSES}bbox_pred", (4 * _ANCHORS, _WIDTH, 1, 1)
    yield f"{_JUDGES}box_head.fc6", (_HIDDEN, _WIDTH * _CELLS)
    yield f"{_JUDGES}box_head.fc7", (_HIDDEN, _HIDDEN)
    yield f"{_JUDGES}box_predictor.cls_score", (classes, _HIDDEN)
    yield f"{_JUDGES}box_predictor.bbox_pred", (4 * classes, _HIDDEN)


def _with_bias(layers: Iterable[tuple[str, Shape]]) -> Iterator[tuple[str, Shape]]:
    for name, shape in layers:
        yield f"{name}.weight", shape
        yield f"{name}.bias", shape[:1]
