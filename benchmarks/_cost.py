"""What quantizing a ResNet-50 costs, and how fast the file is that comes out. For an idle machine."""

from __future__ import annotations

import math
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from _case import preprocessing
from _judged import fresh
from _settings import LATENCY_PEERS
from PIL import Image

from edgeresnet import bench, models
from edgeresnet.stages import trace
from edgeresnet.targets import openvino

SIZE, CLASSES = 224, 1000
IMAGES = (128, 512)
ROUNDS = 2
_MAIN = (
    "import atexit; from edgeresnet.portable import machine; "
    "atexit.register(lambda: print('PEAK', machine.peak_memory_mb())); from edgeresnet.cli import main; main()"
)
_MATRICES = ("Convolution", "FullyConnected", "MatMul", "GroupConvolution")
_PEERS: dict[str, tuple[str, dict[str, Any]]] = {
    "NNCF, default": ("nncf", {}),
    "onnxruntime, MinMax": ("onnxruntime", {"method": "MinMax", "per_channel": True}),
    "ModelOpt, max": ("modelopt", {"calibration_method": "max", "high_precision_dtype": "fp32"}),
}


def cost(folder: Path, peers: str, efforts: list[str]) -> None:
    """Run each in a fresh process that begins with an ONNX file: seconds with imports, and its peak memory."""
    network = _resnet50(folder)
    print(f"\nResNet-50 at {SIZE}, random weights; the least of {ROUNDS} rounds, in turn")
    print(f"{'':34} {'images':>6} {'s':>8} {'CPU s':>8} {'peak MB':>8} {'/ NNCF':>8}")
    jobs = [(title, peer, options, IMAGES[0]) for title, (peer, options) in _PEERS.items()]
    for effort, count in [(e, n) for e in efforts for n in (IMAGES if e == "fast" else IMAGES[:1])]:
        jobs.append((f"edgeresnet {effort}", "ours", {"dialect": "openvino", "effort": effort}, count))
    rounds: list[list[dict[str, Any]]] = [[] for _ in jobs]
    for number in range(ROUNDS):
        for (_, peer, options, count), answers in zip(jobs, rounds, strict=True):
            if number == 0 or options.get("effort", "fast") == "fast":  # learning is measured once
                answers.append(_timed(folder, network, peers, peer, options, count))
    nncf = min((answer["whole_seconds"] for answer in rounds[0] if answer["ok"]), default=math.nan)
    for (title, _, _, count), answers in zip(jobs, rounds, strict=True):
        failed = next((answer for answer in answers if not answer["ok"]), None)
        if failed:
            print(f"{title:34} {count:6} skipped: {failed['problem'][:90]}", flush=True)
            continue
        seconds, cpu, peak = (min(a[key] for a in answers) for key in ("whole_seconds", "cpu_seconds", "peak_mb"))
        ratio = seconds / nncf if count == IMAGES[0] else math.nan
        print(f"{title:34} {count:6} {seconds:8.1f} {cpu:8.1f} {peak:8.0f} {ratio:8.2f}", flush=True)
        for step in answers[0].get("steps", ()):  # decibels on held-out images, and what each step won
            print(f"    {step}", flush=True)
    _from_checkpoint(folder)


def _timed(folder: Path, network: Path, peers: str, peer: str, options: dict[str, Any], count: int) -> dict[str, Any]:
    """Add the CPU seconds of the process to its answer: other work on the machine changes them less."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = _made(folder, network, peers, peer, options, count)[1]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {**answer, "cpu_seconds": used}


def _from_checkpoint(folder: Path) -> None:
    """Run the command as a user does: weights and JPEG files in, traced on the way, torch included."""
    images, weights, store = folder / "jpeg", folder / "resnet50.pth", folder / "store"
    images.mkdir(exist_ok=True)
    pixels = np.load(smooth(folder, IMAGES[0]), mmap_mode="r")
    scale, shift = preprocessing(SIZE).scale_and_shift()
    for number, one in enumerate(pixels):
        levels = (one.transpose(1, 2, 0) - shift) / scale
        Image.fromarray(np.rint(levels).clip(0, 255).astype(np.uint8)).save(images / f"{number:03}.jpg", quality=95)
    torch.save(random_network("resnet50", CLASSES).state_dict(), weights)
    shutil.rmtree(store, ignore_errors=True)
    command = [sys.executable, "-c", _MAIN, "quantize", str(weights), "--arch", "resnet50", "--classes", str(CLASSES)]
    command += ["--calibration", str(images), "--size", str(SIZE), "--mean", "0.485,0.456,0.406"]
    command += ["--std", "0.229,0.224,0.225", "--target", "openvino", "--output", str(folder / "command.onnx")]
    began = time.perf_counter()
    done = subprocess.run([*command, "--store", str(store)], capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    peak = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("PEAK ")]
    if done.returncode or not peak:
        print(f"{'edgeresnet quantize, checkpoint':34} failed: {done.stderr[-200:]}")
    else:
        print(f"{'edgeresnet quantize, checkpoint':34} {IMAGES[0]:6} {took:8.1f} {float(peak[0]):8.0f}", flush=True)


def latency(folder: Path, peers: str, processes: int, seconds: float) -> None:
    """Measure as `edgeresnet bench` does: fresh processes, in turn, and the ratio with its interval over them."""
    network = _resnet50(folder)
    for target in ("openvino", "onnxruntime"):
        wanted = list(LATENCY_PEERS.items()) if target == "openvino" else []
        for residual in ("shortcut", "both"):  # numbers are those of `fast`: learning changes no operator
            options = {"dialect": target, "effort": "fast", "residual": residual}
            wanted.append((f"edgeresnet {residual}", ("ours", options)))
        files = [network, *_files(folder, network, peers, target, wanted)]
        compiled = folder / f"compiled-{target}"
        shutil.rmtree(compiled, ignore_errors=True)
        compiled.mkdir()
        lineup = bench.lineup_of_files(files, [target], compiled)
        found = bench.bench(lineup, bench.BenchPlan(processes, seconds, batches=(1,)))
        other = next((name for name in found.subjects if name.startswith("NNCF")), found.subjects[0])
        print(f"\n{target:24} {'p50 ms':>7}  times {other}'s p50 (95 %)")
        for name in found.subjects:
            times = found.results[name]
            ratio = found.results[other].speedup_over(times)
            print(f"{name:24} {times.p50:7.2f}  {ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})")
        for note in found.notes:
            print(note)


def _files(
    folder: Path, network: Path, peers: str, target: str, wanted: list[tuple[str, tuple[str, dict[str, Any]]]]
) -> list[Path]:
    files = []
    for title, (peer, options) in wanted:
        out, answer = _made(folder, network, peers, peer, options, IMAGES[0])
        if not answer["ok"]:
            print(f"{title:24} skipped: {answer['problem'][:90]}", flush=True)
            continue
        files.append(out.rename(folder / f"{title.replace(', ', '-').replace(' ', '-')}.onnx"))
        if target == "openvino":
            _print_executed(files[-1])
    return files


def _print_executed(file: Path) -> None:
    """Print what OpenVINO really ran in INT8, as the compiled network reports it."""
    with openvino.OpenVinoSession(file, openvino.Options()) as session:
        matrices = [layer for layer in session.layers() if layer.operator in _MATRICES]
    counted = Counter(layer.precision for layer in matrices)
    floats = [layer.name for layer in matrices if layer.precision not in ("i8", "u8")]
    print(f"{file.stem:24} Conv and Gemm by precision: {dict(counted)}; not INT8: {floats or 'none'}", flush=True)


def _made(
    folder: Path, network: Path, peers: str, peer: str, options: dict[str, Any], count: int
) -> tuple[Path, dict[str, Any]]:
    out = folder / f"made-{peer}.onnx"
    out.unlink(missing_ok=True)
    job = {"peer": peer, "options": options, "onnx": str(network), "images": str(smooth(folder, count))}
    python = sys.executable if peer in ("ours", "onnxruntime") else peers
    return out, fresh(python, {**job, "out": str(out)})


def random_network(arch: str, classes: int) -> torch.nn.Module:
    """Return a network with random weights."""
    torch.manual_seed(0)
    found = models.build(arch, classes, 3).eval()
    for layer in found.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):  # a trained network's convolutions have biases
            torch.nn.init.normal_(layer.bias, std=0.1)
    return found


def _resnet50(folder: Path) -> Path:
    path = folder / "resnet50-fp32.onnx"
    if not path.is_file():
        onnx.save(trace.to_onnx(random_network("resnet50", CLASSES), 3, SIZE), path)
    return path


def smooth(folder: Path, count: int, size: int = SIZE) -> Path:
    """Make images of blurred noise: pixels of 256 levels with neighbours alike as in photographs, and normalised so."""
    path = folder / f"smooth-{count}-{size}.npy"
    if not path.is_file():
        rng = np.random.default_rng(0)
        coarse = rng.standard_normal((count, size // 16, size // 16, 3), dtype=np.float32)
        fine = rng.standard_normal((count, size, size, 3), dtype=np.float32)
        levels = 120 + 60 * (coarse.repeat(16, axis=1).repeat(16, axis=2) + np.float32(0.2) * fine)
        np.save(path, preprocessing(size).normalize(np.rint(levels.clip(0, 255)).astype(np.uint8)))
    return path
