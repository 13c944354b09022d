"""How often is the gate red: for a model that nobody changed, for one that lost accuracy, for one that became slower?

    record      The noise of this machine: one small network (a ResNet-20, its INT8 network and the yardstick, on
                onnxruntime and OpenVINO) is verified again and again by the real `verify`, all else found done. What it
                took, window by window, goes into a file. With --busy one core is kept busy meanwhile.
    simulate    Any two of those measurements are a baseline and a run, with their real noise and whatever moved
                between them. Answers to 5,000 images are drawn, a change is planted on one of the targets, and the real
                gate is asked: the baseline is written and read as a file, all promises of all targets are judged
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
import copy
import itertools
import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _load import busy

from edgeresnet import gate, pipeline, recipe
from edgeresnet.cli.run import exit_code
from edgeresnet.portable import inference, intervals, judging, machine
from edgeresnet.store import Store

IMAGES, CLASSES, TOP1, DIFFER = 5000, 10, 0.81, 0.02
PROMISES = {"max_drop_pp": 5.0, "max_size_mb": 100.0}
_OF_TIMING = ("machine", "began", "pace_ms", "others_cpus", "stolen_cpus", "cpu_mhz", "clock_ms", "before", "after")


def main() -> None:
    asked = _arguments()
    _record(asked) if asked.what == "record" else _simulate(asked)


def _record(asked: argparse.Namespace) -> None:
    raw: dict[str, Any] = {
        "version": 1,
        "model": {"arch": "cifar_resnet20", "classes": 10},
        "preprocessing": {"size": 32, "mean": [0.305], "std": [0.376]},
        "images": {"training": "digits", "evaluation": "digits", "calibration": {"from": "training", "count": 128}},
        "train": {"epochs": asked.epochs, "rate": 0.01, "schedule": "one-cycle"},
        "quantize": {"effort": "fast"},
        "targets": {name: {} for name in asked.target or ("onnxruntime", "openvino")},
        "verify": {"processes": asked.processes, "seconds": asked.seconds},
    }
    noise: dict[str, Any] = {"busy": asked.busy, "machine": machine.describe(), "verify": raw["verify"], "runs": []}
    with tempfile.TemporaryDirectory() as folder, busy() if asked.busy else contextlib.nullcontext():
        store, wanted = Store.open(Path(folder)), recipe.parse(raw)
        for number in range(asked.runs):
            began = time.perf_counter()
            run = pipeline.run(wanted, store, again=frozenset({"verify"}))
            noise["runs"].append({name: _timing(result) for name, result in run["results"].items()})
            asked.output.write_text(json.dumps(noise))
            print(f"{number + 1:3} of {asked.runs}: {time.perf_counter() - began:.0f} s", flush=True)


def _timing(result: dict[str, Any]) -> dict[str, Any]:
    """All that a gate reads of it but the answers. Of a window the median is kept: nothing judged reads more of it."""

    def short(raw: dict[str, Any] | None) -> dict[str, Any] | None:
        return raw and {
            "batch": raw["batch"],
            "processes": [
                {
                    **{key: one.get(key) for key in _OF_TIMING},
                    "host_ms": [[float(np.median(w))] for w in one["host_ms"]],
                }
                for one in raw["processes"]
            ],
        }

    kept = {key: result[key] for key in ("target", "candidate", "versions", "machine")}
    variants = {
        name: {"latency": short(one["latency"]), "size_mb": one["size_mb"], "digest": one["digest"]}
        for name, one in result["variants"].items()
    }
    unit = {**result["yardstick"], "latency": short(result["yardstick"]["latency"])}
    return {**kept, "variants": variants, "yardstick": unit}


class Trial:
    """The images, what the reference and the baseline's networks answered, and runs made of recorded times."""

    def __init__(self, seed: int, margins: gate.Margins, folder: Path):
        self.rng, self.margins = np.random.default_rng(seed), margins
        self.labels = self.rng.integers(0, CLASSES, IMAGES)
        self.expected = np.where(self.rng.random(IMAGES) < TOP1, self.labels, (self.labels + 1) % CLASSES)
        self.before = self.changed(self.expected, 0.0, DIFFER)
        self._file, self._baselines = folder / "gate.json", dict[int, dict[str, Any]]()

    def changed(self, answers: np.ndarray, loss: float, differ: float) -> np.ndarray:
        """So much accuracy lost, and so many answers that became right or wrong, in expectation."""
        right, differ = answers == self.labels, max(differ, abs(loss))
        chance = np.where(right, (differ + loss) / 2 / right.mean(), (differ - loss) / 2 / (1 - right.mean()))
        flip = self.rng.random(IMAGES) < chance
        return np.where(flip, np.where(right, (self.labels + 2) % CLASSES, self.labels), answers)

    def run(self, timing: dict[str, Any], answers: dict[str, np.ndarray], slower: dict[str, float]) -> dict[str, Any]:
        results = {name: self._result(one, answers[name], slower.get(name, 1.0)) for name, one in timing.items()}
        verdicts = [one.to_json() for name, result in results.items() for one in judging.judge(PROMISES, name, result)]
        return {
            "id": "simulated",
            "recipe": {
                "model": {"arch": "cifar_resnet20", "classes": CLASSES},
                "targets": {name: {} for name in timing},
            },
            "recipe_digest": "0" * 64,
            "results": results,
            "verdicts": verdicts,
            "verdict": judging.worst([one["verdict"] for one in verdicts]),
            "undecided": "warn",
            "steps": [],
            "problem": None,
        }

    def _result(self, timing: dict[str, Any], answers: np.ndarray, slower: float) -> dict[str, Any]:
        result = copy.deepcopy(timing)
        for variant in result["variants"].values():
            variant |= {
                "predicted": answers.tolist(),
                "accuracy": inference.counts(self.expected, answers, self.labels),
            }
        for process in result["variants"][result["candidate"]]["latency"]["processes"]:
            process["host_ms"] = [[value * slower for value in window] for window in process["host_ms"]]
        about = {"classes": [str(number) for number in range(CLASSES)], "images": "1" * 64, "skipped": []}
        return {**result, **about, "labels": self.labels.tolist(), "reference_predicted": self.expected.tolist()}

    def baseline(self, number: int, timing: dict[str, Any]) -> dict[str, Any]:
        """Written to a file and read again, as a user's is."""
        if number not in self._baselines:
            run = self.run(timing, dict.fromkeys(timing, self.before), {})
            self._file.write_text(gate.text(gate.of(run, self.margins)))
            self._baselines[number] = gate.read(self._file)
        return self._baselines[number]


def _simulate(asked: argparse.Namespace) -> None:
    margins = gate.Margins(asked.max_loss_pp, asked.max_slowdown_pct)
    before = _recorded(asked.noise, asked.together)
    now = _recorded(asked.now, asked.together) if asked.now else before
    pairs = [(i, j) for i in range(len(before)) for j in range(len(now)) if asked.now or i != j]
    cases = [(i, j, one) for i, j in pairs for one in now[j]]
    for each in (pairs, cases):
        random.Random(asked.seed).shuffle(each)
    if not pairs:
        raise SystemExit(f"{len(before)} measurements are recorded: at least two are needed")
    loss, slow = asked.max_loss_pp / 100 + 0.01, 1 + asked.max_slowdown_pct / 100 + 0.10
    print(f"{len(before)} and {len(now)} measurements, {len(pairs)} pairs; {', '.join(before[0])}; margins {margins}")
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(asked.seed, margins, Path(folder))

        def changed(part: float, differ: float) -> Callable[[], np.ndarray]:
            return lambda: trial.changed(trial.before, part, differ)

        for title, answers, slower, goal in (
            ("unchanged", None, 1.0, "at most 0.5 %"),
            (f"unchanged, {100 * DIFFER:g} % answered otherwise", changed(0, DIFFER), 1.0, "at most 0.5 %"),
            (f"{100 * loss:g} points lost on one target", changed(loss, DIFFER), 1.0, "at least 98 %"),
            (f"{100 * (slow - 1):g} % slower on one target", None, slow, "at least 95 % where quiet"),
        ):
            every = cases if answers or slower != 1.0 else [(i, j, "") for i, j in pairs]
            taken = itertools.cycle(every) if answers else every  # what draws nothing is the same each time
            codes = [_code(trial, before, now, case, answers, slower) for case in itertools.islice(taken, asked.runs)]
            _tell(trial, title, goal, codes)


def _recorded(files: Sequence[Path], together: int) -> list[dict[str, Any]]:
    return [run for file in files for run in _together(json.loads(file.read_text())["runs"], together)]


def _together(recorded: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """So many measurements in a row as one of so many times as many processes."""
    found = []
    for start in range(0, len(recorded) - count + 1, count):
        whole, *others = copy.deepcopy(recorded[start : start + count])
        for name, result in whole.items():
            for other in others:
                for raw, more in zip(_latencies(result), _latencies(other[name]), strict=True):
                    raw["processes"] += more["processes"]
        found.append(whole)
    return found


def _latencies(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [*(variant["latency"] for variant in result["variants"].values()), result["yardstick"]["latency"]]


def _code(
    trial: Trial,
    before: list[dict[str, Any]],
    now: list[dict[str, Any]],
    case: tuple[int, int, str],
    answers: Callable[[], np.ndarray] | None,
    slower: float,
) -> tuple[int, str]:
    """The exit code of one simulated gate, and its worst promise."""
    i, j, one = case
    given = dict.fromkeys(now[j], trial.before) | ({one: answers()} if answers else {})
    run = trial.run(now[j], given, {one: slower})
    found = gate.gate(run, trial.baseline(i, before[i]), now=_ended(now[j]) + 60)
    worst = max(found["verdicts"], key=lambda each: judging.WORST_LAST.index(each["verdict"]))
    return exit_code(found), f"{worst['verdict']} {worst['promise']}"


def _ended(timing: dict[str, Any]) -> float:
    return max(p["began"] for one in timing.values() for p in one["yardstick"]["latency"]["processes"])


def _tell(trial: Trial, title: str, goal: str, codes: list[tuple[int, str]]) -> None:
    red, count = sum(code != 0 for code, _ in codes), len(codes)
    low, high = intervals.wilson(red, count)
    span = f"95 % interval of the drawing alone {100 * low:.2f} to {100 * high:.2f}"
    print(f"\n{title}: {100 * red / count:.2f} % red ({red} of {count}, {span})")
    print(f"  goal {goal}; worst promises: ", end="")
    words = sorted({word for _, word in codes}, key=lambda word: -sum(word == other for _, other in codes))
    print(", ".join(f"{sum(word == other for _, other in codes)} {word}" for word in words[:5]), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["record", "simulate"])
    parser.add_argument("--runs", type=int, default=50, help="measurements to record, or gates to simulate")
    parser.add_argument("--output", type=Path, default=Path("noise.json"), help="of record")
    parser.add_argument("--busy", action="store_true", help="one core is kept busy by something else meanwhile")
    parser.add_argument("--target", action="append", help="onnxruntime and openvino by default")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--processes", type=int, default=recipe.Verify().processes)
    parser.add_argument("--seconds", type=float, default=recipe.Verify().seconds)
    parser.add_argument(
        "--noise", type=Path, nargs="+", help="of simulate: what was recorded, in one session or several"
    )
    parser.add_argument("--now", type=Path, nargs="+", help="other noise for the run than for the baseline")
    parser.add_argument("--together", type=int, default=1, help="so many recordings in a row are one of more processes")
    parser.add_argument("--max-loss-pp", type=float, default=0.5)
    parser.add_argument("--max-slowdown-pct", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if asked.what == "simulate" and not asked.noise:
        parser.error("simulate needs --noise FILE")
    return asked


if __name__ == "__main__":
    main()
