"""What a search costs: hopeless alternatives are evaluated on a few images, and every geometry is decoded once."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeresnet.diagnose import evaluator, search
from edgeresnet.diagnose.alternatives import Alternative, Axes, named
from edgeresnet.diagnose.evaluator import Evaluator
from edgeresnet.errors import ImagesError
from edgeresnet.images import Samples
from edgeresnet.images.sources import Arrays
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.portable.session import Signature

pytestmark = pytest.mark.unit

SIZE, CLASSES = 8, 3
GIVEN = Preprocessing(SIZE, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Brightest:
    """Answers with the brightest channel: the colour is the class, and 0 to 255 is too much for it."""

    signature = Signature("image", None, 3, SIZE, "logits", CLASSES)

    def __init__(self) -> None:
        self.evaluated = 0

    def infer(self, batch: np.ndarray) -> np.ndarray:
        self.evaluated += len(batch)
        seen = batch.mean((2, 3))
        return np.where(np.abs(seen).max(1, keepdims=True) < 20, seen, np.eye(CLASSES)[[0]]).astype(np.float32)


@pytest.fixture
def samples() -> Samples:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), 34)
    pixels = rng.integers(60, 140, (len(labels), 12, 16, 3)).astype(np.uint8)
    pixels[np.arange(len(labels)), :, :, labels] += 90
    return Samples.of(Arrays("colours", pixels, labels, ["red", "green", "blue"]), GIVEN, "error", None)


def searched(samples: Samples, given: Preprocessing, mean_given: bool = True) -> tuple[search.SearchResult, int, Any]:
    network = Brightest()
    tried = Evaluator(network, samples, given)  # type: ignore[arg-type]
    return (
        search.search_alternatives(tried, Axes.around(given, mean_given=mean_given)),
        network.evaluated,
        tried,
    )


def test_what_is_hopeless_is_evaluated_on_few_images(samples: Samples) -> None:
    found, evaluated, _ = searched(samples, GIVEN)
    assert found.finalists[0].alternative.name == "as given"
    counts = {attempt.alternative.name: int(attempt.evaluated.sum()) for attempt in found.attempts}
    bright = {name: count for name, count in counts.items() if "255" in name}
    assert (set(bright.values()), len(bright)) == ({32}, 6)
    assert counts["as given"] == counts["pixels from -1 to 1"] == len(samples)
    assert counts["BGR"] == len(samples), "two classes for each other, as far as answers show"
    assert evaluated == sum(counts.values()) < len(samples) * len(counts)


class Dim(Brightest):
    """Answers as `Brightest` does, and misses what is dark: with pixels from -1 to 1, one image of five."""

    def infer(self, batch: np.ndarray) -> np.ndarray:
        dark = batch.mean((2, 3)).max(1, keepdims=True) < 0.3
        return np.where(dark, np.eye(CLASSES)[[0]], super().infer(batch)).astype(np.float32)


@pytest.fixture
def many() -> Samples:
    """Return 600 images, some darker than others."""
    rng = np.random.default_rng(1)
    labels = np.arange(600) % CLASSES
    light = rng.integers(-40, 40, (600, 1, 1, 1))
    pixels = rng.integers(40, 120, (600, 12, 16, 3))
    pixels[np.arange(600), :, :, labels] = 190
    pixels = (pixels + light).astype(np.uint8)
    return Samples.of(Arrays("colours", pixels, labels, ["red", "green", "blue"]), GIVEN, "error", None)


def test_each_round_is_for_those_that_are_left(many: Samples) -> None:
    network, lines = Dim(), list[str]()
    tried = Evaluator(network, many, GIVEN)  # type: ignore[arg-type]

    def progress(words: str) -> Any:
        lines.append(words)
        return lambda done, total, word: lines.append(f"{done} of {total} {word}")

    found = search.search_alternatives(tried, Axes.around(GIVEN, mean_given=True), progress)
    seen = {attempt.alternative.name: int(attempt.evaluated.sum()) for attempt in found.attempts}
    assert tried.ends == (100, 200, 400, 600)
    assert {count for name, count in seen.items() if "255" in name} == {32}
    assert seen["pixels from -1 to 1"] == 100, "it is worse on one image of five: the first part shows it"
    assert seen["as given"] == seen["CIFAR-10's mean and std"] == found.images == 600, "these cannot be told apart"
    assert [sum(count >= end for count in seen.values()) for end in tried.ends] == [25, 12, 6, 6], "half of them go on"
    assert "pixels from -1 to 1" not in {attempt.alternative.name for attempt in found.left}
    assert network.evaluated == sum(seen.values()) < 0.4 * len(many) * len(seen)
    rounds = [line for line in lines if line.startswith("images ")]
    assert [line.split(":")[0] for line in rounds] == ["images 101 to 200", "images 201 to 400", "images 401 to 600"]
    more, total = lines[-1].split(" images")[0].split(" of ")
    assert more == total, "the last count is complete"


def test_the_search_ends_when_one_is_left(many: Samples) -> None:
    """Only the given preprocessing knows anything, so later images would change nothing."""
    network = Brightest()
    names = ("pixels from 0 to 255", "pixels from 0 to 255, BGR")
    axes = Axes.around(GIVEN, mean_given=True)
    tried = Evaluator(network, many, GIVEN)  # type: ignore[arg-type]
    found = search.search_alternatives(tried, axes, only=[named(axes, name) for name in names])
    assert ([attempt.alternative.name for attempt in found.left], found.images) == (["as given"], 100)
    assert network.evaluated == 100 + 32 + 32


def test_the_answer_does_not_depend_on_the_order_of_the_files(many: Samples) -> None:
    turned = many.subset(np.random.default_rng(3).permutation(len(many)))
    rows = []
    for samples in (many, many, turned):
        tried = Evaluator(Dim(), samples, GIVEN, seed=5)  # type: ignore[arg-type]
        found = search.search_alternatives(tried, Axes.around(GIVEN, mean_given=True))
        rows.append([(each.alternative.name, each.evaluated.sum(), each.correct.sum()) for each in found.attempts])
    assert rows[0] == rows[1] == rows[2]


def test_every_beginning_is_balanced(many: Samples) -> None:
    order = evaluator.balanced_order(many, 1)
    assert sorted(order) == list(range(600))
    assert order.tolist() != evaluator.balanced_order(many, 2).tolist()
    for count in (30, 100, 200, 401):
        assert np.ptp(np.bincount(many.labels[order[:count]], minlength=CLASSES)) <= 1
    classes = [str(n) for n in range(150)]
    pixels = np.arange(600, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 8, 8, 3), np.uint8)
    source = Arrays("many", pixels, np.arange(600) % 150, classes)
    labels = source.labels[evaluator.balanced_order(Samples.of(source, GIVEN, "error", None), 0)]
    assert np.unique(labels[:100], return_counts=True)[1].tolist() == [4] * 25, "one image of a class shows no order"


def test_an_unreadable_image_is_never_evaluated(samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Samples.read

    def broken(self: Samples, index: int) -> np.ndarray:
        if self.chosen[index] == 7:
            raise ImagesError("image 7", "cannot be read", hint="remove it")
        return read(self, index)

    monkeypatch.setattr(Samples, "read", broken)
    tried = Evaluator(Brightest(), replace(samples, unreadable="skip"), GIVEN)  # type: ignore[arg-type]
    (attempt,) = tried.evaluate_all([Alternative()])
    assert attempt.evaluated.sum() == attempt.correct.sum() == len(samples) - 1


@pytest.mark.parametrize(
    ("images", "ends"),
    [(1, (1,)), (100, (100,)), (149, (149,)), (150, (100, 150)), (2000, (100, 200, 400, 800, 2000))],
)
def test_parts_double(images: int, ends: tuple[int, ...]) -> None:
    assert evaluator.part_ends(images) == ends


def test_the_best_one_is_found_from_a_wrong_start(samples: Samples) -> None:
    bgr = Preprocessing(SIZE, GIVEN.mean, GIVEN.std, order="bgr")
    found, _, _ = searched(samples, bgr)
    assert found.finalists[0].alternative.name == "RGB"
    assert found.finalists[0].evaluated.all()
    assert found.attempts[0].evaluated.all(), "what was given is what the others are compared with"


def test_another_order_of_the_classes_lets_nothing_be_hopeless(samples: Samples) -> None:
    """Answers are as seldom correct under each preprocessing then: a few images show nothing."""
    network = Brightest()
    turned = SimpleNamespace(signature=network.signature, infer=lambda batch: np.roll(network.infer(batch), 1, axis=1))
    tried = Evaluator(turned, samples, GIVEN)
    found = search.search_alternatives(tried, Axes.around(GIVEN, mean_given=True))
    assert found.reordered
    assert found.correct(found.finalists[0]).mean() > 0.9


def test_a_geometry_is_decoded_once(samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[tuple] = []
    batches = Samples.batches

    def counted(self: Samples, size: int) -> Any:
        decoded.append((self.preprocessing.crop, self.preprocessing.resize, self.preprocessing.interpolation))
        return batches(self, size)

    monkeypatch.setattr(Samples, "batches", counted)
    searched(samples, GIVEN)
    assert len(decoded) == len(set(decoded)) > 4
    decoded.clear()
    monkeypatch.setattr(evaluator, "_CACHE_BYTES", 1)  # memory for one alone: it costs time
    tried = Evaluator(Brightest(), samples, GIVEN)  # type: ignore[arg-type]
    squash = Alternative(crop=Axes.around(GIVEN, mean_given=True).crops[-1])
    answers = [tried.evaluate(each).correct.sum() for each in (Alternative(), squash, Alternative())]
    assert (answers[0], len(decoded)) == (answers[2], 3)
