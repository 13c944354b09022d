"""The networks and images that the quantizers are compared on, written as files into a folder.

Each network is one folder: `fp32.onnx`, `calibration.npy` and `evaluation.npy` (normalised float32), `labels.npy` where
there are any, `preprocessing.json`, and `logits.npy`, the FP32 network's answers by onnxruntime.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import bottleneck
import numpy as np
import onnx
from _blocks import KINDS
from _case import Case
from _judged import probabilities
from torch import nn

from edgeresnet import images, models, recipe
from edgeresnet.errors import ModelError
from edgeresnet.graph import adopt
from edgeresnet.images import Samples, choose
from edgeresnet.models import checkpoint
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.stages import trace

CALIBRATION = 512
SEED = 0
# Published CIFAR-10 weights: architecture, file.
PUBLISHED = {
    "resnet20": ("cifar_resnet20", "resnet20-[0-9a-f]*.th"),
    "resnet32": ("cifar_resnet32", "resnet32-*.th"),
    "adversarial": ("cifar_resnet20b", "resnet20-adversarial.pth"),
}
PHOTOGRAPHS = "open-nsfw"  # one network of other people, at 224
NAMES = (*PUBLISHED, PHOTOGRAPHS, *KINDS)
_CAFFE = Preprocessing(224, mean=(0.40784, 0.45882, 0.48235), std=(0.00392157,) * 3, order="bgr")
_SAME = 1e-4  # the largest difference of a probability between the file as it came and as it was adopted


class Missing(Exception):
    """A network whose files are not there."""


@dataclass(frozen=True)
class _Images:
    calibration: Samples
    evaluation: Samples
    labelled: bool = True


def case_of(name: str, data: Path, folder: Path) -> Case:
    """Return a network's files in a folder: as an earlier call wrote them, or written now."""
    case = Case(name, folder / name)
    if not (case.folder / "logits.npy").is_file():
        case.folder.mkdir(parents=True, exist_ok=True)
        model, chosen = _made(name, data)
        _write(case, model, chosen)
    return case


def _made(name: str, data: Path) -> tuple[onnx.ModelProto, _Images]:
    if name in PUBLISHED:
        return _published(name, data)
    return _photographs(data) if name == PHOTOGRAPHS else _trained_here(name, data)


def _published(name: str, data: Path) -> tuple[onnx.ModelProto, _Images]:
    """Load a published CIFAR-10 network: 512 images of `train` to calibrate, all of `eval` to judge."""
    arch, file = PUBLISHED[name]
    network = models.build(arch, 10, 3)
    _fill(network, _the(data, file), arch)
    calibration, evaluation = (
        images.open_samples(bottleneck.of_folder(data / part), "training") for part in ("train", "eval")
    )
    return _exported(network.eval(), 32), _Images(calibration, evaluation)


def _fill(network: nn.Module, file: Path, arch: str) -> None:
    """Load weights by name, or by order and shape where a file has names of its own: each tensor once."""
    try:
        checkpoint.load_into(network, file, arch)
    except ModelError:
        theirs, own = checkpoint.read(file), network.state_dict()
        if [tensor.shape for tensor in theirs.values()] != [tensor.shape for tensor in own.values()]:
            raise
        network.load_state_dict(dict(zip(own, theirs.values(), strict=True)))


def _trained_here(kind: str, data: Path) -> tuple[onnx.ModelProto, _Images]:
    """Load a bottleneck network: calibrated with what it was trained on, judged on what it was not."""
    weights = data / "weights" / f"{kind}.safetensors"
    if not weights.is_file():
        bottleneck.train_to(kind, data, weights)
    size = KINDS[kind].size
    return _exported(bottleneck.load(kind, weights), size), _Images(*bottleneck.halves(data, size))


def _photographs(data: Path) -> tuple[onnx.ModelProto, _Images]:
    """Adopt an ONNX file that other people wrote: photographs without labels to calibrate and to judge."""
    file = _the(data, "open-nsfw.onnx")
    found = adopt.adopt(file, _CAFFE, 2)
    calibration, evaluation = (
        images.open_samples(_of_photographs(_the(data, f"photos-{part}-*.tar")), "calibration")
        for part in ("calibration", "evaluation")
    )
    pixels = _normalised(evaluation.subset(range(16)))[0]
    taken = pixels.transpose(0, 2, 3, 1) if found.channels_last else pixels
    theirs = trace._answers(onnx.load(file).SerializeToString(), taken, str(file))[0]
    ours = trace._answers(found.model.SerializeToString(), pixels, str(file))[0]
    if not np.abs(probabilities(ours) - theirs).max() < _SAME:
        raise SystemExit(f"{file}: the adopted network answers otherwise than the file")
    return found.model, _Images(calibration, evaluation, labelled=False)


def _the(data: Path, pattern: str) -> Path:
    found = sorted(data.glob(pattern))
    if not found:
        raise Missing(f"{data} has no {pattern}")
    return found[0]


def _of_photographs(file: Path) -> recipe.Recipe:
    return recipe.parse(
        {
            "version": 1,
            "model": {"arch": "resnet50", "classes": 2, "checkpoint": "none"},
            "preprocessing": _CAFFE.to_json(),
            "images": {"evaluation": {"from": str(file)}, "calibration": {"from": str(file), "count": 300}},
        }
    )


def _exported(network: nn.Module, size: int) -> onnx.ModelProto:
    return trace.to_onnx(network, 3, size)


def _write(case: Case, model: onnx.ModelProto, chosen: _Images) -> None:
    evaluation, calibration = chosen.evaluation, chosen.calibration
    if chosen.labelled:
        calibration = calibration.subset(choose.balanced(calibration, CALIBRATION, SEED))
    images.check_disjoint(evaluation, calibration, ("evaluation", "calibration"))
    case.onnx.write_bytes(model.SerializeToString())
    (case.folder / "preprocessing.json").write_text(json.dumps(evaluation.preprocessing.to_json()))
    np.save(case.calibration, _normalised(calibration)[0])
    pixels, labels = _normalised(evaluation)
    np.save(case.folder / "evaluation.npy", pixels)
    if chosen.labelled:
        np.save(case.folder / "labels.npy", labels)
    parts = np.array_split(pixels, -(-len(pixels) // 50))
    logits = [trace._answers(case.onnx.read_bytes(), part, case.name)[0] for part in parts]
    np.save(case.folder / "logits.npy", np.concatenate(logits))


def _normalised(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    batches = list(samples.batches(256))
    normalize = samples.preprocessing.normalize
    return (
        np.concatenate([normalize(batch.pixels) for batch in batches]),
        np.concatenate([batch.labels for batch in batches]),
    )
