"""A network that answers a class per pixel, from its ONNX file to a verdict, and what must break that verdict."""

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

from edgeresnet import diagnose, gate, images, pipeline, predict, recipe, report
from edgeresnet.errors import ArtifactError, ImagesError, ModelError
from edgeresnet.portable.tasks.mask_accuracy import MaskAccuracy
from edgeresnet.portable.tasks.overlap import Overlaps
from edgeresnet.report import card, compare_text, compared, html, summary, terminal
from edgeresnet.runs import Run
from edgeresnet.stages.export import contents
from edgeresnet.store import Store

from ..conftest import result_of

SIDE, IMAGES, CALIBRATION = 32, 24, 16
COLOURS = np.array([[40, 40, 40], [220, 40, 40], [40, 220, 40], [40, 40, 220]])  # of the classes; 0 is the background
NAMES = ["background", "red", "green", "blue"]
Weights = np.ndarray


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of coloured rectangles with noise, and a mask of each: `val`, `masks`, `cal`, and the network."""
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder / "val", folder / "masks", IMAGES, seed=1)
    write_scenes(folder / "cal", None, CALIBRATION, seed=2)
    (folder / "names.txt").write_text("".join(f"{name}\n" for name in NAMES))
    write_network(folder / "net.onnx")
    return folder


def write_scenes(images: Path, masks: Path | None, count: int, *, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for number in range(count):
        mask = np.zeros((SIDE, SIDE), np.uint8)
        for _ in range(4):
            top, left, high, wide = (*rng.integers(0, 24, 2), *rng.integers(4, 14, 2))
            mask[top : top + high, left : left + wide] = rng.integers(1, 4)
        pixels = np.clip(COLOURS[mask] + rng.normal(0, 45, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
        for where, array in ((images, pixels), (masks, mask)):
            if where:
                where.mkdir(exist_ok=True)
                Image.fromarray(array).save(where / f"{number:02}.png")


def write_network(
    path: Path, change: Callable[[Weights], Weights] = lambda weights: weights, *, last: str = "", end: str = "first"
) -> None:
    """Write a network that blurs, and answers the class whose colour is nearest. `change` alters its last weights."""
    blur = np.zeros((3, 3, 3, 3), np.float32)
    for channel in range(3):
        blur[channel, channel] = 1 / 9
    colours = (COLOURS / 255 - 0.5) / 0.5
    weights = change(np.concatenate([2 * colours, -(colours**2).sum(1, keepdims=True)], axis=1).astype(np.float32))
    tensors = {"blur": blur, "w": weights[:, :3, None, None], "b": weights[:, 3]}
    nodes = [
        helper.make_node("Conv", ["image", "blur"], ["blurred"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("Conv", ["blurred", "w", "b"], ["logits"], kernel_shape=[1, 1]),
    ]
    sides: list[str | int | None] = ["batch", 4, SIDE, SIDE]
    kind, out = TensorProto.FLOAT, "logits"
    if last:
        nodes.append(helper.make_node("ArgMax", ["logits"], ["classes"], axis=1, keepdims=0))
        sides, kind, out = ["batch", SIDE, SIDE], TensorProto.INT64, "classes"
    if end == "last":
        nodes.append(helper.make_node("Transpose", ["logits"], ["turned"], perm=[0, 2, 3, 1]))
        sides, out = ["batch", SIDE, SIDE, 4], "turned"
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(out, kind, sides)],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def on_scenes(folder: Path, **changes: Any) -> dict[str, Any]:
    """A recipe on them: both CPU runtimes, INT8, and each kind of promise about masks."""
    found: dict[str, Any] = {
        "version": 1,
        "task": "segmentation",
        "model": {"checkpoint": str(folder / "net.onnx"), "classes": 4},
        "preprocessing": {"size": SIDE, "mean": [0.5] * 3, "std": [0.5] * 3},
        "images": {
            "evaluation": {"from": str(folder / "val"), "masks": str(folder / "masks")},
            "calibration": str(folder / "cal"),
            "names": str(folder / "names.txt"),
        },
        "quantize": {},
        "targets": {"onnxruntime": {}, "openvino": {}},
        "verify": {"processes": 1, "seconds": 0.2},
        "promises": {"max_drop_pp": 8.0, "min_miou_pct": 80, "min_iou_pct": {"red": 70}, "max_flips_pct": 15},
    }
    return found | changes


def run_on(raw: dict[str, Any], store: Path) -> Run:
    return pipeline.run(recipe.parse(raw), Store(store))


@pytest.fixture(scope="session")
def segmented(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Run]:
    store = tmp_path_factory.mktemp("store")
    return Store(store), run_on(on_scenes(scenes), store)


def masks_of(run: Run, target: str = "onnxruntime", variant: str = "int8") -> MaskAccuracy:
    found = result_of(run, target).variants[variant].accuracy
    assert isinstance(found, MaskAccuracy)
    return found


def verdicts(run: Run, target: str = "onnxruntime") -> dict[str, str]:
    return {each.promise.name: each.verdict for each in run.verdicts if each.target == target}


def test_a_segmentation_network_gets_a_verdict_on_both_runtimes(segmented: tuple[Store, Run]) -> None:
    _, run = segmented
    assert run.verdict == "KEPT", [each.reason for each in run.verdicts]
    for target in ("onnxruntime", "openvino"):
        result, found = result_of(run, target), masks_of(run, target)
        assert (result.task, result.labels, result.classes) == ("segmentation", None, tuple(NAMES))
        assert found.images == IMAGES
        assert found.score_pct > 85
        assert found.before_pct > 85
        assert found.sqnr_db is not None
        assert found.sqnr_db > 20
        assert found.agree_pct > 95
        assert masks_of(run, target, "fp32").agree_pct > 99.9
        low, high = found.drop_interval_pp()
        assert low <= found.drop_pp <= high


def quick(folder: Path, **changes: Any) -> dict[str, Any]:
    """The same without INT8, on one runtime."""
    promises = {"max_drop_pp": 15, "min_miou_pct": 80, "max_flips_pct": 15}
    raw = on_scenes(folder, targets={"onnxruntime": {}}, promises=promises, **changes)
    return {key: value for key, value in raw.items() if key != "quantize"}


def masks_as(folder: Path, out: Path, change: Callable[[list[np.ndarray]], list[np.ndarray]]) -> dict[str, Any]:
    """Write other masks of the same images, and return the image sets."""
    paths = sorted((folder / "masks").iterdir())
    out.mkdir()
    for path, mask in zip(paths, change([np.asarray(Image.open(path)) for path in paths]), strict=True):
        Image.fromarray(mask.astype(np.uint8)).save(out / path.name)
    sets: dict[str, Any] = on_scenes(folder)["images"]
    return {**sets, "evaluation": {"from": str(folder / "val"), "masks": str(out)}}


@pytest.mark.parametrize("how", ["permuted", "shifted"])
def test_masks_that_do_not_belong_to_their_images_break_the_verdict(scenes: Path, tmp_path: Path, how: str) -> None:
    ways: dict[str, Callable[[list[np.ndarray]], list[np.ndarray]]] = {
        "permuted": lambda masks: [*masks[5:], *masks[:5]],
        "shifted": lambda masks: [(mask + 1) % 4 for mask in masks],
    }
    run = run_on(quick(scenes, images=masks_as(scenes, tmp_path / "masks", ways[how])), tmp_path / "store")
    assert run.verdict == "BROKEN"
    assert verdicts(run) == {"max_drop_pp": "NOT_MEASURED", "min_miou_pct": "BROKEN", "max_flips_pct": "KEPT"}
    assert any("better than chance" in each.reason for each in run.verdicts)


def test_a_class_that_another_tool_swapped_breaks_the_verdict(scenes: Path, tmp_path: Path) -> None:
    write_network(tmp_path / "other.onnx", lambda weights: weights[[0, 2, 1, 3]])
    model = {"checkpoint": str(scenes / "net.onnx"), "candidate": str(tmp_path / "other.onnx"), "classes": 4}
    run = run_on(quick(scenes, model=model), tmp_path / "store")
    assert verdicts(run) == {"max_drop_pp": "BROKEN", "min_miou_pct": "BROKEN", "max_flips_pct": "UNDECIDED"}


def test_a_network_that_answers_background_everywhere_shows_nothing(scenes: Path, tmp_path: Path) -> None:
    def background(weights: Weights) -> Weights:
        weights[0, 3] += 100
        return weights

    write_network(tmp_path / "net.onnx", background)
    model = {"checkpoint": str(tmp_path / "net.onnx"), "classes": 4}
    run = run_on({**quick(scenes, model=model), "promises": {"max_drop_pp": 8.0, "max_flips_pct": 15}}, tmp_path / "s")
    assert run.verdict == "NOT_MEASURED"
    assert any("FP32 answers background for every pixel" in note for note in summary.of(run).notes)
    assert "the network answers background for every pixel of every image" in run.verdicts[1].reason


def test_a_network_that_answers_classes_is_compared_without_an_sqnr(scenes: Path, tmp_path: Path) -> None:
    write_network(tmp_path / "net.onnx", last="ArgMax")
    model = {"checkpoint": str(scenes / "net.onnx"), "candidate": str(tmp_path / "net.onnx"), "classes": 4}
    run = run_on(quick(scenes, model=model), tmp_path / "store")
    assert run.verdict == "KEPT"
    found = masks_of(run, variant="candidate")
    assert (found.agree_pct, found.has_sqnr, found.sqnr_db) == (100, False, None)
    assert "SQNR against the reference: not known" in " ".join(summary.of(run).conditions)


def test_a_candidate_with_channels_last_is_refused(scenes: Path, tmp_path: Path) -> None:
    write_network(tmp_path / "net.onnx", end="last")
    model = {"checkpoint": str(scenes / "net.onnx"), "candidate": str(tmp_path / "net.onnx"), "classes": 4}
    with pytest.raises(ModelError, match=r"returns \?×32×32×4, channels last$") as caught:
        run_on(quick(scenes, model=model), tmp_path / "store")
    assert "perm [0, 3, 1, 2]" in str(caught.value.hint)


def test_a_search_for_preprocessing_refuses_masks(scenes: Path) -> None:
    samples = images.open_samples(recipe.parse(on_scenes(scenes)), "evaluation")
    with pytest.raises(ImagesError, match="not by masks"):
        diagnose.check_labels(samples)


def test_every_report_shows_the_overlap_before_and_now(segmented: tuple[Store, Run]) -> None:
    _, run = segmented
    found = masks_of(run)
    shown = report.FORMATS["md"](run)
    assert "| target | as | mIoU | drop pp (95 %) | agree | lost/won | MB |" in shown
    assert f"{found.score_pct:.2f} %" in shown
    assert "| target | class | images | IoU before | IoU now | lost pp (corrected 95 %) |  |" in shown
    assert "pixel accuracy" in shown
    assert "mIoU" in terminal.render(run)
    assert "pipeline_tag: image-segmentation" in card.render(run)
    assert "same pixels" in card.render(run)
    assert json.loads(report.FORMATS["json"](run))["results"]["openvino"]["task"] == "segmentation"


def test_the_page_shows_masks_of_the_images_that_lost_most(segmented: tuple[Store, Run]) -> None:
    store, run = segmented
    page = html.of_store(run, store)
    changed = {number for target in ("onnxruntime", "openvino") for number, _ in masks_of(run, target).changed_images()}
    assert f"{len(changed)} of {IMAGES} images have other pixels than in FP32." in page
    assert page.count("data:image/png;base64,") >= 4 * min(len(changed), 12)
    for head in ("image", "label", "FP32", "onnxruntime", "openvino"):
        assert f'alt="{head} of ' in page


def test_runs_of_masks_are_compared_image_by_image(segmented: tuple[Store, Run], scenes: Path, tmp_path: Path) -> None:
    _, run = segmented
    write_network(tmp_path / "other.onnx", lambda weights: weights[[0, 2, 1, 3]])
    model = {"checkpoint": str(tmp_path / "other.onnx"), "classes": 4}
    other = run_on(quick(scenes, model=model), tmp_path / "store")
    (one,) = (each for each in compared.of([run, other]).differences if each.variant == "fp32")
    assert one.accuracy is not None
    assert one.accuracy.paired
    assert one.accuracy.low_pp is not None
    assert one.accuracy.low_pp > 10
    assert "mIoU" in compare_text.terminal_text(compared.of([run, other]))


def test_a_gate_keeps_overlaps_and_finds_a_loss(segmented: tuple[Store, Run], tmp_path: Path) -> None:
    _, run = segmented
    baseline = gate.of(run, gate.Margins(max_loss_pp=20.0, max_slowdown_pct=None))
    (tmp_path / "gate.json").write_text(gate.text(baseline))
    kept = gate.gate(run, gate.read(tmp_path / "gate.json"))
    assert {each.verdict for each in kept.verdicts if each.promise.kind == "max_loss_pp"} == {"KEPT"}
    assert any("mIoU" in each or "%" in each for each in gate.remarks(baseline))
    result = result_of(run, "onnxruntime")
    assert isinstance(result.unrelated, Overlaps)
    worse = replace(masks_of(run), now=result.unrelated)
    variants = {**result.variants, "int8": replace(result.shipped, accuracy=worse)}
    broken = replace(run, results={**run.results, "onnxruntime": replace(result, variants=variants)})
    judged = gate.gate(broken, baseline).verdicts
    found = {each.target: each.verdict for each in judged if each.promise.kind == "max_loss_pp"}
    assert found == {"onnxruntime": "BROKEN", "openvino": "KEPT"}


def test_one_image_gets_a_mask(segmented: tuple[Store, Run], scenes: Path, tmp_path: Path) -> None:
    store, run = segmented
    found = predict.predict(store, run, scenes / "val" / "03.png", "onnxruntime", 4)
    written = predict.write_pictures(found, scenes / "val" / "03.png", run, tmp_path / "seen.png")
    assert [each.name for each in written] == ["seen-onnxruntime-fp32.png", "seen-onnxruntime-int8.png"]
    with Image.open(written[0]) as mask:
        assert (mask.mode, mask.size) == ("P", (SIDE, SIDE))
        numbers = np.asarray(mask)
    label = np.asarray(Image.open(scenes / "masks" / "03.png"))
    assert (numbers == label).mean() > 0.9
    answers = [each for each in found["onnxruntime fp32"].answers if isinstance(each, predict.Prediction)]
    shares = {each.label: each.probability for each in answers}
    assert shares["background"] == pytest.approx((numbers == 0).mean())


def test_a_device_measures_masks_as_the_host_does(scenes: Path, tmp_path: Path, segmented: tuple[Store, Run]) -> None:
    store = Store(tmp_path / "store")
    run = pipeline.run(recipe.parse(on_scenes(scenes, targets={"onnxruntime": {"where": "bundle"}})), store)
    (export,) = (each for each in run.steps if each.stage == "export")
    bundle = tmp_path / "bundle"
    shutil.copytree(Path(export.path or "") / "bundle", bundle)
    done = subprocess.run([sys.executable, "deploy.py"], cwd=bundle, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "of the pixels are those of FP32 on the host" in done.stdout
    collected = pipeline.collect(bundle / "result.json", store)
    assert collected.verdict == "KEPT"
    assert masks_of(collected) == masks_of(segmented[1])
    page = html.of_store(collected, store)
    assert "What onnxruntime answered is not shown: a device sends counts, and its answers stay there." in page
    assert 'alt="FP32 of ' in page
    example = [sys.executable, "examples/example.py", str(next((bundle / "samples").glob("*.jpg")))]
    shown = subprocess.run(example, cwd=bundle, capture_output=True, text=True, check=True).stdout
    assert shown.startswith("background: 0.")
    assert "dims: [ 4, 32, 32 ]" in next((bundle / "serve").rglob("config.pbtxt")).read_text()
    document = json.loads((bundle / "result.json").read_text())
    labelled = document["result"]["variants"]["int8"]["accuracy"]["now"]["answered"]
    labelled[0], labelled[1] = labelled[0] - 1, labelled[1] + 2
    del document["digest"]
    (bundle / "result.json").write_text(json.dumps(contents.sealed(document)))
    with pytest.raises(ArtifactError, match="not those of this bundle's images"):
        pipeline.collect(bundle / "result.json", store)
