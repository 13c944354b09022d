"""A network's file as a target needs it: half precision in the graph, preprocessing in front, one output.

Knows no target: the caller says which changes it needs. Each change lives in its own module.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx

from ..portable import onnx_file
from ..portable.preprocessing import Preprocessing
from ..portable.tasks.detector import Detector
from ..portable.tasks.two_stage import AnyDetector
from . import one_output
from .half import half
from .raw_input import with_raw_input


def delivered(
    network: Path, out: Path, *, halved: bool, pixels: Preprocessing | None, detector: AnyDetector | None = None
) -> Path:
    """Return the file itself where nothing changes, else the file written to `out`.

    `pixels` is the preprocessing to put inside: the network then takes uint8 images, channels last. `detector` is that
    of somebody's network whose outputs may have to be joined.
    """
    joined = one_output.joined(network, detector) if isinstance(detector, Detector) else None
    if not halved and pixels is None and joined is None:
        return network
    model = joined or onnx.load(network)
    if halved:
        model = half(model)
    if pixels is not None:
        model = with_raw_input(model, pixels)
    out.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, out)
    return out


def copied(network: Path, out: Path) -> None:
    """Copy a network as one file, with external weights inside."""
    if onnx_file.read(network).external:
        onnx.save(onnx.load(network), out)
    else:
        shutil.copyfile(network, out)
