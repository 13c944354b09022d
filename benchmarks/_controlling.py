"""Accuracy control: `exclude: auto` against NNCF's `quantize_with_accuracy_control`, on the same networks and images.

Each network as it is, and with layers made hard, while FP32 answers the same. *Grown*: one channel is 50 times as
large, with weights behind it as much smaller. *Torn*: a layer reads each channel twice, and large weights cancel one
another out.

Ours sees calibration images without labels. NNCF sees the same images, and labelled images of the evaluation set to
choose by; the others judge both. NNCF in its default setting and tuned: three times as many images to rank layers, and
its search over hyperparameters, which takes more than ten minutes where a search is needed: `--settings 1` leaves it
out. All seconds are those of a process of its own, imports included.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import _faults
import _networks
import numpy as np
import onnx
from _case import Case
from _judged import fresh, probabilities
from _our_control import ratios

from edgeresnet.portable import intervals
from edgeresnet.quantization.net import Net
from edgeresnet.targets import openvino

DROP_PP = 1.0
# network, how its layers are made hard, layers and factors
CASES: list[tuple[str, str, dict[str, float]]] = [
    ("resnet20", "", {}),
    ("resnet20", "grown", {"layer2.1.conv1": 50}),
    ("resnet20", "torn", {"layer2.1.conv2": 100}),
    ("resnet32", "", {}),
    ("resnet32", "grown", {"layer3.2.conv1": 50}),
    ("resnet32", "torn", {"layer1.1.conv2": 100, "layer2.2.conv2": 100, "layer3.1.conv2": 100}),
    ("bottleneck", "", {}),
    ("bottleneck", "torn", {"stages.3.conv2": 100}),
    ("squeeze", "", {}),
    ("preactivation", "", {}),
]
SETTINGS: dict[str, dict[str, Any]] = {
    "NNCF, default": {},
    "NNCF, tuned": {"ranking_subset_size": 900, "tune_hyperparams": True},
}


def control(args: argparse.Namespace, folder: Path) -> None:
    """Print a row for each network and tool: layers in float, drop with its interval, seconds, ratio of times."""
    print(f"{'network':20} {'by':14} {'float':>5} {'drop pp (95 %)':>22} {'':9} {'s':>7}  times ours (95 %)")
    for name, how, layers in CASES:
        title = f"{name} {how}{f' {len(layers)}' if len(layers) > 1 else ''}".strip()
        if args.only in (None, name, title):
            case = _networks.case_of(name, args.data, folder)
            network = onnx.load(case.onnx)
            for layer, factor in layers.items():
                network = {"grown": _faults.grown, "torn": _faults.torn}[how](network, layer, factor)
            work = folder / (title.replace(" ", "-") + "-control")
            work.mkdir(exist_ok=True)
            _compare(title, case, network, work, args)


def _compare(title: str, case: Case, network: onnx.ModelProto, work: Path, args: argparse.Namespace) -> None:
    file = work / "fp32.onnx"
    onnx.save(network, file)
    images, labels = case.load("evaluation"), case.labels()
    assert labels is not None
    choosing = np.arange(len(images)) % 2 == 0  # NNCF's; the others judge
    np.save(work / "choosing.npy", images[choosing])
    np.save(work / "choosing-labels.npy", labels[choosing])
    job = {"onnx": str(file), "images": str(case.calibration)}
    ours = {"drop_pp": DROP_PP, "judged": int((~choosing).sum()), "preprocessing": str(case.onnx)}
    theirs = {"choosing": str(work / "choosing.npy"), "labels": str(work / "choosing-labels.npy")}
    jobs = {"ours": (sys.executable, {"peer": "our-control", "work": str(work / "search"), **ours})}
    for setting, options in list(SETTINGS.items())[: args.settings] if args.peers else ():
        given = {"options": {**options, "drop": DROP_PP / 100}, **theirs}
        jobs[setting] = str(args.peers), {"peer": "nncf-control", **given}
    files, seconds = {}, {}
    for by, (python, more) in jobs.items():
        out = work / f"{by.replace(', ', '-')}.onnx"
        answer = fresh(python, {**job, **more, "out": str(out)})
        if not answer["ok"]:
            print(f"{title:20} {by:14} skipped: {answer['problem'][:300]}", flush=True)
            continue
        files[by], seconds[by] = out, answer["whole_seconds"]
        if by == "ours":
            print(f"{title:20} {by:14} {answer['ended']}: {', '.join(answer['layers'])} ({answer['tried']} tried)")
    before = _answers(file, images[~choosing])
    times = _times(files, work)
    for by, found in files.items():
        _print_row(title, by, found, before, _answers(found, images[~choosing]), labels[~choosing], seconds[by], times)


def _print_row(
    title: str,
    by: str,
    file: Path,
    before: np.ndarray,
    now: np.ndarray,
    labels: np.ndarray,
    seconds: float,
    times: Mapping[str, str],
) -> None:
    right, still = before.argmax(1) == labels, now.argmax(1) == labels
    lost, won = int((right & ~still).sum()), int((still & ~right).sum())
    low, high = (100 * end for end in intervals.tango(lost, won, len(labels)))
    verdict = "KEPT" if high <= DROP_PP else "BROKEN" if low > DROP_PP else "UNDECIDED"
    drop = f"{100 * (lost - won) / len(labels):+.2f} ({low:+.2f} to {high:+.2f})"
    change = float(np.abs(probabilities(before) - probabilities(now)).sum(1).mean() / 2)
    print(
        f"{title:20} {by:14} {_in_float(file):5} {drop:>22} {verdict:9} {seconds:7.1f}  {times.get(by, '')}  "
        f"Δp {change:.4f}",
        flush=True,
    )


def _times(files: Mapping[str, Path], work: Path) -> dict[str, str]:
    found = ratios(files, work / "compiled", max(6.0, 2.0 * len(files)))
    return {name: "{:.3f} ({:.3f} to {:.3f})".format(*ratio) for name, ratio in found.items()}


def _answers(file: Path, images: np.ndarray) -> np.ndarray:
    with openvino.OpenVinoSession(file, openvino.Options(float_parts="f32")) as network:
        return np.concatenate([network.infer(images[start : start + 100]) for start in range(0, len(images), 100)])


def _in_float(file: Path) -> int:
    """Count convolutions and Gemms that do not read INT8 data and weights."""
    net = Net(onnx.load(file))
    weighted = [node for node in net.nodes if node.kind in ("Conv", "Gemm", "MatMul")]
    made = {name for node in net.nodes if node.kind == "DequantizeLinear" for name in node.outputs}
    return sum(not set(node.inputs[:2]) <= made for node in weighted)
