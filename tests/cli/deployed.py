"""Bundles run as on a device: by a Python that has numpy and the runtime, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from edgeresnet.stages.export import on_device

from ..conftest import STANDIN

ASKED = ("--calibration", "digits", "--count", 40, "--evaluation", "digits")
SHORT = ("--processes", "1", "--seconds", "0.2")
NEEDED = {"onnxruntime": ("onnxruntime",), "openvino": ("openvino",), "tensorrt": ()}


def bare(folder: Path, target: str, *more: str) -> dict[str, str]:
    """Make an environment with numpy, the runtime and what they need alone: no edgeresnet, no torch."""
    site = Path(np.__file__).parent.parent
    packages = folder / "packages"
    packages.mkdir()
    for name in ("numpy", "numpy.libs", "flatbuffers", "google", *NEEDED[target], *more):
        if (site / name).is_dir():
            (packages / name).symlink_to(site / name)
    for about in site.glob(f"{target}-*.dist-info"):
        (packages / about.name).symlink_to(about)
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(packages), "HOME": str(folder)}


def deployed(there: Path, target: str, *words: str, more: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run a bundle's deploy.py. `-S` and `-s`: no site-packages but those that were put there."""
    with tempfile.TemporaryDirectory() as folder:
        environment = bare(Path(folder), target, *more)
        command = [sys.executable, "-S", "-s", str(there / "deploy.py"), *words]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)


def deployed_on_a_standin(there: Path, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run TensorRT's bundle where a stand-in takes the place of TensorRT and the GPU: the code is the bundle's own."""
    site = Path(np.__file__).parent.parent
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(STANDIN), str(site)])}
    environment |= {f"STANDIN_{name.upper()}": value for name, value in changes.items()}
    command = [sys.executable, "-S", "-s", str(there / "deploy.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=there.parent, check=False)


def deployed_here(capsys: pytest.CaptureFixture[str], there: Path, *words: str) -> tuple[int, str, str]:
    """Run deploy.py's own code in this process: for what does not depend on how bare the device is."""
    capsys.readouterr()
    try:
        code = on_device.main(there, words)
    except SystemExit as refused:  # argparse leaves so
        code = int(refused.code or 0)
    out, err = capsys.readouterr()
    return code, out, err
