"""What a search costs: hopeless variants are asked about a few images, and every geometry is decoded once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeresnet.diagnose import trials
from edgeresnet.diagnose.variants import Axes, Variant
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
        self.asked = 0

    def infer(self, batch: np.ndarray) -> np.ndarray:
        self.asked += len(batch)
        seen = batch.mean((2, 3))
        return np.where(np.abs(seen).max(1, keepdims=True) < 20, seen, np.eye(CLASSES)[[0]]).astype(np.float32)


@pytest.fixture
def samples() -> Samples:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), 34)
    pixels = rng.integers(60, 140, (len(labels), 12, 16, 3)).astype(np.uint8)
    pixels[np.arange(len(labels)), :, :, labels] += 90
    return Samples.of(Arrays("colours", pixels, labels, ["red", "green", "blue"]), GIVEN, "error", None)


def searched(samples: Samples, given: Preprocessing, said: bool = True) -> tuple[trials.Found, int, Any]:
    network = Brightest()
    tried = trials.Images(network, samples, given)  # type: ignore[arg-type]
    return trials.search(tried, Axes.around(given, said=said), lambda words: None), network.asked, tried


def test_what_is_hopeless_is_asked_about_few_images(samples: Samples) -> None:
    found, asked, _ = searched(samples, GIVEN)
    assert found.finalists[0].variant.name == "as given"
    counts = {trial.variant.name: int(trial.asked.sum()) for trial in found.trials}
    bright = {name: count for name, count in counts.items() if "255" in name}
    assert (set(bright.values()), len(bright)) == ({32}, 6)
    assert counts["as given"] == counts["pixels from -1 to 1"] == len(samples)
    assert counts["BGR"] == len(samples), "two classes for each other, as far as answers tell"
    assert asked == sum(counts.values()) < len(samples) * len(counts)


def test_the_right_one_is_found_behind_a_wrong_start(samples: Samples) -> None:
    bgr = Preprocessing(SIZE, GIVEN.mean, GIVEN.std, order="bgr")
    found, _, _ = searched(samples, bgr)
    assert found.finalists[0].variant.name == "RGB"
    assert found.finalists[0].asked.all()
    assert found.trials[0].asked.all(), "what was given is what the others are held against"


def test_another_order_of_the_classes_lets_nothing_be_hopeless(samples: Samples) -> None:
    """Answers are as seldom right under each preprocessing then: a few images tell nothing."""
    network = Brightest()
    turned = SimpleNamespace(signature=network.signature, infer=lambda batch: np.roll(network.infer(batch), 1, axis=1))
    tried = trials.Images(turned, samples, GIVEN)
    found = trials.search(tried, Axes.around(GIVEN, said=True), lambda words: None)
    assert found.reordered
    assert found.right(found.finalists[0]).mean() > 0.9


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
    monkeypatch.setattr(trials, "_HELD_BYTES", 1)  # memory for one alone: it costs time
    tried = trials.Images(Brightest(), samples, GIVEN)  # type: ignore[arg-type]
    squash = Variant(cut=Axes.around(GIVEN, said=True).cuts[-1])
    answers = [tried.ask(each).right.sum() for each in (Variant(), squash, Variant())]
    assert (answers[0], len(decoded)) == (answers[2], 3)
