"""Our own quantizer behind the peers' protocol: a process that reads one job and answers with seconds and memory.

Imports nothing but what quantizing needs, so that its memory is the quantizer's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from _case import preprocessing
from _peers import serve

from edgeresnet import targets
from edgeresnet.quantize import engine, equalize, ranges, session
from edgeresnet.quantize.calibration import HELD_OUT


def ours(onnx_file: Path, images: np.ndarray, dialect: str, effort: str, residual: str | None, out: Path) -> Path:
    """An ONNX file and calibration images in, a quantized file out, as the stages `calibrate` and `quantize` do it.

    `images` are N×C×S×S normalised float32, mapped from a file; `dialect` is a target's name, `effort` fast, balanced
    or best, `residual` shortcut, both or None for the target's own.
    """
    held_out = np.arange(len(images)) % HELD_OUT == HELD_OUT - 1
    learn, held = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    size = session.batch_for(images.shape[1:])

    def batches(count: int | None = None) -> Iterator[np.ndarray]:
        some = learn[:count]
        for start in range(0, len(some), size):
            yield images[some[start : start + size]]

    model = onnx.load(onnx_file)
    equalizer = equalize.Equalizer(model, images[learn[: equalize.observed(images.shape[1:])]], 0)
    views = ranges.Views(ranges.Ranges({}), ranges.Ranges({}), equalizer.of)
    ranges.collect(model, batches(), views)
    plain = engine.Source(model, views.plain)
    equal = engine.Source(equalizer.applied(model), views.equalized)
    spoken = targets.get(dialect).dialect
    spoken = replace(spoken, residual=residual or spoken.residual)
    choices = engine.Choices(spoken, effort=effort, preprocessing=preprocessing(images.shape[-1]))
    found = engine.quantize(plain, equal, choices, batches, images[held[: engine.EFFORTS[effort].held_out]])
    for step in found.steps:
        print(step, file=sys.stderr)
    onnx.save(found.model, out)
    return out


def _job(job: dict[str, Any]) -> dict[str, Any]:
    about = job["options"]
    images = np.load(job["images"], mmap_mode="r")
    made = ours(Path(job["onnx"]), images, about["dialect"], about["effort"], about.get("residual"), Path(job["out"]))
    return {"out": str(made)}


if __name__ == "__main__":
    serve({"ours": _job})
