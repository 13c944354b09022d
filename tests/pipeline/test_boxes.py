"""A network that finds boxes, from its ONNX file to a verdict, and what must break that verdict."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgeresnet import gate, pipeline, predict, recipe, report
from edgeresnet.errors import ArtifactError
from edgeresnet.pipeline import diagnosing
from edgeresnet.pipeline.listener import Listener
from edgeresnet.portable.tasks.box_accuracy import BoxAccuracy
from edgeresnet.portable.tasks.precision import Matched
from edgeresnet.report import card, compare_text, compared, summary, terminal
from edgeresnet.runs import Run
from edgeresnet.stages.export import contents
from edgeresnet.store import Store

from ..conftest import result_of
from .test_masks import run_on, verdicts

SIDE, CELL, IMAGES, CALIBRATION = 32, 8, 48, 16
BACKGROUND = np.array([40, 40, 40])
COLOURS = np.array([[220, 40, 40], [40, 220, 40], [40, 40, 220]])
NAMES = ["red", "green", "blue"]
Weights = np.ndarray
Objects = list[dict[str, Any]]


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of coloured squares, and COCO's boxes of them: `val`, `val.json`, `cal`, and the network."""
    folder = tmp_path_factory.mktemp("squares")
    write_squares(folder / "val", folder / "val.json", IMAGES, seed=1)
    write_squares(folder / "cal", None, CALIBRATION, seed=2)
    write_network(folder / "net.onnx")
    return folder


def write_squares(images: Path, boxes: Path | None, count: int, *, seed: int) -> None:
    rng, found = np.random.default_rng(seed), list[dict[str, Any]]()
    images.mkdir()
    for number in range(count):
        pixels = np.tile(BACKGROUND.astype(float), (SIDE, SIDE, 1))
        for part, place in enumerate(rng.choice((SIDE // CELL) ** 2, 5, replace=False).tolist()):
            kind, row, column = int(rng.integers(3)), place // 4 * CELL, place % 4 * CELL
            shade = rng.uniform(0.3, 0.7) if part == 4 else rng.uniform(0.45, 1)  # the last one has no label
            pixels[row : row + CELL, column : column + CELL] += shade * (COLOURS[kind] - BACKGROUND)
            if part < 4:
                box = {"bbox": [column, row, CELL, CELL], "iscrowd": 0, "id": len(found)}
                found.append({"image_id": number, "category_id": kind, **box})
        noisy = np.clip(pixels + rng.normal(0, 45, pixels.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(images / f"{number:02}.png")
    if boxes:
        write_boxes(boxes, found, count)


def write_boxes(path: Path, annotations: Objects, count: int) -> None:
    about = [{"id": number, "file_name": f"{number:02}.png", "width": SIDE, "height": SIDE} for number in range(count)]
    categories = [{"id": number, "name": name} for number, name in enumerate(NAMES)]
    path.write_text(json.dumps({"images": about, "annotations": annotations, "categories": categories}))


def write_network(path: Path, change: Callable[[Weights], Weights] = lambda weights: weights) -> None:
    """Write a network that looks at each cell's mean colour. `change` alters its last weights."""
    look = np.random.default_rng(0).normal(0, 0.01, (32, 3, 3, 3)).astype(np.float32)  # so that it takes some time
    mean = np.zeros((3, 32, CELL, CELL), np.float32)
    for channel in range(3):
        look[channel] = 0
        look[channel, channel, 1, 1] = 1
        mean[channel, channel] = 1 / CELL**2
    here, none = COLOURS / 127.5 - 1, BACKGROUND / 127.5 - 1
    logits = np.concatenate([4 * (here - none), 2 * ((none**2).sum() - (here**2).sum(1, keepdims=True))], axis=1)
    offsets = np.array([[0, 0, 0, 0.5], [0, 0, 0, 0.5], [0, 0, 0, 0], [0, 0, 0, 0]])  # from the corner of its cell
    weights = change(np.concatenate([logits, offsets]).astype(np.float32))
    tensors = {
        "look": look,
        "mean": mean,
        "w": weights[:, :3, None, None],
        "b": weights[:, 3],
        "shape": np.array([0, 7, -1]),
    }
    nodes = [
        helper.make_node("Conv", ["image", "look"], ["same"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("Conv", ["same", "mean"], ["means"], strides=[CELL, CELL], kernel_shape=[CELL, CELL]),
        helper.make_node("Conv", ["means", "w", "b"], ["map"], kernel_shape=[1, 1]),
        helper.make_node("Reshape", ["map", "shape"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["rows"], perm=[0, 2, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["batch", (SIDE // CELL) ** 2, 7])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def model(path: Path, **more: str) -> dict[str, Any]:
    return {"checkpoint": str(path), "anchors": {"sizes": [[CELL]], "ratios": [1.0]}, **more}


def on_squares(folder: Path, **changes: Any) -> dict[str, Any]:
    """A recipe on them: both CPU runtimes, INT8, and each kind of promise about boxes."""
    found: dict[str, Any] = {
        "version": 1,
        "task": "detection",
        "model": model(folder / "net.onnx"),
        "preprocessing": {"size": SIDE, "mean": [0.5] * 3, "std": [0.5] * 3},
        "images": {
            "evaluation": {"from": str(folder / "val"), "boxes": str(folder / "val.json")},
            "calibration": str(folder / "cal"),
        },
        "quantize": {},
        "targets": {"onnxruntime": {}, "openvino": {}},
        "verify": {"processes": 1, "seconds": 0.2},
        "promises": {"max_drop_pp": 10, "min_map_pct": 60, "min_ap_pct": {"red": 50}, "max_flips_pct": 20},
    }
    return found | changes


@pytest.fixture(scope="session")
def detected(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Run]:
    store = tmp_path_factory.mktemp("store")
    return Store(store), run_on(on_squares(squares), store)


def boxes_of(run: Run, target: str = "onnxruntime", variant: str = "int8") -> BoxAccuracy:
    found = result_of(run, target).variants[variant].accuracy
    assert isinstance(found, BoxAccuracy)
    return found


def test_a_detector_gets_a_verdict_on_both_runtimes(detected: tuple[Store, Run]) -> None:
    _, run = detected
    assert run.verdict == "KEPT", [each.reason for each in run.verdicts]
    for target in ("onnxruntime", "openvino"):
        result, found = result_of(run, target), boxes_of(run, target)
        assert (result.task, result.labels, result.classes) == ("detection", None, tuple(NAMES))
        assert result.detector is not None
        assert result.detector.rows == 16
        assert found.images == IMAGES
        assert found.score_pct > 80
        assert found.before_pct > 80
        assert found.sqnr_db is not None
        assert found.sqnr_db > 20
        assert found.agree_pct > 95
        assert boxes_of(run, target, "fp32").agree_pct > 99.9
        low, high = found.drop_interval_pp()
        assert low <= found.drop_pp <= high


def quick(folder: Path, **changes: Any) -> dict[str, Any]:
    """The same without INT8, on one runtime."""
    promises = {"max_drop_pp": 10, "min_map_pct": 75, "min_ap_pct": {"red": 50}, "max_flips_pct": 10}
    raw = on_squares(folder, targets={"onnxruntime": {}}, promises=promises, **changes)
    return {key: value for key, value in raw.items() if key != "quantize"}


def boxes_as(folder: Path, out: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """Write other boxes of the same images, and return the image sets."""
    given = json.loads((folder / "val.json").read_text())["annotations"]
    write_boxes(out, [each | change(each) for each in given], IMAGES)
    sets: dict[str, Any] = on_squares(folder)["images"]
    return {**sets, "evaluation": {"from": str(folder / "val"), "boxes": str(out)}}


WAYS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "permuted": lambda each: {"image_id": (each["image_id"] + 5) % IMAGES},
    "other classes": lambda each: {"category_id": (each["category_id"] + 1) % 3},
    "moved": lambda each: {"bbox": [(each["bbox"][0] + 16) % SIDE, *each["bbox"][1:]]},
}


@pytest.mark.parametrize("how", WAYS)
def test_boxes_that_do_not_belong_to_their_images_break_the_verdict(squares: Path, tmp_path: Path, how: str) -> None:
    run = run_on(quick(squares, images=boxes_as(squares, tmp_path / "boxes.json", WAYS[how])), tmp_path / "store")
    assert run.verdict == "BROKEN"
    broken = {"min_map_pct": "BROKEN", "min_ap_pct red": "BROKEN"}
    assert verdicts(run) == {"max_drop_pp": "NOT_MEASURED", **broken, "max_flips_pct": "KEPT"}
    assert any("better than chance" in each.reason for each in run.verdicts)


@pytest.mark.parametrize("how", ["classes", "offsets", "one class"])
def test_what_another_tool_damaged_breaks_the_verdict(squares: Path, tmp_path: Path, how: str) -> None:
    ways: dict[str, Callable[[Weights], Weights]] = {
        "classes": lambda weights: weights[[1, 0, 2, 3, 4, 5, 6]],
        "offsets": lambda weights: weights + np.array([[0, 0, 0, each] for each in (0, 0, 0, 0.5, 0, 0, 0)]),
        "one class": lambda weights: weights - np.array([[0, 0, 0, each] for each in (99, 0, 0, 0, 0, 0, 0)]),
    }
    write_network(tmp_path / "other.onnx", lambda weights: ways[how](weights).astype(np.float32))
    given = model(squares / "net.onnx", candidate=str(tmp_path / "other.onnx"))
    run = run_on(quick(squares, model=given), tmp_path / "store")
    assert verdicts(run) == dict.fromkeys(("max_drop_pp", "min_map_pct", "min_ap_pct red", "max_flips_pct"), "BROKEN")


def test_a_candidate_that_suppresses_boxes_itself_is_judged(squares: Path, tmp_path: Path) -> None:
    write_suppressing(squares / "net.onnx", tmp_path / "whole.onnx")
    given = model(squares / "net.onnx", candidate=str(tmp_path / "whole.onnx"))
    run = run_on(quick(squares, model=given), tmp_path / "store")
    assert run.verdict == "KEPT"
    found = boxes_of(run, "onnxruntime", "candidate")
    assert found.agree_pct > 99.9
    assert abs(found.drop_pp) < 0.01
    assert found.images == IMAGES


def write_suppressing(path: Path, out: Path) -> None:
    """Write a network that makes boxes of its answers for one image, and removes those that overlap."""
    net = onnx.load(path)
    steps = np.arange(SIDE // CELL, dtype=np.float32) * CELL
    corners = np.stack([np.tile(steps, len(steps)), np.repeat(steps, len(steps))], 1)
    tensors = {
        "widths": np.array([3, 2, 2]),
        "cell": np.float32(CELL),
        "corners": corners,
        "half": np.float32(CELL / 2),
        "first": np.array([0]),
        "second": np.array(1),
        "third": np.array(2),
        "most": np.array(100),
        "overlap": np.float32(0.5),
        "least": np.float32(0.05),
    }
    nodes = [
        helper.make_node("Split", ["rows", "widths"], ["logits", "moves", "stretch"], axis=2),
        helper.make_node("Mul", ["moves", "cell"], ["moved"]),
        helper.make_node("Add", ["moved", "corners"], ["middle"]),
        helper.make_node("Exp", ["stretch"], ["times"]),
        helper.make_node("Mul", ["times", "half"], ["reach"]),
        helper.make_node("Sub", ["middle", "reach"], ["begin"]),
        helper.make_node("Add", ["middle", "reach"], ["end"]),
        helper.make_node("Concat", ["begin", "end"], ["all boxes"], axis=2),
        helper.make_node("Sigmoid", ["logits"], ["all scores"]),
        helper.make_node("Transpose", ["all scores"], ["by class"], perm=[0, 2, 1]),
        helper.make_node("NonMaxSuppression", ["all boxes", "by class", "most", "overlap", "least"], ["kept"]),
        helper.make_node("GatherND", ["by class", "kept"], ["scores"]),
        helper.make_node("Gather", ["kept", "second"], ["labels"], axis=1),
        helper.make_node("Gather", ["kept", "third"], ["which"], axis=1),
        helper.make_node("Squeeze", ["all boxes", "first"], ["one image"]),
        helper.make_node("Gather", ["one image", "which"], ["boxes"], axis=0),
    ]
    net.graph.node.extend(nodes)
    net.graph.initializer.extend(numpy_helper.from_array(np.asarray(each), name) for name, each in tensors.items())
    net.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    del net.graph.output[:]
    kinds = (
        ("boxes", TensorProto.FLOAT, ["n", 4]),
        ("scores", TensorProto.FLOAT, ["n"]),
        ("labels", TensorProto.INT64, ["n"]),
    )
    net.graph.output.extend(helper.make_tensor_value_info(*each) for each in kinds)
    onnx.save(net, out)


def test_a_network_that_finds_nothing_shows_nothing(squares: Path, tmp_path: Path) -> None:
    write_network(tmp_path / "net.onnx", lambda weights: weights - np.eye(4, dtype=np.float32)[3] * 99)
    raw = {**quick(squares, model=model(tmp_path / "net.onnx")), "promises": {"max_drop_pp": 8, "max_flips_pct": 15}}
    run = run_on(raw, tmp_path / "store")
    assert run.verdict == "NOT_MEASURED"
    assert any("FP32 has a mAP of 0.00 %" in note for note in summary.of(run).notes)
    assert "the network answers no box in any image" in run.verdicts[1].reason


def test_an_int8_file_is_compared_with_the_network_that_it_was_made_of(
    detected: tuple[Store, Run], squares: Path
) -> None:
    store, run = detected
    int8 = next(Path(step.path or "") for step in run.steps if step.id == "quantize:onnxruntime") / "model.onnx"
    found = diagnosing.of_files(recipe.parse(quick(squares)), int8, store, Listener())
    assert [side.dim_value for side in found.rounded.graph.output[0].type.tensor_type.shape.dim][1:] == [16, 7]


def test_every_report_shows_the_precision_before_and_now(detected: tuple[Store, Run]) -> None:
    _, run = detected
    found = boxes_of(run)
    shown = report.FORMATS["md"](run)
    assert "| target | as | mAP | drop pp (95 %) | agree | lost/won | MB |" in shown
    assert f"{found.score_pct:.2f} %" in shown
    assert "| target | class | images | AP before | AP now | lost pp (corrected 95 %) |  |" in shown
    assert "AP50 " in shown
    assert "mAP" in terminal.render(run)
    assert "pipeline_tag: object-detection" in card.render(run)
    assert "same boxes" in card.render(run)
    assert json.loads(report.FORMATS["json"](run))["results"]["openvino"]["task"] == "detection"


def test_runs_of_boxes_are_compared_image_by_image(detected: tuple[Store, Run], squares: Path, tmp_path: Path) -> None:
    _, run = detected
    write_network(tmp_path / "other.onnx", lambda weights: weights[[1, 0, 2, 3, 4, 5, 6]])
    other = run_on(quick(squares, model=model(tmp_path / "other.onnx")), tmp_path / "store")
    (one,) = (each for each in compared.of([run, other]).differences if each.variant == "fp32")
    assert one.accuracy is not None
    assert one.accuracy.paired
    assert one.accuracy.low_pp is not None
    assert one.accuracy.low_pp > 10
    assert "mAP" in compare_text.terminal_text(compared.of([run, other]))


def test_a_gate_keeps_boxes_and_finds_a_loss(detected: tuple[Store, Run], tmp_path: Path) -> None:
    _, run = detected
    baseline = gate.of(run, gate.Margins(max_loss_pp=20.0, max_slowdown_pct=None))
    (tmp_path / "gate.json").write_text(gate.text(baseline))
    kept = gate.gate(run, gate.read(tmp_path / "gate.json"))
    assert {each.verdict for each in kept.verdicts if each.promise.kind == "max_loss_pp"} == {"KEPT"}
    result = result_of(run, "onnxruntime")
    assert isinstance(result.unrelated, Matched)
    variants = {
        **result.variants,
        "int8": replace(result.shipped, accuracy=replace(boxes_of(run), now=result.unrelated)),
    }
    broken = replace(run, results={**run.results, "onnxruntime": replace(result, variants=variants)})
    judged = gate.gate(broken, baseline).verdicts
    found = {each.target: each.verdict for each in judged if each.promise.kind == "max_loss_pp"}
    assert found == {"onnxruntime": "BROKEN", "openvino": "KEPT"}


def test_one_image_gets_boxes(detected: tuple[Store, Run], squares: Path) -> None:
    store, run = detected
    found = predict.predict(store, run, squares / "val" / "03.png", "onnxruntime", 3)["onnxruntime fp32"]
    boxes = found.seen.boxes
    assert boxes is not None
    labels = [each for each in json.loads((squares / "val.json").read_text())["annotations"] if each["image_id"] == 3]
    sure = boxes.boxes[boxes.scores > 0.5]
    assert {tuple(each["bbox"]) for each in labels} >= {tuple(np.round(each).tolist()) for each in sure[:3]}
    assert found.answers[0].line.startswith(f"{100 * boxes.scores[0]:6.2f} %  ")


def test_a_device_measures_boxes_as_the_host_does(squares: Path, tmp_path: Path, detected: tuple[Store, Run]) -> None:
    store = Store(tmp_path / "store")
    run = pipeline.run(recipe.parse(on_squares(squares, targets={"onnxruntime": {"where": "bundle"}})), store)
    (export,) = (each for each in run.steps if each.stage == "export")
    bundle = tmp_path / "bundle"
    shutil.copytree(Path(export.path or "") / "bundle", bundle)
    done = subprocess.run([sys.executable, "deploy.py"], cwd=bundle, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "of the boxes are those of FP32 on the host" in done.stdout
    collected = pipeline.collect(bundle / "result.json", store)
    assert collected.verdict == "KEPT"
    assert boxes_of(collected) == boxes_of(detected[1])
    example = [sys.executable, "examples/example.py", str(next((bundle / "samples").glob("*.jpg")))]
    shown = subprocess.run(example, cwd=bundle, capture_output=True, text=True, check=True).stdout
    assert " pixels, left " in shown
    document = json.loads((bundle / "result.json").read_text())
    document["result"]["variants"]["int8"]["accuracy"]["agreement"]["parts"][0] += 1
    document["result"]["variants"]["int8"]["accuracy"]["agreement"]["agree"][0] += 1
    del document["digest"]
    (bundle / "result.json").write_text(json.dumps(contents.sealed(document)))
    with pytest.raises(ArtifactError, match="not those of this bundle's images"):
        pipeline.collect(bundle / "result.json", store)
