"""Our own accuracy control behind the peers' protocol: a process that reads one job and answers what it found."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from _case import preprocessing_of
from _peers import serve

from edgeresnet import bench, targets
from edgeresnet.quantization import calibration, engine, equalize, ranges, sensitivity, session
from edgeresnet.stages.quantize import look_seconds
from edgeresnet.targets import openvino
from edgeresnet.tune import int8
from edgeresnet.tune.forecast import Goals

MINUTES = 20
_SECONDS = 30.0  # verify.seconds


def our_control(job: dict[str, Any]) -> dict[str, Any]:
    """Quantize as `quantize` with `exclude: auto` does, timed by OpenVINO."""
    network, images = onnx.load(job["onnx"]), np.load(job["images"])
    held = calibration.held_out(len(images), images.shape[1:])
    learn = np.ascontiguousarray(images[~held])
    size = session.batch_for(images.shape[1:])

    def batches(count: int | None = None) -> Any:
        return (learn[:count][start : start + size] for start in range(0, len(learn[:count]), size))

    equalizer = equalize.Equalizer(network, learn[: sensitivity.observed(images.shape[1:])], 0)
    views = ranges.Views(ranges.Ranges(), ranges.Ranges(), equalizer.of)
    ranges.collect(network, batches(), views)
    equalized, of_equalized = equalizer.applied(network), views.equalized
    assert of_equalized is not None

    def quantized(chosen: engine.Choices) -> engine.Quantized:
        one, two = onnx.ModelProto(), onnx.ModelProto()
        one.CopyFrom(network)
        two.CopyFrom(equalized)
        sources = engine.Source(one, views.plain), engine.Source(two, of_equalized)
        return engine.quantize(*sources, chosen, batches, np.ascontiguousarray(images[held]))

    choices = engine.Choices(
        targets.get("openvino").speaks(openvino.Options()),
        minutes=MINUTES,
        preprocessing=preprocessing_of(Path(job["preprocessing"]), images.shape[-1]),
    )
    folder = Path(job["work"])
    shutil.rmtree(folder, ignore_errors=True)
    goals = Goals(job["drop_pp"], None, None, images=job["judged"])

    def timed(networks: Mapping[str, Path]) -> dict[str, float]:
        seconds = look_seconds(_SECONDS, len(networks))
        return {name: each[0] for name, each in ratios(networks, folder / "compiled", seconds).items()}

    found = int8.controlled(network, quantized, choices, images, goals, timed, folder, "benchmark", 0.0)
    onnx.save(found.network.model(), job["out"])
    chosen = found.notes.chosen
    return {"ended": found.notes.ended, "layers": chosen.layers, "says": chosen.kept, "tried": len(found.notes.tried)}


def ratios(files: Mapping[str, Path], compiled: Path, seconds: float) -> dict[str, tuple[float, float, float]]:
    """Time files in turn in fresh processes; return how long each takes, relative to the first, with the interval."""
    shutil.rmtree(compiled, ignore_errors=True)
    compiled.mkdir(parents=True)
    lineup = bench.lineup_of_files(list(files.values()), ["openvino"], compiled)
    found = bench.bench(lineup, bench.BenchPlan(3, seconds, batches=(1,)))
    first = found.results[found.subjects[0]]
    times = [found.results[name].speedup_over(first) for name in found.subjects]
    return {
        name: (1 / ratio.value, 1 / ratio.high, 1 / ratio.low if ratio.low > 0 else math.inf)
        for name, ratio in zip(files, times, strict=True)
    }


if __name__ == "__main__":
    serve({"our-control": our_control})
