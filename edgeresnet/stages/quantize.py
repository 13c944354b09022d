"""An INT8 network in a dialect, from ranges that were collected once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from .. import targets
from ..context import Context
from ..graph import about
from ..notes import PlacementNotes, QuantizeNotes
from ..portable import codec, machine, manifest
from ..portable.preprocessing import Preprocessing
from ..portable.session import Dialect
from ..portable.times import Ratio
from ..quantization import engine, stored
from ..quantization.calibration import Calibration
from ..quantization.net import unshare
from ..quantization.ranges import Origin, Ranges
from ..store import Artifact, write_bytes
from .int8 import Control, QuantizeInputs, QuantizeSpec
from .specs import TimedSearch
from .table import STAGES

if TYPE_CHECKING:
    from ..tune.int8 import Controlled

_WORSE_DB = 1.0  # a placement that costs more is not taken for its speed


def quantize(inputs: QuantizeInputs, spec: QuantizeSpec, out: Path, ctx: Context) -> QuantizeNotes:
    """Write the traced network as INT8 in a dialect."""
    origin = stored.origin_of(inputs.network, inputs.calibration.value)
    images = Calibration.of(inputs.calibration.value)
    choices = engine.Choices(
        spec.dialect,
        estimator=spec.quantize.estimator,
        effort=spec.quantize.effort,
        exclude=spec.quantize.patterns,
        minutes=spec.quantize.minutes,
        device=spec.quantize.device,
        seed=spec.seed,
        preprocessing=images.learn.preprocessing,
    )

    def quantized(chosen: engine.Choices) -> engine.Quantized:
        plain = engine.Source(
            stored.network_of(inputs.network), Ranges.load(inputs.ranges.path / stored.RANGES, origin)
        )
        equalized = _equalized(inputs.ranges, origin)
        return engine.quantize(plain, equalized, chosen, images.batches, images.held(), ctx.progress)

    control = placed = None
    if spec.placing:
        choices, placed = _placed(inputs, spec, choices, quantized, images, ctx)
    if spec.control:
        found, control, _, others = _controlled(inputs, spec.control, choices, quantized, images, ctx)
        found.placement.kept.update(dict.fromkeys(control.chosen.layers, "the search found that it needs float"))
        for name, each in others.items():
            write_bytes(out / f"{name}.onnx", _bytes(each, choices.dialect, inputs))
    else:
        found = quantized(choices)
    data = _bytes(found, choices.dialect, inputs)
    write_bytes(out / stored.FILE, data)
    notes = found.notes(choices.dialect, (inputs.network.path / stored.FILE).stat().st_size, len(data))
    return replace(notes, control=control, placed=placed)


def _bytes(found: engine.Quantized, dialect: Dialect, inputs: QuantizeInputs) -> bytes:
    """Return an INT8 network as its file has it."""
    description = replace(
        about.of(found.source.model),
        dialect=dialect,
        largest_weight=found.placement.weight_grid.high,
        parents={"network": inputs.network.digest, "calibration": inputs.calibration.digest},
    )
    written = found.model()
    about.write(written, description)
    onnx.checker.check_model(written)
    return bytes(written.SerializeToString())


def _controlled(
    inputs: QuantizeInputs,
    wanted: Control,
    choices: engine.Choices,
    quantized: Callable[[engine.Choices], engine.Quantized],
    images: Calibration,
    ctx: Context,
) -> Controlled:
    """Search the layers that stay in float, on calibration images alone."""
    from ..tune import int8
    from ..tune.forecast import Goals

    question = _question(inputs, wanted, choices)
    limits = wanted.max_drop_pp, wanted.max_flips_pct, wanted.max_confidence_change
    return int8.controlled(
        stored.network_of(inputs.network),
        quantized,
        choices,
        np.concatenate([*images.batches(), images.held()]),
        Goals(*limits, images=wanted.evaluated, round=wanted.round),
        _timed(wanted, ctx),
        (ctx.cache or ctx.scratch) / "control" / question,
        question,
        wanted.spent_s,
        several=wanted.several,
    )


def _question(inputs: QuantizeInputs, wanted: Control, choices: engine.Choices) -> str:
    """Return the digest of all that an answer of a search depends on: not the promises, which only judge it."""
    stage, names = STAGES["quantize"], tuple(wanted.timed.targets) if wanted.timed else ()
    libraries = [each for name in names for each in targets.get(name).libraries]
    return manifest.digest_of(
        {
            "version": stage.version,
            "libraries": machine.versions(*stage.libraries, *libraries),
            "parents": [inputs.network.digest, inputs.ranges.digest, inputs.calibration.digest],
            "timed": wanted.timed.to_json() if wanted.timed else None,
            "dialect": codec.encode(choices.dialect),
            "estimator": choices.estimator,
            "exclude": list(choices.exclude),
            "seed": choices.seed,
        }
    )


def _placed(
    inputs: QuantizeInputs,
    spec: QuantizeSpec,
    choices: engine.Choices,
    quantized: Callable[[engine.Choices], engine.Quantized],
    images: Calibration,
    ctx: Context,
) -> tuple[engine.Choices, PlacementNotes]:
    """Take the fastest placement of Q/DQ that keeps what can be forecast."""
    from ..tune import placing

    assert spec.placing is not None

    @functools.cache
    def sqnr_db(chosen: engine.Choices) -> float | None:
        return quantized(replace(chosen, effort="fast")).sqnr_db

    def harms(other: engine.Choices) -> bool:
        """Return whether a placement is further from FP32 than the usual one, by more than a decibel."""
        usual, new = sqnr_db(choices), sqnr_db(other)
        return usual is not None and new is not None and new < usual - _WORSE_DB

    ratios = _ratios(spec.placing, ctx, careful=True)
    return placing.fastest(stored.network_of(inputs.network), choices, ratios, ctx.scratch / "placements", harms)


def _ratios(search: TimedSearch, ctx: Context, *, careful: bool) -> Callable[[Mapping[str, Path]], dict[str, Ratio]]:
    """Return what times networks in turn on the target: how many times as fast each is as the first."""
    measure, plan = ctx.measure, search.timing
    assert measure is not None

    def timed(networks: Mapping[str, Path]) -> dict[str, Ratio]:
        quick = min(3, plan.processes), look_seconds(plan.seconds, len(networks))
        processes, seconds = (plan.processes, plan.seconds) if careful else quick
        (latencies,) = measure(networks, processes=processes, seconds=seconds, may_fail=True).values()
        first = latencies[next(iter(networks))]
        return {name: each.speedup_over(first) for name, each in latencies.items()}

    return timed


def look_seconds(seconds: float, networks: int) -> float:
    """Return how long some networks are timed in turn by a search, where `seconds` are those of a measurement."""
    return max(min(seconds / 3, 2.0 * networks), 1.0 * networks)


def _timed(wanted: Control, ctx: Context) -> Callable[[Mapping[str, Path]], dict[str, float]] | None:
    """Return what times networks in turn on the target, each relative to the first; None: it is not here."""
    if wanted.timed is None:
        return None
    ratios = _ratios(wanted.timed, ctx, careful=False)
    return lambda networks: {name: 1 / ratio.value for name, ratio in ratios(networks).items()}


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
