"""Reads a file's tensors as a ResNet by their kinds, shapes and order, whatever they are called.

A network is a stem, blocks (`blocks`) and a linear classifier. Here each normalisation finds its convolution. Every
tensor must have its place, so other networks are not taken for a ResNet. The result says each tensor's name in
torchvision's words.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .blocks import Body, bodies
from .layers import Layer, common_path, differ, in_natural_order, layers_of
from .plans import Shape, without_counters

_NUMBERS = re.compile(r"[0-9]{1,9}")
_DEEP = 3  # normalisations of a deep stem
HEAD_WEIGHT, HEAD_BIAS = "fc.weight", "fc.bias"


@dataclass(frozen=True)
class Reading:
    """One way to read a file: the names in torchvision's words, and what kind of block they are in."""

    words: Mapping[str, str]
    head: str
    blocks: tuple[int, ...]
    preactivation: bool
    grouped: bool  # whether names show which layers make a block
    averaged: bool | None  # whether names say that something stands before a shortcut's convolution; None: they do not

    @property
    def projected(self) -> bool:
        return any(".downsample." in word for word in self.words.values())

    @property
    def biased(self) -> bool:
        """Whether the classifier has a bias."""
        return HEAD_BIAS in self.words.values()

    def held(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        """Return the shapes in torchvision's words, as torchvision has them; a classifier without bias gets one."""
        found = {word: _as_torchvision(word, shapes[name]) for name, word in self.words.items()}
        return {**found, HEAD_BIAS: found[HEAD_WEIGHT][:1]}


def _as_torchvision(word: str, shape: Shape) -> Shape:
    """Return a weight's shape: a classifier's has two sides, and attention's four, whatever the file has."""
    if word == HEAD_WEIGHT:
        return shape[:2]
    return (*shape, 1, 1) if ".se." in word and len(shape) == 2 else shape


Norms = dict[Layer, Layer]  # of a convolution: behind it, or before it


class _Norms(NamedTuple):
    """Which normalisation belongs to which convolution."""

    of: Norms
    preactivation: bool
    last: Layer | None = None


def readings(shapes: Mapping[str, Shape]) -> tuple[Reading, ...]:
    """Return how these tensors can be read as a ResNet, the likeliest first; empty where they cannot."""
    for layers, in_order in _orders(shapes):
        found = tuple(_readings(layers, in_order=in_order))
        if found:
            return found
    return ()


def _orders(shapes: Mapping[str, Shape]) -> Iterator[tuple[list[Layer], bool]]:
    """Yield the layers as the file has them, and as their names count: some formats sort by name."""
    names = list(without_counters(shapes))  # safetensors sorts within each type of number
    layers = layers_of(shapes)
    if layers is None:
        return
    if names != sorted(names):
        yield layers, True
    yield in_natural_order(layers), False


def _readings(layers: list[Layer], *, in_order: bool) -> Iterator[Reading]:
    head, layers = _head(layers, in_order=in_order)
    if head is None:
        return
    convolutions = [layer for layer in layers if layer.kind == "conv"]
    norms = [layer for layer in layers if layer.kind == "norm"]
    for body in bodies(convolutions, head.shape[1], in_order=in_order):
        if _contradicted(body) if in_order else not _ordered_by_names(body):
            continue
        for pairs in _pairings(body, layers, norms):
            yield _read(body, pairs, head)


def _ordered_by_names(body: Body) -> bool:
    """Return whether numbers, or single letters, order the layers of one shape: other words say no order."""
    return all(_numbered(*parts) or _lettered(*parts) for parts in _alike(body))


def _contradicted(body: Body) -> bool:
    """Return whether numbers in the names of layers of one shape go down where the file's order goes up."""
    return any(_goes_down(*parts) for parts in _alike(body))


def _alike(body: Body) -> Iterator[tuple[str, str]]:
    """Yield of each two layers of one shape, one after the other, the parts of their names that differ first."""
    alike: dict[object, list[Layer]] = {}
    for layer in body.main():
        alike.setdefault(layer.shape, []).append(layer)
    for group in alike.values():
        for one, other in itertools.pairwise(group):
            yield differ(one.path, other.path)


def _numbered(one: str, other: str) -> bool:
    return _NUMBERS.sub("#", one) == _NUMBERS.sub("#", other)


def _goes_down(one: str, other: str) -> bool:
    return _numbered(one, other) and _numbers(one) > _numbers(other)


def _lettered(one: str, other: str) -> bool:
    return len(one) == len(other) and one[:-1] == other[:-1] and one[-1:].isalpha()


def _numbers(part: str) -> list[int]:
    return [int(number) for number in _NUMBERS.findall(part[:40])]


def _head(layers: list[Layer], *, in_order: bool) -> tuple[Layer | None, list[Layer]]:
    """Return the classifier and the other layers. Linear layers of attention count as convolutions of 1×1."""
    linears = [layer for layer in layers if layer.kind == "linear"]
    if linears:
        head = linears[-1] if len(linears) == 1 else _different(linears)
        if in_order and head and not _at_an_end(head, layers):
            return None, layers  # something is behind the classifier
        return head, [layer.as_convolution() for layer in layers if layer is not head]
    biased = [layer for layer in layers if layer.kind == "conv" and layer.bias and layer.kernel == 1]
    # A convolution of 1×1 as classifier, if it is called so: in a network for segmentation it gives one answer a pixel.
    head = biased[0] if len(biased) == 1 and biased[0].path[-1:] in (("fc",), ("logits",)) else None
    return head, [layer for layer in layers if layer is not head]


def _at_an_end(head: Layer, layers: list[Layer]) -> bool:
    """Return whether a classifier is behind all convolutions, or before them."""
    at = [index for index, layer in enumerate(layers) if layer.kind == "conv"]
    return not at or not at[0] < layers.index(head) < at[-1]


def _different(linears: list[Layer]) -> Layer | None:
    """Return the only linear layer that another one does not turn around, as the two of attention do."""
    counts = Counter(layer.shape for layer in linears)
    more = [shape for shape, count in counts.items() if count != counts[shape[::-1]]]
    odd = [shape for shape in more if counts[shape] == counts[shape[::-1]] + 1]
    if len(odd) != 1 or len(more) > 2 or set(more) - {odd[0], odd[0][::-1]}:
        return None
    turned = {layer.parent for layer in linears if layer.shape == odd[0][::-1]}
    alone = [layer for layer in linears if layer.shape == odd[0] and layer.parent not in turned]
    return (alone or [layer for layer in linears if layer.shape == odd[0]])[-1]


def _pairings(body: Body, layers: list[Layer], norms: list[Layer]) -> Iterator[_Norms]:
    """Yield which normalisation belongs to which convolution; names decide where they show it."""
    found = [*_behind(body, layers, norms), *_before(body, norms)]
    found = [pairs for pairs in found if not _turned(body, pairs)]
    if _groups_by_names(body):
        found = [pairs for pairs in found if _named_alike(body, pairs)]
    elif not all(shortcut in pairs.of for pairs in found[:1] for shortcut in body.shortcuts()):
        found.reverse()  # a shortcut without a normalisation is usual before an activation
    yield from found[:2]


def _behind(body: Body, layers: list[Layer], norms: list[Layer]) -> Iterator[_Norms]:
    """Yield the reading with a normalisation behind each convolution, as ResNet's first version has it."""
    shortcuts = set(body.shortcuts())
    wanted = [*body.stem, *_in_order(layers, [*body.main(), *shortcuts])]
    for convolutions in (wanted, [each for each in wanted if each not in shortcuts]):
        if len(convolutions) != len(norms):
            continue
        sizes = {convolution: convolution.outputs for convolution in convolutions}
        pairs = _adjacent(layers, sizes) or _by_place(_in_order(layers, convolutions), norms, sizes)
        if pairs:
            yield _Norms(pairs, preactivation=False)
            return


def _before(body: Body, norms: list[Layer]) -> Iterator[_Norms]:
    """Yield the reading with a normalisation before each convolution of a block."""
    main, stem = body.main(), body.stem
    features = main[-1].outputs
    sizes = dict(zip(main, _read_sizes(body), strict=True))
    of_stems = dict.fromkeys((0, len(stem) - 1, len(stem)))  # the last one may be without
    for of_stem, last, shortcuts in itertools.product(of_stems, (True, False), ([], body.shortcuts())):
        if len(norms) != len(main) + of_stem + int(last) + len(shortcuts):
            continue
        wanted = {**{each: each.outputs for each in (*stem[:of_stem], *shortcuts)}, **sizes}
        for rest, ending in _endings(norms, features) if last else [(norms, None)]:
            order = [*stem[:of_stem], *(_with_shortcuts(body) if shortcuts else main)]
            pairs = _by_number(order, rest, wanted)
            if pairs:
                yield _Norms(pairs, preactivation=True, last=ending)
                return


def _endings(norms: list[Layer], features: int) -> Iterator[tuple[list[Layer], Layer]]:
    """Yield which normalisation may follow the last block: it has a place at either end, or behind the stem's."""
    for at in dict.fromkeys((len(norms) - 1, *range(min(_DEEP + 1, len(norms))))):
        if norms[at].outputs == features:
            yield norms[:at] + norms[at + 1 :], norms[at]


def _read_sizes(body: Body) -> Iterator[int]:
    """Yield how many channels each convolution of the blocks reads."""
    inputs = body.stem[-1].outputs
    for block in body.blocks:
        for convolution in block.convolutions:
            yield inputs
            inputs = convolution.outputs


def _with_shortcuts(body: Body) -> list[Layer]:
    each = ((*block.convolutions, block.shortcut) for block in body.blocks)
    return [layer for block in each for layer in block if layer]


def _adjacent(layers: list[Layer], sizes: Mapping[Layer, int]) -> Norms | None:
    """Return each convolution's normalisation, where it is the next layer of the file."""
    found = {
        one: other
        for one, other in itertools.pairwise(layers)
        if one in sizes and other.kind == "norm" and other.outputs == sizes[one]
    }
    return found if len(found) == len(sizes) else None


def _by_place(convolutions: Sequence[Layer], norms: Sequence[Layer], sizes: Mapping[Layer, int]) -> Norms | None:
    """Return pairs of those that are alone under one name, and of the others by number."""
    under: dict[tuple[str, ...], list[Layer]] = {}
    for layer in (*convolutions, *norms):
        under.setdefault(layer.parent, []).append(layer)
    alone = {one: other for one, other in (pair for pair in under.values() if len(pair) == 2) if one.kind != other.kind}
    rest = [each for each in convolutions if each not in alone]
    others = set(alone.values())
    found = _by_number(rest, [norm for norm in norms if norm not in others], sizes)
    fits = all(sizes[one] == other.outputs for one, other in alone.items())
    return {**alone, **found} if found is not None and fits else _by_number(convolutions, norms, sizes)


def _by_number(convolutions: Sequence[Layer], norms: Sequence[Layer], sizes: Mapping[Layer, int]) -> Norms | None:
    """Return pairs of the first with the first, and so on, where all sizes fit."""
    fits = len(convolutions) == len(norms) and all(
        sizes[convolution] == norm.outputs for convolution, norm in zip(convolutions, norms, strict=True)
    )
    return dict(zip(convolutions, norms, strict=True)) if fits else None


def _in_order(layers: Iterable[Layer], some: Iterable[Layer]) -> list[Layer]:
    wanted = set(some)
    return [layer for layer in layers if layer in wanted]


def _turned(body: Body, pairs: _Norms) -> bool:
    """Return whether the numbers of normalisations go down where their convolutions follow one another."""
    each = (pair for block in body.blocks for pair in itertools.pairwise(block.convolutions))
    return any(_goes_down(*differ(pairs.of[one].path, pairs.of[other].path)) for one, other in each)


def _groups_by_names(body: Body) -> bool:
    """Return whether the names of each block's convolutions begin alike, and not as those of another block."""
    begin = {common_path([layer.path for layer in block.convolutions]) for block in body.blocks}
    return len(begin) == len(body.blocks) and () not in begin


def _named_alike(body: Body, pairs: _Norms) -> bool:
    """Return whether names put each normalisation into the block of its convolution."""
    if not _groups_by_names(body):
        return False
    for block in body.blocks:
        common = common_path([layer.path for layer in block.convolutions])
        if any(pairs.of[each].path[: len(common)] != common for each in block.convolutions):
            return False
    return True


def _read(body: Body, norms: _Norms, head: Layer) -> Reading:
    """Give every tensor its name in torchvision's words."""
    words: dict[str, str] = {}

    def give(layer: Layer, name: str, norm: str = "") -> None:
        words.update({file: f"{name}.{part}" for part, file in layer.parts.items()})
        if layer in norms.of and norm:
            words.update({file: f"{norm}.{part}" for part, file in norms.of[layer].parts.items()})

    deep = len(body.stem) > 1
    for position, layer in enumerate(body.stem):
        is_last = position == len(body.stem) - 1
        name = f"conv1.{3 * position}" if deep else "conv1"
        give(layer, name, "bn1" if is_last else f"conv1.{3 * position + 1}")
    counts: dict[int, int] = {}
    for block, (stage, position) in zip(body.blocks, body.stages(), strict=True):
        name = f"layer{stage + 1}.{position}"
        counts[stage] = position + 1
        for number, layer in enumerate(block.convolutions, 1):
            give(layer, f"{name}.conv{number}", f"{name}.bn{number}")
        if block.shortcut:
            give(block.shortcut, f"{name}.downsample.0", f"{name}.downsample.1")
        for number, layer in enumerate(block.attention, 1):
            give(layer, f"{name}.se.fc{number}")
    if norms.last:
        words.update({file: f"norm.{part}" for part, file in norms.last.parts.items()})
    give(head, "fc")
    return Reading(
        words, head.where, tuple(counts.values()), norms.preactivation, _named_alike(body, norms), _averaged(body)
    )


def _averaged(body: Body) -> bool | None:
    """Return whether the convolutions of shortcuts are the second of their modules, or the first; None: not shown."""
    numbers = {layer.path[-1] for layer in body.shortcuts() if layer.path}
    return {frozenset("0"): False, frozenset("1"): True}.get(frozenset(numbers))
