"""What a sweep costs and what it finds: overhead per trial, a front that is known, and nodes that are killed.

    python benchmarks/scale.py overhead
    python benchmarks/scale.py overhead --ray
    python benchmarks/scale.py front --seeds 5
    python benchmarks/scale.py kills --nodes 2 --runs 20
    python benchmarks/scale.py estimate --rate 20 --load 3 --timing 300 --cores 8

`front` searches a problem of pure arithmetic, in the manner of ZDT1: a number, a logarithmic one, integers, steps and a
choice. Its front is known. It compares what `edgeresnet sweep` proposes with NSGA-II and with chance: by the part of
the known front's hypervolume that is dominated after some trials. `kills` trains small networks on real Ray clusters on
this machine, and kills a node in every second run. `estimate` computes how long ImageNet's validation set takes on
clusters, from rates that `scale_shards.py` measures: its throughput, divided by its workers.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import _scale_estimate
import _scale_ray

from edgeresnet.recipe import strict_yaml
from edgeresnet.sweeps import loop, study
from edgeresnet.sweeps.document import Objective, Outcome, Value
from edgeresnet.sweeps.keys import Axis, Range
from edgeresnet.sweeps.loading import Sweep

RECIPE = Path(__file__).parents[1] / "pipelines" / "digits.yaml"
GOALS = (Objective("min", "size_mb", "openvino"), Objective("min", "p50", "openvino"))
# Keys of a recipe give the space its names and types; to the arithmetic a value is a number from 0 to 1.
SPACE: Mapping[str, Axis] = {
    "prune.macs": Range(low=0.01, high=0.99),
    "train.rate": Range(low=0.0001, high=0.1, log=True),
    "train.epochs": Range(low=1, high=100),
    "recover.epochs": Range(low=1, high=30),
    "promises.min_top1_pct": Range(low=0.0, high=90.0, step=10.0),
    "quantize.effort": ("best", "fast", "balanced"),
}
REFERENCE = (1.1, 10.1)  # a point that is worse than all others
TRIALS, WANTED = 200, 0.95


def arithmetic(params: Mapping[str, Any]) -> tuple[float, float]:
    """Return the two objectives, both to be small. The front is that of g = 1, where all but the first part are 0."""
    first = (params["prune.macs"] - 0.01) / 0.98
    rest = (
        math.log10(params["train.rate"] / 0.0001) / 3,
        (params["train.epochs"] - 1) / 99,
        (params["recover.epochs"] - 1) / 29,
        params["promises.min_top1_pct"] / 90,
        {"fast": 0.0, "balanced": 0.4, "best": 1.0}[params["quantize.effort"]],
    )
    g = 1 + 9 * sum(rest) / len(rest)
    return first, g * (1 - math.sqrt(first / g))


def outcome_of(trial: loop.Trial) -> Outcome:
    """Return the outcome of a trial."""
    values = tuple(Value(each, each, each) for each in arithmetic(trial.params))
    return Outcome("feasible", values, "KEPT", run="r", seconds=0.0)


class Arithmetic:
    """Runs the arithmetic instead of a recipe."""

    slots = 1

    def submit(self, trial: loop.Trial) -> Future[Outcome]:
        """Return the outcome of a trial at once."""
        future: Future[Outcome] = Future()
        future.set_result(outcome_of(trial))
        return future

    def wait(self, running: Collection[Future[Outcome]]) -> Collection[Future[Outcome]]:
        """Return all trials: they have ended."""
        return list(running)


def hypervolume(points: Sequence[tuple[float, float]]) -> float:
    """Return the area between the points and the reference point."""
    area, lowest = 0.0, REFERENCE[1]
    for x, y in sorted(points):
        if x < REFERENCE[0] and y < lowest:
            area += (REFERENCE[0] - x) * (lowest - y)
            lowest = y
    return area


def known() -> float:
    """Return the hypervolume of the known front, of many points of it."""
    return hypervolume([(x / 10_000, 1 - math.sqrt(x / 10_000)) for x in range(10_001)])


def overhead(count: int, folder: Path) -> None:
    """Print how long a trial takes that does nothing, all else included: proposal, recipe, database."""
    sweep = _sweep(0, count)
    began: list[float] = []

    class Timed(Arithmetic):
        def submit(self, trial: loop.Trial) -> Future[Outcome]:
            began.append(time.perf_counter())
            return super().submit(trial)

    opening = time.perf_counter()
    opened = study.Study(sweep, folder / "study.db")
    opening = time.perf_counter() - opening
    work = time.process_time()
    loop.search(sweep, opened, Timed(), loop.Shown())
    work = (time.process_time() - work) / count
    took = [1000 * (b - a) for a, b in itertools.pairwise(began)]
    print(f"opening the study: {opening:.2f} s")
    ends = sorted(took)
    print(
        f"{len(took)} trials: median {statistics.median(took):.1f} ms, mean {statistics.mean(took):.1f} ms, "
        f"95 % within {ends[int(0.95 * len(ends))]:.1f} ms, slowest {ends[-1]:.1f} ms; CPU {1000 * work:.1f} ms"
    )
    for name, part in (("first", took[:20]), ("last", took[-20:])):
        print(f"the {name} {len(part)}: median {statistics.median(part):.1f} ms")


def front(seeds: int, folder: Path) -> None:
    """Print which part of the known front each way of proposing has found, and after how many trials."""
    whole = known()
    ways: dict[str, Callable[[int], list[tuple[float, float]]]] = {
        "edgeresnet sweep": lambda seed: _ours(seed, folder / f"sweep-{seed}.db", modelled=True),
        "by chance": lambda seed: _ours(seed, folder / f"chance-{seed}.db", modelled=False),
        "NSGA-II, population 20": lambda seed: _nsga(seed, 20),
        "NSGA-II, population 50": lambda seed: _nsga(seed, 50),
    }
    print(f"{'':24} {'share of the front after':>34}   trials for {WANTED}")
    print(f"{'':24} " + " ".join(f"{count:>8}" for count in (50, 100, 150, TRIALS)))
    for name, search in ways.items():
        runs = [search(seed) for seed in range(seeds)]
        shares = [[hypervolume(found[:count]) / whole for found in runs] for count in (50, 100, 150, TRIALS)]
        cells = " ".join(f"{min(each):>8.3f}" for each in shares)
        print(f"{name:24} {cells}   {', '.join(map(_enough, runs))}")


def _enough(found: Sequence[tuple[float, float]]) -> str:
    """Return after how many trials the share that is wanted was reached; "never" within these."""
    whole = known()
    reached = (count for count in range(1, len(found) + 1) if hypervolume(found[:count]) >= WANTED * whole)
    return str(next(reached, "never"))


def _ours(seed: int, file: Path, *, modelled: bool) -> list[tuple[float, float]]:
    sweep = _sweep(seed, TRIALS)
    opened = study.Study(sweep, file, modelled=modelled)
    loop.search(sweep, opened, Arithmetic(), loop.Shown())
    return [arithmetic(point.values) for point in opened.points]


def _nsga(seed: int, population: int) -> list[tuple[float, float]]:
    """Search with Optuna's NSGA-II alone."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.NSGAIISampler(seed=seed, population_size=population)
    searched = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    distributions = {key: study._distribution(optuna, axis) for key, axis in SPACE.items()}
    found = []
    for _ in range(TRIALS):
        asked = searched.ask(distributions)
        params = {key: study._decoded(axis, asked.params[key]) for key, axis in SPACE.items()}
        found.append(arithmetic(params))
        searched.tell(asked, found[-1])
    return found


def _sweep(seed: int, trials: int) -> Sweep:
    base = strict_yaml.load(RECIPE.read_text())
    assert isinstance(base, dict)
    return Sweep("scale", base, SPACE, GOALS, trials=trials, seed=seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("overhead", "front", "kills", "estimate"))
    parser.add_argument("--count", type=int, default=TRIALS, help="trials of `overhead`")
    parser.add_argument("--ray", action="store_true", help="measure `overhead` on a local Ray cluster")
    parser.add_argument("--seeds", type=int, default=5, help="searches of `front`")
    parser.add_argument(
        "--nodes", type=int, action="append", help="nodes of `kills` (2 and 4), of `estimate` (1, 8, 64)"
    )
    parser.add_argument("--runs", type=int, default=20, help="runs of `kills` for each number of nodes")
    parser.add_argument("--images", type=int, default=50_000, help="images of `estimate`")
    parser.add_argument("--rate", type=float, action="append", help="images a second of one worker, for each variant")
    parser.add_argument("--variants", type=int, default=6, help="variants, where one rate stands for all")
    parser.add_argument("--load", type=float, help="seconds until a worker has a network ready")
    parser.add_argument("--timing", type=float, help="seconds that latency takes, on one machine")
    parser.add_argument("--cores", type=int, default=8, help="workers of each node of `estimate`")
    options = parser.parse_args()
    if options.what == "estimate":
        if not options.rate or options.load is None or options.timing is None:
            parser.error("estimate needs --rate, --load and --timing, as they were measured")
        rates = options.rate * options.variants if len(options.rate) == 1 else options.rate
        measured = _scale_estimate.Measured(rates, options.load, options.timing)
        print(_scale_estimate.table(measured, options.images, options.cores, options.nodes or (1, 8, 64)))
        return
    if options.what == "kills":
        for nodes in options.nodes or (2, 4):
            _scale_ray.kills(nodes, options.runs)
        return
    with tempfile.TemporaryDirectory() as folder:
        if options.what == "front":
            front(options.seeds, Path(folder))
        elif options.ray:
            _scale_ray.overhead(_sweep(0, options.count), Path(folder), outcome_of)
        else:
            overhead(options.count, Path(folder))


if __name__ == "__main__":
    main()
