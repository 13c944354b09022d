"""What a diagnosis of INT8 layers costs: seconds, processor time and memory, next to a calibration in the same run.

Each is a process of its own that begins with ONNX files. Weights are random: they change neither time nor memory. The
calibration is what `calibrate` does: an observation of the channels, and ranges of the network in both forms.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _cost
import numpy as np
import onnx
from _judged import Peer, fresh
from _peers import peak_mb, serve

from edgeresnet.noise.diagnose import diagnose
from edgeresnet.quantization import equalize, ranges, sensitivity, session
from edgeresnet.stages import trace

SIZES = {"resnet50": (224, 1000), "cifar_resnet20": (32, 10)}


def scan(folder: Path, count: int) -> None:
    """Print a row for the calibration and for each part of the diagnosis, of each network."""
    print(f"{count} images\n{'network':16} {'part':24} {'s':>7} {'CPU s':>7} {'/ calibration':>13} {'peak MB':>8}")
    for arch in SIZES:
        exact, images = _prepared(folder, arch, count)
        rounded = folder / f"{arch}-int8.onnx"
        options = {"dialect": "openvino", "effort": "fast"}
        job = {"peer": "ours", "options": options, "onnx": str(exact), "images": str(images), "out": str(rounded)}
        made: dict[str, Any] = {"ok": True} if rounded.is_file() else fresh(sys.executable, job)
        parts = [_done({"peer": "calibration", "onnx": str(exact), "images": str(images)}) if made["ok"] else made]
        if parts[0]["ok"]:
            both = {"onnx": str(exact), "int8": str(rounded), "images": str(images)}
            parts.append(_done({"peer": "diagnosis", **both}))
        problem = next((part["problem"] for part in parts if not part["ok"]), "")
        if problem:
            print(f"{arch:16} failed: {problem}", flush=True)
            continue
        calibration, diagnosis = parts
        for part, seconds, cpu, peak in [*calibration["parts"], *diagnosis["parts"]]:
            ratio = cpu / calibration["parts"][0][2]
            print(f"{arch:16} {part:24} {seconds:7.1f} {cpu:7.1f} {ratio:13.2f} {peak:8.0f}", flush=True)


def _prepared(folder: Path, arch: str, count: int) -> tuple[Path, Path]:
    """Return an ONNX file with random weights, and images of blurred noise."""
    size, classes = SIZES[arch]
    exact, images = folder / f"{arch}-fp32.onnx", _cost.smooth(folder, count, size)
    if not exact.is_file():
        onnx.save(trace.to_onnx(_cost.random_network(arch, classes), 3, size), exact)
    return exact, images


def _done(job: dict[str, Any]) -> dict[str, Any]:
    with Peer(sys.executable, Path(__file__)) as peer:
        return peer.do(job)


class _Parts:
    """What each part of a work took, and the peak memory of the process so far."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float, float, float]] = []
        self._began = self._last = (time.perf_counter(), time.process_time())

    def ended(self, part: str, *, from_start: bool = False) -> None:
        """Note that a part has ended. `from_start`: it is all of the work."""
        now = (time.perf_counter(), time.process_time())
        before = self._began if from_start else self._last
        self.rows.append((part, now[0] - before[0], now[1] - before[1], peak_mb()))
        self._last = now


def _calibration(job: dict[str, Any]) -> dict[str, Any]:
    parts = _Parts()
    model, images = onnx.load(job["onnx"]), np.load(job["images"])
    size = session.batch_for(images.shape[1:])
    equalizer = equalize.Equalizer(model, images[: sensitivity.observed(images.shape[1:])], 0)
    views = ranges.Views(ranges.Ranges(), ranges.Ranges(), equalizer.of)
    ranges.collect(model, (images[start : start + size] for start in range(0, len(images), size)), views)
    parts.ended("calibration")
    return {"parts": parts.rows}


def _diagnosis(job: dict[str, Any]) -> dict[str, Any]:
    parts = _Parts()
    exact, rounded, images = onnx.load(job["onnx"]), onnx.load(job["int8"]), np.load(job["images"])

    def progress(done: int, total: int, word: str) -> None:
        if word in ("images", "layers") and done == total:
            parts.ended({"images": "scan", "layers": "worst layers, run"}[word])

    diagnose(exact, rounded, images, network="", reference="", calibration=images, progress=progress)
    parts.ended("causes")
    parts.ended("complete diagnosis", from_start=True)
    return {"parts": parts.rows}


if __name__ == "__main__":
    jobs: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"calibration": _calibration, "diagnosis": _diagnosis}
    serve(jobs)
