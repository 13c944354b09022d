"""Divides the convolutions of a file into a stem and the blocks of a ResNet, by their shapes alone; names help.

Each block reads what the block before gives, and the convolution of a shortcut goes from a block's input to its output.
Where two divisions have the same shapes, names decide; where these show nothing, both are given.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .layers import Layer, common_path

_DEEP = 3  # convolutions of a deep stem
_MOST_STAGES = 8
_MOST_CHANNELS = 12  # of an image
_SHORTCUT = re.compile(r"(?:^|[._])(?:short_?cut|down_?sample|skip|identity)", re.IGNORECASE)
_ATTENTION = re.compile(r"(?:^|[._])(?:se|squeeze|excit\w*|attn|attention)(?:$|[._\d])", re.IGNORECASE)
_USUAL_CHANNELS = (3, 1, 4)  # of images


class Block(NamedTuple):
    """A block's two or three convolutions, and what else it has."""

    convolutions: tuple[Layer, ...]
    shortcut: Layer | None
    attention: tuple[Layer, ...]

    @property
    def outputs(self) -> int:
        return self.convolutions[-1].outputs

    @property
    def size(self) -> int:
        return len(self.convolutions) + len(self.attention) + (self.shortcut is not None)


class Body(NamedTuple):
    """All convolutions of a network, each in its place."""

    stem: tuple[Layer, ...]
    blocks: tuple[Block, ...]

    def main(self) -> list[Layer]:
        """Return the convolutions of all blocks, without shortcuts and attention."""
        return [layer for block in self.blocks for layer in block.convolutions]

    def shortcuts(self) -> list[Layer]:
        """Return the convolutions of all shortcuts."""
        return [block.shortcut for block in self.blocks if block.shortcut]

    def stages(self) -> Iterator[tuple[int, int]]:
        """Yield each block's stage and number. A stage begins where the width changes, or with a projection: unless
        every block has one.
        """
        everywhere = all(block.shortcut for block in self.blocks)
        stage, number, inputs = 0, 0, self.stem[-1].outputs
        for index, block in enumerate(self.blocks):
            begins = block.outputs != inputs or (block.shortcut is not None and not everywhere)
            stage, number = (stage + 1, 0) if index and begins else (stage, number + 1 if index else 0)
            inputs = block.outputs
            yield stage, number


def bodies(convolutions: list[Layer], features: int | None, *, in_order: bool) -> list[Body]:
    """Return how convolutions can be a stem and blocks that give `features` channels, the likeliest first; None: any.

    `in_order`: they have the order of the network, so the first one reads the images.
    """
    ordered = convolutions if in_order else _stem_first(convolutions)
    for length, stem, attention in itertools.product((3, 2), (1, _DEEP), (False, True)):
        if stem >= len(ordered) or not _is_stem(ordered[:stem]):
            continue
        found = []
        for shortcut_first in (False, True):
            kind = _Kind(length, attention, shortcut_first)
            blocks = _blocks(ordered[stem:], ordered[stem - 1].outputs, kind)
            if blocks and features in (None, blocks[-1].outputs):
                found.append(Body(tuple(ordered[:stem]), tuple(blocks)))
        if found:
            return _consistent(found, ordered) if found[0] != found[-1] else found[:1]
    return _with_shortcuts_apart(ordered, features)


def _with_shortcuts_apart(ordered: list[Layer], features: int | None) -> list[Body]:
    """Return the same for a network whose shortcuts are in one list."""
    for length, stem, attention in itertools.product((2, 3), (1, _DEEP), (False, True)):
        if stem >= len(ordered) or not _is_stem(ordered[:stem]):
            continue
        inputs, kind = ordered[stem - 1].outputs, _Kind(length, attention, apart=True)
        for shortcuts in _lists(ordered[stem:]):
            others = [layer for layer in ordered[stem:] if layer not in shortcuts]
            blocks = _with_shortcuts(_blocks(others, inputs, kind), shortcuts, inputs)
            if blocks and features in (None, blocks[-1].outputs):
                return [Body(tuple(ordered[:stem]), blocks)]
    return []


def _lists(convolutions: list[Layer]) -> Iterator[list[Layer]]:
    """Yield which convolutions may be all shortcuts: those that are called so, or the last ones, or the first ones."""
    if named := [layer for layer in convolutions if any(map(_SHORTCUT.search, layer.path))]:
        yield named
        return
    for ends in (convolutions[::-1], convolutions):
        row = list(itertools.takewhile(lambda layer: layer.kernel == 1, ends))[:_MOST_STAGES]
        for count in range(1, len(row) + 1):
            yield sorted(row[:count], key=convolutions.index)


def _with_shortcuts(blocks: Sequence[Block], shortcuts: Sequence[Layer], inputs: int) -> tuple[Block, ...]:
    """Give each block that changes the width its shortcut, and perhaps the first block; empty where that fails."""
    found: list[Block] = []
    left = list(shortcuts)
    for block in blocks:
        changes = block.outputs != inputs
        fits = bool(left) and left[0].shape[:2] == (block.outputs, inputs)
        if changes and not fits:
            return ()
        found.append(block._replace(shortcut=left.pop(0)) if fits and (changes or not found) else block)
        inputs = block.outputs
    return () if left else tuple(found)


def _consistent(found: list[Body], ordered: list[Layer]) -> list[Body]:
    """Return those whose blocks have the most convolutions in order; of these, those in which all shortcuts stand at
    the same place of their blocks; all where none is so.
    """
    at = {layer: index for index, layer in enumerate(ordered)}

    def steps(body: Body) -> int:
        pairs = (pair for block in body.blocks for pair in itertools.pairwise(block.convolutions))
        return sum(at[one] < at[other] for one, other in pairs)

    def is_first(block: Block) -> bool:
        return block.shortcut is not None and at[block.shortcut] < min(at[layer] for layer in block.convolutions)

    most = max(map(steps, found))
    found = [body for body in found if steps(body) == most]
    alike = [body for body in found if len({is_first(block) for block in body.blocks if block.shortcut}) == 1]
    return alike or found


class _Kind(NamedTuple):
    """What all blocks of a network have in common."""

    length: int  # convolutions
    attention: bool
    shortcut_first: bool = False  # where shapes do not show it
    apart: bool = False  # shortcuts are not next to their blocks: all are in one list

    def window(self, shortcut: bool) -> int:
        return self.length + int(shortcut) + (2 if self.attention else 0)


def _stem_first(convolutions: list[Layer]) -> list[Layer]:
    """Move the convolution that reads images, and those that follow it under the same name, to the front."""
    large = [index for index, each in enumerate(convolutions) if each.kernel >= 3 and each.shape[1] <= _MOST_CHANNELS]
    if not large:
        return convolutions

    def unlikely(index: int) -> tuple[int, int]:
        channels = convolutions[index].shape[1]
        return (_USUAL_CHANNELS.index(channels) if channels in _USUAL_CHANNELS else len(_USUAL_CHANNELS), channels)

    first = min(large, key=unlikely)
    stop = first + 1
    while stop < min(len(convolutions), first + _DEEP) and convolutions[stop].parent == convolutions[first].parent:
        stop += 1
    return convolutions[first:stop] + convolutions[:first] + convolutions[stop:]


def _is_stem(layers: Sequence[Layer]) -> bool:
    channels, *rest = (layer.shape[1] for layer in layers)
    chained = all(one.outputs == other for one, other in zip(layers, rest, strict=False))
    chained = chained and all(one.outputs <= other.outputs for one, other in itertools.pairwise(layers))
    kernels = {layer.kernel for layer in layers}
    return channels <= _MOST_CHANNELS and chained and (kernels == {3} if rest else min(kernels) >= 3)


def stuck(ordered: list[Layer]) -> Layer | None:
    """Return the convolution at which dividing into blocks fails, in the way that comes furthest; None: at none."""
    furthest = 0
    for length, stem, attention in itertools.product((3, 2), (1, _DEEP), (False, True)):
        if stem < len(ordered) and _is_stem(ordered[:stem]):
            failed: set[tuple[int, int]] = set()
            _blocks(ordered[stem:], ordered[stem - 1].outputs, _Kind(length, attention), failed)
            furthest = max(furthest, stem + max((used for used, _ in failed), default=0))
    return ordered[furthest] if furthest < len(ordered) else None


def _blocks(
    convolutions: Sequence[Layer], inputs: int, kind: _Kind, failed: set[tuple[int, int]] | None = None
) -> list[Block]:
    """Divide convolutions into blocks; empty where that fails. Where a choice fails later, go back to it.

    `failed` gets the places from which the rest cannot be divided: how many convolutions are before it, and the
    channels that it begins with.
    """
    failed = set() if failed is None else failed
    taken: list[Block] = []
    left = [_choices(convolutions[: kind.window(True) + 1], inputs, kind)]
    used = [0]  # convolutions, before each block
    while left:
        block = next(left[-1], None)
        if block is None:
            failed.add((used.pop(), taken[-1].outputs if taken else inputs))
            left.pop()
            if taken:
                taken.pop()
            continue
        reached = used[-1] + block.size
        if (reached, block.outputs) in failed:
            continue
        taken.append(block)
        if reached == len(convolutions):
            return taken
        used.append(reached)
        left.append(_choices(convolutions[reached : reached + kind.window(True) + 1], block.outputs, kind))
    return []


def _choices(convolutions: Sequence[Layer], inputs: int, kind: _Kind) -> Iterator[Block]:
    """Yield the blocks that may come next. The first convolution of the block after it may look like a shortcut."""
    with_shortcut, without = (
        None if each and kind.apart else _block(convolutions[: kind.window(each)], inputs, kind, each)
        for each in (True, False)
    )
    found = [block for block in (with_shortcut, without) if block]
    following = convolutions[kind.window(True) : kind.window(True) + 1]
    if with_shortcut and without and with_shortcut.shortcut and following:
        path = with_shortcut.shortcut.path
        here, there = (common_path([path, other.path]) for other in (with_shortcut.convolutions[0], following[0]))
        if len(there) > len(here):
            found.reverse()
    yield from found


def _block(window: Sequence[Layer], inputs: int, kind: _Kind, shortcut: bool) -> Block | None:
    """Return a block of these convolutions, in whatever order they are; the likeliest order is tried first."""
    if len(window) < kind.window(shortcut):
        return None
    named = {layer for layer in window if _SHORTCUT.search(".".join(layer.path[-2:]))}
    for main, of_shortcut, rest in _arranged(window, kind, shortcut):
        outputs = main[-1].outputs
        if not _chained(main, inputs) or (named and of_shortcut not in named):
            continue
        widest = 3 if kind.length == 3 else 2  # a 3×3 convolution next to basic blocks is a part of one
        if of_shortcut and (of_shortcut.shape[:2] != (outputs, inputs) or of_shortcut.kernel > widest):
            continue
        needed = outputs < inputs or (kind.length == 3 and outputs != inputs)
        if of_shortcut is None and needed and not kind.apart:
            continue
        attention = tuple(sorted(rest, key=lambda layer: layer.outputs))
        if attention and not _is_attention(attention, outputs):
            continue
        return Block(main, of_shortcut, attention)
    return None


_Arranged = tuple[tuple[Layer, ...], "Layer | None", Sequence[Layer]]


def _arranged(window: Sequence[Layer], kind: _Kind, shortcut: bool) -> Iterator[_Arranged]:
    """Yield which layers may be the convolutions, the shortcut and the attention."""
    attention = _attention_in(window) if kind.attention else ()
    rest = [layer for layer in window if layer not in attention]
    places = range(len(rest))
    for at in (places if kind.shortcut_first else places[::-1]) if shortcut else (None,):
        others = [layer for index, layer in enumerate(rest) if index != at]
        for main in itertools.permutations(others[: kind.length]):
            yield main, None if at is None else rest[at], attention or others[kind.length :]


def _attention_in(window: Sequence[Layer]) -> tuple[Layer, ...]:
    """Return a block's attention, where kinds or names show it; empty where they do not: it is the last two then."""
    for shown in ([each.matrix for each in window], [bool(_ATTENTION.search(each.where)) for each in window]):
        found = tuple(layer for layer, holds in zip(window, shown, strict=True) if holds)
        if len(found) == 2:
            return found
    return ()


def _chained(main: Sequence[Layer], inputs: int) -> bool:
    """Return whether the convolutions follow one another as in a block."""
    kernels = tuple(layer.kernel for layer in main)
    first, second, last = main[0], main[1], main[-1]
    if first.shape[1] != inputs or last.shape[1] != main[-2].outputs:
        return False
    if len(main) == 2:
        return kernels == (3, 3) and first.outputs == last.outputs
    groups, rest = divmod(first.outputs, second.shape[1])
    complete = not rest and groups > 0 and second.outputs % groups == 0 and (groups == 1 or second.shape[1] > 1)
    return kernels == (1, 3, 1) and complete and last.outputs > second.outputs


def _is_attention(layers: Sequence[Layer], channels: int) -> bool:
    narrow, wide = layers
    there = narrow.shape[:2] == wide.shape[1::-1] == (narrow.outputs, channels)
    return there and narrow.kernel == wide.kernel == 1 and narrow.outputs < channels
