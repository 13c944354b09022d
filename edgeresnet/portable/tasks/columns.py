"""Columns of small whole numbers as text for JSON: compressed, and read strictly."""

from __future__ import annotations

import base64
import binascii
import zlib

import numpy as np

_STORED = np.dtype("<u4")
_MOST = 1 << 28  # bytes: no columns of a run are as large, and damaged text cannot fill the memory


def packed(*columns: np.ndarray) -> str:
    """Return columns of the same length as text. Numbers are from 0 to 2³²−1."""
    rows = np.stack([np.asarray(each).astype(_STORED) for each in columns])
    planes = rows.view(np.uint8).reshape(len(columns), -1, _STORED.itemsize).transpose(0, 2, 1)  # alike bytes together
    return base64.b64encode(zlib.compress(planes.tobytes())).decode("ascii")


def unpacked(text: str, columns: int) -> list[np.ndarray]:
    """Return the columns of a text; raise ValueError where it is damaged."""
    try:
        reader = zlib.decompressobj()
        raw = reader.decompress(base64.b64decode(text.encode("ascii"), validate=True), _MOST)
    except (binascii.Error, zlib.error, UnicodeEncodeError) as error:
        raise ValueError(f"is damaged: {error}") from None
    if not reader.eof or reader.unused_data:
        raise ValueError("is damaged: its compressed bytes are not complete, or more follow")
    rows, left = divmod(len(raw), columns * _STORED.itemsize)
    if left:
        raise ValueError(f"is damaged: it does not have {columns} columns of the same length")
    planes = np.frombuffer(raw, np.uint8).reshape(columns, _STORED.itemsize, rows).transpose(0, 2, 1)
    return [each.astype(np.int64) for each in np.ascontiguousarray(planes).view(_STORED).reshape(columns, rows)]
