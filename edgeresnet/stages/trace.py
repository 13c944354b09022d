"""torch, or a user's ONNX file → canonical ONNX, compared at once with its original on images.

A failed comparison is an error, not a note. torch is imported where a torch network is traced, and not before.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx

from .. import models, tasks
from ..context import Context
from ..errors import ModelError, first_line
from ..graph import about, adopt, canonical, lint
from ..images import Samples, is_noise
from ..notes import TraceNotes
from ..portable import machine
from ..portable.tasks import two_stage
from ..portable.tasks.two_stage import SecondStage
from ..recipe import is_onnx
from ..store import Artifact, Given, write_bytes
from ..targets import onnxruntime as reference
from .specs import Architecture, NetworkFile, TraceInputs, TraceSpec

if TYPE_CHECKING:
    from torch import nn

FILE = "model.onnx"
PARITY = 1e-4  # largest difference allowed, as a part of the largest logit


def trace(inputs: TraceInputs, spec: TraceSpec, out: Path, ctx: Context) -> TraceNotes:
    """Trace the network (a training, a checkpoint or an ONNX file), compare it on a few images, and write it."""
    samples = inputs.images.value
    if is_noise(samples):
        ctx.warn("parity-on-noise", "no images were given: the ONNX file was compared with its original on noise")
    images = _images(samples)
    traced = _traced(inputs.network, spec, samples, images, ctx)
    model = traced.model
    if spec.trace.batch != "dynamic":
        canonical.set_batch(model, spec.trace.batch)
    rows = about.CELLS if traced.second else ""
    about.write(model, about.About(tuple(samples.classes), samples.preprocessing, answers=rows))
    difference = _difference(model, images, traced.expected)
    if not difference <= PARITY:
        raise ModelError(
            "the traced network",
            f"does not answer as {traced.original} does: logits differ by {difference:.2g} of the largest, "
            f"{PARITY:g} is allowed",
            hint="something in the network depends on its data or on its mode; make it a plain function",
        )
    write_bytes(out / FILE, model.SerializeToString())
    if traced.second:
        np.savez(out / two_stage.FILE, allow_pickle=False, **traced.second.arrays())
    return TraceNotes(
        parity=difference,
        parity_images=len(images),
        opset=model.opset_import[0].version,
        operators=_counted(model),
        parameters=traced.parameters,
        arch=spec.network.arch or "",
    )


def _images(samples: Samples) -> np.ndarray:
    return samples.preprocessing.normalize(next(samples.batches(len(samples))).pixels)


class _Traced(NamedTuple):
    model: onnx.ModelProto
    expected: np.ndarray  # the original's answers
    original: str  # whose they are
    parameters: int
    second: SecondStage | None = None


def _traced(
    network: Artifact | NetworkFile, spec: TraceSpec, samples: Samples, images: np.ndarray, ctx: Context
) -> _Traced:
    if isinstance(network, Given) and isinstance(network.value, Path) and is_onnx(str(network.value)):
        return _adopted(network.value, spec, samples, images, ctx)
    return _exported(network, spec.network, samples, images)


def _exported(network: Artifact | NetworkFile, about: Architecture, samples: Samples, images: np.ndarray) -> _Traced:
    import torch

    from ..models import checkpoint, detectors

    torch.set_num_threads(machine.cores())
    built = checkpoint.network_of(network, about)
    models.check_answer(built, about, samples.preprocessing.size)
    model = to_onnx(built, samples.preprocessing.channels, samples.preprocessing.size)
    with torch.no_grad():
        expected = built(torch.from_numpy(images)).numpy()
    second = built.second_stage() if isinstance(built, detectors.TwoStage) else None
    return _Traced(model, expected, "torch", sum(p.numel() for p in built.parameters()), second)


def _adopted(path: Path, spec: TraceSpec, samples: Samples, images: np.ndarray, ctx: Context) -> _Traced:
    classes, task = spec.network.classes, spec.network.learned
    found = adopt.adopt(path, samples.preprocessing, classes, task, as_probabilities=spec.as_probabilities)
    expected = _original(found, images.transpose(0, 2, 3, 1) if found.channels_last else images, str(path), ctx, task)
    if not task.fits(expected.shape, len(images), classes):  # a file need not declare what comes out
        raise ModelError(
            str(path),
            f"answers {len(images)} images with {expected.shape}, and the images have {classes} classes",
            hint=f"{task.wanted}, channels first, and as many classes as the images have",
        )
    for sentence in lint.otherwise(found.channels_last, found.last, found.parts.outputs if found.parts else 1):
        ctx.warn("adapted", sentence)
    return _Traced(found.model, expected, str(path), adopt.parameters(found.model))


def _original(found: adopt.Adopted, images: np.ndarray, name: str, ctx: Context, task: tasks.LearnedTask) -> np.ndarray:
    """Return the file's own logits, in the newest opset that the runtime knows."""
    try:
        answers = _answers(found.original.SerializeToString(), images, name)
    except ModelError:
        opset = adopt.version(found.original)
        if opset <= adopt.OPSET:
            raise
        answers = _answers(adopt.lowered(found.original).SerializeToString(), images, name)
        ctx.warn(
            "old-opset",
            f"onnxruntime does not run opset {opset}: compared with the file as onnx writes it in {adopt.OPSET}",
        )
    if found.parts:
        return found.parts.joined(answers)
    answer, *logits = answers
    if not logits:
        return answer
    taken = task.logits(logits[0], len(images))
    if not task.follows(answer, taken, found.last, PARITY):
        raise ModelError(f"the {found.last} at the end of {name}", "is not over its classes", hint="export it without")
    return taken


def to_onnx(network: nn.Module, channels: int, size: int) -> onnx.ModelProto:
    """Export a torch network as a canonical model with a dynamic batch."""
    import torch

    example = torch.zeros(2, channels, size, size)  # two images: a batch of one would be taken for a constant
    with _quiet():
        try:
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                verbose=False,
                opset_version=adopt.OPSET,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
        except torch.onnx.errors.OnnxExporterError as problem:
            cause = problem.__cause__ or problem
            raise ModelError(
                "this network",
                f"cannot be exported by torch: {first_line(cause)}",
                hint="its forward must be one graph, for any batch: no data-dependent branches",
            ) from problem
    assert program is not None
    return canonical.canonical(program.model_proto)


def _difference(model: onnx.ModelProto, images: np.ndarray, expected: np.ndarray) -> float:
    (answer,) = _answers(model.SerializeToString(), images, "the traced network")
    if answer.shape != expected.shape:
        raise ModelError(
            "the traced network",
            f"answers {answer.shape}, and the original {expected.shape}",
            hint="report this network",
        )
    return float(np.abs(answer - expected).max() / max(np.abs(expected).max(), 1e-12))


def _answers(model: bytes, images: np.ndarray, name: str) -> list[np.ndarray]:
    """Return what onnxruntime answers, for each output."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its errors are raised too, and reported once
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        image = session.get_inputs()[0]
        batch = image.shape[0] if isinstance(image.shape[0], int) else len(images)
        # A fixed batch takes all of them too, the last one filled up.
        filled = np.resize(images, (-(-len(images) // batch) * batch, *images.shape[1:]))
        parts = [session.run(None, {image.name: part}) for part in np.split(filled, len(filled) // batch)]
        return [np.concatenate(each)[: len(images)] for each in zip(*parts, strict=True)]
    except reference.errors() as problem:
        raise ModelError(
            name,
            f"does not run in onnxruntime: {first_line(problem)}",
            hint="the network must run there as it is: all others are compared with its answers",
        ) from problem


def _counted(model: onnx.ModelProto) -> dict[str, int]:
    kinds = [node.op_type for node in model.graph.node]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch's exporter: what it writes (output, warnings, logs) is not for our user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
