"""Runs a model in memory, compares answers, and makes INT8 files the way a stranger would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from edgeresnet.portable import machine

whole_sums = pytest.mark.skipif(
    not machine.has_int8(), reason="on this CPU sums of full-range INT8 products saturate where a runtime fuses them"
)


def answers(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    """onnxruntime's, every operator as it stands in the file."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def fused_answers(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    """onnxruntime's, with the operators that it fuses."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def openvino_answers(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    import openvino

    core = openvino.Core()
    network = core.compile_model(core.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return network([images])[network.output(0)]


def sqnr(expected: np.ndarray, found: np.ndarray) -> float:
    expected, found = expected.astype(np.float64), found.astype(np.float64)
    return float(10 * np.log10((expected**2).sum() / max(((expected - found) ** 2).sum(), 1e-300)))


def quantized(folder: Path, model: onnx.ModelProto, batches: list[np.ndarray], **options: Any) -> onnx.ModelProto:
    """By onnxruntime's own quantizer: int8, symmetric, per channel, Q/DQ around everything."""
    from onnxruntime import quantization

    class Batches(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left: Iterator[np.ndarray] = iter(batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.left, None)
            return None if batch is None else {model.graph.input[0].name: batch}

    onnx.save(model, folder / "float.onnx")
    quantization.quantize_static(
        folder / "float.onnx",
        folder / "int8.onnx",
        Batches(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QInt8,
        weight_type=quantization.QuantType.QInt8,
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, **options},
    )
    return onnx.load(folder / "int8.onnx")
