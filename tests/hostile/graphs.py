"""Row of ONNX files: protobuf that no exporter writes, and graphs that no runtime should run."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper

from . import binary, protobuf
from .binary import STRANGE
from .case import Case, Row
from .world import World

_LONG = "n" * 100_000
Change = Callable[[ModelProto], None]


def _weights(change: Callable[[TensorProto], object]) -> Change:
    """Change the largest initializer."""
    return lambda model: (change(max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))), None)[1]


def _conv(change: Callable[[NodeProto], object]) -> Change:
    return lambda model: (change(next(node for node in model.graph.node if node.op_type == "Conv")), None)[1]


def _dims(*sides: int) -> Change:
    def change(tensor: TensorProto) -> None:
        tensor.dims[:] = sides

    return _weights(change)


def _input(*sides: int | str, kind: int = TensorProto.FLOAT) -> Change:
    def change(model: ModelProto) -> None:
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info(model.graph.input[0].name, kind, list(sides)))

    return change


def _output(*sides: int | str) -> Change:
    def change(model: ModelProto) -> None:
        name = model.graph.output[0].name
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(sides)))

    return change


def _external(location: str, **more: str) -> Change:
    def change(tensor: TensorProto) -> None:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **more}.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value

    return _weights(change)


def _set(node: NodeProto, **attributes: object) -> None:
    for name, value in attributes.items():
        for old in [old for old in node.attribute if old.name == name]:
            node.attribute.remove(old)
        node.attribute.append(helper.make_attribute(name, value))


def _of_type(kind: int) -> Change:
    return _weights(lambda tensor: setattr(tensor, "data_type", kind))


def _without_strides(node: NodeProto) -> None:
    node.ClearField("attribute")
    _set(node, auto_pad="SAME_UPPER", strides=[0, 0])


def _expanding(levels: int, calls: int = 2, *, circular: bool = False) -> Change:
    """Call a function that calls another `calls` times, and so on: 2^16 nodes from sixteen functions."""

    def change(model: ModelProto) -> None:
        for level in range(levels):
            inner = "F0" if circular and level == levels - 1 else f"F{level + 1}"
            last = level == levels - 1 and not circular
            kinds = [("Identity", "") if last else (inner, "own") for _ in range(calls)]
            nodes = [
                helper.make_node(kind, [f"v{at}"], [f"v{at + 1}"], domain=domain)
                for at, (kind, domain) in enumerate(kinds)
            ]
            opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
            model.functions.append(helper.make_function("own", f"F{level}", ["v0"], [f"v{calls}"], nodes, opsets))
        model.opset_import.append(helper.make_opsetid("own", 1))
        image = model.graph.input[0].name
        for node in model.graph.node:
            node.input[:] = ["expanded" if name == image else name for name in node.input]
        model.graph.node.insert(0, helper.make_node("F0", [image], ["expanded"], domain="own"))

    return change


def _cycle(model: ModelProto) -> None:
    first, last = model.graph.node[0], model.graph.node[-2]
    first.input[0] = last.output[0]


def _itself(model: ModelProto) -> None:
    node = model.graph.node[0]
    node.input[0] = node.output[0]


def _twice(model: ModelProto) -> None:
    model.graph.node.append(model.graph.node[0])


def _backwards(model: ModelProto) -> None:
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _initializers_twice(model: ModelProto) -> None:
    model.graph.initializer.append(model.graph.initializer[0])


def _opset(*versions: int, domain: str = "") -> Change:
    def change(model: ModelProto) -> None:
        del model.opset_import[:]
        model.opset_import.extend(helper.make_opsetid(domain, version) for version in versions)

    return change


def _metadata(key: str, value: str) -> Change:
    def change(model: ModelProto) -> None:
        del model.metadata_props[:]
        model.metadata_props.add(key=key, value=value)

    return change


def _identities(count: int) -> Change:
    def change(model: ModelProto) -> None:
        image, nodes = model.graph.input[0].name, list(model.graph.node)
        for node in nodes:
            node.input[:] = [f"i{count - 1}" if name == image else name for name in node.input]
        names = [image, *(f"i{at}" for at in range(count))]
        chain = [helper.make_node("Identity", [one], [other]) for one, other in itertools.pairwise(names)]
        del model.graph.node[:]
        model.graph.node.extend([*chain, *nodes])

    return change


def _many_inputs(model: ModelProto) -> None:
    model.graph.input.extend(helper.make_tensor_value_info(f"{_LONG}{at}", 1, [1]) for at in range(50))


def _constant_of(size: int) -> Change:
    """Compute a constant of a size that no memory has."""

    def change(model: ModelProto) -> None:
        shape = helper.make_tensor("shape", TensorProto.INT64, [2], [size, size])
        model.graph.initializer.append(shape)
        model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["shape"], ["huge"]))
        model.graph.node.insert(1, helper.make_node("ReduceSum", ["huge"], ["one"], keepdims=0))
        image = model.graph.input[0].name
        first = next(node for node in model.graph.node if image in node.input)
        model.graph.node.insert(2, helper.make_node("Add", [image, "one"], ["more"]))
        first.input[list(first.input).index(image)] = "more"

    return change


def changes() -> dict[str, Change]:
    return {
        **{f"weights of type {kind}": _of_type(kind) for kind in (0, 99, -1, 2, 8, 20, 2**31 - 1)},
        **{
            f"sides {sides}": _dims(*sides)
            for sides in ((), (0,), (-1, 3), (2**62, 2), (2**62,) * 3, (1,) * 1000, (5,))
        },
        **{
            f"input {sides}": _input(*sides)
            for sides in (
                (),
                (1,),
                ("n", 1, 8, 8, 8),
                ("n", 0, 8, 8),
                ("n", -1, 8, 8),
                ("n", 2**62, 8, 8),
                (2**62, 1, 8, 8),
                (0, 1, 8, 8),
                ("n", "c", "h", "w"),
                (_LONG, 1, 8, 8),
                ("n", 1, 2**31, 2**31),
                ("n", 1, 7, 8),
                ("n", 8, 8, 1),
            )
        },
        **{f"input of type {kind}": _input("n", 1, 8, 8, kind=kind) for kind in (0, 2, 8, 10, 99)},
        **{
            f"output {sides}": _output(*sides)
            for sides in ((), ("n", 0), ("n", -5), ("n", 2**62), ("n", 9), ("n", "c"), (1, 2, 3))
        },
        **{
            f"external {where[:30]!r}": _external(where)
            for where in (
                _LONG,
                "../../../../../../etc/passwd",
                "/etc/passwd",
                "",
                ".",
                "..",
                "a\0b",
                "net.onnx",
                "/dev/zero",
                "x/../../y",
                "\x1b[31m",
                "C:\\x",
                "pipe",
                "zero",
            )
        },
        "external, a large offset": _external("weights.bin", offset=str(2**62)),
        "external, a negative offset": _external("weights.bin", offset="-5"),
        "external, an offset of letters": _external("weights.bin", offset="x"),
        "external, a large length": _external("weights.bin", length=str(2**62)),
        "external, a length of 5000 digits": _external("weights.bin", length="9" * 5000),
        "external twice": _external("weights.bin", checksum=_LONG),
        "raw data too short": _weights(lambda t: setattr(t, "raw_data", t.raw_data[:-3])),
        "raw data too long": _weights(lambda t: setattr(t, "raw_data", t.raw_data + b"\0\0")),
        "no raw data": _weights(lambda t: t.ClearField("raw_data")),
        "raw data and floats": _weights(lambda t: t.float_data.extend([1.0, 2.0])),
        "weights of NaN": _weights(lambda t: setattr(t, "raw_data", b"\xff\xff\xff\x7f" * (len(t.raw_data) // 4))),
        "weights without a name": _weights(lambda t: setattr(t, "name", "")),
        "weights of a long name": _weights(lambda t: setattr(t, "name", _LONG)),
        "weights in segments": _weights(lambda t: setattr(t.segment, "begin", 5)),
        "2^4 calls": _expanding(4),
        "2^16 calls": _expanding(16),
        "2^40 calls": _expanding(40),
        "10^9 calls": _expanding(9, 10),
        "a function in itself": _expanding(1, circular=True),
        "functions in a circle": _expanding(5, circular=True),
        "300 functions": _expanding(300, 1),
        "a cycle": _cycle,
        "a node of itself": _itself,
        "a node twice": _twice,
        "backwards": _backwards,
        "weights twice": _initializers_twice,
        "1000 nodes in a row": _identities(1000),
        "60000 nodes in a row": _identities(60_000),
        "no nodes": lambda model: model.graph.ClearField("node"),
        "no inputs": lambda model: model.graph.ClearField("input"),
        "no outputs": lambda model: model.graph.ClearField("output"),
        "no weights": lambda model: model.graph.ClearField("initializer"),
        "no graph": lambda model: model.ClearField("graph"),
        "no name": lambda model: model.graph.ClearField("name"),
        "long inputs": _many_inputs,
        "an input twice": lambda model: model.graph.input.append(model.graph.input[0]),
        "an output twice": lambda model: model.graph.output.append(model.graph.output[0]),
        "an output that is the input": lambda model: model.graph.output[0].CopyFrom(model.graph.input[0]),
        "an unknown output": lambda model: setattr(model.graph.output[0], "name", "nothing"),
        "an input of a sequence": lambda model: model.graph.input[
            0
        ].type.sequence_type.elem_type.tensor_type.SetInParent(),
        "an input of no type": lambda model: model.graph.input[0].ClearField("type"),
        "an input of no shape": lambda model: model.graph.input[0].type.tensor_type.ClearField("shape"),
        "an output of no type": lambda model: model.graph.output[0].ClearField("type"),
        "no opset": _opset(),
        "opset 0": _opset(0),
        "opset -1": _opset(-1),
        "opset 1": _opset(1),
        "opset 8": _opset(8),
        "opset 12": _opset(12),
        "opset 10^9": _opset(10**9),
        "opset 2^63-1": _opset(2**63 - 1),
        "opsets twice": _opset(17, 13),
        "an unknown opset": _opset(17, domain="x"),
        "an IR version of 0": lambda model: setattr(model, "ir_version", 0),
        "an IR version of -1": lambda model: setattr(model, "ir_version", -1),
        "an IR version of 2^62": lambda model: setattr(model, "ir_version", 2**62),
        "an unknown operator": _conv(lambda node: setattr(node, "op_type", "Nonsense")),
        "a long operator": _conv(lambda node: setattr(node, "op_type", _LONG)),
        "a long domain": _conv(lambda node: setattr(node, "domain", _LONG)),
        "an empty operator": _conv(lambda node: setattr(node, "op_type", "")),
        "Loop": _conv(lambda node: setattr(node, "op_type", "Loop")),
        "a Conv without inputs": _conv(lambda node: node.ClearField("input")),
        "a Conv without outputs": _conv(lambda node: node.ClearField("output")),
        "a Conv of empty inputs": _conv(lambda node: node.input.__setitem__(slice(None), ["", ""])),
        "1000 inputs": _conv(lambda node: node.input.extend(["x"] * 1000)),
        "strides of 0": _conv(lambda node: _set(node, strides=[0, 0])),
        "strides of -1": _conv(lambda node: _set(node, strides=[-1, -1])),
        "strides of one side": _conv(lambda node: _set(node, strides=[1])),
        "pads of 2^62": _conv(lambda node: _set(node, pads=[2**62] * 4)),
        "pads of 10^6": _conv(lambda node: _set(node, pads=[10**6] * 4)),
        "negative pads": _conv(lambda node: _set(node, pads=[-100] * 4)),
        "dilations of 0": _conv(lambda node: _set(node, dilations=[0, 0])),
        "groups of 0": _conv(lambda node: _set(node, group=0)),
        "groups of -1": _conv(lambda node: _set(node, group=-1)),
        "groups of 2^62": _conv(lambda node: _set(node, group=2**62)),
        "a kernel of letters": _conv(lambda node: _set(node, kernel_shape="abc")),
        "a kernel of 2^40": _conv(lambda node: _set(node, kernel_shape=[2**40, 2**40])),
        "auto_pad of letters": _conv(lambda node: _set(node, auto_pad=_LONG)),
        "auto_pad and no strides": _conv(_without_strides),
        "an attribute twice": _conv(lambda node: node.attribute.append(helper.make_attribute("group", 2))),
        "an attribute without a type": _conv(lambda node: node.attribute.add(name="x")),
        "an attribute that is a reference": _conv(
            lambda node: node.attribute.add(name="group", ref_attr_name="y", type=2)
        ),
        "a huge constant": _constant_of(2**31),
        "a constant of 256 MB": _constant_of(2**13),
        "metadata that is not JSON": _metadata("edgeresnet.classes", "{" + _LONG),
        "metadata of levels": _metadata("edgeresnet.classes", "[" * 100_000),
        "metadata of 5000 digits": _metadata("edgeresnet.largest_weight", "9" * 5000),
        "metadata of NaN": _metadata("edgeresnet.largest_weight", "NaN"),
        "metadata of another type": _metadata("edgeresnet.dialect", "[1]"),
        "metadata of a preprocessing": _metadata("edgeresnet.preprocessing", '{"size": "x"}'),
        "a long key": _metadata(_LONG, _LONG),
    }


def _written(data: bytes, how: str) -> Callable[[Path], Sequence[str]]:
    def write(folder: Path) -> Sequence[str]:
        (folder / "net.onnx").write_bytes(data)
        (folder / "weights.bin").write_bytes(bytes(64))
        binary.fifo(folder / "pipe")
        binary.device(folder / "zero")
        return _read(folder, how)

    return write


def _read(folder: Path, how: str) -> Sequence[str]:
    """Read `net.onnx`. `run` adopts it, too: it writes the network in its own form, and stops there or compares."""
    if how == "inspect":
        return "inspect", "net.onnx"
    about = {"checkpoint": "net.onnx", "classes": 10}
    images = {"training": None, "evaluation": {"from": "digits", "count": 20}}
    name = binary.recipe(folder, images, model=about, train=None, targets={})
    return how, name, "--store", "store", *(("--quiet",) if how == "run" else ())


def _strange(make: Callable[[Path], None], how: str) -> Callable[[Path], Sequence[str]]:
    def write(folder: Path) -> Sequence[str]:
        make(folder / "net.onnx")
        return _read(folder, how)

    return write


def _cases(world: World, chance: random.Random) -> Iterator[Case]:
    plain = (world.folder / "net.onnx").read_bytes()
    for title, change in changes().items():
        model = onnx.load_from_string(plain)
        change(model)
        data = model.SerializeToString()
        for how in ("inspect", "run"):
            yield Case(f"{how}, {title}", _written(data, how))
    for title, data in protobuf.files(plain).items():
        for how in ("inspect", "plan", "run"):
            yield Case(f"{how}, {title}", _written(data, how))
    hows = itertools.cycle(("inspect", "check", "inspect", "run"))
    for title, make in STRANGE.items():
        yield Case(title, _strange(make, next(hows)))
    small, quantized = onnx.load_from_string(plain), (world.artifact("quantize") / "model.onnx").read_bytes()
    files = {"net.onnx": plain, "without weights": _small(small), "int8.onnx": quantized}
    for name, write in binary.endless(files, chance, lambda _, data: _written(data, next(hows))):
        yield Case(name, write)


def _small(model: ModelProto) -> bytes:
    """Return a network whose bytes are mostly its graph: what is damaged there is not one weight of many."""
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
        tensor.float_data.extend([0.0] * 2)
    return bytes(model.SerializeToString())


ROWS = (
    Row(
        "ONNX",
        _cases,
        (
            "edgeresnet.cli.inspect",
            "edgeresnet.cli.check",
            "edgeresnet.inspect",
            "edgeresnet.stages.trace",
            "onnxruntime",
        ),
    ),
)
