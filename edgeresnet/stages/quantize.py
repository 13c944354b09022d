"""An INT8 network in a dialect, from ranges that were collected once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx

from ..context import Context
from ..graph import about
from ..notes import QuantizeNotes
from ..portable.preprocessing import Preprocessing
from ..portable.session import Dialect
from ..quantization import engine, stored
from ..quantization.calibration import Calibration
from ..quantization.net import unshare
from ..quantization.ranges import Origin, Ranges
from ..store import Artifact, write_bytes
from .specs import QuantizeInputs, QuantizeSpec


def quantize(inputs: QuantizeInputs, spec: QuantizeSpec, out: Path, ctx: Context) -> QuantizeNotes:
    """Write the traced network as INT8 in a dialect."""
    model = stored.network_of(inputs.network)
    origin = stored.origin_of(inputs.network, inputs.calibration.value)
    plain = engine.Source(model, Ranges.load(inputs.ranges.path / stored.RANGES, origin))
    images = Calibration.of(inputs.calibration.value)
    choices = engine.Choices(
        spec.dialect,
        estimator=spec.quantize.estimator,
        effort=spec.quantize.effort,
        exclude=tuple(spec.quantize.exclude),
        minutes=spec.quantize.minutes,
        device=spec.quantize.device,
        seed=spec.seed,
        preprocessing=images.learn.preprocessing,
    )
    equalized = _equalized(inputs.ranges, origin)
    found = engine.quantize(plain, equalized, choices, images.batches, images.held(), ctx.progress)
    description = replace(
        about.of(model),
        dialect=spec.dialect,
        largest_weight=found.placement.weight_grid.high,
        parents={"network": inputs.network.digest, "calibration": inputs.calibration.digest},
    )
    written = found.model()
    about.write(written, description)
    onnx.checker.check_model(written)
    data = written.SerializeToString()
    write_bytes(out / stored.FILE, data)
    return found.notes(spec.dialect, (inputs.network.path / stored.FILE).stat().st_size, len(data))


def _equalized(ranges: Artifact, origin: Origin) -> engine.Source | None:
    """Return the network with channels rescaled, where `calibrate` wrote one."""
    if not (ranges.path / stored.EQUALIZED).is_file():
        return None
    model = onnx.load(ranges.path / stored.EQUALIZED)
    return engine.Source(model, Ranges.load(ranges.path / stored.EQUALIZED_RANGES, origin))


def stand_in(
    model: onnx.ModelProto, dialect: Dialect, exclude: tuple[str, ...], preprocessing: Preprocessing
) -> onnx.ModelProto:
    """Return a traced network as `quantize` would write it, except for the numbers: to be timed, and removed."""
    unshare(model)
    choices = engine.Choices(dialect, exclude=exclude, preprocessing=preprocessing)
    written = engine.stand_in(model, choices)
    about.write(written, about.About(dialect=dialect))
    return written
