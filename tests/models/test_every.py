"""Every architecture that can be named: built, saved, loaded, recognised, traced, and the same function all the way."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgeresnet import models
from edgeresnet.models import checkpoint, names, recognise, shapes
from edgeresnet.stages import trace

from .networks import lively

# One of ours always, small ones of each kind in the slow tier, the others at night.
ALWAYS = {"cifar_resnet8b"}
SMALL = {
    *("cifar_resnet8", "cifar_plain8", "cifar_resnet14_w8", "resnet18", "resnet18_3x3", "resnet18_3x3_maxpool"),
    "resnet10t",
    *("resnet18d", "resnetblur18", "seresnet18", "ecaresnet26t"),
}


def _tier(arch: str) -> tuple[pytest.MarkDecorator, ...]:
    return () if arch in ALWAYS else (pytest.mark.slow,) if arch in SMALL else (pytest.mark.nightly,)


EVERY = [
    pytest.param(arch, marks=_tier(arch)) for arch in dict.fromkeys((*sorted(ALWAYS | SMALL), *names.everything()))
]


@pytest.mark.parametrize("arch", EVERY)
def test_from_its_name_to_onnx(arch: str, tmp_path: Path) -> None:
    network = lively(arch, classes=5, channels=1)
    side = 32 if names.plan(arch).kernel == 3 else 64  # what is made for small images keeps their size for long
    images = torch.randn(3, 1, side, side)
    with torch.no_grad():
        expected = network(images).numpy()
    checkpoint.write(network, tmp_path / "w.safetensors", {"arch": arch})
    torch.save({"state_dict": network.state_dict()}, tmp_path / "w.pth")
    for name in ("w.safetensors", "w.pth"):
        held = shapes.look(tmp_path / name)
        assert held.arch == (arch if name == "w.safetensors" else "")
        found = recognise.recognise(held.networks["model"], held.arch)
        assert found is not None
        assert (found.classes, found.channels, found.around) == (5, 1, "")
        assert arch in found.archs
        if held.arch:
            assert found.archs == (arch,)
        del network
        network = models.build(found.archs[0] if held.arch else arch, 5, 1).eval()
        checkpoint.load_into(network, tmp_path / name, arch)
    (tmp_path / "w.safetensors").unlink()
    (tmp_path / "w.pth").unlink()
    model = trace.to_onnx(network, 1, side)
    assert not any(node.op_type == "BatchNormalization" for node in model.graph.node)
    assert trace._difference(model, images.numpy(), expected) < trace.PARITY
