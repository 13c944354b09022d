"""Files whose images have a zero point per channel: read as they are, and their faults are named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from edgeresnet import targets
from edgeresnet.errors import ModelError
from edgeresnet.noise import confirm, grids, pair
from edgeresnet.noise.absorbed import restore
from edgeresnet.noise.causes import saturation
from edgeresnet.noise.diagnose import diagnose
from edgeresnet.noise.diagnosis import NoiseDiagnosis
from edgeresnet.noise.strip import Stripped
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.quantization import engine
from edgeresnet.quantization.net import Net

from ..graph.running import answers, sqnr
from ..quantization import nets

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PREPROCESSING = Preprocessing(nets.SIZE, mean=MEAN, std=STD)
PIXELS = np.random.default_rng(5).integers(0, 256, (32, nets.SIZE, nets.SIZE, 3), np.uint8)
NORMAL = PREPROCESSING.normalize(PIXELS)
ZEROS = "levels.shifted_zero"


@pytest.fixture(scope="module")
def file() -> Callable[[str], onnx.ModelProto]:
    """`file(image_zeros)` is a network in INT8."""

    def written(image_zeros: str) -> onnx.ModelProto:
        dialect = replace(targets.get("openvino").dialect, image_zeros=image_zeros)
        choices = engine.Choices(dialect, preprocessing=PREPROCESSING)
        return engine.quantize(
            nets.source(nets.basic(), NORMAL), None, choices, nets.batches(NORMAL), NORMAL[:8]
        ).model()

    found = {name: written(name) for name in ("one", "per-channel")}
    return lambda name: _copy(found[name])


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    found = onnx.ModelProto()
    found.CopyFrom(model)
    return found


def _diagnosed(rounded: onnx.ModelProto, images: np.ndarray = NORMAL, **more: Any) -> NoiseDiagnosis:
    return diagnose(nets.basic(), rounded, images, network="int8.onnx", reference="fp32.onnx", confirm=0, **more)


def _put(model: onnx.ModelProto, name: str, value: np.ndarray) -> None:
    next(each for each in model.graph.initializer if each.name == name).CopyFrom(
        onnx.numpy_helper.from_array(value, name)
    )


def test_it_is_read_as_onnxruntime_runs_it(file: Callable[[str], onnx.ModelProto]) -> None:
    rounded = file("per-channel")
    read = pair.read(nets.basic(), rounded, NORMAL)
    assert all(layer.matched for layer in read.layers)
    assert read.layers[0].reads[0][0].per_channel
    found = confirm.run(read, NORMAL, {layer.name for layer in read.layers})
    assert sqnr(answers(rounded, NORMAL), found) > 80


def test_both_forms_have_the_same_noise_and_no_cause(file: Callable[[str], onnx.ModelProto]) -> None:
    one, two = (_diagnosed(file(name)) for name in ("one", "per-channel"))
    assert one.causes == two.causes == ()
    assert one.flips == two.flips
    assert one.sqnr_db == pytest.approx(two.sqnr_db, abs=1)  # a border of zeros is rounded in one, not in the other
    assert [layer.name for layer in one.layers] == [layer.name for layer in two.layers]


@pytest.mark.parametrize("known", [True, False], ids=["calibration known", "calibration not known"])
def test_brighter_images_are_the_cause_at_the_first_layer(known: bool, file: Callable[[str], onnx.ModelProto]) -> None:
    found = _diagnosed(file("per-channel"), NORMAL + 1.5, calibration=NORMAL if known else None)
    first = found.causes[0]
    assert (first.layer, first.code) == ("stem", "range-left" if known else "zero-point")
    assert ("In the calibration images it lies between" in first.evidence) is known
    assert "The input of stem lies between" in first.evidence
    assert first.remedy.endswith(".")


def test_a_zero_point_that_was_moved_is_named(file: Callable[[str], onnx.ModelProto]) -> None:
    rounded = file("per-channel")
    zeros = nets.constants(rounded)[ZEROS]
    assert zeros.tolist() == [124, 116, 104]
    _put(rounded, ZEROS, zeros // np.uint8(8))
    first = _diagnosed(rounded).causes[0]
    assert (first.layer, first.code) == ("stem", "zero-point")


@pytest.mark.parametrize(("scale", "code"), [(0.25, "range-narrow"), (40, "range-wide")])
def test_scales_that_do_not_fit_are_named(scale: float, code: str, file: Callable[[str], onnx.ModelProto]) -> None:
    rounded = file("per-channel")
    _put(rounded, "levels.shifted_scale", np.full(3, scale, np.float32))
    first = _diagnosed(rounded).causes[0]
    assert (first.layer, first.code) == ("stem", code)


def test_values_that_one_channel_has_below_zero_are_not_a_relu() -> None:
    """A grid begins at zero if those of all its channels do."""

    def grid(*zeros: int) -> grids.Grid:
        return grids.of(np.ones(2, np.float32), np.array(zeros, np.uint8), onnx.TensorProto.UINT8, 1, "q")

    model = nets.plain()
    bare = _copy(model)
    relu = next(node for node in bare.graph.node if node.op_type == "Relu")
    reader = next(node for node in bare.graph.node if relu.output[0] in node.input)
    reader.input[0] = relu.input[0]
    bare.graph.node.remove(relu)
    net, original = Net(bare), Net(model)
    partner = {node.name: node for node in original.weighted()}
    for zeros, restored in (((0, 0), True), ((0, 9), False)):
        stripped = Stripped(_copy(bare), reads={(reader.output[0], 0): (grid(*zeros),)})
        assert restore(stripped, net, original, partner) is restored


def test_sums_of_a_layer_that_reads_zero_points_per_channel_are_those_of_the_integers(
    file: Callable[[str], onnx.ModelProto],
) -> None:
    read = pair.read(nets.basic(), file("per-channel"), NORMAL)
    layer, levels = read.layers[0], PIXELS.transpose(0, 3, 1, 2).astype(int)
    values = confirm.outputs(read, NORMAL, (), [layer.node.inputs[0]])[layer.node.inputs[0]]
    padded = saturation.integers_read(layer, torch.from_numpy(values)).numpy()
    assert np.array_equal(padded[:, :, 1:-1, 1:-1], levels)
    assert padded[0, :, 0, 0].tolist() == [124, 116, 104]


def test_zero_points_of_another_number_than_scales_are_refused() -> None:
    with pytest.raises(ModelError, match="has 2 zero points and 3 scales"):
        grids.of(np.ones(3, np.float32), np.zeros(2, np.uint8), onnx.TensorProto.UINT8, 1, "q")
