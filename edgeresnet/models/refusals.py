"""Why a file of convolutions is not read as a ResNet, in words for a person, and what helps: which tensors, and where.

Reads names and shapes. Says nothing of other files: they hold no network of convolutions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import listed, shortened
from . import names, namings, structure
from .blocks import bodies, stuck
from .layers import Layer, common_path, layers_of, strangers
from .plans import Shape, without_counters
from .recognised import Recognised

_FEWEST = 5  # convolutions
_LARGEST_KERNEL = 11
_ROOM = 80  # characters for names of tensors
_WHAT = "a network of convolutions"
# What torch.nn.utils puts in the place of a weight, and the line that computes it once and for all.
_PARAMETRIZED = (
    (
        re.compile(r"(?:.*\.)?parametrizations\.\w+\.(?:original\d?|\d+\..+)"),
        "parametrized weights",
        "torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight')",
    ),
    (re.compile(r"(?:.*\.)?weight_g"), "weight normalisation", "torch.nn.utils.remove_weight_norm(layer)"),
    (re.compile(r"(?:.*\.)?weight_u"), "spectral normalisation", "torch.nn.utils.remove_spectral_norm(layer)"),
    (re.compile(r"(?:.*\.)?weight_mask"), "masks of pruning", "torch.nn.utils.prune.remove(layer, 'weight')"),
)
HEADLESS = "save the network with its classifier, or name a function that returns both: --arch my.module:make"
_FASTAI = re.compile(r"1\.\d+\.weight")  # its head: the second of two parts, behind the body


def channels_last(shapes: Mapping[str, Shape]) -> Recognised | None:
    """Return why weights are refused whose kernels are not where torch has them; None where they are there."""
    weights = {name: shape for name, shape in shapes.items() if len(shape) == 4}
    usual = sum(_is_kernel(shape[2:]) for shape in weights.values())
    for first, order in ((0, "3, 2, 0, 1"), (1, "0, 3, 1, 2")):
        here = [name for name, shape in weights.items() if _is_kernel(shape[first : first + 2])]
        if len(here) >= _FEWEST and len(here) > 2 * usual:
            sides = "×".join(map(str, weights[here[0]]))
            words = f"{_WHAT} with its channels last: {shortened(here[0], 60)} is {sides}"
            return _refused(words, f"save each such tensor in torch's order: weight.permute({order})")
    return None


def _is_kernel(sides: Shape) -> bool:
    return 1 < sides[0] == sides[1] <= _LARGEST_KERNEL


def why_not(shapes: Mapping[str, Shape]) -> Recognised | None:
    """Return what a network of convolutions has that a ResNet does not have; None for other networks."""
    if sum(len(shape) == 4 for shape in shapes.values()) < _FEWEST:
        return None
    return _parametrized(shapes) or _several(shapes) or _strange(shapes)


def several(bodies: Mapping[str, int]) -> Recognised:
    """Return why a file with more than one ResNet is refused: by what their names begin with, the tensors of each."""
    where = " and ".join(
        f"{shortened(prefix, 40)}*" + (f" ({count} tensors)" if count else "")
        for prefix, count in list(bodies.items())[:3]
    )
    words = f"{len(bodies)} ResNets, {where}: the tensors do not show which one is meant"
    return _refused(words, _alone(next(iter(bodies)), "one of them"))


def fastai(shapes: Mapping[str, Shape], others: tuple[str, ...], blocks: tuple[int, ...], bottleneck: bool) -> str:
    """Return what to do with fastai's usual head, whose tensors stand next to a body; empty for another head."""
    sides = [len(shapes[name]) for name in others if _FASTAI.fullmatch(name)]
    if sides != [1, 2, 1, 2]:
        return ""
    plans = {name: names.plan(name) for name in names.TORCHVISION}
    arch = next(
        (name for name, plan in plans.items() if (plan.blocks, plan.bottleneck) == (blocks, bottleneck)), "arch"
    )
    return f"name a function: `def make(classes): return create_vision_model({arch}, classes, pretrained=False)`"


def _refused(words: str, hint: str = "") -> Recognised:
    return Recognised((), 0, 0, words, hint=hint)


def _alone(prefix: str, what: str) -> str:
    """Return the line that saves one part of a file."""
    path = prefix.rstrip(".")
    named = path if re.fullmatch(r"[A-Za-z_][\w.]{0,39}", path) else "part"
    return f"save {what} where it was trained: torch.save(model.{named}.state_dict(), 'weights.pth')"


def _parametrized(shapes: Mapping[str, Shape]) -> Recognised | None:
    for pattern, what, line in _PARAMETRIZED:
        found = [name for name in shapes if pattern.fullmatch(name)]
        if found:
            words = f"{_WHAT} with {what}: {listed(found, _ROOM)}"
            return _refused(words, f"for each such layer call {line}, and save `model.state_dict()`")
    return None


def _several(shapes: Mapping[str, Shape]) -> Recognised | None:
    """Return the parts of a file where one of them, by itself, is a ResNet."""
    parts = _parts(shapes)
    networks = [prefix for prefix, held in parts.items() if structure.readings(held)]
    if len(networks) > 1:
        return several({prefix: len(parts[prefix]) for prefix in networks})
    if not networks:
        return None
    counts = {prefix: f"{shortened(prefix, 40)}* ({len(held)} tensors)" for prefix, held in parts.items()}
    network = counts.pop(networks[0])
    words = f"a ResNet, {network}, next to {listed(counts.values(), _ROOM)}"
    return _refused(f"{words}: the tensors do not show what is between", _alone(networks[0], "it alone"))


def _parts(shapes: Mapping[str, Shape]) -> dict[str, dict[str, Shape]]:
    """Return the tensors by the first part in which their names differ; nothing where one of them is all."""
    held = without_counters(shapes)
    paths = {name: tuple(name.split(".")[:-1]) for name in held}
    common = len(common_path(list(paths.values())))
    found: dict[str, dict[str, Shape]] = {}
    for name, path in paths.items():
        prefix = "".join(f"{part}." for part in path[: common + 1])
        found.setdefault(prefix, {})[name] = held[name]
    return found if len(found) > 1 else {}


def _strange(shapes: Mapping[str, Shape]) -> Recognised | None:
    strange = strangers(shapes)
    if strange:
        return _refused(f"{_WHAT}, with what a ResNet does not have: {listed(strange, _ROOM)}")
    layers = layers_of(shapes)
    linears = [layer for layer in layers or () if layer.kind == "linear"]
    if not layers:
        return None
    if len(linears) == 1:
        return _refused(f"{_WHAT}, not in the blocks of a ResNet{_first_outside(layers)}")
    if not linears and (body := _body(layers)):
        return _refused(f"{body}, without a classifier: its answers are not classes", HEADLESS)
    names_of = [layer.where for layer in linears if layer.where]
    where = f" ({listed(names_of, _ROOM)})" if names_of else ""
    return _refused(f"{_WHAT} with {len(linears) or 'no'} linear layers{where}: a classifier has one")


def _first_outside(layers: list[Layer]) -> str:
    """Return how many layers there are, and where blocks end to be those of a ResNet."""
    convolutions = [layer for layer in layers if layer.kind == "conv"]
    counts = f"{len(convolutions)} convolutions, {sum(layer.kind == 'norm' for layer in layers)} normalisations"
    last = stuck(convolutions)
    if last is None:
        return f" ({counts})"
    sides = "×".join(map(str, last.shape))
    return f" ({counts}): {shortened(last.where or last.parts['weight'], 60)}, {sides}, has no place in one"


def _body(layers: list[Layer]) -> str:
    """Describe the body of a ResNet; empty where the convolutions are another network's."""
    convolutions = [layer for layer in layers if layer.kind == "conv"]
    found = next(iter(bodies(convolutions, None, in_order=False)), None)
    if found is None or not found.shortcuts():
        return ""
    kind = "basic" if len(found.blocks[0].convolutions) == 2 else "bottleneck"
    whose = namings.whose(layer.where + ".weight" for layer in convolutions)
    return f"the body of a ResNet{f' of {whose}' if whose else ''} ({len(found.blocks)} {kind} blocks)"
