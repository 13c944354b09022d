"""How important each unit of a network is: four measures, in one table.

Each gives a number for every channel of a layer's side; a unit's is the mean over all of its places, and pools are made
comparable by their own mean. A residual stream counts a little more than that. Removes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn

from ..errors import ModelError
from .units import Cuttable, Place, Pool

# name → what one weight is worth, given the weight and, for `taylor`, the gradient of the loss.
_WORTH: Mapping[str, Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]] = {
    "l1": lambda weight, _: weight.abs(),
    "l2": lambda weight, _: weight**2,
    "bn": lambda weight, _: weight.abs(),  # of normalisation's scales alone
    "taylor": lambda weight, gradient: (weight * _given(gradient)).abs(),
}
# All blocks of a stage build on its residual stream, and in a narrow network a step of its width is half of it: where
# the inside of a block is as important, that goes first.
_STREAM = 1.2


def scores(network: nn.Module, cuttable: Cuttable, how: str) -> list[np.ndarray]:
    """Return one array for each pool, with one number for each unit. A pool's mean is 1, a residual stream's somewhat
    more. All is alike in pools that may not be pruned. `taylor` needs gradients.
    """
    modules = dict(network.named_modules())
    return [_scores(pool, modules, how) if pool.may_be_cut else np.ones(pool.units) for pool in cuttable.pools]


def _scores(pool: Pool, modules: Mapping[str, nn.Module], how: str) -> np.ndarray:
    values = _of_pool(pool, modules, how)
    return (_STREAM if _is_stream(pool, modules) else 1.0) * values / (values.mean() or 1.0)


def _is_stream(pool: Pool, modules: Mapping[str, nn.Module]) -> bool:
    """Return whether several convolutions add their answers there; a grouped one only passes its channels on."""
    layers = (modules[place.layer] for place in pool.places if place.side == "out")
    return sum(isinstance(layer, nn.Conv2d) and layer.groups == 1 for layer in layers) > 1


def _of_pool(pool: Pool, modules: Mapping[str, nn.Module], how: str) -> np.ndarray:
    values = [
        per_channel[rows].sum(1)
        for place, rows in pool.places.items()
        if (per_channel := _per_channel(modules[place.layer], place, how)) is not None
    ]
    if not values:
        problem = "has no normalisation layers that show the importance of channels"
        raise ModelError(pool.title, problem, hint="use l1, l2 or taylor")
    return np.mean(values, axis=0)


def _per_channel(module: nn.Module, place: Place, how: str) -> np.ndarray | None:
    is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
    if how == "bn" and not is_norm:
        return None
    if place.side == "in" and getattr(module, "groups", 1) > 1:  # its groups are counted as outputs
        return None
    if module.weight is None:  # a normalisation without a scale
        return None
    weight: torch.Tensor = module.weight  # type: ignore[assignment]
    worth = _WORTH[how](weight.detach(), weight.grad)
    other = [axis for axis in range(worth.ndim) if axis != (1 if place.side == "in" else 0)]
    return (worth.sum(other) if other else worth).double().cpu().numpy()


def _given(gradient: torch.Tensor | None) -> torch.Tensor:
    assert gradient is not None, "taylor needs gradients"
    return gradient
