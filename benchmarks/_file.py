"""An INT8 file that faults are planted in: its scales, zero points, weights and Q/DQ, changed in place."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeresnet.quantization import placement
from edgeresnet.quantization.net import Net

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
Rounding = tuple[onnx.NodeProto, onnx.NodeProto]  # Q and DQ


class File:
    """An INT8 file in canonical form. Layers are named as in the FP32 network."""

    def __init__(self, exact: onnx.ModelProto, rounded: onnx.ModelProto):
        self.model = onnx.ModelProto()
        self.model.CopyFrom(rounded)
        self._layers = {placement.label(node): node.name for node in Net(exact).weighted()}

    @property
    def layers(self) -> list[str]:
        """Return the layers with weights, in order."""
        return list(self._layers)

    def node(self, layer: str) -> onnx.NodeProto:
        """Return the layer's operator."""
        return self.maker(self._layers[layer])

    def maker(self, tensor: str) -> onnx.NodeProto:
        """Return what makes a tensor."""
        found: onnx.NodeProto = next(node for node in self.model.graph.node if tensor in node.output)
        return found

    def made_by(self, tensor: str, kind: str) -> bool:
        """Return whether an operator of this kind makes a tensor."""
        return any(tensor in node.output and node.op_type == kind for node in self.model.graph.node)

    def readers(self, tensor: str) -> list[onnx.NodeProto]:
        """Return what reads a tensor."""
        return [node for node in self.model.graph.node if tensor in node.input]

    def rounds(self, layer: str, slot: int = 0) -> Rounding:
        """Return Q and DQ before an input of a layer."""
        dequantize = self.maker(self.node(layer).input[slot])
        assert dequantize.op_type == DEQUANTIZE, layer
        return self.maker(dequantize.input[0]), dequantize

    def rounds_input(self, layer: str) -> bool:
        """Return whether a layer reads an INT8 tensor."""
        return self.made_by(self.node(layer).input[0], DEQUANTIZE)

    def value(self, name: str) -> np.ndarray:
        """Return a constant."""
        return numpy_helper.to_array(self._constant(name))

    def put(self, name: str, value: np.ndarray) -> None:
        """Replace a constant's values, its type and its shape."""
        self._constant(name).CopyFrom(numpy_helper.from_array(value, name))

    def rounds_output(self, layer: str) -> Rounding:
        """Return Q and DQ behind a layer."""
        quantize = next(node for node in self.readers(self.node(layer).output[0]) if node.op_type == QUANTIZE)
        return quantize, self.readers(quantize.output[0])[0]

    def own_scale(self, pair: Rounding) -> None:
        """Give Q and DQ a scale and a zero point of their own: others may share them."""
        for slot in (1, 2):
            name = f"{pair[0].output[0]}.planted.{slot}"
            self.model.graph.initializer.append(numpy_helper.from_array(self.value(pair[0].input[slot]), name))
            for node in pair:
                node.input[slot] = name

    def grid(self, pair: Rounding) -> tuple[float, int, bool]:
        """Return the scale, the zero point and whether integers are unsigned."""
        quantize, _ = pair
        zero = self.value(quantize.input[2])
        return float(self.value(quantize.input[1])), int(zero), zero.dtype == np.uint8

    def set_grid(self, pair: Rounding, scale: float, zero: int, unsigned: bool) -> None:
        """Change the grid of Q and DQ."""
        self.own_scale(pair)
        quantize, _ = pair
        self.put(quantize.input[1], np.array(scale, np.float32))
        self.put(quantize.input[2], np.array(zero, np.uint8 if unsigned else np.int8))

    def dequantized(self, layer: str, slot: int = 1) -> np.ndarray:
        """Return a layer's weights or bias as they are after rounding."""
        dequantize = self.maker(self.node(layer).input[slot])
        integers, scale = self.value(dequantize.input[0]), self.value(dequantize.input[1])
        shape = [-1] + [1] * (integers.ndim - 1) if scale.ndim else []
        return np.asarray(integers * scale.reshape(shape), np.float32)

    def set_weights(self, layer: str, exact: np.ndarray, scale: np.ndarray) -> None:
        """Round a layer's weights, with one scale or one per output channel."""
        dequantize = self.maker(self.node(layer).input[1])
        shape = [-1] + [1] * (exact.ndim - 1) if scale.ndim else []
        integers = np.clip(np.rint(exact / scale.reshape(shape)), -127, 127).astype(np.int8)
        self.put(dequantize.input[0], integers)
        self.put(dequantize.input[1], scale.astype(np.float32))
        zero = dequantize.input[2] if len(dequantize.input) > 2 else ""
        if zero:
            self.put(zero, np.zeros(scale.shape, np.int8))

    def take_out(self, node: onnx.NodeProto, slot: int) -> None:
        """Let an operator read the float values before Q/DQ."""
        dequantize = self.maker(node.input[slot])
        node.input[slot] = self.maker(dequantize.input[0]).input[0]
        self._drop_unread()

    def leave_float(self, layer: str) -> None:
        """Take Q/DQ from a layer's input, weights and bias."""
        node = self.node(layer)
        self.take_out(node, 0)
        for slot in range(1, len(node.input)):
            if self.made_by(node.input[slot], DEQUANTIZE):
                name = f"{layer}.float.{slot}"
                self.model.graph.initializer.append(numpy_helper.from_array(self.dequantized(layer, slot), name))
                node.input[slot] = name
        self._drop_unread()

    def round_before(self, tensor: str, scale: float, unsigned: bool) -> None:
        """Write Q/DQ behind a tensor, before all that reads it."""
        readers, name = self.readers(tensor), f"{tensor}.planted"
        zero = numpy_helper.from_array(np.array(0, np.uint8 if unsigned else np.int8), f"{name}.zero")
        self.model.graph.initializer.extend(
            [numpy_helper.from_array(np.array(scale, np.float32), f"{name}.scale"), zero]
        )
        inputs = [f"{name}.scale", f"{name}.zero"]
        pair = [
            helper.make_node(QUANTIZE, [tensor, *inputs], [f"{name}.q"]),
            helper.make_node(DEQUANTIZE, [f"{name}.q", *inputs], [f"{name}.dq"]),
        ]
        for reader in readers:
            reader.input[list(reader.input).index(tensor)] = f"{name}.dq"
        nodes = list(self.model.graph.node)
        at = nodes.index(self.maker(tensor)) + 1
        del self.model.graph.node[:]
        self.model.graph.node.extend([*nodes[:at], *pair, *nodes[at:]])

    def _constant(self, name: str) -> TensorProto:
        found: TensorProto = next(tensor for tensor in self.model.graph.initializer if tensor.name == name)
        return found

    def _drop_unread(self) -> None:
        outputs = {value.name for value in self.model.graph.output}
        while True:
            read = {name for node in self.model.graph.node for name in node.input} | outputs
            unread = [node for node in self.model.graph.node if not read & set(node.output)]
            if not unread:
                return
            for node in unread:
                self.model.graph.node.remove(node)
