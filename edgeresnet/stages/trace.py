"""torch, or an ONNX file from elsewhere → canonical ONNX, compared with where it came from on real images on the spot.

A failed parity is an error, not a note. torch is imported where a torch network is traced, and not before.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx

from .. import models
from ..context import Context
from ..errors import ModelError, first_line
from ..graph import about, adopt, canonical, lint
from ..images import Samples
from ..portable import machine
from ..recipe import Trace, is_onnx
from ..store import Given, Parent, write_bytes
from ..targets import onnxruntime as reference

if TYPE_CHECKING:
    from torch import nn

FILE = "model.onnx"
PARITY = 1e-4  # largest difference allowed, as a part of the largest logit


def trace(parents: Mapping[str, Parent], spec: Mapping[str, Any], out: Path, ctx: Context) -> dict[str, Any]:
    """Parents: the `network` (a training, a checkpoint or an ONNX file) and a few real `images` for the comparison."""
    plan = Trace(**spec["trace"])
    samples: Samples = parents["images"].value  # type: ignore[union-attr]
    images = _images(samples)
    network = parents["network"]
    adopted = isinstance(network, Given) and is_onnx(str(network.value))
    make: Any = _adopted if adopted else _exported
    model, expected, original, parameters = make(network, spec, samples, images, ctx)
    if plan.batch != "dynamic":
        canonical.set_batch(model, plan.batch)
    about.write(model, about.About(classes=tuple(samples.classes), preprocessing=samples.preprocessing))
    difference = _difference(model, images, expected)
    if not difference <= PARITY:
        raise ModelError(
            f"the traced network does not answer as {original} does: logits differ by {difference:.2g} of the largest, "
            f"{PARITY:g} is allowed",
            hint="something in the network depends on its data or on its mode; make it a plain function",
        )
    write_bytes(out / FILE, model.SerializeToString())
    return {
        "parity": difference,
        "parity_images": len(images),
        "opset": model.opset_import[0].version,
        "operators": _counted(model),
        "parameters": parameters,
    }


def _images(samples: Samples) -> np.ndarray:
    return samples.preprocessing.normalize(next(samples.batches(len(samples))).pixels)


class _Traced(NamedTuple):
    model: onnx.ModelProto
    expected: np.ndarray  # the original's answers
    original: str  # whose they are
    parameters: int


def _exported(network: Parent, spec: Mapping[str, Any], samples: Samples, images: np.ndarray, ctx: Context) -> _Traced:
    import torch

    from ..models import checkpoint

    torch.set_num_threads(machine.cores())
    built = checkpoint.network_of(network, spec)
    models.check_answer(built, spec, samples.preprocessing.size)
    model = to_onnx(built, samples.preprocessing.channels, samples.preprocessing.size)
    with torch.no_grad():
        expected = built(torch.from_numpy(images)).numpy()
    return _Traced(model, expected, "torch", sum(p.numel() for p in built.parameters()))


def _adopted(network: Given, spec: Mapping[str, Any], samples: Samples, images: np.ndarray, ctx: Context) -> _Traced:
    path: Path = network.value
    found = adopt.adopt(path, samples.preprocessing, spec["classes"], as_probabilities="as_probabilities" in spec)
    expected = _original(found, images.transpose(0, 2, 3, 1) if found.channels_last else images, str(path), ctx)
    if expected.shape != (len(images), spec["classes"]):  # a file need not say what comes out
        raise ModelError(
            f"{path} answers {len(images)} images with {expected.shape}, the images have {spec['classes']} classes",
            hint="one logit per class, and one class folder per logit",
        )
    for sentence in lint.otherwise(found.channels_last, found.last):
        ctx.warn("adapted", sentence)
    return _Traced(found.model, expected, str(path), adopt.parameters(found.model))


def _original(found: adopt.Adopted, images: np.ndarray, name: str, ctx: Context) -> np.ndarray:
    """The file's own logits, in the newest words that the runtime knows."""
    try:
        answer, *logits = _answers(found.original.SerializeToString(), images, name)
    except ModelError:
        opset = adopt.version(found.original)
        if opset <= adopt.OPSET:
            raise
        answer, *logits = _answers(adopt.lowered(found.original).SerializeToString(), images, name)
        ctx.warn(
            "old-opset",
            f"onnxruntime does not run opset {opset}: compared with the file as onnx writes it in {adopt.OPSET}",
        )
    if not logits:
        return answer
    taken = logits[0].reshape(len(images), -1)
    parts = np.exp(taken - taken.max(axis=1, keepdims=True))
    said = np.exp(answer) if found.last == "LogSoftmax" else answer
    if said.shape != taken.shape or np.abs(parts / parts.sum(axis=1, keepdims=True) - said).max() > PARITY:
        raise ModelError(f"the {found.last} at the end of {name} is none over its classes", hint="export it without")
    return taken


def to_onnx(network: nn.Module, channels: int, size: int) -> onnx.ModelProto:
    """A canonical model with a dynamic batch."""
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
                f"torch cannot export this network: {first_line(cause)}",
                hint="its forward must be one graph, for any batch: no data-dependent branches",
            ) from problem
    assert program is not None
    return canonical.canonical(program.model_proto)


def _difference(model: onnx.ModelProto, images: np.ndarray, expected: np.ndarray) -> float:
    (answer,) = _answers(model.SerializeToString(), images, "the traced network")
    if answer.shape != expected.shape:
        raise ModelError(
            f"the original answers {expected.shape}, the traced network {answer.shape}", hint="report this network"
        )
    return float(np.abs(answer - expected).max() / max(np.abs(expected).max(), 1e-12))


def _answers(model: bytes, images: np.ndarray, name: str) -> list[np.ndarray]:
    """onnxruntime's, of each output."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
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
            f"onnxruntime cannot run {name}: {first_line(problem)}",
            hint="the network must run there as it is: its answers are what all others are held against",
        ) from problem


def _counted(model: onnx.ModelProto) -> dict[str, int]:
    kinds = [node.op_type for node in model.graph.node]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """torch's exporter talks to stdout, to stderr, by warnings and by loggers; none of it is for our user."""
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
