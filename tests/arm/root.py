"""Makes a root for 64-bit Arm that QEMU's user mode runs Python in: `python -m tests.arm.root FOLDER`.

Debian's packages come by debootstrap, which needs root or fakeroot. numpy and onnxruntime are wheels for Arm, of the
host's versions. Nothing is installed or mounted, and no binary format is registered: files are unpacked.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

SUITE, PYTHON = "bookworm", "3.11"
MIRROR = "http://deb.debian.org/debian"
PACKAGES = "python3-minimal,python3"
WHEELS = ("numpy", "onnxruntime", "flatbuffers", "protobuf", "packaging")
LIBRARIES = f"usr/lib/python{PYTHON}/arm-packages"
READY = "ready"  # the last file that is written
EMULATOR = "qemu-aarch64-static"


def make(root: Path) -> None:
    """Make the root again unless it is complete."""
    if (root / READY).is_file():
        return
    for needed in ("debootstrap", EMULATOR, "dpkg-deb"):
        if shutil.which(needed) is None:
            sys.exit(f"no {needed}: apt-get install debootstrap qemu-user-static")
    shutil.rmtree(root, ignore_errors=True)
    first = ["debootstrap", "--arch", "arm64", "--foreign", "--variant=minbase", f"--include={PACKAGES}"]
    first = first if os.geteuid() == 0 else ["fakeroot", *first]
    subprocess.run([*first, SUITE, str(root), MIRROR], check=True, stdout=subprocess.DEVNULL)
    for package in sorted((root / "var/cache/apt/archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(package), str(root)], check=True)
    _wheels(root)
    (root / READY).touch()


def _wheels(root: Path) -> None:
    folder = root / "wheels"
    folder.mkdir()
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in range(17, 37)]
    for name in WHEELS:
        wanted = f"{name}=={metadata.version(name)}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += [f"--python-version={PYTHON}", *platforms, "--platform=manylinux2014_aarch64", "--dest", str(folder)]
        subprocess.run([*command, wanted], check=True)
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as opened:
            opened.extractall(root / LIBRARIES)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
