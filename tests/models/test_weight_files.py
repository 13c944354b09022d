"""Weights as libraries write them: in several files, in half precision, quantized. torch reads and writes them here."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgeresnet import models
from edgeresnet.errors import ModelError
from edgeresnet.models import checkpoint, conventions, recognise, shapes

from .networks import in_files, lively, transformers_resnet

ARCH = "cifar_resnet8"
IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def loaded(path: Path) -> nn.Module:
    network = models.build(ARCH, 5, 3)
    checkpoint.load_into(network, path, ARCH)
    return network.eval()


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_several_files_give_the_same_network_as_one(tmp_path: Path, ending: str) -> None:
    network = lively(ARCH)
    index = in_files(network, tmp_path, ending)
    for path in (index, tmp_path):
        torch.testing.assert_close(loaded(path)(IMAGES), network(IMAGES), rtol=0, atol=0)
        assert checkpoint.read(path).keys() == shapes.read(path).keys() == network.state_dict().keys()


@pytest.mark.parametrize("first", [True, False])
def test_transformers_networks_compute_the_same_wherever_their_strides_are(tmp_path: Path, first: bool) -> None:
    network = transformers_resnet(first=first)
    in_files(network, tmp_path, "safetensors")
    about = {"model_type": "resnet", "downsample_in_bottleneck": first}
    (tmp_path / "config.json").write_text(json.dumps(about))
    held = shapes.look(tmp_path)
    found = conventions.decided(recognise.recognise(held.networks["model"], held.arch), held.convention)
    assert found is not None
    (arch,) = found.archs
    ours = models.build(arch, found.classes, found.channels)
    checkpoint.load_into(ours, tmp_path, arch)
    images = IMAGES[:, :1].repeat(1, 1, 4, 4)
    torch.testing.assert_close(ours.eval()(images), network(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_other_precisions_become_float32(tmp_path: Path, kind: torch.dtype, name: str) -> None:
    network = lively(ARCH)
    held = {key: value.to(kind) if value.is_floating_point() else value for key, value in network.state_dict().items()}
    torch.save(held, tmp_path / name) if name.endswith("pth") else save_file(held, tmp_path / name)
    found = loaded(tmp_path / name)
    assert {value.dtype for value in found.state_dict().values()} == {torch.float32, torch.int64}
    for key, value in found.state_dict().items():
        torch.testing.assert_close(value, held[key].to(value.dtype), rtol=0, atol=0)


def test_what_torch_quantized_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch moves its quantization to another package
        weight = torch.quantize_per_channel(torch.rand(4, 3, 3, 3), torch.ones(4), torch.zeros(4), 0, torch.qint8)
        torch.save({"conv1.weight": weight, "fc.bias": torch.ones(2)}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="is of a network that is already quantized") as caught:
        checkpoint.read(tmp_path / "w.pth")
    assert caught.value.hint == "give its FP32 checkpoint: edgeresnet quantizes it itself"


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_float8_is_refused_with_the_way_out(tmp_path: Path, name: str) -> None:
    held = {"conv1.weight": torch.rand(4, 3, 3, 3).to(torch.float8_e4m3fn)}
    torch.save(held, tmp_path / name) if name.endswith("pth") else save_file(held, tmp_path / name)
    with pytest.raises(ModelError, match="is of a network that is already quantized"):
        checkpoint.read(tmp_path / name)
