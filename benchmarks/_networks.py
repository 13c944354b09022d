"""The networks and images that the quantizers are compared on, written as files into a folder.

Each network is one folder: `fp32.onnx`, `calibration.npy` and `evaluation.npy` (normalised float32), `labels.npy`, and
`logits.npy`, the FP32 network's answers by onnxruntime.
"""

from __future__ import annotations

from pathlib import Path

import bottleneck
import numpy as np
from _case import Case
from torch import nn

from edgeresnet import images, models
from edgeresnet.images import Samples, choose
from edgeresnet.models import checkpoint
from edgeresnet.stages import trace

CALIBRATION = 512
SEED = 0
WEIGHTS = {"resnet20": "resnet20-*.th", "resnet32": "resnet32-*.th"}


def published(name: str, data: Path, folder: Path) -> Case:
    """Write a published CIFAR-10 network: 512 images of `train` to calibrate, all of `eval` to judge."""
    arch = f"cifar_{name}"
    weights = next(iter(sorted(data.glob(WEIGHTS[name]))), None)
    if weights is None:
        raise SystemExit(f"{data} has no {WEIGHTS[name]}")
    network = models.build(arch, 10, 3)
    checkpoint.load_into(network, weights, arch)
    calibration = _samples(data / "train")
    return _written(name, network.eval(), calibration, _samples(data / "eval"), folder)


def third(data: Path, weights: Path, folder: Path) -> Case:
    """Write the bottleneck network: calibrated with what it was trained on, judged on what it was not."""
    learned, held_out = bottleneck.halves(data)
    return _written("bottleneck", bottleneck.load(weights), learned, held_out, folder)


def _samples(folder: Path) -> Samples:
    return images.open_samples(bottleneck.of_folder(folder), "training")


def _written(name: str, network: nn.Module, calibration: Samples, evaluation: Samples, folder: Path) -> Case:
    case = Case(name, folder / name)
    if (case.folder / "logits.npy").is_file():
        return case
    case.folder.mkdir(parents=True, exist_ok=True)
    chosen = calibration.subset(choose.balanced(calibration, CALIBRATION, SEED))
    images.check_disjoint(evaluation, chosen, ("evaluation", "calibration"))
    size = evaluation.preprocessing.size
    case.onnx.write_bytes(trace.to_onnx(network, evaluation.preprocessing.channels, size).SerializeToString())
    np.save(case.calibration, _normalised(chosen)[0])
    pixels, labels = _normalised(evaluation)
    np.save(case.folder / "evaluation.npy", pixels)
    np.save(case.folder / "labels.npy", labels)
    (logits,) = trace._answers(case.onnx.read_bytes(), pixels, name)
    np.save(case.folder / "logits.npy", logits)
    return case


def _normalised(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    batches = list(samples.batches(256))
    normalize = samples.preprocessing.normalize
    return (
        np.concatenate([normalize(batch.pixels) for batch in batches]),
        np.concatenate([batch.labels for batch in batches]),
    )
