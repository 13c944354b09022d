"""Small canonical networks of every residual kind, images for them, and the short way from one to INT8."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeresnet import targets
from edgeresnet.graph import about
from edgeresnet.images import Samples
from edgeresnet.images.sources import Arrays
from edgeresnet.notes import QuantizeNotes, TraceNotes
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.portable.session import Dialect
from edgeresnet.quantization import engine, qdq, reads
from edgeresnet.quantization.equalize import Equalizer
from edgeresnet.quantization.placement import Placement
from edgeresnet.quantization.ranges import Ranges, Views
from edgeresnet.quantization.ranges import collect as collect_views
from edgeresnet.quantization.refine import bias_correction
from edgeresnet.store import Artifact, ManifestRecord

SIZE, CLASSES = 8, 16
TENSORRT = targets.get("tensorrt").dialect
CPU = Dialect(activations="u8-after-relu", residual="shortcut", channel_multiple=16)
BOTH, HALF = replace(CPU, residual="both"), replace(CPU, weights="half")
DIALECTS = {"tensorrt": TENSORRT, "shortcut": CPU, "both": BOTH, "half": HALF}
Make = Callable[[], onnx.ModelProto]


class Maker:
    """Nodes in the making; each method gives the name of what it wrote. Weights are random, as if trained."""

    def __init__(self, seed: int = 0) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.held: dict[str, np.ndarray] = {}
        self.channels = {"image": 3}
        self._rng = np.random.default_rng(seed)

    def add(self, kind: str, inputs: Sequence[str], out: str, channels: int | None = None, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [out], name=out, **attributes))
        self.channels[out] = channels or self.channels[inputs[0]]
        return out

    def hold(self, name: str, value: Any, kind: Any = np.int64) -> str:
        self.held[name] = np.asarray(value, kind)
        return name

    def conv(
        self, x: str, name: str, outputs: int, side: int = 3, stride: int = 1, group: int = 1, apart: int = 1
    ) -> str:
        inputs = self.channels[x] // group
        spread = np.sqrt(2 / (inputs * side * side))
        weights = self._rng.normal(size=(outputs, inputs, side, side)) * spread
        self.hold(f"{name}.weight", weights * self._rng.uniform(0.5, 2, (outputs, 1, 1, 1)), np.float32)
        self.hold(f"{name}.bias", self._rng.normal(size=outputs) / 4, np.float32)
        about: dict[str, Any] = {"pads": [apart * (side // 2)] * 4, "strides": [stride] * 2, "dilations": [apart] * 2}
        about |= {"group": group, "kernel_shape": [side] * 2}
        return self.add("Conv", [x, f"{name}.weight", f"{name}.bias"], f"{name}_out", outputs, **about)

    def again(self, x: str, name: str, out: str) -> str:
        """Convolve with the weights that another layer has."""
        first = next(node for node in self.nodes if node.name == f"{name}_out")
        self.nodes.append(helper.make_node("Conv", [x, *first.input[1:]], [out], name=out))
        self.nodes[-1].attribute.extend(first.attribute)
        self.channels[out] = self.channels[first.output[0]]
        return out

    def anchors(self, x: str, columns: int, side: int) -> str:
        """Give each anchor of each cell a row, as torchvision's heads do."""
        each = self.channels[x] // columns
        apart = self.add("Reshape", [x, self.hold(f"{x}.apart", [0, each, columns, side, side])], f"{x}_apart")
        moved = self.add("Transpose", [apart], f"{x}_moved", perm=[0, 3, 4, 1, 2])
        return self.add("Reshape", [moved, self.hold(f"{x}.rows", [0, -1, columns])], f"{x}_rows")

    def relu(self, x: str) -> str:
        return self.add("Relu", [x], f"{x}_relu")

    def plus(self, x: str, shortcut: str, name: str) -> str:
        return self.add("Add", [x, shortcut], name)

    def pool(self, x: str) -> str:
        return self.add("MaxPool", [x], f"{x}_max", kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2])

    def resize(self, x: str, name: str, factor: float = 2, mode: str = "linear") -> str:
        scales = self.hold(f"{name}.scales", [1, 1, factor, factor], np.float32)
        where = "half_pixel" if mode == "linear" else "asymmetric"
        about: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": where, "nearest_mode": "floor"}
        return self.add("Resize", [x, "", scales], name, **about)

    def cat(self, name: str, *parts: str) -> str:
        return self.add("Concat", parts, name, sum(self.channels[part] for part in parts), axis=1)

    def option_a(self, x: str, name: str) -> str:
        """Every second pixel, and as many channels of zeros again."""
        ends = [np.iinfo(np.int64).max] * 2
        parts = [("from", [0, 0]), ("to", ends), ("axes", [2, 3]), ("steps", [2, 2])]
        cut = self.add("Slice", [x, *(self.hold(f"{name}.{part}", value) for part, value in parts)], f"{name}_cut")
        half = self.channels[x] // 2
        pads = self.hold(f"{name}.pads", [0, half, 0, 0, 0, half, 0, 0])
        return self.add("Pad", [cut, pads], name, 4 * half, mode="constant")

    def head(self, x: str, classes: int = CLASSES) -> onnx.ModelProto:
        pooled = self.add("GlobalAveragePool", [x], "pooled")
        flat = self.add("Flatten", [pooled], "flat")
        return self.gemm(flat, classes)

    def gemm(self, flat: str, classes: int) -> onnx.ModelProto:
        self.hold("fc.weight", self._rng.normal(size=(classes, self.channels[flat])) / 4, np.float32)
        self.hold("fc.bias", self._rng.normal(size=classes), np.float32)
        self.add("Gemm", [flat, "fc.weight", "fc.bias"], "logits", classes, transB=1)
        return self.model(classes)

    def pixels(self, x: str, classes: int = 5, factor: int = 2) -> onnx.ModelProto:
        """End in logits of each pixel."""
        self.resize(self.conv(x, "last", classes, side=1), "logits", factor)
        return self.model(classes, SIZE, SIZE)

    def model(self, *answer: int) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "small",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", *answer])],
            [numpy_helper.from_array(value, name) for name, value in self.held.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def plain(classes: int = CLASSES) -> onnx.ModelProto:
    net = Maker()
    x = net.relu(net.conv("image", "c1", 8))
    return net.head(net.relu(net.conv(x, "c2", 8)), classes)


def basic(shortcut: str = "A", seed: int = 0, classes: int = CLASSES) -> onnx.ModelProto:
    """A block that keeps its sides, and one that halves them: option A pads the shortcut, B convolves it."""
    net = Maker(seed)
    x = net.relu(net.conv("image", "stem", 8))
    y = net.conv(net.relu(net.conv(x, "b1.conv1", 8)), "b1.conv2", 8)
    x = net.relu(net.plus(y, x, "b1"))
    y = net.conv(net.relu(net.conv(x, "b2.conv1", 16, stride=2)), "b2.conv2", 16)
    other = net.option_a(x, "b2_pad") if shortcut == "A" else net.conv(x, "b2.short", 16, side=1, stride=2)
    return net.head(net.relu(net.plus(y, other, "b2")), classes)


def bottleneck(groups: int = 1) -> onnx.ModelProto:
    """With a stem that pools, as torchvision's."""
    net = Maker()
    x = net.pool(net.relu(net.conv("image", "stem", 8)))
    y = net.relu(net.conv(x, "b1.conv1", 8, side=1))
    y = net.relu(net.conv(y, "b1.conv2", 8, group=groups))
    y = net.conv(y, "b1.conv3", 16, side=1)
    x = net.relu(net.plus(y, net.conv(x, "b1.short", 16, side=1), "b1"))
    y = net.relu(net.conv(x, "b2.conv1", 8, side=1))
    y = net.relu(net.conv(y, "b2.conv2", 8, group=groups))
    return net.head(net.relu(net.plus(net.conv(y, "b2.conv3", 16, side=1), x, "b2")))


def preact() -> onnx.ModelProto:
    """ReLU stands before each convolution, and the residual stream is never rectified."""
    net = Maker()
    x = net.conv("image", "stem", 8)
    for block in ("b1", "b2"):
        y = net.conv(net.relu(x), f"{block}.conv1", 8)
        x = net.plus(net.conv(net.relu(y), f"{block}.conv2", 8), x, block)
    return net.head(net.relu(x))


def squeezed(*, projected: bool = False) -> onnx.ModelProto:
    """Squeeze-and-excitation: a sigmoid weighs the channels of the branch."""
    net = Maker()
    x = net.relu(net.conv("image", "stem", 8))
    y = net.conv(x, "b1.conv1", 8)
    s = net.add("GlobalAveragePool", [y], "squeeze")
    s = net.conv(net.relu(net.conv(s, "se.down", 4, side=1)), "se.up", 8, side=1)
    y = net.add("Mul", [y, net.add("Sigmoid", [s], "gate")], "weighed")
    x = net.relu(net.plus(y, net.conv(x, "b1.short", 8, side=1) if projected else x, "b1"))
    return net.head(net.relu(net.conv(x, "last", 8)))


def smooth() -> onnx.ModelProto:
    """SiLU instead of ReLU: values are above zero, but for a little. With max pooling and added channels of zeros."""
    net = Maker()

    def silu(x: str) -> str:
        return net.add("Mul", [x, net.add("Sigmoid", [x], f"{x}_share")], f"{x}_silu")

    x = net.pool(silu(net.conv("image", "stem", 8)))
    x = silu(net.plus(net.conv(x, "b0.conv", 8), x, "b0"))
    y = net.conv(silu(net.conv(x, "b1.conv1", 16, stride=2)), "b1.conv2", 16)
    x = silu(net.plus(y, net.option_a(x, "b1_pad"), "b1"))
    return net.head(silu(net.conv(x, "last", 16)))


def pyramid(mode: str = "linear") -> onnx.ModelProto:
    """DeepLab's head: dilated branches and the mean of the image, joined."""
    net = Maker()
    x = net.relu(net.conv("image", "stem", 8, stride=2))
    x = net.relu(net.plus(net.conv(net.relu(net.conv(x, "b1.conv1", 8)), "b1.conv2", 8, apart=2), x, "b1"))
    branches = [net.conv(x, "near", 8, side=1), net.conv(x, "far", 8, apart=2), net.conv(x, "farther", 8, apart=3)]
    pooled = net.add("GlobalAveragePool", [x], "mean")
    everywhere = net.resize(net.relu(net.conv(pooled, "pooling", 8, side=1)), "everywhere", 4, mode)
    joined = net.cat("joined", *map(net.relu, branches), everywhere)
    return net.pixels(net.relu(net.conv(joined, "project", 8, side=1)))


def hourglass(mode: str = "linear") -> onnx.ModelProto:
    """U-Net's: a map is joined with what was made of it at half its size."""
    net = Maker()
    x = net.relu(net.conv("image", "down1", 8))
    y = net.relu(net.conv(net.pool(x), "down2", 8))
    z = net.relu(net.conv(net.pool(y), "bottom", 8))
    y = net.relu(net.conv(net.cat("join2", y, net.resize(z, "up2", mode=mode)), "left2", 8))
    x = net.relu(net.conv(net.cat("join1", x, net.resize(y, "up1", mode=mode)), "left1", 8))
    return net.pixels(x, factor=1)


def retina(classes: int = 3) -> onnx.ModelProto:
    """RetinaNet: a pyramid of three levels, and two heads that run on each of them with the same weights."""
    net = Maker()
    fine = net.relu(net.conv("image", "fine", 8))
    coarse = net.relu(net.conv(fine, "coarse", 16, stride=2))
    top = net.conv(coarse, "inner.1", 8, side=1)
    added = net.plus(net.conv(fine, "inner.0", 8, side=1), net.resize(top, "up", mode="nearest"), "added")
    levels = [net.conv(added, "level.0", 8), net.conv(top, "level.1", 8)]
    levels.append(net.conv(levels[1], "level.2", 8, stride=2))
    parts = []
    for head, columns in (("logits", classes), ("offsets", 4)):
        of_levels = []
        for number, x in enumerate(levels):
            for layer, outputs in ((f"{head}.conv", 8), (f"{head}.last", 2 * columns)):
                x = net.again(x, layer, f"{layer}_{number}") if number else net.conv(x, layer, outputs)
                x = net.relu(x) if layer.endswith("conv") else x
            of_levels.append(net.anchors(x, columns, SIZE >> number))
        parts.append(net.add("Concat", of_levels, f"{head}_all", axis=1))
    net.add("Concat", parts, "logits", axis=2)
    return net.model(2 * sum((SIZE >> number) ** 2 for number in range(3)), classes + 4)


def cells() -> onnx.ModelProto:
    """The first stage of a Faster R-CNN: a row for each cell of a level, with features, logits and offsets."""
    net = Maker()
    features = net.relu(net.conv(net.relu(net.conv("image", "c1", 8)), "c2", 8))
    shared = net.relu(net.conv(features, "rpn.conv", 8))
    parts = features, net.conv(shared, "rpn.logits", 3), net.conv(shared, "rpn.offsets", 12)
    rows = net.anchors(net.cat("parts", *parts), 8 + 15, SIZE)
    net.add("Identity", [rows], "logits")
    model = net.model(SIZE**2, 8 + 15)
    about.write(model, about.About(answers=about.CELLS))
    return model


DENSE = {
    "pyramid": pyramid,
    "hourglass": hourglass,
    "nearest": lambda: hourglass("nearest"),
}
RESIDUAL = {
    "option A": lambda: basic("A"),
    "option B": lambda: basic("B"),
    "bottleneck": bottleneck,
    "grouped": lambda: bottleneck(2),
    "preact": preact,
}
networks = pytest.mark.parametrize("make", RESIDUAL.values(), ids=RESIDUAL.keys())


def images(count: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, SIZE, SIZE)).astype(np.float32)


def samples(
    count: int = 40, *, seed: int = 0, order: Sequence[int] | None = None, size: int = SIZE, **about: Any
) -> Samples:
    """Return noise, in ten classes, without a store."""
    channels = len(about.get("mean", (0.5,) * 3))
    shape = (count, size, size, 3) if channels == 3 else (count, size, size)
    pixels = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    source = Arrays("noise", pixels, np.arange(count) % 10, [str(i) for i in range(10)])
    how = Preprocessing(**{"size": size, "mean": (0.5,) * 3, "std": (0.3,) * 3, **about})
    found = Samples.of(source, how, "fail", None)
    return found if order is None else found.subset(order)


def artifact(folder: Path) -> Artifact:
    """Return a traced network's folder as the artifact that `trace` would leave."""
    notes = TraceNotes(parity=0.0, parity_images=1, opset=18, operators={}, parameters=0)
    stored = ManifestRecord(
        format=1, key="n", stage="trace", stage_version=1, spec={}, parents={}, libraries={}, machine=None, notes=notes,
        seconds=0.0, warnings=(), digest="n", files=(),
    )  # fmt: skip
    return Artifact(folder, stored)


def collect(model: onnx.ModelProto, batches: Any, ranges: Ranges, **more: Any) -> Ranges:
    """Collect the ranges of the network as it is."""
    return collect_views(model, batches, Views(ranges), **more).plain


def equalize(model: onnx.ModelProto, given: np.ndarray, seed: int) -> onnx.ModelProto | None:
    found = Equalizer(model, given, seed)
    return found.applied(model) if found.changes else None


def source(model: onnx.ModelProto, learn: np.ndarray | None = None) -> engine.Source:
    learn = images() if learn is None else learn
    return engine.Source(model, collect(model, [learn], Ranges()))


def batches(given: np.ndarray) -> Callable[..., Iterator[np.ndarray]]:
    return lambda count=None: iter([given[:count]])


def int8(
    model: onnx.ModelProto,
    dialect: Dialect,
    held: int = 16,
    progress: engine.Progress = lambda done, total, word: None,
    **choices: Any,
) -> engine.Quantized:
    wanted = engine.Choices(dialect, **choices)
    return engine.quantize(source(model), None, wanted, batches(images()), images(held, seed=9), progress)


def notes_of(found: engine.Quantized, dialect: Dialect = TENSORRT) -> QuantizeNotes:
    """Return what the stage would report, of files of 9 and of 4 bytes."""
    return found.notes(dialect, 9, 4)


def scaled(model: onnx.ModelProto, dialect: Dialect) -> tuple[Placement, qdq.Values]:
    """Place and scale, without refining."""
    found = engine.scaled(source(model), engine.Choices(dialect))
    return found.placement, found.values


def read(model: onnx.ModelProto, placement: Placement, values: qdq.Values, *batches: np.ndarray) -> reads.Reads:
    """Return what all layers read of the images."""
    return reads.observe(model, [reads.Form(placement, values, {}, moments=True)], batches, few=1000)[0]


def corrected(model: onnx.ModelProto, placement: Placement, values: qdq.Values, *batches: np.ndarray) -> qdq.Values:
    """Return the values with biases that were corrected on these images."""
    return bias_correction(model, placement, values, read(model, placement, values, *batches))


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def makers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {name: node for node in model.graph.node for name in node.output}


def changed(model: onnx.ModelProto, name: str, value: np.ndarray) -> onnx.ModelProto:
    found = copy.deepcopy(model)
    for tensor in found.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float32), name))
    return found


def shown(model: onnx.ModelProto, tensor: str) -> onnx.ModelProto:
    """Return the network with this tensor as its answer."""
    found = copy.deepcopy(model)
    del found.graph.output[:]
    found.graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
    return found


def uneven(model: onnx.ModelProto, layer: str, reader: str, channel: int = 3, factor: float = 50.0) -> onnx.ModelProto:
    """The same function with one channel many times as large, which the layer behind takes back."""
    held = constants(model)
    weights, bias, behind = (held[n].copy() for n in (f"{layer}.weight", f"{layer}.bias", f"{reader}.weight"))
    weights[channel] *= factor
    bias[channel] *= factor
    behind[:, channel] /= factor
    for name, value in ((f"{layer}.weight", weights), (f"{layer}.bias", bias), (f"{reader}.weight", behind)):
        model = changed(model, name, value)
    return model
