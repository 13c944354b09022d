"""ONNX files that protobuf's own library does not write, put together byte by byte."""

from __future__ import annotations

import onnx
from onnx import AttributeProto, ModelProto


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def files(plain: bytes) -> dict[str, bytes]:
    """Return what protobuf's own library does not write."""
    model = onnx.load_from_string(plain)
    name = model.graph.node[0].output[0].encode()
    graph = model.graph.SerializeToString()
    rest = ModelProto()
    rest.CopyFrom(model)
    rest.ClearField("graph")
    head = rest.SerializeToString()
    return {
        "nothing": b"",
        "a byte": b"\x08",
        "names that are not UTF-8": plain.replace(name, b"\xff" + name[1:]),
        "an operator that is not UTF-8": plain.replace(b"Conv", b"Co\xff\xfe"),
        "an input that is not UTF-8": plain.replace(b"\x0a\x05image", b"\x0a\x05\xff\xfeage"),
        "a metadata key that is not UTF-8": plain + _field(14, _field(1, b"\xff\xfe") + _field(2, b"\xff")),
        "two graphs": plain + _field(7, graph),
        "a graph that is a number": head + b"\x38\x05",
        "a graph of zero bytes": head + _field(7, b""),
        "a length of 2^63": head + _varint(7 << 3 | 2) + _varint(2**63) + b"x",
        "a length of 2^70": head + b"\x3a" + b"\xff" * 10 + b"\x01",
        "a field of number 0": plain + b"\x02\x00",
        "a field of number 2^61": plain + _varint(2**61 << 3) + b"\x01",
        "groups": plain + b"\x0b\x0c",
        "deep groups": plain + b"\x0b" * 10_000,
        "an unknown field": plain + _field(1000, b"x" * 100_000),
        "HTML": b"<!DOCTYPE html><html>" * 100,
        "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "a pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        "zeros": bytes(100_000),
        "ones": b"\xff" * 100_000,
        "fields without end": b"\x08\x01" * 500_000,
        "nodes without end": head + _field(7, _field(1, b"") * 300_000),
        "a packed shape": head + _field(7, _field(5, b"\x0a\x02\x01\x01" + _field(8, b"a")) + graph),
        **{f"{levels} Ifs": head + _field(7, graph + _field(1, _ifs(levels))) for levels in (5, 90, 1000, 3000)},
        "sequences in sequences": head + _field(7, graph + _field(11, _field(1, b"s") + _field(2, _sequences(2000)))),
    }


def _ifs(levels: int) -> bytes:
    """Return a node: an If in an If, put together from the inside."""
    node = _field(1, b"c") + _field(2, b"o") + _field(4, b"Identity")
    for _ in range(levels):
        graph = _field(1, node) + _field(2, b"g")
        attribute = _field(1, b"then_branch") + _varint(20 << 3) + _varint(AttributeProto.GRAPH) + _field(6, graph)
        node = _field(1, b"c") + _field(2, b"o") + _field(4, b"If") + _field(5, attribute)
    return node


def _sequences(levels: int) -> bytes:
    """Return a type: a sequence of sequences."""
    kind = _field(1, b"\x08\x01")
    for _ in range(levels):
        kind = _field(4, _field(1, kind))
    return kind
