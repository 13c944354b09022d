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

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from _case import Case, preprocessing
from _judged import fresh
from torch import nn

from edgeresnet import images, models, recipe
from edgeresnet.context import Context
from edgeresnet.images import Samples
from edgeresnet.models import checkpoint
from edgeresnet.portable import inference, machine
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.stages import trace, train
from edgeresnet.stages.specs import Architecture, TrainInputs, TrainSpec
from edgeresnet.store import Given

SEED, CLASSES = 0, 11
NETWORKS = {
    "trained": ("fcn_cifar_resnet8", "deeplabv3_cifar_resnet8"),
    "random": ("fcn_resnet50", "deeplabv3_resnet50"),
}
SCENES = Preprocessing(64, mean=(0.4,), std=(0.25,))
PLAN: dict[str, Any] = {"rate": 0.01, "batch": 16, "schedule": "one-cycle", "augment": {"shift": 4}}
NNCF: dict[str, dict[str, Any]] = {
    "NNCF, default": {},
    "NNCF, mixed": {"preset": "mixed"},
    "NNCF, mixed, full bias correction": {"preset": "mixed", "fast_bias_correction": False},
}
_WARM, _FEWEST, _SOME = 3, 8, 32  # images


class Judged(NamedTuple):
    """An INT8 network's answers compared with FP32's."""

    sqnr_db: float
    agree_pct: float


def main() -> None:
    args = _arguments()
    cpu = machine.describe().cpu
    print(f"{cpu.cores} cores of {cpu.model}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = args.work or Path(name)
        for arch in args.network or NETWORKS[args.what]:
            _compare(_case(arch, folder, args), args)


def _compare(case: Case, args: argparse.Namespace) -> None:
    sides = "×".join(map(str, np.load(case.calibration, mmap_mode="r").shape))
    print(f"\n{case.name}: calibrated on {sides}, judged on {len(case.load('evaluation'))} images", flush=True)
    print(f"{'':36} {'SQNR dB':>8} {'pixels %':>8} {'s':>6} {'MB':>6}")
    made = {"FP32": case.onnx}
    for title, job in _jobs(case, args):
        python = sys.executable if job["peer"] == "ours" else args.peers
        answer = fresh(python, job)
        if not answer["ok"]:
            print(f"{title:36} skipped: {answer['problem'][:120]}", flush=True)
            continue
        made[title] = Path(job["out"])
        found = _judge(case, made[title], args.form)
        cost = f"{answer['whole_seconds']:6.0f} {answer['peak_mb']:6.0f}"
        print(f"{title:36} {found.sqnr_db:8.2f} {found.agree_pct:8.3f} {cost}", flush=True)
    if args.form == "openvino":
        _print_layers(made)
        _print_times(made, case.load("evaluation")[:_SOME], args.seconds)
    else:
        for title, path in list(made.items())[1:]:
            print(title, fresh(args.peers, {"peer": "parser", "onnx": str(path), "options": {}}))


def _jobs(case: Case, args: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    given = {"onnx": str(case.onnx), "images": str(case.calibration)}
    for number, (title, options) in enumerate(NNCF.items() if args.form == "openvino" and args.peers else ()):
        yield title, {"peer": "nncf", "options": options, **given, "out": str(case.folder / f"nncf-{number}.onnx")}
    for effort in args.effort or ["fast"]:
        options = {"dialect": args.form, "effort": effort}
        out = case.folder / f"edgeresnet-{effort}-{args.form}.onnx"
        yield f"edgeresnet {effort}", {"peer": "ours", "options": options, **given, "out": str(out)}


def _judge(case: Case, file: Path, form: str) -> Judged:
    """Compare image by image: the logits of all need not be in memory."""
    run = _runner(file, form)
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
    return Judged(float("inf") if decibels is None else decibels, 100 * same / pixels)


def _runner(file: Path, form: str) -> Any:
    """Return what computes a network's answers: OpenVINO in f32, or onnxruntime, which computes what is written."""
    if form == "openvino":
        network = _compiled(file)
        return lambda image: network([np.ascontiguousarray(image)])[network.output(0)]
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if file.name != "fp32.onnx":
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image})[0]


def _compiled(file: Path) -> Any:
    import openvino

    core = openvino.Core()
    model = core.read_model(file)
    sides = [side.get_length() for side in list(model.input(0).partial_shape)[1:]]
    model.reshape({0: [1, *sides]})
    return core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"})


def _print_layers(made: dict[str, Path]) -> None:
    """Print in which precision OpenVINO runs what counts."""
    for title, path in made.items():
        found: dict[str, dict[str, int]] = {}
        for operator in _compiled(path).get_runtime_model().get_ordered_ops():
            about = operator.get_rt_info()
            kind, precision = (about[key].astype(str) for key in ("layerType", "runtimePrecision"))
            if kind in ("Convolution", "Concatenation", "Interpolate", "Pooling", "Reduce"):
                found.setdefault(kind, {}).setdefault(precision, 0)
                found[kind][precision] += 1
        print(f"{title:36} {found}", flush=True)


def _print_times(made: dict[str, Path], given: np.ndarray, seconds: float) -> None:
    """Time the networks in turn, image by image, so that what else the machine does meets all of them."""
    requests = {title: _compiled(path).create_infer_request() for title, path in made.items()}
    times: dict[str, list[float]] = {title: [] for title in requests}
    began, number = time.perf_counter(), 0
    while number < _FEWEST or time.perf_counter() - began < seconds:
        image = np.ascontiguousarray(given[number % len(given)][None])
        for title, request in requests.items():
            start = time.perf_counter()
            request.infer([image])
            times[title].append(1e3 * (time.perf_counter() - start))
        number += 1
    for title, each in times.items():
        p50, base = (float(np.median(one[_WARM:])) for one in (each, times["FP32"]))
        print(f"{title:36} p50 {p50:7.2f} ms, FP32's {base / p50:.2f} times as long ({number - _WARM} images)")


def _case(arch: str, folder: Path, args: argparse.Namespace) -> Case:
    """Return a network's files in a folder: as an earlier call wrote them, or written now."""
    case = Case(arch, folder / arch)
    if not (case.folder / "logits.npy").is_file():
        case.folder.mkdir(parents=True, exist_ok=True)
        made = _trained(arch, case.folder, args) if args.what == "trained" else _random(arch, args)
        network, calibration, evaluation = made
        how = calibration.preprocessing
        model = trace.to_onnx(network, how.channels, how.size)
        case.onnx.write_bytes(model.SerializeToString())
        onnx.checker.check_model(model)
        (case.folder / "preprocessing.json").write_text(json.dumps(how.to_json()))
        for name, samples in (("calibration", calibration), ("evaluation", evaluation)):
            np.save(case.folder / f"{name}.npy", _normalised(samples))
        exact = _runner(case.onnx, "tensorrt")
        np.save(case.folder / "logits.npy", np.concatenate([exact(one[None]) for one in case.load("evaluation")]))
    return case


def _trained(arch: str, folder: Path, args: argparse.Namespace) -> tuple[nn.Module, Samples, Samples]:
    """Train on scenes of digits; calibrate with what was learned from, judge on what was not."""
    chosen = recipe.parse(
        {
            "version": 1,
            "task": "segmentation",
            "model": {"arch": arch, "classes": CLASSES},
            "preprocessing": SCENES.to_json(),
            "images": {"training": "digits-scenes", "evaluation": "digits-scenes"},
            "train": {**PLAN, "epochs": args.epochs},
        }
    )
    learned, evaluation = (images.open_samples(chosen, slot) for slot in ("training", "evaluation"))
    assert chosen.train is not None
    out, scratch = folder / "out", folder / "scratch"
    out.mkdir(exist_ok=True)
    scratch.mkdir(exist_ok=True)
    about = Architecture(arch, classes=CLASSES, channels=1, task="segmentation")
    began = time.perf_counter()
    inputs = TrainInputs(Given(learned.digest, learned))
    train.train(inputs, TrainSpec(about, chosen.train, SEED), out, Context(SEED, scratch, lambda *_: None))
    network = models.build(arch, CLASSES, 1)
    checkpoint.load_into(network, out / checkpoint.FILE, arch)
    network = network.eval()
    print(f"{arch}: {args.epochs} epochs in {time.perf_counter() - began:.0f} s, {_right(network, evaluation)}")
    return network, learned.subset(range(args.images)), evaluation


def _right(network: nn.Module, samples: Samples) -> str:
    """Return how many pixels, and how many of those of a digit, have the right class."""
    right, digits = [], []
    with torch.no_grad():
        for start, image in enumerate(_normalised(samples)):
            mask = samples.mask(start)
            same = network(torch.from_numpy(image[None])).argmax(1)[0].numpy() == mask
            right.append(same.mean())
            digits.append(same[mask > 0].mean())
    return f"{100 * np.mean(right):.1f} % of the pixels are right, {100 * np.nanmean(digits):.1f} % of those of digits"


def _random(arch: str, args: argparse.Namespace) -> tuple[nn.Module, Samples, Samples]:
    """Build a network of random weights, and let batch normalisation learn the statistics of photographs."""
    torch.manual_seed(SEED)
    calibration, evaluation = (_photographs(args, part) for part in ("calibration", "evaluation"))
    network = models.build(arch, CLASSES, 3)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # the mean of all batches
            nn.init.normal_(layer.bias, std=0.1)  # a trained network's convolutions have biases
    network.train()
    with torch.no_grad():
        for part in np.array_split(_normalised(calibration.subset(range(_SOME))), _SOME // 8):
            network(torch.from_numpy(part))
    return network.eval(), calibration, evaluation


def _photographs(args: argparse.Namespace, part: str) -> Samples:
    (file,) = args.data.glob(f"photos-{part}-*.tar")
    chosen = recipe.parse(
        {
            "version": 1,
            "model": {"arch": "resnet50", "classes": 2, "checkpoint": "none"},
            "preprocessing": preprocessing(args.size).to_json(),
            "images": {"evaluation": {"from": str(file)}, "calibration": {"from": str(file), "count": args.images}},
        }
    )
    return images.open_samples(chosen, "calibration")


def _normalised(samples: Samples) -> np.ndarray:
    return np.concatenate([samples.preprocessing.normalize(batch.pixels) for batch in samples.batches(32)])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(NETWORKS))
    parser.add_argument("--data", type=Path, help="the photographs; for `random`")
    parser.add_argument("--peers", metavar="PYTHON", help="the interpreter that has NNCF; without it, ours alone")
    parser.add_argument("--work", type=Path, help="folder for the files; a temporary folder by default")
    parser.add_argument("--network", action="append", choices=[arch for each in NETWORKS.values() for arch in each])
    parser.add_argument("--effort", action="append", choices=["fast", "balanced", "best"])
    parser.add_argument("--form", default="openvino", choices=["openvino", "tensorrt"])
    parser.add_argument("--images", type=int, default=128, help="calibration images, and photographs to judge on")
    parser.add_argument("--size", type=int, default=224, help="side of the photographs")
    parser.add_argument("--epochs", type=int, default=20, help="of training")
    parser.add_argument("--seconds", type=float, default=30.0, help="of timing, for each network")
    args = parser.parse_args()
    if args.data is None and args.what == "random":
        parser.error("random needs --data DIR")
    return args


if __name__ == "__main__":
    main()
