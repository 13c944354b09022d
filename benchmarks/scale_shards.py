"""Is evaluation by workers as fast as independent processes, as small, and the same to the byte?

The images of a folder count several times under other names, so that a large set is at hand. In turn, round by round:

    alone         one process with all cores, as without workers
    independent   processes that know nothing of each other, each with a part of the images and of the cores
    processes     `--workers`
    ray           `--ray`, on a cluster of as many nodes on this machine

Images are decoded in each pass: nothing is cached. The start of processes counts, but not that of a cluster. `--kill`
also kills a worker at a random moment of each round; `--calibrate` also collects ranges.

    python benchmarks/scale_shards.py --data FOLDER_OF_CLASS_FOLDERS --times 5
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import pickle
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx

from edgeresnet import images, recipe, store, targets
from edgeresnet.context import Workers
from edgeresnet.images import Samples
from edgeresnet.portable import codec, evaluation, inference, machine, manifest
from edgeresnet.quantization import collecting
from edgeresnet.quantization.calibration import Calibration
from edgeresnet.quantization.ranges import Origin, Ranges, Views, collect
from edgeresnet.shards import evaluating
from edgeresnet.shards.fetching import Source
from edgeresnet.shards.on_ray import Ray
from edgeresnet.shards.processes import Processes

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
PIECE = "edgeresnet-independent"  # how a process of this script knows that it is one
COMMANDS = {"alone": "nothing", "independent": PIECE, "processes": "processes.serve", "ray": "ray::_do"}  # of workers


class Measured(NamedTuple):
    seconds: float
    digest: str
    worker_mb: float  # the largest worker
    here_mb: float  # by how much this process grew


class Case(NamedTuple):
    """What is evaluated, and where."""

    samples: Samples
    network: evaluation.Network
    target: str
    workers: int


def main() -> None:
    args = _arguments()
    with tempfile.TemporaryDirectory(dir=args.work) as folder:
        root = Path(folder)
        network, model = _network(args.arch, args.size, args.target, root)
        sets = [_samples(root / f"images{times}", args, times) for times in sorted({1, args.times})]
        print(
            f"{args.arch} at {args.size} on {args.target}, {args.workers} workers, {machine.cores()} cores", flush=True
        )
        with _cluster(args.workers, args.ray) as ray:
            for samples in sets:
                _rounds(Case(samples, network, args.target, args.workers), ray, args, root)
            if args.calibrate:
                _calibrate(sets[-1], model, args, ray, root)


def _rounds(case: Case, ray: Workers | None, args: argparse.Namespace, root: Path) -> None:
    """Measure each way in turn, and print how they compare."""
    ways: dict[str, Callable[[], np.ndarray]] = {
        "alone": lambda: _alone(case),
        "independent": lambda: _independent(case, root),
        "processes": lambda: _by(Processes(case.workers), case, root),
    }
    if ray is not None:
        ways["ray"] = lambda: _by(ray, case, root)
    found: dict[str, list[Measured]] = {name: [] for name in ways}
    for number in range(args.rounds):
        for name, way in ways.items():
            kills = args.kill and name in ("processes", "ray")
            with _killed(COMMANDS[name], number) if kills else contextlib.nullcontext():
                found[name].append(_measured(way, COMMANDS[name]))
    count = len(case.samples)
    print(f"\n{count} images, {args.rounds} rounds{', a worker killed in each' if args.kill else ''}")
    for name, each in found.items():
        seconds = [one.seconds for one in each]
        ratios = [base.seconds / one.seconds for base, one in zip(found["independent"], each, strict=True)]
        print(
            f"  {name:12} {count / statistics.median(seconds):7.0f} images/s, of independent "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}); largest worker "
            f"{max(one.worker_mb for one in each):.0f} MB, this process {max(one.here_mb for one in each):.0f} MB"
        )
    digests = {one.digest for each in found.values() for one in each}
    print(f"  digests of the answers: {', '.join(sorted(digest[:12] for digest in digests))}")
    assert len(digests) == 1, "the answers differ"


def _alone(case: Case) -> np.ndarray:
    batches = (
        case.network.images(batch.pixels, case.samples.preprocessing) for batch in case.samples.batches(inference.BATCH)
    )
    return evaluation.answers(targets.get(case.target), case.network.compiled, batches).given


def _independent(case: Case, root: Path) -> np.ndarray:
    """Let each process evaluate its part, as if it were all there is."""
    step = -(-len(case.samples) // case.workers // inference.BATCH) * inference.BATCH
    jobs = []
    for first in range(0, len(case.samples), step):
        path, out = root / f"part-{first}.pickle", root / f"part-{first}.npy"
        part = case._replace(samples=case.samples.part(first, min(first + step, len(case.samples))))
        path.write_bytes(pickle.dumps(part))
        arguments = [sys.executable, __file__, PIECE, str(path), str(out), str(machine.cores() // case.workers)]
        jobs.append((subprocess.Popen(arguments), out))
    for process, _ in jobs:
        assert process.wait() == 0
    return np.concatenate([np.load(out) for _, out in jobs])


def _piece(path: str, out: str, cores: str) -> None:
    """Evaluate one part, in a process of its own."""
    machine.use_at_most(max(1, int(cores)))
    case: Case = pickle.loads(Path(path).read_bytes())
    np.save(out, _alone(case))


def _by(workers: Workers, case: Case, root: Path) -> np.ndarray:
    with tempfile.TemporaryDirectory(dir=root) as folder:
        source = Source(case.network.compiled, "compile", "benchmark", case.network.digest, None, "here")
        found = evaluating.answers(
            workers,
            targets.get(case.target),
            case.network,
            source,
            case.samples,
            inference.CLASSES,
            Path(folder),
            lambda done: None,
        )
    return found[1].given


def _measured(way: Callable[[], np.ndarray], command: str) -> Measured:
    before, peaks, ended = _resident_mb(os.getpid()), [0.0, 0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            peaks[0] = max([peaks[0], *(_resident_mb(pid) for pid in _workers(command))])
            peaks[1] = max(peaks[1], _resident_mb(os.getpid()) - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    logits = way()
    seconds = time.perf_counter() - began
    ended.set()
    watcher.join()
    return Measured(seconds, hashlib.sha256(logits.tobytes()).hexdigest(), *peaks)


@contextlib.contextmanager
def _killed(command: str, seed: int) -> Iterator[None]:
    """Kill one worker at a random moment."""
    ended = threading.Event()

    def kill() -> None:
        chance = random.Random(seed)
        ended.wait(chance.uniform(1, 6))
        there = _workers(command)
        if there and not ended.is_set():
            os.kill(chance.choice(there), signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _calibrate(
    samples: Samples, model: onnx.ModelProto, args: argparse.Namespace, ray: Workers | None, root: Path
) -> None:
    """Collect ranges in each way, and print how they compare."""
    chosen = Calibration.of(samples.subset(np.arange(0, len(samples), max(1, len(samples) // args.calibrate))))
    origin = Origin("network", "images", "preprocessing")

    def alone() -> Ranges:
        return collect(model, chosen.batches(), Views(Ranges(origin))).plain

    def by(workers: Workers) -> Ranges:
        with tempfile.TemporaryDirectory(dir=root) as folder:
            return collecting.collected(workers, model, chosen, origin, None, Path(folder), lambda done: None).plain

    ways: dict[str, Callable[[], Ranges]] = {"alone": alone, "processes": lambda: by(Processes(args.workers))}
    if ray is not None:
        ways["ray"] = lambda: by(ray)
    print(f"\nranges over {len(chosen.learn)} images")
    digests = set()
    for name, way in ways.items():
        began = time.perf_counter()
        digest = hashlib.sha256(way().dump()).hexdigest()
        digests.add(digest)
        print(f"  {name:12} {time.perf_counter() - began:6.1f} s, digest {digest[:12]}")
    assert len(digests) == 1, "the ranges differ"


@contextlib.contextmanager
def _cluster(nodes: int, wanted: bool) -> Iterator[Workers | None]:
    """Start a cluster of nodes with a core each on this machine."""
    if not wanted:
        yield None
        return
    import ray
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        for _ in range(nodes - 1):
            cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        yield Ray.connected(cluster.address)
    finally:
        ray.shutdown()
        cluster.shutdown()


def _network(arch: str, size: int, target: str, root: Path) -> tuple[evaluation.Network, onnx.ModelProto]:
    import torch

    from edgeresnet import models
    from edgeresnet.stages import trace

    torch.manual_seed(0)
    model = trace.to_onnx(models.build(arch, 10, 3).eval(), 3, size)
    source, compiled = root / "model.onnx", root / "compiled"
    source.write_bytes(model.SerializeToString())
    compiled.mkdir()
    notes = targets.get(target).compile(source, targets.get(target).options(), compiled).notes
    origin = asdict(store.Origin(1))
    written = manifest.write(
        compiled, None, **origin, format=store.FORMAT, key="benchmark", stage="compile", notes=codec.encode(notes),
        seconds=0.0, warnings=[],
    )  # fmt: skip
    return evaluation.Network(compiled, str(written["digest"]), 0.0, notes), model


def _samples(folder: Path, args: argparse.Namespace, times: int) -> Samples:
    """Give each image of the folder several names."""
    for path in sorted(Path(args.data).rglob("*.*")):
        label = folder / path.parent.name
        label.mkdir(parents=True, exist_ok=True)
        for number in range(times):
            os.symlink(path.resolve(), label / f"{number}-{path.name}")
    raw = {
        "version": 1,
        "model": {"arch": args.arch, "classes": 10, "checkpoint": "none"},
        "preprocessing": {"size": args.size, "mean": MEAN, "std": STD},
        "images": {"evaluation": str(folder)},
    }
    found = images.open_samples(recipe.parse(raw), "evaluation", None)
    return found.subset(np.arange(min(len(found), args.count * times))) if args.count else found


def _workers(command: str) -> list[int]:
    """List the processes whose command has this word."""
    there = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in there if pid != os.getpid() and command in _command(pid)]


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def _resident_mb(pid: int) -> float:
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return 0.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a folder of ten class folders")
    parser.add_argument("--times", type=int, default=5, help="how many names each image gets")
    parser.add_argument("--count", type=int, help="images of the folder to use; all by default")
    parser.add_argument("--arch", default="cifar_resnet20")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--target", default="onnxruntime")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ray", action="store_true", help="also on a cluster of as many nodes on this machine")
    parser.add_argument("--kill", action="store_true", help="kill a worker in each round")
    parser.add_argument("--calibrate", type=int, default=0, metavar="IMAGES", help="also collect ranges")
    parser.add_argument("--work", help="a folder for temporary files")
    return parser.parse_args()


if __name__ == "__main__":
    _piece(*sys.argv[2:]) if sys.argv[1:2] == [PIECE] else main()
