"""Which outputs of a detector's ONNX file are logits, and which are offsets: by their shapes, and by names where these
do not show it.

A file may have one output (for each anchor logits, then offsets), two (logits, offsets), or two for each level: rows,
or maps with the anchors' numbers among the channels. All become one tensor, in the order of anchors. Needs no onnx.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import ModelError, listed
from ..portable.frozen import dataclass
from ..portable.onnx_file import Value
from ..portable.tasks.detector import Detector

OFFSETS = 4
_SCORES = re.compile(r"cls|class|score|logit|conf|prob", re.IGNORECASE)
_BOXES = re.compile(r"box|reg|delta|offset|loc", re.IGNORECASE)
_NUMBERS = re.compile(r"label|cls|class", re.IGNORECASE)
_ROW = 6  # left, top, right, bottom, score, class
WHOLE = (6, 7)  # int32, int64
_WANTED = (
    "for each anchor a logit for each class, then four offsets: one output, or logits and offsets apart, or level by "
    "level"
)
_Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Parts:
    """Outputs by their places in a file: the finest level first. `scores` alone: one output has all."""

    classes: int
    scores: tuple[int, ...]
    boxes: tuple[int, ...] = ()
    maps: bool = False  # images × channels × height × width, or channels last, and not images × rows × numbers
    channels_last: bool = False

    @property
    def ready(self) -> bool:
        """Whether the only output is the one tensor."""
        return not self.boxes

    @property
    def outputs(self) -> int:
        """How many outputs there are."""
        return len(self.scores) + len(self.boxes)

    def joined(self, answers: Sequence[np.ndarray]) -> np.ndarray:
        """Return the one tensor of a file's answers."""
        if self.ready:
            return answers[0]
        sides = ((self.scores, self.classes), (self.boxes, OFFSETS))
        return np.concatenate(
            [np.concatenate([self._rows(answers[each], width) for each in places], 1) for places, width in sides], 2
        )

    def _rows(self, answer: np.ndarray, width: int) -> np.ndarray:
        if self.maps and not self.channels_last:
            answer = answer.transpose(0, 2, 3, 1)
        return answer.reshape(len(answer), -1, width)


@dataclass(frozen=True)
class Ready:
    """Outputs by their places in the file of a network that suppresses boxes itself: corners, scores and numbers of
    classes. `boxes` alone: each row has all of them.
    """

    boxes: int
    scores: int | None = None
    numbers: int | None = None
    batched: bool = True  # there is an axis of images


def ready(outputs: Sequence[Value], classes: int, detector: Detector) -> Ready | None:
    """Return what the outputs are of a network that suppresses boxes itself; None for another one.

    A file may also have how many boxes there are, as its only number for each image.
    """
    shapes = [each.shape or () for each in outputs]
    if len(outputs) == 1:
        of_anchors = classes + OFFSETS == _ROW and shapes[0][1:2] == (detector.rows,)
        return Ready(0) if len(shapes[0]) == 3 and shapes[0][2] == _ROW and not of_anchors else None
    boxes = [at for at, shape in enumerate(shapes) if shape[-1:] == (OFFSETS,) and len(shape) in (2, 3)]
    sides = len(shapes[boxes[0]]) - 1 if len(boxes) == 1 else 0
    others = [at for at, shape in enumerate(shapes) if len(shape) == sides and shape[1:] != (1,) and at not in boxes]
    if len(boxes) != 1 or len(others) != 2 or len(outputs) - 3 > (sides == 2):
        return None
    of_class = [at for at in others if outputs[at].kind in WHOLE or _NUMBERS.search(outputs[at].name)]
    if len(of_class) != 1:
        return None
    (number,), (score,) = of_class, [at for at in others if at not in of_class]
    return Ready(boxes[0], score, number, batched=sides == 2)


def parts(path: Path, outputs: Sequence[Value], classes: int, detector: Detector) -> Parts:
    """Return which output is what; refuse what is not shown, and rows that are not as many as the anchors."""
    shapes = [_known(path, each) for each in outputs]
    if len(outputs) == 1:
        _check_one(path, outputs[0], shapes[0], classes)
        found = Parts(classes, (0,))
    elif len(outputs) % 2 or {len(each) for each in shapes} not in ({3}, {4}):
        raise _refused(path, outputs, f"has {len(outputs)} outputs")
    elif len(shapes[0]) == 3:
        found = _rows(path, outputs, shapes, classes)
    else:
        found = _maps(path, outputs, shapes, classes, detector)
    counts = [_count(shapes[each], found, detector) for each in found.scores]
    known = [each for each in counts if each is not None]
    if len(known) == len(counts):
        check_rows(path, sum(known), detector)
    return found


def check_rows(path: Path, rows: int, detector: Detector) -> None:
    """Refuse answers with other rows than there are anchors."""
    if rows != detector.rows:
        raise ModelError(
            str(path),
            f"answers for {rows:,} anchors, but there are {detector.rows:,} in images of {detector.size} pixels",
            hint="set `model.anchors` to the anchors of this network, and `preprocessing.size` to its size",
        )


def classes_in(outputs: Sequence[Value], anchors: int) -> int | None:
    """Return for how many classes there are logits; None where shapes do not show it. `anchors` are those of a cell."""
    shapes = [each.shape or () for each in outputs]
    if len(shapes) == 1:
        last = shapes[0][2] if len(shapes[0]) == 3 else None
        return last - OFFSETS if last is not None and last > OFFSETS else None
    sides = {len(each) for each in shapes}
    if sides == {3}:
        widths, boxes = {each[2] for each in shapes}, OFFSETS
    elif sides == {4}:
        widths, boxes = {each[3 if _is_last(each) else 1] for each in shapes}, OFFSETS * anchors
    else:
        return None
    others = [each for each in widths if each is not None and each != boxes] or [boxes]
    return others[0] * OFFSETS // boxes if boxes in widths and len(widths) <= 2 and None not in widths else None


def rows_in(outputs: Sequence[Value]) -> int | None:
    """Return how many anchors there are, where outputs are rows."""
    counts = [each.shape[1] if each.shape and len(each.shape) == 3 else None for each in outputs]
    known = [each for each in counts if each is not None]
    return sum(known) // min(len(counts), 2) if counts and len(known) == len(counts) else None


def grids_in(outputs: Sequence[Value]) -> tuple[int, ...] | None:
    """Return the cells along a side of each level, where outputs are maps."""
    shapes = [each.shape or () for each in outputs]
    if any(len(each) != 4 for each in shapes):
        return None
    sides = {each[1 if _is_last(each) else 2] for each in shapes}
    return None if None in sides else tuple(sorted((each for each in sides if each is not None), reverse=True))


def _known(path: Path, output: Value) -> _Shape:
    if output.shape is None or not output.shape:
        raise ModelError(
            str(path),
            f"does not declare the shape of its output {output.name}",
            hint="write it into the file: `onnx.shape_inference.infer_shapes_path(path, out)`",
        )
    return output.shape


def _check_one(path: Path, output: Value, shape: _Shape, classes: int) -> None:
    wanted = classes + OFFSETS
    if len(shape) == 3 and shape[1] == wanted and shape[2] != wanted:
        raise _turned(path, output, shape, (0, 2, 1))
    if len(shape) != 3 or shape[2] not in (None, wanted):
        raise _refused(path, [output], "has one output", f", not images × anchors × {wanted}")


def _rows(path: Path, outputs: Sequence[Value], shapes: Sequence[_Shape], classes: int) -> Parts:
    for output, shape in zip(outputs, shapes, strict=True):
        if shape[2] not in (classes, OFFSETS) and shape[1] in (classes, OFFSETS):
            raise _turned(path, output, shape, (0, 2, 1))
        if shape[2] not in (classes, OFFSETS, None):
            raise _refused(path, outputs, f"has {len(outputs)} outputs", f", and the images have {classes} classes")
    pairs = _paired(path, outputs, [shape[2] for shape in shapes], classes, OFFSETS, [shape[1] for shape in shapes])
    return Parts(classes, *pairs)


def _maps(path: Path, outputs: Sequence[Value], shapes: Sequence[_Shape], classes: int, detector: Detector) -> Parts:
    if len(shapes) > 2 and any(each[1] is None or each[2] is None for each in shapes):
        raise _of_unknown_size(path, outputs)  # which axis has the channels, is not shown either
    anchors = len(detector.sizes[0]) * len(detector.ratios)
    last = all(_is_last(each) for each in shapes)
    widths = [each[3 if last else 1] for each in shapes]
    if set(widths) - {anchors * classes, anchors * OFFSETS}:
        raise _refused(
            path, outputs, f"has {len(outputs)} outputs",
            f", and {anchors} anchors in a cell with {classes} classes make {anchors * classes} and "
            f"{anchors * OFFSETS} channels",
        )  # fmt: skip
    sides = [each[1 if last else 2] for each in shapes]
    pairs = _paired(path, outputs, widths, anchors * classes, anchors * OFFSETS, sides)
    return Parts(classes, *pairs, maps=True, channels_last=last)


def _paired(
    path: Path, outputs: Sequence[Value], widths: Sequence[int | None], scores: int, boxes: int,
    sizes: Sequence[int | None],
) -> tuple[tuple[int, ...], tuple[int, ...]]:  # fmt: skip
    """Return the places of scores and of boxes, the largest level first."""
    if scores == boxes or None in widths:
        found = _by_names(path, outputs, "has four classes" if scores == boxes else "does not declare all sides")
    else:
        places = range(len(widths))
        found = tuple(tuple(each for each in places if widths[each] == width) for width in (scores, boxes))
    if len(found[0]) != len(found[1]):
        raise _refused(path, outputs, f"has {len(found[0])} outputs of scores and {len(found[1])} of boxes")
    if len(found[0]) > 1 and None in sizes:
        raise _of_unknown_size(path, outputs)
    one, other = (tuple(sorted(each, key=lambda place: -(sizes[place] or 0))) for each in found)
    if any(sizes[a] != sizes[b] for a, b in zip(one, other, strict=True)):
        raise _refused(path, outputs, "has scores and boxes for different levels")
    if len({sizes[each] for each in one}) < len(one):
        raise _refused(path, outputs, "has levels of the same size, whose order is not shown")
    return one, other


def _by_names(path: Path, outputs: Sequence[Value], problem: str) -> tuple[tuple[int, ...], ...]:
    """Return the places of scores and boxes by their names, where shapes do not show them."""
    kinds = [(bool(_SCORES.search(each.name)), bool(_BOXES.search(each.name))) for each in outputs]
    if any(one == other for one, other in kinds):
        raise ModelError(
            str(path),
            f"{problem}, so that shapes do not show which of {listed([each.name for each in outputs], 60)} are scores",
            hint="rename its outputs: scores, boxes (`torch.onnx.export(…, output_names=['scores', 'boxes'])`)",
        )
    return tuple(tuple(at for at, each in enumerate(kinds) if each[kind]) for kind in (0, 1))


def _is_last(shape: _Shape) -> bool:
    """Return whether a map of a square image has its channels last."""
    return len(shape) == 4 and shape[1] is not None and shape[1] == shape[2] != shape[3]


def _count(shape: _Shape, found: Parts, detector: Detector) -> int | None:
    """Return how many anchors an output has numbers for."""
    if not found.maps:
        return shape[1]
    one, other = shape[1:3] if found.channels_last else shape[2:]
    each = len(detector.sizes[0]) * len(detector.ratios)
    return None if one is None or other is None else one * other * each


def _turned(path: Path, output: Value, shape: _Shape, perm: tuple[int, ...]) -> ModelError:
    return ModelError(
        str(path),
        f"returns {output.name} as {_product(shape)}, anchors last",
        hint=f"put a Transpose with perm {list(perm)} behind it: images × anchors × numbers",
    )


def _of_unknown_size(path: Path, outputs: Sequence[Value]) -> ModelError:
    hint = "write sizes into the file: `onnx.shape_inference.infer_shapes_path(path, out, data_prop=True)`"
    return _refused(path, outputs, "has levels of unknown size", hint=hint)


def _refused(
    path: Path, outputs: Sequence[Value], problem: str, why: str = "", hint: str = f"a detector answers {_WANTED}"
) -> ModelError:
    shown = listed([f"{each.name} ({_product(each.shape or ())})" for each in outputs], 100)
    return ModelError(str(path), f"{problem}: {shown}{why}", hint=hint)


def _product(shape: _Shape) -> str:
    return "×".join("?" if side is None else str(side) for side in shape)
