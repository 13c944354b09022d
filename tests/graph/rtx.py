"""TensorRT-RTX on a model: its parser is TensorRT's, and it builds without a GPU. Skips where it is not installed."""

from __future__ import annotations

import importlib.util

import onnx
import pytest

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="TensorRT-RTX is not installed: pip install 'edgeresnet[tensorrt-rtx]'",
)
# The builder's own note on float16 scales, one per convolution that became INT8. Nothing to mend.
BENIGN = ("Converting conv activation scales to fp32.", "Converting conv weight scales to fp32.")


def parsed_and_built(model: onnx.ModelProto) -> list[str]:
    """Types of the network's layers, as parsed. Fails on a refusal, on a warning, and where no engine comes out."""
    trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")

    class Log(trt.ILogger):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.messages: list[str] = []

        def log(self, severity: object, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR, trt.ILogger.WARNING):
                self.messages.append(message)

    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    assert parser.parse(model.SerializeToString()), [parser.get_error(i).desc() for i in range(parser.num_errors)]
    assert not log.messages
    config = builder.create_builder_config()
    image = network.get_input(0)
    sides = list(image.shape)[1:]
    profile = builder.create_optimization_profile()
    profile.set_shape(image.name, [1, *sides], [2, *sides], [4, *sides])
    config.add_optimization_profile(profile)
    assert builder.build_serialized_network(network, config) is not None
    assert [line for line in log.messages if not line.endswith(BENIGN)] == []
    layers = [network.get_layer(number) for number in range(network.num_layers)]
    return [f"{layer.type.name} {layer.get_output(0).dtype.name}" for layer in layers]
