"""A full disk on a device is one line: half files are removed, and the next run goes on."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import bundle
from .conftest import Loopback
from .test_wrong import failure

pytestmark = pytest.mark.slow

_FULL = "orin has a full disk: "
_FILLS = """
if pathlib.Path(FILL).exists():
    with open(output.with_name("large"), "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            os._exit(1)  # its last words would need room, too
"""


@pytest.fixture
def small(loopback: Loopback) -> Iterator[Path]:
    """A disk of 4 MB for the device's folder."""
    loopback.there.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(loopback.there)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield loopback.there
    finally:
        subprocess.run(["umount", "--lazy", loopback.there], check=True)


def left(loopback: Loopback) -> list[str]:
    """Return what is on the device, but for complete files and bundles."""
    found = [*loopback.there.glob("jobs/*"), *loopback.there.glob("*/*.part"), *loopback.there.glob("jobs/*/*")]
    return [path.name for path in found]


def test_a_file_that_finds_no_room_is_removed_and_sent_again(loopback: Loopback) -> None:
    """A limit for the device's programs stands for a full disk: the largest file is 3 MB."""
    assert loopback.server.process
    pid, most = loopback.server.process.pid, resource.RLIM_INFINITY
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (2_000_000, most))
    words = failure(loopback, loopback.order())
    assert words.startswith(f"{_FULL}File too large (free some space there, for example in {loopback.there}")
    assert loopback.starts == 0
    assert not left(loopback)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))
    assert loopback.measure(loopback.order())


def test_a_measurement_that_fills_the_disk_leaves_nothing(loopback: Loopback, small: Path) -> None:
    fill = loopback.server.folder / "fill"
    order = loopback.order(f"FILL = {str(fill)!r}\n{_FILLS}")
    fill.touch()
    words = failure(loopback, order)
    assert words.startswith(f"{_FULL}the measurement needs more than is free (free some space there")
    assert not left(loopback)
    fill.unlink()
    assert loopback.measure(order)


def test_a_job_that_finds_no_room_to_start_leaves_nothing(loopback: Loopback, small: Path) -> None:
    """The bundle is there already: what a job writes for itself does not fit."""
    order = loopback.order()
    loopback.measure(order)
    with open(small / "others", "wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4096))
    assert failure(loopback, order).startswith(f"{_FULL}No space left on device")
    assert not left(loopback)
    (small / "others").unlink()
    assert loopback.measure(order)
    assert loopback.starts == 2


def test_a_bundle_that_cannot_fit_is_not_sent(loopback: Loopback, small: Path) -> None:
    made = bundle.made(loopback.folder / "bundle", more=os.urandom(2_000_000))
    words = failure(loopback, loopback.order(bundle=made, device=loopback.server.device(python=sys.executable)))
    assert words.startswith(f"{_FULL}4.2 MB are free, and the bundle needs 5.0 MB (free some space there")
    assert not loopback.watched.counts
