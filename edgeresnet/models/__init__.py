"""Networks by name: the paper's CIFAR family, torchvision's and timm's ResNets, heads for segmentation and
detection behind these, or a factory in user code.

Trains nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

from ..errors import ModelError, first_line, quoted
from . import names
from .names import CIFAR, DETECTORS, SEGMENTERS, SMALL_IMAGES, TIMM, TORCHVISION
from .unwrap import Weights

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from ..recipe import Argument
    from ..tasks import LearnedTask

__all__ = [
    "CIFAR",
    "DETECTORS",
    "SEGMENTERS",
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


_ANSWERS = ("out", "logits")  # under which a dictionary has them: torchvision's, and transformers'


class NetworkSpec(Protocol):
    """Which network a stage builds: its architecture (None: an ONNX file holds its own), classes, channels, what it
    answers, and what else a factory is given.
    """

    @property
    def arch(self) -> str | None: ...
    @property
    def classes(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def learned(self) -> LearnedTask: ...
    @property
    def arguments(self) -> Mapping[str, Argument]: ...


def build(arch: str, classes: int, channels: int, arguments: Mapping[str, Argument] | None = None) -> nn.Module:
    """Build an untrained network; `arguments` are for a factory. torch is imported here and not before."""
    from .. import recipe

    check_arch(arch)
    if recipe.module_of_factory(arch):
        from . import detectors, factories

        network = detectors.taken_apart(factories.build(arch, classes, channels, arguments or {}))
    else:
        network = _named(arch).build(arch, classes, channels)
    network.register_forward_hook(_one_tensor)
    return network


def _named(arch: str) -> ModuleType:
    """Return the module that builds a network of a known name."""
    from . import cifar, detectors, general, segmentation, zoo

    if names.detector(arch):
        return detectors
    if names.segmenter(arch):
        return segmentation
    return cifar if names.cifar(arch) else general if names.written_out(arch) else zoo


def _one_tensor(network: nn.Module, images: object, answer: object) -> object:
    """Return the logits of a network that answers with a dictionary, as torchvision's do for segmentation."""
    found = [answer[key] for key in _ANSWERS if key in answer] if isinstance(answer, Mapping) else []
    return found[0] if found else answer


def check_arch(arch: str) -> None:
    """Refuse a name that is not an architecture's. Imports no torch, so that `check` and `plan` can use it."""
    from .. import recipe

    if names.is_known(arch):
        if names.missing_library(arch):
            problem = "is a network of timm, which is not installed"
            raise ModelError(arch, problem, hint="pip install 'edgeresnet[timm]'")
    elif recipe.module_of_factory(arch):
        from . import factories

        factories.check(arch)
    else:
        raise ModelError(quoted(arch), "is not a known architecture", hint=_instead_of(arch))


def sources_of(arch: str) -> list[Path]:
    """Return the files of user code that belong to a factory; none for a network of a known name."""
    from . import sources

    return sources.files_of(arch)


def _instead_of(arch: str) -> str:
    from . import sources

    if (place := sources.place_of(arch) if arch.endswith(".py") else None) is not None:
        made = [*sources.names_in(place.file), "make"][0]
        return f"name the function in it that returns the network, as in {arch}:{made}"
    if near := difflib.get_close_matches(arch[:80], (*names.everything(), *SEGMENTERS, *DETECTORS), 3):
        return f"did you mean {' or '.join(near)}?"
    return (
        "use cifar_resnet8 … 110, a ResNet of torchvision or timm by its own name, or your own as my.module:make or "
        "path/model.py:make"
    )


def check_answer(network: nn.Module, spec: NetworkSpec, size: int) -> None:
    """Run the network once: it must take such images and answer as its task wants it."""
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
    task = spec.learned
    shape = tuple(answer.shape) if torch.is_tensor(answer) else type(answer).__name__
    if isinstance(shape, str) or not task.fits(shape, 2, spec.classes):
        raise ModelError(
            title,
            f"returns shape {shape} for two images instead of {task.shown(2, spec.classes)}",
            hint=f"it must return {task.wanted}; `model.classes` is the number of classes",
        )
    if task.detector is not None:
        from . import detectors

        detectors.check_anchors(network, task.detector, title)
