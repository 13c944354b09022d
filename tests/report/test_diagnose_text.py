"""The page that a diagnosis prints, and what must never break it."""

from __future__ import annotations

from typing import Any

import pytest

from edgeresnet.diagnose.diagnosis import Diagnosis
from edgeresnet.portable import codec
from edgeresnet.report import diagnose_text

pytestmark = pytest.mark.unit


def document(**changes: Any) -> dict[str, Any]:
    start = {"preprocessing": {}, "images": 100, "reordered_top1": 0}
    rows = [
        {"name": "as given", "changes": [], "top1": 30, "won": 0, "lost": 0, "low": -0.1, "high": 0.1, **start},
        {"name": "BGR", "changes": ["BGR"], "top1": 80, "won": 52, "lost": 2, "low": 0.3, "high": 0.65, **start},
        {"name": "pixels from 0 to 255", "changes": [""], "top1": 9, "won": 1, "lost": 22, "low": -0.4, "high": 0}
        | start,
    ]
    best: dict[str, Any] = {"name": "BGR", "changes": ["BGR"], "write": {"order": "bgr"}, "preprocessing": {}}
    best |= {"alike": [], "top1": 81, "images": 100, "low": 0.72, "high": 0.88, "gain": [0.47, 0.361, 0.57]}
    given = {"top1": 34, "images": 100, "low": 0.25, "high": 0.44, "said": True, "preprocessing": {}}
    about: dict[str, Any] = {"network": "net.onnx", "outcome": "explained", "classes": ["cat", "dog"]}
    about |= {"classes_seen": 2, "images": {"there": 5000, "tried": 100, "confirmed": 100, "asked": 100}}
    about |= {"variants": rows, "best": best, "given": given, "order": None, "least_gain": 0.04, "chance": 0.5}
    return about | changes


def page(**changes: Any) -> str:
    return diagnose_text.render(codec.decode(Diagnosis, document(**changes)))


def words(**changes: Any) -> str:
    return " ".join(page(**changes).split())


def test_the_complete_page() -> None:
    assert (
        page()
        == """\
net.onnx: 100 images of 2 classes, and 100 others to confirm on

tried                   top-1  gain pp (corrected 95 %)
as given              30.00 %
BGR                   80.00 %    +50.0 (+30.0 to +65.0)
pixels from 0 to 255   9.00 %      -21.0 (-40.0 to 0.0)

explained by BGR: 81.00 % instead of 34.00 % on 100 other images, +47.00 points
  (95 % interval +36.1 to +57.0)
write `preprocessing: {order: bgr}`
"""
    )


def test_numbers_are_written_as_a_recipe_wants_them_and_alternatives_that_look_alike_are_named() -> None:
    written = {"mean": [0.0, 0.485, 103.939 / 255], "std": [1 / 255] * 3, "resize": 256}
    text = words(best={**document()["best"], "write": written, "alike": ["a", "b", "c", "d", "e", "f"]})
    assert "so few images cannot distinguish it from: a; b; c; d; e; and 1 more (`--count` tries more)" in text
    assert "{mean: [0, 0.485, 0.407604], std: [0.00392157, 0.00392157, 0.00392157], resize: 256}" in text


@pytest.mark.parametrize(
    ("outcome", "sentence"),
    [
        (
            "nothing",
            "no variant explains it: the given preprocessing has 34.00 % on 100 other images (95 % interval 25.0 to "
            "44.0), no more than chance, and no other",
        ),
        (
            "chance",
            "no variant explains it for certain: BGR looked better, but 100 other images do not confirm it: 81.00 % "
            "instead of 34.00 %",
        ),
        ("fits", "best of all variants: BGR, with 81.00 % on 100 other images (95 % interval 72.0 to 88.0)"),
    ],
)
def test_each_outcome_has_its_sentence(outcome: str, sentence: str) -> None:
    text = words(outcome=outcome)
    assert sentence in text
    assert ("write `" in text) == (outcome == "fits")


def test_the_best_of_nothing_is_not_recommended() -> None:
    best = {**document()["best"], "low": 0.4}
    text = words(outcome="fits", best=best)
    assert "no variant is better than chance: the best, BGR, has 81.00 %" in text
    assert "write `" not in text


def test_classes_in_another_order_are_named() -> None:
    one = {"folder": "dog", "answer": 3, "called": "cat", "right": 9, "images": 10}
    order = {"moved": [one] * 7, "straight_top1": 3, "images": 100}
    best = {**document()["best"], "changes": [], "name": "as given", "write": {}}
    text = words(order=order, best=best)
    assert "explained by another order of the classes: 81.00 % instead of 34.00 %" in text
    assert "than the folders: dog is its class 3 (cat);" in text
    assert "and 2 more (`--json` has all)" in text
    assert "rename them" in text


def test_few_images_and_many_classes_are_notes() -> None:
    few = {"there": 30, "tried": 15, "confirmed": 15, "asked": 100}
    text = words(images=few, classes=[str(n) for n in range(1000)], classes_seen=15, least_gain=0.27)
    assert "15 images of 15 of its 1000 classes, and 15 others" in text
    assert "note: 30 images are few: 15 of them can confirm only a gain of 27 points or more" in text
    assert "note: one image per class cannot show the order of the classes" in text


def test_a_long_table_is_shortened_and_a_long_name_broken() -> None:
    rows, name = document()["variants"], "the given numbers divided by 255, BGR, shorter side {}, then cropped"
    rows += [{**rows[2], "name": name.format(n)} for n in range(20)]
    text = page(variants=rows)
    assert "… and 12 more, at most 9.00 % (`--json` has all)" in text
    assert max(map(len, text.splitlines())) <= 80
