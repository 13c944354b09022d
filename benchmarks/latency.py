"""Can the measurement be trusted? Three questions, each answered many times by the same code that `bench` runs.

    itself    The same network against itself: does the 95 % interval of the ratio contain 1.00 as often as it claims,
              on a quiet machine and with one core kept busy by something else? A third session that is slower by --part
              is planted: is it detected (the interval above 1)?
    peer      Our p50 against OpenVINO's own benchmark_app, in turn, with the same threads, streams and precision.

    python benchmarks/latency.py itself --runs 50 [--busy] [--no-planted] [--target openvino]
    python benchmarks/latency.py peer --arch resnet50 --size 224

Nothing else may run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _load import busy
from slowed import Slowed

from edgeresnet import models, recipe, targets
from edgeresnet.portable import machine, measure, timing_warnings
from edgeresnet.portable.times import Latency
from edgeresnet.portable.worker import Job
from edgeresnet.stages import trace


def main() -> None:
    args = _arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "model.onnx"
        network = models.build(args.arch, args.classes, 3).eval()
        model.write_bytes(trace.to_onnx(network, 3, args.size).SerializeToString())
        compiled = folder / "compiled"
        compiled.mkdir()
        target = targets.require(args.target)
        target.compile(model, target.options(), compiled)
        batch = np.random.default_rng(0).standard_normal((1, 3, args.size, args.size), dtype=np.float32)
        cpu = machine.describe().cpu
        print(f"{args.arch} at {args.size}, {args.target}, {cpu.cores} cores of {cpu.model}", flush=True)
        if args.what == "itself":
            _itself(Job(target, compiled, batch), args)
        else:
            _peer(Job(target, compiled, batch), model, args)


def _itself(job: Job, args: argparse.Namespace) -> None:
    jobs = {"one": job, "other": job}
    if args.planted:
        jobs["slower"] = Job(Slowed(args.target, args.part), job.compiled, job.batch)
    contained = detected = warned = 0
    widths, planted, seconds = [], [], []
    with busy() if args.busy else contextlib.nullcontext():
        for run in range(1, args.runs + 1):
            began = time.perf_counter()
            raw = measure.latency(jobs, processes=args.processes, seconds=args.seconds)
            seconds.append(time.perf_counter() - began)
            ratio, low, high = raw["other"].speedup_over(raw["one"])
            contained += low <= 1 <= high
            widths.append(high / low - 1)
            load = [each.text for each in timing_warnings.of(raw) if each.code == "others-busy"]
            warned += bool(load)
            line = f"{run:3}: itself {ratio:.3f} ({low:.3f} to {high:.3f})"
            if args.planted:
                slower = raw["one"].speedup_over(raw["slower"])
                detected += slower.is_faster
                planted.append(slower.value)
                line += f"   planted {slower.value:.3f} ({slower.low:.3f} to {slower.high:.3f})"
            print(f"{line}   {seconds[-1]:.0f} s   {'; '.join(load)}", flush=True)
    print(f"\n{args.runs} runs of {statistics.median(seconds):.0f} s (longest {max(seconds):.0f} s)")
    print(f"the interval of the network against itself contains 1.00 in {contained}; its median width is ", end="")
    print(f"{100 * statistics.median(widths):.1f} %, the widest {100 * max(widths):.1f} %")
    print(f"a warning about other load appeared in {warned}")
    if args.planted:
        print(f"a slowdown of {100 * args.part:g} % was detected in {detected}; measured as ", end="")
        print(f"{100 * (statistics.median(planted) - 1):.1f} % (median)")


def _peer(job: Job, model: Path, args: argparse.Namespace) -> None:
    ours: list[dict[str, float]] = []
    theirs: list[float] = []
    for run in range(1, args.runs + 1):
        order = [("theirs", lambda: theirs.append(_benchmark_app(model, args)))]
        order.append(("ours", lambda: ours.append(_ours(job, args))))
        for _, work in order if run % 2 else reversed(order):
            work()
        shown = ", ".join(f"{kind} {value:.4f} ms" for kind, value in ours[-1].items())
        print(f"{run:3}: ours: {shown}; benchmark_app {theirs[-1]:.4f} ms", flush=True)
    print(f"\nbenchmark_app: {statistics.median(theirs):.4f} ms, median of {args.runs} p50")
    for kind in ours[0]:
        ratios = [one[kind] / other for one, other in zip(ours, theirs, strict=True)]
        print(f"ours, {kind}: {statistics.median(one[kind] for one in ours):.4f} ms; ratio: median ", end="")
        print(f"{statistics.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")


def _ours(job: Job, args: argparse.Namespace) -> dict[str, float]:
    """Time it with copies and Python's own call, and by OpenVINO's own clock, which benchmark_app reads too."""
    times = measure.latency({"ours": job}, processes=1, seconds=args.seconds)["ours"]
    return {kind: _p50(times, kind) for kind in ("host", "device")}


def _p50(times: Latency, kind: str) -> float:
    found = times.percentiles(kind)
    assert found
    return found.p50


def _benchmark_app(model: Path, args: argparse.Namespace) -> float:
    threads = str(machine.cores())
    options = ["-hint", "none", "-api", "sync", "-nireq", "1", "-nstreams", "1", "-nthreads", threads]
    options += ["-infer_precision", "f32", "-shape", f"image[1,3,{args.size},{args.size}]"]
    command = [str(Path(sys.executable).with_name("benchmark_app")), "-m", str(model), *options, "-t", "4"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Median:\s+([\d.]+) (ms|us)", output)
    if found is None:
        raise SystemExit(f"benchmark_app printed no median:\n{output}")
    return float(found[1]) * (1 if found[2] == "ms" else 0.001)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["itself", "peer"])
    parser.add_argument("--arch", default="cifar_resnet20")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--target", default="openvino")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--processes", type=int, default=recipe.Verify().processes)
    parser.add_argument("--seconds", type=float, default=recipe.Verify().seconds)
    parser.add_argument("--part", type=float, default=0.05, help="how much slower the planted session is")
    parser.add_argument("--no-planted", dest="planted", action="store_false")
    parser.add_argument("--busy", action="store_true", help="keep one core busy during the measurement")
    return parser.parse_args()


if __name__ == "__main__":
    main()
