"""A trained network under preprocessings that are not its own: each time the correct one is named, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeresnet import diagnose, images, recipe, targets
from edgeresnet.diagnose import Diagnosis, alternatives, evaluator, search
from edgeresnet.diagnose.alternatives import Alternative
from edgeresnet.diagnose.diagnosis import Gain, ImageCounts
from edgeresnet.errors import ImagesError
from edgeresnet.images import Samples
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.portable.session import Session
from edgeresnet.runs import Run
from edgeresnet.store import Store

COUNT = 80


@pytest.fixture(scope="module")
def samples(bars_run: tuple[Store, Run, Path]) -> Samples:
    store, run, _ = bars_run
    return images.open_samples(recipe.parse(dict(run.recipe)), "evaluation", store)


@pytest.fixture(scope="module")
def session(bars_run: tuple[Store, Run, Path]) -> Iterator[Session]:
    compiled = next(step.path for step in bars_run[1].steps if step.id == "compile:reference")
    assert compiled
    with targets.require("onnxruntime").load(Path(compiled)) as opened:
        yield opened


class Other:
    """A session whose images, or answers, are turned into something else."""

    def __init__(self, session: Session, before: Callable | None = None, after: Callable | None = None):
        self.signature, self._session, self._before, self._after = session.signature, session, before, after

    def infer(self, batch: np.ndarray) -> np.ndarray:
        answer = self._session.infer(self._before(batch) if self._before else batch)
        return self._after(answer) if self._after else answer


def trained_with(session: Session, own: Preprocessing, other: Preprocessing) -> Any:
    """The network as if it had been trained on images that were prepared in another way."""

    def before(batch: np.ndarray) -> np.ndarray:
        mean, std = (np.asarray(part, np.float32)[:, None, None] for part in (other.mean, other.std))
        pixels = np.round(np.clip((batch * std + mean) * 255, 0, 255)).astype(np.uint8)
        pixels = pixels[:, ::-1] if other.order == "bgr" else pixels
        return own.normalize(pixels.transpose(0, 2, 3, 1))

    return Other(session, before)


def diagnosed(session: Any, samples: Samples, *, mean_given: bool = True, count: int = COUNT, **keys: Any) -> Diagnosis:
    given = replace(samples, preprocessing=replace(samples.preprocessing, **keys))
    return diagnose.diagnose(session, given, network="net", mean_given=mean_given, count=count, seed=1)


def test_the_correct_preprocessing_is_not_bettered(session: Session, samples: Samples) -> None:
    found = diagnosed(session, samples)
    assert (found.outcome, found.best.changes, found.best.gain) == ("nothing", (), None)
    assert found.order is None
    assert found.given.share > 0.95
    assert found.images == ImageCounts(there=320, tried=80, confirmed=240, requested=80)


@pytest.mark.parametrize(
    ("wrong", "changes", "write"),
    [
        ({"order": "bgr"}, ["RGB"], {"order"}),
        (
            {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)},
            ["the given numbers divided by 255"],
            {"mean", "std"},
        ),
        ({"mean": (0.0,) * 3, "std": (1 / 255,) * 3}, ["ImageNet's mean and std"], {"mean", "std"}),
        ({"mean": (0.0,) * 3, "std": (1.0,) * 3}, ["ImageNet's mean and std"], {"mean", "std"}),
        ({"crop": "squash"}, ["shorter side 16, no border cropped"], {"crop"}),
        ({"order": "bgr", "crop": "squash"}, ["RGB", "shorter side 16, no border cropped"], {"crop", "order"}),
        (
            {"order": "bgr", "mean": (0.0,) * 3, "std": (1 / 255,) * 3},
            ["ImageNet's mean and std", "RGB"],
            {"mean", "std", "order"},
        ),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_what_is_wrong_is_named(session: Session, samples: Samples, wrong: Any, changes: Any, write: Any) -> None:
    found = diagnosed(session, samples, **wrong)
    assert (found.outcome, found.best.changes) == ("explained", tuple(changes))
    assert found.order is None
    assert found.best.gain
    assert found.best.gain.low > 0
    assert found.best.top1 > found.given.top1
    assert found.best.write.keys() == write
    best, own = Preprocessing.from_json(dict(found.best.preprocessing)), samples.preprocessing
    assert (best.order, best.geometry) == (own.order, own.geometry)
    np.testing.assert_allclose([best.mean, best.std], [own.mean, own.std], rtol=1e-3)


IMAGENET = Preprocessing(16, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NUMBERS = [choice.words for choice in alternatives.colours(IMAGENET, mean_given=True)]


@pytest.mark.parametrize(
    "words",
    [pytest.param(each, marks=() if index % 3 == 0 else pytest.mark.slow) for index, each in enumerate(NUMBERS[1:])],
    ids="+".join,
)
def test_whatever_a_network_was_trained_with_is_found(session: Session, samples: Samples, words: Any) -> None:
    choice = next(one for one in alternatives.colours(samples.preprocessing, mean_given=True) if one.words == words)
    trained = trained_with(
        session, samples.preprocessing, Alternative(colours=choice).applied_to(samples.preprocessing)
    )
    found = diagnosed(trained, samples)
    name = ", ".join(words)
    best = found.best  # a part of it may be all that so few images show
    is_known = name == best.name or name in best.alike or set(best.changes) <= set(words)
    assert is_known or found.outcome == "nothing"
    assert found.best.share > 0.93
    if found.given.share < 0.85:
        assert found.outcome == "explained"
        assert set(found.best.changes) & set(words)


def test_where_no_mean_was_given_the_best_is_named(session: Session, samples: Samples) -> None:
    own = samples.preprocessing
    half = alternatives.colours(own, mean_given=True)[
        [", ".join(words) for words in NUMBERS].index("pixels from -1 to 1")
    ]
    trained = trained_with(session, own, Alternative(colours=half).applied_to(own))
    stand_in = diagnose.stand_in(3)
    found = diagnosed(trained, samples, mean_given=False, mean=stand_in.mean, std=stand_in.std)
    assert (found.outcome, found.best.name) == ("fits", "pixels from -1 to 1")
    assert found.best.write == {"size": 16, "mean": [0.5] * 3, "std": [0.5] * 3}
    assert found.given.mean_given is False


@pytest.mark.parametrize("wrong", [{}, {"order": "bgr"}], ids=["alone", "with BGR"])
def test_classes_in_another_order(session: Session, samples: Samples, wrong: dict[str, Any]) -> None:
    order = np.asarray([3, 0, 4, 1, 5, 7, 6, 2])  # of folders: what the network calls each
    network = Other(session, after=lambda logits: logits[:, np.argsort(order)])
    found = diagnosed(network, samples, **wrong)
    assert found.outcome == "explained"
    assert found.best.changes == (("RGB",) if wrong else ())
    assert found.best.share > 0.93
    assert found.order
    moved = {one.folder: one.answer for one in found.order.moved}
    assert moved == {samples.classes[f]: int(answer) for f, answer in enumerate(order) if answer != f}
    assert found.order.straight_top1 < 0.5 * found.order.images


def test_two_classes_for_each_other(session: Session, samples: Samples) -> None:
    swapped = [0, 1, 2, 7, 4, 5, 6, 3]
    found = diagnosed(Other(session, after=lambda logits: logits[:, swapped]), samples)
    assert (found.outcome, found.best.changes) == ("explained", ())
    assert found.order
    names = {one.folder: one.called for one in found.order.moved}
    assert names == {samples.classes[3]: samples.classes[7], samples.classes[7]: samples.classes[3]}


@pytest.mark.parametrize("kind", ["random", "constant"])
def test_a_network_that_knows_nothing_is_explained_by_nothing(session: Session, samples: Samples, kind: str) -> None:
    weights = np.random.default_rng(5).standard_normal((3 * 16 * 16, 8)).astype(np.float32)

    class Ignorant:
        signature = session.signature

        def infer(self, batch: np.ndarray) -> np.ndarray:
            logits = np.cos(37.0 * batch.reshape(len(batch), -1) @ weights)  # of no class more than of another
            return logits if kind == "random" else np.eye(8, dtype=np.float32)[np.full(len(batch), 2)]

    for mean_given in (True, False):
        found = diagnosed(Ignorant(), samples, mean_given=mean_given)
        assert found.outcome != "explained"
        assert found.best.low <= found.chance


def test_few_images_say_what_they_can(session: Session, samples: Samples) -> None:
    few = samples.subset(np.arange(0, 320, 11))
    found = diagnosed(session, few, count=100, crop="squash")
    assert found.images.tried + found.images.confirmed == len(few) == found.images.there
    assert found.least_gain > 0.25
    with pytest.raises(ImagesError, match="1 images are too few"):
        diagnosed(session, samples.subset([7]))


def test_the_two_sets_share_no_image_and_hold_every_class(samples: Samples) -> None:
    first, second = diagnose.split_images(samples, 40, 0)
    assert np.bincount(first.labels).tolist() == [5] * 8
    assert np.bincount(second.labels).tolist() == [15] * 8
    assert not {first.hash(i) for i in range(40)} & {second.hash(i) for i in range(120)}
    again, _ = diagnose.split_images(samples, 40, 0)
    assert again.digest == first.digest
    assert diagnose.split_images(samples, 40, 1)[0].digest != first.digest
    twice = samples.subset([0, 0, 0, 1, 40, 41, 80, 81])
    first, second = diagnose.split_images(twice, 100, 0)
    assert not {first.hash(i) for i in range(len(first))} & {second.hash(i) for i in range(len(second))}


def test_of_many_classes_some_with_several_images_each(samples: Samples) -> None:
    first, second = diagnose.split_images(samples, 16, 0)
    assert sorted(np.bincount(first.labels)[np.unique(first.labels)]) == [4] * 4
    assert set(first.labels.tolist()) == set(second.labels.tolist())


def test_what_prepares_the_same_pixels_is_evaluated_once(session: Session, samples: Samples) -> None:
    evaluated = [0]

    def count(batch: np.ndarray) -> np.ndarray:
        evaluated[0] += len(batch)
        return batch

    few = images.Samples.of(samples.source, samples.preprocessing, "error", None).subset(np.arange(0, 320, 20))
    tried = evaluator.Evaluator(Other(session, count), few, samples.preprocessing)  # type: ignore[arg-type]
    tried.evaluate(Alternative())
    tried.evaluate(Alternative(interpolation=alternatives.Choice(("bicubic",), {"interpolation": "bicubic"})))
    assert evaluated[0] == 16, "these images are 16 pixels high: nothing is interpolated"


def test_what_other_images_do_not_confirm_is_chance() -> None:
    """Forty variants that know nothing: the best of them is better, and only on the images that it was chosen on."""
    rng = np.random.default_rng(0)
    lucky = max((rng.random(100) < 0.5 for _ in range(40)), key=lambda correct: correct.sum())
    before = rng.random(100) < 0.5
    assert search.is_better(lucky, before, 1.0)
    low, high = search.gain_interval(rng.random(300) < 0.5, rng.random(300) < 0.5)
    assert low < 0 < high
    assert diagnose._outcome(mean_given=True, gain=Gain(0.1, low, high)) == "chance"
    assert diagnose._outcome(mean_given=True, gain=Gain(0.1, 0.01, high)) == "explained"


def test_least_gain_is_what_an_interval_shows() -> None:
    least = round(100 * diagnose.least_gain(100))
    correct, before = np.ones(100, bool), np.ones(100, bool)
    before[:least] = False
    assert search.gain_interval(correct, before).low > 0
    before[least - 1] = True
    assert search.gain_interval(correct, before).low <= 0
    assert diagnose.least_gain(2) == 1.0
