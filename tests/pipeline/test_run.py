"""A recipe becomes steps, each made once; what fails on one target leaves the others running."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeresnet import pipeline, recipe, report, targets
from edgeresnet.errors import ImagesError, MachineError, ModelError, RecipeError
from edgeresnet.pipeline import Listener
from edgeresnet.pipeline import network as networks
from edgeresnet.portable import codec
from edgeresnet.portable.result import NotMeasured
from edgeresnet.portable.session import Availability
from edgeresnet.runs import Run, StepId
from edgeresnet.stages import specs
from edgeresnet.store import Given, Store

from ..conftest import folder_of, result_of, step_of, tiny

Trained = tuple[Store, Run]
TRACE, RECOGNISE = StepId("trace"), StepId("recognise")


def on_colours(training: Path, evaluation: Path, *, images: dict[str, Any] | None = None, **changes: Any) -> Any:
    """A recipe on class folders of colours."""
    start = {"model__classes": 3, "preprocessing": {"size": 8, "mean": [0.5] * 3, "std": [0.25] * 3}}
    sets = {"training": str(training), "evaluation": str(evaluation), **(images or {})}
    return tiny(**start, images=sets, **changes)


def states(run: Run) -> dict[str, str]:
    return {step.id: step.state for step in run.steps}


def planned(raw: dict[str, Any], store: Store) -> tuple[pipeline.Step, ...]:
    return pipeline.plan(pipeline.resolve(recipe.parse(raw), store))


def step_in(raw: dict[str, Any], store: Store, step: StepId = TRACE) -> pipeline.Step:
    return next(each for each in planned(raw, store) if each.id == step)


def test_a_run_from_training_to_verdict(trained: Trained) -> None:
    store, run = trained
    # onnxruntime with its own defaults is the reference: compiled once, measured as both
    names = ["train", "trace", "compile:reference", "verify:reference", "compile:onnxruntime:yardstick"]
    assert list(states(run)) == [*names, "verify:onnxruntime"]
    assert run.verdict == "KEPT"
    result = result_of(run, "onnxruntime")
    variant, unit = result.variants["fp32"], result.yardstick
    assert variant.accuracy.images == 450
    assert variant.accuracy.score_pct > 100 * 300 / 450
    assert variant.accuracy.agree_pct == 100
    assert len(variant.predicted) == 450
    assert variant.latency is not None
    assert unit is not None
    assert unit.latency is not None
    windows, unit_windows = ([len(each) for each in latency.windows()] for latency in (variant.latency, unit.latency))
    assert windows == unit_windows, "timed in turn with it"
    assert list(result.variants) == ["fp32"], "and no network that could ship"
    assert len(windows) == 3
    assert all(1 <= number <= 8 for number in windows)
    assert store.load_run(run.id) == run


def test_the_second_run_does_nothing(trained: Trained, own_store: Store) -> None:
    store, first = own_store, trained[1]
    run = pipeline.run(recipe.parse(tiny()), store)
    assert set(states(run).values()) == {"done"}
    assert run.results == first.results
    assert run.verdicts == first.verdicts
    assert {o.state for o in pipeline.preview(recipe.parse(tiny()), store)} == {"done"}


def test_planning_opens_no_file(trained: Trained) -> None:
    """Whatever it needs was read before, once: so a plan costs nothing, and means the same for all who make it."""
    raw = tiny(
        prune={"speedup": {"openvino": 1.3}},
        recover={"epochs": 1},
        quantize={},
        images__calibration={"from": "training", "count": 40},
        targets={"onnxruntime": {}, "openvino": {}, "tensorrt": {"where": "bundle"}},
    )
    resolved = pipeline.resolve(recipe.parse(raw), trained[0])
    opened: list[str] = []
    watching = [True]  # a hook stays for good

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if watching[0] and event in ("open", "os.listdir", "os.scandir", "subprocess.Popen"):
            opened.append(f"{event} {arguments[0]}")

    sys.addaudithook(hook)
    steps = pipeline.plan(resolved)
    watching[0] = False
    assert not opened
    assert pipeline.plan(resolved) == steps
    names = [str(step.id) for step in steps]
    assert names[:5] == ["train", "prune", "recover", "trace:dense", "trace"]
    assert {StepId("compile", "reference", "pruned"), StepId("export", "tensorrt")} <= {step.id for step in steps}
    assert len(names) == len(set(names))


def test_what_is_there_is_looked_for_once(own_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every byte of an artifact is hashed for that: a training's, too, whose images are decoded before it begins."""
    sought, real = list[str](), Store.find

    def find(store: Store, stage: str, key: str) -> Any:
        sought.append(stage)
        return real(store, stage, key)

    monkeypatch.setattr(Store, "find", find)
    run = pipeline.run(recipe.parse(tiny()), own_store)
    assert [step.stage for step in run.steps] == sought


def test_images_are_decoded_before_what_may_take_hours_and_only_then(
    own_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[list[str]] = []
    monkeypatch.setattr("edgeresnet.pipeline.making.look_at", lambda sets, progress: looked.append(list(sets)))
    pipeline.run(recipe.parse(tiny()), own_store)
    pipeline.run(recipe.parse(tiny()), own_store, again=frozenset({"trace"}))
    assert looked == []
    pipeline.run(recipe.parse(tiny(train__epochs=1)), own_store)
    assert looked == [["training", "evaluation"]]


def test_the_run_that_fails_halfway_is_handed_over(own_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ModelError("it", "has no end", hint="give another")

    monkeypatch.setattr("edgeresnet.stages.trace.trace", fails)
    ended: list[Run] = []
    with pytest.raises(ModelError, match="it has no end"):
        pipeline.run(recipe.parse(tiny(seed=9, train__epochs=1)), own_store, on_failure=ended.append)
    assert ended == [own_store.load_run()]
    pipeline.run(recipe.parse(tiny()), own_store, on_failure=ended.append)
    assert len(ended) == 1


def test_another_promise_needs_no_new_measurement(own_store: Store) -> None:
    run = pipeline.run(recipe.parse(tiny(promises={"min_top1_pct": 100})), own_store)
    assert set(states(run).values()) == {"done"}
    assert run.verdict == "BROKEN"


def test_again_measures_again_and_makes_nothing_before_it_again(own_store: Store, trained: Trained) -> None:
    run = pipeline.run(recipe.parse(tiny()), own_store, again=frozenset({"verify"}))
    found = states(run)
    assert [name for name, state in found.items() if state == "made"] == ["verify:onnxruntime"]
    assert found["verify:reference"] == "done", "its answers do not depend on the hour"
    again, before = (result_of(each, "onnxruntime").variants["fp32"].latency for each in (run, trained[1]))
    assert again != before


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
def test_a_change_matters_from_the_step_that_reads_it_on(trained: Trained, changes: dict, first_made: str) -> None:
    outcomes = pipeline.preview(recipe.parse(tiny(**changes)), trained[0])
    names = [str(outcome.step.id) for outcome in outcomes]
    todo = [str(outcome.step.id) for outcome in outcomes if outcome.state == "todo"]
    assert todo[0] == first_made
    assert all(o.state == "done" for o in outcomes[: names.index(first_made)])


def test_where_the_cpu_has_bf16_openvinos_own_choice_is_measured_with_f32(trained: Trained, monkeypatch: Any) -> None:
    from edgeresnet.portable import machine

    recipes = recipe.parse(tiny(targets={"openvino": {"float_parts": "f32"}, "onnxruntime": {}}))
    for has, expected in ((False, ["fp32"]), (True, ["fp32", "half"])):
        monkeypatch.setattr(machine, "has_bf16", lambda has=has: has)
        found = {str(o.step.id): o.step for o in pipeline.preview(recipes, trained[0])}
        assert [name for name in found["verify:openvino"].parents if name in ("fp32", "half")] == expected
        assert [name for name in found["verify:onnxruntime"].parents if name in ("fp32", "half")] == ["fp32"]
    half = found["compile:openvino:half"].spec
    assert isinstance(half, specs.CompileSpec)
    assert half.options.float_parts == "bf16"


def test_planning_an_empty_store_makes_nothing(tmp_path: Path) -> None:
    outcomes = pipeline.preview(recipe.parse(tiny()), Store(tmp_path))
    assert {outcome.state for outcome in outcomes} == {"todo"}
    assert not any((tmp_path / stage).exists() for stage in pipeline.STAGES)


def test_a_library_version_is_part_of_the_key(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeresnet.portable import machine

    real = machine.versions

    def newer(*names: str) -> dict[str, str]:
        return {name: "99" if name == "onnxruntime" else version for name, version in real(*names).items()}

    monkeypatch.setattr(machine, "versions", newer)
    todo = {str(o.step.id) for o in pipeline.preview(recipe.parse(tiny()), trained[0]) if o.state == "todo"}
    assert "compile:reference" in todo
    assert "train" not in todo


def test_given_weights_answer_as_the_training_they_came_from(trained: Trained, own_store: Store) -> None:
    run = trained[1]
    weights = folder_of(run, "train") / "weights.safetensors"
    raw = tiny(train=None, images__training=None, model__checkpoint=str(weights))
    given = pipeline.run(recipe.parse(raw), own_store)
    assert "train" not in states(given)
    found, expected = (result_of(each, "onnxruntime").variants["fp32"] for each in (given, run))
    assert found.predicted == expected.predicted
    assert found.digest == expected.digest, "the same weights are the same network"


class Absent(type(targets.get("onnxruntime"))):  # type: ignore[misc]
    name = "absent"
    title = "An absent target"

    def available(self, options: Any = None) -> Availability:
        return Availability(False, "no driver was found", hint="install the driver")


def test_a_target_that_is_not_available_leaves_the_others_running(own_store: Store, add_target: Any) -> None:
    add_target(Absent())
    run = pipeline.run(recipe.parse(tiny(targets={"absent": {}, "onnxruntime": {}})), own_store)
    assert states(run)["compile:absent:fp32"] == "failed"
    assert states(run)["verify:absent"] == "skipped"
    assert run.verdict == "NOT_MEASURED"
    assert [verdict.verdict for verdict in run.verdicts] == ["NOT_MEASURED", "KEPT"]
    reason = "An absent target is not available: no driver was found"
    assert run.results["absent"] == NotMeasured("absent", reason, "install the driver")
    nothing_promised = recipe.parse(tiny(targets={"absent": {}}, promises={}))
    assert pipeline.run(nothing_promised, own_store).verdict == "NOT_MEASURED"


@pytest.mark.parametrize("classes", [3, None])
def test_a_calibration_folder_may_hold_only_some_of_the_classes(
    tmp_path: Path, colours: Any, classes: int | None
) -> None:
    shutil.copytree(colours("ranges") / "red", tmp_path / "some" / "red")
    raw = tiny(
        model={"arch": "cifar_resnet8", "classes": classes},
        preprocessing={"size": 8, "mean": [0.4] * 3, "std": [0.3] * 3},
        images={"training": str(colours("train")), "evaluation": str(colours("eval"))},
        images__calibration=str(tmp_path / "some"),
        quantize={"effort": "fast"},
    )
    resolved = pipeline.resolve(recipe.parse(raw), Store.open(tmp_path / "store"))
    assert resolved.network.architecture.classes == 3
    assert len(resolved.samples["calibration"].value) == 40
    raw["images"]["evaluation"] = str(tmp_path / "some")
    with pytest.raises(ImagesError, match="class"):
        pipeline.resolve(recipe.parse(raw), Store(tmp_path / "store"))


def test_calibration_images_that_are_also_evaluation_images(tmp_path: Path, colours: Any) -> None:
    shutil.copytree(colours("a"), tmp_path / "calibration")
    raw = on_colours(colours("b"), colours("a"), images={"calibration": str(tmp_path / "calibration")})
    with pytest.raises(ImagesError, match="120 of the 120 calibration images are also evaluation images"):
        pipeline.run(recipe.parse(raw), Store(tmp_path / "store"))


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"model__arch": "cifar_resnet9"}, ModelError, "'cifar_resnet9' is not a known architecture"),
        ({"model__classes": 9}, ImagesError, "the model has 9"),
        ({"model__checkpoint": "nowhere.pth"}, ModelError, "the checkpoint nowhere.pth does not exist"),
        ({"promises": {"min_recall_pct": {"seven": 90}}}, RecipeError, "names 'seven', which is not a class"),
        ({"images__evaluation": "/no/such/folder"}, ImagesError, "the folder /no/such/folder does not exist"),
        ({"images__training": {"from": "digits", "count": 99999}}, ImagesError, "99999 training images are requested"),
    ],
)
def test_what_can_be_known_before_ends_it_before(tmp_path: Path, changes: dict, kind: type, words: str) -> None:
    store = Store(tmp_path)
    with pytest.raises(kind, match=words):
        pipeline.run(recipe.parse(tiny(**changes)), store)
    assert not store.runs()


def test_a_run_that_fails_halfway_records_where(own_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr("edgeresnet.stages.trace.write_bytes", full)
    with pytest.raises(MachineError, match="disk is full"):
        pipeline.run(recipe.parse(tiny(trace={"batch": 3})), own_store)
    run = own_store.load_run()
    assert run.verdict == "NOT_MEASURED"
    assert run.problem is not None
    assert "disk is full" in run.problem.message
    assert run.problem.step == "trace"
    assert list(states(run)) == ["train"]


def test_an_unreadable_image_is_found_before_the_training_and_not_after(tmp_path: Path, colours: Any) -> None:
    shutil.copytree(colours("a"), tmp_path / "set")
    (tmp_path / "set" / "red" / "013.png").write_bytes(b"broken")
    store = Store(tmp_path / "store")
    with pytest.raises(ImagesError, match=r"013\.png"):
        pipeline.run(recipe.parse(on_colours(colours("b"), tmp_path / "set")), store)
    assert not (tmp_path / "store" / "train").exists()
    assert store.load_run().steps == ()


def test_one_step_alone_can_be_made_again_and_none_that_does_not_exist(own_store: Store) -> None:
    with pytest.raises(RecipeError, match="this recipe has no stage 'prune'"):
        pipeline.run(recipe.parse(tiny()), own_store, again=frozenset({"prune"}))
    run = pipeline.run(recipe.parse(tiny()), own_store, again=frozenset({"verify:onnxruntime"}))
    assert [name for name, state in states(run).items() if state == "made"] == ["verify:onnxruntime"]


def test_the_reference_is_evaluated_again_where_its_step_is_named_or_there_is_no_target(own_store: Store) -> None:
    def made(again: str, **changes: Any) -> list[str]:
        run = pipeline.run(recipe.parse(tiny(**changes)), own_store, again=frozenset({again}))
        return [name for name, state in states(run).items() if state == "made"]

    assert "verify:reference" in made("verify:reference")
    assert made("verify", targets={}, promises=None) == ["verify:reference"]


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
    result = result_of(run, "onnxruntime")
    assert result.variants["fp32"].accuracy.images == 119
    assert result.skipped == (str(tmp_path / "set" / "red" / "000.png"),)
    (tmp_path / "set" / "red" / "001.png").write_bytes(b"broken")
    for index in range(40):  # all of one class: some of them would have been among the images for the parity
        (tmp_path / "set" / "green" / f"{index:03}.png").write_bytes(f"broken {index}".encode())
    raw["images"]["training"], raw["images"]["evaluation"] = str(tmp_path / "set"), str(colours("b"))
    made = pipeline.make(
        recipe.parse(raw), Store(tmp_path / "store"), lambda step: step.id.stage == "train", Listener()
    )
    (warning,) = made.steps["train"].warnings
    assert warning.code == "unreadable-images"
    assert "42 unreadable training images are left out" in warning.text
    raw["images"]["training"], raw["images"]["evaluation"] = str(colours("b")), str(tmp_path / "set")
    assert result_of(pipeline.run(recipe.parse(raw), Store(tmp_path / "store")), "onnxruntime").skipped
    raw["images"]["unreadable"] = "error"
    with pytest.raises(ImagesError, match=r"000\.png cannot be decoded"):
        pipeline.run(recipe.parse(raw), Store(tmp_path / "store"))


def test_what_would_ship_is_built_as_often_as_the_recipe_wants(own_store: Store) -> None:
    run = pipeline.run(recipe.parse(tiny(verify__rebuilds=3, promises={"max_drop_pp": 5})), own_store)
    built_again = [step.id for step in run.steps if "#" in step.id]
    assert built_again == ["compile:onnxruntime:fp32#2", "compile:onnxruntime:fp32#3"]
    result = result_of(run, "onnxruntime")
    assert list(result.variants) == ["fp32"]
    assert [build.accuracy for build in result.rebuilds] == [result.variants["fp32"].accuracy] * 2
    assert all(build.latency and build.latency.processes for build in result.rebuilds)
    assert run.verdicts[0].verdict == "KEPT"
    assert run.verdicts[0].reason.endswith("; worst of 3 builds")
    assert "built 3 times, all builds agree on 100.00 % of the images" in " ".join(report.summary.of(run).advice)


def test_an_architecture_that_is_not_named_is_recognised_from_the_weights(own_store: Store, tmp_path: Path) -> None:
    import torch

    given = torch_weights(tmp_path, "cifar_resnet8", 10, 1)
    held = torch.load(given)
    held["linear.weight"].zero_()  # all images get one answer
    torch.save(held, given)
    raw = tiny(model={"checkpoint": str(given), "arch": "auto"}, train=None, promises={"max_drop_pp": 100})
    for state in ("made", "done"):
        with pytest.raises(ModelError, match="none of them is better than chance"):
            pipeline.run(recipe.parse(raw), own_store)
        run = own_store.load_run()
        assert codec.decode(dict[str, object], run.recipe["model"])["arch"] is None
        (warning,) = step_of(run, "recognise").warnings
        assert (step_of(run, "recognise").state, warning.code) == (state, "recognised-at-chance")
        assert "The most usual one is used: cifar_resnet8: " in warning.text
    for arch in ("cifar_plain8", "cifar_resnet8"):
        named = tiny(model={"checkpoint": str(given), "arch": arch}, train=None, promises={})
        assert not step_of(pipeline.run(recipe.parse(named), own_store), "trace").warnings


def test_which_of_two_networks_in_a_file_is_meant(own_store: Store, tmp_path: Path) -> None:
    import torch

    from edgeresnet import models

    held, average = (models.build("cifar_resnet8b", 10, 1).state_dict() for _ in range(2))
    torch.save({"state_dict": held, "state_dict_ema": average}, tmp_path / "w.pth")

    def traced(**model: Any) -> pipeline.Step:
        raw = tiny(model={"checkpoint": str(tmp_path / "w.pth"), **model}, train=None)
        return step_in(raw, own_store, TRACE if "arch" in model else RECOGNISE)

    silent, model, ema = traced(), traced(weights="model"), traced(weights="ema")
    assert "the file has weights and averaged weights (EMA): the first are used" in silent.warnings[0].text
    assert (model.warnings, ema.warnings) == ((), ())
    given = [step.parents["network"] for step in (silent, model, ema)]
    assert len({each.digest for each in given if isinstance(each, Given)}) == 3
    assert isinstance(given[-1], Given)
    assert isinstance(given[-1].value, models.Weights)
    assert given[-1].value.which == "ema"
    del held["conv1.weight"]
    torch.save(held, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"w\.pth does not hold averaged weights"):
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
    import torch

    from edgeresnet import models

    given, network = tmp_path / "w.pth", models.build("cifar_resnet8b", 10, 1).state_dict()
    torch.save({"state_dict": network, "state_dict_ema": network}, given)  # two networks: a warning
    raw = tiny(**{"model": {"checkpoint": str(given)}, "train": None, "images__training": None, **changes})
    before, real = planned(raw, own_store), networks._recognised

    def reworded(given: recipe.Recipe) -> Any:
        found, warnings = real(given)
        return found, [replace(warning, text=f"in other words: {warning.text}") for warning in warnings]

    monkeypatch.setattr(networks, "_recognised", reworded)
    after = planned(raw, own_store)
    assert [len(step.warnings) for step in before] == [1, *[0] * (len(before) - 1)]
    assert after[0].warnings[0].text.startswith("in other words")
    assert [step.key({}) for step in after] == [step.key({}) for step in before]


def test_what_is_around_a_network_is_reported(own_store: Store, tmp_path: Path) -> None:
    import torch

    from edgeresnet import models

    held = {f"backbone.{key}": value for key, value in models.build("cifar_resnet8b", 10, 1).state_dict().items()}
    held = {key.replace("backbone.linear", "head"): value for key, value in held.items()}
    torch.save(held, tmp_path / "w.pth")
    for model in ({}, {"arch": "cifar_resnet8b"}):
        raw = tiny(model={"checkpoint": str(tmp_path / "w.pth"), **model}, train=None)
        first = step_in(raw, own_store, TRACE if model else RECOGNISE)
        assert "head is used as the classifier of backbone.*" in first.warnings[0].text


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (("cifar_resnet8", 7, 1), "has 7 classes, but the images or the recipe have 10"),
        (("cifar_resnet8", 10, 3), "takes 3 channels, but the preprocessing makes 1"),
        (None, "has tensors that match no known architecture"),
    ],
)
def test_what_the_weights_hold_is_compared_with_the_recipe(
    own_store: Store, tmp_path: Path, weights: tuple[str, int, int] | None, words: str
) -> None:
    given = torch_weights(tmp_path, *weights) if weights else tmp_path / "w.pth"
    if weights is None:
        import torch

        torch.save({"features.weight": torch.zeros(2, 2)}, given)
    raw = tiny(model={"checkpoint": str(given)}, train=None)
    with pytest.raises(ModelError, match=words) as caught:
        pipeline.preview(recipe.parse(raw), own_store)
    assert caught.value.hint


def torch_weights(folder: Path, arch: str, classes: int, channels: int) -> Path:
    import torch

    from edgeresnet import models

    torch.save(models.build(arch, classes, channels).state_dict(), folder / "w.pth")
    return folder / "w.pth"
