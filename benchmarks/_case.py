"""One network with what it is quantized and judged on, as files in a folder: `_networks.py` writes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeresnet.portable.preprocessing import Preprocessing


def preprocessing(size: int) -> Preprocessing:
    """Return the preprocessing of every network here."""
    return Preprocessing(size, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Case:
    """One network with what it is quantized and judged on."""

    name: str
    folder: Path

    @property
    def onnx(self) -> Path:
        return self.folder / "fp32.onnx"

    @property
    def calibration(self) -> Path:
        return self.folder / "calibration.npy"

    def load(self, what: str) -> np.ndarray:
        return np.load(self.folder / f"{what}.npy")
