"""What a compiled network answers and how long it takes: accuracy and latency on a target, measured and stored.

Judges nothing: promises are held against these numbers afterwards, so changing one needs no new measurement.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import targets
from .artifact import Artifact, Parent, write_bytes
from .context import Context
from .device import evaluate, machine, measure
from .device.session import Session, Target
from .device.worker import Job
from .errors import EdgeresnetError, ImagesError, TargetError, first_line, machine_error
from .images import FILES, FromFiles, Samples

RESULT, LOGITS, LAYERS = "result.json", "logits.npz", "layers.json"
VARIANTS = ("fp32", "half", "int8", "candidate")  # the last one there is the one that would ship; `half` is its rival


def verify(parents: Mapping[str, Parent], spec: Mapping[str, Any], out: Path, ctx: Context) -> dict[str, Any]:
    """Parents: a compiled network per variant, the `evaluation` images and, but for the reference itself, its answers.

    spec: the target, how latency is measured (None: not at all), and which variant would ship. An interrupted one goes
    on where it was: each variant's answers and each round of processes are kept as soon as they are there.
    """
    target = targets.get(spec["target"])
    samples: Samples = parents["evaluation"].value  # type: ignore[union-attr]
    compiled = {name: parents[name] for name in VARIANTS if name in parents}
    answers, layers = {}, {}
    for name, artifact in compiled.items():
        answers[name], layers[name] = _asked(name, target, artifact, samples, ctx)
    indices = next(iter(answers.values()))[0]
    logits = {name: answer[1] for name, answer in answers.items()}
    latencies = _latencies(target, compiled, samples, indices, spec["latency"], ctx) if spec["latency"] else {}
    np.savez(out / LOGITS, allow_pickle=False, indices=indices, **logits)
    (out / LAYERS).write_text(json.dumps(layers))
    result = {
        "target": target.name,
        "candidate": spec["candidate"],
        "classes": list(samples.classes),
        "labels": samples.labels[indices].tolist(),
        "skipped": [samples.name(index) for index in sorted(set(range(len(samples))) - set(indices.tolist()))],
        "variants": {},
        "machine": machine.describe(),
        "versions": machine.versions(*target.libraries),
    }
    expected = _expected(parents.get("reference"), indices, logits)
    result["reference_predicted"] = expected.argmax(1).tolist()
    for name in compiled:
        artifact = compiled[name]
        assert isinstance(artifact, Artifact)
        result["variants"][name] = {
            "accuracy": evaluate.compare(expected, logits[name], samples.labels[indices]),
            "predicted": logits[name].argmax(1).tolist(),
            "latency": latencies.get(name),
            "size_mb": artifact.size_mb,
            "digest": artifact.digest,
            "notes": artifact.notes,
            "precisions": dict(Counter(precision for _, _, precision in layers[name])),
        }
    (out / RESULT).write_text(json.dumps(result, ensure_ascii=False))
    return {"images": len(indices), "skipped": len(result["skipped"])}


def read_result(artifact: Artifact) -> dict[str, Any]:
    return json.loads((artifact.path / RESULT).read_text(encoding="utf-8"))


def _asked(
    name: str, target: Target, compiled: Parent, samples: Samples, ctx: Context
) -> tuple[tuple[np.ndarray, np.ndarray], list[tuple[str, str, str]]]:
    """((which images, their logits), what really ran): asked now, or as an interrupted run kept it."""
    assert isinstance(compiled, Artifact)
    kept = ctx.scratch / f"{name}-{compiled.digest[:12]}.npz"
    if kept.is_file():
        with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile), np.load(kept) as stored:
            return (stored["indices"], stored["logits"]), json.loads(str(stored["layers"]))
    with contextlib.ExitStack() as stack:
        with _as_failure():
            session = stack.enter_context(target.load(compiled.path))
        indices, logits = _answers(session, samples, ctx)
        with _as_failure():
            layers = [tuple(layer) for layer in session.layers()]
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, indices=indices, logits=logits, layers=json.dumps(layers))
    write_bytes(kept, buffer.getbuffer())
    return (indices, logits), layers  # type: ignore[return-value]


def _answers(session: Session, samples: Samples, ctx: Context) -> tuple[np.ndarray, np.ndarray]:
    indices: list[np.ndarray] = []

    def inputs() -> Iterator[np.ndarray]:
        for batch in samples.batches(evaluate.BATCH):
            indices.append(batch.indices)
            yield samples.preprocessing.normalize(batch.pixels)

    def on_batch(_: int) -> None:
        done = sum(len(part) for part in indices)
        ctx.progress(done, len(samples), "images")

    with _as_failure(lambda: sum(len(part) for part in indices[:-1])):
        logits = evaluate.predict(session, inputs(), on_batch)
    if not len(logits):
        raise ImagesError("not one evaluation image could be decoded", hint="look at the images' files")
    return np.concatenate(indices), logits


def _latencies(
    target: Target,
    compiled: Mapping[str, Parent],
    samples: Samples,
    indices: np.ndarray,
    plan: Mapping[str, Any],
    ctx: Context,
) -> dict[str, Any]:
    """On a real image, one at a time (or in the batch that the network is fixed to)."""
    image = samples.preprocessing.normalize(samples.pixels(indices[:1]))
    files = FromFiles.of(samples, indices[:FILES].tolist())
    jobs = {}
    for name, artifact in compiled.items():
        assert isinstance(artifact, Artifact)
        batch = artifact.notes["signature"]["batch"] or 1
        jobs[name] = Job(target, artifact.path, np.repeat(image, batch, axis=0), files)
    return measure.collected(jobs, _rounds(jobs, plan, [a.digest for a in compiled.values()], ctx))


def _rounds(jobs: Mapping[str, Job], plan: Mapping[str, Any], digests: list[str], ctx: Context) -> list[measure.Round]:
    """Those that an interrupted run kept, of these very networks and in this state of the machine, and the rest."""
    kept, about = ctx.scratch / "rounds.json", [digests, machine.conditions(), machine.identity()]
    found: list[measure.Round] = []
    with contextlib.suppress(OSError, ValueError, KeyError):
        stored = json.loads(kept.read_text())
        found = stored["rounds"] if stored["about"] == about else []
    if found:
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(min(one["began"] for one in found[0].values())))
        ctx.warn(f"{len(found)} of {plan['processes']} rounds of processes were timed before an interruption, {since}")
    ctx.progress(len(found), plan["processes"], "processes timed")
    with _as_failure():
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
    with np.load(reference.path / LOGITS) as stored:
        if not np.array_equal(stored["indices"], indices):
            raise ImagesError(
                "some images could be decoded for one network and not for another",
                hint="the files changed during the run: run it again",
            )
        return stored["fp32"]


@contextlib.contextmanager
def _as_failure(image: Callable[[], int] | None = None) -> Iterator[None]:
    """Whatever a runtime throws while it is used becomes its target's failure, with the image where it happened."""
    try:
        yield
    except EdgeresnetError:
        raise
    except Exception as problem:
        failed = machine_error(problem)
        if failed:
            raise failed from problem
        where = f" in the batch from image {image()} on" if image else ""
        raise TargetError(
            f"failed{where}: {first_line(problem)}", hint="`edgeresnet run --again verify` tries once more"
        ) from problem
