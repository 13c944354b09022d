"""A recipe becomes steps, each made once; what fails on one target leaves the others running."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgeresnet import pipeline, recipe, report, targets
from edgeresnet.errors import ImagesError, MachineError, ModelError, RecipeError
from edgeresnet.pipeline import Listener
from edgeresnet.portable.session import Availability
from edgeresnet.store import Given, Store

from ..conftest import tiny

Trained = tuple[Store, dict[str, Any]]


def on_colours(training: Path, evaluation: Path, *, images: dict[str, Any] | None = None, **changes: Any) -> Any:
    """A recipe on class folders of colours."""
    start = {"model__classes": 3, "preprocessing": {"size": 8, "mean": [0.5] * 3, "std": [0.25] * 3}}
    said = {"training": str(training), "evaluation": str(evaluation), **(images or {})}
    return tiny(**start, images=said, **changes)


def states(run: dict[str, Any]) -> dict[str, str]:
    return {step["id"]: step["state"] for step in run["steps"]}


def test_the_whole_way(trained: Trained) -> None:
    store, run = trained
    # onnxruntime with its own defaults is the reference: compiled once, measured as both
    names = ["train", "trace", "compile:reference", "verify:reference", "compile:onnxruntime:yardstick"]
    assert list(states(run)) == [*names, "verify:onnxruntime"]
    assert run["verdict"] == "KEPT"
    variant = run["results"]["onnxruntime"]["variants"]["fp32"]
    assert variant["accuracy"]["images"] == 450
    assert variant["accuracy"]["top1"] > 300
    assert variant["accuracy"]["agree"] == 450
    assert len(variant["predicted"]) == 450
    processes = variant["latency"]["processes"]
    unit = run["results"]["onnxruntime"]["yardstick"]["latency"]["processes"]
    assert len(unit) == len(processes), "timed in turn with it"
    assert [len(one["host_ms"]) for one in unit] == [len(one["host_ms"]) for one in processes]
    assert list(run["results"]["onnxruntime"]["variants"]) == ["fp32"], "and no network that could ship"
    assert len(processes) == 3
    assert all(1 <= len(process["host_ms"]) <= 8 for process in processes)
    assert store.load_run()["id"] == run["id"]


def test_the_second_run_does_nothing(trained: Trained, own_store: Store) -> None:
    store, first = own_store, trained[1]
    run = pipeline.run(recipe.parse(tiny()), store)
    assert set(states(run).values()) == {"done"}
    assert run["results"] == first["results"]
    assert run["verdicts"] == first["verdicts"]
    assert {o.state for o in pipeline.plan(recipe.parse(tiny()), store)} == {"done"}


def test_another_promise_needs_no_new_measurement(own_store: Store) -> None:
    run = pipeline.run(recipe.parse(tiny(promises={"min_top1_pct": 100})), own_store)
    assert set(states(run).values()) == {"done"}
    assert run["verdict"] == "BROKEN"


def test_again_measures_anew_and_nothing_before_it(own_store: Store, trained: Trained) -> None:
    run = pipeline.run(recipe.parse(tiny()), own_store, again=frozenset({"verify"}))
    found = states(run)
    assert found["train"] == found["trace"] == found["compile:reference"] == "done"
    assert found["verify:onnxruntime"] == "made"
    latency = run["results"]["onnxruntime"]["variants"]["fp32"]["latency"]
    assert latency != trained[1]["results"]["onnxruntime"]["variants"]["fp32"]["latency"]


@pytest.mark.parametrize(
    ("changes", "first_made"),
    [
        ({"seed": 1}, "train"),
        ({"train__rate": 0.02}, "train"),
        ({"preprocessing__std": [0.4]}, "train"),
        ({"trace": {"batch": 2}}, "trace"),
        ({"targets": {"onnxruntime": {"threads": 1}}}, "compile:onnxruntime:fp32"),
        ({"images__evaluation": {"from": "digits", "count": 100}}, "verify:reference"),
    ],
)
def test_a_change_is_felt_where_it_matters_and_not_before(trained: Trained, changes: dict, first_made: str) -> None:
    planned = pipeline.plan(recipe.parse(tiny(**changes)), trained[0])
    names = [outcome.step.id for outcome in planned]
    todo = [outcome.step.id for outcome in planned if outcome.state == "todo"]
    assert todo[0] == first_made
    assert all(o.state == "done" for o in planned[: names.index(first_made)])


def test_where_the_cpu_has_bf16_openvinos_own_choice_stands_beside_f32(trained: Trained, monkeypatch: Any) -> None:
    from edgeresnet.portable import machine

    recipes = recipe.parse(tiny(targets={"openvino": {"float_parts": "f32"}, "onnxruntime": {}}))
    for has, expected in ((False, ["fp32"]), (True, ["fp32", "half"])):
        monkeypatch.setattr(machine, "has_bf16", lambda has=has: has)
        found = {o.step.id: o.step for o in pipeline.plan(recipes, trained[0])}
        assert [name for name in found["verify:openvino"].parents if name in ("fp32", "half")] == expected
        assert [name for name in found["verify:onnxruntime"].parents if name in ("fp32", "half")] == ["fp32"]
    assert found["compile:openvino:half"].spec["options"]["float_parts"] == "bf16"


def test_planning_an_empty_store_makes_nothing(tmp_path: Path) -> None:
    planned = pipeline.plan(recipe.parse(tiny()), Store(tmp_path))
    assert {outcome.state for outcome in planned} == {"todo"}
    assert not any((tmp_path / stage).exists() for stage in pipeline.STAGES)


def test_a_library_version_is_part_of_the_key(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeresnet.portable import machine

    real = machine.versions

    def newer(*names: str) -> dict[str, str]:
        return {name: "99" if name == "onnxruntime" else version for name, version in real(*names).items()}

    monkeypatch.setattr(machine, "versions", newer)
    todo = {o.step.id for o in pipeline.plan(recipe.parse(tiny()), trained[0]) if o.state == "todo"}
    assert "compile:reference" in todo
    assert "train" not in todo


def test_given_weights_answer_as_the_training_they_came_from(trained: Trained, own_store: Store) -> None:
    run = trained[1]
    weights = Path(next(s["path"] for s in run["steps"] if s["id"] == "train")) / "weights.safetensors"
    raw = tiny(train=None, images__training=None, model__checkpoint=str(weights))
    given = pipeline.run(recipe.parse(raw), own_store)
    assert "train" not in states(given)
    found, expected = (r["results"]["onnxruntime"]["variants"]["fp32"] for r in (given, run))
    assert found["predicted"] == expected["predicted"]
    assert found["digest"] == expected["digest"], "the same weights are the same network"


class Absent(type(targets.get("onnxruntime"))):  # type: ignore[misc]
    name = "absent"
    title = "An absent target"

    def available(self) -> Availability:
        return Availability(False, "no driver was found", hint="install the driver")


def test_a_target_that_is_not_here_leaves_the_others_running(own_store: Store, add_target: Any) -> None:
    add_target(Absent())
    run = pipeline.run(recipe.parse(tiny(targets={"absent": {}, "onnxruntime": {}})), own_store)
    assert states(run)["compile:absent:fp32"] == "failed"
    assert states(run)["verify:absent"] == "skipped"
    assert run["verdict"] == "NOT_MEASURED"
    assert [v["verdict"] for v in run["verdicts"]] == ["NOT_MEASURED", "KEPT"]
    assert "no driver" in run["results"]["absent"]["reason"]
    assert run["results"]["absent"]["hint"] == "install the driver"
    nothing_promised = recipe.parse(tiny(targets={"absent": {}}, promises={}))
    assert pipeline.run(nothing_promised, own_store)["verdict"] == "NOT_MEASURED"


def test_calibration_images_that_are_also_evaluation_images(tmp_path: Path, colours: Any) -> None:
    shutil.copytree(colours("a"), tmp_path / "calibration")
    raw = on_colours(colours("b"), colours("a"), images={"calibration": str(tmp_path / "calibration")})
    with pytest.raises(ImagesError, match="120 of the 120 calibration images are also evaluation images"):
        pipeline.run(recipe.parse(raw), Store(tmp_path / "store"))


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"model__arch": "cifar_resnet9"}, ModelError, "no architecture"),
        ({"model__classes": 9}, ImagesError, "the model has 9"),
        ({"model__checkpoint": "nowhere.pth"}, ModelError, "no checkpoint nowhere.pth"),
        ({"promises": {"min_recall_pct": {"seven": 90}}}, RecipeError, "'seven', which is no class"),
        ({"images__evaluation": "/no/such/folder"}, ImagesError, "no folder"),
        ({"images__training": {"from": "digits", "count": 99999}}, ImagesError, "are asked for"),
    ],
)
def test_what_can_be_known_before_is_said_before(tmp_path: Path, changes: dict, kind: type, words: str) -> None:
    store = Store(tmp_path)
    with pytest.raises(kind, match=words):
        pipeline.run(recipe.parse(tiny(**changes)), store)
    assert not store.runs()


def test_a_run_that_fails_halfway_says_where(own_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr("edgeresnet.stages.trace.write_bytes", full)
    with pytest.raises(MachineError, match="disk is full"):
        pipeline.run(recipe.parse(tiny(trace={"batch": 3})), own_store)
    run = own_store.load_run()
    assert run["verdict"] == "NOT_MEASURED"
    assert "disk is full" in run["problem"]["message"]
    assert list(states(run)) == ["train"]
    assert json.dumps(run)


def test_an_unreadable_image_is_found_before_the_training_and_not_after(tmp_path: Path, colours: Any) -> None:
    shutil.copytree(colours("a"), tmp_path / "set")
    (tmp_path / "set" / "red" / "013.png").write_bytes(b"broken")
    store = Store(tmp_path / "store")
    with pytest.raises(ImagesError, match=r"013\.png"):
        pipeline.run(recipe.parse(on_colours(colours("b"), tmp_path / "set")), store)
    assert not (tmp_path / "store" / "train").exists()
    assert store.load_run()["steps"] == []


def test_one_step_alone_can_be_done_again_and_none_that_is_not_there(own_store: Store) -> None:
    with pytest.raises(RecipeError, match="no stage 'prune'"):
        pipeline.run(recipe.parse(tiny()), own_store, again=frozenset({"prune"}))
    run = pipeline.run(recipe.parse(tiny()), own_store, again=frozenset({"verify:onnxruntime"}))
    assert [name for name, state in states(run).items() if state == "made"] == ["verify:onnxruntime"]


def test_listeners_hear_in_order(own_store: Store) -> None:
    heard: list[str] = []

    class Ear(Listener):
        def begins(self, step: pipeline.Step) -> Any:
            heard.append(f"begins {step.id}")
            return super().begins(step)

        def ends(self, outcome: pipeline.Outcome) -> None:
            heard.append(f"{outcome.state} {outcome.step.id}")

    pipeline.run(recipe.parse(tiny()), own_store, again=frozenset({"compile"}), listener=Ear())
    assert heard[:4] == ["done train", "done trace", "begins compile:reference", "made compile:reference"]


def test_unreadable_images_are_counted_in_the_run(tmp_path: Path, colours: Any, trained: Trained) -> None:
    shutil.copytree(colours("a"), tmp_path / "set")
    (tmp_path / "set" / "red" / "000.png").write_bytes(b"broken")
    skip = {"unreadable": "skip"}
    raw = on_colours(colours("b"), tmp_path / "set", images=skip, train__epochs=1, seed=3)
    run = pipeline.run(recipe.parse(raw), Store(tmp_path / "store"))
    result = run["results"]["onnxruntime"]
    assert result["variants"]["fp32"]["accuracy"]["images"] == 119
    assert result["skipped"] == [str(tmp_path / "set" / "red" / "000.png")]
    assert json.dumps(run)
    (tmp_path / "set" / "red" / "001.png").write_bytes(b"broken")
    for index in range(40):  # all of one class: some of them would have been among the images for the parity
        (tmp_path / "set" / "green" / f"{index:03}.png").write_bytes(f"broken {index}".encode())
    raw["images"]["training"], raw["images"]["evaluation"] = str(tmp_path / "set"), str(colours("b"))
    made = pipeline.make(recipe.parse(raw), Store(tmp_path / "store"), lambda step: step.id == "train", Listener())
    assert "42 unreadable training images were left out" in made["steps"]["train"]["warnings"][0]
    raw["images"]["training"], raw["images"]["evaluation"] = str(colours("b")), str(tmp_path / "set")
    assert pipeline.run(recipe.parse(raw), Store(tmp_path / "store"))["results"]["onnxruntime"]["skipped"]
    raw["images"]["unreadable"] = "error"
    with pytest.raises(ImagesError, match=r"000\.png cannot be decoded"):
        pipeline.run(recipe.parse(raw), Store(tmp_path / "store"))


def test_what_would_ship_is_built_as_often_as_asked_for(own_store: Store) -> None:
    run = pipeline.run(recipe.parse(tiny(verify__rebuilds=3, promises={"max_drop_pp": 5})), own_store)
    built_again = [step["id"] for step in run["steps"] if "#" in step["id"]]
    assert built_again == ["compile:onnxruntime:fp32#2", "compile:onnxruntime:fp32#3"]
    result = run["results"]["onnxruntime"]
    assert list(result["variants"]) == ["fp32"]
    assert [build["accuracy"] for build in result["rebuilds"]] == [result["variants"]["fp32"]["accuracy"]] * 2
    assert all(build["latency"]["processes"] for build in result["rebuilds"])
    assert run["verdicts"][0]["verdict"] == "KEPT"
    assert run["verdicts"][0]["reason"].endswith("; worst of 3 builds")
    assert "built 3 times, all give 100.00 % same answers" in " ".join(report.view.of(run).advice)


def test_an_architecture_that_nobody_names_is_told_from_the_weights(own_store: Store, tmp_path: Path) -> None:
    given = torch_weights(tmp_path, "cifar_resnet8", 10, 1)
    raw = tiny(model={"checkpoint": str(given), "arch": "auto"}, train=None, promises={"max_drop_pp": 100})
    run = pipeline.run(recipe.parse(raw), own_store)
    assert run["recipe"]["model"]["arch"] is None
    (step,) = [step for step in run["steps"] if step["id"] == "trace"]
    assert step["state"] == "made"
    assert step["warnings"] == [
        "taken for cifar_resnet8; its tensors would fit cifar_plain8 as well: name `model.arch` if it is that"
    ]
    named = tiny(model={"checkpoint": str(given), "arch": "cifar_plain8"}, train=None, promises={})
    plain = pipeline.run(recipe.parse(named), own_store)
    assert not any(step["warnings"] for step in plain["steps"] if step["id"] == "trace")


def test_which_of_two_networks_in_a_file_is_meant(own_store: Store, tmp_path: Path) -> None:
    import torch

    from edgeresnet import models

    held, average = (models.build("cifar_resnet8b", 10, 1).state_dict() for _ in range(2))
    torch.save({"state_dict": held, "state_dict_ema": average}, tmp_path / "w.pth")

    def traced(**model: Any) -> pipeline.Step:
        raw = tiny(model={"checkpoint": str(tmp_path / "w.pth"), **model}, train=None)
        return next(step for step in pipeline.steps(recipe.parse(raw), own_store) if step.id == "trace")

    silent, model, ema = traced(), traced(weights="model"), traced(weights="ema")
    assert "holds its weights and an average of them: the weights are taken" in silent.warnings[0]
    assert (model.warnings, ema.warnings) == ((), ())
    given = [step.parents["network"] for step in (silent, model, ema)]
    assert len({each.digest for each in given if isinstance(each, Given)}) == 3
    assert isinstance(given[-1], Given)
    assert given[-1].value.which == "ema"
    del held["conv1.weight"]
    torch.save(held, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="holds no average of its weights"):
        traced(weights="ema", arch="cifar_resnet8b")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"train": tiny()["train"], "images__training": "digits"},
        {"prune": {"macs": 0.8}, "recover": {"epochs": 1}, "images__training": "digits"},
    ],
    ids=["trace", "train", "prune"],
)
def test_the_words_of_a_warning_are_in_no_key(
    own_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    from edgeresnet.pipeline import network

    given = torch_weights(tmp_path, "cifar_resnet8", 10, 1)  # its tensors fit another network too: a warning
    raw = tiny(**{"model": {"checkpoint": str(given)}, "train": None, "images__training": None, **changes})

    def planned() -> list[pipeline.Step]:
        return pipeline.steps(recipe.parse(raw), own_store)

    before, real = planned(), network._recognised

    def reworded(given: recipe.Recipe) -> Any:
        found, warnings = real(given)
        return found, [f"in other words: {warning}" for warning in warnings]

    monkeypatch.setattr(network, "_recognised", reworded)
    after = planned()
    assert [len(step.warnings) for step in before] == [1, *[0] * (len(before) - 1)]
    assert after[0].warnings[0].startswith("in other words")
    assert [step.key({}) for step in after] == [step.key({}) for step in before]


def test_what_stands_around_a_network_is_told(own_store: Store, tmp_path: Path) -> None:
    import torch

    from edgeresnet import models

    held = {f"backbone.{key}": value for key, value in models.build("cifar_resnet8b", 10, 1).state_dict().items()}
    held = {key.replace("backbone.linear", "head"): value for key, value in held.items()}
    torch.save(held, tmp_path / "w.pth")
    for model in ({}, {"arch": "cifar_resnet8b"}):
        raw = tiny(model={"checkpoint": str(tmp_path / "w.pth"), **model}, train=None)
        step = next(step for step in pipeline.steps(recipe.parse(raw), own_store) if step.id == "trace")
        assert "head is taken for the classifier of backbone.*" in step.warnings[0]


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (("cifar_resnet8", 7, 1), "knows 7 classes, and there are 10"),
        (("cifar_resnet8", 10, 3), "takes 3 channels, and preprocessing makes 1"),
        (None, "holds no network that is recognised by its tensors"),
    ],
)
def test_what_the_weights_say_is_held_against_the_recipe(
    own_store: Store, tmp_path: Path, weights: tuple[str, int, int] | None, words: str
) -> None:
    given = torch_weights(tmp_path, *weights) if weights else tmp_path / "w.pth"
    if weights is None:
        import torch

        torch.save({"features.weight": torch.zeros(2, 2)}, given)
    raw = tiny(model={"checkpoint": str(given)}, train=None)
    with pytest.raises(ModelError, match=words) as caught:
        pipeline.plan(recipe.parse(raw), own_store)
    assert caught.value.hint


def torch_weights(folder: Path, arch: str, classes: int, channels: int) -> Path:
    import torch

    from edgeresnet import models

    torch.save(models.build(arch, classes, channels).state_dict(), folder / "w.pth")
    return folder / "w.pth"
