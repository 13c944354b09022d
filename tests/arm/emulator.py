"""Runs Python as a program for 64-bit Arm, by QEMU's user mode, on a CPU with or without the dot product."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from .root import EMULATOR, LIBRARIES, PYTHON

# Name of QEMU's CPU → revision, part and features of its /proc/cpuinfo. onnxruntime chooses its kernels by that file,
# and QEMU shows the host's, with which onnxruntime crashes.
CPUS = {
    "cortex-a72": ("0x0", "0xd08", "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"),
    "neoverse-n1": (
        "0x3",
        "0xd0c",
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
    ),
}


class Emulator:
    """Python on one of the CPUs. `folder` keeps the program that starts it."""

    def __init__(self, root: Path, cpu: str, folder: Path):
        prefix, self.python = folder / "prefix", folder / "python3"
        (prefix / "proc").mkdir(parents=True)
        for entry in root.iterdir():
            if entry.name not in ("proc", "tmp", "sys", "dev"):
                (prefix / entry.name).symlink_to(entry)
        (prefix / "proc" / "cpuinfo").write_text(_cpuinfo(cpu))
        emulator, real = shutil.which(EMULATOR), f"/usr/bin/python{PYTHON}"
        # The program itself as argv[0]: it is what Python starts for its own processes, and the host can run it.
        self.python.write_text(
            f'#!/bin/sh\nexec "{emulator}" -cpu {cpu} -L "{prefix}" -0 "{self.python}" "{prefix}{real}" "$@"\n'
        )
        self.python.chmod(0o755)
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONHOME": f"{prefix}/usr",
            "PYTHONPATH": f"{prefix}/{LIBRARIES}",
            "OMP_NUM_THREADS": "1",
        }

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Run Python with these words."""
        command = [str(self.python), "-S", "-s", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, env=self.environment, check=False)


def _cpuinfo(cpu: str) -> str:
    revision, part, features = CPUS[cpu]
    about = {
        "BogoMIPS": "100.00", "Features": features, "CPU implementer": "0x41", "CPU architecture": "8",
        "CPU variant": revision, "CPU part": part, "CPU revision": "1",
    }  # fmt: skip
    lines = "".join(f"{key}\t: {value}\n" for key, value in about.items())
    return "".join(f"processor\t: {number}\n{lines}\n" for number in range(os.cpu_count() or 1))
