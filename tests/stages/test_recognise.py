"""Weights whose tensors fit several networks: what answers labelled images best is taken, and how sure that is."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgeresnet import images, models, recipe
from edgeresnet.context import Context
from edgeresnet.errors import ModelError
from edgeresnet.images import Samples
from edgeresnet.models import checkpoint
from edgeresnet.notes import RecogniseNotes
from edgeresnet.portable import intervals
from edgeresnet.runs import Run
from edgeresnet.stages import recognise
from edgeresnet.stages.candidates import RecogniseInputs, RecogniseSpec
from edgeresnet.stages.specs import Architecture
from edgeresnet.store import Given, Store

from ..conftest import folder_of, tiny

RESIDUAL, PLAIN = (Architecture(f"cifar_{kind}8", 10, 1) for kind in ("resnet", "plain"))
Chosen = Callable[..., tuple[RecogniseNotes, Context]]


@pytest.fixture(scope="module")
def digits() -> Samples:
    samples = images.open_samples(recipe.parse(tiny()), "evaluation")
    return samples.subset(np.arange(0, len(samples), 4)[:100])


@pytest.fixture
def chosen(trained: tuple[Store, Run], digits: Samples, tmp_path: Path) -> Chosen:
    """Return what is chosen for the weights of a trained cifar_resnet8, and the context with the warnings."""
    weights = folder_of(trained[1], "train") / "weights.safetensors"

    def choose(candidates: Sequence[Architecture], samples: Samples = digits) -> tuple[RecogniseNotes, Context]:
        ctx = Context(0, tmp_path)
        inputs = RecogniseInputs(Given("w", weights), Given(samples.digest, samples))
        return recognise.recognise(inputs, RecogniseSpec(tuple(candidates), 3), tmp_path, ctx), ctx

    return choose


@pytest.mark.parametrize("order", [(RESIDUAL, PLAIN), (PLAIN, RESIDUAL)])
def test_the_best_is_taken_wherever_it_stands(chosen: Chosen, order: Any, tmp_path: Path) -> None:
    found, ctx = chosen(order)
    assert (found.arch, found.shown, found.better_than_chance) == ("cifar_resnet8", True, True)
    assert [each.arch for each in found.candidates] == [each.arch for each in order]
    counts = {each.arch: each.correct for each in found.candidates}
    plain, residual = counts["cifar_plain8"], counts["cifar_resnet8"]
    assert residual > 90 > plain
    assert found.sentence() == f"cifar_resnet8: {residual} of 100 correct; next, cifar_plain8: {plain} of 100"
    assert ctx.warnings == []
    held = json.loads((tmp_path / recognise.FILE).read_text())
    answers = np.asarray(held["answers"]["cifar_resnet8"])
    assert int((answers == held["labels"]).sum()) == residual


def test_what_chance_explains_is_no_reason(chosen: Chosen, digits: Samples) -> None:
    few = digits.subset(range(5))
    found, ctx = chosen((PLAIN, RESIDUAL), few)
    best = max(found.candidates, key=lambda each: each.correct)
    assert best.arch == "cifar_resnet8", "or there is nothing that chance could explain"
    assert (found.arch, found.shown, found.better_than_chance) == ("cifar_plain8", False, True)
    (warning,) = ctx.warnings
    assert warning.code == "recognised-by-convention"
    assert warning.text == (
        f"these images do not tell cifar_plain8 from cifar_resnet8. The most usual of these is used: "
        f"{found.sentence()}. Set `model.arch` if it is another"
    )


def test_of_equal_answers_the_surer_ones_are_taken(chosen: Chosen, digits: Samples) -> None:
    """Few images do not tell two networks apart by correct answers, but by how probable these are."""
    found, ctx = chosen((PLAIN, RESIDUAL), digits.subset(range(20)))
    assert (found.arch, found.shown, found.by_certainty) == ("cifar_resnet8", True, True)
    assert "correct, and surer of the labels; next, cifar_plain8: " in found.sentence()
    assert ctx.warnings == []


def rolled(samples: Samples) -> Samples:
    """Return images whose labels are one too high."""
    source: Any = copy.copy(samples.source)
    source.labels = (source.labels + 1) % 10
    return replace(samples, source=source)


def test_labels_in_another_order_are_noticed(chosen: Chosen, digits: Samples) -> None:
    found, ctx = chosen((PLAIN, RESIDUAL), rolled(digits))
    assert (found.arch, found.shown, found.better_than_chance) == ("cifar_plain8", False, False)
    (warning,) = ctx.warnings
    assert warning.code == "recognised-at-chance"
    assert warning.text.startswith(
        "no candidate is clearly better than chance. The most usual one is used: cifar_plain8: "
    )
    assert "`edgeresnet diagnose` finds out" in warning.text


def test_what_is_surely_worse_sees_few_images(chosen: Chosen, monkeypatch: pytest.MonkeyPatch) -> None:
    real = checkpoint.network_of

    def constant(given: Any, about: Any) -> torch.nn.Module:
        if about is RESIDUAL:
            return real(given, about)
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
        torch.nn.init.zeros_(network[1].weight)  # type: ignore[arg-type]
        return network.eval()

    monkeypatch.setattr(checkpoint, "network_of", constant)
    found, _ = chosen((PLAIN, RESIDUAL))
    assert (found.arch, found.shown) == ("cifar_resnet8", True)
    assert [each.images for each in found.candidates] == [32, 32]


def test_a_candidate_that_cannot_be_run_is_left_out(chosen: Chosen, digits: Samples) -> None:
    other = Architecture("cifar_resnet8b", 10, 1)  # with weights that are not there
    found, ctx = chosen((other, PLAIN, RESIDUAL))
    assert (found.arch, ctx.warnings) == ("cifar_resnet8", [])
    assert "does not fit cifar_resnet8b" in found.candidates[0].problem
    alone, _ = chosen((other, RESIDUAL))
    assert (alone.arch, alone.sentence().count("next")) == ("cifar_resnet8", 0)
    with pytest.raises(ModelError, match="does not fit cifar_resnet8b"):
        chosen((other,))
    at_chance, _ = chosen((other, RESIDUAL), rolled(digits))
    assert at_chance.arch == "cifar_resnet8"


@pytest.mark.parametrize(
    ("correct", "images", "classes", "is_better"),
    [(1, 128, 1000, False), (6, 128, 1000, True), (20, 100, 10, True), (15, 100, 10, False), (0, 100, 10, False)],
)
def test_better_than_chance(correct: int, images: int, classes: int, is_better: bool) -> None:
    labels = np.arange(images) % classes
    answers = np.where(np.arange(images) < correct, labels, (labels + 1) % classes)
    assert intervals.better_than_chance(labels, answers, classes, 0.01) == is_better


def test_the_most_frequent_class_is_no_skill() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    assert not intervals.better_than_chance(labels, np.zeros(100, np.int64), 2)
    assert intervals.better_than_chance(labels, labels, 2)


@torch.no_grad()
def test_what_differs_in_two_things_is_searched(digits: Samples, tmp_path: Path) -> None:
    """The candidates differ from the usual network in one thing each; from the best of them the search goes on."""
    base = "general_basic_1-1-1_out8-16-32_stem8k3s1_bias-stem"
    arch = f"{base}_appended_gelu"
    torch.manual_seed(0)
    network = models.build(arch, 10, 1).eval()
    pixels = torch.from_numpy(digits.preprocessing.normalize(np.concatenate([each[1] for each in digits.batches(64)])))
    head: Any = network.fc
    logits = network(pixels)
    head.weight /= logits.std(0)[:, None]
    head.bias -= network(pixels).mean(0)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    source: Any = copy.copy(digits.source)
    source.labels = np.asarray(source.labels).copy()
    source.labels[np.asarray(digits.chosen)] = network(pixels).argmax(1).numpy()
    labelled = replace(digits, source=source)
    names = (f"{base}_padded", f"{base}_appended", f"{base}_averaged", f"{base}_padded_silu", f"{base}_padded_gelu")
    spec = RecogniseSpec(tuple(Architecture(name, 10, 1) for name in names), 3)
    inputs = RecogniseInputs(Given("w", tmp_path / "w.pth"), Given(labelled.digest, labelled))
    found = recognise.recognise(inputs, spec, tmp_path, Context(0, tmp_path))
    assert found.arch == arch
    assert found.better_than_chance
    assert arch not in names
    assert len({each.arch for each in found.candidates}) == len(found.candidates)


@pytest.mark.parametrize("seed", [47, 140])
def test_of_random_weights_no_candidate_is_better_than_chance(seed: int, digits: Samples, tmp_path: Path) -> None:
    """Each candidate is one more try: of several, one is sooner as good by chance."""
    torch.manual_seed(seed)
    checkpoint.write(models.build("cifar_resnet8", 10, 1), tmp_path / "w.safetensors", {})
    names = ("cifar_resnet8", "cifar_plain8", "cifar_resnet8_appended", "cifar_resnet8_averaged")
    spec = RecogniseSpec(tuple(Architecture(name, 10, 1) for name in names), 3)
    inputs = RecogniseInputs(Given("w", tmp_path / "w.safetensors"), Given(digits.digest, digits))
    found = recognise.recognise(inputs, spec, tmp_path, Context(0, tmp_path))
    assert (found.arch, found.better_than_chance) == ("cifar_resnet8", False)
