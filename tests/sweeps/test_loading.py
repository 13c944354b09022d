from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeresnet import recipe
from edgeresnet.errors import RecipeError
from edgeresnet.sweeps import loading
from edgeresnet.sweeps.keys import SweepKeys

from ..conftest import tiny

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parents[2]


def written(folder: Path, **changes: Any) -> Path:
    raw: dict[str, Any] = {
        "version": 1,
        "recipe": "recipe.yaml",
        "space": {"train.epochs": [1, 2], "train.rate": {"low": 0.001, "high": 0.1, "log": True}},
        "objectives": ["max top1", "min size_mb onnxruntime"],
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(tiny()))
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(raw | changes, sort_keys=False))
    return path


def problems_of(path: Path) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        loading.load(path)
    return [problem.replace(str(path), "sweep.yaml") for problem in caught.value.problems]


def test_a_sweep_is_a_recipe_with_a_space_around_it(tmp_path: Path) -> None:
    sweep = loading.load(written(tmp_path, trials=5, seed=3))
    assert (sweep.title, sweep.trials, sweep.seed, sweep.size) == ("sweep", 5, 3, None)
    assert list(map(str, sweep.objectives)) == ["max top1 onnxruntime", "min size_mb onnxruntime"]
    made = sweep.recipe({"train.epochs": 2, "train.rate": 0.05})
    assert made == recipe.parse(tiny(train__epochs=2, train__rate=0.05))
    assert sweep.base == tiny(), "the recipe itself does not change"


def test_a_recipe_may_lie_in_the_sweep_and_lack_a_section(tmp_path: Path) -> None:
    sweep = loading.load(written(tmp_path, recipe=tiny(), space={"prune.macs": {"low": 0.4, "high": 0.8, "step": 0.1}}))
    assert [dict(each) for each in sweep.every()] == [{"prune.macs": value} for value in (0.4, 0.5, 0.6, 0.7, 0.8)]
    made = sweep.recipe({"prune.macs": 0.7})
    assert made.prune
    assert made.prune.macs == 0.7


def test_all_that_is_wrong_is_reported_at_once_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(
        "version: 1\nspce: 1\nrecipe: {}\nspace:\n  train.epochs: 3\n  train.rate:\n    low: 1\n    hgh: 2\n"
        "objectives:\n  - max top1\ntrials: 0\n"
    )
    assert problems_of(tmp_path / "sweep.yaml") == [
        "sweep.yaml:11: trials: input should be greater than or equal to 1 (given: 0)",
        "sweep.yaml:2: spce: unknown key, did you mean space?",
        "sweep.yaml:5: space.train.epochs: must be a list of values, or a range with `low` and `high`",
        "sweep.yaml:6: space.train.rate.high: missing",
        "sweep.yaml:8: space.train.rate.hgh: unknown key, did you mean high?",
    ]


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"train.epoch": [5]}, "space.train.epoch: unknown key, did you mean epochs?"),
        ({"train.epochs": {"low": 0, "high": 3}}, "space.train.epochs: input should be greater than or equal to 1"),
        ({"train.schedule": ["one-cycle", "on-cycle"]}, "space.train.schedule: "),
        ({"images.training": ["digits", None]}, "space.images.training: with null, images.training is missing"),
        ({"train.rate": {"low": 2, "high": 1}}, "low must be less than high"),
        ({"train.rate": {"low": 0, "high": 1, "log": True}}, "log needs a low above 0"),
        ({"train.rate": {"low": 0.4, "high": 0.95, "step": 0.1}}, "high is not a number of steps from low: write 0.9"),
        ({"train.epochs": []}, "must be a list of values, or a range with `low` and `high`"),
        ({"train.epochs": [1, 1]}, "has a value twice"),
        ({"targets.openvno": [{}]}, "the target 'openvno' does not exist (did you mean openvino?)"),
    ],
)
def test_a_key_or_value_that_the_recipe_refuses_is_refused_before_the_first_trial(
    space: dict[str, Any], words: str, tmp_path: Path
) -> None:
    found = problems_of(written(tmp_path, space=space))
    assert any(each.startswith(("sweep.yaml:4:", "sweep.yaml:5:")) for each in found)
    assert words in "\n".join(found)


@pytest.mark.parametrize(
    ("objective", "changes", "words"),
    [
        ("max tpo1", {}, "'tpo1' is not a metric: did you mean top1?"),
        ("max throughput", {}, "throughput is not measured: set verify.streams"),
        ("max speedup_fp32", {}, "would ship the FP32 network"),
        ("min p50", {"targets": {"onnxruntime": {"where": "bundle"}}}, "a person carries the bundle"),
    ],
)
def test_an_objective_that_no_trial_can_measure_is_refused(
    objective: str, changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    (found,) = problems_of(written(tmp_path, recipe=tiny(**changes), objectives=[objective]))
    assert words in found
    assert "sweep.yaml:" in found


def test_what_is_wrong_with_the_recipe_itself_is_of_the_recipe(tmp_path: Path) -> None:
    (found,) = problems_of(written(tmp_path, recipe=tiny(train__batsh=3)))
    assert found == "sweep.yaml:2: recipe: train.batsh: unknown key, did you mean batch?"


@pytest.mark.parametrize(
    ("text", "words"),
    [("a: [", "is not valid YAML"), ("a: 1\na: 2", "twice"), ("- a", "is not a sweep"), (None, "does not exist")],
)
def test_a_file_that_is_not_a_sweep_is_refused(text: str | None, words: str, tmp_path: Path) -> None:
    if text:
        (tmp_path / "sweep.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        loading.load(tmp_path / "sweep.yaml")
    assert words in caught.value.message


def test_more_trials_or_minutes_are_of_the_same_study_and_nothing_else_is(tmp_path: Path) -> None:
    one = loading.load(written(tmp_path)).digest
    assert loading.load(written(tmp_path, trials=99, minutes=3)).digest == one
    others: list[dict[str, Any]] = [
        {"seed": 1},
        {"objectives": ["max top1"]},
        {"recipe": tiny(seed=1)},
        {"space": {"train.epochs": [1, 3]}},
    ]
    digests = {loading.load(written(tmp_path, **change)).digest for change in others}
    assert len(digests - {one}) == len(others)


def test_the_guide_has_every_key() -> None:
    text = (ROOT / "docs" / "how-to" / "sweep.md").read_text()
    for key in SweepKeys.model_fields:
        assert f"`{key}`" in text, key


def test_the_shipped_sweep_is_valid() -> None:
    sweep = loading.load(ROOT / "pipelines" / "sweep-digits.yaml")
    assert sweep.size
    assert sweep.size >= sweep.trials
