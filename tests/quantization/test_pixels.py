"""The first layer reads levels: the same function, and no loss at the images."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import onnx
import pytest

from edgeresnet.graph.half import half
from edgeresnet.graph.raw_input import with_raw_input
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.quantization import engine, qdq
from edgeresnet.quantization.net import Net
from edgeresnet.quantization.pixels import LEVELS, count_in_levels

from ..graph.running import answers, openvino_answers, sqnr, whole_sums
from .nets import (
    CPU,
    RESIDUAL,
    SIZE,
    TENSORRT,
    Make,
    basic,
    batches,
    constants,
    equalize,
    int8,
    notes_of,
    plain,
    shown,
    source,
)

PREPROCESSING = Preprocessing(SIZE, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
PIXELS = np.random.default_rng(5).integers(0, 256, (12, SIZE, SIZE, 3), np.uint8)
PIXELS[0], PIXELS[1] = 0, 255  # all black, all white: nothing is clipped
NORMAL = PREPROCESSING.normalize(PIXELS)


def counted(model: onnx.ModelProto) -> onnx.ModelProto:
    found = copy.deepcopy(model)
    assert count_in_levels(found, PREPROCESSING)
    onnx.checker.check_model(found, full_check=True)
    return found


@pytest.mark.parametrize("make", [plain, *RESIDUAL.values()], ids=["plain", *RESIDUAL.keys()])
def test_the_function_is_the_same(make: Make) -> None:
    model = make()
    assert sqnr(answers(model, NORMAL), answers(counted(model), NORMAL)) > 100


def test_what_the_first_layer_reads_are_whole_numbers_that_int8_has_and_padding_still_means_zero() -> None:
    levels = answers(shown(counted(plain()), LEVELS), NORMAL)
    inside = levels[:, :, 1:-1, 1:-1]
    assert np.abs(inside - np.rint(inside)).max() < 1e-4
    assert (np.rint(inside) == PIXELS.transpose(0, 3, 1, 2).astype(int) - 128).all()
    assert (inside.min(), inside.max()) == pytest.approx((-128, 127), abs=1e-4)
    border = levels[:, :, 0]  # of normalised zeros: mean coloured, and not black
    assert np.allclose(border, 255 * np.array(PREPROCESSING.mean).reshape(1, 3, 1) - 128, atol=1e-3)


def test_backwards_channels_and_a_layer_without_bias() -> None:
    backwards = replace(PREPROCESSING, order="bgr")
    model = plain()
    del model.graph.node[0].input[2]
    given = backwards.normalize(PIXELS)
    expected = answers(model, given)
    assert count_in_levels(model, backwards)
    assert sqnr(expected, answers(model, given)) > 100


def test_int8_loses_nothing_at_the_images() -> None:
    """Keep all else in float: only the images are rounded. What is left is the border, whose zeros are not a level."""
    found = []
    for before in (plain(), counted(plain())):
        held = engine.Source(before, source(plain()).ranges, {LEVELS: 1.0})
        scaled = engine.scaled(held, engine.Choices(TENSORRT))
        placement = scaled.placement
        first = min(placement.weights.values(), key=lambda node: node.name != "c1_out")
        read = first.inputs[0]
        alone = replace(placement, points={read: placement.points[read]}, reads={(first.name, 0)}, weights={})
        found.append(sqnr(answers(before, NORMAL), answers(qdq.write(before, alone, scaled.values), NORMAL)))
    assert found[1] > max(65, found[0] + 10)


@whole_sums
@pytest.mark.parametrize("dialect", [TENSORRT, CPU], ids=["tensorrt", "cpu"])
def test_the_engine_does_so_where_it_knows_the_preprocessing(dialect: engine.Dialect) -> None:
    def run(preprocessing: Preprocessing | None) -> engine.Quantized:
        choices = engine.Choices(dialect, preprocessing=preprocessing)
        equalized = equalize(basic(), NORMAL, 0)
        assert equalized is not None
        return engine.quantize(source(basic(), NORMAL), source(equalized, NORMAL), choices, batches(NORMAL), NORMAL)

    with_it, without = run(PREPROCESSING), run(None)
    assert notes_of(with_it).images_in_levels
    assert not notes_of(without).images_in_levels
    assert constants(with_it.model())[f"{LEVELS}_scale"] == 1.0
    assert sqnr(answers(with_it.model(), NORMAL), openvino_answers(with_it.model(), NORMAL)) > 30


def test_an_excluded_first_layer_keeps_its_images() -> None:
    found = int8(basic(), TENSORRT, preprocessing=PREPROCESSING, exclude=("^stem",))
    assert not notes_of(found).images_in_levels
    assert LEVELS not in Net(found.model()).maker


def test_images_of_16_bits_are_read_in_float_and_all_behind_them_in_int8() -> None:
    """Levels from 0 to 65535, counted in INT8, would be clipped to the first 256 of them."""
    deep = Preprocessing(SIZE, mean=(0.5,), std=(0.5,), bits=16)
    found, usual = int8(basic(), TENSORRT, preprocessing=deep), int8(basic(), TENSORRT)
    assert found.placement.kept["stem"] == "it reads 16-bit images, but INT8 has only 256 levels"
    assert set(usual.placement.weights) - set(found.placement.weights) == {"stem_out"}
    assert Net(found.model()).input not in found.placement.points
    gray = plain()
    gray.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    assert not count_in_levels(gray, deep)


def test_other_networks_are_left_alone() -> None:
    gray = Preprocessing(SIZE, mean=(0.5,), std=(0.5,))
    assert not count_in_levels(plain(), gray)
    uncounted = plain()  # padding without numbers
    uncounted.graph.node[0].attribute.append(onnx.helper.make_attribute("auto_pad", "SAME_UPPER"))
    assert not count_in_levels(uncounted, PREPROCESSING)
    twice = plain()
    twice.graph.node.add().CopyFrom(twice.graph.node[0])
    twice.graph.node[-1].output[0] = "again"
    assert not count_in_levels(twice, PREPROCESSING)


def test_its_half_precision_variant_and_its_pixel_input_answer_alike() -> None:
    choices = engine.Choices(TENSORRT, preprocessing=PREPROCESSING)
    file = engine.quantize(source(basic(), NORMAL), None, choices, batches(NORMAL), NORMAL).model()
    expected = answers(file, NORMAL)
    assert sqnr(expected, answers(half(file), NORMAL)) > 35
    assert sqnr(expected, answers(with_raw_input(file, PREPROCESSING), PIXELS)) > 100
