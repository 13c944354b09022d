"""Random boxes for `metrics.py`, and what pycocotools computes from them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from edgeresnet.portable.tasks.average_precision import Detected, Labelled, average_precision, matched


def cases(count: int) -> Iterator[tuple[list[Labelled], list[Detected], int]]:
    """Return labels, what was found, and the number of classes: with crowds, ties, and images without any box."""
    rng = np.random.default_rng(1)
    for case in range(count):
        classes, labelled, detected = int(rng.integers(1, 6)), [], []
        for _ in range(rng.integers(1, 12)):
            objects = int(rng.integers(0, 9)) * int(rng.random() < 0.8)
            boxes, numbers = _boxes(rng, objects), rng.integers(0, classes, objects)
            labelled.append(Labelled(boxes, numbers, rng.random(objects) < (0.3 if case % 2 else 0.0)))
            copies = rng.integers(0, max(objects, 1), int(rng.integers(0, 14)) if objects else 0)
            near = boxes[copies] + rng.normal(0, rng.choice([0, 1, 6]), (len(copies), 4))
            far = _boxes(rng, int(rng.choice([0, 3, 250 if case % 10 == 0 else 8])))
            found = np.abs(np.concatenate([near, far]))
            kinds = np.append(numbers[copies], rng.integers(0, classes, len(far)))
            scores = np.round(rng.random(len(found)), 1 if case % 4 == 0 else 6)
            detected.append(Detected(found, kinds, scores))
        yield labelled, detected, classes


def compared(
    labelled: Sequence[Labelled], detected: Sequence[Detected], classes: int
) -> dict[str, tuple[object, object]]:
    """Return our numbers and those of pycocotools."""
    ours = average_precision(matched(labelled, detected, classes))
    mean, half, each = _theirs(labelled, detected, classes)
    return {"mAP": (ours.mean, mean), "AP50": (ours.at_half, half), "AP of classes": (ours.each, each)}


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.concatenate([rng.uniform(0, 80, (count, 2)), rng.uniform(2, 40, (count, 2))], axis=1)


def _theirs(
    labelled: Sequence[Labelled], detected: Sequence[Detected], classes: int
) -> tuple[float, float, np.ndarray]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    objects = [
        {"image_id": image, "bbox": box.tolist(), "category_id": int(kind) + 1, "iscrowd": int(crowd)}
        for image, each in enumerate(labelled, 1)
        for box, kind, crowd in zip(*each, strict=True)
    ]
    given = [
        {"image_id": image, "bbox": box.tolist(), "category_id": int(kind) + 1, "score": float(score)}
        for image, each in enumerate(detected, 1)
        for box, kind, score in zip(*each, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": image} for image in range(1, len(labelled) + 1)],
            "categories": [{"id": number + 1} for number in range(classes)],
            "annotations": [
                {**each, "id": number, "area": each["bbox"][2] * each["bbox"][3]}
                for number, each in enumerate(objects, 1)
            ],
        }
        truth.createIndex()
        found = COCOeval(truth, truth.loadRes(given) if given else _none(COCO, truth), "bbox")
        found.evaluate()
        found.accumulate()
        found.summarize()
    precision = found.eval["precision"][:, :, :, 0, 2]  # thresholds, recalls, classes; all areas, at most 100 boxes
    each = np.where(precision < 0, np.nan, precision).mean(1).T
    mean, half = (np.nan if value == -1 else value for value in found.stats[:2])
    return float(mean), float(half), each


def _none(kind: Any, truth: Any) -> Any:
    """Return a result without boxes, which `loadRes` cannot read."""
    empty = kind()
    empty.dataset = {**truth.dataset, "annotations": []}
    empty.createIndex()
    return empty
