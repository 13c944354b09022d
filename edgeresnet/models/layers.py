"""A file's tensors as layers: which weight, bias and statistics belong together. Knows names of parts, not of networks.

Frameworks end a tensor's name with its part (`weight`, `gamma`, `running_mean`). Where they do not, the order shows it:
a convolution's weight has four dimensions, and a normalisation is four vectors of one length.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .plans import COUNTER, Shape

_PARTS = {
    "weight": "weight", "kernel": "weight", "gamma": "weight", "scale": "weight", "w": "weight",
    "bias": "bias", "beta": "bias", "offset": "bias", "b": "bias",
    "running_mean": "running_mean", "moving_mean": "running_mean", "mean": "running_mean",
    "running_var": "running_var", "moving_variance": "running_var", "var": "running_var",
}  # fmt: skip
_STATISTICS = ("running_mean", "running_var")
_NORM = ("weight", "bias", *_STATISTICS)
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer: a convolution, a normalisation or a linear layer. Two layers are never equal."""

    kind: str  # conv, norm, linear
    where: str  # what the names of its tensors begin with; empty where names do not show it
    parts: Mapping[str, str]  # weight, bias, running_mean, running_var → the tensor's name in the file
    shape: Shape  # of its weight

    @property
    def outputs(self) -> int:
        return self.shape[0]

    @property
    def kernel(self) -> int:
        """Return the side of a square kernel; 0 for another one."""
        return self.shape[2] if len(self.shape) == 4 and self.shape[2] == self.shape[3] else 0

    @property
    def bias(self) -> str | None:
        return self.parts.get("bias")

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(self.where.split(".")) if self.where else ()

    def as_convolution(self) -> Layer:
        """Return a linear layer as a convolution of 1×1, which computes the same of means."""
        return replace(self, kind="conv", shape=(*self.shape, 1, 1)) if self.kind == "linear" else self

    @property
    def parent(self) -> tuple[str, ...]:
        return self.path[:-1]


def layers_of(shapes: Mapping[str, Shape]) -> list[Layer] | None:
    """Return the layers in the file's order; None where a tensor belongs to no layer of a ResNet."""
    held = {name: shape for name, shape in shapes.items() if shape and not name.endswith(COUNTER)}
    if any(0 in shape for shape in held.values()):
        return None
    return _by_name(held) or _by_order(held)


def in_natural_order(layers: list[Layer]) -> list[Layer]:
    """Return layers as their names count: `block10` comes after `block2`."""
    return sorted(layers, key=lambda layer: [_natural(part) for part in layer.path])


def common_path(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the parts with which all paths begin."""
    alike = itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False))
    return tuple(parts[0] for parts in alike)


def _natural(word: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in _DIGITS.split(word[:200]) if part]


def _by_name(held: Mapping[str, Shape]) -> list[Layer] | None:
    parts: dict[str, dict[str, str]] = {}
    for name in held:
        where, _, last = name.rpartition(".")
        part = _PARTS.get(last)
        if part is None or part in parts.setdefault(where, {}):
            return None
        parts[where][part] = name
    layers = [_layer(where, found, held) for where, found in parts.items()]
    return [layer for layer in layers if layer] if all(layers) else None


def _layer(where: str, parts: Mapping[str, str], held: Mapping[str, Shape]) -> Layer | None:
    """Return the layer of these parts; None where they do not make one."""
    if "weight" not in parts:
        return None
    shape = held[parts["weight"]]
    vectors = [held[name] for part, name in parts.items() if part != "weight"]
    kind = {4: "conv", 2: "linear", 1: "norm"}.get(len(shape), "")
    usual = set(parts) == set(_NORM) if kind == "norm" else set(parts) <= {"weight", "bias"}
    fits = kind and usual and all(vector == shape[:1] for vector in vectors)
    return Layer(kind, where, dict(parts), shape) if fits else None


def _by_order(held: Mapping[str, Shape]) -> list[Layer] | None:
    """Group tensors in the order in which torch lists them: a weight, its bias, and the vectors of normalisations."""
    found: list[Layer] = []
    for (sides, _), run in itertools.groupby(
        held.items(), key=lambda item: (len(item[1]), item[1][: len(item[1]) == 1])
    ):
        names = [name for name, _ in run]
        if sides in (2, 4):
            found += [Layer("conv" if sides == 4 else "linear", "", {"weight": name}, held[name]) for name in names]
        elif sides != 1 or not _take_vectors(found, names, held):
            return None
    return found or None


def _take_vectors(found: list[Layer], names: list[str], held: Mapping[str, Shape]) -> bool:
    """Add vectors of one length: a bias of the layer before, and normalisations of four each."""
    before = found[-1] if found else None
    if len(names) % 4 == 1 and before and before.kind != "norm" and before.shape[:1] == held[names[0]]:
        found[-1] = Layer(before.kind, "", {**before.parts, "bias": names[0]}, before.shape)
        names = names[1:]
    if len(names) % 4:
        return False
    for start in range(0, len(names), 4):
        parts = dict(zip(_NORM, names[start : start + 4], strict=True))
        found.append(Layer("norm", "", parts, held[parts["weight"]]))
    return True
