"""The yardstick: a small network that ships with this code, the same bytes everywhere, timed with every other one.

A time in milliseconds belongs to a machine and an hour; as a multiple of the yardstick's, taken in turn with it, it can
be compared with another hour's, and shows a network that became wider together with its half-precision variant. It
never ships: its answers mean nothing, and no promise is about it. `benchmarks/yardstick.py` shows how it was made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArtifactError
from . import manifest
from .session import Target

NAME = "yardstick"
SHA256 = "05aeddd98256a0e76aebb9b9c940137e598ecde86d4bd7aee612350162a50ef5"
FILE = Path(__file__).with_name("yardstick.onnx")
_SIDE = 32


def file() -> Path:
    """Return the network's file; refuse another one, which would be another unit under the same name."""
    if not FILE.is_file() or manifest.sha256_of(FILE) != SHA256:
        raise ArtifactError(
            str(FILE),
            "is not the pinned yardstick",
            hint="the yardstick is part of edgeresnet: install edgeresnet again",
        )
    return FILE


def options_of(target: Target, options: Any) -> Any:
    """Return the options that it is compiled with: the target's own defaults, on the device that `options` name."""
    device = {"device": options.device} if hasattr(options, "device") else {}
    return target.full(target.options(**device))


def image() -> np.ndarray:
    """Return the one image that it runs: the same everywhere."""
    return np.random.default_rng(0).standard_normal((1, 3, _SIDE, _SIDE), dtype=np.float32)
