"""How `edgeresnet/portable/yardstick.onnx` was made: the pinned network that is timed in turn with every other one.

It computes what a ResNet-20 of the CIFAR family computes, nearly (38 million multiplications at 32×32), so its
time rises and falls with a ResNet's; the layers of one stage share their weights, so that the file stays small. Its
answers mean nothing. The file is pinned by its sha256: another file is another unit, and no baseline of a gate could be
compared with it. This script is its origin, not a part of any build; a test compares the two.

    python benchmarks/yardstick.py yardstick.onnx
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTHS, BLOCKS, SIDE, CLASSES = (16, 32, 56), 3, 32, 10
OPSET, IR = 13, 8  # old enough for every runtime that a target has


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    made = build().SerializeToString(deterministic=True)
    parser.parse_args().output.write_bytes(made)
    print(f"{len(made)} bytes")


def build() -> onnx.ModelProto:
    net = _Net()
    last = net.convolution("image", "stem", 3, WIDTHS[0], gain=1.0)
    last = net.operator("Relu", last)
    before = WIDTHS[0]
    for stage, width in enumerate(WIDTHS, 1):
        for block in range(BLOCKS):
            first = block == 0 and width != before
            shortcut = net.convolution(last, f"shortcut{stage}", before, width, side=1, stride=2) if first else last
            name, step = (f"enter{stage}", 2) if first else (f"stage{stage}", 1)
            inner = net.operator("Relu", net.convolution(last, name, before, width, stride=step))
            inner = net.convolution(inner, f"stage{stage}", width, width, gain=0.2)
            last = net.operator("Relu", net.operator("Add", inner, shortcut))
            before = width
    pooled = net.operator("Flatten", net.operator("GlobalAveragePool", last))
    net.weight("head", (CLASSES, WIDTHS[-1]), 1.0)
    net.nodes.append(helper.make_node("Gemm", [pooled, "head"], ["logits"], "logits", transB=1))
    graph = helper.make_graph(
        net.nodes,
        "yardstick",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES])],
        net.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="edgeresnet")
    model.ir_version = IR
    onnx.checker.check_model(model, full_check=True)
    return model


class _Net:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(20)

    def weight(self, name: str, shape: tuple[int, ...], gain: float) -> None:
        """Make a weight once for each name: the layers that share it do the same work with the same numbers."""
        if name in {tensor.name for tensor in self.weights}:
            return
        spread = gain * np.sqrt(2 / np.prod(shape[1:]))
        values = self._rng.uniform(-1, 1, shape) * spread * np.sqrt(3)
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), name))

    def convolution(
        self, source: str, weight: str, before: int, width: int, side: int = 3, stride: int = 1, gain: float = 1.0
    ) -> str:
        self.weight(weight, (width, before, side, side), gain)
        sides = {"kernel_shape": [side] * 2, "pads": [side // 2] * 4, "strides": [stride] * 2}
        return self.operator("Conv", source, weight, **sides)

    def operator(self, kind: str, *sources: str, **attributes: Any) -> str:
        name = f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(sources), [name], name, **attributes))
        return name


if __name__ == "__main__":
    main()
