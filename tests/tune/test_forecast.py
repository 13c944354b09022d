"""What the verdict will be, without labels; and the journal of what was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeresnet.portable import judging
from edgeresnet.portable.tasks.overlap import Packed, overlaps
from edgeresnet.tune.forecast import Goals, Seen, expect, look
from edgeresnet.tune.journal import Journal

pytestmark = pytest.mark.unit


def goals(**limits: float) -> Goals:
    given = {"max_drop_pp": None, "max_flips_pct": None, "max_confidence_change": None, **limits}
    return Goals(images=int(given.pop("images", 2000)), round=int(given.pop("round", 1)), **given)  # type: ignore[arg-type]


def logits(images: int = 4000, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    exact = rng.normal(0, 2, (images, 10)).astype(np.float32)
    return exact + np.random.default_rng(seed + 1).normal(0, noise, exact.shape).astype(np.float32)


def test_equal_answers_keep_everything() -> None:
    seen = look(logits(), logits())
    assert (seen.flips, seen.drop, seen.change, set(seen.changes)) == (0.0, 0.0, 0.0, {0.0})
    assert expect(seen, goals(max_drop_pp=0.01, max_flips_pct=0.01, max_confidence_change=0.01)).kept


def test_few_images_show_the_flips_of_many() -> None:
    exact, given = logits(), logits(noise=0.1)
    flips = float((exact.argmax(1) != given.argmax(1)).mean())
    few = [look(exact[start : start + 200], given[start : start + 200]).flips for start in range(0, 4000, 200)]
    counted = [
        float((exact[start : start + 200].argmax(1) != given[start : start + 200].argmax(1)).mean())
        for start in range(0, 4000, 200)
    ]
    assert np.mean(few) == pytest.approx(flips, rel=0.15)
    assert np.std(few) < 0.8 * np.std(counted), "the errors of other images say more"


def test_the_forecast_drop_is_the_drop_where_probabilities_are_true() -> None:
    """Labels are drawn from the FP32 network's probabilities: then the forecast is what happens."""
    exact, given = logits(60_000), logits(60_000, noise=1.0)
    powers = np.exp(exact - exact.max(1, keepdims=True))
    cumulated = np.cumsum(powers / powers.sum(1, keepdims=True), axis=1)
    labels = (np.random.default_rng(5).random((60_000, 1)) > cumulated).sum(1)
    drop = float((exact.argmax(1) == labels).mean() - (given.argmax(1) == labels).mean())
    assert look(exact, given).drop == pytest.approx(drop, abs=0.005)


def test_of_pixels_the_forecast_drop_is_that_of_the_miou() -> None:
    exact, given = logits(60_000), logits(60_000, noise=1.0)
    powers = np.exp(exact - exact.max(1, keepdims=True))
    cumulated = np.cumsum(powers / powers.sum(1, keepdims=True), axis=1)
    labels = (np.random.default_rng(5).random((60_000, 1)) > cumulated).sum(1)
    masks = [
        Packed.of([each.reshape(200, 300).astype(np.uint16)]) for each in (labels, exact.argmax(1), given.argmax(1))
    ]
    before, now = (overlaps(masks[0], each, exact.shape[1]).miou for each in masks[1:])
    assert look(exact, given, "pixel").drop == pytest.approx(before - now, abs=0.005)


def test_later_rounds_want_more_of_the_same_network() -> None:
    seen = Seen(flips=0.01, drop=0.002, change=0.01, changes=(0.01,))
    parts = [expect(seen, goals(max_flips_pct=2, round=number)).excess for number in range(1, judging.ROUNDS + 1)]
    assert parts == sorted(parts)
    assert parts[0] < 1 < parts[-1]


def test_a_limit_finer_than_the_images_can_show_is_not_searched_for_ever() -> None:
    assert expect(Seen(0.0, 0.0, 0.0, (0.0,)), goals(max_drop_pp=0.001, images=50)).kept


def test_a_journal_answers_the_same_question_again_and_no_other(tmp_path: Path) -> None:
    path, made = tmp_path / "folder" / "looks.json", list[str]()

    def make() -> Seen:
        made.append("")
        return Seen(0.1, 0.2, 0.3, (0.4, 0.5))

    first = Journal(path, Seen, "a question")
    assert (first.of("one", make), first.continued) == (Seen(0.1, 0.2, 0.3, (0.4, 0.5)), 0)
    again = Journal(path, Seen, "a question")
    assert (again.of("one", make), again.continued, len(made)) == (Seen(0.1, 0.2, 0.3, (0.4, 0.5)), 1, 1)
    assert Journal(path, Seen, "another question").answers == {}
    whole = path.read_text()
    for damaged in (whole[:-9], whole.replace("drop", "fall"), whole.replace("[0.4, 0.5]", "{")):
        assert damaged != whole
        path.write_text(damaged)
        assert Journal(path, Seen, "a question").answers == {}, "damaged, or of another version"
