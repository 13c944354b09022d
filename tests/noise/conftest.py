"""A small trained network, quantized in both forms, and the faults that the benchmark plants."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgeresnet import images, recipe, targets
from edgeresnet.noise.diagnosis import NoiseDiagnosis
from edgeresnet.portable import machine
from edgeresnet.quantization import engine
from edgeresnet.runs import Run
from edgeresnet.store import Store

from ..conftest import tiny, traced

COUNT = 192  # images: most of them calibrate, all others are diagnosed
Once = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def faults() -> Any:
    """The faults that `benchmarks/control.py` plants."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(Path(__file__).parents[2] / "benchmarks")])
        return importlib.import_module("_faults")


@pytest.fixture(scope="session")
def digits() -> np.ndarray:
    """Images as the trained network reads them."""
    samples = images.open_samples(recipe.parse(tiny()), "training").subset(range(COUNT))
    normalised = [samples.preprocessing.normalize(batch.pixels) for batch in samples.batches(COUNT)]
    return np.ascontiguousarray(np.concatenate(normalised))


@pytest.fixture(scope="session")
def network(trained: tuple[Store, Run], digits: np.ndarray, faults: Any, once: Once) -> Callable[[str], Any]:
    """`network(form)` is the trained network with its INT8 file."""

    def quantized(form: str) -> Any:
        model, choices = onnx.load(traced(trained[1])), engine.Choices(targets.get(form).dialect)

        def make(folder: Path) -> None:
            onnx.save(faults.network_of(model, digits, choices).rounded, folder / "int8.onnx")

        known = onnx.load(once(f"noise-{form}", make) / "int8.onnx")
        return faults.network_of(model, digits, choices, known)

    return quantized


@pytest.fixture(autouse=True)
def _any_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Diagnose as on a CPU that adds products in 32 bits, whatever this one is."""
    monkeypatch.setattr(machine, "has_int8", lambda: True)


def diagnosed(planted: Any, **more: Any) -> NoiseDiagnosis:
    """Diagnose a planted file."""
    from edgeresnet.noise.diagnose import diagnose  # loads torch: other tiers see this file too

    return diagnose(
        planted.exact,
        planted.rounded,
        planted.images,
        network="int8.onnx",
        reference="fp32.onnx",
        calibration=planted.calibration,
        confirm=0,
        **more,
    )
