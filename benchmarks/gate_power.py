"""How often is the gate red: for an unchanged model, for one that lost accuracy, for one that became slower?

    record      The noise of this machine: one small network (a ResNet-20, its INT8 network and the yardstick, on
                onnxruntime and OpenVINO) is verified again and again by the real `verify`; nothing else is made twice.
                Its times, window by window, are written to a file. With --busy one core is kept busy meanwhile.
    simulate    Any two of those measurements are a baseline and a run, with their real noise and whatever moved
                between them. Answers to 5,000 images are drawn, a change is planted on one of the targets, and the real
                gate judges it: the baseline is written and read as a file, all promises of all targets are judged
                together, the recipe's own too. Red is any exit code but 0.

    python benchmarks/gate_power.py record --output quiet.json --runs 50
    python benchmarks/gate_power.py record --output loaded.json --runs 50 --busy
    python benchmarks/gate_power.py simulate --noise quiet.json --runs 2000
    python benchmarks/gate_power.py simulate --noise quiet.json --now loaded.json     # a quiet baseline, a loaded run
    python benchmarks/gate_power.py simulate --noise quiet.json --together 2          # as if of twice as many processes

Goals, in quiet noise: unchanged at most 0.5 % red; a loss of 1.0 point beyond the margin, of 2 % that differ, at least
98 %; a slow-down of 10 % beyond the margin at least 95 %. Nothing else may run on the machine while it records.
The recipe is one of `undecided: warn`. What moves between days is in it as far as several sessions recorded it. Each
pair of measurements is taken once before any is taken twice, and never twice where nothing else differs.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _load import busy

from edgeresnet import gate, pipeline, recipe
from edgeresnet.cli._verdict import exit_code
from edgeresnet.portable import codec, intervals, judging, machine
from edgeresnet.portable.result import Measured, Promise, Variant
from edgeresnet.portable.tasks import classification
from edgeresnet.portable.times import Latency, ProcessTimes
from edgeresnet.runs import Run
from edgeresnet.store import Store

IMAGES, CLASSES, TOP1, DIFFER = 5000, 10, 0.81, 0.02
PROMISES = (Promise("max_drop_pp", 5.0), Promise("max_size_mb", 100.0))

Results = Mapping[str, Measured]  # by target


class Case(NamedTuple):
    """Which measurement is the baseline, which is the run, and which target is changed (empty: none)."""

    before: int
    now: int
    target: str


class Outcome(NamedTuple):
    """The exit code of one simulated gate, and its worst promise."""

    code: int
    worst: str


def main() -> None:
    options = _arguments()
    _record(options) if options.what == "record" else _simulate(options)


def _record(options: argparse.Namespace) -> None:
    raw: dict[str, Any] = {
        "version": 1,
        "model": {"arch": "cifar_resnet20", "classes": 10},
        "preprocessing": {"size": 32, "mean": [0.305], "std": [0.376]},
        "images": {"training": "digits", "evaluation": "digits", "calibration": {"from": "training", "count": 128}},
        "train": {"epochs": options.epochs, "rate": 0.01, "schedule": "one-cycle"},
        "quantize": {"effort": "fast"},
        "targets": {name: {} for name in options.target or ("onnxruntime", "openvino")},
        "verify": {"processes": options.processes, "seconds": options.seconds},
    }
    runs: list[Any] = []
    noise = {"busy": options.busy, "machine": codec.encode(machine.describe()), "verify": raw["verify"], "runs": runs}
    with tempfile.TemporaryDirectory() as folder, busy() if options.busy else contextlib.nullcontext():
        store, wanted = Store.open(Path(folder)), recipe.parse(raw)
        for number in range(options.runs):
            began = time.perf_counter()
            run = pipeline.run(wanted, store, again=frozenset({"verify"}))
            runs.append({result.target: codec.encode(_times_of(result)) for result in run.measured})
            options.output.write_text(json.dumps(noise))
            print(f"{number + 1:3} of {options.runs}: {time.perf_counter() - began:.0f} s", flush=True)


def _times_of(result: Measured) -> Measured:
    """Return a result without its answers. Of a window the median is kept: nothing that is judged reads more of it."""

    def short(process: ProcessTimes) -> ProcessTimes:
        medians = tuple((float(np.median(window)),) for window in process.host_ms)
        return replace(process, host_ms=medians, warmup_ms=(), device_ms=None, file_ms=None)

    found = _with_latencies(result, lambda times: replace(times, processes=tuple(map(short, times.processes))))
    variants = {name: replace(each, predicted=()) for name, each in found.variants.items()}
    return replace(found, variants=variants, labels=(), reference_predicted=())


def _with_latencies(result: Measured, change: Callable[[Latency], Latency]) -> Measured:
    """Return a result of which all times were changed, the yardstick's too."""
    variants = {
        name: replace(each, latency=each.latency and change(each.latency)) for name, each in result.variants.items()
    }
    unit = result.yardstick and replace(result.yardstick, latency=change(_yardstick_times(result)))
    return replace(result, variants=variants, yardstick=unit)


def _yardstick_times(result: Measured) -> Latency:
    assert result.yardstick
    assert result.yardstick.latency
    return result.yardstick.latency


class Simulation:
    """The images, the answers of the reference and of the baseline's networks, and runs made of recorded times."""

    def __init__(self, seed: int, margins: gate.Margins, folder: Path):
        self.rng, self.margins = np.random.default_rng(seed), margins
        self.labels = self.rng.integers(0, CLASSES, IMAGES)
        self.expected = np.where(self.rng.random(IMAGES) < TOP1, self.labels, (self.labels + 1) % CLASSES)
        self.before = self.changed(self.expected, 0.0, DIFFER)
        self._file, self._baselines = folder / "gate.json", dict[int, gate.Baseline]()

    def changed(self, answers: np.ndarray, loss: float, differ: float) -> np.ndarray:
        """Change these parts of the answers: what is lost, and what differs at all, both in expectation."""
        correct, differ = answers == self.labels, max(differ, abs(loss))
        chance = np.where(correct, (differ + loss) / 2 / correct.mean(), (differ - loss) / 2 / (1 - correct.mean()))
        flip = self.rng.random(IMAGES) < chance
        return np.where(flip, np.where(correct, (self.labels + 2) % CLASSES, self.labels), answers)

    def run(self, times: Results, answers: Mapping[str, np.ndarray], slower: Mapping[str, float]) -> Run:
        """Make a run of recorded times and of these answers; `slower` is by target."""
        results = {name: self._result(one, answers[name], slower.get(name, 1.0)) for name, one in times.items()}
        verdicts = [one for name, result in results.items() for one in judging.judge(PROMISES, name, result)]
        return Run(
            id="simulated",
            recipe={
                "model": {"arch": "cifar_resnet20", "classes": CLASSES},
                "targets": {name: {} for name in times},
            },
            recipe_digest="0" * 64,
            seconds=0.0,
            steps=(),
            results=results,
            verdicts=tuple(verdicts),
            verdict=judging.worst([one.verdict for one in verdicts]),
            undecided="warn",
            problem=None,
            machine=next(iter(times.values())).machine,
        )

    def _result(self, times: Measured, answers: np.ndarray, slower: float) -> Measured:
        accuracy, predicted = classification.counts(self.expected, answers, self.labels), tuple(answers.tolist())
        variants = {
            name: replace(each, predicted=predicted, accuracy=accuracy) for name, each in times.variants.items()
        }
        variants[times.ships] = _slowed(variants[times.ships], slower)
        return replace(
            times,
            variants=variants,
            classes=tuple(str(number) for number in range(CLASSES)),
            images="1" * 64,
            skipped=(),
            labels=tuple(self.labels.tolist()),
            reference_predicted=tuple(self.expected.tolist()),
        )

    def baseline(self, number: int, times: Results) -> gate.Baseline:
        """Make a baseline: written to a file and read again, as a user's is."""
        if number not in self._baselines:
            run = self.run(times, dict.fromkeys(times, self.before), {})
            self._file.write_text(gate.text(gate.of(run, self.margins)))
            self._baselines[number] = gate.read(self._file)
        return self._baselines[number]


def _slowed(variant: Variant, times: float) -> Variant:
    assert variant.latency

    def slowed(process: ProcessTimes) -> ProcessTimes:
        windows = tuple(tuple(value * times for value in window) for window in process.host_ms)
        return replace(process, host_ms=windows)

    return replace(variant, latency=replace(variant.latency, processes=tuple(map(slowed, variant.latency.processes))))


def _simulate(options: argparse.Namespace) -> None:
    margins = gate.Margins(options.max_loss_pp, options.max_slowdown_pct)
    before = _recorded(options.noise, options.together)
    now = _recorded(options.now, options.together) if options.now else before
    pairs = [Case(i, j, "") for i in range(len(before)) for j in range(len(now)) if options.now or i != j]
    cases = [pair._replace(target=target) for pair in pairs for target in now[pair.now]]
    for each in (pairs, cases):
        random.Random(options.seed).shuffle(each)
    if not pairs:
        raise SystemExit(f"{len(before)} measurements are recorded, but at least two are needed")
    loss, slow = options.max_loss_pp / 100 + 0.01, 1 + options.max_slowdown_pct / 100 + 0.10
    print(f"{len(before)} and {len(now)} measurements, {len(pairs)} pairs; {', '.join(before[0])}; margins {margins}")
    with tempfile.TemporaryDirectory() as folder:
        simulation = Simulation(options.seed, margins, Path(folder))

        def changed(part: float, differ: float) -> Callable[[], np.ndarray]:
            return lambda: simulation.changed(simulation.before, part, differ)

        for title, answers, slower, goal in (
            ("unchanged", None, 1.0, "at most 0.5 %"),
            (f"unchanged, {100 * DIFFER:g} % answers changed", changed(0, DIFFER), 1.0, "at most 0.5 %"),
            (f"{100 * loss:g} points lost on one target", changed(loss, DIFFER), 1.0, "at least 98 %"),
            (f"{100 * (slow - 1):g} % slower on one target", None, slow, "at least 95 % where quiet"),
        ):
            every = cases if answers or slower != 1.0 else pairs
            taken = itertools.cycle(every) if answers else every  # what draws nothing is the same each time
            some = itertools.islice(taken, options.runs)
            _print(title, goal, [_outcome(simulation, before, now, case, answers, slower) for case in some])


def _recorded(files: Sequence[Path], together: int) -> list[Results]:
    runs = [run for file in files for run in json.loads(file.read_text())["runs"]]
    recorded = [{name: codec.decode(Measured, result) for name, result in run.items()} for run in runs]
    starts = range(0, len(recorded) - together + 1, together)
    return [_joined(recorded[start : start + together]) for start in starts]


def _joined(recorded: Sequence[Results]) -> Results:
    """Take several measurements in a row as one of as many more processes."""

    def all_processes(name: str) -> Callable[[Latency], Latency]:
        every = [iter(_latencies(run[name])) for run in recorded]
        return lambda latency: replace(
            latency, processes=tuple(process for each in every for process in next(each).processes)
        )

    return {name: _with_latencies(result, all_processes(name)) for name, result in recorded[0].items()}


def _latencies(result: Measured) -> list[Latency]:
    """Return all times in the order in which `_with_latencies` changes them."""
    return [*result.timed().values(), _yardstick_times(result)]


def _outcome(
    simulation: Simulation,
    before: Sequence[Results],
    now: Sequence[Results],
    case: Case,
    answers: Callable[[], np.ndarray] | None,
    slower: float,
) -> Outcome:
    times = now[case.now]
    given = dict.fromkeys(times, simulation.before) | ({case.target: answers()} if answers else {})
    run = simulation.run(times, given, {case.target: slower})
    found = gate.gate(run, simulation.baseline(case.before, before[case.before]), now=_ended(times) + 60)
    worst = max(found.verdicts, key=lambda each: judging.WORST_LAST.index(each.verdict))
    return Outcome(exit_code(found), f"{worst.verdict} {worst.promise.name}")


def _ended(times: Results) -> float:
    return max(process.began for result in times.values() for process in _yardstick_times(result).processes)


def _print(title: str, goal: str, outcomes: Sequence[Outcome]) -> None:
    red, count = sum(each.code != 0 for each in outcomes), len(outcomes)
    low, high = intervals.wilson(red, count)
    span = f"95 % interval of the simulation alone {100 * low:.2f} to {100 * high:.2f}"
    print(f"\n{title}: {100 * red / count:.2f} % red ({red} of {count}, {span})")
    worst = Counter(each.worst for each in outcomes).most_common(5)
    print(f"  goal {goal}; worst promises: {', '.join(f'{times} {name}' for name, times in worst)}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["record", "simulate"])
    parser.add_argument("--runs", type=int, default=50, help="measurements to record, or gates to simulate")
    parser.add_argument("--output", type=Path, default=Path("noise.json"), help="file that record writes")
    parser.add_argument("--busy", action="store_true", help="keep one core busy during the measurement")
    parser.add_argument("--target", action="append", help="onnxruntime and openvino by default")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--processes", type=int, default=recipe.Verify().processes)
    parser.add_argument("--seconds", type=float, default=recipe.Verify().seconds)
    parser.add_argument("--noise", type=Path, nargs="+", help="simulate: files of record, of one session or several")
    parser.add_argument("--now", type=Path, nargs="+", help="other noise for the run than for the baseline")
    parser.add_argument(
        "--together", type=int, default=1, help="take N recordings in a row as one of N times as many processes"
    )
    parser.add_argument("--max-loss-pp", type=float, default=0.5)
    parser.add_argument("--max-slowdown-pct", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.what == "simulate" and not options.noise:
        parser.error("simulate needs --noise FILE")
    return options


if __name__ == "__main__":
    main()
