"""INT8 networks that answer for each pixel: ours and NNCF's, compared with FP32.

    trained   FCN and DeepLabV3 behind a ResNet-8, trained here on scenes of handwritten digits (64 pixels): quality.
    random    torchvision's FCN and DeepLabV3 behind a ResNet-50 on photographs. Weights are random, and batch
              normalisation has the statistics of calibration photographs: what counts is cost, acceptance and decibels,
              which depend less on weights than answers do.

For each network: SQNR over all logits of the evaluation images, the pixels whose class is FP32's, what quantizing took
(the whole process, its peak memory), and p50 of one image. OpenVINO's CPU plug-in runs our file for OpenVINO and
NNCF's, float parts in f32, one after the other image by image. With `--form tensorrt`: our file for TensorRT as it is
written, run by onnxruntime without graph optimization, and what TensorRT-RTX's parser and builder say of it.

    python benchmarks/segmentation.py trained --peers peers/bin/python
    python benchmarks/segmentation.py random --data DIR --peers peers/bin/python

DIR holds `photos-calibration-*.tar` and `photos-evaluation-*.tar`. The peers live in an environment of their own: see
`quantization.py`. Nothing else may run on the machine while times are measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from _case import Case
from _dense import NNCF, Kind, arguments, compare, each_network, normalised, runner
from torch import nn

from edgeresnet.images import Samples
from edgeresnet.portable import inference

NETWORKS = {
    "trained": ("fcn_cifar_resnet8", "deeplabv3_cifar_resnet8"),
    "random": ("fcn_resnet50", "deeplabv3_resnet50"),
}
PLAN: dict[str, Any] = {"rate": 0.01, "batch": 16, "schedule": "one-cycle", "augment": {"shift": 4}}


def main() -> None:
    args = arguments(__doc__, NETWORKS, forms=("openvino", "tensorrt"), epochs=20)
    for case in each_network(args, NETWORKS, Kind("segmentation", 11, PLAN, _right)):
        compare(case, args, _judge, f"{'SQNR dB':>8} {'pixels %':>8}", NNCF if args.form == "openvino" else ())


def _judge(case: Case, file: Path, form: str) -> str:
    """Compare image by image: the logits of all need not be in memory."""
    run = runner(file, form)
    signal = noise = 0.0
    same = pixels = 0
    both = (np.load(case.folder / f"{name}.npy", mmap_mode="r") for name in ("evaluation", "logits"))
    for image, expected in zip(*both, strict=True):
        given = run(image[None])[0]
        signal += float(np.square(expected, dtype=np.float64).sum())
        noise += float(np.square(expected.astype(np.float64) - given).sum())
        equal = expected.argmax(0) == given.argmax(0)
        same, pixels = same + int(equal.sum()), pixels + equal.size
    decibels = inference.decibels(signal, noise)
    return f"{float('inf') if decibels is None else decibels:8.2f} {100 * same / pixels:8.3f}"


def _right(network: nn.Module, samples: Samples) -> str:
    """Return how many pixels, and how many of those of a digit, have the right class."""
    right, digits = [], []
    with torch.no_grad():
        for start, image in enumerate(normalised(samples)):
            mask = samples.mask(start)
            same = network(torch.from_numpy(image[None])).argmax(1)[0].numpy() == mask
            right.append(same.mean())
            digits.append(same[mask > 0].mean())
    return f"{100 * np.mean(right):.1f} % of the pixels are right, {100 * np.nanmean(digits):.1f} % of those of digits"


if __name__ == "__main__":
    main()
