"""What a stored run answers about itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeresnet.errors import EdgeresnetError
from edgeresnet.portable.result import Measured
from edgeresnet.runs import StepId

from .gate import runs

pytestmark = pytest.mark.unit


def test_what_a_device_compiled_is_not_here() -> None:
    there: Measured = replace(runs.result("openvino"), target="openvino@orin")
    run = runs.run(there, runs.result("onnxruntime"))
    mixed = replace(run, steps=(*run.steps, runs.step(StepId("export", "openvino"), "b" * 64)))
    assert list(mixed.measured_here()) == ["onnxruntime"]
    assert mixed.measured_on_devices == ["openvino@orin"]
    by_hand = replace(mixed, results={"openvino": runs.result("openvino")})
    for run, wanted in ((mixed, ["openvino"]), (mixed, ["onnxruntime", "openvino@orin"]), (by_hand, [])):
        with pytest.raises(EdgeresnetError, match="was compiled on its device") as caught:
            run.measured_here(wanted)
        assert "--set targets.openvino.where=here" in caught.value.hint
    with pytest.raises(EdgeresnetError, match="has no measurement on openvino@nano"):
        mixed.measured_here(["openvino@nano"])
