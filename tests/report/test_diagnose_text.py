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
        {"name": "pixels from 0 to 255", "changes": [""], "top1": 3, "won": 1, "lost": 22, "low": -0.4, "high": 0}
        | start
        | {"images": 32},
    ]
    best: dict[str, Any] = {"name": "BGR", "changes": ["BGR"], "write": {"order": "bgr"}, "preprocessing": {}}
    best |= {"alike": [], "top1": 81, "images": 100, "low": 0.72, "high": 0.88, "gain": [0.47, 0.361, 0.57]}
    given = {"top1": 34, "images": 100, "low": 0.25, "high": 0.44, "said": True, "preprocessing": {}}
    about: dict[str, Any] = {"network": "net.onnx", "outcome": "explained", "classes": ["cat", "dog"]}
    about |= {"classes_seen": 2, "images": {"there": 5000, "tried": 100, "confirmed": 100, "asked": 100}}
    about |= {
        "variants": rows,
        "best": best,
        "given": given,
        "order": None,
        "left": 2,
        "least_gain": 0.04,
        "chance": 0.5,
    }
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

tried                 images    top-1  gain pp (corrected 95 %)
as given                 100  30.00 %
BGR                      100  80.00 %    +50.0 (+30.0 to +65.0)
pixels from 0 to 255      32   9.38 %      -65.6 (-40.0 to 0.0)

explained by BGR: 81.00 % instead of 34.00 % on 100 other images, +47.00 points
  (95 % interval +36.1 to +57.0)
write `preprocessing: {order: bgr}`
"""
    )


def test_numbers_are_written_as_a_recipe_wants_them() -> None:
    written = {"mean": [0.0, 0.485, 103.939 / 255], "std": [1 / 255] * 3, "resize": 256}
    text = words(best={**document()["best"], "write": written})
    assert "{mean: [0, 0.485, 0.407604], std: [0.00392157, 0.00392157, 0.00392157], resize: 256}" in text


def tied(better: int, **changes: Any) -> dict[str, Any]:
    """Return changes of the document: another candidate is level with BGR, and has this number of correct answers."""
    one = {**document()["variants"][1], "name": "the numbers' order, BGR", "top1": better}
    best = {**document()["best"], "alike": [one["name"]]}
    return {"variants": [*document()["variants"], one], "best": best, **changes}


def test_candidates_that_tie_are_named_before_any_line_to_write() -> None:
    text = page(**tied(79))
    assert "write `" not in text
    assert text.index("Undecided: these images cannot tell 2 candidates apart") < text.index("preprocessing: {")
    assert "  80 of 100  BGR\n  79 of 100  the numbers' order, BGR\n" in text
    assert "the best so far explains it, and others may too: BGR, 81.00 % instead of 34.00 %" in " ".join(text.split())
    assert "its line, which is not certain: `preprocessing: {order: bgr}`" in text
    assert "the most usual of them explains it" in words(**tied(82)), "it has fewer correct answers"


def test_the_command_that_compares_only_these() -> None:
    shown = diagnose_text.render(codec.decode(Diagnosis, document(**tied(79))), "edgeresnet diagnose net.onnx")
    assert (
        "Compare only these on more images:\n"
        "  edgeresnet diagnose net.onnx --count 400 \\\n"
        '    --only "BGR" \\\n'
        '    --only "the numbers\' order, BGR"\n'
    ) in shown
    few = {"there": 200, "tried": 100, "confirmed": 100, "asked": 100}
    text = page(**tied(79, images=few))
    assert "All images are used. Give more of them to compare these." in text
    assert "--only" not in text


def test_many_that_tie_are_counted_but_the_command_names_each() -> None:
    rows = document()["variants"] + [{**document()["variants"][1], "name": f"other {n}"} for n in range(6)]
    text = page(variants=rows, best={**document()["best"], "alike": [f"other {n}" for n in range(6)]})
    assert "cannot tell 7 candidates apart" in text
    assert "  and 2 more (`--json` has all)" in text
    assert text.count("--only") == 7


def test_a_search_that_ended_early_says_so() -> None:
    text = words(left=1, images={"there": 9000, "tried": 200, "confirmed": 600, "asked": 2000})
    assert "note: one candidate was left after 200 images, and so the search ended there" in text
    assert "images are few" not in text


@pytest.mark.parametrize(
    ("outcome", "sentence"),
    [
        (
            "nothing",
            "no variant explains it. The given preprocessing has 34.00 % on 100 other images (95 % interval 25.0 to "
            "44.0), no more than chance. No other",
        ),
        (
            "chance",
            "no variant explains it for certain. BGR looked better, but 100 other images do not confirm it: 81.00 % "
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
    assert "no variant is better than chance. The best, BGR, has 81.00 %" in text
    assert "write `" not in text


def test_classes_in_another_order_are_named() -> None:
    one = {"folder": "dog", "answer": 3, "called": "cat", "right": 9, "images": 10}
    order = {"moved": [one] * 7, "straight_top1": 3, "images": 100}
    best = {**document()["best"], "changes": [], "name": "as given", "write": {}}
    text = words(order=order, best=best)
    assert "explained by another order of the classes: 81.00 % instead of 34.00 %" in text
    assert "than the folders: dog is its class 3 (cat);" in text
    assert "and 2 more (`--json` has all)" in text
    assert "Rename them" in text


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
    assert "… and 12 more, at most 9.38 % (`--json` has all)" in text
    assert max(map(len, text.splitlines())) <= 80
