"""How fast is evaluation, against the parts it is made of?

A first pass must decode every image and infer it, so on the same two cores it cannot be faster than
1 / (1/infer + 1/decode) unless the two overlap better than the cores allow; a pass from the cache only infers.
Both parts are measured bare, in the same run, in turn with ours: the runtime in a plain loop over arrays that are
ready in memory, and the image library in its fastest simple form (the better of a thread pool and two processes).

    python benchmarks/evaluate.py --data FOLDER_OF_CLASS_FOLDERS [--arch cifar_resnet20 --size 32] [--target openvino]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from edgeresnet import images, models, recipe, targets
from edgeresnet.images import decode
from edgeresnet.portable import inference, machine
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.portable.session import Session
from edgeresnet.stages import trace
from edgeresnet.store import Store

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def main() -> None:
    args = _arguments()
    raw = {
        "version": 1,
        "model": {"arch": args.arch, "classes": 10, "checkpoint": "none"},
        "preprocessing": {"size": args.size, "resize": args.resize or args.size, "mean": MEAN, "std": STD},
        "images": {"evaluation": {"from": str(args.data), "count": args.count}},
    }
    wanted = recipe.parse(raw)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model.onnx")
        network = models.build(args.arch, 10, 3).eval()
        model.write_bytes(trace.to_onnx(network, 3, args.size).SerializeToString())
        for name in args.target or [name for name, target in targets.discover().items() if target.available().ok]:
            _one_target(name, wanted, model, Path(folder, name), args.rounds)


def _one_target(name: str, wanted: recipe.Recipe, model: Path, folder: Path, rounds: int) -> None:
    target = targets.get(name)
    folder.mkdir()
    target.compile(model, target.options(), folder)
    samples = images.open_samples(wanted, "evaluation", None)
    ready = [samples.preprocessing.normalize(batch.pixels) for batch in samples.batches(inference.BATCH)]
    with target.load(folder) as session, ProcessPoolExecutor(machine.cores()) as processes:
        threads = ThreadPoolExecutor(machine.cores())
        paths = [samples.name(index) for index in range(len(samples))]
        bare = {
            "infer": lambda: _infer(session, ready),
            "decode, threads": lambda: _decode(threads, paths, wanted),
            "decode, processes": lambda: _decode(processes, paths, wanted),
        }
        seconds: dict[str, list[float]] = {key: [] for key in (*bare, "first pass", "from cache")}
        for part in bare.values():
            part()
        for _ in range(rounds):
            for key, part in bare.items():
                seconds[key].append(_timed(part))
            with tempfile.TemporaryDirectory() as store:
                ours = images.open_samples(wanted, "evaluation", Store(Path(store)))
                for key in ("first pass", "from cache"):
                    seconds[key].append(_timed(partial(_evaluate, session, ours)))
    _print(name, wanted, len(samples), seconds)


def _evaluate(session: Session, samples: images.Samples) -> None:
    """Run the loop of `verify`."""
    logits = inference.predict(
        session, (samples.preprocessing.normalize(batch.pixels) for batch in samples.batches(inference.BATCH))
    )
    assert len(logits) == len(samples)


def _infer(session: Session, ready: list[np.ndarray]) -> None:
    for batch in ready:
        session.infer(batch)


def _decode(pool: Executor, paths: list[str], wanted: recipe.Recipe) -> None:
    preprocessing = wanted.preprocessing
    chunks = [(paths[start : start + 32], preprocessing) for start in range(0, len(paths), 32)]
    for _ in pool.map(_decode_chunk, chunks):
        pass


def _decode_chunk(chunk: tuple[list[str], Preprocessing]) -> np.ndarray:
    paths, preprocessing = chunk
    return np.stack([decode.prepare(decode.open_file(path), preprocessing) for path in paths])


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _print(name: str, wanted: recipe.Recipe, count: int, seconds: dict[str, list[float]]) -> None:
    median = {key: statistics.median(values) for key, values in seconds.items()}
    rounds = zip(*seconds.values(), strict=True)
    first, cached = [], []
    for infer, by_threads, by_processes, first_pass, from_cache in rounds:
        first.append((infer + min(by_threads, by_processes)) / first_pass)
        cached.append(infer / from_cache)
    print(f"\n{name}: {wanted.model.arch} at {wanted.preprocessing.size}, {count} images, {machine.cores()} cores")
    for key, value in median.items():
        print(f"  {key:18} {count / value:8.0f} images/s")
    print(f"  first pass, of 1/(1/infer + 1/decode): {statistics.median(first):.2f} ({_span(first)}); goal 0.90")
    print(f"  from cache, of the bare runtime:        {statistics.median(cached):.2f} ({_span(cached)}); goal 0.90")


def _span(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f} over {len(values)} rounds"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder of ten class folders")
    parser.add_argument("--arch", default="cifar_resnet20")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--resize", type=int)
    parser.add_argument("--count", type=int, help="number of images; all by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--target", action="append", help="may be repeated; every target by default")
    return parser.parse_args()


if __name__ == "__main__":
    main()
