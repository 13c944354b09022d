"""ResNets as people write them: one way to compute, any names, any order of definition.

`Build` is what a network computes and `Names` how its author calls the parts, and in which order they are defined. A
benchmark and a test of recognition need files in many hands' writing, and their exact logits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn import functional

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": functional.relu,
    "silu": functional.silu,
    "gelu": functional.gelu,
    "leaky": functional.leaky_relu,
    "leaky10": partial(functional.leaky_relu, negative_slope=0.1),
}
PADDED, APPENDED, AVERAGED, PROJECTED, ALWAYS = "padded", "appended", "averaged", "projected", "always"


@dataclass(frozen=True)
class Build:
    """What a network computes."""

    blocks: tuple[int, ...] = (3, 3, 3)
    widths: tuple[int, ...] = (16, 32, 64)  # of each stage, before the expansion
    expansion: int = 1  # more than 1: bottlenecks
    stem: tuple[int, ...] = (16,)
    kernel: int = 3
    stem_stride: int = 1
    pooled: bool = False
    shortcut: str = PROJECTED  # ALWAYS: also where neither width nor size changes, in each stage's first block
    shortcut_norm: bool = True
    preactivation: bool = False
    raw: bool = False  # pre-activation: a projection reads what comes before the normalisation
    stem_norm: bool = True
    last_norm: bool = False
    first_strided: bool = False  # version 1 of a bottleneck
    groups: int = 1  # of a bottleneck's second convolution
    attention: int = 0  # squeeze and excite, through this fraction
    attention_linear: bool = True  # by Linear; else by 1×1 convolutions
    attention_biased: bool = True
    activation: str = "relu"  # one of ACTIVATIONS
    halved: bool = False  # the first stage has stride 2, too
    biased: bool = False  # convolutions
    channels: int = 3
    classes: int = 10
    head_bias: bool = True


@dataclass(frozen=True)
class Names:
    """How the parts are called.

    `{s}` is a stage from 1, `{t}` from 2; `{b}` a block from 0, `{c}` from 1, `{g}` a block of the network from 0;
    `{n}` a convolution from 1, `{m}` from 0, `{p}` its place in a Sequential with ReLUs, `{q}` and `{r}` the next.
    """

    stem: str = "conv1"
    stem_norm: str = "bn1"
    block: str = "layer{s}.{b}."
    conv: str = "conv{n}"
    norm: str = "bn{n}"
    shortcut: str = "shortcut.0"
    shortcut_norm: str = "shortcut.1"
    excite: tuple[str, str] = ("se.fc1", "se.fc2")
    last_norm: str = "bn"
    head: str = "linear"
    # The order of definition: "pairs" (convolution, its normalisation), "reversed" (the normalisation first), "apart"
    # (all convolutions, then all normalisations), "norms" (all normalisations, then all convolutions).
    order: str = "pairs"
    shortcut_first: bool = False
    shortcuts_apart: bool = False  # all shortcuts of the network follow its last block, outside of the blocks
    head_first: bool = False


@dataclass
class _Block:
    convolutions: list[nn.Module]
    norms: list[nn.Module]
    shortcut: nn.Module | None
    excite: tuple[nn.Module, nn.Module] | None
    missing: int  # channels that a shortcut without tensors adds
    stride: int


class Network(nn.Module):
    """A network of some build, under somebody's names."""

    def __init__(self, build: Build, names: Names | None = None):
        super().__init__()
        self.its_build, self.its_activation = build, ACTIVATIONS[build.activation]
        self.its_names = names or Names()
        self.its_stems: list[tuple[nn.Module, nn.Module]] = []
        self.its_table: list[_Block] = []
        self.its_late: list[tuple[str, nn.Module]] = []
        last = build.widths[-1] * build.expansion
        self.its_classifier = [nn.Linear(last, build.classes, bias=build.head_bias)]  # a list: not registered here
        if self.its_names.head_first:
            self._put(self.its_names.head, self.its_classifier[0])
        self._stem()
        inputs, number = build.stem[-1], 0
        for stage, count in enumerate(build.blocks):
            for block in range(count):
                inputs = self._block(inputs, stage, block, number)
                number += 1
        for path, module in self.its_late:
            self._put(path, module)
        self.its_ends = [nn.BatchNorm2d(last)] if build.last_norm else []
        for norm in self.its_ends:
            self._put(self.its_names.last_norm, norm)
        if not self.its_names.head_first:
            self._put(self.its_names.head, self.its_classifier[0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for convolution, norm in self.its_stems:
            x = norm(convolution(x))
            if self.its_build.stem_norm or not self.its_build.preactivation:
                x = self.its_activation(x)
        if self.its_build.pooled:
            x = functional.max_pool2d(x, 3, 2, 1)
        for block in self.its_table:
            x = self._before(block, x) if self.its_build.preactivation else self._after(block, x)
        for norm in self.its_ends:
            x = self.its_activation(norm(x))
        return self.its_classifier[0](x.mean((2, 3)))

    def _after(self, block: _Block, x: torch.Tensor) -> torch.Tensor:
        y = x
        for number, (convolution, norm) in enumerate(zip(block.convolutions, block.norms, strict=True)):
            y = norm(convolution(y))
            if number < len(block.norms) - 1:
                y = self.its_activation(y)
        return self.its_activation(_excited(block, y) + self._passed(block, x))

    def _before(self, block: _Block, x: torch.Tensor) -> torch.Tensor:
        y = ready = self.its_activation(block.norms[0](x))
        for number, (convolution, norm) in enumerate(zip(block.convolutions, block.norms, strict=True)):
            y = convolution(self.its_activation(norm(y)) if number else y)
        read = ready if block.shortcut is not None and not self.its_build.raw else x
        return _excited(block, y) + self._passed(block, read)

    def _passed(self, block: _Block, x: torch.Tensor) -> torch.Tensor:
        if block.shortcut is not None:
            found: torch.Tensor = block.shortcut(x)
            return found
        if self.its_build.shortcut == AVERAGED:
            x = functional.avg_pool2d(x, block.stride) if block.stride > 1 else x
        else:
            x = x[:, :, :: block.stride, :: block.stride]
        before = block.missing // 2 if self.its_build.shortcut == PADDED else 0
        return functional.pad(x, (0, 0, 0, 0, before, block.missing - before)) if block.missing else x

    def _put(self, path: str, module: nn.Module) -> None:
        """Register a module under a dotted path, in the order of the calls."""
        *parents, last = path.split(".")
        here: nn.Module = self
        for name in parents:
            if name not in here._modules:
                here.add_module(name, nn.Module())
            here = here.get_submodule(name)
        here.add_module(last, module)

    def _stem(self) -> None:
        build, inputs = self.its_build, self.its_build.channels
        for number, outputs in enumerate(build.stem):
            stride = build.stem_stride if number == 0 else 1
            convolution = nn.Conv2d(inputs, outputs, build.kernel, stride, build.kernel // 2, bias=build.biased)
            norm = nn.BatchNorm2d(outputs) if build.stem_norm else nn.Identity()
            places = _places(number)
            pair: list[tuple[str, nn.Module]] = [(self.its_names.stem.format(**places), convolution)]
            if build.stem_norm:
                pair.append((self.its_names.stem_norm.format(**places), norm))
            for path, module in reversed(pair) if self.its_names.order == "reversed" else pair:
                self._put(path, module)
            self.its_stems.append((convolution, norm))
            inputs = outputs

    def _block(self, inputs: int, stage: int, block: int, number: int) -> int:
        build, names = self.its_build, self.its_names
        width, outputs = build.widths[stage], build.widths[stage] * build.expansion
        stride = 2 if (stage > 0 or build.halved) and block == 0 else 1
        where = {"s": stage + 1, "t": stage + 2, "b": block, "c": block + 1, "g": number}
        prefix = names.block.format(**where)
        convolutions, norms = _convolutions(build, inputs, width, stride)
        shortcut, paths = self._shortcut(inputs, outputs, stride, block == 0)
        roles = [(f"{prefix}{path}".format(**where), module) for path, module in paths]
        if names.shortcuts_apart:
            self.its_late += [(path.format(**where), module) for path, module in paths]
            roles = []
        for path, module in roles if names.shortcut_first else ():
            self._put(path, module)
        for path, module in _ordered(names, convolutions, norms):
            self._put(f"{prefix}{path}", module)
        excite = _excitation(build, outputs) if build.attention else None
        for path, module in zip(names.excite, excite or (), strict=False):
            self._put(f"{prefix}{path}", module)
        for path, module in () if names.shortcut_first else roles:
            self._put(path, module)
        self.its_table.append(_Block(convolutions, norms, shortcut, excite, outputs - inputs, stride))
        return outputs

    def _shortcut(
        self, inputs: int, outputs: int, stride: int, first: bool
    ) -> tuple[nn.Module | None, list[tuple[str, nn.Module]]]:
        build, names = self.its_build, self.its_names
        changes = stride > 1 or inputs != outputs
        if build.shortcut not in (PROJECTED, ALWAYS) or not (changes or (first and build.shortcut == ALWAYS)):
            return None, []
        paths: list[tuple[str, nn.Module]] = [
            (names.shortcut, nn.Conv2d(inputs, outputs, 1, stride, bias=build.biased))
        ]
        if build.shortcut_norm:
            paths.append((names.shortcut_norm, nn.BatchNorm2d(outputs)))
        return nn.Sequential(*(module for _, module in paths)), paths


def _places(number: int) -> dict[str, int]:
    return {"n": number + 1, "m": number, "p": 3 * number, "q": 3 * number + 1, "r": 3 * number + 2}


def _convolutions(build: Build, inputs: int, width: int, stride: int) -> tuple[list[nn.Module], list[nn.Module]]:
    outputs = width * build.expansion
    shapes = [(inputs, width, 3), (width, outputs, 3)]
    if build.expansion > 1:
        shapes = [(inputs, width, 1), (width, width, 3), (width, outputs, 1)]
    strided = 0 if build.expansion == 1 or build.first_strided else 1
    convolutions: list[nn.Module] = []
    norms: list[nn.Module] = []
    for number, (takes, gives, kernel) in enumerate(shapes):
        groups = build.groups if len(shapes) == 3 and number == 1 else 1
        step = stride if number == strided else 1
        convolutions.append(nn.Conv2d(takes, gives, kernel, step, kernel // 2, groups=groups, bias=build.biased))
        norms.append(nn.BatchNorm2d(takes if build.preactivation else gives))
    return convolutions, norms


def _ordered(names: Names, convolutions: list[nn.Module], norms: list[nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    first = [(names.conv.format(**_places(number)), each) for number, each in enumerate(convolutions)]
    second = [(names.norm.format(**_places(number)), each) for number, each in enumerate(norms)]
    if names.order in ("reversed", "norms"):
        first, second = second, first
    if names.order in ("apart", "norms"):
        yield from [*first, *second]
        return
    for pair in zip(first, second, strict=True):
        yield from pair


def _excitation(build: Build, channels: int) -> tuple[nn.Module, nn.Module]:
    narrow, biased = channels // build.attention, build.attention_biased
    if build.attention_linear:
        return nn.Linear(channels, narrow, bias=biased), nn.Linear(narrow, channels, bias=biased)
    return nn.Conv2d(channels, narrow, 1, bias=biased), nn.Conv2d(narrow, channels, 1, bias=biased)


def _excited(block: _Block, y: torch.Tensor) -> torch.Tensor:
    if block.excite is None:
        return y
    first, second = block.excite
    pooled = y.mean((2, 3)) if isinstance(first, nn.Linear) else y.mean((2, 3), keepdim=True)
    factors = torch.sigmoid(second(functional.relu(first(pooled))))
    return y * factors.reshape(*y.shape[:2], 1, 1)
