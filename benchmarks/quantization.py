"""Is our INT8 closer to FP32 than anybody else's? NNCF, onnxruntime and ModelOpt against ours, in one run.

    quality   Seven networks in both dialects: three with published CIFAR-10 weights (ResNet-20, ResNet-32, and a
              ResNet-20 that was trained against attacks); open-nsfw, a ResNet-50 of half width at 224 pixels; three
              kinds of bottleneck networks that are trained here. SQNR, agreement, the mean change of the probabilities
              (half of the sum of |p−p̂| over the classes: with two classes the change of either), top-1 and its paired
              drop. Each peer in its default setting and in the best that a search chose for this very network on
              these evaluation images: that favours the peers.
    search    Repeats that search (hours on two cores) and prints each setting that it tried. With `--tries N` it
              begins with what won on other networks and ends after N settings of each peer in each form.
    cost      ResNet-50 at 224, ONNX in: seconds and peak memory of each whole process.
    latency   ResNet-50 at 224, INT8, batch 1 on OpenVINO: NNCF's file against ours, in turn, in fresh processes.

OpenVINO's form runs on OpenVINO's CPU plug-in with float parts in f32. TensorRT's form has no device here: its figures
are *simulated* by onnxruntime without graph optimization, which is the file as it is written; whether TensorRT would
take it is answered by its parser, in TensorRT-RTX, which builds without a GPU.

The peers live in an environment of their own:

    python -m venv peers
    peers/bin/pip install nncf "nvidia-modelopt[onnx]" huggingface_hub openvino requests tensorrt-rtx
    python benchmarks/quantization.py quality --data DIR --peers peers/bin/python

DIR holds `train` and `eval`, folders of class folders; the weights `resnet20-*.th`, `resnet32-*.th` and
`resnet20-adversarial.pth`; `open-nsfw.onnx` with `photos-calibration-*.tar` and `photos-evaluation-*.tar`; and in
`weights` what was trained here, once it was. A network without its files and a peer that cannot be imported are skipped
with a message. Nothing else may run on the machine while cost and latency are measured.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import _cost
import _networks
import _search
import _settings
from _case import Case
from _judged import Judged, as_tensorrt_reads, best_of, fresh, has_uint8, judge, rewritten_signed

from edgeresnet.errors import EdgeresnetError
from edgeresnet.portable import machine

DIALECTS = ("openvino", "tensorrt")
EFFORTS = ("fast", "balanced", "best")
RUNTIME = {"openvino": "openvino", "tensorrt": "onnxruntime"}
TITLE = {
    "openvino": "OpenVINO's form, run by OpenVINO on this CPU",
    "tensorrt": "TensorRT's form, simulated by onnxruntime on this CPU",
}
_COLUMNS = f"{'SQNR dB':>7} {'agree %':>7} {'Δ prob':>7} {'top-1':>6} {'drop ≤ pp':>9} {'s':>5} {'MB':>5}"
HEADER = f"{'setting':36} {_COLUMNS}  parser"


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
            summary = [line for case in _cases(args, folder) for line in _worked(case, args)]
            print("\n" + "\n".join(summary), flush=True)


def _cases(args: argparse.Namespace, folder: Path) -> Iterator[Case]:
    for name in args.network or _networks.NAMES:
        try:
            yield _networks.case_of(name, args.data, folder)
        except _networks.Missing as problem:
            print(f"\n{name}: skipped: {problem}", flush=True)


def _worked(case: Case, args: argparse.Namespace) -> list[str]:
    if args.what == "search":
        return _searched(case, args)
    return [_quality(case, dialect, args) for dialect in DIALECTS if args.form in (None, dialect)]


def _quality(case: Case, dialect: str, args: argparse.Namespace) -> str:
    """Print the rows of one network in one form; return the line of the summary."""
    labels, logits = case.labels(), case.load("logits")
    top1 = "no labels" if labels is None else f"FP32 top-1 {100 * float((logits.argmax(1) == labels).mean()):.2f} %"
    print(f"\n{case.name}, {TITLE[dialect]}: {len(logits)} images, {top1}\n{HEADER}", flush=True)
    peers: dict[str, Judged] = {}
    for title, peer, options in _settings.table(case.name, dialect, case.size):
        wanted_too = args.only in (None, peer)
        found = _peer_row(case, dialect, title, peer, options, args) if wanted_too else None
        if found:
            peers[title] = found
    ours: dict[str, Judged] = {}
    wanted: list[tuple[str, str | None]] = [(effort, None) for effort in args.effort or EFFORTS]
    if dialect == "openvino":  # what the other way with residual additions would give
        wanted.insert(1, (wanted[0][0], "shortcut"))
    for effort, residual in wanted:
        found = _our_row(case, dialect, effort, residual, args)
        if found and peers:
            _print_lead(found, peers)
        if found and residual is None:
            ours[effort] = found
    return _summarised(case, dialect, peers, ours)


def _summarised(case: Case, dialect: str, peers: dict[str, Judged], ours: dict[str, Judged]) -> str:
    """Return a line of a Markdown table: the peers' best in each column, and ours."""
    cells = [f"{case.name}, {dialect}"]
    if peers:
        winner = max(peers, key=lambda title: peers[title].sqnr_db)
        cells.append(f"{best_of(peers.values()).in_short()} ({winner})")
    cells += [f"`{effort}` {found.in_short()}" for effort, found in ours.items()]
    return "| " + " | ".join(cells) + " |"


def _print_lead(found: Judged, peers: dict[str, Judged]) -> None:
    """Print how far one row is from the peers' best in each column: the columns have different winners."""
    best = best_of(peers.values())
    winners = [
        next(title for title, one in peers.items() if getattr(one, column) == getattr(best, column))
        for column in ("sqnr_db", "agree_pct", "change")
    ]
    print(
        f"{'  against the best peer in each':36} {found.sqnr_db - best.sqnr_db:+7.2f} "
        f"{found.agree_pct - best.agree_pct:+7.2f} {found.change - best.change:+7.4f}  "
        f"({'; '.join(dict.fromkeys(winners))})",
        flush=True,
    )


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
        print(f"{title:36} skipped: {answer['problem'][:120]}", flush=True)
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
    short, colon, _ = word.partition(":")
    print(f"{title:36} {found} {answer['whole_seconds']:5.0f} {answer['peak_mb']:5.0f}  {short}", flush=True)
    for note in (word, *notes) if colon else notes:
        print(f"    {note}", flush=True)
    return found


def _searched(case: Case, args: argparse.Namespace) -> list[str]:
    """Search for each peer's best settings in each form; return them as lines."""
    say: Callable[[str], None] = lambda line: print(line, flush=True)  # noqa: E731
    lines = []
    for peer, dialect in _settings.STARTS:
        if args.only in (None, peer) and args.form in (None, dialect):
            parser = args.peers if dialect == "tensorrt" else None
            budget = _search.Budget(args.tries, args.count)
            best = _search.search(case, peer, dialect, _python(peer, args), parser, say, budget)
            lines.append(f"{case.name} {peer} {dialect}: {json.dumps(best, sort_keys=True)}")
    return lines


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
    parser.add_argument("--network", action="append", choices=_networks.NAMES, help="may be repeated")
    parser.add_argument("--effort", action="append", choices=EFFORTS)
    parser.add_argument("--only", help="one peer; `edgeresnet`: none")
    parser.add_argument("--form", choices=DIALECTS, help="one form; both by default")
    parser.add_argument("--tries", type=int, help="search: most settings to try, for each peer and form")
    parser.add_argument("--count", type=int, help="search: judge on about COUNT evaluation images alone")
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=120.0)
    args = parser.parse_args()
    if args.data is None and args.what in ("quality", "search"):
        parser.error(f"{args.what} needs --data DIR")
    return args


if __name__ == "__main__":
    main()
