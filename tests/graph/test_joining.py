"""Which outputs of a detector's file are logits and which are offsets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeresnet.errors import ModelError
from edgeresnet.graph import joining
from edgeresnet.graph.joining import Parts, Ready
from edgeresnet.portable.onnx_file import FLOAT, Value
from edgeresnet.portable.tasks.detector import Detector

pytestmark = pytest.mark.unit

FILE = Path("net.onnx")
Shape = tuple[int | None, ...]


def detector(classes: int) -> Detector:
    return Detector(32, classes, (4, 2), ((8.0, 12.0), (16.0, 24.0)), (0.5, 1.0, 2.0))


def outputs(*shapes: Shape, names: str = "") -> list[Value]:
    called = names.split() or [f"out{number}" for number in range(len(shapes))]
    return [Value(name, FLOAT, shape) for name, shape in zip(called, shapes, strict=True)]


def parts(given: list[Value], classes: int = 7) -> Parts:
    return joining.parts(FILE, given, classes, detector(classes))


def test_one_output_has_all() -> None:
    assert parts(outputs((None, 120, 11))) == Parts(7, (0,))
    assert parts(outputs((None, None, None))).ready


@pytest.mark.parametrize(
    ("shapes", "places"), [([(1, 120, 7), (1, 120, 4)], (0, 1)), ([(1, 120, 4), (1, 120, 7)], (1, 0))]
)
def test_two_outputs_in_either_order(shapes: list[Shape], places: tuple[int, int]) -> None:
    found = parts(outputs(*shapes))
    assert (found.scores, found.boxes, found.maps) == ((places[0],), (places[1],), False)


def test_levels_in_any_order_become_the_finest_first() -> None:
    found = parts(outputs((1, 24, 4), (1, 96, 7), (1, 24, 7), (1, 96, 4)))
    assert (found.scores, found.boxes) == ((1, 2), (3, 0))


@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
def test_maps_of_levels(last: bool) -> None:
    sides = [(24, 2), (42, 4), (42, 2), (24, 4)]
    given = outputs(*[(1, side, side, width) if last else (1, width, side, side) for width, side in sides])
    found = parts(given)
    assert found == Parts(7, (1, 2), (3, 0), maps=True, channels_last=last)
    assert joining.grids_in(given) == (4, 2)
    assert joining.classes_in(given, 6) == 7
    rows = np.arange(2 * 120 * 11, dtype=np.float32).reshape(2, 120, 11)
    answers = []
    for width, side in sides:
        level = rows[:, :96] if side == 4 else rows[:, 96:]
        numbers = level[..., :7] if width == 42 else level[..., 7:]
        each = numbers.reshape(2, side, side, width)
        answers.append(each if last else each.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(found.joined(answers), rows)


def test_names_decide_where_there_are_four_classes() -> None:
    shapes: list[Shape] = [(1, 120, 4), (1, 120, 4)]
    found = parts(outputs(*shapes, names="bbox_regression cls_logits"), 4)
    assert (found.scores, found.boxes) == ((1,), (0,))
    with pytest.raises(ModelError, match="has four classes, so that shapes do not show which of out0, out1 are scores"):
        parts(outputs(*shapes), 4)


def test_names_decide_where_sides_are_not_known() -> None:
    shapes: list[Shape] = [(None, None, None), (None, None, None)]
    found = parts(outputs(*shapes, names="/head/regression_head/Concat_6 /head/classification_head/Concat_6"))
    assert (found.scores, found.boxes) == ((1,), (0,))
    with pytest.raises(ModelError, match="does not declare all sides, so that shapes do not show"):
        parts(outputs(*shapes))


@pytest.mark.parametrize(
    ("given", "problem", "hint"),
    [
        (outputs((1, 11, 120)), "returns out0 as 1×11×120, anchors last", "perm [0, 2, 1]"),
        (outputs((1, 7, 120), (1, 4, 120)), "returns out0 as 1×7×120, anchors last", "perm [0, 2, 1]"),
        (outputs((1, 120, 13)), "has one output: out0 (1×120×13), not images × anchors × 11", "for each anchor"),
        (outputs((1, 120, 9), (1, 120, 4)), "and the images have 7 classes", "for each anchor"),
        (outputs((1, 120, 7), (1, 120, 7)), "has 2 outputs of scores and 0 of boxes", "for each anchor"),
        (outputs((1, 120, 7), (1, 60, 4)), "has scores and boxes for different levels", "for each anchor"),
        (outputs((1, 120, 7), (1, 120, 4), (1, 120, 1)), "has 3 outputs", "for each anchor"),
        (outputs((1, 60, 7), (1, 60, 4)), "answers for 60 anchors, but there are 120", "model.anchors"),
        (outputs((1, 60, 7), (1, 60, 4), (1, 60, 7), (1, 60, 4)), "levels of the same size", "for each anchor"),
        (outputs((1, None, 7), (1, None, 4), (1, None, 7), (1, None, 4)), "levels of unknown size", "data_prop=True"),
        (outputs(*[(1, width, None, None) for width in (42, 24) * 2]), "levels of unknown size", "data_prop=True"),
        (outputs(*[(1, None, None, width) for width in (42, 24) * 2]), "levels of unknown size", "data_prop=True"),
        (outputs((1, 54, 4, 4), (1, 24, 4, 4)), "6 anchors in a cell with 7 classes make 42 and 24", "for each anchor"),
        ([Value("a", FLOAT, None), Value("b", FLOAT, (1, 120, 4))], "does not declare the shape", "infer"),
    ],
)  # fmt: skip
def test_what_is_not_shown_is_refused_in_one_line(given: list[Value], problem: str, hint: str) -> None:
    with pytest.raises(ModelError) as caught:
        parts(given)
    assert problem in str(caught.value)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("shapes", "classes", "rows"),
    [
        ([(None, 120, 11)], 7, 120),
        ([(1, 120, 7), (1, 120, 4)], 7, 120),
        ([(1, 120, 4), (1, 120, 4)], 4, 120),
        ([(1, 24, 4), (1, 96, 7), (1, 24, 7), (1, 96, 4)], 7, 120),
        ([(1, 42, 4, 4), (1, 24, 4, 4)], 7, None),
        ([(1, 24, 4, 4), (1, 24, 4, 4)], 4, None),
        ([(1, None, 7), (1, None, 4)], 7, None),
        ([(1, 120, 7), (1, 120, 9)], None, 120),
        ([(1, 120)], None, None),
        ([], None, None),
    ],
)
def test_classes_and_rows_that_shapes_show(shapes: list[Shape], classes: int | None, rows: int | None) -> None:
    assert joining.classes_in(outputs(*shapes), 6) == classes
    assert joining.rows_in(outputs(*shapes)) == rows


def kinds(*given: tuple[str, int, Shape]) -> list[Value]:
    return [Value(*each) for each in given]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (kinds(("boxes", 1, (None, 4)), ("1470", 1, (None,)), ("1471", 7, (None,))), Ready(0, 1, 2, batched=False)),
        (kinds(("labels", 7, (None,)), ("boxes", 1, (None, 4)), ("s", 1, (None,))), Ready(1, 2, 0, batched=False)),
        (kinds(("s", 1, (1, 50)), ("classes", 1, (1, 50)), ("b", 1, (1, 50, 4))), Ready(2, 0, 1)),
        (
            kinds(("num", 6, (1, 1)), ("b", 1, (1, 50, 4)), ("s", 1, (1, 50)), ("labels", 6, (1, 50))),
            Ready(1, 2, 3),
        ),
        (kinds(("output0", 1, (1, 300, 6))), Ready(0)),
        (kinds(("b", 1, (1, 50, 4)), ("s", 1, (1, 50)), ("t", 1, (1, 50))), None),
        (kinds(("b", 1, (1, 120, 4)), ("s", 1, (1, 120, 7))), None),
        (kinds(("all", 1, (1, 120, 11))), None),
    ],
)  # fmt: skip
def test_outputs_after_a_suppression(given: list[Value], found: Ready | None) -> None:
    assert joining.ready(given, 7, detector(7)) == found


def test_rows_of_two_classes_are_of_anchors_where_they_are_as_many() -> None:
    assert joining.ready(kinds(("all", 1, (1, 120, 6))), 2, detector(2)) is None
    assert joining.ready(kinds(("all", 1, (1, 100, 6))), 2, detector(2)) == Ready(0)
