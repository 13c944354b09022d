"""Runs of weights whose tensors fit several networks: which one is taken, what is reported, and what is done once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edgeresnet import pipeline, recipe, report
from edgeresnet.errors import ModelError
from edgeresnet.images import sources
from edgeresnet.notes import Candidate, RecogniseNotes
from edgeresnet.pipeline import Listener, choice
from edgeresnet.pipeline.planner import RECOGNISE, TRAIN
from edgeresnet.runs import Run
from edgeresnet.stages import trace
from edgeresnet.stages.specs import TrainSpec
from edgeresnet.store import Store

from ..conftest import step_of, tiny

CHANCE = "not clearly better than chance"


@pytest.fixture(scope="session")
def plain(once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """Return weights of a trained cifar_plain8, without the record that names it: a cifar_resnet8 has these tensors."""

    def train(folder: Path) -> None:
        raw = tiny(model={"arch": "cifar_plain8", "classes": 10}, targets={}, promises={})
        made = pipeline.make(recipe.parse(raw), Store.open(folder / "store"), "train", Listener())
        path = made.steps["train"].path
        assert path is not None
        save_file(load_file(Path(path) / "weights.safetensors"), folder / "plain.safetensors")

    return once("plain", train) / "plain.safetensors"


@pytest.fixture
def rolled(tmp_path: Path) -> str:
    """Return digits for evaluation whose labels are one too high."""
    held = sources.digits(evaluation=True)
    np.savez(tmp_path / "rolled.npz", images=held._pixels, labels=(held.labels + 1) % 10)
    return str(tmp_path / "rolled.npz")


def of(weights: Path, evaluation: str = "digits", **changes: Any) -> dict[str, Any]:
    only = {"train": None, "promises": {}, "images": {"evaluation": evaluation}, "model": {"checkpoint": str(weights)}}
    return tiny(**{**only, **changes})


def run_of(raw: dict[str, Any], folder: Path, **options: Any) -> Run:
    return pipeline.run(recipe.parse(raw), Store.open(folder / "store"), **options)


def notes_of(run: Run) -> RecogniseNotes:
    (notes,) = run.notes_of(RecogniseNotes)
    return notes


def states(run: Run) -> dict[str, str]:
    return {step.id: step.state for step in run.steps}


def test_the_images_choose_once(plain: Path, tmp_path: Path) -> None:
    first = run_of(of(plain), tmp_path)
    notes = notes_of(first)
    assert (notes.arch, notes.shown, notes.better_than_chance) == ("cifar_plain8", True, True)
    assert notes.candidates[0].arch == "cifar_resnet8", "the likeliest by its tensors is another"
    screen = report.terminal.render(first)
    assert f"recognised as {notes.sentence().split(';')[0]}" in screen
    assert CHANCE not in screen
    assert f"note: the weights are recognised as {notes.sentence()}" in _on_one_line(report.notes_text, first)
    assert set(states(run_of(of(plain), tmp_path)).values()) == {"done"}
    named = run_of(of(plain, model={"checkpoint": str(plain), "arch": "cifar_plain8"}), tmp_path)
    assert (step_of(named, "trace").state, "recognise" in states(named)) == ("done", False)
    assert states(run_of(of(plain), tmp_path, again=frozenset(["recognise"])))["recognise"] == "made"


def _on_one_line(module: Any, run: Run) -> str:
    return " ".join(" ".join(line.text for line in module.lines(run)).split())


def test_a_run_that_was_killed_tries_nothing_again(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trace, "trace", killed)
        with pytest.raises(KeyboardInterrupt):
            run_of(of(plain), tmp_path)
    outcomes = pipeline.preview(recipe.parse(of(plain)), Store(tmp_path / "store"))
    assert [(str(each.step.id), each.state) for each in outcomes[:2]] == [("recognise", "done"), ("trace", "todo")]
    assert states(run_of(of(plain), tmp_path))["recognise"] == "done"


def test_a_recognised_network_at_chance_ends_the_run(plain: Path, rolled: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"fits \d networks, and none of them is better than chance: ") as caught:
        run_of(of(plain, rolled), tmp_path)
    assert "cifar_resnet8: " in caught.value.message
    assert "`edgeresnet diagnose`" in caught.value.hint
    assert "--arch" in caught.value.hint
    ended = Store(tmp_path / "store").load_run()
    assert ended.problem is not None
    notes = notes_of(ended)
    assert (notes.arch, notes.better_than_chance, notes.unclear) == ("cifar_resnet8", False, False)
    (warning,) = step_of(ended, "recognise").warnings
    assert warning.code == "recognised-at-chance"
    with pytest.raises(ModelError, match="none of them is better than chance"):
        run_of(of(plain, rolled), tmp_path)  # the stored answer says so, too
    diagnosed = pipeline.make(
        recipe.parse(of(plain, rolled)), Store(tmp_path / "store"), "trace", Listener(), at_chance=True
    )
    assert diagnosed.steps["trace"].state == "made"


def test_a_named_network_at_chance_is_on_the_last_screen(plain: Path, rolled: str, tmp_path: Path) -> None:
    run = run_of(of(plain, rolled, model={"checkpoint": str(plain), "arch": "cifar_plain8"}), tmp_path)
    screen = report.terminal.render(run)
    assert (run.problem, run.verdict) == (None, "KEPT")
    assert len(screen.splitlines()) <= report.terminal.LONGEST
    sentence = f"of 450 images correctly: {CHANCE}. Class order, preprocessing or architecture may differ"
    assert sentence in " ".join(screen.split())
    assert "`edgeresnet diagnose` finds out." in " ".join(screen.split())
    assert CHANCE in report.FORMATS["md"](run)


def test_only_a_network_that_is_surely_at_chance_is_refused() -> None:
    found = Candidate("resnet18", 128, 1)
    at_chance = RecogniseNotes("resnet18", (found,), shown=False, better_than_chance=False)
    with pytest.raises(ModelError, match=r"w\.pth is recognised as a network that is not better than chance"):
        choice.check(at_chance, "w.pth")
    for notes in (replace(at_chance, unclear=True), replace(at_chance, better_than_chance=True)):
        choice.check(notes, "w.pth")


def test_the_only_network_that_weights_fit_is_compared_with_the_images(tmp_path: Path) -> None:
    """On no more images than that takes."""
    raw = tiny(model={"arch": "cifar_resnet8b", "classes": 10}, targets={}, promises={})
    made = pipeline.make(recipe.parse(raw), Store.open(tmp_path / "first"), "train", Listener())
    path = made.steps["train"].path
    assert path is not None
    save_file(load_file(Path(path) / "weights.safetensors"), tmp_path / "w.safetensors")
    part = pipeline.make(
        recipe.parse(of(tmp_path / "w.safetensors")), Store.open(tmp_path / "s"), "recognise", Listener()
    )
    notes = part.steps["recognise"].notes
    assert isinstance(notes, RecogniseNotes)
    ((candidate,), warnings) = notes.candidates, part.steps["recognise"].warnings
    assert (notes.arch, notes.shown, notes.better_than_chance) == ("cifar_resnet8b", True, True)
    assert candidate.images == 32
    assert warnings == ()


def test_a_training_begins_with_what_was_recognised(plain: Path, tmp_path: Path) -> None:
    """Each process of a group plans by itself: all must build the same network."""
    raw = of(plain, train=tiny()["train"], images=tiny()["images"])
    store = Store.open(tmp_path / "store")
    steps = {step.id: step for step in pipeline.planned(recipe.parse(raw), store)}
    spec = steps[TRAIN].spec
    assert isinstance(spec, TrainSpec)
    assert spec.network.arch == "cifar_plain8"
    assert [each.stage for each in store.artifacts()] == ["recognise"], "and nothing else was made"
    assert steps[RECOGNISE].parents["images"] is not None
    made = pipeline.make(recipe.parse(raw), store, "recognise", Listener())
    assert {name: each.state for name, each in made.steps.items()} == {"recognise": "done"}
