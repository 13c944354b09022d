"""Whose tensors are whose: the body of a ResNet and its classifier, whatever a file calls them, in torchvision's words.

A user's own wrapper puts the body under some name (`backbone.`, `encoder.`) and a head next to it; other families write
`linear` for `fc` and `shortcut` for `downsample`; a body taken apart with `children()` has numbers for names. Only
names and shapes are read: a head is understood where it is one Linear, and nothing is assumed of any other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .plans import COUNTER, Shape

_BODY = re.compile(r"(?P<prefix>(?:.*\.)?)(?:layer1|(?P<numbered>4))\.0\.conv1\.weight")
_NAMED = re.compile(r"(?:conv1|bn1|maxpool|layer\d+|norm)\.")
# torchvision's children in their order; activation and pooling, between them, have no tensors.
_CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
_NUMBERED = re.compile(r"([014567])\.")


@dataclass(frozen=True)
class Parts:
    """The body and the classifier that a file holds."""

    words: Mapping[str, str]  # of the body and of a head that is one Linear: as the file says → as torchvision does
    body: str  # what stands before the body's names
    head: str  # the Linear's name in the file; empty where the head is not one Linear
    others: tuple[str, ...]  # tensors of neither

    @property
    def usual(self) -> bool:
        """Whether nothing stands around the network: it is a known one, under its own names."""
        return not self.body and self.head in ("fc", "linear")


def bodies(shapes: Mapping[str, Shape]) -> dict[str, bool]:
    """Return what stands before the names of each ResNet's body in the file, and whether these are numbers."""
    found = {each["prefix"]: bool(each["numbered"]) for each in map(_BODY.fullmatch, shapes) if each}
    return {prefix: numbered for prefix, numbered in found.items() if not numbered or f"{prefix}0.weight" in shapes}


def of(shapes: Mapping[str, Shape]) -> Parts | None:
    """Return the parts; None where the file holds no ResNet's body, or more than one."""
    found = bodies(shapes)
    if len(found) != 1:
        return None
    ((prefix, numbered),) = found.items()
    words = {name: _word(name.removeprefix(prefix), numbered) for name in shapes if name.startswith(prefix)}
    words = {name: word for name, word in words.items() if word}
    others = tuple(name for name in shapes if name not in words and not name.endswith(COUNTER))
    head = _linear(shapes, others)
    if head is None:
        return Parts(words, prefix, "", others)
    return Parts({**words, f"{head}weight": "fc.weight", f"{head}bias": "fc.bias"}, prefix, head.removesuffix("."), ())


def _word(name: str, numbered: bool) -> str:
    """Return a tensor's name in torchvision's words; empty for what is not a part of the body."""
    if numbered:
        child = _NUMBERED.match(name)
        name = f"{_CHILDREN[child[1]]}.{name[2:]}" if child else ""
    return name.replace(".shortcut.", ".downsample.") if _NAMED.match(name) else ""


def _linear(shapes: Mapping[str, Shape], names: tuple[str, ...]) -> str | None:
    """Return the prefix that a weight and a bias share, where there is nothing else."""
    weights = [name for name in names if name.endswith("weight") and len(shapes[name]) == 2]
    if len(weights) != 1:
        return None
    prefix = weights[0].removesuffix("weight")
    alone = set(names) == {f"{prefix}weight", f"{prefix}bias"}
    return prefix if alone and shapes[f"{prefix}bias"] == shapes[weights[0]][:1] else None
