"""Compiled networks timed side by side: the variants of a run, or ONNX files. Raw values out; no promises, no verdict.

A *subject* is one compiled network under the name that it has in the table; the first is what the others are held
against. Knows no door: who could not be timed, and what cut the measurement short, is told in the document.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from . import images, recipe, targets
from .errors import EdgeresnetError, TargetError
from .graph import lint
from .images import FILES, FromFiles
from .portable import machine, measure, onnx_file
from .portable.session import Signature
from .portable.worker import Job
from .store import FORMAT, Store

_SEED = 0


@dataclass(frozen=True)
class Subject:
    name: str
    target: str
    compiled: Path
    signature: Signature


@dataclass(frozen=True)
class Absent:
    """What was asked for and cannot be timed here; the others still are."""

    name: str
    reason: str
    hint: str


@dataclass(frozen=True)
class Lineup:
    """All that was asked for. `files` gives images for latency from the file on; `notes` are told with the result."""

    subjects: Sequence[Subject]
    absent: Sequence[Absent]
    files: Callable[[int, int], np.ndarray] | None = None
    notes: Sequence[str] = ()


def of_run(store: Store, run: Mapping[str, Any], wanted: Sequence[str]) -> Lineup:
    """Every variant that the run measured, on the asked targets or on all of them."""
    measured = {name: result for name, result in run["results"].items() if "variants" in result}
    for name in wanted:
        if name not in measured:
            raise EdgeresnetError(
                f"run {run['id']} measured nothing on {name}", hint=f"it measured {', '.join(measured) or 'no target'}"
            )
    if not measured:
        raise EdgeresnetError(f"run {run['id']} compiled nothing that could be timed", hint="run its recipe again")
    subjects: list[Subject] = []
    absent: list[Absent] = []
    for name in wanted or measured:
        for variant, about in measured[name]["variants"].items():
            title = f"{name} {variant}" if len(wanted or measured) > 1 else variant
            try:
                targets.require(name)
            except TargetError as problem:
                absent.append(Absent(title, problem.message, problem.hint))
                continue
            artifact = store.artifact_of(run, about["digest"])
            subjects.append(Subject(title, name, artifact.path, Signature(**artifact.notes["signature"])))
    files, notes = _files_of(store, run)
    return Lineup(subjects, absent, files, notes)


def of_files(paths: Sequence[Path], wanted: Sequence[str], folder: Path) -> Lineup:
    """ONNX files, each compiled for each target into `folder`, which must outlive the measurement."""
    for path in paths:  # all of them, before the first is compiled
        lint.timed(onnx_file.read(path))
    subjects: list[Subject] = []
    absent: list[Absent] = []
    for path, name in itertools.product(paths, wanted):
        title = _unlike(f"{name} {path.stem}" if len(wanted) > 1 else path.stem, [one.name for one in subjects])
        try:
            subjects.append(_compiled(title, name, path, folder / str(len(subjects) + len(absent))))
        except TargetError as problem:
            absent.append(Absent(title, problem.message, problem.hint))
    return Lineup(subjects, absent)


def bench(
    lineup: Lineup,
    *,
    processes: int,
    seconds: float,
    batches: Sequence[int],
    streams: Sequence[int],
    on_round: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """All subjects in turn. Latency is of the first batch size; more of them, or streams, are swept for throughput.

    Where no batch size is asked for, it is the one that the networks are fixed to, or 1.
    """
    subjects = lineup.subjects
    if not subjects:
        raise _nothing(lineup.absent)
    batches = _batches(subjects, batches)
    jobs = {subject.name: _job(subject, batches[0], lineup.files) for subject in subjects}
    sweep = (batches, streams or (1,)) if streams or len(batches) > 1 else None
    done: list[measure.Round] = []
    problem: BaseException | None = None
    began = time.time()
    on_round(0, processes)
    try:
        for found in measure.rounds(jobs, processes=processes, seconds=seconds, sweep=sweep):
            done.append(found)
            if not _is_cut(found):
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
        "absent": [asdict(one) for one in lineup.absent],
        "asked": {"processes": processes, "seconds": seconds, "batches": list(batches), "streams": list(streams)},
        "seconds": round(time.time() - began, 3),
        "results": measure.collected(jobs, done),
        "notes": [*lineup.notes, *_sizes(subjects)],
        "machine": machine.describe(),
        "versions": machine.versions(*(library for name in sorted(names) for library in targets.get(name).libraries)),
        "problem": _told(problem, sum(not _is_cut(found) for found in done), processes),
    }


def _compiled(title: str, name: str, path: Path, out: Path) -> Subject:
    target = targets.require(name)
    out.mkdir()
    try:
        notes = target.compile(path, target.options(), out)
    except TargetError as problem:
        raise TargetError(f"{target.title} {problem.message}", hint=problem.hint) from problem
    return Subject(title, name, out, Signature(**notes["signature"]))


def _unlike(title: str, taken: Collection[str]) -> str:
    others = (f"{title} #{number}" for number in itertools.count(2))
    return next(name for name in itertools.chain([title], others) if name not in taken)


def _files_of(store: Store, run: Mapping[str, Any]) -> tuple[FromFiles | None, list[str]]:
    """The run's evaluation images as files; None where they are none, or not what they were, and then why."""
    try:
        samples = images.open_samples(recipe.parse({**run["recipe"]}), "evaluation", store)
    except EdgeresnetError as problem:
        return None, [f"not timed from the file on: {problem.message} (paths are read from the current folder)"]
    skipped = {name for result in run["results"].values() for name in result.get("skipped", ())}
    readable = [index for index in range(len(samples)) if samples.name(index) not in skipped]
    files = FromFiles.of(samples, readable[:FILES])
    seen = _evaluated(store, run)
    if files and samples.digest not in seen:
        known = "are not those that the run was measured on" if seen else "of the run are no longer known to the store"
        return None, [f"not timed from the file on: the evaluation images {known}"]
    return files, []


def _evaluated(store: Store, run: Mapping[str, Any]) -> set[str]:
    """The digest of the images behind the run's answers, as the artifacts say it that hold these."""
    keys = [step["key"] for step in run["steps"] if step["stage"] == "verify" and step["key"]]
    found = (store.find("verify", key)[0] for key in keys)
    return {artifact.manifest["parents"]["evaluation"] for artifact in found if artifact}


def _is_cut(found: measure.Round) -> bool:
    return any(process.get("cut") for process in found.values())


def _told(problem: BaseException | None, whole: int, asked: int) -> dict[str, Any] | None:
    where = f"in process {min(whole + 1, asked)} of {asked}"
    if problem is None:
        return None
    if isinstance(problem, EdgeresnetError):
        message = f"ended {where}: {problem.message}"
        return {"message": message, "hint": problem.hint, "exit_code": problem.exit_code}
    return {"message": f"interrupted {where}", "hint": "", "exit_code": 130}


def _nothing(absent: Sequence[Absent]) -> TargetError:
    if not absent:
        return TargetError("no target is here that could time a network", hint="`edgeresnet targets` says why")
    return TargetError("; ".join(f"{one.name}: {one.reason}" for one in absent), hint=absent[0].hint)


def _batches(subjects: Sequence[Subject], asked: Sequence[int]) -> Sequence[int]:
    fixed = {one.name: one.signature.batch for one in subjects if one.signature.batch is not None}
    sizes = sorted(set(fixed.values()))
    if len(sizes) > 1:
        each = ", ".join(f"{name} to {size}" for name, size in fixed.items())
        raise EdgeresnetError(
            f"these networks are fixed to different batches and cannot be timed together: {each}",
            hint="time those of one batch, or export them with a batch that may vary",
        )
    if odd := [size for size in asked if sizes and size != sizes[0]]:
        raise EdgeresnetError(
            f"{next(iter(fixed))} is fixed to batch {sizes[0]} and cannot be timed at {odd[0]}",
            hint=f"give `--batch {sizes[0]}`, or no --batch",
        )
    return asked or sizes or [1]


def _sizes(subjects: Sequence[Subject]) -> list[str]:
    """Networks of other images than the first one's may be compared, by those who know it."""
    first, *others = subjects
    return [
        f"{one.name} takes {_images(one)} images and {first.name} {_images(first)}: they do not do the same work"
        for one in others
        if _images(one) != _images(first)
    ]


def _images(subject: Subject) -> str:
    return f"{subject.signature.channels}×{subject.signature.size}×{subject.signature.size}"


def _job(subject: Subject, size: int, files: Callable[[int, int], np.ndarray] | None) -> Job:
    about = subject.signature
    rng = np.random.default_rng(_SEED)
    batch: np.ndarray
    if about.pixels:
        batch = rng.integers(0, 256, about.shape(size), dtype=np.uint8)
        files = replace(files, pixels=True) if isinstance(files, FromFiles) else files
    else:
        batch = rng.standard_normal(about.shape(size), dtype=np.float32)
    return Job(targets.get(subject.target), subject.compiled, batch, files)
