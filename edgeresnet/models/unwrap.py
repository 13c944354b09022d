"""A network's tensors out of what training scripts save around them. Knows no format and no library.

Checkpoints are nested (`state_dict`, `model`, `ema`), and wrappers put their own names before every key: DataParallel
and DDP `module.`, torch.compile `_orig_mod.`, Lightning the attribute that held the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

# In this order: the weights themselves before an average of them.
NESTED = ("state_dict", "model_state_dict", "model", "net", "network", "ema", "state_dict_ema")
_WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "network.", "ema.")


def tensors(held: Any, is_tensor: Callable[[Any], bool]) -> dict[str, Any]:
    """The innermost mapping of names to tensors, without wrappers' prefixes; empty where there is none."""
    while isinstance(held, Mapping):
        inner = next((held[key] for key in NESTED if isinstance(held.get(key), Mapping)), None)
        if inner is None or any(is_tensor(value) for value in held.values()):
            return without_prefixes({str(key): value for key, value in held.items() if is_tensor(value)})
        held = inner
    return {}


def without_prefixes(named: Mapping[str, T]) -> dict[str, T]:
    """Wrappers may be wrapped again: taken off as long as every name bears one."""
    found = dict(named)
    while True:
        common = next((each for each in _WRAPPERS if found and all(key.startswith(each) for key in found)), None)
        if common is None:
            return found
        found = {key.removeprefix(common): value for key, value in found.items()}
