"""A sweep that is killed goes on; nothing is tried twice; a database that fails says what to do."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edgeresnet.errors import EdgeresnetError, MachineError, TargetError
from edgeresnet.store import Store
from edgeresnet.sweeps import loop, study
from edgeresnet.sweeps.document import Outcome

from .fake import FakeRunner, Killed, computed, failed, outcome, searched, sweep_of

pytestmark = pytest.mark.unit


def test_trials_are_run_until_there_are_enough(tmp_path: Path) -> None:
    runner = FakeRunner()
    points, ended = searched(sweep_of(trials=6), tmp_path / "study.db", runner)
    assert [point.number for point in points] == list(range(1, 7))
    assert [dict(point.values) for point in points] == list(map(dict, runner.ran))
    assert ended == "all trials are done"


def test_a_seed_gives_the_same_points_and_another_one_others(tmp_path: Path) -> None:
    def values(seed: int, file: str) -> list[Mapping[str, object]]:
        return [point.values for point in searched(sweep_of(seed=seed), tmp_path / file, FakeRunner())[0]]

    assert values(0, "a") == values(0, "b")
    assert values(0, "a") != values(1, "c")


@pytest.mark.parametrize("killed_in", [1, 12, 30])
def test_a_killed_sweep_goes_on_as_an_undisturbed_one_and_runs_nothing_twice(killed_in: int, tmp_path: Path) -> None:
    sweep = sweep_of(trials=40)  # most of them are proposed by what earlier ones gave
    undisturbed = searched(sweep, tmp_path / "undisturbed.db", FakeRunner())[0]
    first, then = FakeRunner(killed_in=killed_in), FakeRunner()
    with pytest.raises(Killed):
        searched(sweep, tmp_path / "study.db", first)
    points, _ = searched(sweep, tmp_path / "study.db", then)
    assert points == undisturbed
    assert len(first.ran) == killed_in - 1
    assert len(then.ran) == 41 - killed_in
    assert then.ran[0] == undisturbed[killed_in - 1].values, "what was running is run again, with the same values"


def test_a_trial_that_was_stored_and_not_yet_ended_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(self: Any, row: int, about: Outcome) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(study.Study, "_set_state", killed)
        with pytest.raises(Killed):
            searched(sweep_of(trials=3), tmp_path / "study.db", FakeRunner())
    then = FakeRunner()
    searched(sweep_of(trials=3), tmp_path / "study.db", then)
    assert len(then.ran) == 2


def test_more_trials_go_on_with_the_same_study(tmp_path: Path) -> None:
    searched(sweep_of(trials=3), tmp_path / "study.db", FakeRunner())
    then = FakeRunner()
    points, _ = searched(sweep_of(trials=5), tmp_path / "study.db", then)
    assert (len(points), len(then.ran)) == (5, 2)


def test_no_point_is_tried_twice_and_a_small_space_ends(tmp_path: Path) -> None:
    space = {"train.epochs": (1, 2, 3), "model.arch": ("resnet18", "resnet34")}
    runner = FakeRunner(lambda values: outcome(values["train.epochs"], 1.0))
    points, ended = searched(sweep_of(space, trials=40), tmp_path / "study.db", runner)
    assert len({str(sorted(point.values.items())) for point in points}) == len(points) == 6
    assert ended == "every point of the space was tried"


def test_values_are_stored_as_the_recipe_has_them(tmp_path: Path) -> None:
    axes = {"verify.seconds": (0.5, 1), "preprocessing.mean": ([0.3], [0.4]), "model.classes": (10, None)}
    points, _ = searched(sweep_of(axes, trials=4), tmp_path / "study.db", FakeRunner(lambda _: outcome(1, 1)))
    again = study.Study(sweep_of(axes), tmp_path / "study.db")
    assert again.points == points
    assert {type(point.values["preprocessing.mean"]) for point in points} == {list}


def test_a_trial_that_fails_is_counted_and_the_others_go_on(tmp_path: Path) -> None:
    def compute(values: Mapping[str, Any]) -> Outcome:
        return failed("resnet34 is too large") if values["model.arch"] == "resnet34" else computed(values)

    points, _ = searched(sweep_of(trials=10), tmp_path / "study.db", FakeRunner(compute))
    reasons = {point.outcome.reason for point in points if point.outcome.state == "failed"}
    assert reasons == {"resnet34 is too large"}
    assert len(points) == 10
    again = study.Study(sweep_of(trials=10), tmp_path / "study.db")
    count = sum(point.outcome.state == "failed" for point in points)
    assert again.forget_failed() == count
    assert len(again.points) == 10 - count


def test_values_that_contradict_one_another_fail_without_a_run(tmp_path: Path) -> None:
    space = {"images.training": ("digits", None), "train.epochs": (1, 2)}
    runner = FakeRunner(lambda _: outcome(1, 1))
    points, _ = searched(sweep_of(space, trials=9), tmp_path / "study.db", runner)
    assert len(points) == 4
    refused = [point for point in points if point.outcome.state == "failed"]
    assert (len(refused), len(runner.ran)) == (2, 2)
    assert "images.training is missing" in refused[0].outcome.reason


def test_a_sweep_in_which_nothing_can_be_measured_ends_at_once(tmp_path: Path) -> None:
    runner = FakeRunner(lambda _: failed("this machine has no sensor", unmeasured="min energy_mj openvino"))
    with pytest.raises(TargetError, match="`min energy_mj openvino` cannot be measured: this machine has no sensor"):
        searched(sweep_of(), tmp_path / "study.db", runner)
    assert len(runner.ran) == 1


def test_a_sweep_whose_trials_all_fail_alike_ends_after_three(tmp_path: Path) -> None:
    runner = FakeRunner(lambda _: failed("the checkpoint is damaged"))
    with pytest.raises(TargetError, match="the first 3 trials failed alike: the checkpoint is damaged"):
        searched(sweep_of(), tmp_path / "study.db", runner)
    assert len(runner.ran) == 3


def test_the_minutes_end_a_sweep_between_two_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = iter([60.0, 1.0, -1.0])
    monkeypatch.setattr(loop.Deadline, "left", property(lambda self: next(left)))
    points, ended = searched(sweep_of(minutes=2), tmp_path / "study.db", FakeRunner())
    assert (len(points), ended) == (2, "the 2 minutes are over")


@pytest.mark.parametrize("damage", ["text", "cut", "outcome"])
def test_a_damaged_study_is_one_line(damage: str, tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    searched(sweep_of(trials=2), file, FakeRunner())
    if damage == "text":
        file.write_bytes(b"this is not a database, but it is as long as one" * 200)
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:10_000])
    else:
        with sqlite3.connect(file) as connection:
            connection.execute("update trial_user_attributes set value_json = '\"{}\"' where key = 'outcome'")
        connection.close()
    with pytest.raises(EdgeresnetError, match=r"study.db is damaged: ") as caught:
        study.Study(sweep_of(), file)
    assert "remove it and run the sweep again" in caught.value.hint


def test_a_full_disk_is_the_machines_failure(tmp_path: Path) -> None:
    from sqlalchemy.exc import OperationalError

    def full(*_: object, **__: object) -> None:
        raise OperationalError("insert", None, sqlite3.OperationalError("database or disk is full"))

    opened = study.Study(sweep_of(), tmp_path / "study.db")
    asked = opened.ask()
    assert asked
    opened._storage.set_trial_user_attr = full
    with pytest.raises(MachineError, match="the disk is full"):
        opened.tell(asked, outcome(1, 1))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "`storage` is not the URL of a database that is known"),
        ("sqlite:////dev/null/none.db", "cannot be used"),
        ("mysql+nothing://secret:word@host/name", "is not the URL of a database"),
        ("postgresql+psycopg://secret:word@host/name", "cannot be used: "),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line_without_its_password(url: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(EdgeresnetError) as caught:
        study.Study(sweep_of(storage=url), tmp_path / "study.db")
    assert words in caught.value.message
    assert "word@" not in f"{caught.value.message}{caught.value.hint}"


def test_without_optuna_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(EdgeresnetError, match="optuna is not installed") as caught:
        study.Study(sweep_of(), tmp_path / "study.db")
    assert caught.value.hint == "pip install 'edgeresnet[sweep]'"


def test_a_sweep_is_run_by_one_process_at_a_time(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    with study.opened(store, sweep_of()):
        other = study.opened(store, sweep_of())
        with pytest.raises(EdgeresnetError, match="is run by another process"):
            other.__enter__()
    with study.opened(store, sweep_of()) as again:
        assert again.points == []
