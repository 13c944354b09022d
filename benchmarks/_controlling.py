"""Accuracy control: `exclude: auto` against NNCF's `quantize_with_accuracy_control`, on the same networks and images.

Each network as it is, and with one layer made hard: one channel of it is 50 times as large, with weights behind it as
much smaller, so that FP32 answers the same. Ours sees calibration images without labels. NNCF sees the same images, and
labelled images of the evaluation set to choose by; the others judge both. NNCF in its default setting and tuned: three
times as many images to rank layers, and its search over hyperparameters.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import _faults
import _networks
import numpy as np
import onnx
from _case import Case, preprocessing_of
from _judged import fresh, probabilities

from edgeresnet import bench, targets
from edgeresnet.portable import intervals
from edgeresnet.quantization import calibration, engine, equalize, ranges, sensitivity, session
from edgeresnet.quantization.net import Net
from edgeresnet.targets import openvino
from edgeresnet.tune import int8
from edgeresnet.tune.forecast import Goals

DROP_PP = 1.0
CASES = [
    ("resnet20", None),
    ("resnet20", "layer2.1.conv1"),
    ("resnet32", None),
    ("resnet32", "layer3.2.conv1"),
    ("squeeze", None),
]
SETTINGS: dict[str, dict[str, Any]] = {
    "NNCF, default": {},
    "NNCF, tuned": {"ranking_subset_size": 900, "tune_hyperparams": True},
}


def control(args: argparse.Namespace, folder: Path) -> None:
    """Print a row for each network and tool: layers in float, drop with its interval, seconds, ratio of times."""
    print(f"{'network':28} {'by':14} {'float':>5} {'drop pp (95 %)':>22} {'s':>7}  times ours (95 %)")
    for name, layer in CASES:
        if args.only in (None, name):
            case = _networks.case_of(name, args.data, folder)
            exact = onnx.load(case.onnx)
            work = folder / f"{name}-{layer or 'plain'}"
            work.mkdir(exist_ok=True)
            network = _faults.grown(exact, layer, 50.0) if layer else exact
            _compare(f"{name}{f', hard {layer}' if layer else ''}", case, network, work, args)


def _compare(title: str, case: Case, network: onnx.ModelProto, work: Path, args: argparse.Namespace) -> None:
    file = work / "fp32.onnx"
    onnx.save(network, file)
    images, labels = case.load("evaluation"), case.labels()
    assert labels is not None
    choosing = np.arange(len(images)) % 2 == 0  # NNCF's; the others judge
    np.save(work / "choosing.npy", images[choosing])
    np.save(work / "choosing-labels.npy", labels[choosing])
    files, seconds = {}, {}
    began = time.perf_counter()
    files["ours"] = _ours(case, network, int((~choosing).sum()), work)
    seconds["ours"] = time.perf_counter() - began
    for setting, options in SETTINGS.items() if args.peers else ():
        out = work / f"{setting.replace(', ', '-')}.onnx"
        job = {"options": {**options, "drop": DROP_PP / 100}, "onnx": str(file), "images": str(case.calibration)}
        job |= {"choosing": str(work / "choosing.npy"), "labels": str(work / "choosing-labels.npy"), "out": str(out)}
        answer = fresh(str(args.peers), {"peer": "nncf-control", **job})
        if not answer["ok"]:
            print(f"{title:28} {setting:14} skipped: {answer['problem'][:80]}", flush=True)
            continue
        files[setting], seconds[setting] = out, answer["whole_seconds"]
    before = _answers(file, images[~choosing])
    times = _times(files, work)
    for by, found in files.items():
        _print_row(title, by, found, before, _answers(found, images[~choosing]), labels[~choosing], seconds[by], times)


def _print_row(
    title: str,
    by: str,
    file: Path,
    before: np.ndarray,
    now: np.ndarray,
    labels: np.ndarray,
    seconds: float,
    times: Mapping[str, str],
) -> None:
    right, still = before.argmax(1) == labels, now.argmax(1) == labels
    lost, won = int((right & ~still).sum()), int((still & ~right).sum())
    low, high = intervals.tango(lost, won, len(labels))
    drop = f"{100 * (lost - won) / len(labels):+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"
    change = float(np.abs(probabilities(before) - probabilities(now)).sum(1).mean() / 2)
    print(
        f"{title:28} {by:14} {_in_float(file):5} {drop:>22} {seconds:7.1f}  {times.get(by, '')}  Δp {change:.4f}",
        flush=True,
    )


def _ours(case: Case, network: onnx.ModelProto, judged: int, work: Path) -> Path:
    """Quantize as `quantize` with `exclude: auto` does, timed by OpenVINO."""
    images = case.load("calibration")
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
        minutes=20,
        preprocessing=preprocessing_of(case.onnx, case.size),
    )
    shutil.rmtree(work / "search", ignore_errors=True)
    goals = Goals(DROP_PP, None, None, images=judged)
    folder = work / "search"

    def timed(networks: Mapping[str, Path]) -> dict[str, float]:
        return {name: each[0] for name, each in _ratios(networks, folder / "compiled").items()}

    found = int8.controlled(network, quantized, choices, images, goals, timed, folder, "benchmark", 0.0)
    out = work / "ours.onnx"
    onnx.save(found.network.model(), out)
    return out


def _ratios(files: Mapping[str, Path], compiled: Path) -> dict[str, tuple[float, float, float]]:
    """Time files in turn in fresh processes; return how long each takes, relative to the first, with the interval."""
    shutil.rmtree(compiled, ignore_errors=True)
    compiled.mkdir(parents=True)
    lineup = bench.lineup_of_files(list(files.values()), ["openvino"], compiled)
    found = bench.bench(lineup, bench.BenchPlan(3, max(6.0, 2.0 * len(files)), batches=(1,)))
    first = found.results[found.subjects[0]]
    ratios = [found.results[name].speedup_over(first) for name in found.subjects]
    return {name: (1 / ratio.value, 1 / ratio.high, 1 / ratio.low) for name, ratio in zip(files, ratios, strict=True)}


def _times(files: Mapping[str, Path], work: Path) -> dict[str, str]:
    found = _ratios(files, work / "compiled")
    return {name: "{:.3f} ({:.3f} to {:.3f})".format(*ratio) for name, ratio in found.items()}


def _answers(file: Path, images: np.ndarray) -> np.ndarray:
    with openvino.OpenVinoSession(file, openvino.Options(float_parts="f32")) as network:
        return np.concatenate([network.infer(images[start : start + 100]) for start in range(0, len(images), 100)])


def _in_float(file: Path) -> int:
    """Count convolutions and Gemms that do not read INT8 data and weights."""
    net = Net(onnx.load(file))
    weighted = [node for node in net.nodes if node.kind in ("Conv", "Gemm", "MatMul")]
    made = {name for node in net.nodes if node.kind == "DequantizeLinear" for name in node.outputs}
    return sum(not set(node.inputs[:2]) <= made for node in weighted)
