"""A network's file as a target wants to find it: half precision in the graph, preprocessing in front.

Knows no target: what is wanted is said in words of files. Each step lives in its own module.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx

from ..portable import onnx_file
from ..portable.preprocessing import Preprocessing
from .half import half
from .raw_input import with_raw_input


def delivered(network: Path, out: Path, *, halved: bool, pixels: Preprocessing | None) -> Path:
    """The file itself where nothing is to be changed, else what is written to `out`.

    `pixels` is the preprocessing that moves in: the network then takes uint8 images, channels last.
    """
    if not halved and pixels is None:
        return network
    model = onnx.load(network)
    if halved:
        model = half(model)
    if pixels is not None:
        model = with_raw_input(model, pixels)
    out.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, out)
    return out


def copied(network: Path, out: Path) -> None:
    """As one file, with the weights inside that lie beside it."""
    if onnx_file.read(network).external:
        onnx.save(onnx.load(network), out)
    else:
        shutil.copyfile(network, out)
