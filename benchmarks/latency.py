"""Can the measurement be trusted? Three questions, each asked many times of the same code that `bench` runs.

    itself    The same network against itself: does the 95 % interval of the ratio hold 1.00 as often as it says, on a
              quiet machine and with one core kept busy by something else? A part of the runs plants a third session
              that is slower by --part: is it found (the whole interval above 1)?
    rival     Our p50 against OpenVINO's own benchmark_app, in turn, with the same threads, streams and precision.

    python benchmarks/latency.py itself --runs 50 [--busy] [--no-planted] [--target openvino]
    python benchmarks/latency.py rival --arch resnet50 --size 224

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
from typing import Any

import numpy as np
from _load import busy
from slowed import Slowed

from edgeresnet import models, recipe, targets
from edgeresnet.portable import intervals, machine, measure, timing_warnings, timings
from edgeresnet.portable.worker import Job
from edgeresnet.stages import trace


def main() -> None:
    asked = _arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "model.onnx"
        network = models.build(asked.arch, asked.classes, 3).eval()
        model.write_bytes(trace.to_onnx(network, 3, asked.size).SerializeToString())
        compiled = folder / "compiled"
        compiled.mkdir()
        target = targets.require(asked.target)
        target.compile(model, target.options(), compiled)
        batch = np.random.default_rng(0).standard_normal((1, 3, asked.size, asked.size), dtype=np.float32)
        cpu = machine.describe()["cpu"]
        print(f"{asked.arch} at {asked.size}, {asked.target}, {cpu['cores']} cores of {cpu['model']}", flush=True)
        if asked.what == "itself":
            _itself(Job(target, compiled, batch), asked)
        else:
            _rival(Job(target, compiled, batch), model, asked)


def _itself(job: Job, asked: argparse.Namespace) -> None:
    jobs = {"one": job, "other": job}
    if asked.planted:
        jobs["slower"] = Job(Slowed(asked.target, asked.part), job.compiled, job.batch)
    held = found = told = 0
    widths, planted, seconds = [], [], []
    with busy() if asked.busy else contextlib.nullcontext():
        for run in range(1, asked.runs + 1):
            began = time.perf_counter()
            raw = measure.latency(jobs, processes=asked.processes, seconds=asked.seconds)
            seconds.append(time.perf_counter() - began)
            ratio, (low, high) = _ratio(raw, "one", "other")
            held += low <= 1 <= high
            widths.append(high / low - 1)
            load = [sentence for sentence in timing_warnings.troubles(raw) if "other programs kept" in sentence]
            told += bool(load)
            line = f"{run:3}: itself {ratio:.3f} ({low:.3f} to {high:.3f})"
            if asked.planted:
                slower, ends = _ratio(raw, "slower", "one")
                found += ends.low > 1
                planted.append(slower)
                line += f"   planted {slower:.3f} ({ends.low:.3f} to {ends.high:.3f})"
            print(f"{line}   {seconds[-1]:.0f} s   {'; '.join(load)}", flush=True)
    print(f"\n{asked.runs} runs of {statistics.median(seconds):.0f} s (longest {max(seconds):.0f} s)")
    print(f"the interval of the network against itself holds 1.00 in {held}; its median width is ", end="")
    print(f"{100 * statistics.median(widths):.1f} %, the widest {100 * max(widths):.1f} %")
    print(f"other load was told in {told}")
    if asked.planted:
        print(f"a slow-down of {100 * asked.part:g} % was found in {found}; measured as ", end="")
        print(f"{100 * (statistics.median(planted) - 1):.1f} % (median)")


def _ratio(raw: dict[str, Any], slower: str, faster: str) -> tuple[float, intervals.Interval]:
    return intervals.ratio_interval(timings.windows(raw[slower]), timings.windows(raw[faster]))


def _rival(job: Job, model: Path, asked: argparse.Namespace) -> None:
    ours: list[dict[str, float]] = []
    theirs: list[float] = []
    for run in range(1, asked.runs + 1):
        order = [("theirs", lambda: theirs.append(_benchmark_app(model, asked)))]
        order.append(("ours", lambda: ours.append(_ours(job, asked))))
        for _, deed in order if run % 2 else reversed(order):
            deed()
        shown = ", ".join(f"{kind} {value:.4f} ms" for kind, value in ours[-1].items())
        print(f"{run:3}: ours: {shown}; benchmark_app {theirs[-1]:.4f} ms", flush=True)
    print(f"\nbenchmark_app: {statistics.median(theirs):.4f} ms, median of {asked.runs} p50")
    for kind in ours[0]:
        ratios = [one[kind] / other for one, other in zip(ours, theirs, strict=True)]
        print(f"ours, {kind}: {statistics.median(one[kind] for one in ours):.4f} ms; ratio: median ", end="")
        print(f"{statistics.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")


def _ours(job: Job, asked: argparse.Namespace) -> dict[str, float]:
    """With copies and Python's own call around it, and by OpenVINO's own clock, which benchmark_app reads too."""
    raw = measure.latency({"ours": job}, processes=1, seconds=asked.seconds)["ours"]
    return {kind: timings.percentiles(raw, kind)["p50"] for kind in ("host", "device")}


def _benchmark_app(model: Path, asked: argparse.Namespace) -> float:
    threads = str(machine.cores())
    options = ["-hint", "none", "-api", "sync", "-nireq", "1", "-nstreams", "1", "-nthreads", threads]
    options += ["-infer_precision", "f32", "-shape", f"image[1,3,{asked.size},{asked.size}]"]
    command = [str(Path(sys.executable).with_name("benchmark_app")), "-m", str(model), *options, "-t", "4"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Median:\s+([\d.]+) (ms|us)", said)
    if found is None:
        raise SystemExit(f"benchmark_app said no median:\n{said}")
    return float(found[1]) * (1 if found[2] == "ms" else 0.001)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["itself", "rival"])
    parser.add_argument("--arch", default="cifar_resnet20")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--target", default="openvino")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--processes", type=int, default=recipe.Verify().processes)
    parser.add_argument("--seconds", type=float, default=recipe.Verify().seconds)
    parser.add_argument("--part", type=float, default=0.05, help="how much slower the planted session is")
    parser.add_argument("--no-planted", dest="planted", action="store_false")
    parser.add_argument("--busy", action="store_true", help="one core is kept busy by something else meanwhile")
    return parser.parse_args()


if __name__ == "__main__":
    main()
