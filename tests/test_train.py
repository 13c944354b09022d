"""Training: what it keeps, where it goes on, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from edgeresnet import images, recipe
from edgeresnet.artifact import Given
from edgeresnet.context import Context
from edgeresnet.errors import ModelError
from edgeresnet.models import checkpoint
from edgeresnet.recipe import Augment
from edgeresnet.train import STATE, augmented, train

from .conftest import tiny


def prepared(folder: Path, **changes: Any) -> tuple[dict, dict, Path, Context]:
    wanted = recipe.parse(tiny(**{"images__training": {"from": "digits", "count": 200}, "train__epochs": 3, **changes}))
    samples = images.open_samples(wanted, "training")
    assert wanted.train is not None
    spec = {"arch": "cifar_resnet8", "classes": 10, "channels": 1, "train": wanted.train.model_dump(mode="json")}
    for name in ("out", "scratch"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return {"training": Given("x", samples)}, spec, folder / "out", Context(0, folder / "scratch")


def trained(folder: Path, **changes: Any) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    notes = train(*prepared(folder, **changes))
    return load_file(folder / "out" / checkpoint.FILE), notes


def test_the_same_seed_is_the_same_training(tmp_path: Path) -> None:
    one, notes = trained(tmp_path / "one")
    other, _ = trained(tmp_path / "other")
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert notes["validation_images"] == 20
    assert notes["images"] == 180


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("schedule", ["cosine", "one-cycle"])
def test_it_learns(tmp_path: Path, optimizer: str, schedule: str) -> None:
    _, notes = trained(
        tmp_path,
        train__optimizer=optimizer,
        train__schedule=schedule,
        train__rate=0.05 if optimizer == "sgd" else 0.01,
        train__epochs=6,
        train__batch=16,
    )
    history = json.loads((tmp_path / "out" / "history.json").read_text())
    assert len(history) == 6
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert notes["validation_top1"] == max(epoch["validation_top1"] for epoch in history)


def test_the_best_epoch_is_kept_and_not_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([(0.5, 1.0), (0.9, 1.0), (0.7, 1.0)])
    monkeypatch.setattr("edgeresnet.train._Training._validate", lambda self: next(scores))
    _, notes = trained(tmp_path)
    assert (notes["best_epoch"], notes["validation_top1"]) == (2, 0.9)


def test_an_interrupted_training_goes_on_and_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = trained(tmp_path / "whole")
    parents, spec, out, ctx = prepared(tmp_path / "broken")

    def stop(done: int, total: int, word: str) -> None:
        if word.startswith("epoch 3"):
            raise KeyboardInterrupt

    ctx.progress = stop
    with pytest.raises(KeyboardInterrupt):
        train(parents, spec, out, ctx)
    assert (tmp_path / "broken" / "scratch" / STATE).is_file()
    seen: list[str] = []
    again = Context(0, ctx.scratch, lambda done, total, word: seen.append(word))
    train(parents, spec, out, again)
    assert {word.split(" of")[0] for word in seen} == {"epoch 3"}
    assert again.warnings == ["training went on after epoch 2, where it was interrupted"]
    torch.testing.assert_close(load_file(out / checkpoint.FILE), whole, rtol=0, atol=0)


def test_a_state_that_is_not_whole_is_not_used(tmp_path: Path) -> None:
    whole, _ = trained(tmp_path / "whole")
    (tmp_path / "broken" / "scratch").mkdir(parents=True)
    (tmp_path / "broken" / "scratch" / STATE).write_bytes(b"half a file")
    found, _ = trained(tmp_path / "broken")
    torch.testing.assert_close(found, whole, rtol=0, atol=0)


def test_fine_tuning_begins_with_the_given_weights(tmp_path: Path) -> None:
    first, _ = trained(tmp_path / "first")
    parents, spec, out, ctx = prepared(tmp_path / "second", train__rate=1e-9, train__epochs=1)
    parents["checkpoint"] = Given("y", tmp_path / "first" / "out" / checkpoint.FILE)
    train(parents, spec, out, ctx)
    torch.testing.assert_close(load_file(out / checkpoint.FILE)["conv1.weight"], first["conv1.weight"])


def test_a_loss_that_is_no_number_stops(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"the loss became (nan|inf) in epoch") as caught:
        train(*prepared(tmp_path, train__rate=1e12, train__optimizer="sgd", train__schedule="cosine", train__epochs=5))
    assert "train.rate" in caught.value.hint


def test_validation_images_are_not_trained_on() -> None:
    training = images.open_samples(recipe.parse(tiny()), "training")
    rest, part = images.choose.split(training, 0.1, 0)
    assert not images.choose.shared(rest, part)


def test_augmentation_shifts_and_mirrors() -> None:
    batch = torch.arange(2 * 36, dtype=torch.float32).reshape(2, 1, 6, 6)
    rng = np.random.default_rng(0)
    assert augmented(batch, Augment(), rng) is batch
    mirrored = torch.cat([augmented(batch, Augment(flip=True), np.random.default_rng(n)) for n in range(8)])
    kinds = [
        torch.equal(image, batch[n % 2]) or torch.equal(image, batch[n % 2].flip(2)) for n, image in enumerate(mirrored)
    ]
    assert all(kinds)
    moved = augmented(batch, Augment(shift=2), rng)
    assert moved.shape == batch.shape
    assert not torch.equal(moved, batch)
    for image, original in zip(moved, batch, strict=True):
        assert set(image.flatten().tolist()) <= set(original.flatten().tolist())
