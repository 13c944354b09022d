"""How a ResNet is built, as data, and which tensors it has then. Knows no library and no network by name.

Tensors bear torchvision's names, which timm's networks share: `conv1`, `bn1`, `layer2.0.downsample.0`, `fc`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Shape = tuple[int, ...]

STEM, BLOCKS, SHORTCUTS = "stem", "blocks", "shortcuts"  # parts of a network
COUNTER = "num_batches_tracked"  # of a batch normalisation in training; older files have none


@dataclass(frozen=True)
class Plan:
    """What of a network's build its tensors show."""

    blocks: tuple[int, ...]  # of each stage
    bottleneck: bool = False
    width: int = 64  # of the first stage; each stage is twice as wide as the one before
    groups: int = 1
    group_width: int = 64  # of a bottleneck's 3×3 convolution, for each 64 of its stage's width
    stem: tuple[int, ...] = (64,)  # what its convolutions give
    kernel: int = 7  # of the stem's only convolution; three are 3×3 each
    convolved_pool: bool = False  # a convolution instead of the max-pool
    projected: bool = True  # a shortcut that changes its shape has a convolution
    pooled_shortcut: bool = False  # averaged before that convolution
    shortcut_kernel: int = 1
    first_narrowed: int = 1  # how many times narrower a bottleneck's first convolution is than its second
    attention: str = ""  # "se16", "se4": squeeze and excite through a sixteenth, a quarter; "eca"
    attention_biased: bool = True
    batch_norm: bool = True  # else group normalisation
    # What the networks that others name do not have; `general` builds these.
    outputs: tuple[int, ...] = ()  # of each stage; empty: by the rule of `width`
    middles: tuple[int, ...] = ()  # what a bottleneck's first two convolutions give; empty: by the rule of `width`
    biased: tuple[str, ...] = ()  # which convolutions have a bias: STEM, BLOCKS, SHORTCUTS
    preactivation: bool = False  # normalisation and ReLU before each convolution of a block
    stem_norm: bool = True
    last_norm: bool = False  # after the last block
    shortcut_norm: bool = True
    always_projected: bool = False  # the first block of every stage has a convolution in its shortcut

    @property
    def depth(self) -> int:
        return sum(self.blocks) * (3 if self.bottleneck else 2) + 2

    @property
    def features(self) -> int:
        return self.gives(len(self.blocks) - 1)

    def gives(self, stage: int) -> int:
        """Return how many channels the blocks of a stage give."""
        return self.outputs[stage] if self.outputs else self.width * 2**stage * (4 if self.bottleneck else 1)

    def middle(self, stage: int) -> int:
        """Return how many channels the second convolution of a bottleneck gives."""
        if self.middles:
            return self.middles[stage]
        return self.width * 2**stage * self.group_width // 64 * self.groups if self.bottleneck else self.gives(stage)


def tensors(plan: Plan, classes: int, channels: int) -> dict[str, Shape]:
    """Return the tensors of a plan, without counters, in which files differ."""
    return dict(_tensors(plan, classes, channels))


def without_counters(shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the tensors that a plan speaks of."""
    return {name: shape for name, shape in shapes.items() if not name.endswith(COUNTER)}


def stem(held: Mapping[str, Shape]) -> Shape:
    """Return the shape of the convolution that reads images; empty where there is none."""
    return held.get("conv1.weight", held.get("conv1.0.weight", ()))


def is_narrower(wanted: Mapping[str, Shape], shapes: Mapping[str, Shape]) -> bool:
    """Return whether weights of these `shapes` may be `wanted`'s with channels removed: same names, nothing wider, the
    same images in and the same classes out.
    """
    named, theirs = ([name for name in one if not name.endswith(COUNTER)] for one in (wanted, shapes))
    if set(named) != set(theirs) or any(len(shapes[name]) != len(wanted[name]) for name in named):
        return False
    if any(given > full for name in named for given, full in zip(shapes[name], wanted[name], strict=True)):
        return False
    same_kernels = all(shapes[name][2:] == wanted[name][2:] for name in named)
    first, last = named[0], named[-1]
    return same_kernels and shapes[first][1:] == wanted[first][1:] and shapes[last][:1] == wanted[last][:1]


def _tensors(plan: Plan, classes: int, channels: int) -> Iterator[tuple[str, Shape]]:
    inputs = channels
    kernel = plan.kernel if len(plan.stem) == 1 else 3
    for position, outputs in enumerate(plan.stem):
        name = "conv1" if len(plan.stem) == 1 else f"conv1.{3 * position}"
        yield from _convolution(plan, name, (outputs, inputs, kernel, kernel), STEM)
        last = position == len(plan.stem) - 1
        if plan.stem_norm or not last:
            yield from _norm(plan, "bn1" if last else f"conv1.{3 * position + 1}", outputs)
        inputs = outputs
    if plan.convolved_pool:
        yield "maxpool.0.weight", (inputs, inputs, 3, 3)
        yield from _norm(plan, "maxpool.1", inputs)
    for stage, count in enumerate(plan.blocks):
        outputs = plan.gives(stage)
        for block in range(count):
            first = block == 0 and (stage > 0 or plan.always_projected)
            name = f"layer{stage + 1}.{block}"
            yield from _convolutions(plan, name, inputs, stage)
            yield from _attention(plan, f"{name}.se", outputs)
            if plan.projected and (first or inputs != outputs):
                yield from _shortcut(plan, f"{name}.downsample", inputs, outputs, stage > 0 and block == 0)
            inputs = outputs
    if plan.last_norm:
        yield from _norm(plan, "norm", inputs)
    yield "fc.weight", (classes, inputs)
    yield "fc.bias", (classes,)


def _convolution(plan: Plan, name: str, shape: Shape, part: str) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", shape
    if part in plan.biased:
        yield f"{name}.bias", shape[:1]


def _convolutions(plan: Plan, name: str, inputs: int, stage: int) -> Iterator[tuple[str, Shape]]:
    outputs, middle = plan.gives(stage), plan.middle(stage)
    first = middle // plan.first_narrowed
    shapes = [(middle, inputs, 3, 3), (outputs, middle, 3, 3)]
    if plan.bottleneck:
        shapes = [(first, inputs, 1, 1), (middle, first // plan.groups, 3, 3), (outputs, middle, 1, 1)]
    for number, shape in enumerate(shapes, 1):
        yield from _convolution(plan, f"{name}.conv{number}", shape, BLOCKS)
        read = inputs if number == 1 else shapes[number - 2][0]
        yield from _norm(plan, f"{name}.bn{number}", read if plan.preactivation else shape[0])


def _shortcut(plan: Plan, name: str, inputs: int, outputs: int, strided: bool) -> Iterator[tuple[str, Shape]]:
    at, kernel = int(plan.pooled_shortcut), plan.shortcut_kernel if strided else 1
    yield from _convolution(plan, f"{name}.{at}", (outputs, inputs, kernel, kernel), SHORTCUTS)
    if plan.shortcut_norm:
        yield from _norm(plan, f"{name}.{at + 1}", outputs)


def squeezed(plan: Plan, channels: int) -> int:
    """Return through how many channels squeeze and excite goes."""
    part = int(plan.attention.removeprefix("se"))
    return channels // part if plan.outputs else max(8, int(channels / part + 4) // 8 * 8)  # the nearest multiple of 8


def _attention(plan: Plan, name: str, channels: int) -> Iterator[tuple[str, Shape]]:
    if plan.attention == "eca":
        reach = int(abs(math.log2(channels) + 1) / 2)
        yield f"{name}.conv.weight", (1, 1, max(reach if reach % 2 else reach + 1, 3))
    elif plan.attention:
        small = squeezed(plan, channels)
        for part, (outputs, inputs) in (("fc1", (small, channels)), ("fc2", (channels, small))):
            yield f"{name}.{part}.weight", (outputs, inputs, 1, 1)
            if plan.attention_biased:
                yield f"{name}.{part}.bias", (outputs,)


def _norm(plan: Plan, name: str, channels: int) -> Iterator[tuple[str, Shape]]:
    parts = ("weight", "bias", "running_mean", "running_var") if plan.batch_norm else ("weight", "bias")
    for part in parts:
        yield f"{name}.{part}", (channels,)
