"""Rows of recipes: each key changed, and YAML that was written to hurt its reader."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from .case import Case, Row
from .mutations import CHANGES, changed, trails, written
from .world import World, link


def _bomb() -> str:
    """Return a billion laughs: each anchor is nine times the one before."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join(lines) + "\n"


def _texts(plain: str) -> dict[str, str | bytes]:
    """Return whole recipes, by what is wrong with them."""
    unknown = "".join(f"unknown_key_{number}: {number}\n" for number in range(50_000))
    return {
        "lists in lists": "[" * 5000,
        "closed lists in lists": plain + "images2: " + "[" * 5000 + "]" * 5000 + "\n",
        "maps in maps": "{a: " * 5000 + "1" + "}" * 5000,
        "maps by lines": "".join(f"{' ' * depth}a:\n" for depth in range(3000)),
        "lists by dashes": "- " * 5000 + "x\n",
        "!!int of nothing": plain + "seed: !!int ''\n",
        "!!bool of bad": plain + "seed: !!bool bad\n",
        "!!float of bad": plain + "seed: !!float bad\n",
        "!!timestamp of bad": plain + "seed: !!timestamp bad\n",
        "!!binary of bad": plain + "seed: !!binary '%%%'\n",
        "!!python/object": plain + "seed: !!python/object/apply:os.system ['true']\n",
        "!!set": plain + "seed: !!set {a, b}\n",
        "an integer of 5000 digits": plain + f"seed: {'9' * 5000}\n",
        "a hexadecimal integer of 5000 digits": plain + f"seed: 0x{'f' * 5000}\n",
        "base 60": plain + f"seed: {':'.join(['1'] * 5000)}\n",
        "a date that is none": plain + "seed: 2026-99-99\n",
        "a path of 5000 letters": plain.replace("evaluation: digits", f"evaluation: {'d' * 5000}"),
        "1 MB of unknown keys": plain + unknown,
        "arch of 200000 letters": plain.replace("cifar_resnet8", "r" * 200_000),
        "evaluation in /proc": plain.replace("evaluation: digits", "evaluation: /proc"),
        "evaluation in /dev/zero": plain.replace("evaluation: digits", "evaluation: /dev/zero"),
        "checkpoint in /dev/zero": plain.replace("arch: cifar_resnet8", "checkpoint: /dev/zero"),
        "checkpoint in /proc": plain.replace("arch: cifar_resnet8", "checkpoint: /proc"),
        "names in /dev/zero": plain.replace("evaluation: digits", "evaluation: digits, names: /dev/zero"),
        "a billion laughs": _bomb() + plain,
        "a cycle": plain + "seed: &a [*a]\n",
        "a key of a list": plain + "? [a, b]\n: c\n",
        "a key of null": plain + "? \n: c\n",
        "a key twice": plain + plain,
        "two documents": plain + "---\n" + plain,
        "an unknown alias": plain + "seed: *nowhere\n",
        "a NUL": plain + "seed: '\0'\n",
        "UTF-16": plain.encode("utf-16"),
        "not UTF-8": b"\xff\xfe\xfa" + plain.encode(),
        "a merge of itself": plain + "x: &x\n  <<: *x\n",
        "a merge of a scalar": plain + "x:\n  <<: 5\n",
        "nothing": "",
        "a tab": plain + "seed:\t\n\t- x\n",
        "a long key": plain + f"{'k' * 100_000}: 1\n",
        "1e308": plain.replace("macs: 0.8", "macs: 1e308"),
        "infinite": plain.replace("macs: 0.8", "macs: .inf"),
        "not a number": plain.replace("macs: 0.8", "macs: .nan"),
        "a store of escapes": plain + "targets: {'\\x1b[31m': {}}\n",
    }


def _recipes(world: World, chance: random.Random) -> Iterator[Case]:
    text = world.recipe.read_text()
    document = yaml.safe_load(text)

    def named(data: str | bytes) -> Callable[[Path], Sequence[str]]:
        def write(folder: Path) -> Sequence[str]:
            raw = data if isinstance(data, bytes) else data.encode("utf-8", "backslashreplace")
            (folder / "recipe.yaml").write_bytes(raw)
            link(world.store, folder / "store")
            return chance.choice(("check", "plan")), "recipe.yaml", "--store", "store"

        return write

    for name, data in _texts(text).items():
        yield Case(name, named(data))
    yield Case("a FIFO", _fifo)
    yield Case("a folder", _folder)
    every = [(trail, change) for trail in trails(document) for change in CHANGES]
    while True:
        chance.shuffle(every)
        for trail, change in every:
            yield Case(f"{'.'.join(map(str, trail))}: {change}", named(_spelled(changed(document, trail, change))))


def _spelled(document: Any) -> str:
    """Return a document as YAML reads it: JSON is a part of YAML."""
    return written(document)


def _fifo(folder: Path) -> Sequence[str]:
    os.mkfifo(folder / "recipe.yaml")
    return "check", "recipe.yaml"


def _folder(folder: Path) -> Sequence[str]:
    (folder / "recipe.yaml").mkdir()
    return "plan", "recipe.yaml"


ROWS = (Row("recipes", _recipes),)
