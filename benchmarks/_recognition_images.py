"""Labelled images for `recognition.py`: what a run with images makes of a file, by the run's own steps.

A network of random weights gives the labels itself: its classifier is changed so that no class is more frequent than
another. So the network that wrote a file is correct on all images, and a similar one on some.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from _recognition_files import logits
from torch import nn
from torch.nn import functional

from edgeresnet import pipeline, recipe
from edgeresnet.errors import EdgeresnetError
from edgeresnet.notes import RecogniseNotes
from edgeresnet.pipeline import Listener
from edgeresnet.portable import machine
from edgeresnet.store import Store

IMAGES = 128
_SHARP = 6.0  # standard deviation of each logit


def pixels(channels: int, size: int) -> np.ndarray:
    """Return random images of large and small spots, as bytes."""
    draw = torch.Generator().manual_seed(7)
    spots = functional.interpolate(torch.randn(IMAGES, channels, 4, 4, generator=draw), size, mode="bilinear")
    found = 128 + 60 * spots + 25 * torch.randn(IMAGES, channels, size, size, generator=draw)
    return found.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def prepared(images: np.ndarray) -> torch.Tensor:
    return (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25


@torch.no_grad()
def balance(network: nn.Module, channels: int, size: int) -> None:
    """Change the classifier so that each class is as likely as another, and answers are sure, as after a training.

    One without a bias stays as it is.
    """
    every = [each for each in network.modules() if isinstance(each, nn.Linear | nn.Conv2d)]
    images = prepared(pixels(channels, size))
    found = logits(network.eval(), images)
    heads = [each for each in every if each.weight.shape[0] == found.shape[1] and each.bias is not None]
    if not heads:
        return
    head, sharper = heads[-1], _SHARP / found.std(0).clamp(min=1e-3)
    assert head.bias is not None
    head.weight *= sharper.reshape(-1, *[1] * (head.weight.ndim - 1))
    head.bias *= sharper
    head.bias -= logits(network, images).mean(0)


def taken(network: nn.Module, path: Path, channels: int, size: int) -> str:
    """Return the architecture that a run with labelled images takes; empty where it ends with an error."""
    images = pixels(channels, size)
    with torch.no_grad():
        found = logits(network, prepared(images))
    folder = path.parent / "by images"
    folder.mkdir(exist_ok=True)
    np.savez(folder / "images.npz", images=images, labels=found.argmax(1).numpy())
    names = folder / "names.txt"
    names.write_text("\n".join(f"class{number}" for number in range(found.shape[1])))
    raw = {
        "version": 1,
        "model": {"checkpoint": str(path)},
        "preprocessing": {"size": size, "mean": [0.5] * channels, "std": [0.25] * channels},
        "images": {"evaluation": str(folder / "images.npz"), "names": str(names)},
    }
    machine.cores = lambda *_: 1  # small networks: threads that wait for one another cost more
    try:
        done = pipeline.make(recipe.parse(raw), Store.open(folder / "store"), "recognise", Listener())
    except EdgeresnetError as problem:
        print(f"  with images: {problem}", flush=True)
        return ""
    notes = next(each.notes for each in done.steps.values() if isinstance(each.notes, RecogniseNotes))
    return notes.arch if notes.better_than_chance else ""
