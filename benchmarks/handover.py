"""What is handed over: how large a bundle is, how fast a device can check it, and, where TensorRT-RTX is
installed (no GPU needed), how long engines of INT8, FP16 and FP32 take to build and how large they are.

    python benchmarks/handover.py bundle     ResNet-50 at 224 for TensorRT: MB, seconds of `deploy.py --check`
    python benchmarks/handover.py engines    TensorRT-RTX, ResNet-8, -20, -18, -50: seconds, MB, warnings

Networks have random weights and images are noise: sizes and times are real, answers mean nothing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from PIL import Image

from edgeresnet import models, targets
from edgeresnet.graph import deliver
from edgeresnet.stages import trace

ARCHITECTURES = {"cifar_resnet8": 32, "cifar_resnet20": 32, "resnet18": 224, "resnet50": 224}
_MEAN, _STD = "0.485,0.456,0.406", "0.229,0.224,0.225"
_IMAGES = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["bundle", "engines"])
    what = parser.parse_args().what
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _bundle(folder) if what == "bundle" else _engines(folder)


def _bundle(folder: Path) -> None:
    network, images = _network("resnet50", 224, folder), _images(224, folder / "images")
    began = time.perf_counter()
    _run("export", network, images, 224, folder, "--target", "tensorrt", "--output", str(folder / "out"))
    print(f"export took {time.perf_counter() - began:.1f} s")
    there = folder / "out" / "resnet50-tensorrt"
    for path in [there, *sorted((there / "networks").iterdir()), there.with_name(f"{there.name}.tar.gz")]:
        size = sum(file.stat().st_size for file in path.rglob("*")) if path.is_dir() else path.stat().st_size
        print(f"{path.relative_to(folder / 'out')}: {size / 1e6:.1f} MB")
    times = []
    for _ in range(5):
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, there / "deploy.py", "--check"], capture_output=True, text=True, check=False
        )
        times.append(time.perf_counter() - began)
    output = " / ".join(done.stderr.splitlines())
    print(f"deploy.py --check: {sorted(times)[2]:.2f} s, the median of 5; it printed: {output}")


def _engines(folder: Path) -> None:
    target = targets.get("tensorrt_rtx")
    found = target.available()
    if not (found.ok or found.builds):
        sys.exit(f"{target.title} is not installed: {found.reason} ({found.hint})")
    for arch, size in ARCHITECTURES.items():
        network, images = _network(arch, size, folder), _images(size, folder / f"images-{size}")
        int8 = folder / f"{arch}-int8.onnx"
        _run("quantize", network, images, size, folder, "--target", "tensorrt_rtx", "--output", str(int8))
        own = target.options()
        for name, file, options in (
            ("INT8", int8, own),
            ("FP16", network, target.half(own)),
            ("FP32", network, target.full(own)),
        ):
            given = deliver.delivered(file, folder / "given.onnx", halved=target.half_in_file(options), pixels=None)
            out = folder / f"{arch}-{name}"
            out.mkdir()
            began = time.perf_counter()
            warnings = target.compile(given, options, out).warnings
            took, size_mb = time.perf_counter() - began, (out / "model.engine").stat().st_size / 1e6
            print(
                f"{arch:15} {name}: {took:5.1f} s {size_mb:6.1f} MB, {len(warnings)} warnings {' '.join(warnings)}",
                flush=True,
            )


def _network(arch: str, size: int, folder: Path) -> Path:
    path = folder / f"{arch}.onnx"
    classes = 10 if arch.startswith("cifar") else 1000
    onnx.save(trace.to_onnx(models.build(arch, classes, 3).eval(), 3, size), path)
    return path


def _images(size: int, folder: Path) -> Path:
    if not folder.is_dir():
        folder.mkdir()
        rng = np.random.default_rng(0)
        for number in range(_IMAGES):
            Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)).save(folder / f"{number:02}.jpg")
    return folder


def _run(name: str, network: Path, images: Path, size: int, folder: Path, *words: str) -> None:
    command: list[str | Path] = [sys.executable, "-m", "edgeresnet", name, network]
    command += ["--calibration", images, "--size", str(size)]
    command += ["--mean", _MEAN, "--std", _STD, "--store", folder / "store", "--quiet", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"edgeresnet {name} ends with {done.returncode}: {done.stderr or done.stdout}")


if __name__ == "__main__":
    main()
