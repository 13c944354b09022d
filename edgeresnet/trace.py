"""torch → canonical ONNX, compared with torch on real images on the spot. A failed parity is an error, not a note."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from . import models
from .artifact import Given, Parent, write_bytes
from .context import Context
from .device import machine
from .errors import ImagesError, ModelError, first_line
from .graph import canonical
from .images import Samples
from .models import checkpoint
from .recipe import Trace

FILE = "model.onnx"
OPSET = 18  # the exporter's own, and old enough for TensorRT 10.3 and JetPack 6
PARITY = 1e-4  # largest difference allowed, as a part of the largest logit


def trace(parents: Mapping[str, Parent], spec: Mapping[str, Any], out: Path, ctx: Context) -> dict[str, Any]:
    """Parents: the `network` (a training or a checkpoint) and a few real `images` for the comparison."""
    plan = Trace(**spec["trace"])
    torch.set_num_threads(machine.cores())
    network = load_network(parents["network"], spec)
    samples: Samples = parents["images"].value  # type: ignore[union-attr]
    models.check_answer(network, spec, samples.preprocessing.size)
    model = to_onnx(network, samples.preprocessing.channels, samples.preprocessing.size)
    if plan.batch != "dynamic":
        canonical.set_batch(model, plan.batch)
    canonical.add_metadata(
        model,
        {
            "edgeresnet.classes": json.dumps(list(samples.classes), ensure_ascii=False),
            "edgeresnet.preprocessing": json.dumps(samples.preprocessing.to_json()),
        },
    )
    seen = next(samples.batches(max(len(samples), 1)), None)
    if seen is None:
        raise ImagesError("not one of the images for the comparison could be decoded", hint="look at the images' files")
    images = samples.preprocessing.normalize(seen.pixels)
    difference = _difference(network, model, images, plan.batch)
    if not difference <= PARITY:
        raise ModelError(
            f"the ONNX file does not answer as torch does: logits differ by {difference:.2g} of the largest, "
            f"{PARITY:g} is allowed",
            hint="something in the network's forward depends on its data or on its mode; make it a plain function",
        )
    write_bytes(out / FILE, model.SerializeToString())
    return {
        "parity": difference,
        "parity_images": len(images),
        "opset": model.opset_import[0].version,
        "operators": _counted(model),
        "parameters": sum(p.numel() for p in network.parameters()),
    }


def load_network(network: Parent, spec: Mapping[str, Any]) -> nn.Module:
    path = network.value if isinstance(network, Given) else network.path / checkpoint.FILE
    built = models.build(spec["arch"], spec["classes"], spec["channels"])
    checkpoint.load_into(built, path, spec["arch"])
    return built.eval()


def to_onnx(network: nn.Module, channels: int, size: int) -> onnx.ModelProto:
    """A canonical model with a dynamic batch."""
    example = torch.zeros(2, channels, size, size)  # two images: a batch of one would be taken for a constant
    with _quiet():
        try:
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
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


def _difference(network: nn.Module, model: onnx.ModelProto, images: np.ndarray, batch: int | str) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    count = len(images)
    if isinstance(batch, int):  # a fixed batch takes all of them too, the last one filled up
        images = np.resize(images, (-(-count // batch) * batch, *images.shape[1:]))
    parts = np.split(images, len(images) // batch) if isinstance(batch, int) else [images]
    answer = np.concatenate([session.run(None, {canonical.INPUT: part})[0] for part in parts])
    with torch.no_grad():
        expected = network(torch.from_numpy(images)).numpy()
    if answer.shape != expected.shape:
        raise ModelError(f"torch answers {expected.shape}, the ONNX file {answer.shape}", hint="report this network")
    return float(np.abs(answer - expected).max() / max(np.abs(expected).max(), 1e-12))


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
