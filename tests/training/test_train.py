"""Training: which weights it ends with, where it goes on, what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from edgeresnet import images, models, recipe
from edgeresnet.context import Context
from edgeresnet.errors import ModelError
from edgeresnet.models import checkpoint
from edgeresnet.notes import Epoch, TrainNotes
from edgeresnet.portable import codec, machine
from edgeresnet.portable.result import RunWarning
from edgeresnet.recipe import Augment
from edgeresnet.stages.specs import Architecture, TrainInputs, TrainSpec
from edgeresnet.stages.train import METRICS, train
from edgeresnet.store import Given
from edgeresnet.training import parts, precision
from edgeresnet.training.loop import STATE, Training
from edgeresnet.training.moves import Moves

from ..conftest import tiny


def prepared(folder: Path, given: Path | None = None, **changes: Any) -> tuple[TrainInputs, TrainSpec, Path, Context]:
    """Return what `train` takes; `given` are weights to fine-tune."""
    wanted = recipe.parse(tiny(**{"images__training": {"from": "digits", "count": 200}, "train__epochs": 3, **changes}))
    samples = images.open_samples(wanted, "training")
    assert wanted.train is not None
    spec = TrainSpec(Architecture("cifar_resnet8", classes=10, channels=1), wanted.train, seed=0)
    inputs = TrainInputs(Given("x", samples), None if given is None else Given("y", given))
    for name in ("out", "scratch"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return inputs, spec, folder / "out", Context(0, folder / "scratch")


def trained(folder: Path, **changes: Any) -> tuple[dict[str, torch.Tensor], TrainNotes]:
    notes = train(*prepared(folder, **changes))
    return load_file(folder / "out" / checkpoint.FILE), notes


def loss_of(epoch: Epoch) -> float:
    assert epoch.loss is not None
    return epoch.loss


def test_the_same_seed_is_the_same_training(tmp_path: Path) -> None:
    one, notes = trained(tmp_path / "one")
    other, _ = trained(tmp_path / "other")
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert notes.validation_images == 20
    assert notes.images == 180


@pytest.mark.parametrize(
    ("optimizer", "schedule", "rate"),
    [("adamw", "one-cycle", 0.01), pytest.param("sgd", "cosine", 0.05, marks=pytest.mark.slow)],
)
def test_it_learns(tmp_path: Path, optimizer: str, schedule: str, rate: float) -> None:
    how = {"train__optimizer": optimizer, "train__schedule": schedule, "train__rate": rate}
    _, notes = trained(tmp_path, **how, train__epochs=6, train__batch=16)
    history = [json.loads(line) for line in (tmp_path / "out" / METRICS).read_text().splitlines()]
    assert len(history) == 6
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert notes.validation_top1 == max(epoch["validation_top1"] for epoch in history)


def test_the_best_epoch_counts_and_not_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([(0.5, 1.0), (0.9, 1.0), (0.7, 1.0)])
    monkeypatch.setattr("edgeresnet.training.loop.Training._validate", lambda self: next(scores))
    _, notes = trained(tmp_path)
    assert (notes.best_epoch, notes.validation_top1) == (2, 0.9)


def test_an_interrupted_training_goes_on_and_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uninterrupted, _ = trained(tmp_path / "uninterrupted")
    inputs, spec, out, ctx = prepared(tmp_path / "broken")

    def stop(done: int, total: int, word: str) -> None:
        if word.startswith("epoch 3"):
            raise KeyboardInterrupt

    ctx.progress = stop
    with pytest.raises(KeyboardInterrupt):
        train(inputs, spec, out, ctx)
    assert (tmp_path / "broken" / "scratch" / STATE).is_file()
    seen: list[str] = []
    again = Context(0, ctx.scratch, lambda done, total, word: seen.append(word))
    train(inputs, spec, out, again)
    assert {word.split(" of")[0] for word in seen} == {"epoch 3"}
    assert again.warnings == [
        RunWarning("continued", "training continues after an interruption: 2 epochs were finished")
    ]
    torch.testing.assert_close(load_file(out / checkpoint.FILE), uninterrupted, rtol=0, atol=0)


def test_a_damaged_state_is_not_used(tmp_path: Path) -> None:
    undisturbed, _ = trained(tmp_path / "undisturbed")
    (tmp_path / "broken" / "scratch").mkdir(parents=True)
    (tmp_path / "broken" / "scratch" / STATE).write_bytes(b"half a file")
    found, _ = trained(tmp_path / "broken")
    torch.testing.assert_close(found, undisturbed, rtol=0, atol=0)


def test_fine_tuning_begins_with_the_given_weights(tmp_path: Path) -> None:
    first, _ = trained(tmp_path / "first")
    given = tmp_path / "first" / "out" / checkpoint.FILE
    inputs, spec, out, ctx = prepared(tmp_path / "second", given, train__rate=1e-9, train__epochs=1)
    train(inputs, spec, out, ctx)
    torch.testing.assert_close(load_file(out / checkpoint.FILE)["conv1.weight"], first["conv1.weight"])


def test_a_new_head_learns_other_classes_on_the_given_body(tmp_path: Path) -> None:
    other = models.build("cifar_resnet8", 3, 1)
    checkpoint.write(other, tmp_path / "three.safetensors", {})
    given, changes = tmp_path / "three.safetensors", {"train__head": "new", "model__checkpoint": "x"}
    inputs, spec, out, ctx = prepared(tmp_path / "new", given, train__rate=1e-9, train__epochs=1, **changes)
    notes = train(inputs, spec, out, ctx)
    learned = load_file(out / checkpoint.FILE)
    assert learned["linear.weight"].shape == (10, 64)
    torch.testing.assert_close(learned["layer3.0.conv1.weight"], other.state_dict()["layer3.0.conv1.weight"])
    assert [line.epoch for line in notes.history] == [1]  # a new head has learned nothing before
    with pytest.raises(ModelError, match="does not fit") as caught:
        train(*prepared(tmp_path / "kept", given))
    assert "--head new" in caught.value.hint


def fine_tuned(
    folder: Path, **changes: Any
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], Context, TrainNotes]:
    """Return the given weights, the tuned ones, the context with its warnings, and the notes."""
    given = models.build("cifar_resnet8", 10, 1)
    checkpoint.write(given, folder / "given.safetensors", {})
    inputs, spec, out, ctx = prepared(folder / "tuned", folder / "given.safetensors", **changes)
    notes = train(inputs, spec, out, ctx)
    return given.state_dict(), load_file(out / checkpoint.FILE), ctx, notes


def test_what_is_frozen_stays_with_its_statistics(tmp_path: Path) -> None:
    given, tuned, _, _ = fine_tuned(tmp_path, train__freeze="all-but-head")
    changed = {key for key in given if not torch.equal(given[key], tuned[key])}
    assert changed == {"linear.weight", "linear.bias"}
    given, tuned, _, _ = fine_tuned(tmp_path / "some", train__freeze=["^conv1", "^bn1", r"^layer1\."])
    same = {key for key in given if torch.equal(given[key], tuned[key])}
    assert same == {key for key in given if key.startswith(("conv1", "bn1", "layer1."))}


@pytest.mark.parametrize(
    ("wanted", "words"),
    [(["^nothing"], "'\\^nothing', which matches no parameter"), (["."], "leaves nothing to train")],
)
def test_a_freeze_that_means_nothing_is_refused(wanted: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words):
        trained(tmp_path, train__freeze=wanted)


def test_given_weights_that_no_epoch_betters_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([(0.9, 1.0), (0.5, 1.0), (0.9, 1.1), (0.8, 1.0)])
    monkeypatch.setattr("edgeresnet.training.loop.Training._validate", lambda self: next(scores))
    given, kept, ctx, notes = fine_tuned(tmp_path)
    assert notes.best_epoch == 0
    assert all(torch.equal(given[key], kept[key]) for key in given)
    words = "no epoch was better than the given weights on 20 images: these weights are the result"
    assert ctx.warnings == [RunWarning("no-better-epoch", words)]


def test_it_stops_when_nothing_gets_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([(0.5, 1.0), (0.6, 1.0), (0.4, 1.0), (0.5, 1.0), (0.9, 0.1)])
    monkeypatch.setattr("edgeresnet.training.loop.Training._validate", lambda self: next(scores))
    inputs, spec, out, ctx = prepared(tmp_path, train__epochs=5, train__patience=2)
    notes = train(inputs, spec, out, ctx)
    assert (notes.epochs, notes.best_epoch) == (4, 2)
    assert notes.stopped == "training stopped after epoch 4, because none of the last 2 was better"
    assert ctx.warnings == [RunWarning("ended-early", f"{notes.stopped}: the result is the best epoch, 2")]


@pytest.mark.slow
def test_label_smoothing_is_in_the_loss_that_is_learned_from(tmp_path: Path) -> None:
    """Of a network that knows nothing both losses are ln 10; the more it knows, the more smoothing costs."""
    plain = trained(tmp_path / "plain", train__epochs=6, train__batch=16)[1].history
    smooth = trained(tmp_path / "smooth", train__epochs=6, train__batch=16, train__label_smoothing=0.3)[1].history
    assert loss_of(smooth[-1]) > 1.0 > loss_of(plain[-1])
    assert smooth[-1].validation_loss < 1.0  # the same measure for both


@pytest.mark.slow
@pytest.mark.skipif(not machine.has_bf16(), reason="this CPU has no BF16")
def test_bf16_learns_too(tmp_path: Path) -> None:
    _, notes = trained(tmp_path, train__precision="bf16", train__epochs=6, train__batch=16)
    assert notes.precision == "bf16"
    assert loss_of(notes.history[-1]) < 0.5 * loss_of(notes.history[0])


def test_bf16_is_chosen_where_a_step_is_faster_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds, chosen in ((0.5, "bf16"), (0.95, "f32"), (2.0, "f32")):
        monkeypatch.setattr(precision, "has_bf16", lambda device: True)
        monkeypatch.setattr(precision, "step_s", lambda *given, s=seconds: s if given[-1] == "bf16" else 1.0)
        assert trained(tmp_path / str(seconds), train__precision="auto", train__epochs=1)[1].precision == chosen
    monkeypatch.setattr(precision, "has_bf16", lambda device: False)
    assert trained(tmp_path / "none", train__precision="auto", train__epochs=1)[1].precision == "f32"
    with pytest.raises(ModelError, match="bf16, which this machine does not have"):
        trained(tmp_path / "wanted", train__precision="bf16", train__epochs=1)


def test_trying_bf16_changes_nothing_of_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, _ = trained(tmp_path / "plain", train__epochs=1)
    monkeypatch.setattr(precision, "has_bf16", lambda device: True)
    monkeypatch.setattr(precision, "_WORTH", 1e9)
    tried, _ = trained(tmp_path / "tried", train__epochs=1, train__precision="auto")
    torch.testing.assert_close(tried, plain, rtol=0, atol=0)


def test_every_epoch_is_reported_as_it_ends(tmp_path: Path) -> None:
    inputs, spec, out, ctx = prepared(tmp_path)
    seen: list[Mapping[str, object]] = []
    ctx.record = seen.append
    notes = train(inputs, spec, out, ctx)
    assert [line["epoch"] for line in seen] == [1, 2, 3]
    timeless = {key: value for key, value in seen[0].items() if key not in ("seconds", "images_per_s")}
    assert timeless == codec.encode(notes.history[0])


def test_a_loss_that_is_not_finite_stops(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"the loss became (nan|inf) in epoch") as caught:
        train(*prepared(tmp_path, train__rate=1e12, train__optimizer="sgd", train__schedule="cosine", train__epochs=5))
    assert "train.rate" in caught.value.hint


@pytest.mark.parametrize("where", ["_loss", "_validate"])
def test_a_loss_that_becomes_nan_later_keeps_the_best_until_then(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = getattr(Training, where)

    def spoiled(self: Training, *given: Any) -> Any:
        found = real(self, *given)
        if self.epochs < 2 or self.plan.epochs == 3:
            return found
        return (found[0], nan) if where == "_validate" else found * nan

    monkeypatch.setattr(Training, where, spoiled)
    # constant rates, so that two epochs of five are the first two of three
    monkeypatch.setattr(parts, "scheduler", lambda optimizer, *_: torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0))
    good = trained(tmp_path / "two", train__epochs=3)[1].history[:2]
    inputs, spec, out, ctx = prepared(tmp_path / "spoiled", train__epochs=5)
    notes = train(inputs, spec, out, ctx)
    assert notes.history == good
    assert notes.best_epoch in (1, 2)
    assert re.search(r"became nan .*epoch 3", notes.stopped)
    words = f"{notes.stopped}: the result is the best epoch, {notes.best_epoch}"
    assert ctx.warnings == [RunWarning("ended-early", words)]
    assert all(torch.isfinite(value).all() for value in load_file(out / checkpoint.FILE).values())


def test_validation_images_are_not_trained_on() -> None:
    training = images.open_samples(recipe.parse(tiny()), "training")
    rest, part = images.choose.split(training, 0.1, 0)
    assert not images.choose.shared(rest, part)


def moved(batch: torch.Tensor, how: Augment, seed: int = 0, part: slice = slice(None)) -> torch.Tensor:
    return Moves.drawn(len(batch), how, np.random.default_rng(seed)).of(part).on(batch[part], how.shift)


def test_augmentation_shifts_and_mirrors() -> None:
    batch = torch.arange(2 * 36, dtype=torch.float32).reshape(2, 1, 6, 6)
    assert torch.equal(moved(batch, Augment()), batch)
    mirrored = torch.cat([moved(batch, Augment(flip=True), seed) for seed in range(8)])
    turned = [torch.equal(image, batch[n % 2].flip(2)) for n, image in enumerate(mirrored)]
    assert all(each or torch.equal(mirrored[n], batch[n % 2]) for n, each in enumerate(turned))
    assert any(turned)
    shifted = moved(batch, Augment(shift=2))
    assert shifted.shape == batch.shape
    assert not torch.equal(shifted, batch)
    for image, original in zip(shifted, batch, strict=True):
        assert set(image.flatten().tolist()) <= set(original.flatten().tolist())


def test_a_part_of_a_batch_is_moved_as_in_the_complete_batch() -> None:
    batch = torch.rand(7, 3, 6, 6)
    how = Augment(flip=True, shift=2)
    complete = moved(batch, how)
    parts_of = torch.cat([moved(batch, how, part=slice(0, 3)), moved(batch, how, part=slice(3, 7))])
    assert torch.equal(parts_of, complete)
