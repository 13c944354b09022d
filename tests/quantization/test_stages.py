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
from edgeresnet.notes import CalibrateNotes, QuantizeNotes
from edgeresnet.pipeline.planner import int8_of
from edgeresnet.pipeline.resolving import resolved_targets
from edgeresnet.portable import codec, machine
from edgeresnet.portable.result import Measured
from edgeresnet.portable.session import Dialect
from edgeresnet.runs import Run, StepId, StepRecord
from edgeresnet.stages.specs import CompileSpec
from edgeresnet.store import Store

from ..conftest import tiny

CALIBRATION = {"from": "training", "count": 40}
QUANTIZED: dict[str, Any] = {
    "quantize": {"effort": "fast"},
    "images__calibration": CALIBRATION,
    "targets": {"onnxruntime": {}, "openvino": {}},
}
Shipped = tuple[Store, Run]


def quantized(**changes: Any) -> dict[str, Any]:
    return tiny(**{**QUANTIZED, **changes})


@pytest.fixture(scope="module")
def shipped(trained: Shipped, tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    root = tmp_path_factory.mktemp("shipped") / "store"
    shutil.copytree(trained[0].root, root)
    store = Store(root)
    promises = {"max_drop_pp": 10.0, "max_size_mb": 0.3}
    return store, pipeline.run(recipe.parse(quantized(promises=promises)), store)


def quantizing(raw: dict[str, Any]) -> dict[str, StepId]:
    """Return the step that writes each target's INT8 network."""
    parsed = recipe.parse(raw)
    return int8_of(parsed, resolved_targets(parsed))


def step(run: Run, name: StepId) -> StepRecord:
    return next(each for each in run.steps if each.step == name)


def file_of(record: StepRecord) -> Path:
    assert record.path is not None
    return Path(record.path) / "model.onnx"


def quantize_notes(record: StepRecord) -> QuantizeNotes:
    assert isinstance(record.notes, QuantizeNotes)
    return record.notes


def test_int8_ships_and_promises_are_judged_on_it(shipped: Shipped) -> None:
    _, run = shipped
    for target in ("onnxruntime", "openvino"):
        result = run.results[target]
        assert isinstance(result, Measured)
        assert result.ships == "int8"
        assert {"fp32", "int8"} <= set(result.variants)
        assert result.variants["int8"].accuracy.agree_pct > 100 * 400 / 450
        assert result.as_written is not None
        assert result.as_written.images == 450
    assert {verdict.promise.name for verdict in run.verdicts} == {"max_drop_pp", "max_size_mb"}
    assert "compilation adds none" in " ".join(report.FORMATS["md"](run).split())

    result = run.results["onnxruntime"]
    assert isinstance(result, Measured)
    fp32, int8 = (result.variants[name].size_mb for name in ("fp32", "int8"))
    assert int8 < 0.5 * fp32
    sizes = [each for each in run.verdicts_of("onnxruntime") if each.promise.kind == "max_size_mb"]
    assert sizes[0].verdict == ("KEPT" if int8 <= 0.3 else "BROKEN")


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
    assert "compilation adds noise" in " ".join(report.FORMATS["md"](run).split())


def test_one_calibration_serves_every_dialect_and_each_file_says_what_it_is(shipped: Shipped) -> None:
    _, run = shipped
    steps = [each.step for each in run.steps]
    assert [each.stage for each in steps].count("calibrate") == 1
    wanted = set(quantizing(quantized()).values())
    assert {each for each in steps if each.stage == "quantize"} == wanted
    (calibrated,) = run.notes_of(CalibrateNotes)
    assert (calibrated.images, calibrated.held_out) == (30, 10)
    for name in wanted:
        record = step(run, name)
        entries = {entry.key: entry.value for entry in onnx.load(file_of(record)).metadata_props}
        notes = quantize_notes(record)
        assert codec.decode(Dialect, json.loads(entries["edgeresnet.dialect"])) == notes.dialect
        assert notes.bytes_after < notes.bytes_before
        assert "linear" in notes.int8[-1]


def test_the_second_run_does_nothing(shipped: Shipped) -> None:
    store, first = shipped
    again = pipeline.run(recipe.parse(quantized(promises={"max_drop_pp": 10.0})), store)
    assert {each.state for each in again.steps} == {"done"}
    assert again.results == first.results


def test_equal_dialects_share_one_step_and_another_has_another() -> None:
    writers = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt", "openvino": "openvino"}
    steps = {name: StepId("quantize", writer) for name, writer in writers.items()}
    assert quantizing(quantized(targets={name: {} for name in steps})) == steps
    assert quantizing(tiny()) == {}
    apart = {"openvino": {"residual": "both"}, "onnxruntime": {"residual": "shortcut"}}
    assert len(set(quantizing(quantized(targets=apart)).values())) == 2


def test_a_choice_of_quantizing_leaves_the_ranges_as_they_are(shipped: Shipped) -> None:
    planned = pipeline.preview(recipe.parse(quantized(quantize={"estimator": "min-max"})), shipped[0])
    states = {each.step.id: each.state for each in planned}
    assert states[StepId("calibrate")] == "done"
    assert {state for name, state in states.items() if name.stage == "quantize"} == {"todo"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images__calibration": None}, "images.calibration is missing: INT8 ranges are measured on images"),
        ({"targets": None, "promises": None}, "targets is missing: INT8 is written for a target"),
        ({"model__candidate": "int8.onnx"}, "quantize and model.candidate cannot be combined"),
        ({"quantize": {"exclude": ["["]}}, "is not a regular expression"),
        ({"quantize": {"effort": "much"}}, "quantize.effort: input should be 'fast', 'balanced' or 'best'"),
        ({"quantize": {"estimator": "guess"}}, "quantize.estimator"),
        ({"quantize": {"minutes": 0}}, "quantize.minutes"),
        ({"quantize": {"efort": "fast"}}, "quantize.efort: unknown key, did you mean effort?"),
        (
            {"targets": {"openvino": {"cpu": "pentium"}}},
            "cpu must be one of this, avx2, vnni, amx, arm, arm-dotprod, not 'pentium'",
        ),
        ({"targets": {"onnxruntime": {"cpu": ""}}}, "cpu must be one of"),
        ({"targets": {"openvino": {"residual": "none"}}}, "residual must be one of shortcut, both, auto, not 'none'"),
        ({"targets": {"onnxruntime": {"zero_points": "0"}}}, "zero_points must be one of auto, never, not '0'"),
        ({"targets": {"tensorrt": {"zero_points": "auto"}}}, "targets.tensorrt.zero_points: unknown key"),
        ({"images__calibration": {"from": "evaluation"}}, "must not come from the evaluation images"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_in_words(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe.parse(quantized(**changes))
    assert words in "\n".join(caught.value.problems)


def test_calibration_images_that_are_evaluation_images_are_refused(colours: Any, tmp_path: Path) -> None:
    raw = quantized(
        model={"arch": "cifar_resnet8", "classes": 3},
        preprocessing={"size": 8, "mean": [0.5] * 3, "std": [0.3] * 3},
        images={name: str(colours("seen")) for name in ("evaluation", "calibration")} | {"training": str(colours("t"))},
    )
    with pytest.raises(ImagesError, match="calibration images are also evaluation images"):
        pipeline.preview(recipe.parse(raw), Store.open(tmp_path / "store"))


def test_fewer_images_than_requested_are_refused(tmp_path: Path) -> None:
    raw = quantized(images__calibration={"from": "training", "count": 501})
    with pytest.raises(ImagesError, match="501 calibration images are requested, but there are only 500"):
        pipeline.preview(recipe.parse(raw), Store.open(tmp_path / "store"))


def test_an_already_quantized_network_is_refused_and_the_lint_offered(shipped: Shipped, tmp_path: Path) -> None:
    store, run = shipped
    path = file_of(step(run, next(iter(quantizing(quantized()).values()))))
    raw = quantized(model={"checkpoint": str(path), "classes": 10}, train=None)
    with pytest.raises(ModelError, match="is quantized already") as caught:
        pipeline.preview(recipe.parse(raw), store)
    assert "`edgeresnet inspect" in caught.value.hint


def test_excluded_layers_are_in_the_notes(shipped: Shipped) -> None:
    store, _ = shipped
    raw = quantized(quantize={"exclude": ["linear"]}, targets={"openvino": {}})
    part = pipeline.make(recipe.parse(raw), store, lambda s: s.stage.name == "quantize", pipeline.Listener())
    assert quantize_notes(part.steps["quantize:openvino"]).kept_float == {"linear": "excluded by 'linear'"}
    kinds = {each.stage for each in part.steps.values()}
    assert kinds <= {"train", "trace", "calibrate", "quantize"}


def largest(model: onnx.ModelProto) -> int:
    held = (onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8)
    return max(int(np.abs(value.astype(int)).max()) for value in held if value.ndim > 1)


def test_weights_keep_to_half_their_range_for_a_cpu_without_vnni(shipped: Shipped) -> None:
    store, _ = shipped
    raw = quantized(targets={"openvino": {"cpu": "avx2"}, "onnxruntime": {"cpu": "vnni"}})
    part = pipeline.make(recipe.parse(raw), store, lambda s: s.stage.name == "quantize", pipeline.Listener())
    files = {name: onnx.load(file_of(each)) for name, each in part.steps.items() if each.stage == "quantize"}
    assert (largest(files["quantize:openvino"]), largest(files["quantize:onnxruntime"])) == (63, 127)
    entries = {entry.key: entry.value for entry in files["quantize:openvino"].metadata_props}
    assert entries["edgeresnet.largest_weight"] == "63"
    assert json.loads(entries["edgeresnet.dialect"])["weights"] == "half"


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_full_range_weights_are_refused_at_load_where_sums_would_saturate(
    shipped: Shipped, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = shipped
    target = targets.get(name)
    for cpu in ("avx2", "vnni"):
        raw = quantized(targets={name: {"cpu": cpu}})
        part = pipeline.make(recipe.parse(raw), store, lambda s: s.stage.name == "quantize", pipeline.Listener())
        file = file_of(part.steps[f"quantize:{name}"])
        (tmp_path / cpu).mkdir()
        monkeypatch.setattr(machine, "has_int8", lambda: True)
        target.compile(file, target.options(), tmp_path / cpu)
    monkeypatch.setattr(machine, "has_int8", lambda: False)
    with target.load(tmp_path / "avx2") as session:
        assert session.infer(np.zeros((1, 1, 8, 8), np.float32)).shape == (1, 10)
    with pytest.raises(TargetError, match="full range of INT8 weights, but this CPU has no VNNI") as caught:
        target.load(tmp_path / "vnni")
    assert f"`targets.{name}.cpu: avx2`" in caught.value.hint


@pytest.mark.parametrize("has", [True, False])
def test_what_is_written_for_a_device_is_evaluated_as_written_where_sums_would_saturate(
    has: bool, shipped: Shipped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Make a bundle for TensorRT, with the full range, on a CPU that may not be able to run that."""
    store, _ = shipped
    monkeypatch.setattr(machine, "has_int8", lambda: has)
    wanted = recipe.parse(quantized(targets={"onnxruntime": {}, "tensorrt": {"where": "bundle"}}))
    steps = [outcome.step for outcome in pipeline.preview(wanted, store)]
    compiled = [(str(each.id), each.spec) for each in steps if isinstance(each.spec, CompileSpec)]
    fused = {name: getattr(spec.options, "fused", None) for name, spec in compiled}
    assert fused["compile:reference:onnxruntime"] is fused["compile:onnxruntime:int8"] is True
    assert fused["compile:reference:tensorrt"] is has
    part = pipeline.make(wanted, store, lambda step: str(step.id) == "verify:reference:tensorrt", pipeline.Listener())
    found = part.results["verify:reference:tensorrt"].variants["int8"].accuracy.sqnr_db
    assert found is not None
    assert found > 20


@pytest.mark.parametrize(("cpu", "has", "weights"), [
    ("this", True, "full"), ("this", False, "half"), ("avx2", True, "half"), ("vnni", False, "full"),
    ("amx", False, "full"), ("arm", False, "full"), ("arm-dotprod", False, "full"),
])  # fmt: skip
def test_the_cpu_that_will_run_it_decides_the_range(
    cpu: str, has: bool, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "has_int8", lambda: has)
    for name in ("onnxruntime", "openvino"):
        target = targets.get(name)
        assert target.speaks(target.options(cpu=cpu)).weights == weights


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_zero_points_may_be_refused_and_old_files_have_none(name: str) -> None:
    target = targets.get(name)
    assert target.speaks(target.options()).zero_points == target.dialect.zero_points != "never"
    assert target.speaks(target.options(zero_points="never")).zero_points == "never"
    old = {"activations": "u8-after-relu", "residual": "both", "channel_multiple": 16}
    assert codec.decode(Dialect, old).zero_points == "never"


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_the_residual_may_be_chosen_and_is_measured_otherwise(name: str) -> None:
    target = targets.get(name)
    assert target.speaks(target.options()).residual == target.dialect.residual
    for residual in ("shortcut", "both"):
        assert target.speaks(target.options(residual=residual)).residual == residual


@pytest.mark.parametrize(("instructions", "options", "image_zeros"), [
    ({"avx2", "avx512_vnni"}, {}, "per-channel"),
    ({"avx2"}, {}, "per-channel"),
    ({"avx2", "avx512_vnni", "amx_int8"}, {}, "one"),
    (set(), {}, "one"),
    ({"asimddp"}, {}, "one"),
    ({"avx2", "avx512_vnni"}, {"cpu": "amx"}, "one"),
    ({"avx2", "avx512_vnni"}, {"cpu": "vnni"}, "one"),
    ({"avx2"}, {"cpu": "avx2"}, "one"),
    ({"avx2"}, {"zero_points": "never"}, "one"),
    ({"avx2"}, {"device": "GPU"}, "one"),
    ({"avx2"}, {"device": "AUTO"}, "one"),
])  # fmt: skip
def test_images_have_zero_points_per_channel_only_on_cpus_where_this_was_verified(
    instructions: set[str], options: dict[str, str], image_zeros: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "has", lambda name: name in instructions)
    target = targets.get("openvino")
    assert target.speaks(target.options(**options)).image_zeros == image_zeros
    assert targets.get("onnxruntime").speaks(targets.get("onnxruntime").options()).image_zeros == "one"


@pytest.mark.parametrize(("where", "image_zeros"), [("here", "per-channel"), ("bundle", "one")])
def test_a_bundle_may_run_on_any_cpu(where: str, image_zeros: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "has", lambda name: name == "avx2")
    parsed = recipe.parse(quantized(targets={"openvino": {"where": where}}))
    assert resolved_targets(parsed)["openvino"].dialect.image_zeros == image_zeros
