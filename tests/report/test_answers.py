"""Masks and boxes on a page: pictures of each answer, and why some are not there. No network runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgeresnet import predict
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.portable.tasks import masks, objects
from edgeresnet.portable.tasks.average_precision import Detected, Labelled
from edgeresnet.portable.tasks.detection import Detections
from edgeresnet.portable.tasks.segmentation import Segmented
from edgeresnet.portable.tasks.task import Outputs, Seen
from edgeresnet.report.html import answer_pictures

pytestmark = pytest.mark.unit

CLASSES = ("cat", "dog")
BOXES = Detected(np.array([[2.0, 2, 8, 8], [20, 20, 6, 6]]), np.array([1, 0]), np.array([0.9, 0.7]))


def found(*each: Detected) -> Detections:
    return Detections(objects.Found.of(each), np.zeros((len(each), 0, 0), np.float32))


def pictures(task: Any, given: Any, labels: Any) -> dict[str, str]:
    outputs = Outputs(task, len(CLASSES), 32)
    label = outputs.of_task.labels_seen(labels, outputs)
    seen = {"label": label, "FP32": outputs.of_task.seen(given, outputs, 1)}
    return dict(answer_pictures._drawn(seen, Image.new("RGB", (32, 32)), CLASSES, label))


def test_boxes_are_drawn_over_the_image_and_masks_by_themselves() -> None:
    labels = objects.Objects.of([Labelled(BOXES.boxes, BOXES.numbers, np.zeros(2, bool))])
    none = Detected(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))
    drawn = pictures("detection", found(none, BOXES), labels)
    assert list(drawn) == ["label", "FP32"]
    assert all(each.startswith("data:image/jpeg;base64,") for each in drawn.values())
    assert drawn["label"] != drawn["FP32"], "labels have a colour of their own"
    mask = masks.Packed.of([np.zeros((32, 32), np.uint16), np.ones((32, 32), np.uint16)])
    shown = pictures("segmentation", Segmented(mask, np.zeros((2, 0, 0), np.float32)), mask)
    assert all(each.startswith("data:image/png;base64,") for each in shown.values())
    assert shown["label"] != shown["FP32"], "another image's mask"


def test_a_class_has_no_picture() -> None:
    assert pictures("classification", np.zeros((2, 2)), np.array([1])) == {}


def test_the_page_says_why_answers_are_not_there() -> None:
    run: Any = SimpleNamespace(measured_on_devices=["openvino@box"])
    assert answer_pictures._absent(run, []) == ""
    assert answer_pictures._absent(run, ["openvino@box", "onnxruntime"]) == (
        "What openvino@box answered is not shown: a device sends counts, and its answers stay there. "
        "What onnxruntime answered is no longer in the store."
    )


def test_boxes_are_listed_with_their_place_in_the_image() -> None:
    prepared = Preprocessing(32, (0.5,), (0.25,), crop="squash")
    seen = predict._placed(Seen(np.zeros(2), boxes=BOXES), (64, 320), prepared)
    lines = [each.line for each in predict._ranked(seen, CLASSES, 5)]
    assert lines == [
        " 90.00 %  dog: 16.0 × 80.0 pixels, left 4.0, top 20.0",
        " 70.00 %  cat: 12.0 × 60.0 pixels, left 40.0, top 200.0",
    ]
    assert len(predict._ranked(seen, CLASSES, 1)) == 1
    classes = predict._ranked(Seen(np.array([0.25, 0.75])), CLASSES, 2)
    assert [each.line for each in classes] == [" 75.00 %  dog", " 25.00 %  cat"]
