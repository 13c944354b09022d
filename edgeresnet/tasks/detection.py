"""Detection: boxes and their classes, learned as torchvision's RetinaNet learns them and validated by mAP.

Labels are a tensor images × objects × 5: a class, then left, top, right and bottom in pixels. ABSENT is the class of a
row that only fills the tensor; CROWD - 3 is a crowd of class 3, a region that is neither an object nor background. An
object is learned by the anchors that overlap it well, and by the one that overlaps it best.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from ..portable.tasks.detector import Detector
from ..portable.tasks.two_stage import AnyDetector

if TYPE_CHECKING:
    import numpy as np
    import torch

    from ..portable.tasks.average_precision import Labelled

ABSENT, CROWD = -1, -2
_FOREGROUND, _BACKGROUND = 0.5, 0.4  # IoU from which an anchor is an object's, and below which it is background
_IN_CROWD = 0.5  # share of an anchor in a crowd from which it is neither
_ALPHA = 0.25  # weight of objects in the focal loss; its exponent is 2
_STEPS = 256  # of scores, by which boxes are counted
_SURE = 0.5  # score from which a teacher's offsets are learned


class Wanted(NamedTuple):
    """What the anchors of an image shall answer."""

    known: torch.Tensor  # whether an anchor is an object's or background
    rows: torch.Tensor  # the anchors of objects
    classes: torch.Tensor  # of these objects
    offsets: torch.Tensor  # to these objects


@dataclass(frozen=True)
class Detection:
    detector: AnyDetector | None = None  # None: shapes alone are asked for, not what is learned
    metric: str = "mAP"
    wanted: str = "for each anchor a logit for each class, then four offsets"
    last: tuple[str, ...] = ()
    kinds: tuple[int, ...] = ()

    def sides(self, classes: int) -> tuple[int | None, ...]:
        return self.detector.rows if self.detector else None, self._columns(classes)

    def declares(self, shape: tuple[int | None, ...], classes: int) -> bool:
        return len(shape) == 3 and shape[2] in (None, self._columns(classes))

    def channels_last(self, shape: tuple[int | None, ...], classes: int) -> bool:
        return False

    def classes_in(self, shape: tuple[int | None, ...]) -> int | None:
        return shape[2] - 4 if len(shape) == 3 and shape[2] is not None and shape[2] > 4 else None

    def logits(self, found: np.ndarray, images: int) -> np.ndarray:
        return found

    def follows(self, answer: np.ndarray, logits: np.ndarray, last: str, within: float) -> bool:
        return False

    def fits(self, shape: tuple[int, ...], images: int, classes: int) -> bool:
        rows = self.detector.rows if self.detector else None
        return len(shape) == 3 and (shape[0], shape[2]) == (images, self._columns(classes)) and rows in (None, shape[1])

    def shown(self, images: int, classes: int) -> str:
        rows = str(self.detector.rows) if self.detector else "anchors"
        return f"({images}, {rows}, {self._columns(classes)})"

    def numbers(self, classes: int, size: int) -> int:
        return self._own.rows * self._own.columns

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        """Return the focal loss of classes and the distance of offsets, for each object, summed over images."""
        import torch
        from torch.nn.functional import softplus

        if not len(labels):  # a process's part of a very small batch
            return logits.sum()
        scores, offsets = logits[..., :-4], logits[..., -4:]
        each = [wanted(_anchors(self._own, labels.device), one) for one in labels]
        counts = torch.tensor([len(one.rows) for one in each], device=labels.device)
        places = torch.arange(len(each), device=labels.device).repeat_interleave(counts)
        _, rows, numbers, shall = (torch.cat(column) for column in zip(*each, strict=True))
        found = scores[places, rows, numbers]
        focal = (1 - _ALPHA) * scores.sigmoid() ** 2 * softplus(scores)  # of background
        of_objects = _ALPHA * (-found).sigmoid() ** 2 * softplus(-found)
        focal = focal.index_put((places, rows, numbers), of_objects).sum(2)
        apart = (offsets[places, rows] - shall).abs().sum(1)
        known = torch.stack([one.known for one in each])
        return ((focal * known).sum(1) / counts.clamp(min=1)).sum() + (apart / counts[places]).sum()

    def apart(self, found: torch.Tensor, wanted: torch.Tensor, warm: float) -> torch.Tensor:
        """Return the same distances from a teacher's answers: classes count where they differ, offsets where the
        teacher is sure of an object.
        """
        from torch.nn.functional import binary_cross_entropy_with_logits

        classes = found.shape[2] - 4
        scores, theirs = found[..., :classes] / warm, (wanted[..., :classes] / warm).sigmoid()
        each = binary_cross_entropy_with_logits(scores, theirs, reduction="none")
        sure = (wanted[..., :classes].amax(2) > 0).float()
        offsets = (found[..., classes:] - wanted[..., classes:]).abs().sum(2) * sure
        summed = ((scores.sigmoid() - theirs) ** 2 * each).sum((1, 2)) * warm**2 + offsets.sum(1)
        return (summed / sure.sum(1).clamp(min=1)).sum()

    def counts(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return for each class how many objects there are, then for each IoU and step of scores how many boxes are
        objects, and how many are not.
        """
        import numpy as np
        import torch

        from ..portable.tasks.average_precision import THRESHOLDS, matched

        classes = logits.shape[2] - 4
        boxes = self._own.detections(logits.detach().float().cpu().numpy())
        counts = np.zeros((classes, 1 + len(THRESHOLDS) * 2 * _STEPS), np.int64)
        for row, found in zip(
            counts, matched([_labelled(one) for one in labels.cpu().numpy()], boxes, classes), strict=True
        ):
            row[0] = found.objects.sum()
            step = np.minimum((found.scores * _STEPS).astype(int), _STEPS - 1)
            for table, correct, ignored in zip(
                row[1:].reshape(-1, 2, _STEPS), found.correct, found.ignored, strict=True
            ):
                table[0] += np.bincount(step[correct], minlength=_STEPS)
                table[1] += np.bincount(step[~(correct | ignored)], minlength=_STEPS)
        return torch.from_numpy(counts.ravel())

    def score(self, counts: torch.Tensor) -> float:
        """Return mAP@[.5:.95]; boxes whose scores are in one step count as equally probable."""
        import numpy as np

        from ..portable.tasks.average_precision import THRESHOLDS, AveragePrecision, precision_of

        table = counts.cpu().numpy().reshape(-1, 1 + len(THRESHOLDS) * 2 * _STEPS)
        boxes = table[:, 1:].reshape(len(table), len(THRESHOLDS), 2, _STEPS)[..., ::-1].cumsum(3)
        each = [precision_of(one[:, 0], one[:, 1], int(row[0])) for row, one in zip(table, boxes, strict=True)]
        found = AveragePrecision(np.array(each)).mean
        return found if np.isfinite(found) else 0.0

    def _columns(self, classes: int) -> int:
        return self.detector.columns if self.detector else classes + 4

    @property
    def _own(self) -> Detector:
        assert isinstance(self.detector, Detector), "learning needs anchors, and one stage"
        return self.detector


def wanted(anchors: torch.Tensor, labels: torch.Tensor) -> Wanted:
    """Return what anchors shall answer to one image with these labels."""
    import torch

    crowds, objects = labels[labels[:, 0] <= CROWD, 1:], labels[(labels[:, 0] >= 0) & (_areas(labels[:, 1:]) > 0)]
    which = torch.zeros(len(anchors), dtype=torch.long, device=anchors.device)
    foreground = which > 0
    known = ~foreground
    if len(objects):
        overlap = _iou(objects[:, 1:], anchors)
        best, which = overlap.max(0)
        closest = overlap.amax(1, keepdim=True)
        foreground = (best >= _FOREGROUND) | ((overlap == closest) & (closest > 0)).any(0)
        known = foreground | (best < _BACKGROUND)
    if len(crowds):
        inside = _common(crowds, anchors) / _areas(anchors)
        known = known & (foreground | (inside < _IN_CROWD).all(0))
    rows = foreground.nonzero()[:, 0]
    theirs = objects[which[rows]]
    return Wanted(known, rows, theirs[:, 0].long(), encoded(theirs[:, 1:], anchors[rows]))


def encoded(boxes: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Return boxes as offsets from anchors, as torchvision's BoxCoder does."""
    import torch

    sides, own = (each[:, 2:] - each[:, :2] for each in (boxes, anchors))
    middle, others = ((each[:, 2:] + each[:, :2]) / 2 for each in (boxes, anchors))
    return torch.cat([(middle - others) / own, (sides / own).log()], 1)


def _iou(boxes: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    both = _common(boxes, anchors)
    return both / (_areas(boxes)[:, None] + _areas(anchors) - both)


def _common(boxes: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Return the area that each box has in common with each anchor."""
    low = boxes[:, None, :2].maximum(anchors[:, :2])
    sides = boxes[:, None, 2:].minimum(anchors[:, 2:]) - low
    return sides.clamp(min=0).prod(2)


def _areas(boxes: torch.Tensor) -> torch.Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)


@lru_cache(maxsize=4)
def _anchors(detector: Detector, device: torch.device) -> torch.Tensor:
    import torch

    return torch.from_numpy(detector.anchors()).to(device)


def _labelled(rows: np.ndarray) -> Labelled:
    """Return one image's objects and crowds as they are evaluated."""
    import numpy as np

    from ..portable.tasks.average_precision import Labelled

    there = rows[rows[:, 0] != ABSENT]
    boxes = np.concatenate([there[:, 1:3], there[:, 3:] - there[:, 1:3]], axis=1)
    crowd, numbers = there[:, 0] <= CROWD, there[:, 0].astype(int)
    return Labelled(boxes, np.where(crowd, CROWD - numbers, numbers), crowd)
