"""A quantized file's answers against the FP32 network's, in the words of the table; and the peers' processes."""

from __future__ import annotations

import json
import math
import os
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from _case import Case

from edgeresnet.portable.tasks import classification
from edgeresnet.targets import openvino

PROGRAM = Path(__file__).with_name("_peers.py")
OURS = {"ours": "_ours.py", "our-control": "_our_control.py"}
BATCH = 50


class Judged(NamedTuple):
    """A quantized network's answers compared with the FP32 network's."""

    sqnr_db: float  # infinite: no difference at all
    agree_pct: float
    change: float  # of the probabilities: half of Σ|p−p̂| over the classes, as a mean over the images
    top1_pct: float | None = None  # None without labels
    drop_high_pp: float | None = None  # the upper end of the paired drop's 95 % interval

    def in_short(self) -> str:
        return f"{self.sqnr_db:.2f} dB · {self.agree_pct:.2f} % · {self.change:.4f}"

    def __str__(self) -> str:
        top1, drop = (f"{'–' if one is None else f'{one:.2f}'}" for one in (self.top1_pct, self.drop_high_pp))
        return f"{self.sqnr_db:7.2f} {self.agree_pct:7.2f} {self.change:7.4f} {top1:>6} {drop:>9}"


def best_of(rows: Iterable[Judged]) -> Judged:
    """Return the best value of each column by itself: different rows may hold them."""
    given = list(rows)
    return Judged(
        max(row.sqnr_db for row in given), max(row.agree_pct for row in given), min(row.change for row in given)
    )


class Peer:
    """A process in the peers' interpreter that does one job after the other; a fresh one for what is measured."""

    def __init__(self, python: str, program: Path = PROGRAM):
        quiet = {"TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore"}
        self._process = subprocess.Popen(
            [python, str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **quiet},
        )

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def do(self, job: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
            for line in self._process.stdout:
                if line.startswith('{"ok"'):
                    return json.loads(line)
        except BrokenPipeError:
            pass
        return {"ok": False, "problem": f"its process ended with {self._process.wait()}"}

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def fresh(python: str, job: dict[str, Any]) -> dict[str, Any]:
    """Do a job in a process of its own: the seconds are those of the whole process, imports included."""
    began = time.perf_counter()
    with Peer(python, PROGRAM.with_name(OURS.get(job["peer"], PROGRAM.name))) as peer:
        answer = peer.do(job)
    return {**answer, "whole_seconds": time.perf_counter() - began}


def judge(case: Case, file: Path, runtime: str, count: int | None = None) -> Judged:
    """Compare a file's answers to the evaluation images, or to about `count` of them, with the FP32 network's."""
    reference, labels = case.load("logits"), case.labels()
    every = slice(None, None, max(1, len(reference) // count) if count else 1)  # images lie class by class
    reference, labels = reference[every], None if labels is None else labels[every]
    logits = _answers(file, case.load("evaluation")[every], runtime)
    found = classification.compare(reference, logits, labels)
    decibels = math.inf if found.sqnr_db is None else found.sqnr_db
    change = float(np.abs(probabilities(reference) - probabilities(logits)).sum(1).mean() / 2)
    if labels is None:
        return Judged(decibels, found.agree_pct, change)
    return Judged(decibels, found.agree_pct, change, found.score_pct, found.drop_interval_pp().high)


def probabilities(logits: np.ndarray) -> np.ndarray:
    parts = np.exp((logits - logits.max(1, keepdims=True)).astype(np.float64))
    return parts / parts.sum(1, keepdims=True)


def _answers(file: Path, images: np.ndarray, runtime: str) -> np.ndarray:
    size = BATCH if images.shape[-1] < 224 else 10  # memory
    parts = [images[start : start + size] for start in range(0, len(images), size)]
    if runtime == "openvino":
        with openvino.OpenVinoSession(file, openvino.Options(float_parts="f32")) as session:
            return np.concatenate([session.infer(part) for part in parts])
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # The file as it is written: no fusion that rounds at other places. It stands for a compiler that is not installed.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: part})[0] for part in parts])


def has_uint8(file: Path) -> bool:
    return bool(_uint8(onnx.load(file)))


def as_tensorrt_reads(file: Path, out: Path) -> Path:
    """Take uint8 zero points of 0 for int8 ones, as TensorRT reads such a file: 0 to 127 is what is left."""
    model = onnx.load(file)
    for tensor in _uint8(model):
        zeros = np.zeros(onnx.numpy_helper.to_array(tensor).shape, np.int8)
        tensor.CopyFrom(onnx.numpy_helper.from_array(zeros, tensor.name))
    del model.graph.value_info[:]
    onnx.save(model, out)
    return out


def rewritten_signed(file: Path, out: Path) -> Path:
    """Write the same with scales widened from 255 steps to 127, as one could do by hand: signed, nothing clipped."""
    model = onnx.load(file)
    points = {tensor.name for tensor in _uint8(model)}
    scales = {node.input[1] for node in model.graph.node if len(node.input) > 2 and node.input[2] in points}
    for tensor in model.graph.initializer:
        if tensor.name in scales:
            wider = onnx.numpy_helper.to_array(tensor) * np.float32(255 / 127)
            tensor.CopyFrom(onnx.numpy_helper.from_array(wider, tensor.name))
    onnx.save(model, out)
    return as_tensorrt_reads(out, out)


def _uint8(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    points = {node.input[2] for node in model.graph.node if node.op_type.endswith("tizeLinear") and len(node.input) > 2}
    return [
        tensor
        for tensor in model.graph.initializer
        if tensor.name in points and tensor.data_type == onnx.TensorProto.UINT8
    ]
