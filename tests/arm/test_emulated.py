"""Bundles for 64-bit Arm under emulation: answers are the host's, and times are marked and never judged.

`make test-arm` makes the root that this needs, EDGERESNET_ARM_ROOT.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeresnet import pipeline, recipe
from edgeresnet.pipeline import collecting
from edgeresnet.portable import machine
from edgeresnet.stages.export import contents, write
from edgeresnet.store import Store

from ..cli.deployed import deployed
from ..conftest import folder_of, tiny
from .emulator import CPUS, Emulator
from .root import EMULATOR, READY

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3600)]

ROOT = Path(os.environ.get("EDGERESNET_ARM_ROOT", "nowhere"))
SHORT = ("--processes", "1", "--seconds", "0.2")


@pytest.fixture(params=CPUS)
def emulator(request: pytest.FixtureRequest, tmp_path: Path) -> Emulator:
    if shutil.which(EMULATOR) is None:
        pytest.skip(f"no {EMULATOR}: apt-get install qemu-user-static")
    if not (ROOT / READY).is_file():
        pytest.skip("EDGERESNET_ARM_ROOT names no root for Arm: `make test-arm` makes one")
    return Emulator(ROOT.absolute(), request.param, tmp_path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("arm") / "store")


def _run(store: Store) -> Any:
    raw = tiny(
        model__arch="cifar_resnet20",
        preprocessing={"size": 16, "mean": [0.305], "std": [0.376]},
        images__calibration={"from": "digits", "count": 100},
        images__evaluation={"from": "digits", "count": 100},
        quantize={"effort": "fast"},
        targets={"onnxruntime": {"cpu": "arm", "threads": 1, "where": "bundle"}},  # more threads would wait by spinning
        promises={"max_drop_pp": 20.0, "max_latency_p99_ms": 1e6, "min_speedup_fp32": 0.001, "max_peak_memory_mb": 1e5},
    )
    return pipeline.run(recipe.parse(raw), store)


def _copied(run: Any, to: Path) -> Path:
    return Path(shutil.copytree(folder_of(run, "export:onnxruntime") / write.FOLDER, to))


def test_a_bundle_answers_as_on_the_host_and_its_times_are_never_judged(
    emulator: Emulator, store: Store, tmp_path: Path
) -> None:
    """Sums of INT8 products are exact on both. They are rounded to INT8 again by other kernels, a step apart at times.

    Such a step is one of 255 of a layer's range, once in a while; quantizing itself moves every value by up to half
    a step. So the loss stays as large (within 1 dB), and only an image that is nearly undecided may change its class.
    """
    run = _run(store)
    there = _copied(run, tmp_path / "there")
    done = emulator.run(there / "deploy.py", *SHORT)
    assert done.returncode == 0, done.stderr
    assert "(emulated)" in done.stdout
    assert "an emulator ran it" in done.stdout
    found = contents.opened(there / "result.json").result
    assert "aarch64" in found.machine.system
    assert found.variants["fp32"].accuracy.agree_pct == 100
    assert all(each.latency and each.latency.is_emulated for each in found.variants.values())

    collected = collecting.collect(there / "result.json", store)
    verdicts = {each.promise.kind: each for each in collected.verdicts}
    assert verdicts["max_drop_pp"].verdict == "KEPT"
    for kind in ("max_latency_p99_ms", "min_speedup_fp32", "max_peak_memory_mb"):
        assert verdicts[kind].verdict == "NOT_MEASURED", "any measurement keeps this promise"
        assert "emulator" in verdicts[kind].reason

    if not machine.has_int8():
        return  # sums would saturate here
    here = _copied(run, tmp_path / "here")
    assert deployed(here, "onnxruntime", *SHORT).returncode == 0
    host = contents.opened(here / "result.json").result
    both = [np.asarray(each.variants["int8"].predicted) for each in (found, host)]
    assert (both[0] == both[1]).mean() >= 0.98
    losses = [each.variants["int8"].accuracy.sqnr_db for each in (found, host)]
    assert None not in losses
    assert abs(losses[0] - losses[1]) <= 1  # type: ignore[operator]


_EXTREMES = """
import json, sys, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
print(json.dumps(session.run(None, {"image": numpy.load(sys.argv[2])})[0].ravel().tolist()))
"""


@pytest.mark.parametrize("channels", [16, 64])  # onnxruntime has a kernel of its own from 64 on
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_sums_of_int8_do_not_saturate(emulator: Emulator, channels: int, sign: int, tmp_path: Path) -> None:
    """Every weight is 127 and every value 255: on x86 without VNNI two such products are cut off at 32767."""
    onnx.save(_largest(channels, sign), tmp_path / "largest.onnx")
    np.save(tmp_path / "image.npy", np.full((1, channels, 8, 8), 255, np.float32))
    done = emulator.run("-c", _EXTREMES, tmp_path / "largest.onnx", tmp_path / "image.npy")
    assert done.returncode == 0, done.stderr
    inside = np.asarray(json.loads(done.stdout)).reshape(16, 8, 8)[:, 1:-1, 1:-1]
    np.testing.assert_array_equal(inside, 100 * sign, err_msg="of 100 steps")


def _largest(channels: int, sign: int) -> onnx.ModelProto:
    """Return a convolution of 3×3 whose inner sums are exactly 100 steps of its output."""
    step = 255 * 127 * 9 * channels / 100
    values = {
        "one": np.float32(1), "u0": np.uint8(0), "i0": np.int8(0), "step": np.float32(step), "middle": np.uint8(128),
        "w": np.full((16, channels, 3, 3), 127 * sign, np.int8),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "one", "u0"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "one", "u0"], ["x"]),
        helper.make_node("DequantizeLinear", ["w", "one", "i0"], ["weights"]),
        helper.make_node("Conv", ["x", "weights"], ["y"], pads=[1] * 4),
        helper.make_node("QuantizeLinear", ["y", "step", "middle"], ["answer"]),
        helper.make_node("DequantizeLinear", ["answer", "one", "middle"], ["steps"]),
    ]
    graph = helper.make_graph(
        nodes,
        "largest",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, channels, 8, 8])],
        [helper.make_tensor_value_info("steps", TensorProto.FLOAT, [1, 16, 8, 8])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
