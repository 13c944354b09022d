"""Small and odd cases: one layer, one image, images that are all alike, values that are all zero."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from edgeresnet.noise.diagnose import diagnose
from edgeresnet.noise.diagnosis import NoiseDiagnosis
from edgeresnet.noise.grids import Grid
from edgeresnet.portable.tasks import segmentation
from edgeresnet.quantization.net import unshare

from ..quantization import nets


def _found(model: onnx.ModelProto, images: np.ndarray, confirm: int = 5) -> NoiseDiagnosis:
    rounded = nets.int8(model, nets.BOTH).model()
    return diagnose(
        model, rounded, images, network="int8.onnx", reference="fp32.onnx", calibration=images, confirm=confirm
    )


@pytest.mark.parametrize(
    "images",
    [nets.images(1), np.repeat(nets.images(1), 5, axis=0), np.zeros((3, 3, nets.SIZE, nets.SIZE), np.float32)],
    ids=["one image", "all alike", "all zero"],
)
def test_few_images_are_enough(images: np.ndarray) -> None:
    found = _found(nets.plain(), images)
    assert found.images == len(images)
    assert len(found.layers) == len({layer.name for layer in found.layers})
    assert {cause.code for cause in found.causes} <= {"preprocessing"}  # random weights give no class much


def test_a_network_of_one_layer() -> None:
    maker = nets.Maker()
    pooled = maker.add("GlobalAveragePool", ["image"], "pooled")
    model = maker.gemm(maker.add("Flatten", [pooled], "flat"), 16)
    found = _found(model, nets.images(8), confirm=3)
    assert "fc" in [layer.name for layer in found.layers]
    assert all(layer.measured for layer in found.layers if layer.cost_db > 1)


@pytest.mark.parametrize("scales", [[0.5], [0.5, 2.0]], ids=["one scale", "a scale per channel"])
def test_gradients_pass_where_nothing_is_clipped(scales: list[float]) -> None:
    scale = np.array(scales, np.float32)
    grid = Grid(scale, np.full_like(scale, 2.0), 0, 9, 1)  # from -1 to 3.5, and from -4 to 14
    row = [-9.0, -1.3, -1.2, 0.0, 3.7, 3.8, 15.2]
    values = torch.tensor([[row, row]], requires_grad=True)
    grid.fake(values).sum().backward()
    assert values.grad is not None
    narrow, wide = [0, 0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 1, 1, 0]
    assert values.grad.tolist() == [[narrow, wide if len(scales) > 1 else narrow]]


def test_what_comes_out_is_the_same_each_time() -> None:
    one, two = (_found(nets.basic(), nets.images(16)) for _ in range(2))
    assert one.layers == two.layers
    assert one.causes == two.causes


def test_progress_ends_where_it_should() -> None:
    seen: list[tuple[int, int, str]] = []
    model = nets.basic()
    rounded = nets.int8(model, nets.BOTH).model()
    diagnose(
        model,
        rounded,
        nets.images(16),
        network="",
        reference="",
        confirm=2,
        progress=lambda done, total, word: seen.append((done, total, word)),
    )
    assert seen[0] == (16, 16, "images")
    assert (2, 2, "layers") in seen
    assert all(done <= total for done, total, _ in seen)


def test_flips_of_maps_are_pixels() -> None:
    found = _found(nets.pyramid(), nets.images(4), confirm=1)
    assert found.pixels is not None
    assert found.pixels >= 4 * 4 * 4
    assert found.agreement == 1 - found.flips / found.pixels
    doubts = [cause for cause in found.causes if cause.code == "preprocessing"]
    assert all("edgeresnet diagnose" not in each.remedy for each in doubts), "it compares answers of images alone"
    unsure = [each.evidence for each in doubts]
    assert all("median pixel" in each for each in unsure)
    assert all(float(each.rsplit(" ", 2)[1].strip("%")) >= 20 for each in unsure), "one of five classes has a fifth"


def test_a_detector_is_diagnosed_level_by_level() -> None:
    model = nets.retina()
    unshare(model)
    found = _found(model, nets.images(4), confirm=2)
    rows = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    assert (found.anchors, found.pixels, found.unit) == (4 * rows, None, "anchor")
    assert found.agreement == 1 - found.flips / (4 * rows)
    assert {"logits.last", "logits.last (2)", "logits.last (3)"} <= {layer.name for layer in found.layers}
    assert not [cause for cause in found.causes if cause.code == "preprocessing"]
    assert found.float_layers == ()


def test_flips_of_a_first_stage_are_objects_of_anchors() -> None:
    found = _found(nets.cells(), nets.images(4), confirm=1)
    assert (found.anchors, found.pixels, found.unit) == (4 * 3 * nets.SIZE**2, None, "anchor")
    assert found.agreement == 1 - found.flips / (4 * 3 * nets.SIZE**2)
    assert found.agreement > 0.9
    assert not [cause for cause in found.causes if cause.code == "preprocessing"]


def test_answers_of_large_maps_are_those_of_some_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    every = _found(nets.pyramid(), nets.images(4), confirm=1)
    monkeypatch.setattr(segmentation, "_EDGE", 4)
    some = _found(nets.pyramid(), nets.images(4), confirm=1)
    assert every.pixels == 4 * nets.SIZE**2
    assert some.pixels == 4 * 16
    assert some.sqnr_db == pytest.approx(every.sqnr_db, abs=1.5)
    assert [layer.name for layer in some.worst()[:1]] == [layer.name for layer in every.worst()[:1]]
