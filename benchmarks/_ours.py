"""Our own quantizer behind the peers' protocol: a process that reads one job and answers with seconds and memory.

Imports nothing but what quantizing needs, so that its memory is the quantizer's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from _case import preprocessing_of
from _peers import serve

from edgeresnet import targets
from edgeresnet.quantization import calibration, engine, equalize, ranges, sensitivity, session
from edgeresnet.quantization.net import unshare
from edgeresnet.report.summary import quantizing_sentences


def ours(onnx_file: Path, images: Path, dialect: str, effort: str, residual: str | None, out: Path) -> list[str]:
    """Quantize an ONNX file with calibration images as `calibrate` and `quantize` do; return each step's gain.

    `images` holds N×C×S×S normalised float32; `dialect` is a target's name, `effort` fast, balanced or best, `residual`
    shortcut, both or None for the target's own.
    """
    count, *shape = np.load(images, mmap_mode="r").shape
    held_out = calibration.held_out(count, shape)
    learn, held = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    size = session.batch_for(shape)

    def some(which: np.ndarray) -> np.ndarray:
        return np.load(images, mmap_mode="r")[which]  # mapped no longer than that: its pages would count as ours

    def batches(count: int | None = None) -> Iterator[np.ndarray]:
        wanted = learn[:count]
        for start in range(0, len(wanted), size):
            yield some(wanted[start : start + size])

    model = onnx.load(onnx_file)
    unshare(model)
    equalizer = equalize.Equalizer(model, some(learn[: sensitivity.observed(tuple(shape))]), 0)
    views = ranges.Views(ranges.Ranges(), ranges.Ranges(), equalizer.of)
    ranges.collect(model, batches(), views)
    plain = engine.Source(model, views.plain)
    assert views.equalized is not None
    equal = engine.Source(equalizer.applied(model), views.equalized)
    own = targets.get(dialect).speaks(targets.get(dialect).options())  # as a recipe without options has it here
    choices = engine.Choices(
        replace(own, residual=residual or own.residual),
        effort=effort,
        preprocessing=preprocessing_of(onnx_file, shape[-1]),
    )
    found = engine.quantize(plain, equal, choices, batches, some(held))
    onnx.save(found.model(), out)
    return quantizing_sentences(found.steps)


def _job(job: dict[str, Any]) -> dict[str, Any]:
    about = job["options"]
    images, out = Path(job["images"]), Path(job["out"])
    steps = ours(Path(job["onnx"]), images, about["dialect"], about["effort"], about.get("residual"), out)
    return {"steps": steps}


if __name__ == "__main__":
    serve({"ours": _job})
