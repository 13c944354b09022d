"""The noise of an INT8 network, layer by layer, and why it is there: scan, confirm the worst layers, find causes."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import onnx

from ..quantization import answers
from . import causes, scan
from . import confirm as confirming
from .causes.evidence import Evidence
from .compiled import Compiler
from .confirm import Confirmed
from .diagnosis import LayerNoise, NoiseDiagnosis
from .observe import Ranges
from .pair import Layer, Pair, read
from .scan import Progress, Scan


def diagnose(
    exact: onnx.ModelProto,
    rounded: onnx.ModelProto,
    images: np.ndarray,
    *,
    network: str,
    reference: str,
    calibration: np.ndarray | None = None,
    compiler: Compiler | None = None,
    confirm: int = 5,
    seed: int = 0,
    progress: Progress = lambda done, total, word: None,
) -> NoiseDiagnosis:
    """Compare an INT8 network with its FP32 network on normalised images. Both files are in canonical form.

    `calibration`: images that the file's ranges came from, where they are known. `compiler`: returns tensors of a file
    as a compiler computes them.
    """
    began = time.monotonic()
    pair = read(exact, rounded, images)
    ranges = Ranges(len(images))
    found = scan.scan(pair, images, seed=seed, observers=[ranges], progress=progress)
    measured = _confirmed(pair, images, found, confirm, progress)
    evidence = Evidence(pair, found, ranges, images, rounded, exact, calibration, compiler)
    named = causes.find(evidence, progress)
    flips = confirming.compared(found.exact, found.given, found.unit).flips
    compared = answers.top(found.exact, found.unit).size
    return NoiseDiagnosis(
        network=network,
        reference=reference,
        images=len(images),
        sqnr_db=found.sqnr_db(),
        flips=flips,
        agreement=1 - flips / compared,
        explained=found.explained(),
        layers=_layers(pair, found, measured, flips),
        causes=named,
        float_layers=tuple(pair.floats),
        seconds=time.monotonic() - began,
        pixels=compared if found.unit == "pixel" else None,
        anchors=compared if found.unit in ("anchor", "cell") else None,
    )


def _confirmed(pair: Pair, images: np.ndarray, found: Scan, count: int, progress: Progress) -> Mapping[str, Confirmed]:
    return confirming.confirm(pair, images, found, confirming.worst(found, count), progress)


def _layers(pair: Pair, found: Scan, measured: Mapping[str, Confirmed], flips: int) -> tuple[LayerNoise, ...]:
    numbers = zip(pair.layers, found.own_db(), found.cost_db(), found.output_db(), strict=True)
    return tuple(
        _measured(layer, measured[layer.name], found.sqnr_db(), output, flips)
        if layer.name in measured
        else LayerNoise(layer.name, layer.node.kind, own, cost, output, measured=False, matched=layer.matched)
        for layer, own, cost, output in numbers
    )


def _measured(layer: Layer, runs: Confirmed, sqnr_db: float | None, output_db: float | None, flips: int) -> LayerNoise:
    rest = runs.without.sqnr_db
    cost = 0.0 if sqnr_db is None else rest - sqnr_db if rest is not None else confirming.ALL_DB
    return LayerNoise(
        layer.name,
        layer.node.kind,
        runs.alone.sqnr_db,
        cost,
        output_db,
        measured=True,
        own_flips=runs.alone.flips,
        saved_flips=flips - runs.without.flips,
        matched=layer.matched,
    )
