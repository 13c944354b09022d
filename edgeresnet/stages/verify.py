"""What a compiled network answers and how long it takes: accuracy and latency on a target, measured and stored.

Judges nothing: promises are compared with these numbers afterwards, so changing one needs no new measurement.
"""

from __future__ import annotations

import contextlib
import json
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .. import targets
from ..context import Context
from ..errors import ImagesError, TargetError
from ..images import FILES, FromFiles, Samples
from ..notes import VerifyNotes
from ..portable import codec, documents, energy, evaluation, inference, machine, measure, probabilities, yardstick
from ..portable.machine import TimedMachine
from ..portable.measure import TimingPlan
from ..portable.result import AnyAccuracy, Measured
from ..portable.session import CompileNotes, Target
from ..portable.tasks.task import Given, Outputs
from ..portable.times import Latency, ProcessTimes
from ..portable.worker import Job
from ..shards import evaluating
from ..shards.fetching import Source
from ..store import Artifact, write_bytes
from .specs import VerifyInputs, VerifySpec


@dataclass(frozen=True)
class _TimedRounds:
    """Rounds of processes that an interrupted run timed: of which networks, and on which machine."""

    networks: tuple[str, ...]  # digests
    machine: TimedMachine
    rounds: tuple[Mapping[str, ProcessTimes], ...] = ()


def verify(inputs: VerifyInputs, spec: VerifySpec, out: Path, ctx: Context) -> VerifyNotes:
    """Measure accuracy and latency of every variant on one target.

    An interrupted run continues where it was: each variant's answers and each round of processes are stored as soon as
    they are there.
    """
    target, samples = targets.get(spec.target), inputs.evaluation.value
    networks = {name: _network(inputs.variants[name]) for name in _in_order(inputs.variants)}
    outputs = _outputs(spec, samples, networks.values()).with_second(_folder(inputs.second))
    answered, indices = {}, np.empty(0, np.int64)
    for name in list(networks):
        try:
            indices, answered[name] = _answers(name, target, inputs, samples, outputs, ctx)
        except TargetError as problem:
            if not evaluation.may_miss(name, spec.ships):
                raise
            ctx.warn("no-half", f"the half-precision variant is left out: {problem.message}")
            del networks[name]
    latencies: Mapping[str, Latency] = {}
    if spec.timing:
        jobs, digests = _jobs(target, networks, samples, indices), [network.digest for network in networks.values()]
        if inputs.yardstick and (unit := _unit(target, _network(inputs.yardstick), ctx)):
            jobs[yardstick.NAME] = Job(target, unit.compiled, yardstick.image(), is_unit=True)
            digests.append(unit.digest)
        latencies = measure.collected(jobs, _rounds(jobs, spec.timing, digests, ctx, target.on_card))
    arrays = [outputs.arrays(each.given, name) for name, each in answered.items()]
    stored = {key: array for each in arrays for key, array in each.items()}
    np.savez(out / evaluation.LOGITS, allow_pickle=False, indices=indices, **stored)
    (out / evaluation.LAYERS).write_text(json.dumps({name: each.layers for name, each in answered.items()}))
    skipped = [samples.name(index) for index in sorted(set(range(len(samples))) - set(indices.tolist()))]
    expected = _expected(inputs.reference, indices, outputs) if inputs.reference else answered["fp32"].given
    labels = outputs.of_task.labels(samples, indices)
    images = evaluation.ImageSet(samples.classes, labels, expected, skipped, samples.identity, outputs)
    result = evaluation.result(target, spec.ships, images, networks, answered, latencies)
    (out / evaluation.RESULT).write_text(json.dumps(codec.encode(result), ensure_ascii=False), encoding="utf-8")
    return VerifyNotes(images=len(indices), skipped=len(skipped))


def _folder(second: Artifact | None) -> Path | None:
    return second.path if second else None


def _outputs(spec: VerifySpec, samples: Samples, networks: Iterable[evaluation.Network]) -> Outputs:
    """Return what the networks' outputs mean. Where the images have no classes, their number is the network's own."""
    own = spec.detector.classes if spec.detector else next(iter(networks)).notes.signature.logits
    return Outputs(spec.task, len(samples.classes) or own, samples.preprocessing.size, spec.detector)


def _in_order(variants: Mapping[str, Artifact]) -> list[str]:
    """Return the names of all builds, in the order of the variants."""
    return [
        name
        for variant in evaluation.VARIANTS
        for name in sorted(variants)
        if name.split(evaluation.REBUILT)[0] == variant
    ]


def _unit(target: Target, unit: evaluation.Network, ctx: Context) -> evaluation.Network | None:
    """Return the yardstick if it runs; leave it out with a warning if not."""
    try:
        evaluation.runs(target, unit.compiled, yardstick.image())
    except TargetError as problem:
        ctx.warn("no-yardstick", f"the yardstick is left out: {problem.message}")
        return None
    return unit


def _network(artifact: Artifact) -> evaluation.Network:
    assert isinstance(artifact.notes, CompileNotes)
    return evaluation.Network(artifact.path, artifact.digest, artifact.size_mb, artifact.notes)


def read_result(artifact: Artifact, reference: Artifact | None = None) -> Measured:
    """Read what `verify` stored.

    With the reference's artifact, a result of an older edgeresnet gets its probabilities from the stored logits.
    """
    hint = "measure again: `edgeresnet run --again verify`"
    found = documents.read_json(artifact.path / evaluation.RESULT, Measured, hint=hint)
    path = artifact.path / evaluation.LOGITS
    lacks = not found.reference_probabilities and found.reference_predicted
    if not lacks or reference is None or not path.is_file():
        return found
    with np.load(path) as stored:
        expected = _expected(reference, stored["indices"], Outputs())
        known = {name: probabilities.of(expected, stored[name]) for name in stored.files if name != "indices"}
    again = [each for name, each in known.items() if evaluation.REBUILT in name]
    return replace(
        found,
        variants={name: replace(each, probabilities=known[name]) for name, each in found.variants.items()},
        rebuilds=tuple(replace(one, probabilities=each) for one, each in zip(found.rebuilds, again, strict=True)),
        reference_probabilities=probabilities.of_reference(expected),
    )


def as_written(artifact: Artifact) -> AnyAccuracy:
    """Return an INT8 file's accuracy before any compiler, compared with the network that was quantized."""
    return read_result(artifact).variants["int8"].quantization


def _answers(
    name: str, target: Target, inputs: VerifyInputs, samples: Samples, outputs: Outputs, ctx: Context
) -> tuple[np.ndarray, evaluation.Answers]:
    """Return which images were evaluated and the answers to them, which an interrupted run may have stored."""
    variant = inputs.variants[name]
    network = _network(variant)
    path = ctx.scratch / f"{name}-{network.digest[:12]}.npz"
    if path.is_file():
        with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile):
            return evaluating.unpacked(path.read_bytes(), outputs)

    def count(done: int) -> None:
        ctx.progress(done, len(samples), "images")

    if ctx.workers and len(samples) > evaluating.IMAGES:
        source, folder = Source.of(variant, ctx.shared), path.with_suffix("")
        second = Source.of(inputs.second, ctx.shared) if inputs.second else None
        given = target, network, source, samples, outputs, folder, count, second
        indices, found = evaluating.answers(ctx.workers, *given)
        if len(indices):  # else this process reports why no image can be read
            return indices, found
    seen: list[np.ndarray] = []

    def batches() -> Iterator[np.ndarray]:
        for batch in samples.batches(outputs.batch(inference.BATCH)):
            seen.append(batch.indices)
            yield network.images(batch.pixels, samples.preprocessing)

    found = evaluation.answers(target, network.compiled, batches(), count, outputs)
    indices = np.concatenate(seen)
    write_bytes(path, evaluating.packed(indices, found, outputs))
    return indices, found


def _jobs(
    target: Target, networks: Mapping[str, evaluation.Network], samples: Samples, indices: np.ndarray
) -> dict[str, Job]:
    """Make the jobs: a real image, one at a time (or in the batch that the network is fixed to)."""
    pixels = samples.pixels(indices[:1])
    files = FromFiles.of(samples, indices[:FILES].tolist())
    jobs = {}
    for name, network in networks.items():
        image = network.images(pixels, samples.preprocessing)
        own = files and replace(files, pixels=image is pixels)
        jobs[name] = Job(target, network.compiled, np.repeat(image, network.batch, axis=0), own)
    return jobs


def _rounds(
    jobs: Mapping[str, Job], plan: TimingPlan, digests: Sequence[str], ctx: Context, on_card: bool = False
) -> list[measure.Round]:
    """Time all rounds. Continue those that an interrupted run stored of the same networks on the same machine."""
    path, done = ctx.scratch / "rounds.json", _TimedRounds(tuple(digests), machine.timed_machine())
    stored = documents.stored_json(path, _TimedRounds)
    done = stored if stored and replace(stored, rounds=()) == done else done
    if done.rounds:
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(min(one.began for one in done.rounds[0].values())))
        ctx.warn(
            "continued",
            f"timing continues after an interruption: {len(done.rounds)} of {plan.processes} rounds date from {since}",
        )
    ctx.progress(len(done.rounds), plan.processes, "processes timed")
    more = measure.rounds(
        jobs,
        processes=plan.processes,
        seconds=plan.seconds,
        first=len(done.rounds),
        throughput=plan.throughput,
        meter=energy.meter(on_card=on_card),
    )
    with evaluation.as_failure():
        for one in more:
            if any(process.cut for process in one.values()):
                continue  # what interrupted it is raised next; the complete rounds are stored
            done = replace(done, rounds=(*done.rounds, one))
            write_bytes(path, json.dumps(codec.encode(done)).encode())
            ctx.progress(len(done.rounds), plan.processes, "processes timed")
    return list(done.rounds)


def _expected(reference: Artifact, indices: np.ndarray, outputs: Outputs) -> Given:
    """Return what the reference gave for these images."""
    with np.load(reference.path / evaluation.LOGITS) as stored:
        if not np.array_equal(stored["indices"], indices):
            raise ImagesError(
                "some images",
                "were readable for one network but not for another",
                hint="the files changed during the run: run it again",
            )
        return outputs.restored(stored, "fp32")
