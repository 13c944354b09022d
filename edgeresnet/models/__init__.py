"""Networks by name: the paper's CIFAR family, torchvision's and timm's ResNets, or a factory in user code.

Trains nothing.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import importlib
import inspect
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .. import recipe
from ..errors import ModelError, first_line
from . import names
from .names import CIFAR, SMALL_IMAGES, TIMM, TORCHVISION
from .unwrap import Weights

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "CIFAR",
    "SMALL_IMAGES",
    "TIMM",
    "TORCHVISION",
    "NetworkSpec",
    "Weights",
    "build",
    "check_answer",
    "check_arch",
    "sources_of",
]

_WHERE = "run from the folder that holds the module, or install it; write my.module:make"


class NetworkSpec(Protocol):
    """Which network a stage builds: its architecture (None: an ONNX file holds its own), classes and input channels."""

    @property
    def arch(self) -> str | None: ...
    @property
    def classes(self) -> int: ...
    @property
    def channels(self) -> int: ...


def build(arch: str, classes: int, channels: int) -> nn.Module:
    """Build an untrained network. torch is imported here and not before."""
    check_arch(arch)
    factory = recipe.module_of_factory(arch)
    if factory:
        return _from_user_code(arch, *factory, classes=classes, channels=channels)
    from . import cifar, zoo

    return (cifar if names.cifar(arch) else zoo).build(arch, classes, channels)


def check_arch(arch: str) -> None:
    """Refuse a name that is not an architecture's. Imports no torch, so that `check` and `plan` can use it."""
    if names.is_known(arch):
        if names.missing_library(arch):
            problem = "is a network of timm, which is not installed"
            raise ModelError(arch, problem, hint="pip install 'edgeresnet[timm]'")
        return
    if recipe.module_of_factory(arch):
        if not sources_of(arch):
            raise ModelError(f"the module of the factory {arch}", "is not found", hint=_WHERE)
        return
    near = difflib.get_close_matches(arch, names.everything(), 3)
    raise ModelError(
        repr(arch),
        "is not a known architecture",
        hint=f"did you mean {' or '.join(near)}?"
        if near
        else "use cifar_resnet8 … 110, a ResNet of torchvision or timm by its own name, or your own as my.module:make",
    )


def check_answer(network: nn.Module, spec: NetworkSpec, size: int) -> None:
    """Run the network once: it must take such images and answer with one logit per class."""
    import torch

    image, title = torch.zeros(2, spec.channels, size, size), str(spec.arch)
    try:
        with torch.no_grad():
            answer = network.eval()(image)
    except Exception as problem:
        raise ModelError(
            title,
            f"cannot take images of {tuple(image.shape[1:])}: {first_line(problem)}",
            hint="channels and size come from `preprocessing`",
        ) from problem
    shape = tuple(answer.shape) if torch.is_tensor(answer) else type(answer).__name__
    if shape != (2, spec.classes):
        raise ModelError(
            title,
            f"returns shape {shape} for two images instead of {(2, spec.classes)}",
            hint="it must return one logit per class; `model.classes` is their number",
        )


def sources_of(arch: str) -> list[Path]:
    """Return the files behind a factory in user code: its module, what that imports from its own folder, and so on."""
    factory = recipe.module_of_factory(arch)
    first = _module_file(factory[0]) if factory else None
    if first is None:
        return []
    found, waiting = [first], [first]
    while waiting:
        for name in _imports(waiting.pop()):
            path = _module_file(name)
            if path and path.is_relative_to(first.parent) and path not in found:
                found.append(path)
                waiting.append(path)
    return sorted(found)


def _module_file(name: str) -> Path | None:
    _look_here()
    return recipe.file_of_module(name)


def _imports(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError):  # reported when it is imported for real
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from _relative(path, node)


def _relative(path: Path, node: ast.ImportFrom) -> Iterator[str]:
    """Yield the absolute names of a relative import, when the file's package lies in the current folder."""
    folder = path.parents[node.level - 1]
    with contextlib.suppress(ValueError):
        package = ".".join(folder.relative_to(Path.cwd()).parts)
        base = ".".join(part for part in (package, node.module) if part)
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)


def _from_user_code(arch: str, module: str, function: str, *, classes: int, channels: int) -> nn.Module:
    from torch import nn

    _look_here()
    offered = {"classes": classes, "channels": channels}
    try:
        make = getattr(importlib.import_module(module), function)
        takes = inspect.signature(make).parameters
        anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in takes.values())
        network = make(**{key: value for key, value in offered.items() if anything or key in takes})
    except Exception as problem:
        where = traceback.extract_tb(problem.__traceback__)[-1]
        raise ModelError(
            f"the factory {arch}",
            f"failed: {type(problem).__name__}: {first_line(problem)} ({where.filename}, line {where.lineno})",
            hint=_WHERE,
        ) from problem
    if not isinstance(network, nn.Module):
        hint = "return a torch.nn.Module"
        raise ModelError(f"the factory {arch}", f"returned {type(network).__name__}", hint=hint)
    return network


def _look_here() -> None:
    """Let Python find modules in the current folder: a console script does not, and a user's module lies there."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
