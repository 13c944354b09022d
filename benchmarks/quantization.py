"""Is our INT8 closer to FP32 than anybody else's? NNCF, onnxruntime and ModelOpt against ours, in one run.

    quality   ResNet-20 and -32 with published CIFAR-10 weights, and a bottleneck network that no quantizer was tuned
              on: SQNR, agreement, top-1 and its paired drop, in both dialects. Each peer in its default setting and in
              the best that a search chose for this very network on these evaluation images: that favours the peers.
    search    Repeats that search (hours on two cores) and prints each setting that it tried.
    cost      ResNet-50 at 224, ONNX in: seconds and peak memory of each whole process.
    latency   ResNet-50 at 224, INT8, batch 1 on OpenVINO: NNCF's file against ours, in turn, in fresh processes.

OpenVINO's form runs on OpenVINO's CPU plug-in with float parts in f32. TensorRT's form has no device here: its figures
are *simulated* by onnxruntime without graph optimization, which is the file as it is written; whether TensorRT would
take it is answered by its parser, in TensorRT-RTX, which builds without a GPU.

The peers live in an environment of their own:

    python -m venv peers && peers/bin/pip install nncf "nvidia-modelopt[onnx]" requests tensorrt-rtx
    python benchmarks/quantization.py quality --data DIR --peers peers/bin/python

DIR holds `train` and `eval`, folders of class folders, and the weights `resnet20-*.th` and `resnet32-*.th`. A peer that
cannot be imported is skipped with a message. Nothing else may run on the machine while cost and latency are measured.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import _cost
import _networks
import _search
import _settings
import bottleneck
from _case import Case
from _judged import Judged, as_tensorrt_reads, fresh, has_uint8, judge, rewritten_signed

from edgeresnet.errors import EdgeresnetError
from edgeresnet.portable import machine

DIALECTS = ("openvino", "tensorrt")
EFFORTS = ("fast", "balanced", "best")
RUNTIME = {"openvino": "openvino", "tensorrt": "onnxruntime"}
TITLE = {
    "openvino": "OpenVINO's form, run by OpenVINO on this CPU",
    "tensorrt": "TensorRT's form, simulated by onnxruntime on this CPU",
}
HEADER = f"{'setting':42} {'SQNR dB':>7} {'agree %':>7} {'top-1':>6} {'drop ≤ pp':>9} {'s':>6} {'MB':>6}  parser"


def main() -> None:
    args = _arguments()
    cpu = machine.describe().cpu
    print(f"{cpu.cores} cores of {cpu.model}", flush=True)
    with _folder(args.work) as folder:
        if args.what == "cost":
            _cost.cost(folder, args.peers, args.effort or ["fast", "best"])
        elif args.what == "latency":
            _cost.latency(folder, args.peers, args.processes, args.seconds)
        else:
            work = _quality if args.what == "quality" else _searched
            for case in _cases(args, folder):
                work(case, args)


def _cases(args: argparse.Namespace, folder: Path) -> Iterator[Case]:
    for name in args.network or (*_networks.WEIGHTS, "bottleneck"):
        if name != "bottleneck":
            yield _networks.published(name, args.data, folder)
            continue
        weights = args.bottleneck or folder / "bottleneck.safetensors"
        if not weights.is_file():
            bottleneck.train_to(args.data, weights)
        yield _networks.third(args.data, weights, folder)


def _quality(case: Case, args: argparse.Namespace) -> None:
    labels, logits = case.load("labels"), case.load("logits")
    top1 = 100 * float((logits.argmax(1) == labels).mean())
    for dialect in DIALECTS:
        print(f"\n{case.name}, {TITLE[dialect]}: {len(labels)} images, FP32 top-1 {top1:.2f} %\n{HEADER}", flush=True)
        best: tuple[str, Judged] | None = None
        for title, peer, options in _settings.table(case.name, dialect):
            found = _peer_row(case, dialect, title, peer, options, args)
            if found and (best is None or found.sqnr_db > best[1].sqnr_db):
                best = title, found
        ours: list[tuple[str, str | None]] = [(effort, None) for effort in args.effort or EFFORTS]
        if dialect == "openvino":  # what the other way with residual additions would give
            ours.insert(1, (ours[0][0], "shortcut"))
        for effort, residual in ours:
            found = _our_row(case, dialect, effort, residual, args)
            if found and best:
                gain = found.sqnr_db - best[1].sqnr_db
                print(f"{'':42} {gain:+7.2f} dB against the best peer ({best[0]})", flush=True)


def _peer_row(
    case: Case, dialect: str, title: str, peer: str, options: dict[str, Any], args: argparse.Namespace
) -> Judged | None:
    out = case.folder / f"{title}-{dialect}.onnx".replace(" ", "-").replace(",", "")
    out = out.with_suffix(".xml") if options.get("backend") == "openvino" else out
    job = {"peer": peer, "options": options, "onnx": str(case.onnx), "images": str(case.calibration), "out": str(out)}
    return _row(case, dialect, title, fresh(_python(peer, args), job), out, args)


def _our_row(case: Case, dialect: str, effort: str, residual: str | None, args: argparse.Namespace) -> Judged | None:
    title = f"edgeresnet {effort}" + (f", residual {residual}" if residual else "")
    out = case.folder / f"{title}-{dialect}.onnx".replace(" ", "-").replace(",", "")
    options = {"dialect": dialect, "effort": effort, "residual": residual}
    job = {"peer": "ours", "options": options, "onnx": str(case.onnx), "images": str(case.calibration), "out": str(out)}
    return _row(case, dialect, title, fresh(sys.executable, job), out, args)


def _row(
    case: Case, dialect: str, title: str, answer: dict[str, Any], out: Path, args: argparse.Namespace
) -> Judged | None:
    if not answer["ok"]:
        print(f"{title:42} skipped: {answer['problem'][:120]}", flush=True)
        return None
    word, notes = "", []
    if dialect == "tensorrt":
        parsing = fresh(args.peers, {"peer": "parser", "onnx": str(out), "options": {}})
        word = _search.parsed(parsing)
        if has_uint8(out) and title.endswith(_settings.REWRITTEN):
            out = rewritten_signed(out, out.with_suffix(".signed.onnx"))
            parsing = fresh(args.peers, {"peer": "parser", "onnx": str(out), "options": {}})
            word, notes = _search.parsed(parsing), ["uint8 rewritten as int8 by this benchmark"]
        elif has_uint8(out) and parsing.get("parsed"):
            out, notes = as_tensorrt_reads(out, out.with_suffix(".misread.onnx")), ["judged as TensorRT reads it"]
    try:
        found = judge(case, out, RUNTIME[dialect])
    except EdgeresnetError as problem:
        found = judge(case, out, "onnxruntime")
        notes.append(f"OpenVINO refuses it ({problem}); onnxruntime judges it instead")
    print(
        f"{title:42} {found.sqnr_db:7.2f} {found.agree_pct:7.2f} {found.top1_pct:6.2f} "
        f"{found.drop_high_pp:9.2f} {answer['whole_seconds']:6.1f} {answer['peak_mb']:6.0f}  "
        f"{'; '.join([word, *notes] if word else notes)}",
        flush=True,
    )
    return found


def _searched(case: Case, args: argparse.Namespace) -> None:
    say: Callable[[str], None] = lambda line: print(line, flush=True)  # noqa: E731
    for peer, dialect in _settings.STARTS:
        if args.only in (None, peer):
            parser = args.peers if dialect == "tensorrt" else None
            _search.search(case, peer, dialect, _python(peer, args), parser, say)


def _python(peer: str, args: argparse.Namespace) -> str:
    """Return a peer's interpreter: onnxruntime is ours too, and often newer here than ModelOpt allows."""
    return sys.executable if peer == "onnxruntime" else args.peers


@contextlib.contextmanager
def _folder(work: Path | None) -> Iterator[Path]:
    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
        yield work
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="quality", choices=["quality", "search", "cost", "latency"])
    parser.add_argument("--data", type=Path, help="train, eval and the weights; for quality and search")
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON", help="the interpreter that has the peers")
    parser.add_argument("--work", type=Path, help="folder for the files; a temporary folder by default")
    parser.add_argument("--network", action="append", help="resnet20, resnet32, bottleneck; may be repeated")
    parser.add_argument("--bottleneck", type=Path, help="its weights; without them it is trained")
    parser.add_argument("--effort", action="append", choices=EFFORTS)
    parser.add_argument("--only", help="search: one peer")
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=120.0)
    args = parser.parse_args()
    if args.data is None and args.what in ("quality", "search"):
        parser.error(f"{args.what} needs --data DIR")
    return args


if __name__ == "__main__":
    main()
