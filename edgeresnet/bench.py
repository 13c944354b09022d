"""Compiled networks timed in turn: the variants of a run, or ONNX files. Returns raw values, judges nothing.

A *subject* is one compiled network under its name in the table; the others are compared with the first. What could not
be timed, and what ended the measurement early, is in the document.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from . import images, recipe, targets
from .errors import EdgeresnetError, TargetError
from .graph import lint
from .images import FILES, FromFiles
from .portable import amounts, energy, machine, measure, onnx_file
from .portable.amounts import Amounts
from .portable.energy import Meter
from .portable.frozen import OMIT
from .portable.machine import Machine
from .portable.result import Measured
from .portable.session import Signature
from .portable.times import Latency, ProcessTimes
from .portable.worker import Job
from .runs import Run, id_of_time
from .store import Store

FORMAT: Literal[3] = 3
_SEED = 0


@dataclass(frozen=True)
class Subject:
    """A compiled network that is to be timed."""

    name: str
    target: str
    compiled: Path
    signature: Signature


@dataclass(frozen=True)
class Absent:
    """What was requested and cannot be timed here; the others still are."""

    name: str
    reason: str
    hint: str


@dataclass(frozen=True)
class Lineup:
    """All that was requested. `files` makes images for latency from the file on; `notes` become the document's."""

    subjects: tuple[Subject, ...]
    absent: tuple[Absent, ...]
    files: FromFiles | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BenchPlan:
    """How long networks are timed, and with how many images and requests at once."""

    processes: int
    seconds: float
    batches: tuple[int, ...] = ()  # latency with the first, throughput with all
    streams: tuple[int, ...] = ()


@dataclass(frozen=True)
class BenchProblem:
    """What ended a bench early, and the exit code of that."""

    message: str
    hint: str
    exit_code: int


@dataclass(frozen=True)
class Bench:
    """Networks timed in turn: the document of `edgeresnet bench`."""

    id: str
    subjects: tuple[str, ...]
    absent: tuple[Absent, ...]
    plan: BenchPlan = field(metadata={"key": "asked"})
    seconds: float
    results: Mapping[str, Latency]
    notes: tuple[str, ...]
    machine: Machine
    versions: Mapping[str, str]
    problem: BenchProblem | None
    amounts: Mapping[str, Amounts] = field(default_factory=dict, metadata=OMIT)  # computed from the results
    format: Literal[3] = FORMAT


def lineup_of_run(store: Store, run: Run, wanted: Sequence[str]) -> Lineup:
    """Return every variant that the run measured here, on the wanted targets or on all of them."""
    measured = run.measured_here(wanted)
    if not measured:
        raise EdgeresnetError(
            f"run {run.id}", "compiled no network that bench can measure", hint="run its recipe again"
        )
    subjects: list[Subject] = []
    absent: list[Absent] = []
    for name, result in measured.items():
        for variant, about in result.variants.items():
            title = f"{name} {variant}" if len(measured) > 1 else variant
            try:
                targets.require(name)
            except TargetError as problem:
                absent.append(Absent(title, problem.message, problem.hint))
                continue
            compiled = store.artifact_of(run, about.digest).path
            subjects.append(Subject(title, name, compiled, about.notes.signature))
    files, notes = _files_of_run(store, run)
    if there := [] if wanted else run.measured_on_devices:
        notes = (*notes, f"left out, since a device compiled it: {', '.join(there)}")
    return Lineup(tuple(subjects), tuple(absent), files, notes)


def lineup_of_files(paths: Sequence[Path], wanted: Sequence[str], folder: Path) -> Lineup:
    """Compile ONNX files for each target into `folder`, which must outlive the measurement."""
    for path in paths:  # all of them, before the first is compiled
        lint.timed(onnx_file.read(path))
    subjects: list[Subject] = []
    absent: list[Absent] = []
    for path, name in itertools.product(paths, wanted):
        title = _unique(f"{name} {path.stem}" if len(wanted) > 1 else path.stem, [one.name for one in subjects])
        try:
            subjects.append(_compiled(title, name, path, folder / str(len(subjects) + len(absent))))
        except TargetError as problem:
            absent.append(Absent(title, problem.message, problem.hint))
    return Lineup(tuple(subjects), tuple(absent))


def bench(lineup: Lineup, plan: BenchPlan, *, on_round: Callable[[int, int], None] = lambda done, total: None) -> Bench:
    """Time all subjects in turn. Latency is of the first batch size; throughput needs more of them, or streams.

    Where no batch size is given, it is the one that the networks are fixed to, or 1. `on_round` is called with how many
    processes are done, and of how many.
    """
    subjects = lineup.subjects
    if not subjects:
        raise _nothing_to_time(lineup.absent)
    plan = replace(plan, batches=_batches(subjects, plan.batches))
    jobs = {subject.name: _job(subject, plan.batches[0], lineup.files) for subject in subjects}
    sweep = (plan.batches, plan.streams or (1,)) if plan.streams or len(plan.batches) > 1 else None
    meter = _meter(subjects)
    rounds = measure.rounds(jobs, processes=plan.processes, seconds=plan.seconds, sweep=sweep, meter=meter)
    done: list[Mapping[str, ProcessTimes]] = []
    problem: BaseException | None = None
    began = time.time()
    on_round(0, plan.processes)
    try:
        for found in rounds:
            done.append(found)
            if not _is_interrupted(found):
                on_round(len(done), plan.processes)
    except (KeyboardInterrupt, EdgeresnetError) as caught:
        if not done:
            raise
        problem = caught
    names = sorted({subject.target for subject in subjects})
    complete = sum(not _is_interrupted(found) for found in done)
    results = measure.collected(jobs, done)
    return Bench(
        id=id_of_time(began),
        subjects=tuple(subject.name for subject in subjects),
        absent=lineup.absent,
        plan=plan,
        seconds=round(time.time() - began, 3),
        results=results,
        amounts={name: amounts.of(latency) for name, latency in results.items()},
        notes=(*lineup.notes, *_size_notes(subjects)),
        machine=machine.describe(),
        versions=machine.versions(*(library for name in names for library in targets.get(name).libraries)),
        problem=None if problem is None else _ended_early(problem, min(complete + 1, plan.processes), plan.processes),
    )


def _meter(subjects: Sequence[Subject]) -> Meter | str:
    """Return the meter that covers what all subjects run on; or why there is none."""
    found = [energy.meter(on_card=each) for each in sorted({targets.get(one.target).on_card for one in subjects})]
    reasons = [each for each in found if isinstance(each, str)]
    if len(reasons) == len(found):
        return "; ".join(reasons)
    if len({each if isinstance(each, str) else each.sensor.name for each in found}) == 1:  # a board's, of all
        return found[0]
    return "these networks run on a CPU and on a card, which have two sensors: name one `--target`"


def _compiled(title: str, name: str, path: Path, out: Path) -> Subject:
    target = targets.require(name)
    out.mkdir()
    try:
        notes = target.compile(path, target.options(), out).notes
    except TargetError as problem:
        raise problem.within(target.title) from problem
    return Subject(title, name, out, notes.signature)


def _unique(title: str, taken: Collection[str]) -> str:
    others = (f"{title} #{number}" for number in itertools.count(2))
    return next(name for name in itertools.chain([title], others) if name not in taken)


def _files_of_run(store: Store, run: Run) -> tuple[FromFiles | None, tuple[str, ...]]:
    """Return the run's evaluation images as files; None where they are none, or have changed, and then why."""
    try:
        classes = max((len(result.classes) for result in run.measured), default=None)
        samples = images.open_samples(recipe.parse(dict(run.recipe)), "evaluation", store, classes)
    except EdgeresnetError as problem:
        sentence = problem.within("latency with image decoding was not measured").message
        return None, (f"{sentence} (paths start at the current folder)",)
    skipped = {name for result in run.measured for name in result.skipped}
    readable = [index for index in range(len(samples)) if samples.name(index) not in skipped]
    files = FromFiles.of(samples, readable[:FILES])
    evaluated = _evaluated_images(run.measured)
    if files and samples.identity not in evaluated:
        reason = (
            "the evaluation images have changed since the run"
            if evaluated
            else "the run does not name its evaluation images"
        )
        return None, (f"latency with image decoding was not measured: {reason}",)
    return files, ()


def _evaluated_images(measured: Iterable[Measured]) -> set[str]:
    return {result.images for result in measured if result.images}


def _is_interrupted(found: Mapping[str, ProcessTimes]) -> bool:
    return any(process.cut for process in found.values())


def _ended_early(problem: BaseException, process: int, processes: int) -> BenchProblem:
    where = f"in process {process} of {processes}"
    if isinstance(problem, EdgeresnetError):
        return BenchProblem(problem.within(f"ended {where}").message, problem.hint, problem.exit_code)
    return BenchProblem(f"interrupted {where}", "", 130)


def _nothing_to_time(absent: Sequence[Absent]) -> TargetError:
    if not absent:
        return TargetError("no target", "can measure a network on this machine", hint="`edgeresnet targets` shows why")
    reasons = "; ".join(f"{one.name}: {one.reason}" for one in absent)
    return TargetError("no target", f"can measure a network on this machine: {reasons}", hint=absent[0].hint)


def _batches(subjects: Sequence[Subject], requested: tuple[int, ...]) -> tuple[int, ...]:
    fixed = {one.name: one.signature.batch for one in subjects if one.signature.batch is not None}
    sizes = sorted(set(fixed.values()))
    if len(sizes) > 1:
        each = ", ".join(f"{name} {size}" for name, size in fixed.items())
        raise EdgeresnetError(
            "these networks",
            f"have different fixed batch sizes and cannot be measured together: {each}",
            hint="measure networks of one batch size, or export them with a variable batch",
        )
    if odd := [size for size in requested if sizes and size != sizes[0]]:
        raise EdgeresnetError(
            next(iter(fixed)),
            f"has the fixed batch size {sizes[0]} and cannot be measured with {odd[0]}",
            hint=f"use `--batch {sizes[0]}`, or leave out --batch",
        )
    return requested or tuple(sizes) or (1,)


def _size_notes(subjects: Sequence[Subject]) -> list[str]:
    """Note networks of other images than the first one's: whoever knows that may compare them."""
    first, *others = subjects
    return [
        f"{one.name} takes {_image_size(one)} images and {first.name} {_image_size(first)}, so they do different work"
        for one in others
        if _image_size(one) != _image_size(first)
    ]


def _image_size(subject: Subject) -> str:
    return f"{subject.signature.channels}×{subject.signature.size}×{subject.signature.size}"


def _job(subject: Subject, size: int, files: FromFiles | None) -> Job:
    about = subject.signature
    rng = np.random.default_rng(_SEED)
    batch: np.ndarray
    if about.pixels:
        batch = rng.integers(0, 256, about.shape(size), dtype=np.uint8)
        files = replace(files, pixels=True) if files else files
    else:
        batch = rng.standard_normal(about.shape(size), dtype=np.float32)
    return Job(targets.get(subject.target), subject.compiled, batch, files)
