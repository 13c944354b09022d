"""Checkpoints of networks that are quantized already are refused in one line; half precision is not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from edgeresnet.errors import ModelError
from edgeresnet.models import quantized, shapes
from edgeresnet.models.pickles import Tensor

from ..hostile import checkpoints, tensors

pytestmark = pytest.mark.unit

PLAIN = {"conv1.weight": Tensor((8, 3, 3, 3), "F32"), "bn1.num_batches_tracked": Tensor((), "I64")}


def problem(more: Mapping[str, Tensor]) -> str:
    with pytest.raises(ModelError) as caught:
        quantized.check(Path("w.pth"), {**PLAIN, **more})
    assert caught.value.hint == "give its FP32 checkpoint: edgeresnet quantizes it itself"
    return caught.value.message


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("fc.weight", Tensor((10, 8), "F8_E4M3")),
        ("fc.weight", Tensor((10, 8), "F8_E5M2")),
        ("fc.weight", Tensor((10, 8), "QInt8")),
        ("fc.weight", Tensor((10, 8), "I8")),
        ("fc.weight", Tensor((40, 1), "U8")),
        ("fc.qweight", Tensor((1, 8), "I32")),
        ("fc.SCB", Tensor((10,), "F32")),
        ("fc.weight.absmax", Tensor((10,), "F32")),
        ("fc.weight_scale", Tensor((10,), "F32")),
    ],
)
def test_8_bits_are_already_quantized(name: str, tensor: Tensor) -> None:
    assert f"w.pth is of a network that is already quantized ({name}, {tensor.kind})" in problem({name: tensor})


def test_a_scale_with_its_zero_point_is_already_quantized() -> None:
    both = {"conv1.scale": Tensor((), "F32"), "conv1.zero_point": Tensor((), "I64")}
    assert "already quantized (conv1.zero_point, I64)" in problem(both)
    quantized.check(Path("w.pth"), {**PLAIN, "block.scale": Tensor((), "F32")})


def test_observers_of_quantization_aware_training() -> None:
    more = {"conv1.weight_fake_quant.fake_quant_enabled": Tensor((1,), "Long")}
    assert "is prepared for quantization (conv1.weight_fake_quant" in problem(more)


@pytest.mark.parametrize("kind", ["F16", "BF16", "F64", "Half", "BFloat16", "Double"])
def test_16_and_64_bits_are_weights(kind: str) -> None:
    quantized.check(Path("w.pth"), {**PLAIN, "fc.weight": Tensor((10, 8), kind), "mask": Tensor((8,), "U8")})


def test_a_name_of_10000_characters_makes_one_short_line() -> None:
    assert len(problem({"n" * 10_000 + ".SCB": Tensor((1,), "F32")})) < 200


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (("torch._utils", "_rebuild_qtensor"), "is already quantized (torch._utils._rebuild_qtensor)"),
        (("torch", "float8_e4m3fn"), "is already quantized (torch.float8_e4m3fn)"),
        (("torch.ao.nn.quantized.modules.conv", "Conv2d"), "is already quantized (torch.ao.nn.quantized"),
        (("torch", "per_channel_affine"), "is prepared for quantization (torch.per_channel_affine)"),
        (("torchao.dtypes", "AffineQuantizedTensor"), "is already quantized (torchao."),
    ],
)
def test_types_in_a_pickle(tmp_path: Path, name: tuple[str, str], words: str) -> None:
    module, attribute = name
    (tmp_path / "w.pth").write_bytes(checkpoints.zipped(b"\x80\x02c%s\n%s\n." % (module.encode(), attribute.encode())))
    with pytest.raises(ModelError, match="quantiz") as caught:
        shapes.look(tmp_path / "w.pth")
    assert words in caught.value.message


def test_other_types_are_still_code(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(checkpoints.zipped(b"\x80\x02cmy_net\nNet\n."))
    with pytest.raises(ModelError, match=r"holds more than weights \(my_net\.Net\)"):
        shapes.look(tmp_path / "w.pth")


def test_safetensors_of_8_bits_are_refused_where_they_are_read(tmp_path: Path) -> None:
    data = tensors.whole({"fc.weight": (2, 2), "fc.SCB": (2,)})
    (tmp_path / "w.safetensors").write_bytes(data)
    with pytest.raises(ModelError, match="already quantized"):
        shapes.look(tmp_path / "w.safetensors")
