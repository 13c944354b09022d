"""A file's tensors as layers: which weight, bias and statistics belong together. Knows names of parts, not of networks.

Frameworks end a tensor's name with its part (`weight`, `gamma`, `running_mean`). Where they do not, the order shows it:
a convolution's weight has four dimensions, and a normalisation is four vectors of one length.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .plans import Shape, without_counters

_PARTS = {
    "weight": "weight", "kernel": "weight", "gamma": "weight", "scale": "weight", "w": "weight",
    "bias": "bias", "beta": "bias", "offset": "bias", "b": "bias",
    "running_mean": "running_mean", "moving_mean": "running_mean", "mean": "running_mean",
    "running_var": "running_var", "moving_variance": "running_var", "moving_var": "running_var", "var": "running_var",
}  # fmt: skip
_NAMED = re.compile(rf"(?:(?P<where>.*?)[._/])?(?P<part>{'|'.join(sorted(_PARTS, key=len, reverse=True))})", re.DOTALL)
_MEANT = re.compile(r"(?:^|[._/])(?:mean|var|mu|sigma|gamma|beta|bias|weight|kernel|scale)$", re.IGNORECASE)
_MOST = 5_000  # layers
_LONGEST = 1_000  # characters of a name
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
    matrix: bool = False  # a linear layer that is taken as a convolution of 1×1

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
        return replace(self, kind="conv", shape=(*self.shape, 1, 1), matrix=True) if self.kind == "linear" else self

    @property
    def parent(self) -> tuple[str, ...]:
        return self.path[:-1]


def layers_of(shapes: Mapping[str, Shape]) -> list[Layer] | None:
    """Return the layers in the file's order; None where a tensor belongs to no layer of a ResNet."""
    held = without_counters(shapes)
    numbers = [name for name, shape in held.items() if not shape]
    vectors = {name: shape for name, shape in held.items() if shape}
    if any(0 in shape for shape in vectors.values()) or len(held) > 6 * _MOST:
        return None
    if any(map(_MEANT.search, vectors)):
        return None if numbers else _by_name(vectors)
    found = _by_order(vectors)
    # Under unknown names, a number may be a counter; then each normalisation has one.
    counted = found and len(numbers) in (0, sum(layer.kind == "norm" for layer in found))
    return found if counted else None


def strangers(shapes: Mapping[str, Shape]) -> list[str]:
    """Return what makes no layer of a ResNet: tensors, and layers that lack one. Empty where names show no layers."""
    held = without_counters(shapes)
    parts, strange = _grouped(held)
    layers = {where: _layer(where, found, held) for where, found in parts.items()}
    convolutions = sum(layer is not None and layer.kind == "conv" for layer in layers.values())
    if 2 * convolutions < len(layers) - convolutions:
        return []
    for where, layer in layers.items():
        missing = [part for part in _NORM if part not in parts[where]]
        if layer is None and 0 < len(missing) <= 2:  # a normalisation without its statistics, or without one of them
            strange.append(f"{where} without {' and '.join(missing)}")
        elif layer is None:
            strange += parts[where].values()
    return strange


def in_natural_order(layers: list[Layer]) -> list[Layer]:
    """Return layers as their names count: `block10` comes after `block2`."""
    return sorted(layers, key=lambda layer: [_natural(part) for part in layer.path])


def common_path(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the parts with which all paths begin."""
    alike = itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False))
    return tuple(parts[0] for parts in alike)


def differ(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, str]:
    """Return the first parts in which two paths differ; empty where one is the beginning of the other."""
    return next(((a, b) for a, b in zip(one, other, strict=False) if a != b), ("", ""))


def _natural(word: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in _DIGITS.split(word[:200]) if part]


def _by_name(held: Mapping[str, Shape]) -> list[Layer] | None:
    parts, strange = _grouped(held)
    layers = [_layer(where, found, held) for where, found in parts.items()]
    return [layer for layer in layers if layer] if all(layers) and not strange else None


def _grouped(held: Mapping[str, Shape]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return each layer's parts, by what their names begin with; and the names that say no part, or one twice."""
    parts: dict[str, dict[str, str]] = {}
    strange = []
    for name in held:
        named = _NAMED.fullmatch(name) if len(name) < _LONGEST else None
        if named is None or _PARTS[named["part"]] in parts.setdefault(named["where"] or "", {}):
            strange.append(name)
        else:
            parts[named["where"] or ""][_PARTS[named["part"]]] = name
    return parts, strange


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
