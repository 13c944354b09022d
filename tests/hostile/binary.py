"""What the rows of binary inputs share: damage done to bytes, recipes that name a file, and what is not a file."""

from __future__ import annotations

import io
import json
import os
import random
import socket
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edgeresnet.errors import EdgeresnetError

PREPROCESSING = {"size": 8, "mean": [0.305], "std": [0.376]}
_TRAINING = {"training": {"from": "digits", "count": 60}}
READERS = ("inspect", "check", "plan")


def damaged(data: bytes, chance: random.Random) -> tuple[str, bytes]:
    """Return what was done to some bytes, and the bytes."""
    at = chance.randrange(max(len(data), 1))
    if chance.random() < 0.5:  # the beginning and the end hold what a reader believes
        at = chance.choice(
            (chance.randrange(min(len(data), 300)), len(data) - 1 - chance.randrange(min(len(data), 300)))
        )
    end = min(len(data), at + chance.choice((1, 2, 4, 8, 64, 1000)))
    kind = chance.choice(("flip", "byte", "largest", "zeros", "truncate", "insert", "remove", "twice", "number"))
    changes: dict[str, Callable[[], bytes]] = {
        "flip": lambda: data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :],
        "byte": lambda: data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :],
        "largest": lambda: data[:at] + b"\xff" * (end - at) + data[end:],
        "zeros": lambda: data[:at] + bytes(end - at) + data[end:],
        "truncate": lambda: data[:at],
        "insert": lambda: data[:at] + chance.randbytes(end - at) + data[at:],
        "remove": lambda: data[:at] + data[end:],
        "twice": lambda: data[:end] + data[at:],
        "number": lambda: data[:at] + struct.pack("<Q", 1 << chance.randrange(64)) + data[at + 8 :],
    }
    return f"{kind} at {at}", changes[kind]()


def endless(
    files: Mapping[str, bytes], chance: random.Random, write: Callable[[str, bytes], Callable[[Path], Sequence[str]]]
) -> Iterator[tuple[str, Callable[[Path], Sequence[str]]]]:
    """Yield damage to one file after another, without end: a title, and what `write` makes of name and bytes."""
    while True:
        for name, data in files.items():
            what, bad = damaged(data, chance)
            if chance.random() < 0.3:
                more, bad = damaged(bad or b"\0", chance)
                what = f"{what}, {more}"
            yield f"{name}: {what}", write(name, bad)


def recipe(folder: Path, images: Mapping[str, Any], **changes: Any) -> str:
    """Write a recipe of the world's network that names these images; return its name."""
    raw = {
        "version": 1,
        "model": {"arch": "cifar_resnet8", "classes": 10},
        "preprocessing": PREPROCESSING,
        "images": {key: value for key, value in {**_TRAINING, **images}.items() if value is not None},
        "train": {"epochs": 1, "precision": "f32"},
        "targets": {"onnxruntime": {}},
        **changes,
    }
    known = {key: value for key, value in raw.items() if value is not None}
    (folder / "recipe.yaml").write_text(json.dumps(known))
    return "recipe.yaml"


def picture(seed: int, kind: str = "PNG", mode: str = "L", side: int = 8) -> bytes:
    """Return a small image."""
    shape = (side, side, 3) if mode == "RGB" else (side, side)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    held = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(held, kind)
    return held.getvalue()


def classes(folder: Path, count: int = 10, each: int = 2) -> list[tuple[str, str]]:
    """Write class folders; return the paths of the images in them, with their classes."""
    found = []
    for label in range(count):
        (folder / str(label)).mkdir(parents=True)
        for number in range(each):
            name = f"{label}/{number}.png"
            (folder / name).write_bytes(picture(10 * label + number))
            found.append((name, str(label)))
    return found


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def listening(path: Path) -> None:
    """Leave a socket."""
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path must be short
    try:
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(path.name)
    finally:
        os.chdir(here)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def terabyte(path: Path) -> None:
    """Leave a file that says it is so large, and takes no room."""
    path.touch()
    os.truncate(path, 1 << 40)


STRANGE: Mapping[str, Callable[[Path], None]] = {
    "a FIFO": fifo,
    "a device": device,
    "a socket": listening,
    "a link to itself": loop,
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a folder": lambda path: path.mkdir(),
    "a link to /proc": lambda path: path.symlink_to("/proc"),
    "a link to /proc/kmsg": lambda path: path.symlink_to("/proc/kmsg"),
    "a link to /proc/self/mem": lambda path: path.symlink_to("/proc/self/mem"),
    "empty": lambda path: path.touch(),
    "a terabyte of nothing": terabyte,
}


def refused(act: Callable[[], object]) -> EdgeresnetError | None:
    """Call something; return its error if it is one for a user. Any other leaves."""
    try:
        act()
    except EdgeresnetError as problem:
        return problem
    return None
