"""`quantize` in a recipe: its steps, what ships, what is shared, and what is refused before anything runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgeresnet import pipeline, recipe, report, targets
from edgeresnet.errors import ImagesError, ModelError, RecipeError, TargetError
from edgeresnet.pipeline.planner import int8_of
from edgeresnet.portable import machine
from edgeresnet.store import Store

from ..conftest import tiny

CALIBRATION = {"from": "training", "count": 40}
QUANTIZED: dict[str, Any] = {
    "quantize": {"effort": "fast"},
    "images__calibration": CALIBRATION,
    "targets": {"onnxruntime": {}, "openvino": {}},
}
Run = tuple[Store, dict[str, Any]]


def quantized(**changes: Any) -> dict[str, Any]:
    return tiny(**{**QUANTIZED, **changes})


@pytest.fixture(scope="module")
def shipped(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("shipped") / "store"
    shutil.copytree(trained[0].root, root)
    store = Store(root)
    promises = {"max_drop_pp": 10.0, "max_size_mb": 0.3}
    return store, pipeline.run(recipe.parse(quantized(promises=promises)), store)


def step(run: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in run["steps"] if each["id"] == name)


def written(run: dict[str, Any], name: str) -> onnx.ModelProto:
    return onnx.load(Path(step(run, name)["path"]) / "model.onnx")


def test_int8_ships_and_promises_are_judged_on_it(shipped: Run) -> None:
    _, run = shipped
    for target in ("onnxruntime", "openvino"):
        result = run["results"][target]
        assert result["candidate"] == "int8"
        assert {"fp32", "int8"} <= set(result["variants"])
        assert result["variants"]["int8"]["accuracy"]["agree"] > 400
        assert result["as_written"]["images"] == 450
    assert {verdict["promise"] for verdict in run["verdicts"]} == {"max_drop_pp", "max_size_mb"}
    assert "quantization's, not the compiler's" in " ".join(report.FORMATS["terminal"](run).split())

    fp32 = run["results"]["onnxruntime"]["variants"]["fp32"]["size_mb"]
    int8 = run["results"]["onnxruntime"]["variants"]["int8"]["size_mb"]
    assert int8 < 0.5 * fp32
    sizes = [v for v in run["verdicts"] if v["promise"] == "max_size_mb" and v["target"] == "onnxruntime"]
    assert sizes[0]["verdict"] == ("KEPT" if int8 <= 0.3 else "BROKEN")


def test_a_compiler_that_spoils_int8_is_named(own_store: Store, add_target: Any) -> None:
    class Spoiling(type(targets.get("onnxruntime"))):  # type: ignore[misc]
        name = "spoiling"

        def load(self, compiled: Path) -> Any:
            session = super().load(compiled)
            if any(node.op_type == "DequantizeLinear" for node in onnx.load(compiled / "model.onnx").graph.node):
                real = session.infer
                session.infer = lambda batch: np.round(real(batch))
            return session

    add_target(Spoiling())
    run = pipeline.run(recipe.parse(quantized(targets={"spoiling": {}})), own_store)
    text = " ".join(report.FORMATS["terminal"](run).split())
    assert "as compiled: the compiler adds to it" in text


def test_one_calibration_serves_every_dialect_and_each_file_says_what_it_is(shipped: Run) -> None:
    _, run = shipped
    names = [each["id"] for each in run["steps"]]
    assert names.count("calibrate") == 1
    quantizing = set(int8_of(recipe.parse(quantized())).values())
    assert {name for name in names if name.startswith("quantize:")} == quantizing
    notes = step(run, "calibrate")["notes"]
    assert (notes["images"], notes["held_out"]) == (30, 10)
    for name in quantizing:
        said = {entry.key: entry.value for entry in written(run, name).metadata_props}
        notes = step(run, name)["notes"]
        assert json.loads(said["edgeresnet.dialect"]) == notes["dialect"]
        assert notes["bytes_after"] < notes["bytes_before"]
        assert "linear" in notes["int8"][-1]


def test_the_second_run_does_nothing(shipped: Run) -> None:
    store, first = shipped
    again = pipeline.run(recipe.parse(quantized(promises={"max_drop_pp": 10.0})), store)
    assert {each["state"] for each in again["steps"]} == {"done"}
    assert again["results"] == first["results"]


def test_equal_dialects_share_one_step_and_another_has_another() -> None:
    steps = {"tensorrt": "quantize:tensorrt", "tensorrt_rtx": "quantize:tensorrt", "openvino": "quantize:openvino"}
    assert int8_of(recipe.parse(quantized(targets={name: {} for name in steps}))) == steps
    assert int8_of(recipe.parse(tiny())) == {}
    apart = {"openvino": {"residual": "both"}, "onnxruntime": {"residual": "shortcut"}}
    assert len(set(int8_of(recipe.parse(quantized(targets=apart))).values())) == 2


def test_a_choice_of_quantizing_leaves_the_ranges_as_they_are(shipped: Run) -> None:
    planned = pipeline.plan(recipe.parse(quantized(quantize={"estimator": "min-max"})), shipped[0])
    states = {each.step.id: each.state for each in planned}
    assert states["calibrate"] == "done"
    assert {state for name, state in states.items() if name.startswith("quantize:")} == {"todo"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"images__calibration": None}, "images.calibration is missing: ranges are measured on images"),
        ({"targets": None, "promises": None}, "targets is missing: INT8 is written for a target"),
        ({"model__candidate": "int8.onnx"}, "model.candidate and quantize: one network ships"),
        ({"quantize": {"exclude": ["["]}}, "is no regular expression"),
        ({"quantize": {"effort": "much"}}, "quantize.effort: input should be 'fast', 'balanced' or 'best'"),
        ({"quantize": {"estimator": "guess"}}, "quantize.estimator"),
        ({"quantize": {"minutes": 0}}, "quantize.minutes"),
        ({"quantize": {"efort": "fast"}}, "quantize.efort: unknown key, did you mean effort?"),
        ({"targets": {"openvino": {"cpu": "pentium"}}}, "cpu must be one of this, avx2, vnni, amx, not 'pentium'"),
        ({"targets": {"onnxruntime": {"cpu": ""}}}, "cpu must be one of"),
        ({"targets": {"openvino": {"residual": "none"}}}, "residual must be one of shortcut, both, not 'none'"),
        ({"images__calibration": {"from": "evaluation"}}, "must not come from the evaluation images"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_in_words(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe.parse(quantized(**changes))
    assert said in "\n".join(caught.value.problems)


def test_calibration_images_that_are_evaluation_images_are_refused(colours: Any, tmp_path: Path) -> None:
    raw = quantized(
        model={"arch": "cifar_resnet8", "classes": 3},
        preprocessing={"size": 8, "mean": [0.5] * 3, "std": [0.3] * 3},
        images={name: str(colours("seen")) for name in ("evaluation", "calibration")} | {"training": str(colours("t"))},
    )
    with pytest.raises(ImagesError, match="calibration images are also evaluation images"):
        pipeline.plan(recipe.parse(raw), Store.open(tmp_path / "store"))


def test_fewer_images_than_asked_for_are_refused(tmp_path: Path) -> None:
    raw = quantized(images__calibration={"from": "training", "count": 501})
    with pytest.raises(ImagesError, match="501 calibration images are asked for, and 500 are there"):
        pipeline.plan(recipe.parse(raw), Store.open(tmp_path / "store"))


def test_an_already_quantized_network_is_refused_and_the_lint_offered(shipped: Run, tmp_path: Path) -> None:
    store, run = shipped
    path = Path(step(run, next(iter(int8_of(recipe.parse(quantized())).values())))["path"]) / "model.onnx"
    raw = quantized(model={"checkpoint": str(path), "classes": 10}, train=None)
    with pytest.raises(ModelError, match="is quantized already") as caught:
        pipeline.plan(recipe.parse(raw), store)
    assert "`edgeresnet inspect" in caught.value.hint


def test_excluded_layers_are_in_the_notes(shipped: Run) -> None:
    store, _ = shipped
    raw = quantized(quantize={"exclude": ["linear"]}, targets={"openvino": {}})
    part = pipeline.make(recipe.parse(raw), store, lambda s: s.stage.name == "quantize", pipeline.Listener())
    assert part["steps"]["quantize:openvino"]["notes"]["kept_float"] == {"linear": "excluded by 'linear'"}
    kinds = {each["id"].split(":")[0] for each in part["steps"].values()}
    assert kinds <= {"train", "trace", "calibrate", "quantize"}


def largest(model: onnx.ModelProto) -> int:
    held = (onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8)
    return max(int(np.abs(value.astype(int)).max()) for value in held if value.ndim > 1)


def test_weights_keep_to_half_their_range_for_a_cpu_without_vnni(shipped: Run) -> None:
    store, _ = shipped
    raw = quantized(targets={"openvino": {"cpu": "avx2"}, "onnxruntime": {"cpu": "vnni"}})
    part = pipeline.make(recipe.parse(raw), store, lambda s: s.stage.name == "quantize", pipeline.Listener())
    files = {name: onnx.load(Path(s["path"]) / "model.onnx") for name, s in part["steps"].items() if "quantize" in name}
    assert (largest(files["quantize:openvino"]), largest(files["quantize:onnxruntime"])) == (63, 127)
    said = {name: {e.key: e.value for e in file.metadata_props} for name, file in files.items()}
    assert said["quantize:openvino"]["edgeresnet.largest_weight"] == "63"
    assert json.loads(said["quantize:openvino"]["edgeresnet.dialect"])["weights"] == "half"


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_full_range_weights_are_refused_at_load_where_sums_would_saturate(
    shipped: Run, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = shipped
    target = targets.get(name)
    for cpu in ("avx2", "vnni"):
        raw = quantized(targets={name: {"cpu": cpu}})
        part = pipeline.make(recipe.parse(raw), store, lambda s: s.stage.name == "quantize", pipeline.Listener())
        file = Path(part["steps"][f"quantize:{name}"]["path"]) / "model.onnx"
        (tmp_path / cpu).mkdir()
        monkeypatch.setattr(machine, "has_int8", lambda: True)
        target.compile(file, target.options(), tmp_path / cpu)
    monkeypatch.setattr(machine, "has_int8", lambda: False)
    with target.load(tmp_path / "avx2") as session:
        assert session.infer(np.zeros((1, 1, 8, 8), np.float32)).shape == (1, 10)
    with pytest.raises(TargetError, match="full range of INT8 weights, and this CPU has no VNNI") as caught:
        target.load(tmp_path / "vnni")
    assert f"`targets.{name}.cpu: avx2`" in caught.value.hint


@pytest.mark.parametrize("has", [True, False])
def test_what_is_written_for_elsewhere_is_asked_as_it_is_written_where_sums_would_saturate(
    has: bool, shipped: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle for TensorRT has the full range, and may be made on a CPU that cannot run that."""
    store, _ = shipped
    monkeypatch.setattr(machine, "has_int8", lambda: has)
    wanted = recipe.parse(quantized(targets={"onnxruntime": {}, "tensorrt": {"where": "bundle"}}))
    fused = {one.step.id: one.step.spec.get("options", {}).get("fused") for one in pipeline.plan(wanted, store)}
    assert fused["compile:reference:onnxruntime"] is fused["compile:onnxruntime:int8"] is True
    assert fused["compile:reference:tensorrt"] is has
    part = pipeline.make(wanted, store, lambda step: step.id == "verify:reference:tensorrt", pipeline.Listener())
    told = part["results"]["verify:reference:tensorrt"]["variants"]["int8"]["accuracy"]
    assert told["sqnr_db"] > 20


@pytest.mark.parametrize(("cpu", "has", "weights"), [
    ("this", True, "full"), ("this", False, "half"), ("avx2", True, "half"), ("vnni", False, "full"),
    ("amx", False, "full"),
])  # fmt: skip
def test_the_cpu_that_will_run_it_decides_the_range(
    cpu: str, has: bool, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "has_int8", lambda: has)
    for name in ("onnxruntime", "openvino"):
        target = targets.get(name)
        assert target.speaks(target.options(cpu=cpu)).weights == weights


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_the_residual_may_be_chosen_and_is_measured_otherwise(name: str) -> None:
    target = targets.get(name)
    assert target.speaks(target.options()).residual == target.dialect.residual
    for residual in ("shortcut", "both"):
        assert target.speaks(target.options(residual=residual)).residual == residual
