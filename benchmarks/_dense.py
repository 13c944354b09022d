"""What `segmentation.py` and `detection.py` have in common: networks that answer for each pixel or each anchor."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from edgeresnet.models import anchors, checkpoint
from edgeresnet.portable import machine
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.stages import trace, train
from edgeresnet.stages.specs import Architecture, TrainInputs, TrainSpec
from edgeresnet.store import Given

SEED = 0
SCENES = Preprocessing(64, mean=(0.4,), std=(0.25,))
_WARM, _FEWEST, _SOME = 3, 8, 32  # images

Judge = Callable[[Case, Path, str], str]  # a row of the table
Peer = tuple[str, str, dict[str, Any]]  # a title, a quantizer and its options
NNCF: tuple[Peer, ...] = (
    ("NNCF, default", "nncf", {}),
    ("NNCF, mixed", "nncf", {"preset": "mixed"}),
    ("NNCF, mixed, full bias correction", "nncf", {"preset": "mixed", "fast_bias_correction": False}),
)


class Kind(NamedTuple):
    """What networks of a task are trained for, and how well one does."""

    task: str
    classes: int
    plan: dict[str, Any]  # of training on scenes of digits
    right: Callable[[nn.Module, Samples], str]


def each_network(args: argparse.Namespace, networks: Mapping[str, Sequence[str]], kind: Kind) -> Iterator[Case]:
    """Yield the networks, each with its files in a folder."""
    cpu = machine.describe().cpu
    print(f"{cpu.cores} cores of {cpu.model}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        for arch in args.network or networks[args.what]:
            yield _case(arch, args.work or Path(name), args, kind)


def compare(case: Case, args: argparse.Namespace, judge: Judge, columns: str, peers: Sequence[Peer]) -> None:
    """Quantize a network with every quantizer, and print how each INT8 network answers, what it took and takes."""
    sides = "×".join(map(str, np.load(case.calibration, mmap_mode="r").shape))
    print(f"\n{case.name}: calibrated on {sides}, judged on {len(case.load('evaluation'))} images", flush=True)
    print(f"{'':36} {columns} {'s':>6} {'MB':>6}")
    made = {"FP32": case.onnx}
    for title, job in _jobs(case, args, peers):
        python = sys.executable if job["peer"] == "ours" else args.peers
        answer = fresh(python, job)
        if not answer["ok"]:
            print(f"{title:36} skipped: {answer['problem'][:120]}", flush=True)
            continue
        made[title] = Path(job["out"])
        cost = f"{answer['whole_seconds']:6.0f} {answer['peak_mb']:6.0f}"
        print(f"{title:36} {judge(case, made[title], args.form)} {cost}", flush=True)
    if args.form == "openvino":
        _print_layers(made)
        _print_times(made, case.load("evaluation")[:_SOME], args.seconds)
    elif args.form == "tensorrt":
        for title, path in list(made.items())[1:]:
            print(title, fresh(args.peers, {"peer": "parser", "onnx": str(path), "options": {}}))


def _jobs(case: Case, args: argparse.Namespace, peers: Sequence[Peer]) -> Iterator[tuple[str, dict[str, Any]]]:
    given = {"onnx": str(case.onnx), "images": str(case.calibration)}
    for number, (title, peer, options) in enumerate(peers if args.peers else ()):
        yield title, {"peer": peer, "options": options, **given, "out": str(case.folder / f"{peer}-{number}.onnx")}
    for effort in args.effort or ["fast"]:
        options = {"dialect": args.form, "effort": effort}
        out = case.folder / f"edgeresnet-{effort}-{args.form}.onnx"
        yield f"edgeresnet {effort}", {"peer": "ours", "options": options, **given, "out": str(out)}


def _case(arch: str, folder: Path, args: argparse.Namespace, kind: Kind) -> Case:
    """Return a network's files in a folder: as an earlier call wrote them, or written now."""
    case = Case(arch, folder / arch)
    if not (case.folder / "logits.npy").is_file():
        case.folder.mkdir(parents=True, exist_ok=True)
        made = _trained(arch, case.folder, args, kind) if args.what == "trained" else _random(arch, args, kind)
        network, calibration, evaluation = made
        how = calibration.preprocessing
        model = trace.to_onnx(network, how.channels, how.size)
        case.onnx.write_bytes(model.SerializeToString())
        onnx.checker.check_model(model)
        (case.folder / "preprocessing.json").write_text(json.dumps(how.to_json()))
        for name, samples in (("calibration", calibration), ("evaluation", evaluation)):
            np.save(case.folder / f"{name}.npy", normalised(samples))
        exact = runner(case.onnx, "tensorrt")
        np.save(case.folder / "logits.npy", np.concatenate([exact(one[None]) for one in case.load("evaluation")]))
    return case


def scenes(arch: str, kind: Kind, epochs: int) -> recipe.Recipe:
    """Return a recipe that learns from scenes of digits."""
    return recipe.parse(
        {
            "version": 1,
            "task": kind.task,
            "model": {"arch": arch, "classes": kind.classes},
            "preprocessing": SCENES.to_json(),
            "images": {"training": "digits-scenes", "evaluation": "digits-scenes"},
            "train": {**kind.plan, "epochs": epochs},
        }
    )


def _learned(chosen: recipe.Recipe, images: Samples, folder: Path) -> Path:
    """Train a network; return its weights."""
    arch, classes, plan = chosen.model.arch, chosen.model.classes, chosen.train
    assert arch is not None
    assert classes is not None
    assert plan is not None
    out, scratch = folder / "out", folder / "scratch"
    out.mkdir(exist_ok=True)
    scratch.mkdir(exist_ok=True)
    detector = anchors.of(arch, SCENES.size, classes)
    about = Architecture(arch, classes=classes, channels=1, task=chosen.task, detector=detector)
    began = time.perf_counter()
    inputs = TrainInputs(Given(images.digest, images))
    train.train(inputs, TrainSpec(about, plan, SEED), out, Context(SEED, scratch, lambda *_: None))
    print(f"{arch}: {plan.epochs} epochs in {time.perf_counter() - began:.0f} s")
    return out / checkpoint.FILE


def _trained(arch: str, folder: Path, args: argparse.Namespace, kind: Kind) -> tuple[nn.Module, Samples, Samples]:
    """Train on scenes of digits; calibrate with what was learned from, judge on what was not."""
    chosen = scenes(arch, kind, args.epochs)
    learned, evaluation = (images.open_samples(chosen, slot) for slot in ("training", "evaluation"))
    network = models.build(arch, kind.classes, 1)
    checkpoint.load_into(network, args.weights or _learned(chosen, learned, folder), arch)
    network = network.eval()
    print(f"{arch}: {kind.right(network, evaluation)}")
    return network, learned.subset(range(args.images)), evaluation


def runner(file: Path, form: str) -> Any:
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


def _random(arch: str, args: argparse.Namespace, kind: Kind) -> tuple[nn.Module, Samples, Samples]:
    """Build a network of random weights, and let batch normalisation learn the statistics of photographs."""
    torch.manual_seed(SEED)
    calibration, evaluation = (_photographs(args, part) for part in ("calibration", "evaluation"))
    network = models.build(arch, kind.classes, 3)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # the mean of all batches
            nn.init.normal_(layer.bias, std=0.1)  # a trained network's convolutions have biases
    network.train()
    with torch.no_grad():
        some = normalised(calibration.subset(range(min(_SOME, len(calibration)))))
        for part in np.array_split(some, -(-len(some) // 8)):
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


def normalised(samples: Samples) -> np.ndarray:
    return np.concatenate([samples.preprocessing.normalize(batch.pixels) for batch in samples.batches(32)])


def arguments(
    about: str | None, networks: Mapping[str, Sequence[str]], forms: Sequence[str], epochs: int
) -> argparse.Namespace:
    """Read what is typed."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(networks))
    parser.add_argument("--data", type=Path, help="the photographs; for `random`")
    parser.add_argument("--peers", metavar="PYTHON", help="the interpreter that has NNCF; without it, ours alone")
    parser.add_argument("--work", type=Path, help="folder for the files; a temporary folder by default")
    parser.add_argument("--network", action="append", choices=[arch for each in networks.values() for arch in each])
    parser.add_argument("--effort", action="append", choices=["fast", "balanced", "best"])
    parser.add_argument("--form", default="openvino", choices=forms)
    parser.add_argument("--images", type=int, default=128, help="calibration images, and photographs to judge on")
    parser.add_argument("--size", type=int, default=224, help="side of the photographs")
    parser.add_argument("--epochs", type=int, default=epochs, help="of training")
    parser.add_argument("--weights", type=Path, help="of an earlier training, for `trained`")
    parser.add_argument("--seconds", type=float, default=30.0, help="of timing, for each network")
    args = parser.parse_args()
    if args.data is None and args.what == "random":
        parser.error("random needs --data DIR")
    return args
