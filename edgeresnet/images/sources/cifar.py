"""CIFAR-10 as its makers publish it and torchvision stores it: pickles, of which only arrays and words are read, and no
code runs. Only fetching it needs torchvision.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ImagesError
from .arrays import Arrays

FOLDER = "cifar-10-batches-py"
_MD5 = {  # as published
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
}
_TRAINING = tuple(f"data_batch_{number}" for number in range(1, 6))
_LAYOUT = (3, 32, 32)
# What unpickling raises over a file that is damaged or not a pickle.
_BROKEN = (
    pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, MemoryError
)  # fmt: skip


def cifar10(root: Path, *, train: bool, download: bool) -> Arrays:
    """Read CIFAR-10 below `root`, and fetch it first where it is missing and that is allowed."""
    names = (*(_TRAINING if train else ("test_batch",)), "batches.meta")
    try:
        *batches, meta = (_read(root, name) for name in names)
    except ImagesError:
        if not download:
            raise
        _fetch(root)
        *batches, meta = (_read(root, name) for name in names)
    try:
        pixels = np.concatenate([np.asarray(batch["data"], np.uint8).reshape(-1, *_LAYOUT) for batch in batches])
        labels = np.concatenate([np.asarray(batch["labels"], np.int64) for batch in batches])
        classes = [str(word) for word in meta["label_names"]]
        if len(labels) != len(pixels) or not set(labels.tolist()) <= set(range(len(classes))):
            raise ValueError("its labels do not match its images")
    except (KeyError, TypeError, ValueError) as problem:
        raise _unreadable(root / FOLDER, problem) from problem
    return Arrays("cifar10", np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)), labels, classes)


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _fetch(root: Path) -> None:
    from torchvision import datasets

    try:
        datasets.CIFAR10(str(root), download=True)
    except (RuntimeError, OSError) as problem:
        raise _absent(root, problem) from problem


def _read(root: Path, name: str) -> Mapping[str, Any]:
    path = root / FOLDER / name
    try:
        content = path.read_bytes()
        if _MD5.get(name) not in (None, _md5(content)):
            raise _unreadable(path, "its bytes differ")
        held = _ArraysAlone(io.BytesIO(content), encoding="latin1").load()
    except OSError as problem:
        raise _absent(root, f"{FOLDER}/{name} does not exist") from problem
    except _BROKEN as problem:
        raise _unreadable(path, problem) from problem
    if not isinstance(held, dict):
        raise _unreadable(path, f"it holds a {type(held).__name__}")
    return {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in held.items()}


def _absent(root: Path, problem: object) -> ImagesError:
    hint = f"put {FOLDER} there, or write `{{from: cifar10, root: DIR, download: true}}`"
    return ImagesError("CIFAR-10", f"is not in {root}: {problem}", hint=hint)


def _unreadable(path: Path, problem: object) -> ImagesError:
    return ImagesError(str(path), f"is not CIFAR-10 as it is published: {problem}", hint="fetch it again")


_KNOWN = {
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    "numpy.core.multiarray._reconstruct": np.ndarray.__new__,
    "numpy._core.multiarray._reconstruct": np.ndarray.__new__,
    "_codecs.encode": lambda text, _: text.encode("latin1"),  # how Python 3 writes bytes for Python 2
}


class _ArraysAlone(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (known := _KNOWN.get(f"{module}.{name}")) is None:
            raise pickle.UnpicklingError(f"it needs {module}.{name}, which edgeresnet does not run")
        return known
