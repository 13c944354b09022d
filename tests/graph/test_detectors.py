"""Networks that find boxes, in the canonical form: exported by torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeresnet import models
from edgeresnet.graph import canonical
from edgeresnet.models import anchors
from edgeresnet.stages import trace
from edgeresnet.stages.specs import Architecture

from ..models.networks import lively
from .running import answers

ARCHITECTURES = [("retinanet_cifar_resnet8", 50), pytest.param("retinanet_resnet50_fpn", 160, marks=pytest.mark.slow)]


@pytest.mark.parametrize(("arch", "size"), ARCHITECTURES)
def test_the_canonical_form_answers_for_every_anchor(arch: str, size: int) -> None:
    network = lively(arch, classes=6, channels=1)
    about = Architecture(arch, 6, 1, task="detection", detector=anchors.of(arch, size, 6))
    models.check_answer(network, about, size)
    model = trace.to_onnx(network, 1, size)
    assert canonical.canonical(model).SerializeToString() == model.SerializeToString(), "a second time changes nothing"
    resized = [len(each.input) for each in model.graph.node if each.op_type == "Resize"]
    assert resized
    assert set(resized) == {3}, "sizes became scales"
    assert "Shape" not in {each.op_type for each in model.graph.node}
    images = np.random.default_rng(2).normal(size=(3, 1, size, size)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(images)).numpy()
    found = answers(model, images)
    assert about.learned.fits(found.shape, 3, 6)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
