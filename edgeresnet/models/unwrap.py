"""A network's tensors, taken out of what training scripts save around them. Knows no format and no library.

Checkpoints are nested (`state_dict`, `model`, `ema`), and wrappers put their own names before every key: DataParallel
and DDP `module.`, torch.compile `_orig_mod.`, Lightning the attribute that held the network. An average of the weights
(EMA) may lie next to them: it is another network, and which of the two is meant is not decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
IsTensor: TypeAlias = Callable[[Any], bool]
Networks: TypeAlias = dict[str, dict[str, Any]]  # name → the tensors, of whatever type the caller's format has
_Seen: TypeAlias = dict[int, "Networks | None"]  # by identity; None: it is being looked into

MODEL, AVERAGE = "model", "ema"
_NESTED = ("state_dict", "model_state_dict", "model", "net", "network", "params")
_AVERAGES = ("ema", "state_dict_ema", "model_ema", "ema_model", "ema_state_dict", "params_ema")
KEYS = (*_NESTED, *_AVERAGES)  # under which weights lie
_AVERAGED = tuple(f"{name}." for name in _AVERAGES)  # as a second network among a script's tensors
_WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "network.", *_AVERAGED)
_LOSSES = ("criterion.", "loss.", "loss_fn.")  # a Lightning module's: its class weights have no part in any answer
_COUNT = "n_averaged"  # what torch's AveragedModel puts next to its network's tensors


@dataclass(frozen=True)
class Weights:
    """A file and which of the networks in it is meant; empty: not given."""

    path: Path
    which: str = ""

    def __fspath__(self) -> str:
        return str(self.path)


def networks(held: Any, is_tensor: IsTensor) -> Networks:
    """Return the innermost mappings of names to tensors, without wrappers' prefixes: the `model`, and any `ema`."""
    return _networks(held, is_tensor, {})


def _networks(held: Any, is_tensor: IsTensor, seen: _Seen) -> Networks:
    """Return the same; each mapping is looked into once, in however many places it lies."""
    if not isinstance(held, Mapping):
        return {}
    if id(held) not in seen:
        seen[id(held)] = None
        seen[id(held)] = _looked_into(held, is_tensor, seen)
    found = seen[id(held)]
    if found is None:
        raise ValueError("it holds a dictionary that holds itself")
    return found


def _looked_into(held: Mapping[Any, Any], is_tensor: IsTensor, seen: _Seen) -> Networks:
    found, average = _inside(held, _NESTED, is_tensor, seen), _inside(held, _AVERAGES, is_tensor, seen)
    if found or average:  # other tensors there are not weights: PyTorch's own example saves its best accuracy as one
        second = {AVERAGE: average[MODEL]} if found and average else {}
        return {**second, **(found or average)}
    words = {str(key): value for key, value in held.items() if isinstance(key, str | int) and is_tensor(value)}
    if not words and len(inside := _with_convolutions(held, is_tensor)) == 1:  # under a word that only its maker knows
        return _networks(inside[0], is_tensor, seen)
    named = {key: value for key, value in words.items() if not key.startswith(_LOSSES)}
    averaged = {key: value for key, value in named.items() if key.startswith(_AVERAGED)}
    if averaged and len(averaged) < len(named):
        plain = {key: value for key, value in named.items() if key not in averaged}
        return {MODEL: without_prefixes(plain), AVERAGE: without_prefixes(averaged)}
    return {MODEL: without_prefixes(named)} if named else {}


def _with_convolutions(held: Mapping[Any, Any], is_tensor: IsTensor) -> list[Mapping[Any, Any]]:
    """Return the dictionaries in this one that hold a tensor with four sides by its name."""
    inside = [value for value in held.values() if isinstance(value, Mapping)]
    return [each for each in inside if any(is_tensor(value) and len(value.shape) == 4 for value in each.values())]


def architecture(held: Any) -> str:
    """Return the architecture that a training script saved, as timm's and PyTorch's own do; empty where it did not."""
    named = held.get("arch") if isinstance(held, Mapping) else None
    return named if isinstance(named, str) else ""


def without_prefixes(named: Mapping[str, T]) -> dict[str, T]:
    """Remove prefixes as long as every name has the same: wrappers may be wrapped again."""
    found = dict(named)
    while True:
        found.pop(_COUNT, None)
        common = next((each for each in _WRAPPERS if found and all(key.startswith(each) for key in found)), None)
        if common is None:
            return found
        found = {key.removeprefix(common): value for key, value in found.items()}


def _inside(held: Mapping[Any, Any], keys: tuple[str, ...], is_tensor: IsTensor, seen: _Seen) -> Networks:
    """Return what lies under the first of these keys that holds tensors."""
    return next(filter(None, (_networks(held.get(key), is_tensor, seen) for key in keys)), {})
