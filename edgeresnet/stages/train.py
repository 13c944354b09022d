"""Training and fine-tuning: the best epoch by images that are neither trained on nor evaluated.

An interrupted training goes on from its last finished epoch. Knows nothing of targets.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from .. import models
from ..context import Context
from ..images import Samples, choose
from ..models import checkpoint
from ..notes import TrainNotes
from ..portable import codec, machine
from ..training import metadata, parts, process_group
from ..training.batches import Split
from ..training.loop import Training
from .specs import TrainInputs, TrainSpec

__all__ = ["METRICS", "follow", "train"]

METRICS = "metrics.jsonl"  # one line for each epoch


def train(inputs: TrainInputs, spec: TrainSpec, out: Path, ctx: Context) -> TrainNotes:
    """Train, and write the best weights and the history."""
    samples = inputs.training.value
    _warn_of_skipped(samples, ctx)
    training, group = _prepared(inputs, spec, ctx), process_group.mine()
    group.call()
    training.run()
    best, network = training.best, training.network
    network.load_state_dict(best.weights)
    checkpoint.write(network, out / checkpoint.FILE, metadata.of(spec.network, samples, inputs.checkpoint))
    lines = [json.dumps(codec.encode(epoch)) for epoch in training.history]
    (out / METRICS).write_text("".join(f"{line}\n" for line in lines))
    return TrainNotes(
        arch=str(spec.network.arch),
        images=len(training.learning),
        validation_images=len(training.validation),
        best_epoch=best.epoch,
        validation_top1=best.top1,
        epochs=training.epochs,
        stopped=training.stopped,
        history=tuple(training.history),
        precision=training.precision,
        device=group.device.type,
        processes=group.size,
        metric=training.task.metric,
    )


def follow(inputs: TrainInputs, spec: TrainSpec, ctx: Context) -> None:
    """Take part whenever the first of several processes trains, and write nothing. For all but the first."""
    mine = process_group.mine()
    while mine.called():
        _prepared(inputs, spec, ctx).run()


def _prepared(inputs: TrainInputs, spec: TrainSpec, ctx: Context) -> Training:
    """Return the same in every process: the network with its first weights, and both sides of the images."""
    plan, about, samples, given = spec.train, spec.network, inputs.training.value, inputs.checkpoint
    assert about.arch is not None  # an ONNX file is not trained
    torch.set_num_threads(process_group.threads(machine.cores()))
    torch.manual_seed(ctx.seed)
    network = models.build(about.arch, about.classes, about.channels, about.arguments)
    if given is not None:
        head = parts.head_of(network) if plan.head == "new" else None
        checkpoint.load_into(network, checkpoint.of(given), about.arch, but=head)
    models.check_answer(network, about, samples.preprocessing.size)
    learning, validation = choose.split(samples, plan.validation, ctx.seed)
    able = given is not None and plan.head == "keep"
    return Training(network, plan, Split(learning), Split(validation), ctx, able=able, task=about.learned)


def _warn_of_skipped(samples: Samples, ctx: Context) -> None:
    missing = sorted(set(range(len(samples))) - set(samples.table().indices.tolist()))
    if missing:
        first = ", ".join(samples.name(index) for index in missing[:3])
        ctx.warn("unreadable-images", f"{len(missing)} unreadable training images are left out: {first}")
