"""What a compiled network answers and how long it takes: accuracy and latency on a target, measured and stored.

Judges nothing: promises are held against these numbers afterwards, so changing one needs no new measurement.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import targets
from ..context import Context
from ..errors import ImagesError, TargetError
from ..images import FILES, FromFiles, Samples
from ..portable import evaluation, inference, judging, machine, measure, yardstick
from ..portable.session import Layer, Target
from ..portable.worker import Job
from ..store import Artifact, Parent, write_bytes


def verify(parents: Mapping[str, Parent], spec: Mapping[str, Any], out: Path, ctx: Context) -> dict[str, Any]:
    """Parents: a compiled network per variant, the `evaluation` images and, but for the reference itself, its answers;
    the compiled `yardstick`, where latency is measured.

    spec: the target, how latency is measured (None: not at all), and which variant would ship. An interrupted one goes
    on where it was: each variant's answers and each round of processes are kept as soon as they are there.
    """
    target = targets.get(spec["target"])
    samples: Samples = parents["evaluation"].value  # type: ignore[union-attr]
    built = [
        name
        for variant in evaluation.VARIANTS
        for name in sorted(parents)
        if name.split(evaluation.REBUILT)[0] == variant
    ]
    networks = {name: _network(parents[name]) for name in built}
    answered, indices = {}, np.empty(0, np.int64)
    for name, network in list(networks.items()):
        try:
            indices, answered[name] = _asked(name, target, network, samples, ctx)
        except TargetError as problem:
            if not evaluation.may_miss(name, spec["candidate"]):
                raise
            ctx.warn("no-half", f"the half-precision twin is left out: it {problem.message}")
            del networks[name]
    logits = {name: each.logits for name, each in answered.items()}
    latencies = {}
    if spec["latency"]:
        jobs, digests = _jobs(target, networks, samples, indices), [network.digest for network in networks.values()]
        if yardstick.NAME in parents and (unit := _unit(target, _network(parents[yardstick.NAME]), ctx)):
            jobs[yardstick.NAME] = Job(target, unit.compiled, yardstick.image(), is_unit=True)
            digests.append(unit.digest)
        latencies = measure.collected(jobs, _rounds(jobs, spec["latency"], digests, ctx))
    np.savez(out / evaluation.LOGITS, allow_pickle=False, indices=indices, **logits)
    (out / evaluation.LAYERS).write_text(json.dumps({name: each.layers for name, each in answered.items()}))
    skipped = [samples.name(index) for index in sorted(set(range(len(samples))) - set(indices.tolist()))]
    expected = _expected(parents.get("reference"), indices, logits)
    asked = evaluation.Asked(samples.classes, samples.labels[indices], expected, skipped, samples.identity)
    result = evaluation.result(target, spec["candidate"], asked, networks, answered, latencies)
    (out / evaluation.RESULT).write_text(json.dumps(result, ensure_ascii=False))
    return {"images": len(indices), "skipped": len(skipped)}


def _unit(target: Target, unit: evaluation.Network, ctx: Context) -> evaluation.Network | None:
    """The yardstick, where it runs: its failure takes nothing else along."""
    try:
        evaluation.runs(target, unit.compiled, yardstick.image())
    except TargetError as problem:
        ctx.warn("no-yardstick", f"the yardstick is left out: it {problem.message}")
        return None
    return unit


def _network(artifact: Parent) -> evaluation.Network:
    assert isinstance(artifact, Artifact)
    return evaluation.Network(artifact.path, artifact.digest, artifact.size_mb, artifact.notes)


def read_result(artifact: Artifact) -> dict[str, Any]:
    return json.loads((artifact.path / evaluation.RESULT).read_text(encoding="utf-8"))


def as_written(artifact: Artifact) -> dict[str, Any]:
    """What an INT8 file's answers are worth before any compiler, held against the network that was quantized."""
    return dict(judging.of_quantizing(read_result(artifact)["variants"]["int8"]))


def _asked(
    name: str, target: Target, network: evaluation.Network, samples: Samples, ctx: Context
) -> tuple[np.ndarray, evaluation.Answers]:
    """(which images, what is answered to them): asked now, or as an interrupted run kept it."""
    kept = ctx.scratch / f"{name}-{network.digest[:12]}.npz"
    if kept.is_file():
        with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile), np.load(kept) as stored:
            layers = [Layer(*layer) for layer in json.loads(str(stored["layers"]))]
            return stored["indices"], evaluation.Answers(stored["logits"], layers)
    seen: list[np.ndarray] = []

    def inputs() -> Iterator[np.ndarray]:
        for batch in samples.batches(inference.BATCH):
            seen.append(batch.indices)
            yield network.images(batch.pixels, samples.preprocessing)

    found = evaluation.answers(
        target, network.compiled, inputs(), lambda done: ctx.progress(done, len(samples), "images")
    )
    indices, buffer = np.concatenate(seen), io.BytesIO()
    np.savez(buffer, allow_pickle=False, indices=indices, logits=found.logits, layers=json.dumps(found.layers))
    write_bytes(kept, buffer.getbuffer())
    return indices, found


def _jobs(
    target: Target, networks: Mapping[str, evaluation.Network], samples: Samples, indices: np.ndarray
) -> dict[str, Job]:
    """On a real image, one at a time (or in the batch that the network is fixed to)."""
    pixels = samples.pixels(indices[:1])
    files = FromFiles.of(samples, indices[:FILES].tolist())
    jobs = {}
    for name, network in networks.items():
        image = network.images(pixels, samples.preprocessing)
        own = files and replace(files, pixels=image is pixels)
        jobs[name] = Job(target, network.compiled, np.repeat(image, network.batch, axis=0), own)
    return jobs


def _rounds(jobs: Mapping[str, Job], plan: Mapping[str, Any], digests: list[str], ctx: Context) -> list[measure.Round]:
    """Those that an interrupted run kept, of these very networks and in this state of the machine, and the rest."""
    kept, about = ctx.scratch / "rounds.json", [digests, machine.conditions(), machine.identity()]
    found: list[measure.Round] = []
    with contextlib.suppress(OSError, ValueError, KeyError):
        stored = json.loads(kept.read_text())
        found = stored["rounds"] if stored["about"] == about else []
    if found:
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(min(one["began"] for one in found[0].values())))
        ctx.warn(
            "continued",
            f"{len(found)} of {plan['processes']} rounds of processes were timed before an interruption, {since}",
        )
    ctx.progress(len(found), plan["processes"], "processes timed")
    with evaluation.as_failure():
        for one in measure.rounds(jobs, **plan, first=len(found)):
            if any(process.get("cut") for process in one.values()):
                continue  # what cut it short is raised next; the whole rounds are kept
            found.append(one)
            write_bytes(kept, json.dumps({"about": about, "rounds": found}).encode())
            ctx.progress(len(found), plan["processes"], "processes timed")
    return found


def _expected(reference: Parent | None, indices: np.ndarray, logits: Mapping[str, np.ndarray]) -> np.ndarray:
    """The reference's logits for these very images; the reference itself is its own."""
    if reference is None:
        return logits["fp32"]
    assert isinstance(reference, Artifact)
    with np.load(reference.path / evaluation.LOGITS) as stored:
        if not np.array_equal(stored["indices"], indices):
            raise ImagesError(
                "some images could be decoded for one network and not for another",
                hint="the files changed during the run: run it again",
            )
        return stored["fp32"]
