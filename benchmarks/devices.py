"""How long a measurement over SSH takes beyond deploy.py itself: a ResNet-20 bundle, on this machine's own sshd.

    python benchmarks/devices.py --count 5

The first time sends the bundle, the second finds it there. deploy.py's own time is what the device measured: from its
start to its end. Random weights and noise: times are real, answers mean nothing. Needs the package openssh-server.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

import numpy as np
import onnx
from PIL import Image

from edgeresnet import models
from edgeresnet.devices import measuring
from edgeresnet.stages import trace

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.devices import sshd

_MEAN, _STD, _IMAGES = "0.485,0.456,0.406", "0.229,0.224,0.225", 256
# Put before deploy.py: it writes how long deploy.py itself took.
_CLOCK = """import atexit, os, sys
def _took():
    began = int(open("/proc/self/stat").read().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
    return float(open("/proc/uptime").read().split()[0]) - began
atexit.register(lambda: print("deploy.py took %.3f s" % _took(), file=sys.stderr))
"""


class _Watcher:
    took = 0.0

    def progress(self, done: int, total: int, word: str) -> None: ...
    def remark(self, sentence: str) -> None: ...

    def line(self, text: str) -> None:
        if found := re.match(r"deploy\.py took ([\d.]+) s", text):
            self.took = float(found[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5, help="times that each is measured")
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = _bundle(folder)
        size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
        print(f"bundle: {size / 1e6:.1f} MB, {len([*bundle.rglob('*.*')])} files")
        (folder / "sshd").mkdir()
        server = sshd.made(folder / "sshd")
        server.start()
        try:
            _print("first", [_beyond(server, bundle, folder, f"{each}", f"aaaa{each:08x}") for each in range(count)])
            _print("second", [_beyond(server, bundle, folder, "0", f"bbbb{each:08x}") for each in range(count)])
        finally:
            server.stop()


def _beyond(server: sshd.Server, bundle: Path, folder: Path, where: str, job: str) -> float:
    """Return the seconds that a measurement took beyond deploy.py itself."""
    device = server.device(python=sys.executable, folder=str(folder / "devices" / where))
    watcher, began = _Watcher(), time.perf_counter()

    def accept(data: bytes, source: measuring.Source) -> int:
        return len(data)

    order = measuring.Order("loopback", device, "onnxruntime", bundle, job, accept)
    measuring.measure(order, watcher, threading.Event())
    return time.perf_counter() - began - watcher.took


def _print(what: str, times: list[float]) -> None:
    shown = ", ".join(f"{each:.2f}" for each in sorted(times))
    print(f"{what} time: {median(times):.2f} s beyond deploy.py, the median of {shown}", flush=True)


def _bundle(folder: Path) -> Path:
    network, images = folder / "resnet20.onnx", folder / "images"
    onnx.save(trace.to_onnx(models.build("cifar_resnet20", 10, 3).eval(), 3, 32), network)
    rng = np.random.default_rng(0)
    for number in range(_IMAGES):
        (images / str(number % 10)).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(images / str(number % 10) / f"{number:03}.png")
    command: list[str | Path] = [sys.executable, "-m", "edgeresnet", "export", network, "--target", "onnxruntime"]
    command += ["--precision", "fp32", "--evaluation", images, "--size", "32", "--mean", _MEAN, "--std", _STD]
    command += ["--set", "verify.processes=1", "--set", "verify.seconds=1", "--output", folder / "out"]
    done = subprocess.run([*command, "--store", folder / "store", "-q"], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    made = folder / "out" / "resnet20-onnxruntime"
    _with_clock(made)
    return made


def _with_clock(bundle: Path) -> None:
    """Let deploy.py report how long it took, and seal the bundle again."""
    from edgeresnet.portable import manifest

    program = bundle / "deploy.py"
    program.write_text(_CLOCK + program.read_text())
    manifest.write(bundle, format=manifest.read(bundle)["format"])


if __name__ == "__main__":
    main()
