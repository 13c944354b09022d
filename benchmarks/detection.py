"""INT8 networks that find boxes: ours, NNCF's and onnxruntime.quantization's, compared with FP32.

    trained   RetinaNet behind a ResNet-8, trained here on scenes of handwritten digits (64 pixels): quality.
    random    torchvision's RetinaNet behind a ResNet-50 on photographs. Weights are random, and batch normalisation has
              the statistics of calibration photographs: what counts is cost, acceptance and decibels.

For each network: by how many points mAP drops, with its 95 % interval, and AP50 (`trained` alone); SQNR over all
numbers of all answers, over the logits and over the offsets; what quantizing took (the whole process, its peak memory);
and p50 of one image. OpenVINO's CPU plug-in runs our file for OpenVINO and NNCF's, float parts in f32. With `--form
onnxruntime`: our file for onnxruntime and that of onnxruntime.quantization, run by onnxruntime. With `--form tensorrt`:
our file for TensorRT as it is written, and what TensorRT-RTX's parser says of it.

    python benchmarks/detection.py trained --peers peers/bin/python
    python benchmarks/detection.py random --data DIR --peers peers/bin/python

DIR holds `photos-calibration-*.tar` and `photos-evaluation-*.tar`. The peers live in an environment of their own: see
`quantization.py`. Nothing else may run on the machine while times are measured.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _case import Case
from _dense import NNCF, SCENES, Kind, Peer, arguments, compare, each_network, normalised, runner, scenes
from torch import nn

from edgeresnet import images
from edgeresnet.images import Samples
from edgeresnet.models import anchors
from edgeresnet.portable import inference
from edgeresnet.portable.tasks import precision
from edgeresnet.portable.tasks.detector import Detector
from edgeresnet.portable.tasks.objects import Found

NETWORKS = {"trained": ("retinanet_cifar_resnet8",), "random": ("retinanet_resnet50_fpn",)}
CLASSES = 10
PLAN: dict[str, Any] = {"rate": 0.005, "batch": 8, "schedule": "one-cycle", "augment": {"shift": 8}}
_QDQ: dict[str, Any] = {"per_channel": True, "activations": "u8", "weights": "s8"}
PEERS: dict[str, tuple[Peer, ...]] = {
    "openvino": NNCF,
    "onnxruntime": (
        ("onnxruntime.quantization, default", "onnxruntime", {}),
        ("the same, per channel, u8", "onnxruntime", _QDQ),
        ("the same, percentile", "onnxruntime", {**_QDQ, "method": "Percentile"}),
        ("the same, entropy", "onnxruntime", {**_QDQ, "method": "Entropy"}),
        ("the same, Conv and Add, last free", "onnxruntime", {**_QDQ, "op_types": ["Conv", "Add", "Relu"]}),
    ),
    "tensorrt": (),
}


def main() -> None:
    args = arguments(__doc__, NETWORKS, forms=tuple(PEERS), epochs=8)
    kind = Kind("detection", CLASSES, PLAN, _right)
    for case in each_network(args, NETWORKS, kind):
        judge = functools.partial(_judge, _labels(case, kind, args) if args.what == "trained" else None)
        columns = f"{'ΔmAP pp':>8} {'':15} {'ΔAP50':>6} {'SQNR dB':>8} {'logits':>7} {'offsets':>8}"
        compare(case, args, judge, columns, _peers(args))


def _peers(args: argparse.Namespace) -> Sequence[Peer]:
    """Return the peers of a form; one of them where quantizing takes minutes."""
    return PEERS[args.form] if args.what == "trained" else PEERS[args.form][:1]


def _labels(case: Case, kind: Kind, args: argparse.Namespace) -> tuple[Detector, Samples, precision.Matched]:
    """Return a network's anchors, the images, and what FP32 finds in them."""
    detector = anchors.of(case.name, SCENES.size, CLASSES)
    assert isinstance(detector, Detector)
    samples = images.open_samples(scenes(case.name, kind, args.epochs), "evaluation")
    return detector, samples, _matched(detector, samples, case.load("logits"))


def _matched(detector: Detector, samples: Samples, answers: np.ndarray) -> precision.Matched:
    found = Found.of([each for answer in answers for each in detector.detections(answer[None])])
    return precision.matches(samples.boxes(range(len(samples))), found, CLASSES)


def _judge(judged_by: tuple[Detector, Samples, precision.Matched] | None, case: Case, file: Path, form: str) -> str:
    run = runner(file, form)
    expected = case.load("logits")
    given = np.concatenate([run(image[None]) for image in np.load(case.folder / "evaluation.npy", mmap_mode="r")])
    parts = slice(None), slice(None, -4), slice(-4, None)
    decibels = [inference.sqnr_db(expected[..., part], given[..., part]) for part in parts]
    every, logits, offsets = (float("inf") if each is None else each for each in decibels)
    words = f"{'–':>8} {'':15} {'–':>6}"
    if judged_by is not None:
        detector, samples, before = judged_by
        now = _matched(detector, samples, given)
        low, high = (100 * end for end in precision.drop_interval(before, now))
        lost = 100 * precision.drop(before, now), 100 * (before.ap50 - now.ap50)
        words = f"{lost[0]:8.2f} {f'{low:.2f} to {high:.2f}':>15} {lost[1]:6.2f}"
    return f"{words} {every:8.2f} {logits:7.2f} {offsets:8.2f}"


def _right(network: nn.Module, samples: Samples) -> str:
    """Return how well a network finds objects."""
    detector = anchors.of(NETWORKS["trained"][0], SCENES.size, CLASSES)
    assert isinstance(detector, Detector)
    with torch.no_grad():
        answers = np.concatenate([network(torch.from_numpy(image[None])).numpy() for image in normalised(samples)])
    found = _matched(detector, samples, answers)
    return f"mAP {100 * found.map:.1f} %, AP50 {100 * found.ap50:.1f} %"


if __name__ == "__main__":
    main()
