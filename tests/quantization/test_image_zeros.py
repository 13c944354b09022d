"""Images with a zero point per channel: the same integers as with padding in front of the first layer, and no Pad."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeresnet import targets
from edgeresnet.graph.half import half
from edgeresnet.graph.raw_input import with_raw_input
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.portable.session import Dialect
from edgeresnet.quantization import engine

from ..graph.running import answers, openvino_answers, sqnr, whole_sums
from .nets import SIZE, Maker, basic, batches, constants, source

OPENVINO = targets.get("openvino")
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CIFAR = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)
GRAY, DARK = ((0.1307,), (0.3081,)), ((0.0, 0.0, 1.0), (0.2, 0.3, 0.4))
TIE = ((0.5, 0.5, 0.4), (0.5, 0.25, 0.3))  # 0.5 is 127.5 levels
SAME, MIDDLE = ((0.4,) * 3, (0.3,) * 3), ((0.5,) * 3, (0.25,) * 3)
ZEROS = "levels.shifted_zero"


def network(channels: int = 3, side: int = 3, padding: int = 1) -> onnx.ModelProto:
    net = Maker()
    net.channels["image"] = channels
    x = net.conv("image", "c1", 8, side=side, stride=1 if side == 3 else 2)
    next(each for each in net.nodes[0].attribute if each.name == "pads").ints[:] = [padding] * 4
    model = net.head(net.relu(net.conv(net.relu(x), "c2", 8)))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = channels
    return model


def prepared(numbers: tuple[tuple[float, ...], tuple[float, ...]]) -> tuple[Preprocessing, np.ndarray]:
    mean, std = numbers
    preprocessing = Preprocessing(SIZE, mean=mean, std=std)
    pixels = np.random.default_rng(5).integers(0, 256, (12, SIZE, SIZE, len(mean)), np.uint8)
    pixels[0], pixels[1] = 0, 255  # all black, all white: nothing is clipped
    return preprocessing, preprocessing.normalize(pixels)


def written(
    model: onnx.ModelProto, numbers: tuple[tuple[float, ...], tuple[float, ...]], image_zeros: str
) -> onnx.ModelProto:
    """Quantize for OpenVINO on this CPU."""
    preprocessing, normal = prepared(numbers)
    dialect = replace(OPENVINO.speaks(OPENVINO.options()), image_zeros=image_zeros)
    choices = engine.Choices(dialect, preprocessing=preprocessing)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    found = engine.quantize(source(copy, normal), None, choices, batches(normal), normal).model()
    onnx.checker.check_model(found, full_check=True)
    return found


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize(("side", "padding"), [(3, 1), (7, 3), (3, 2)])
@pytest.mark.parametrize(
    "numbers", [IMAGENET, CIFAR, GRAY, DARK, SAME], ids=["imagenet", "cifar", "gray", "dark", "same"]
)
def test_answers_are_the_same_to_the_last_bit(
    numbers: tuple[tuple[float, ...], tuple[float, ...]], side: int, padding: int
) -> None:
    model, (_, normal) = network(len(numbers[0]), side, padding), prepared(numbers)
    before, after = (written(model, numbers, form) for form in ("one", "per-channel"))
    assert kinds(before)[:3] == ["Pad", "Mul", "Add"]
    assert kinds(after)[:2] == ["Mul", "Add"]
    assert "Pad" not in kinds(after)
    assert np.array_equal(answers(before, normal), answers(after, normal))
    assert np.array_equal(openvino_answers(before, normal), openvino_answers(after, normal))


def test_each_channel_has_its_mean_level_and_equal_ones_are_written_once() -> None:
    found = {
        name: constants(written(network(len(numbers[0])), numbers, "per-channel"))[ZEROS]
        for name, numbers in {"imagenet": IMAGENET, "tie": TIE, "same": SAME, "middle": MIDDLE, "gray": GRAY}.items()
    }
    assert {name: zero.tolist() for name, zero in found.items()} == {
        "imagenet": [124, 116, 104], "tie": [128, 128, 102], "same": 102, "middle": 0, "gray": 33,
    }  # fmt: skip
    assert {name: zero.dtype for name, zero in found.items()} == dict.fromkeys(found, np.dtype(np.uint8)) | {
        "middle": np.dtype(np.int8)
    }


@pytest.mark.parametrize("numbers", [TIE, MIDDLE], ids=["tie", "middle"])
def test_a_mean_between_two_levels_is_the_one_next_to_the_middle(
    numbers: tuple[tuple[float, ...], tuple[float, ...]],
) -> None:
    """A Pad left that to each runtime: OpenVINO rounded such a border otherwise than ONNX does."""
    model, (_, normal) = network(), prepared(numbers)
    before, after = (written(model, numbers, form) for form in ("one", "per-channel"))
    assert kinds(after)[:2] == ["Mul", "Add"]
    assert "Pad" not in kinds(after)
    exact = answers(model, normal)
    assert min(sqnr(exact, answers(file, normal)) for file in (before, after)) > 45
    assert sqnr(answers(after, normal), openvino_answers(after, normal)) > 45


def test_without_padding_the_usual_form_stays() -> None:
    one, other = (written(network(padding=0), IMAGENET, form) for form in ("one", "per-channel"))
    assert one == other
    assert constants(other)[ZEROS].shape == ()


def test_a_mean_that_is_no_level_keeps_the_usual_form() -> None:
    numbers = (0.4, 1.2, 0.5), (0.3, 0.3, 0.3)
    one, other = (written(network(), numbers, form) for form in ("one", "per-channel"))
    assert one == other
    assert kinds(other)[0] == "Pad"


@whole_sums
def test_openvino_computes_the_first_layer_in_int8_and_pads_nothing(tmp_path: Path) -> None:
    found = {}
    for form in ("one", "per-channel"):
        (tmp_path / form).mkdir()
        onnx.save(written(network(), IMAGENET, form), tmp_path / f"{form}.onnx")
        OPENVINO.compile(tmp_path / f"{form}.onnx", OPENVINO.options(), tmp_path / form)
        with OPENVINO.load(tmp_path / form) as session:
            found[form] = [(layer.operator, layer.precision) for layer in session.layers()]
    assert [precision for kind, precision in found["per-channel"] if kind == "Convolution"] == ["u8", "u8"]
    assert "Pad" in dict(found["one"])
    assert "Pad" not in dict(found["per-channel"])
    assert len(found["per-channel"]) < len(found["one"])


def test_only_its_own_tensors_change_and_a_stand_in_has_the_same_form() -> None:
    model, (preprocessing, _) = basic(), prepared(IMAGENET)
    before, after = (constants(written(model, IMAGENET, form)) for form in ("one", "per-channel"))
    changed = {name for name in after if not np.array_equal(after[name], before[name])}
    assert changed == {"levels.offset", "levels.shifted_scale", ZEROS, "stem_out_bias"}
    assert before.keys() - after.keys() == {"levels.pads"}
    dialect = replace(OPENVINO.speaks(OPENVINO.options()), image_zeros="per-channel")
    stand_in = engine.stand_in(model, engine.Choices(dialect, preprocessing=preprocessing))
    assert kinds(stand_in) == kinds(written(basic(), IMAGENET, "per-channel"))
    assert constants(stand_in)[ZEROS].tolist() == [124, 116, 104]


def test_its_half_precision_variant_and_its_pixel_input_answer_alike() -> None:
    preprocessing, normal = prepared(IMAGENET)
    file = written(basic(), IMAGENET, "per-channel")
    expected = answers(file, normal)
    assert sqnr(expected, answers(half(file), normal)) > 35
    pixels = np.random.default_rng(5).integers(0, 256, (12, SIZE, SIZE, 3), np.uint8)
    pixels[0], pixels[1] = 0, 255
    assert sqnr(expected, answers(with_raw_input(file, preprocessing), pixels)) > 100


def test_the_dialect_is_encoded_as_ever_where_images_have_one_zero_point() -> None:
    """Another spelling would quantize the networks of every user again."""
    from edgeresnet.portable import codec

    assert "image_zeros" not in codec.encode(Dialect("s8-symmetric", "shortcut", 32))
    assert codec.encode(replace(OPENVINO.dialect, image_zeros="per-channel"))["image_zeros"] == "per-channel"
