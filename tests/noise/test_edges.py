"""Small and odd cases: one layer, one image, images that are all alike, values that are all zero."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgeresnet.noise.diagnose import diagnose
from edgeresnet.noise.diagnosis import NoiseDiagnosis

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
