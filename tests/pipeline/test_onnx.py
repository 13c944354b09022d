"""An ONNX file as a recipe's network, and a candidate that another tool made from it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, version_converter

from edgeresnet import pipeline, recipe
from edgeresnet.errors import ImagesError, ModelError
from edgeresnet.graph import adopt
from edgeresnet.notes import TraceNotes
from edgeresnet.pipeline import Outcome
from edgeresnet.portable import evaluation, onnx_file
from edgeresnet.portable.result import NotMeasured, Variant
from edgeresnet.runs import Run
from edgeresnet.stages import trace
from edgeresnet.store import Store

from ..conftest import folder_of, result_of, step_of, tiny


def about(checkpoint: Path, **changes: Any) -> recipe.Recipe:
    """Return a recipe that gives only the path of its network."""
    start = {"model": {"checkpoint": str(checkpoint)}, "train": None, "images": {"evaluation": "digits"}}
    return recipe.parse(tiny(**(start | changes)))


def states(outcomes: list[Outcome]) -> dict[str, str]:
    return {str(outcome.step.id): outcome.state for outcome in outcomes}


def variants(run: Run, target: str = "onnxruntime") -> Mapping[str, Variant]:
    return result_of(run, target).variants


def trace_notes(run: Run) -> TraceNotes:
    (notes,) = run.notes_of(TraceNotes)
    return notes


def changed(net: Path, name: str, change: Any) -> Path:
    """The network with one thing done to the tensors of its classifier."""
    model = onnx.load(net)
    width = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    for tensor in model.graph.initializer:
        if tensor.dims and width in tensor.dims[:1]:
            array = change(numpy_helper.to_array(tensor))
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))
    onnx.save(model, net.with_name(name))
    return net.with_name(name)


def with_an_operator_of_somebody_else(net: Path) -> onnx.ModelProto:
    model = onnx.load(net)
    model.graph.node[0].domain = "somebody.else"
    model.opset_import.add(domain="somebody.else", version=1)
    return model


def with_external_weights(net: Path) -> Path:
    onnx.save(onnx.load(net), net, save_as_external_data=True, location="net.weights", size_threshold=1024)
    return net


def scribble(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[3] ^= 1  # the last byte of a number: still one
    path.write_bytes(data)


def test_an_onnx_file_is_a_network(own_store: Store, net: Path, trained: Any) -> None:
    run = pipeline.run(about(net), own_store)
    assert run.verdict == "KEPT"
    assert variants(run)["fp32"].predicted == variants(trained[1])["fp32"].predicted
    assert trace_notes(run).parity < 1e-5
    # what edgeresnet wrote itself comes back as the same bytes: all that follows is done already
    assert step_of(run, "trace").digest == step_of(trained[1], "trace").digest
    assert [step.id for step in run.steps if step.state == "made"] == ["trace"]


def test_classes_are_those_of_the_images_where_the_recipe_leaves_them_out(own_store: Store, trained: Any) -> None:
    weights = folder_of(trained[1], "train") / "weights.safetensors"
    named = {"checkpoint": str(weights), "arch": "cifar_resnet8"}
    left_out, given = (about(weights, model=m) for m in (named, {**named, "classes": 10}))
    keys = [[o.step.spec for o in pipeline.preview(wanted, own_store)] for wanted in (left_out, given)]
    assert keys[0] == keys[1]
    with pytest.raises(ImagesError, match="10 classes"):
        pipeline.preview(about(weights, model={**named, "classes": 9}), own_store)


def test_a_fixed_batch_is_kept(own_store: Store, net: Path) -> None:
    from edgeresnet.graph import canonical

    model = onnx.load(net)
    canonical.set_batch(model, 4)
    onnx.save(model, net)
    run = pipeline.run(about(net), own_store)
    assert run.verdict == "KEPT"
    latency = variants(run)["fp32"].latency
    assert latency is not None
    assert latency.batch == 4
    with pytest.raises(ModelError, match=r"has the fixed batch size 4, but `trace\.batch` is 2"):
        pipeline.preview(about(net, trace={"batch": 2}), own_store)


def test_an_adopted_network_with_other_answers_is_an_error(own_store: Store, net: Path, monkeypatch: Any) -> None:
    other = changed(net, "other.onnx", lambda array: array * np.float32(1.01))
    wrong = adopt.adopt(other, about(net).preprocessing, 10)._replace(original=onnx.load(net))
    monkeypatch.setattr(adopt, "adopt", lambda *_, **__: wrong)
    with pytest.raises(ModelError, match=r"does not answer as .*net\.onnx does"):
        pipeline.run(about(net), own_store)


def test_external_weights_are_part_of_the_key(tmp_path: Path, own_store: Store, net: Path) -> None:
    with_external_weights(net)
    assert pipeline.run(about(net), own_store).verdict == "KEPT"
    assert set(states(pipeline.preview(about(net), own_store)).values()) == {"done"}
    scribble(tmp_path / "net.weights")
    assert states(pipeline.preview(about(net), own_store))["trace"] == "todo"
    (tmp_path / "net.weights").unlink()
    with pytest.raises(ModelError, match="is not next to it"):
        pipeline.preview(about(net), own_store)


def as_tensorflow_would(net: Path, *, last: str = "Softmax", channels_last: bool = True) -> Path:
    """The same network, with images channels last and probabilities at the end."""
    model = onnx.load(net)
    image, logits = model.graph.input[0], model.graph.output[0]
    if channels_last:
        for node in model.graph.node:
            node.input[:] = ["first" if name == image.name else name for name in node.input]
        model.graph.node.insert(0, helper.make_node("Transpose", [image.name], ["first"], perm=[0, 3, 1, 2]))
        image.CopyFrom(helper.make_tensor_value_info(image.name, onnx.TensorProto.FLOAT, ("n", 8, 8, 1)))
    model.graph.node.append(helper.make_node(last, [logits.name], ["probabilities"]))
    logits.name = "probabilities"
    del model.graph.value_info[:], model.metadata_props[:]
    onnx.save(model, net.with_name("tensorflow.onnx"))
    return net.with_name("tensorflow.onnx")


@pytest.mark.slow
def test_a_network_as_tensorflow_writes_it_is_the_same_network(own_store: Store, net: Path) -> None:
    original = as_tensorflow_would(net)
    images = {"evaluation": "digits", "calibration": {"from": "digits", "count": 40}}
    small = {"images": images, "quantize": {"effort": "fast"}, "targets": {"onnxruntime": {}, "openvino": {}}}
    run = pipeline.run(about(original, **small), own_store)
    assert run.verdict == "KEPT"
    (turned, taken_off) = step_of(run, "trace").warnings
    assert {turned.code, taken_off.code} == {"adapted"}
    assert "takes images as NHWC" in turned.text
    assert "ends in a Softmax" in taken_off.text
    made, before = (onnx.load(path) for path in (folder_of(run, "trace") / trace.FILE, net))
    assert [node.op_type for node in made.graph.node] == [node.op_type for node in before.graph.node]
    assert trace_notes(run).parity < 1e-6
    for target in ("onnxruntime", "openvino"):
        assert variants(run, target)["fp32"].accuracy.agree_pct == 100
        assert (variants(run, target)["int8"].accuracy.sqnr_db or 0) > 25


def test_a_softmax_that_is_not_over_the_classes_is_refused(own_store: Store, net: Path) -> None:
    original = as_tensorflow_would(net)
    model = onnx.load(original)
    model.graph.node[-1].attribute.append(helper.make_attribute("axis", 0))
    onnx.save(model, original)
    with pytest.raises(ModelError, match=r"the Softmax at the end of .*tensorflow\.onnx is not over its classes"):
        pipeline.run(about(original), own_store)


def test_an_opset_that_the_runtime_does_not_know_yet(own_store: Store, net: Path) -> None:
    newest = net.with_name("newest.onnx")
    onnx.save(version_converter.convert_version(onnx.load(net), onnx.defs.onnx_opset_version()), newest)
    run = pipeline.run(about(newest), own_store)
    assert run.verdict == "KEPT"
    assert trace_notes(run).opset == adopt.OPSET


def test_a_candidate_of_probabilities_is_compared_with_probabilities(own_store: Store, net: Path) -> None:
    """It stays as it is, and its noise is that of the numbers that it answers with."""
    both = as_tensorflow_would(net, channels_last=False)
    run = pipeline.run(about(both, model__candidate=str(both)), own_store)
    assert run.verdict == "KEPT"
    assert trace_notes(run).operators["Softmax"] == 1
    assert step_of(run, "trace").warnings == ()
    accuracy = variants(run)["candidate"].accuracy
    assert (accuracy.agree_pct, accuracy.sqnr_db) == (100, None)
    reference = stored_logits(run, "verify:reference")["fp32"]
    found = result_of(run, "onnxruntime").reference_probabilities
    assert found == pytest.approx(reference.max(1), abs=1e-6), "no softmax of a softmax"


def stored_logits(run: Run, step: str) -> Any:
    """Return what a step's networks answered, by variant."""
    return np.load(folder_of(run, step) / evaluation.LOGITS)


def test_a_candidate_that_is_the_reference_loses_nothing(own_store: Store, net: Path) -> None:
    wanted = about(net, model__candidate=str(net), promises={"max_drop_pp": 2, "max_flips_pct": 2})
    run = pipeline.run(wanted, own_store)
    assert run.verdict == "KEPT"
    result = result_of(run, "onnxruntime")
    assert result.ships == "candidate"
    assert list(result.variants) == ["fp32", "candidate"]
    accuracy = result.shipped.accuracy
    assert (accuracy.lost, accuracy.won, accuracy.agree_pct, accuracy.sqnr_db) == (0, 0, 100, None)
    assert result.shipped.latency
    compiled = folder_of(run, "compile:onnxruntime:candidate")
    assert (compiled / "model.onnx").read_bytes() == net.read_bytes()


def test_a_candidate_with_shuffled_logits_is_broken_and_its_reference_is_not_blamed(
    own_store: Store, net: Path
) -> None:
    shuffled = changed(net, "shuffled.onnx", lambda array: np.roll(array, 1, axis=0))
    run = pipeline.run(about(net, model__candidate=str(shuffled)), own_store)
    assert run.verdict == "BROKEN"
    assert variants(run)["fp32"].accuracy.agree_pct == 100
    assert variants(run)["candidate"].accuracy.agree_pct < 22


def test_a_real_int8_file_is_judged_as_it_is_and_is_not_a_reference(own_store: Store, net: Path) -> None:
    import onnxruntime.quantization as ort

    from edgeresnet import images

    class Reader(ort.CalibrationDataReader):
        def __init__(self) -> None:
            samples = images.open_samples(recipe.parse(tiny()), "training").subset(range(64))
            self.batches = iter([samples.preprocessing.normalize(batch.pixels) for batch in samples.batches(16)])

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"image": batch}

    int8 = net.with_name("int8.onnx")
    # Unsigned activations: OpenVINO cannot compile asymmetric signed ones around a Pad.
    ort.quantize_static(net, int8, Reader(), activation_type=ort.QuantType.QUInt8)
    both: dict[str, dict[str, Any]] = {"onnxruntime": {}, "openvino": {}}
    run = pipeline.run(about(net, model__candidate=str(int8), targets=both, promises={"max_drop_pp": 10}), own_store)
    assert run.verdict == "KEPT", run.results
    for target in both:
        found = variants(run, target)["candidate"]
        assert found.accuracy.agree_pct > 88
        assert found.accuracy.sqnr_db is not None
        assert found.accuracy.sqnr_db < 60, "it is the FP32 network"
    with pytest.raises(ModelError, match="is quantized already"):
        pipeline.preview(about(int8), own_store)


def test_a_candidate_with_external_weights_runs_on_every_target(tmp_path: Path, own_store: Store, net: Path) -> None:
    (tmp_path / "made").mkdir()
    made = with_external_weights(Path(shutil.copy(net, tmp_path / "made" / "net.onnx")))
    wanted = about(net, model__candidate=str(made), targets={"onnxruntime": {}, "openvino": {}})
    assert pipeline.run(wanted, own_store).verdict == "KEPT"
    scribble(tmp_path / "made" / "net.weights")
    found = states(pipeline.preview(wanted, own_store))
    assert found["compile:onnxruntime:candidate"] == found["compile:openvino:candidate"] == "todo"
    assert found["trace"] == found["verify:reference"] == "done"


def test_a_candidate_that_does_not_fit_ends_before_anything_runs(own_store: Store, net: Path) -> None:
    runs = len(own_store.runs())
    narrow = changed(net, "narrow.onnx", lambda array: array[:9])
    model = onnx.load(narrow)
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 9
    onnx.save(model, narrow)
    with pytest.raises(ModelError, match=r"narrow\.onnx returns 9 classes, but the images have 10 classes"):
        pipeline.run(about(net, model__candidate=str(narrow)), own_store)
    with pytest.raises(ModelError, match=r"the candidate nowhere\.onnx does not exist"):
        pipeline.run(about(net, model__candidate="nowhere.onnx"), own_store)
    assert len(own_store.runs()) == runs


def test_each_file_is_read_once(own_store: Store, net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, real = list[str](), onnx_file.read

    def reads(path: Path) -> onnx_file.OnnxFile:
        read.append(path.name)
        return real(path)

    monkeypatch.setattr(onnx_file, "read", reads)
    other = shutil.copy(net, net.with_name("other.onnx"))
    wanted = about(net, model__candidate=str(other), images={"evaluation": "digits", "names": None})
    resolved = pipeline.resolve(wanted, own_store)
    assert sorted(read) == sorted([net.name, "other.onnx"])
    assert not resolved.network.candidate_answers_probabilities


def test_a_candidate_that_a_target_refuses_is_that_targets_failure(own_store: Store, net: Path) -> None:
    odd = net.with_name("odd.onnx")
    onnx.save(with_an_operator_of_somebody_else(net), odd)
    run = pipeline.run(about(net, model__candidate=str(odd)), own_store)
    assert run.verdict == "NOT_MEASURED"
    refused = run.results["onnxruntime"]
    assert isinstance(refused, NotMeasured)
    assert "refuse" in refused.reason


def test_the_file_names_the_report_where_no_architecture_does(own_store: Store, net: Path) -> None:
    from edgeresnet import report

    assert report.FORMATS["terminal"](pipeline.run(about(net), own_store)).startswith("net.onnx · 10 classes · ")
    run = pipeline.run(about(net, model__candidate=str(net)), own_store)
    assert report.FORMATS["md"](run).startswith("# net.onnx against net.onnx, 10 classes")


def test_a_network_that_onnxruntime_cannot_run_is_one_line(own_store: Store, net: Path) -> None:
    model = with_an_operator_of_somebody_else(net)
    onnx.save(model, net)
    with pytest.raises(ModelError, match=r"operators outside the ONNX standard: somebody\.else\.") as caught:
        pipeline.run(about(net), own_store)
    assert "\n" not in caught.value.message
    model.graph.node[0].domain, model.graph.node[0].op_type = "", "SequenceErase"  # onnx takes it as it is
    onnx.save(model, net)
    with pytest.raises(ModelError, match=r"does not run in onnxruntime|is not a valid ONNX") as caught:
        pipeline.run(about(net), own_store)
    assert "\n" not in caught.value.message


def test_parity_is_the_same_rule_for_both(net: Path) -> None:
    images = np.zeros((3, 1, 8, 8), np.float32)
    model = onnx.load(net)
    (expected,) = trace._answers(net.read_bytes(), images, "net")
    assert trace._difference(model, images, expected) == 0
    assert trace._difference(model, images, expected + np.abs(expected).max()) > trace.PARITY
