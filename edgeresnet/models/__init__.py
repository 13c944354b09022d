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


def build(arch: str, classes: int, channels: int) -> nn.Module:
    """An untrained network. torch is imported here and not before."""
    factory = recipe.module_of_factory(arch)
    if factory:
        return _from_user_code(arch, *factory, classes=classes, channels=channels)
    from . import cifar, zoo

    for family in (cifar, zoo):
        if arch in family.NAMES:
            return family.build(arch, classes, channels)
    names = [*cifar.NAMES, *zoo.NAMES]
    near = difflib.get_close_matches(arch, names, 1)
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
            hint="run from the folder that holds the module, or install it; write my.module:make",
        ) from problem
    offered = {"classes": classes, "channels": channels}
    takes = inspect.signature(make).parameters
    anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in takes.values())
    network = make(**{key: value for key, value in offered.items() if anything or key in takes})
    if not isinstance(network, nn.Module):
        raise ModelError(
            f"the factory {arch} returned {type(network).__name__}", hint="return a torch.nn.Module"
        )
    return network


def _look_here() -> None:
    """A console script does not see the current folder; the module of a user stands there."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
