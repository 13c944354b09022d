"""More layers in float, from an INT8 network that is there: no rounded weight changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from edgeresnet.quantization import engine, partly
from edgeresnet.quantization import placement as places

from ..graph.running import answers, sqnr
from .nets import BOTH, TENSORRT, Dialect, basic, constants, images, int8, preact, squeezed


def held() -> np.ndarray:
    return images(16, seed=9)


@pytest.mark.parametrize("make", [basic, preact, squeezed])
@pytest.mark.parametrize("dialect", [TENSORRT, BOTH])
def test_each_layer_by_itself(make: Callable[[], onnx.ModelProto], dialect: Dialect) -> None:
    found, choices = int8(make(), dialect), engine.Choices(dialect)
    before = constants(found.model())
    for node in found.placement.weights.values():
        label = places.label(node)
        few = partly.in_float(found, engine.excluding(choices, [f"^{label}$"]), make(), held())
        model = few.model()
        onnx.checker.check_model(model)
        assert set(few.placement.weights) == set(found.placement.weights) - {node.name}
        for name, value in constants(model).items():
            if name.endswith("_quantized"):
                assert name not in before or (value == before[name]).all()
        assert few.sqnr_db == pytest.approx(sqnr(answers(make(), held()), answers(model, held())), abs=1.0)
        assert [step.name for step in few.steps][-1] == "layers in float"
        assert set(few.layers) == {places.label(each) for each in few.placement.weights.values()}


def test_none_in_float_is_the_same_network() -> None:
    found = int8(basic(), TENSORRT)
    same = partly.in_float(found, engine.Choices(TENSORRT), basic(), held())
    assert same.model() == found.model()
    assert (same.sqnr_db, same.agree, same.held_out) == (found.sqnr_db, found.agree, found.held_out)
