"""Random ResNets under random people's names, for `recognition.py`: combinations that no list of kinds thinks of."""

from __future__ import annotations

import random
from dataclasses import replace

from _recognition_kinds import NAMINGS, Kind
from _recognition_styles import ALWAYS, APPENDED, AVERAGED, PADDED, PROJECTED, Build, Names, Network

FORMS = ("pth", "pth", "safetensors", "shuffled", "renamed", "no counters", "half")
_WIDTHS = (8, 12, 16, 20, 24, 32, 40)


def drawn(seed: int) -> Kind:
    """Return a random network in a random form."""
    draw = random.Random(seed)
    build = _build(draw)
    names, form = _names(draw, build), draw.choice(FORMS)
    named = f"{seed}: {_differences(build)}; {names.block}{names.conv}, {names.order}, {form}"
    return Kind("random", named, lambda: Network(build, names), 64 if build.pooled else 32, build.channels, form)


def _build(draw: random.Random) -> Build:
    stages, first = draw.choice((2, 3, 3, 4, 4)), draw.choice((4, 8, 12, 16))
    widths = tuple(first * 2**stage for stage in range(stages))
    if draw.random() < 0.2:
        widths = tuple(sorted(draw.sample(_WIDTHS, stages)))
    expansion, large, before = draw.choice((1, 1, 4, 4, 2)), draw.random() < 0.4, draw.random() < 0.3
    without = (PADDED, APPENDED, AVERAGED) if expansion == 1 else ()
    shortcut = draw.choice((*(PROJECTED,) * 6, ALWAYS, *without))
    stem = (widths[0],) if shortcut in without or draw.random() < 0.8 else (draw.choice((8, 16)),)
    may_halve = shortcut == ALWAYS or stem[-1] != widths[0] * expansion
    return Build(
        blocks=tuple(draw.randint(1, 4) for _ in range(stages)),
        widths=widths,
        expansion=expansion,
        stem=stem,
        kernel=7 if large else 3,
        stem_stride=2 if large else 1,
        pooled=large,
        shortcut=shortcut,
        shortcut_norm=not before and draw.random() < 0.9,
        preactivation=before,
        raw=before and draw.random() < 0.3,
        stem_norm=not before,
        last_norm=before and draw.random() < 0.7,
        first_strided=not before and draw.random() < 0.2,
        groups=draw.choice((1, 1, 1, 2)) if expansion > 1 else 1,
        attention=draw.choice((0, 0, 0, 4)) if min(widths) * expansion >= 8 else 0,
        attention_linear=draw.random() < 0.5,
        attention_biased=draw.random() < 0.7,
        activation=draw.choice((*("relu",) * 12, "silu", "gelu", "leaky", "leaky10")),
        halved=may_halve and draw.random() < 0.1,
        biased=draw.random() < 0.2,
        channels=draw.choice((3, 3, 1)),
        classes=draw.choice((2, 10, 100)),
    )


def _names(draw: random.Random, build: Build) -> Names:
    """Return names in an order of definition that fits: what comes first in a block is most often defined first."""
    names = draw.choice(NAMINGS)
    if not build.preactivation:
        return replace(names, order="pairs") if names.order == "reversed" else names
    if names.norm.startswith(names.conv):  # a normalisation inside of a convolution cannot be defined before it
        names = draw.choice([each for each in NAMINGS if not each.norm.startswith(each.conv)])
    return replace(names, order={"pairs": "reversed", "apart": "norms"}.get(names.order, names.order))


def _differences(build: Build) -> str:
    usual = vars(Build())
    return ", ".join(f"{key} {value}" for key, value in vars(build).items() if value != usual[key])
