"""What a pickle that would run code holds, in outline: enough to write down the line that saves its weights.

Every unknown name becomes a stand-in that does nothing. So none of the file's code runs here either.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from . import unwrap
from .pickles import Code, Note, Reader, Tensor

_DEEPEST = 3  # dictionaries in one another
_MOST = 1000  # values that are looked at
_MODULE = {"_parameters", "_modules"}  # what the state of every torch.nn.Module has


class StandIn(Note):
    """Stands for an object of an unknown class."""

    is_module = False

    def __setstate__(self, state: Any) -> None:
        self.is_module = isinstance(state, dict) and state.keys() >= _MODULE

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        pass

    def extend(self, values: Any) -> None:
        pass

    def add(self, value: Any) -> None:
        pass


class Outline(Reader):
    """Reads a pickle with stand-ins for all that `Reader` refuses."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch.storage", "_load_from_bytes"):  # a tensor that pickle itself saved
            return _storage
        try:
            return super().find_class(module, name)
        except Code:
            return StandIn

    def persistent_load(self, pid: Any) -> Any:
        if isinstance(pid, tuple) and pid[:1] == ("module",):  # how torch before 1.6 saved a class, with its source
            return StandIn
        return super().persistent_load(pid)


def is_network(held: Any) -> bool:
    """Return whether what was saved is an object of torch.nn.Module."""
    return isinstance(held, StandIn) and held.is_module


def saved(held: Any, loaded: str) -> str:
    """Return the expression of Python for the weights in `loaded`, as an expression too; empty where none is seen."""
    if is_network(held):
        return f"{loaded}.state_dict()"
    if _has_tensors(held):
        plain = all(isinstance(value, Tensor) for value in held.values())
        return loaded if plain else f"{{k: v for k, v in {loaded}.items() if torch.is_tensor(v)}}"
    known = dict(itertools.islice(_inside(held, unwrap.KEYS), _MOST))
    for key, value in known.items():
        if _has_tensors(value):
            return f"{loaded}{key}"
    for key, value in [*known.items(), *itertools.islice(_inside(held), _MOST)]:
        if is_network(value):
            return f"{loaded}{key}.state_dict()"
    return ""


def _has_tensors(held: Any) -> bool:
    return isinstance(held, Mapping) and any(isinstance(value, Tensor) for value in held.values())


def _inside(held: Any, keys: tuple[str, ...] = (), depth: int = _DEEPEST) -> Iterator[tuple[str, Any]]:
    """Yield what lies in dictionaries, under these keys or any, with the subscripts that lead there."""
    if not isinstance(held, Mapping) or not depth:
        return
    chosen = keys or [key for key in held if isinstance(key, str) and key.isidentifier() and len(key) < 40]
    there = [(f"['{key}']", held[key]) for key in chosen if key in held]
    yield from there
    for key, value in there:
        yield from ((key + deeper, each) for deeper, each in _inside(value, keys, depth - 1))


def _storage(_: Any) -> str:
    return "Float"
