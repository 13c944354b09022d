"""Training and fine-tuning: the best epoch by images that are neither trained on nor evaluated.

An interrupted training goes on from its last finished epoch. Knows nothing of targets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .. import models
from ..context import Context
from ..images import Samples, choose
from ..models import checkpoint
from ..portable import machine
from ..recipe import Train
from ..store import Parent
from ..training import metadata, parts, process_group
from ..training.batches import Split
from ..training.loop import Training

__all__ = ["METRICS", "follow", "train"]

METRICS = "metrics.jsonl"  # one line for each epoch


def train(parents: Mapping[str, Parent], spec: Mapping[str, Any], out: Path, ctx: Context) -> dict[str, Any]:
    """Parents: `training` images and, to fine-tune, a `checkpoint`. Writes the best weights and the history."""
    samples: Samples = parents["training"].value  # type: ignore[union-attr]
    _tell_skipped(samples, ctx)
    training = _prepared(parents, spec, ctx)
    process_group.mine().call()
    training.run()
    best, network = training.best, training.network
    network.load_state_dict(best.weights)
    checkpoint.write(network, out / checkpoint.FILE, metadata.of(spec, samples, parents.get("checkpoint")))
    (out / METRICS).write_text("".join(json.dumps(line) + "\n" for line in training.history))
    return {
        "arch": spec["arch"],
        "images": len(training.learning),
        "validation_images": len(training.validation),
        "best_epoch": best.epoch,
        "validation_top1": best.top1,
        "epochs": training.epochs,
        "stopped": training.stopped,
        "history": training.history,
        "precision": training.precision,
        "device": process_group.mine().device.type,
        "processes": process_group.mine().size,
    }


def follow(parents: Mapping[str, Parent], spec: Mapping[str, Any], ctx: Context) -> None:
    """One of several processes, but the first: takes part whenever that one trains, and writes nothing."""
    mine = process_group.mine()
    while mine.called():
        _prepared(parents, spec, ctx).run()


def _prepared(parents: Mapping[str, Parent], spec: Mapping[str, Any], ctx: Context) -> Training:
    """The same in every process: the network with its first weights, and both sides of the images."""
    plan = Train(**spec["train"])
    torch.set_num_threads(process_group.threads(machine.cores()))
    torch.manual_seed(ctx.seed)
    samples: Samples = parents["training"].value  # type: ignore[union-attr]
    network = models.build(spec["arch"], spec["classes"], spec["channels"])
    given = "checkpoint" in parents
    if given:
        head = parts.head_of(network) if plan.head == "new" else None
        checkpoint.load_into(network, checkpoint.of(parents["checkpoint"]), spec["arch"], but=head)
    models.check_answer(network, spec, samples.preprocessing.size)
    learning, validation = choose.split(samples, plan.validation, ctx.seed)
    return Training(network, plan, Split(learning), Split(validation), ctx, able=given and plan.head == "keep")


def _tell_skipped(samples: Samples, ctx: Context) -> None:
    missing = sorted(set(range(len(samples))) - set(samples.table().indices.tolist()))
    if missing:
        first = ", ".join(samples.name(index) for index in missing[:3])
        ctx.warn("unreadable-images", f"{len(missing)} unreadable training images were left out: {first}")
