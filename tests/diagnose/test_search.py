"""What a search costs: hopeless alternatives are evaluated on a few images, and every geometry is decoded once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeresnet.diagnose import search
from edgeresnet.diagnose.alternatives import Alternative, Axes
from edgeresnet.images import Samples
from edgeresnet.images.sources import Arrays
from edgeresnet.portable.preprocessing import Preprocessing

pytestmark = pytest.mark.unit

SIZE, CLASSES = 8, 3
GIVEN = Preprocessing(SIZE, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Brightest:
    """Answers with the brightest channel: the colour is the class, and 0 to 255 is too much for it."""

    signature = SimpleNamespace(batch=None, least=1, most=None, classes=CLASSES, channels=3, size=SIZE)

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
    tried = search.Evaluator(network, samples, given)  # type: ignore[arg-type]
    return (
        search.search_alternatives(tried, Axes.around(given, mean_given=mean_given), lambda words: None),
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
    tried = search.Evaluator(turned, samples, GIVEN)
    found = search.search_alternatives(tried, Axes.around(GIVEN, mean_given=True), lambda words: None)
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
    monkeypatch.setattr(search, "_CACHE_BYTES", 1)  # memory for one alone: it costs time
    tried = search.Evaluator(Brightest(), samples, GIVEN)  # type: ignore[arg-type]
    squash = Alternative(crop=Axes.around(GIVEN, mean_given=True).crops[-1])
    answers = [tried.evaluate(each).correct.sum() for each in (Alternative(), squash, Alternative())]
    assert (answers[0], len(decoded)) == (answers[2], 3)
