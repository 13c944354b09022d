"""Compiled networks timed side by side: the variants of a run, or ONNX files. Raw values out; no promises, no verdict.

A *subject* is one compiled network under the name that it has in the table; the first is what the others are held
against. Knows no door: an interruption is told in the document, beside all that was measured before it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import images, recipe, targets
from .artifact import FORMAT, Store
from .device import machine, measure
from .device.session import Signature
from .device.worker import Job
from .errors import EdgeresnetError, TargetError
from .images import FILES, FromFiles

_SEED = 0


@dataclass(frozen=True)
class Subject:
    name: str
    target: str
    compiled: Path
    signature: Signature


def of_run(store: Store, run: Mapping[str, Any], wanted: Sequence[str]) -> list[Subject]:
    """Every variant that the run measured, on the asked targets or on all of them."""
    measured = {name: result for name, result in run["results"].items() if "variants" in result}
    for name in wanted:
        if name not in measured:
            raise EdgeresnetError(
                f"run {run['id']} measured nothing on {name}", hint=f"it measured {', '.join(measured) or 'no target'}"
            )
    if not measured:
        raise EdgeresnetError(f"run {run['id']} compiled nothing that could be timed", hint="run its recipe again")
    found, many = [], len(wanted or measured) > 1
    for name in wanted or measured:
        targets.require(name)
        for variant, about in measured[name]["variants"].items():
            artifact = store.artifact_of(run, about["digest"])
            signature = Signature(**artifact.notes["signature"])
            found.append(Subject(f"{name} {variant}" if many else variant, name, artifact.path, signature))
    return found


def of_files(paths: Sequence[Path], wanted: Sequence[str], folder: Path) -> list[Subject]:
    """ONNX files, each compiled for each target into `folder`, which must outlive the measurement."""
    found: list[Subject] = []
    for path in paths:
        if not path.is_file():
            raise EdgeresnetError(f"there is no file {path}", hint="give ONNX files, or a run's id")
        for name in wanted:
            target, out = targets.require(name), folder / str(len(found))
            out.mkdir()
            try:
                notes = target.compile(path, target.options(), out)
            except TargetError as problem:
                raise TargetError(f"{target.title} {problem.message}", hint=problem.hint) from problem
            title = f"{name} {path.stem}" if len(wanted) > 1 else path.stem
            same = sum(subject.name.split(" #")[0] == title for subject in found)
            found.append(Subject(f"{title} #{same + 1}" if same else title, name, out, Signature(**notes["signature"])))
    return found


def files_of(store: Store, run: Mapping[str, Any]) -> FromFiles | None:
    """The run's evaluation images as files, for latency from the file on; None where they are none, or gone."""
    try:
        samples = images.open_samples(recipe.parse({**run["recipe"]}), "evaluation", store)
    except EdgeresnetError:
        return None
    skipped = {name for result in run["results"].values() for name in result.get("skipped", ())}
    readable = [index for index in range(len(samples)) if samples.name(index) not in skipped]
    return FromFiles.of(samples, readable[:FILES])


def bench(
    subjects: Sequence[Subject],
    *,
    processes: int,
    seconds: float,
    batches: Sequence[int],
    streams: Sequence[int],
    files: Callable[[int, int], np.ndarray] | None = None,
    on_round: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """All subjects in turn. Latency is of the first batch size; more of them, or streams, are swept for throughput."""
    jobs = {subject.name: _job(subject, batches, files) for subject in subjects}
    sweep = (batches, streams or (1,)) if streams or len(batches) > 1 else None
    done: list[measure.Round] = []
    problem: BaseException | None = None
    began = time.time()
    on_round(0, processes)
    try:
        for found in measure.rounds(jobs, processes=processes, seconds=seconds, sweep=sweep):
            done.append(found)
            on_round(len(done), processes)
    except (KeyboardInterrupt, EdgeresnetError) as caught:
        if not done:
            raise
        problem = caught
    names = {subject.target for subject in subjects}
    return {
        "format": FORMAT,
        "id": f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(began))}-{int(began * 1e6) % 1_000_000:06d}",
        "subjects": [subject.name for subject in subjects],
        "asked": {"processes": processes, "seconds": seconds, "batches": list(batches), "streams": list(streams)},
        "seconds": round(time.time() - began, 3),
        "results": measure.collected(jobs, done),
        "machine": machine.describe(),
        "versions": machine.versions(*(library for name in sorted(names) for library in targets.get(name).libraries)),
        "problem": _told(problem, len(done), processes),
    }


def _told(problem: BaseException | None, done: int, asked: int) -> dict[str, Any] | None:
    if problem is None:
        return None
    why = "interrupted" if isinstance(problem, KeyboardInterrupt) else str(problem)
    code = 130 if isinstance(problem, KeyboardInterrupt) else getattr(problem, "exit_code", 1)
    return {"message": f"{why}, after {done} of {asked} processes", "exit_code": code}


def _job(subject: Subject, batches: Sequence[int], files: Callable[[int, int], np.ndarray] | None) -> Job:
    about = subject.signature
    odd = [size for size in batches if about.batch is not None and size != about.batch]
    if odd:
        raise EdgeresnetError(
            f"{subject.name} is fixed to batch {about.batch}",
            hint=f"it cannot be timed at batch {odd[0]}: leave it out",
        )
    shape = (batches[0], about.channels, about.size, about.size)
    batch = np.random.default_rng(_SEED).standard_normal(shape, dtype=np.float32)
    return Job(targets.get(subject.target), subject.compiled, batch, files)
