"""What a compiled network answers and how long it takes: accuracy and latency on a target, measured and stored.

Judges nothing: promises are held against these numbers afterwards, so changing one needs no new measurement.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from . import targets
from .artifact import Artifact, Parent
from .context import Context
from .device import evaluate, machine, measure
from .device.session import Session, Target
from .errors import EdgeresnetError, ImagesError, TargetError, first_line, machine_error
from .images import Samples

RESULT, LOGITS, LAYERS = "result.json", "logits.npz", "layers.json"
VARIANTS = ("fp32", "half", "int8", "candidate")  # the last one there is the one that would ship; `half` is its rival


def verify(parents: Mapping[str, Parent], spec: Mapping[str, Any], out: Path, ctx: Context) -> dict[str, Any]:
    """Parents: a compiled network per variant, the `evaluation` images and, but for the reference itself, its answers.

    spec: the target, whether latency is measured, and which variant would ship.
    """
    target = targets.get(spec["target"])
    samples: Samples = parents["evaluation"].value  # type: ignore[union-attr]
    compiled = {name: parents[name] for name in VARIANTS if name in parents}
    with ExitStack() as stack:
        sessions = {name: stack.enter_context(_load(target, artifact)) for name, artifact in compiled.items()}
        answers = {name: _answers(session, samples, ctx) for name, session in sessions.items()}
        latencies = _latencies(sessions, samples) if spec["latency"] else {}
        with _as_failure():
            layers = {name: session.layers() for name, session in sessions.items()}
    indices = next(iter(answers.values()))[0]
    logits = {name: answer[1] for name, answer in answers.items()}
    np.savez(out / LOGITS, allow_pickle=False, indices=indices, **logits)
    (out / LAYERS).write_text(json.dumps(layers))
    result = {
        "target": target.name,
        "candidate": spec["candidate"],
        "classes": list(samples.classes),
        "labels": samples.labels[indices].tolist(),
        "chance": float(np.bincount(samples.labels[indices]).max() / len(indices)),
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
            "precisions": dict(Counter(layer.precision for layer in layers[name])),
        }
    (out / RESULT).write_text(json.dumps(result, ensure_ascii=False))
    return {"images": len(indices), "skipped": len(result["skipped"])}


def read_result(artifact: Artifact) -> dict[str, Any]:
    return json.loads((artifact.path / RESULT).read_text(encoding="utf-8"))


def _load(target: Target, compiled: Parent) -> Session:
    assert isinstance(compiled, Artifact)
    with _as_failure():
        return target.load(compiled.path)


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


def _latencies(sessions: Mapping[str, Session], samples: Samples) -> dict[str, Any]:
    """On a real image, one at a time (or in the batch that the network is fixed to)."""
    first = next(iter(samples.batches(1)))
    image = samples.preprocessing.normalize(first.pixels)
    batch = next(iter(sessions.values())).signature.batch or 1
    with _as_failure():
        return measure.latency(sessions, np.repeat(image, batch, axis=0))


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
