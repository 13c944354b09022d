"""One network with what it is quantized and judged on, as files in a folder: `_networks.py` writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeresnet.portable.preprocessing import Preprocessing


def preprocessing(size: int) -> Preprocessing:
    """Return the preprocessing of most networks here."""
    return Preprocessing(size, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def preprocessing_of(onnx: Path, size: int) -> Preprocessing:
    """Return what is written in the folder of an ONNX file, or the preprocessing of most networks here."""
    about = onnx.with_name("preprocessing.json")
    return Preprocessing.from_json(json.loads(about.read_text())) if about.is_file() else preprocessing(size)


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

    @property
    def size(self) -> int:
        return np.load(self.calibration, mmap_mode="r").shape[-1]

    def load(self, what: str) -> np.ndarray:
        return np.load(self.folder / f"{what}.npy")

    def labels(self) -> np.ndarray | None:
        return self.load("labels") if (self.folder / "labels.npy").is_file() else None
