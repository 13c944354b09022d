"""Random boxes for `metrics.py`, and what pycocotools, faster-coco-eval and torchmetrics compute from them."""

from __future__ import annotations

import contextlib
import importlib
import io
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from edgeresnet.portable.tasks.average_precision import RECALLS, THRESHOLDS, Detected, Labelled
from edgeresnet.portable.tasks.objects import Found, Objects
from edgeresnet.portable.tasks.precision import matches

# Where each one has the class that evaluates, and that of a data set.
BACKENDS = {
    "pycocotools": ("pycocotools", (".cocoeval", "COCOeval"), (".coco", "COCO")),
    "faster-coco-eval": ("faster_coco_eval", ("", "COCOeval_faster"), ("", "COCO")),
}


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
    """Return our numbers and those of pycocotools, faster-coco-eval and torchmetrics."""
    labels, found = Objects.of(labelled), Found.of(detected)
    ours = matches(labels, found, classes)
    numbers: dict[str, tuple[object, object]] = {}
    for backend in BACKENDS:
        mean, half, each = _theirs(list(labels), list(found), classes, backend)
        numbers[f"mAP, {backend}"] = ours.map, mean
        numbers[f"AP50, {backend}"] = ours.ap50, half
        numbers[f"AP of classes, {backend}"] = ours.precision.each, each
    mean, half = _of_torchmetrics(list(labels), list(found))
    return {**numbers, "mAP, torchmetrics": (ours.map, mean), "AP50, torchmetrics": (ours.ap50, half)}


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.concatenate([rng.uniform(0, 80, (count, 2)), rng.uniform(2, 40, (count, 2))], axis=1)


def _theirs(
    labelled: Sequence[Labelled], detected: Sequence[Detected], classes: int, backend: str
) -> tuple[float, float, np.ndarray]:
    """Return mAP, AP50, and the average precision by class and threshold."""
    module, evaluation, dataset = BACKENDS[backend]
    coco, evaluate = (getattr(importlib.import_module(f"{module}{name}"), kind) for name, kind in (dataset, evaluation))
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
    about = {
        "images": [{"id": image} for image in range(1, len(labelled) + 1)],
        "categories": [{"id": number + 1} for number in range(classes)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth = _indexed(coco, {**about, "annotations": [_annotated(*each) for each in enumerate(objects, 1)]})
        none = _indexed(coco, {**about, "annotations": []})  # `loadRes` cannot read an empty result
        found = evaluate(truth, truth.loadRes(given) if given else none, "bbox")
        found.evaluate()
        found.accumulate()
        found.summarize()
    precision = found.eval["precision"][:, :, :, 0, 2]  # thresholds, recalls, classes; all areas, at most 100 boxes
    each = np.where(precision < 0, np.nan, precision).mean(1).T
    mean, half = (np.nan if value == -1 else value for value in found.stats[:2])
    return float(mean), float(half), each


def _annotated(number: int, each: dict[str, Any]) -> dict[str, Any]:
    return {**each, "id": number, "area": each["bbox"][2] * each["bbox"][3]}


def _indexed(kind: Any, dataset: dict[str, Any]) -> Any:
    found = kind()
    found.dataset = dataset
    found.createIndex()
    return found


def _of_torchmetrics(labelled: Sequence[Labelled], detected: Sequence[Detected]) -> tuple[float, float]:
    """Return mAP and AP50. Its own thresholds are of single precision, and some recalls lie on the other side."""
    import torch
    from torchmetrics.detection.mean_ap import MeanAveragePrecision

    thresholds = {"iou_thresholds": THRESHOLDS.tolist(), "rec_thresholds": RECALLS.tolist()}
    metric = MeanAveragePrecision(box_format="xywh", backend="faster_coco_eval", **thresholds)
    metric.warn_on_many_detections = False
    metric.update(
        [
            {"boxes": torch.tensor(boxes), "labels": torch.tensor(numbers), "scores": torch.tensor(scores)}
            for boxes, numbers, scores in detected
        ],
        [
            {"boxes": torch.tensor(boxes), "labels": torch.tensor(numbers), "iscrowd": torch.tensor(crowd).int()}
            for boxes, numbers, crowd in labelled
        ],
    )
    with contextlib.redirect_stdout(io.StringIO()):
        found = metric.compute()
    return tuple(math.nan if float(found[key]) == -1 else float(found[key]) for key in ("map", "map_50"))  # type: ignore[return-value]
