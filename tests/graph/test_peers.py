"""Files that other quantizers really write, and what TensorRT-RTX and OpenVINO really say to them: the lint agrees.

Calibrated on noise: no number of these networks means anything, their form does.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from edgeresnet import models, targets
from edgeresnet.errors import TargetError
from edgeresnet.graph import accepts
from edgeresnet.stages import trace
from edgeresnet.targets import tensorrt_rtx

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
ARCHITECTURES = ["cifar_resnet8", "cifar_resnet20b"]  # option A pads its shortcuts, B has convolutions there
_SYMMETRIC = {"ActivationSymmetric": True, "WeightSymmetric": True}


def _missing(module: str) -> bool:
    return importlib.util.find_spec(module) is None


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("traced")

    def make(arch: str) -> Path:
        path = root / f"{arch}.onnx"
        if not path.exists():
            torch.manual_seed(0)
            model = trace.to_onnx(models.build(arch.removesuffix("+"), 10, 3).eval(), 3, 32)
            if arch.endswith("+"):  # as torch's exporter leaves it where nothing simplifies behind it
                model.graph.initializer.append(numpy_helper.from_array(np.float32(0), "nought"))
                for node in model.graph.node:
                    if node.op_type == "Pad":
                        node.input.append("nought")
            onnx.save(model, path)
        return path

    return make


def _noise() -> Iterator[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return ({"image": rng.normal(size=(1, 3, 32, 32)).astype(np.float32)} for _ in range(4))


def _nncf(source: Path, out: Path, preset: str) -> None:
    if _missing("nncf"):
        pytest.skip("NNCF is not installed")
    import nncf

    chosen = getattr(nncf.QuantizationPreset, preset)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = nncf.quantize(onnx.load(source), nncf.Dataset(list(_noise())), preset=chosen, subset_size=4)
    onnx.save(made, out)


def _onnxruntime(source: Path, out: Path, kind: str, form: str = "QDQ", **extra: Any) -> None:
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self._images = _noise()

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._images, None)

    quantization.quantize_static(
        source, out, Reader(), quant_format=getattr(quantization.QuantFormat, form),
        activation_type=getattr(quantization.QuantType, kind), weight_type=quantization.QuantType.QInt8,
        per_channel=True, extra_options=extra,
    )  # fmt: skip


_MODELOPT = """
import json, sys
import numpy as np
from modelopt.onnx.quantization import quantize
source, out, images, method, more = sys.argv[1:]
quantize(source, quantize_mode="int8", calibration_data={"image": np.load(images)}, calibration_method=method,
         calibration_eps=["cpu"], output_path=out, log_level="ERROR", **json.loads(more))
"""


def _modelopt(source: Path, out: Path, method: str, **more: Any) -> None:
    """In a process of its own: importing it changes onnxruntime's quantizer, which then fails."""
    if _missing("modelopt"):
        pytest.skip("ModelOpt is not installed")
    np.save(out.with_suffix(".npy"), np.concatenate([each["image"] for each in _noise()]))
    arguments = [str(source), str(out), str(out.with_suffix(".npy")), method, json.dumps(more)]
    subprocess.run([sys.executable, "-c", _MODELOPT, *arguments], check=True, capture_output=True)


PEERS: dict[str, tuple[Callable[..., None], tuple, Mapping[str, object]]] = {
    "NNCF performance": (_nncf, ("PERFORMANCE",), {}),
    "NNCF mixed": (_nncf, ("MIXED",), {}),
    "onnxruntime u8": (_onnxruntime, ("QUInt8",), {}),
    "onnxruntime default": (_onnxruntime, ("QInt8",), {}),
    "onnxruntime s8 symmetric": (_onnxruntime, ("QInt8",), _SYMMETRIC),
    "onnxruntime s8, float biases": (_onnxruntime, ("QInt8",), {**_SYMMETRIC, "QuantizeBias": False}),
    "onnxruntime QOperator": (_onnxruntime, ("QUInt8", "QOperator"), {}),
    "ModelOpt max": (_modelopt, ("max",), {}),
    "ModelOpt entropy": (_modelopt, ("entropy",), {}),
    "ModelOpt max, FP32": (_modelopt, ("max",), {"high_precision_dtype": "fp32"}),
}
# What a peer's file is to TensorRT. onnxruntime's with float biases is taken, unless a padding constant stands in it.
TO_TENSORRT = {
    "NNCF performance": {"uint8"},
    "NNCF mixed": {"uint8", "zero-point"},
    "onnxruntime u8": {"uint8", "zero-point", "int32-bias"},
    "onnxruntime default": {"zero-point", "int32-bias"},
    "onnxruntime s8 symmetric": {"int32-bias"},
    "onnxruntime s8, float biases": set(),
    "onnxruntime QOperator": {"uint8", "zero-point", "operator"},
    "ModelOpt max": set(),
    "ModelOpt entropy": set(),
    "ModelOpt max, FP32": set(),
}


@pytest.fixture(scope="module")
def written(traced: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    root = tmp_path_factory.mktemp("peers")

    def make(peer: str, arch: str) -> Path:
        path = root / f"{arch}-{peer.replace(' ', '-')}.onnx"
        if not path.exists():
            quantizer, how, options = PEERS[peer]
            quantizer(traced(arch), path, *how, **options)
        return path

    return make


def _errors(path: Path, target: str) -> set[str]:
    found = accepts.findings(onnx.load(path), target, targets.get(target).dialect)
    return {each.rule for each in found if each.severity == accepts.ERROR}


def _rtx_objects(path: Path, folder: Path) -> bool:
    """Return whether its parser refuses or warns, or its builder refuses. Converted scales do not count."""
    if _missing("tensorrt_rtx"):
        pytest.skip("TensorRT-RTX is not installed")
    reading = tensorrt_rtx.read(path)
    if not reading.accepted or reading.complaints:
        return True
    try:
        reading = tensorrt_rtx.build(path, folder / "net.engine", capabilities=["8.6"])
    except TargetError:
        return True
    assert all("scales to fp32" in each.said for each in reading.complaints)
    return False


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("peer", PEERS)
def test_errors_are_what_tensorrt_rtx_objects_to(peer: str, arch: str, written: Any, tmp_path: Path) -> None:
    path = written(peer, arch)
    for target in ("tensorrt", "tensorrt_rtx"):
        assert _errors(path, target) == TO_TENSORRT[peer]
    assert _rtx_objects(path, tmp_path) == bool(TO_TENSORRT[peer])


def test_a_quantized_padding_constant_is_an_error_as_for_tensorrt_rtx(written: Any, tmp_path: Path) -> None:
    path = written("onnxruntime s8, float biases", "cifar_resnet8+")
    assert _errors(path, "tensorrt") == {"padding"}
    assert _rtx_objects(path, tmp_path)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("peer", PEERS)
def test_errors_are_what_openvino_cannot_compile(peer: str, arch: str, written: Any) -> None:
    openvino = pytest.importorskip("openvino")
    path = written(peer, arch)
    expected = {"onnxruntime QOperator": {"operator"}}.get(peer, set())
    if (peer, arch) == ("onnxruntime default", "cifar_resnet8"):
        expected = {"shared-zero-point"}
    assert _errors(path, "openvino") == expected
    core = openvino.Core()
    try:
        core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        compiles = True
    except RuntimeError:
        compiles = False
    assert compiles == (not expected)


@pytest.mark.parametrize("peer", PEERS)
def test_onnxruntime_takes_them_all(peer: str, written: Any) -> None:
    import onnxruntime

    path = written(peer, "cifar_resnet8")
    assert _errors(path, "onnxruntime") == set()
    onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
