"""Recovery: what it may take, when it ends, and that its result is never worse than what it began with."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import nan
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from edgeresnet import images, models, recipe, tasks
from edgeresnet.context import Context
from edgeresnet.models import checkpoint, shapes
from edgeresnet.notes import RecoverNotes
from edgeresnet.recipe import Prune, Recover, Train
from edgeresnet.runs import Run
from edgeresnet.stages import recover
from edgeresnet.stages.prune import prune
from edgeresnet.stages.specs import (
    Architecture,
    PruneInputs,
    PruneSpec,
    RecoverInputs,
    RecoverSpec,
    TrainInputs,
    TrainSpec,
)
from edgeresnet.stages.train import train
from edgeresnet.store import Given, Store
from edgeresnet.training import loop, precision
from edgeresnet.training.loop import Training

from ..conftest import folder_of, tiny

NETWORK = Architecture("cifar_resnet8", 10, 1)


@dataclass
class Case:
    inputs: RecoverInputs
    folder: Path

    def recovered(self, name: str = "one", **plan: Any) -> tuple[dict[str, torch.Tensor], RecoverNotes, Context]:
        """Return weights, notes and context; the same name goes on where it was interrupted."""
        for part in ("out", "scratch"):
            (self.folder / name / part).mkdir(parents=True, exist_ok=True)
        ctx = Context(0, self.folder / name / "scratch")
        section = Recover(**{"batch": 32, "precision": "f32", "validation": 0.3, **plan})
        spec = RecoverSpec(NETWORK, section, seed=0)
        notes = recover.recover(self.inputs, spec, self.folder / name / "out", ctx)
        return load_file(self.folder / name / "out" / checkpoint.FILE), notes, ctx

    @property
    def given(self) -> dict[str, torch.Tensor]:
        return load_file(checkpoint.of(self.inputs.network))


@pytest.fixture(scope="module")
def pruned(trained: tuple[Store, Run], tmp_path_factory: pytest.TempPathFactory) -> RecoverInputs:
    """A network that was trained on digits, and what is left of it at a quarter of its multiplications."""
    dense = Given("d", folder_of(trained[1], "train") / checkpoint.FILE)
    out = tmp_path_factory.mktemp("cut")
    wanted = recipe.parse(tiny(images__training={"from": "digits", "count": 150}))
    samples = images.open_samples(wanted, "training")
    spec = PruneSpec(NETWORK, Prune(macs=0.25), multiple=8, preprocessing=samples.preprocessing, seed=0)
    prune(PruneInputs(dense), spec, out, Context(0, out))
    return RecoverInputs(network=Given("n", out / checkpoint.FILE), dense=dense, training=Given("x", samples))


@pytest.fixture
def case(pruned: RecoverInputs, tmp_path: Path) -> Case:
    return Case(pruned, tmp_path)


def is_statistics(key: str) -> bool:
    return "running_" in key or key.endswith("num_batches_tracked")


def test_statistics_alone_change_no_weight(case: Case) -> None:
    weights, notes, _ = case.recovered(epochs=0, rounds=3)
    assert (notes.rounds, notes.epochs, notes.history) == (0, 0, ())
    for key, value in case.given.items():
        assert torch.equal(weights[key], value) != is_statistics(key), key
    assert notes.validation_top1 == max(notes.pruned_top1, notes.statistics_top1)


def test_statistics_that_make_it_worse_are_not_kept(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoilt(network: torch.nn.Module, *_: Any) -> None:
        for key, value in network.state_dict().items():
            if key.endswith("running_mean"):
                value += 100

    monkeypatch.setattr(recover, "_measure_statistics", spoilt)
    weights, notes, ctx = case.recovered(epochs=0)
    assert all(torch.equal(weights[key], value) for key, value in case.given.items())
    assert notes.statistics_top1 < notes.pruned_top1 == notes.validation_top1
    assert [warning.code for warning in ctx.warnings] == ["old-statistics"]


def test_statistics_alone_look_at_no_more_images_than_they_need(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recover, "_STATISTICS_IMAGES", 20)
    _, notes, _ = case.recovered(epochs=0)
    assert (notes.images, notes.validation_images) == (20, 20)
    _, notes, _ = case.recovered("learning", epochs=1)
    assert notes.images > 20 < notes.validation_images


def test_what_was_pruned_is_still_recorded_after_learning(case: Case) -> None:
    """By recovery, and by training on."""
    cut = json.loads(shapes.metadata(Path(checkpoint.of(case.inputs.network)))["pruned"])
    assert any(before > now for before, now in cut.values())
    case.recovered(epochs=0)
    recovered = case.folder / "one" / "out" / checkpoint.FILE
    assert json.loads(shapes.metadata(recovered)["pruned"]) == cut
    section = Train(epochs=1, batch=32, precision="f32", validation=0.3)
    inputs = TrainInputs(case.inputs.training, Given("c", recovered))
    train(inputs, TrainSpec(NETWORK, section, seed=0), case.folder, Context(0, case.folder))
    assert json.loads(shapes.metadata(case.folder / checkpoint.FILE)["pruned"]) == cut


def test_it_learns_back_what_was_lost(case: Case) -> None:
    _, notes, _ = case.recovered(epochs=4, rate=0.01)
    assert notes.validation_top1 > notes.statistics_top1
    assert [line.epoch for line in notes.history] == [0, 1, 2, 3, 4]


def test_rounds_end_when_accuracy_is_back(case: Case) -> None:
    _, notes, _ = case.recovered("near", epochs=1, rounds=3, enough_pp=100)
    assert (notes.rounds, notes.epochs) == (0, 0), "back already, with statistics measured again"
    missing = 100 * (notes.dense_top1 - notes.statistics_top1)  # what is left to be learned back
    _, notes, _ = case.recovered("soon", epochs=4, rounds=3, rate=0.01, enough_pp=missing - 1)
    assert notes.rounds == 1
    _, notes, _ = case.recovered("far", epochs=1, rounds=3, rate=1e-7)
    assert notes.rounds == 3
    assert [line.epoch for line in notes.history] == [0, 1, 2, 3]


@pytest.mark.parametrize("rate", [30.0, nan])
def test_a_recovery_that_makes_it_worse_gives_back_what_it_got(
    rate: float, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    if rate != rate:
        monkeypatch.setattr(Training, "_loss", lambda self, rows, rng: torch.tensor(nan, requires_grad=True))
    alone, before, _ = case.recovered("alone", epochs=0)
    weights, notes, ctx = case.recovered("learned", epochs=2, rate=rate if rate == rate else 0.01)
    assert notes.validation_top1 == before.validation_top1
    assert notes.best_epoch == 0
    assert all(torch.equal(weights[key], value) for key, value in alone.items())
    (warning,) = ctx.warnings
    assert warning.text.startswith("round 1: ")
    assert "the given weights" in warning.text


class Clock:
    """Ticks where the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, a_step_s: float, an_epoch_s: float):
        self.now = 0.0
        ticking = SimpleNamespace(monotonic=lambda: self.now, perf_counter=lambda: self.now)
        for module in (loop, recover):
            monkeypatch.setattr(module, "time", ticking)
        monkeypatch.setattr(precision, "step_s", lambda *given: a_step_s)
        learn = Training.learn

        def slow(training: Training, epoch: int) -> tuple[float, int]:
            self.now += an_epoch_s
            return learn(training, epoch)

        monkeypatch.setattr(Training, "learn", slow)


def test_as_many_epochs_are_planned_as_there_is_time_for(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """105 images are 4 steps of 32: at 5 s a step an epoch takes 24 s, so two fit into a minute, and the rate comes
    down within these two.
    """
    Clock(monkeypatch, a_step_s=5, an_epoch_s=24)
    _, notes, _ = case.recovered(epochs=50, minutes=1, rate=0.01)
    assert notes.epochs == 2
    rates = [line.rate for line in notes.history[1:]]
    assert rates == pytest.approx([0.01, 0.005])


def test_rounds_share_one_budget(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch, a_step_s=5, an_epoch_s=24)
    _, notes, _ = case.recovered("enough", epochs=2, rounds=9, minutes=2, rate=1e-7)
    assert (notes.rounds, notes.epochs) == (3, 5)


def test_what_takes_longer_than_planned_ends_in_time(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, a_step_s=0.1, an_epoch_s=25)
    _, notes, ctx = case.recovered(epochs=50, minutes=1, rate=0.01)
    assert notes.epochs == 2
    assert clock.now <= 60
    assert any("training reached its time limit after epoch 2 of 50" in warning.text for warning in ctx.warnings)


def test_time_for_less_than_an_epoch_is_spent_on_a_part_of_one(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """105 images are 4 steps of 30 s with all that comes with them; validating 45 first takes 12 of the 80 s."""
    Clock(monkeypatch, a_step_s=30 / 1.2, an_epoch_s=60)
    _, notes, ctx = case.recovered(epochs=50, minutes=80 / 60, rate=0.01)
    assert notes.epochs == 1
    assert any("the time limit allows 2 of the 4 steps of one epoch" in warning.text for warning in ctx.warnings)


def test_without_time_to_learn_nothing_is_learned_and_that_is_reported(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch, a_step_s=600, an_epoch_s=2400)
    _, notes, ctx = case.recovered(epochs=50, minutes=1, rate=0.01)
    assert notes.epochs == 0
    assert notes.validation_top1 == max(notes.pruned_top1, notes.statistics_top1)
    assert [each for each in ctx.warnings if "the time limit leaves no time to train" in each.text]
    assert not any("the time limit allows" in warning.text for warning in ctx.warnings)


def test_an_epoch_ends_where_its_time_does(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, loss = Clock(monkeypatch, a_step_s=1, an_epoch_s=0), Training._loss
    steps: list[int] = []

    def slower_than_planned(training: Training, rows: Any, rng: Any) -> torch.Tensor:
        steps.append(len(rows))
        clock.now += 25
        return loss(training, rows, rng)

    monkeypatch.setattr(Training, "_loss", slower_than_planned)
    _, notes, ctx = case.recovered(epochs=5, minutes=1, rate=0.01)
    assert len(steps) == 3, "the fourth would begin after a minute"
    assert notes.epochs == 1
    assert any("training reached its time limit after epoch 1 of 5" in warning.text for warning in ctx.warnings)


def test_minutes_that_were_spent_before_an_interruption_are_spent(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    with interrupted_at(2, monkeypatch) as first:
        Clock(first, a_step_s=1, an_epoch_s=24)
        case.recovered(epochs=9, minutes=1, rate=0.01)
    clock = Clock(monkeypatch, a_step_s=1, an_epoch_s=24)
    _, notes, _ = case.recovered(epochs=9, minutes=1, rate=0.01)
    assert notes.epochs == 2
    assert clock.now <= 36


@contextlib.contextmanager
def interrupted_at(number: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Ctrl-C when epoch `number` begins; what else is patched meanwhile is undone with it."""
    learn, begun = Training.learn, []

    def until_then(training: Training, epoch: int) -> tuple[float, int]:
        begun.append(epoch)
        if len(begun) == number:
            raise KeyboardInterrupt
        return learn(training, epoch)

    with monkeypatch.context() as first, pytest.raises(KeyboardInterrupt):
        first.setattr(Training, "learn", until_then)
        yield first


def test_interrupted_in_the_third_round_it_keeps_the_second(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = {"epochs": 2, "rounds": 3, "rate": 0.003, "augment": {"shift": 1}}
    complete, expected, _ = case.recovered("complete", **plan)
    assert expected.rounds == 3
    with interrupted_at(5, monkeypatch):
        case.recovered("broken", **plan)
    learn, begun = Training.learn, list[int]()

    def counted(training: Training, epoch: int) -> tuple[float, int]:
        begun.append(epoch)
        return learn(training, epoch)

    monkeypatch.setattr(Training, "learn", counted)
    weights, notes, ctx = case.recovered("broken", **plan)
    assert begun == [1, 2], "the first two rounds are done already, the third begins"
    assert notes == expected
    assert all(torch.equal(weights[key], value) for key, value in complete.items())
    assert not any("went on after" in warning.text for warning in ctx.warnings)


def test_a_round_that_is_continued_keeps_its_plan(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast a step is by then: a rate that had come down does not go up again."""
    with interrupted_at(3, monkeypatch) as first:
        Clock(first, a_step_s=2.4, an_epoch_s=12)
        case.recovered(epochs=50, minutes=1, rate=0.01)
    Clock(monkeypatch, a_step_s=0.01, an_epoch_s=1)
    _, notes, _ = case.recovered(epochs=50, minutes=1, rate=0.01)
    assert notes.epochs == 5
    rates = [line.rate or 0.0 for line in notes.history[1:]]
    assert rates == sorted(rates, reverse=True)


def test_a_teacher_with_the_same_answers_teaches_nothing() -> None:
    torch.manual_seed(0)
    network = models.build("cifar_resnet8", 10, 1).eval()
    pixels = torch.randn(4, 1, 8, 8)
    loss = recover.taught(network, Recover(distill=0.5, temperature=4), tasks.of(tasks.CLASSIFICATION))
    with torch.no_grad():
        assert loss(pixels, network(pixels)).item() == pytest.approx(0, abs=1e-5)
        apart = loss(pixels, 2 * network(pixels)).item()
    assert apart > 0
    half = recover.taught(network, Recover(distill=0.25, temperature=4), tasks.of(tasks.CLASSIFICATION))
    with torch.no_grad():
        assert half(pixels, 2 * network(pixels)).item() == pytest.approx(apart / 2)
