"""Does a diagnosis name what is wrong with an INT8 file?

    planted   Fourteen networks, each with one fault planted in a known layer: is this layer named first, and the fault?
              Ten networks without a fault, quantized by edgeresnet, NNCF and onnxruntime: no cause may be named.
    control   Layers left in float so that at most one point of accuracy is lost: ours against NNCF's accuracy control.
    placement Where Q/DQ stand, by measured latency: ours, what `residual: auto` takes, and NNCF's. Needs no data.
    scan      What a diagnosis of ResNet-50 and of ResNet-20 costs, next to a calibration. Needs no data.

DIR holds what `benchmarks/quantization.py` names. With `--peers`, the interpreter of an environment that has NNCF and
onnxruntime, their files are among those without a fault. Networks without their files are skipped with a message.

    python benchmarks/control.py planted --data DIR --work FOLDER --peers peers/bin/python
    python benchmarks/control.py control --data DIR --work FOLDER --peers peers/bin/python --settings 1
    python benchmarks/control.py placement --peers peers/bin/python --only cifar_resnet20 --seconds 20
    python benchmarks/control.py scan
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import _controlling
import _faults
import _networks
import _placing
import _scan
import _settings
import numpy as np
import onnx
from _case import Case, preprocessing_of
from _faults import Network, Plant, Planted
from _judged import fresh

from edgeresnet import targets
from edgeresnet.graph.canonical import canonical
from edgeresnet.noise.diagnose import diagnose
from edgeresnet.noise.diagnosis import NoiseDiagnosis
from edgeresnet.quantization import engine

IMAGES = 64
# network, form, fault, layer: whose input, weights or output is at fault
FAULTS: list[tuple[str, str, Plant, str]] = [
    ("resnet20", "openvino", _faults.outlier, "layer1.0.conv1"),
    ("resnet32", "openvino", _faults.halves, "layer1.1.conv1"),
    ("resnet20", "tensorrt", _faults.shift, "layer1.1.conv2"),
    ("adversarial", "openvino", _faults.wide, "layer2.1.conv2"),
    ("resnet32", "tensorrt", _faults.narrow, "layer2.2.conv1"),
    ("resnet20", "openvino", _faults.signed, "layer1.0.conv1"),
    ("adversarial", "openvino", _faults.unsigned, "layer2.1.conv2"),
    ("resnet32", "openvino", _faults.zero_point, "layer1.0.conv1"),
    ("resnet20", "openvino", _faults.per_tensor, "layer2.1.conv1"),
    ("resnet32", "openvino", _faults.clipped, "layer3.0.conv2"),
    ("resnet20", "tensorrt", _faults.dead, "layer2.2.conv2"),
    ("resnet32", "openvino", _faults.apart, "layer1.2.conv2"),
    ("resnet20", "openvino", _faults.float_input, "layer2.1.conv2"),
    ("adversarial", "openvino", _faults.split, "layer2.1.conv1"),
]
HEALTHY = [("resnet20", "openvino"), ("resnet32", "tensorrt"), ("squeeze", "openvino"), ("preactivation", "tensorrt")]
PEERS = [
    ("resnet20", "NNCF", "openvino"),
    ("resnet32", "NNCF", "tensorrt"),
    ("squeeze", "NNCF", "openvino"),
    ("resnet20", "onnxruntime", "openvino"),
    ("resnet32", "onnxruntime", "openvino"),
    ("resnet20", "onnxruntime", "tensorrt"),
]


def main() -> None:
    args = _arguments()
    with ExitStack() as stack:
        folder = args.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if args.what == "scan":
            _scan.scan(folder, args.count)
        elif args.what == "placement":
            _placing.placement(args, folder)
        else:
            _controlling.control(args, folder) if args.what == "control" else _planted(args, folder)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    planted = commands.add_parser("planted", help="planted faults, and files without one")
    control = commands.add_parser("control", help="layers in float, so that a promise holds")
    for command, only in ((planted, "one fault, or `healthy`"), (control, "one network")):
        command.add_argument("--data", type=Path, required=True, help="folder of networks and images")
        command.add_argument("--work", type=Path, help="folder for quantized networks. Unset: a temporary one")
        command.add_argument("--peers", type=Path, help="interpreter that has NNCF and onnxruntime")
        command.add_argument("--only", help=only)
    control.add_argument("--settings", type=int, default=2, help="of NNCF: 1 for its default alone, 2: tuned too")
    scan = commands.add_parser("scan", help="time and memory of a diagnosis")
    scan.add_argument("--work", type=Path, help="folder for networks. Unset: a temporary one")
    scan.add_argument("--count", type=int, default=IMAGES, help="images")
    placement = commands.add_parser("placement", help="where Q/DQ stand, by measured latency")
    placement.add_argument("--work", type=Path, help="folder for networks. Unset: a temporary one")
    placement.add_argument("--peers", type=Path, help="interpreter that has NNCF")
    placement.add_argument("--only", help="one network")
    placement.add_argument("--processes", type=int, default=5)
    placement.add_argument("--seconds", type=float, default=60.0, help="of all processes, for each target")
    return parser.parse_args()


def _planted(args: argparse.Namespace, folder: Path) -> None:
    layers = codes = quiet = 0
    made = Makes(args.data, folder)
    faults = [each for each in FAULTS if args.only in (None, each[2].__name__)]
    for number, (name, form, plant, layer) in enumerate(faults, 1):
        planted = plant(made.network(name, form), layer)
        found, seconds = _diagnosed(planted)
        right = judged(planted, found)
        layers, codes = layers + right[0], codes + right[1]
        print(
            f"{number:2} {plant.__name__:12} {name:14} {form:9} layer {_word(right[0])} cause {_word(right[1])} "
            f"{_said(found)} ({seconds:.0f} s)",
            flush=True,
        )
    healthy = [] if args.only not in (None, "healthy") else list(_healthy(made, args.peers))
    for title, planted in healthy:
        found, seconds = _diagnosed(planted)
        quiet += not found.causes
        print(f"{title:40} {_said(found)} ({seconds:.0f} s)", flush=True)
    print(
        f"layer named first: {layers} of {len(faults)}. Cause named first: {codes} of {len(faults)}. "
        f"No cause without a fault: {quiet} of {len(healthy)}."
    )


def judged(planted: Planted, found: NoiseDiagnosis) -> tuple[bool, bool]:
    """Return whether the layer is named first, and the cause."""
    if not found.causes:
        return False, False
    first = found.causes[0]
    return first.layer in planted.layers(), first.code in planted.codes


def _word(right: bool) -> str:
    return "yes" if right else "NO "


def _said(found: NoiseDiagnosis) -> str:
    sqnr = "exact" if found.sqnr_db is None else f"{found.sqnr_db:.1f} dB"
    named = "; ".join(f"{cause.code} {cause.layer} {cause.weight:.2f}" for cause in found.causes)
    return f"{sqnr}: {named or 'no cause'}"


def _diagnosed(planted: Planted) -> tuple[NoiseDiagnosis, float]:
    began = time.perf_counter()
    found = diagnose(
        planted.exact,
        planted.rounded,
        planted.images,
        network="int8.onnx",
        reference="fp32.onnx",
        calibration=planted.calibration,
    )
    return found, time.perf_counter() - began


def _healthy(made: Makes, peers: Path | None) -> Iterator[tuple[str, Planted]]:
    for name, form in HEALTHY:
        network = made.network(name, form)
        yield f"{name} edgeresnet {form}", _faults.without(network, network.rounded)
    for name, peer, form in PEERS:
        rounded = made.by_peer(name, peer, form, peers) if peers else None
        if rounded is not None:
            yield f"{name} {peer} {form}", _faults.without(made.network(name, form), rounded)


class Makes:
    """Quantizes networks, each once."""

    def __init__(self, data: Path, folder: Path):
        self._data, self._folder = data, folder
        self._made: dict[tuple[str, str], Network] = {}

    def network(self, name: str, form: str) -> Network:
        if (name, form) not in self._made:
            case = _networks.case_of(name, self._data, self._folder)
            self._made[name, form] = quantized(case, form)
        return self._made[name, form]

    def by_peer(self, name: str, peer: str, form: str, python: Path) -> onnx.ModelProto | None:
        """Return a network that other people quantized, in the best setting that a search found for it."""
        case = _networks.case_of(name, self._data, self._folder)
        rows = [row for row in _settings.table(name, form, case.size) if row[0].startswith(f"{peer}, tuned")]
        title, kind, options = rows[0]
        out = case.folder / f"{title}-{form}.onnx".replace(" ", "-").replace(",", "")
        if not out.is_file():
            job = {"options": options, "onnx": str(case.onnx), "images": str(case.calibration), "out": str(out)}
            answer = fresh(str(python), {"peer": kind, **job})
            if not answer["ok"]:
                print(f"{name} {peer} {form}: skipped: {answer['problem']}", flush=True)
                return None
        return canonical(onnx.load(out))


def quantized(case: Case, form: str) -> Network:
    """Quantize a network as `quantize` does, or read what an earlier run wrote."""
    choices = engine.Choices(targets.get(form).dialect, preprocessing=preprocessing_of(case.onnx, case.size))
    out = case.folder / f"control-{form}.onnx"
    known = onnx.load(out) if out.is_file() else None
    network = _faults.network_of(onnx.load(case.onnx), np.load(case.calibration), choices, known)
    onnx.save(network.rounded, out)
    return replace(network, images=network.images[:IMAGES])


if __name__ == "__main__":
    main()
