"""Arrays in a zip, put together by hand: headers that no numpy writes, members that no zip should have."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping

import numpy as np

_PLAIN = "{'descr': '|u1', 'fortran_order': False, 'shape': (10, 8, 8), }"


def plain() -> dict[str, bytes]:
    """Return two files as numpy writes them: mapped, and compressed."""
    pixels = np.random.default_rng(0).integers(0, 256, (10, 8, 8), np.uint8)
    held = {}
    for name, save in (("list.npz", np.savez), ("packed.npz", np.savez_compressed)):
        file = io.BytesIO()
        save(file, images=pixels, labels=np.arange(10))
        held[name] = file.getvalue()
    return held


def _npy(header: str | bytes, data: bytes = bytes(640), version: tuple[int, int] = (1, 0)) -> bytes:
    text = header if isinstance(header, bytes) else header.encode("latin1")
    length = struct.pack("<H" if version == (1, 0) else "<I", min(len(text), 65535))
    return b"\x93NUMPY" + bytes(version) + length + text + data


def _shaped(shape: str, kind: str = "'|u1'", order: str = "False", data: bytes = bytes(640)) -> bytes:
    return _npy(f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}", data)


def _labels(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=True)
    return file.getvalue()


def _zip(
    images: bytes, labels: bytes | None = None, *, packed: bool = False, more: Mapping[str, bytes] | None = None
) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        archive.writestr("images.npy", images)
        archive.writestr("labels.npy", _labels(np.arange(10)) if labels is None else labels)
        for name, data in (more or {}).items():
            archive.writestr(name, data)
    return file.getvalue()


def patched(data: bytes, field: int, value: bytes) -> bytes:
    """Change a field of every local and central header of a zip; `field` is its place in the local one."""
    found = bytearray(data)
    for mark, behind in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
        at = found.find(mark)
        while at >= 0:
            found[at + field + behind : at + field + behind + len(value)] = value
            at = found.find(mark, at + 4)
    return bytes(found)


_SHAPES = (
    "(-1, 8, 8)", "(10, -8, -8)", "(True, 8, 8)", "(10, True, True)", "(9223372036854775808, 8, 8)",
    "(9223372036854775807, 8, 8)", "(1000000000000000000000000000000, 8, 8)",
    "(1000000000000000000000000000000, 0, 8)", "(0, 8, 8)", "(10, 0, 8)", "(10, 8, 0)", "()", "(640,)", "(10, 8.0, 8)",
    "(1e308, 8, 8)", "10", "None", "'abc'", "[10, 8, 8]", "((10,), 8, 8)", "(4294967296, 4294967296, 4)", "(10, 8, 9)",
    "(10, 1, 8, 8)", "(10, 3, 8, 8)", "(10, 8, 8, 5)", "(2, 8, 8, 4)", "(11, 8, 8)", "(9, 8, 8)",
    "(1, 1, 1000000000)", "(" + "1, " * 70 + ")", "(" + "9" * 5000 + ", 8, 8)", "(1000000000, 8, 8)",
)  # fmt: skip
_KINDS = (
    "'O'", "'<U4'", "'>f8'", "'|V100'", "'<m8[s]'", "'|b1'", "'|i1'", "'<u2'", "'>u2'", "'<u4'", "'|S8'", "'|u0'",
    "'<U999999999'", "[('a', '|u1')]", "[('a', '|u1', (3,))]", "''", "None", "'nonsense'", "5", "{}", "'<c16'",
    "'" + "x" * 5000 + "'",
)  # fmt: skip
_HEADERS = {
    "nothing": "",
    "no object": "[]",
    "open": "{'descr': '|u1'",
    "deep": "(" * 9000 + ")" * 9000,
    "deep signs": "-" * 9000 + "1",
    "code": "__import__('os').system('true')",
    "a key more": _PLAIN[:-2] + "'x': 1}",
    "a key less": "{'descr': '|u1', 'shape': (10, 8, 8)}",
    "NUL": "\0" * 100,
    "not ASCII": "\xff" * 100,
    "long": _PLAIN + " " * 60_000,
}


def files() -> dict[str, bytes]:
    """Return files by what is wrong with them."""
    plain = _npy(_PLAIN)
    found = {f"shape {shape[:40]}": _zip(_shaped(shape)) for shape in _SHAPES}
    found |= {f"packed, shape {shape[:40]}": _zip(_shaped(shape), packed=True) for shape in _SHAPES}
    found |= {f"by columns, shape {shape[:40]}": _zip(_shaped(shape, order="True")) for shape in _SHAPES[:4]}
    found |= {f"type {kind[:40]}": _zip(_shaped("(10, 8, 8)", kind)) for kind in _KINDS}
    found |= {f"packed, type {kind[:40]}": _zip(_shaped("(10, 8, 8)", kind), packed=True) for kind in _KINDS}
    found |= {f"labels of type {kind[:40]}": _zip(plain, _shaped("(10,)", kind)) for kind in _KINDS}
    found |= {f"labels of shape {shape[:40]}": _zip(plain, _shaped(shape, "'<i8'")) for shape in _SHAPES}
    found |= {f"header {name}": _zip(_npy(header)) for name, header in _HEADERS.items()}
    found |= {f"version {version}": _zip(_npy(_PLAIN, version=version)) for version in ((2, 0), (3, 0), (9, 9), (0, 0))}
    found |= {f"labels {name}": _zip(plain, _labels(array)) for name, array in _label_arrays().items()}
    return {**found, **_members(plain)}


def _label_arrays() -> dict[str, np.ndarray]:
    return {
        "negative": np.full(10, -5),
        "2^62": np.full(10, 1 << 62),
        "2^64 - 1": np.full(10, (1 << 64) - 1, np.uint64),
        "float": np.zeros(10),
        "NaN": np.full(10, np.nan),
        "objects": np.array([None] * 10, object),
        "words of 5000 digits": np.array(["9" * 5000] * 10),
        "long words": np.array([f"{'w' * 50_000}{at}" for at in range(10)]),
        "NUL and escapes": np.array(["\0", "\x1b[2J", "<b>", "a", "b", "c", "d", "e", "f", "g"]),
        "surrogates": np.array(["\ud800"] * 9 + ["a"]),
        "of two dimensions": np.zeros((10, 2), np.int64),
        "alone": np.array(1),
        "none": np.zeros(0, np.int64),
        "dates": np.zeros(10, "M8[s]"),
    }


def _members(plain: bytes) -> dict[str, bytes]:
    whole = _zip(plain)
    more = {f"m{at}.npy": b"" for at in range(3000)}
    return {
        "encrypted": patched(whole, 6, b"\x01\x00"),
        "strongly encrypted": patched(whole, 6, b"\x41\x00"),
        "of an unknown compression": patched(whole, 8, b"\x63\x00"),
        "said to be packed": patched(whole, 8, b"\x08\x00"),
        "said to be bzip2": patched(whole, 8, b"\x0c\x00"),
        "said to be lzma": patched(whole, 8, b"\x0e\x00"),
        "of another checksum": patched(whole, 14, b"\1\2\3\4"),
        "of a large size": patched(whole, 18, b"\xff\xff\xff\x7f\xff\xff\xff\x7f"),
        "of size zero": patched(whole, 18, bytes(8)),
        "with long names": patched(whole, 26, b"\xff\x00"),
        "with extra fields": patched(whole, 28, b"\xff\x00"),
        "of a version": patched(whole, 4, b"\xff\xff"),
        "empty": _zip(b""),
        "no members": b"PK\x05\x06" + bytes(18),
        "no zip": b"nonsense" * 100,
        "nothing": b"",
        "a pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        "3000 members": _zip(plain, more=more),
        "of no known names": _zip(plain).replace(b"images.npy", b"imaaes.npy"),
        "of long names": _zip(plain, more={"n" * 60_000: b""}).replace(b"images.npy", b"imaaes.npy"),
        "of names that are not UTF-8": patched(_zip(plain).replace(b"images", b"\xff\xfeages"), 6, b"\x00\x08"),
        "twice": _zip(plain)[:-22] + _zip(plain),
        "a bomb": _zip(_shaped("(1000000, 8, 8)", data=bytes(64_000_000)), packed=True),
        "a bomb that says less": _zip(_shaped("(10, 8, 8)", data=bytes(64_000_000)), packed=True),
        "with a comment": _zip(plain)[:-2] + b"\xff\xff",
    }
