"""What a network learns from masks, and how good its answers are: compared with plain counting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from edgeresnet import tasks
from edgeresnet.portable.tasks.masks import IGNORED, Packed
from edgeresnet.portable.tasks.overlap import overlaps

TASK = tasks.of("segmentation")


def case(seed: int = 0, classes: int = 5, side: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, classes, side, side, generator=generator)
    labels = torch.randint(0, classes, (3, side, side), generator=generator)
    labels[torch.rand(3, side, side, generator=generator) < 0.2] = IGNORED
    return logits, labels


@pytest.mark.parametrize("seed", range(5))
def test_the_score_is_the_miou_that_is_reported(seed: int) -> None:
    logits, labels = case(seed)
    labels[labels == 2] = 1
    answers = Packed.of(logits.argmax(1).numpy().astype(np.uint16))
    wanted = overlaps(Packed.of(labels.numpy().astype(np.uint16)), answers, 5).miou
    parts = [TASK.counts(logits[part], labels[part]) for part in (slice(0, 1), slice(1, 3))]
    assert TASK.score(torch.stack(parts).sum(0)) == pytest.approx(wanted, abs=1e-12)


def test_the_loss_of_an_image_is_the_mean_over_its_labelled_pixels() -> None:
    logits, labels = case()
    each = [
        functional.cross_entropy(one[:, label != IGNORED].T, label[label != IGNORED]).item()
        for one, label in zip(logits, labels, strict=True)
    ]
    assert TASK.loss(logits, labels).item() == pytest.approx(sum(each), rel=1e-5)


def test_ignored_pixels_change_neither_loss_nor_score() -> None:
    logits, labels = case()
    other = torch.where((labels == IGNORED)[:, None], 100 * torch.randn_like(logits), logits)
    assert torch.equal(TASK.loss(logits, labels), TASK.loss(other, labels))
    assert torch.equal(TASK.counts(logits, labels), TASK.counts(other, labels))


def test_an_image_without_labels_costs_nothing() -> None:
    logits, labels = case()
    labels[:] = IGNORED
    assert TASK.loss(logits.requires_grad_(), labels).item() == 0
    assert TASK.score(TASK.counts(logits, labels)) == 0


def test_a_coarser_answer_is_enlarged() -> None:
    logits, labels = case()
    coarse = logits[:, :, ::2, ::2]
    large = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(TASK.loss(coarse, labels), TASK.loss(large, labels))
    assert torch.equal(TASK.counts(coarse, labels), TASK.counts(large, labels))


def test_distance_of_equal_answers_is_zero_and_does_not_grow_with_the_image() -> None:
    logits, _ = case()
    assert TASK.apart(logits, logits, 2.0).item() == pytest.approx(0, abs=1e-6)
    found, wanted = (torch.cat([each, each], 2) for each in (logits, 2 * logits))
    assert TASK.apart(found, wanted, 2.0).item() == pytest.approx(TASK.apart(logits, 2 * logits, 2.0).item(), rel=1e-5)


@pytest.mark.parametrize(
    ("shape", "fits"), [((2, 5, 8, 8), True), ((2, 5), False), ((2, 4, 8, 8), False), ((2, 8, 8), False)]
)
def test_shapes_of_answers(shape: tuple[int, ...], fits: bool) -> None:
    assert TASK.fits(shape, 2, 5) == fits
    assert tasks.of(tasks.CLASSIFICATION).fits(shape, 2, 5) == (shape == (2, 5))
