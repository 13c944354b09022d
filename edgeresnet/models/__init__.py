"""Networks by name: the paper's CIFAR family, torchvision's ResNets, or a factory in user code. Trains nothing."""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .. import recipe
from ..errors import ModelError

if TYPE_CHECKING:
    from torch import nn


_WHERE = "run from the folder that holds the module, or install it; write my.module:make"

# `cifar_resnet20` has option-A shortcuts (no parameters, as in the paper), `…b` projections, `cifar_plain20` none.
CIFAR = tuple(
    name
    for depth in (8, 20, 32, 44, 56, 110)
    for name in (f"cifar_resnet{depth}", f"cifar_resnet{depth}b", f"cifar_plain{depth}")
)
TORCHVISION = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


def build(arch: str, classes: int, channels: int) -> nn.Module:
    """An untrained network. torch is imported here and not before."""
    check_arch(arch)
    factory = recipe.module_of_factory(arch)
    if factory:
        return _from_user_code(arch, *factory, classes=classes, channels=channels)
    from . import cifar, zoo

    return (cifar if arch in CIFAR else zoo).build(arch, classes, channels)


def check_arch(arch: str) -> None:
    """Refuses a word that names no architecture; imports no torch, so that `check` and `plan` can ask."""
    if arch in CIFAR or arch in TORCHVISION:
        return
    if recipe.module_of_factory(arch):
        if source_of(arch) is None:
            raise ModelError(f"the module of the factory {arch} is not found", hint=_WHERE)
        return
    near = difflib.get_close_matches(arch, [*CIFAR, *TORCHVISION], 1)
    raise ModelError(
        f"there is no architecture {arch!r}",
        hint=f"did you mean {near[0]}?"
        if near
        else "known are cifar_resnet8 … 110, resnet18 … 152, or your own as my.module:make",
    )


def source_of(arch: str) -> Path | None:
    """The file behind a factory in user code, whose content belongs to what is built from it."""
    factory = recipe.module_of_factory(arch)
    if not factory:
        return None
    _look_here()
    return recipe.file_of_module(factory[0])


def _from_user_code(arch: str, module: str, function: str, *, classes: int, channels: int) -> nn.Module:
    from torch import nn

    _look_here()
    try:
        make = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as problem:
        raise ModelError(
            f"the factory {arch} cannot be imported: {problem}",
            hint=_WHERE,
        ) from problem
    offered = {"classes": classes, "channels": channels}
    takes = inspect.signature(make).parameters
    anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in takes.values())
    network = make(**{key: value for key, value in offered.items() if anything or key in takes})
    if not isinstance(network, nn.Module):
        raise ModelError(f"the factory {arch} returned {type(network).__name__}", hint="return a torch.nn.Module")
    return network


def _look_here() -> None:
    """A console script does not see the current folder; the module of a user stands there."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
