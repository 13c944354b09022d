"""An INT8 network in a dialect, from ranges that were collected once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import onnx

from ..context import Context
from ..graph import about
from ..portable.preprocessing import Preprocessing
from ..portable.session import Dialect
from ..quantization import engine, stored
from ..quantization.calibration import Calibration
from ..quantization.net import unshare
from ..quantization.ranges import Ranges
from ..store import Artifact, Parent, write_bytes


def quantize(parents: Mapping[str, Parent], spec: Mapping[str, Any], out: Path, ctx: Context) -> dict[str, Any]:
    """Parents: the traced `network`, its `ranges` and the `calibration` images. spec: the dialect, and the choices."""
    model, of_what = stored.network_of(parents["network"]), stored.identity_of(parents)
    calibrated = parents["ranges"]
    assert isinstance(calibrated, Artifact)
    plain = engine.Source(model, Ranges.load(calibrated.path / stored.RANGES, of_what))
    equalized = None
    if (calibrated.path / stored.EQUALIZED).is_file():
        ranges = Ranges.load(calibrated.path / stored.EQUALIZED_RANGES, of_what)
        equalized = engine.Source(onnx.load(calibrated.path / stored.EQUALIZED), ranges)
    images = Calibration.of(stored.samples_of(parents))
    chosen = {key: spec[key] for key in ("estimator", "effort", "minutes", "seed")}
    dialect, preprocessing = Dialect(**spec["dialect"]), images.learn.preprocessing
    choices = engine.Choices(dialect, exclude=tuple(spec["exclude"]), preprocessing=preprocessing, **chosen)
    held_out = images.held()
    found = engine.quantize(plain, equalized, choices, images.batches, held_out, ctx.progress)
    said = replace(
        about.of(model),
        dialect=spec["dialect"],
        largest_weight=found.placement.weight_grid.high,
        parents={name: parents[name].digest for name in ("network", "calibration")},
    )
    written = found.model()
    about.write(written, said)
    onnx.checker.check_model(written)
    data = written.SerializeToString()
    write_bytes(out / stored.FILE, data)
    before = parents["network"]
    assert isinstance(before, Artifact)
    sizes = {"bytes_before": (before.path / stored.FILE).stat().st_size, "bytes_after": len(data)}
    return {**found.notes(), **sizes, "dialect": dict(spec["dialect"])}


def stand_in(
    model: onnx.ModelProto, dialect: Dialect, exclude: tuple[str, ...], preprocessing: Preprocessing
) -> onnx.ModelProto:
    """A traced network as `quantize` would write it, but for the numbers: to be timed, and thrown away."""
    unshare(model)
    choices = engine.Choices(dialect, exclude=exclude, preprocessing=preprocessing)
    written = engine.stand_in(model, choices)
    about.write(written, about.About(dialect=asdict(dialect)))
    return written
