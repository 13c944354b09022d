"""Keras' files, recognised so that they are refused with the way that works: Keras writes ONNX itself."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ..errors import ModelError
from ..portable.documents import shown

ENDINGS = (".h5", ".hdf5", ".keras")
_HDF5 = b"\x89HDF\r\n\x1a\n"
_WEIGHTS = "model.weights.h5"  # in an archive
_HINT = (
    "edgeresnet reads ONNX: in Keras 3, `model.export('net.onnx', format='onnx')`; in tf.keras, "
    "`python -m tf2onnx.convert --keras model.h5 --output net.onnx`; load weights alone into their model first"
)


def check_start(path: Path, start: bytes) -> None:
    """Refuse an HDF5 file, by the bytes that it begins with."""
    if start.startswith(_HDF5):
        raise ModelError(shown(path), "is an HDF5 file, as Keras saves networks, not PyTorch weights", hint=_HINT)


def check_archive(path: Path, members: Collection[str]) -> None:
    """Refuse an archive of Keras, by the names of what it holds."""
    if _WEIGHTS in members:
        raise ModelError(shown(path), "is an archive of Keras, not PyTorch weights", hint=_HINT)
