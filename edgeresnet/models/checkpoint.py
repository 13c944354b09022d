"""Weights in and out of files, without ever running code that a file brings.

Reads `.pt .pth .th .ckpt` through torch's weights-only unpickler, `.pt2` and `.safetensors`; writes safetensors.
"""

from __future__ import annotations

import io
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import nn

from ..errors import ModelError, foreign, listed, shortened
from ..portable.documents import shown
from ..store import Given, Parent, write_bytes
from . import (
    NetworkSpec,
    build,
    exported,
    hub,
    parts,
    pickles,
    plans,
    pyramids,
    segmenters,
    shapes,
    sharded,
    structure,
    unwrap,
    widths,
)
from .unwrap import Weights

FILE = "weights.safetensors"
_Words = Mapping[str, str]  # word → name
_KINDS = {  # torch's words of exported networks
    "Byte": torch.uint8, "Char": torch.int8, "Short": torch.int16, "Int": torch.int32, "Long": torch.int64,
    "Half": torch.float16, "BFloat16": torch.bfloat16, "Float": torch.float32, "Double": torch.float64,
    "Bool": torch.bool,
}  # fmt: skip
_ROOM = 60  # characters for the names of keys


def of(parent: Parent) -> Path | Weights:
    """Return the weights that were given, or that an artifact holds."""
    if not isinstance(parent, Given):
        return parent.path / FILE
    assert isinstance(parent.value, (Path, Weights)), parent.value
    return parent.value


def network_of(parent: Parent, spec: NetworkSpec) -> nn.Module:
    """Build the network of a step's spec, with these weights."""
    assert spec.arch is not None  # an ONNX file is not a checkpoint
    network = build(spec.arch, spec.classes, spec.channels, spec.arguments)
    load_into(network, of(parent), spec.arch)
    return network.eval()


def load_into(network: nn.Module, given: Path | Weights, arch: str, but: str | None = None) -> None:
    """Fill a network from a file, except for the keys that begin with `but`. Name each key that does not fit.

    Pruned weights make the network as narrow as they are, also where they do not fill it.
    """
    path = Path(given)
    own = _shapes(network.state_dict())
    stored = read(given)
    named = {pyramids.current(name): value for name, value in stored.items()}
    weights = _renamed(_without_second_head(named, own), network.state_dict())
    held = _shapes(weights)
    if but is not None:
        held |= {key: (*own[key][:1], *held[key][1:]) for key in own if key.startswith(but) and key in held}
        weights = {key: value for key, value in weights.items() if not key.startswith(but)}
    if plans.is_narrower(own, held):
        first = {key: value for key, value in network.state_dict().items() if key == f"{but}bias"}
        widths.narrow(network, held)
        if but is not None and own.get(f"{but}weight") != held.get(f"{but}weight"):  # it has no numbers yet
            network.get_submodule(but.removesuffix(".")).reset_parameters()  # type: ignore[operator]
            network.load_state_dict(first, strict=False)  # a detector begins with few objects
    wanted = {key: value for key, value in network.state_dict().items() if but is None or not key.startswith(but)}
    missing = [key for key in wanted if key not in weights and not key.endswith(plans.COUNTER)]
    unexpected = [key for key in weights if key not in wanted]
    misshaped = [
        f"{key} is {tuple(weights[key].shape)} and should be {tuple(wanted[key].shape)}"
        for key in wanted
        if key in weights and weights[key].shape != wanted[key].shape
    ]
    if missing or unexpected or misshaped:
        found = (("missing", missing), ("unexpected", unexpected), ("of another shape", misshaped))
        lists = [_some(title, keys) for title, keys in found if keys]
        hint = _what_to_change(wanted, weights, missing, unexpected)
        raise ModelError(shown(path), f"does not fit {arch}: {'; '.join(lists)}", hint=hint)
    for key, value in weights.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ModelError(shown(path), f"has NaN or infinity in {key}", hint="use an earlier checkpoint")
        if key.endswith("running_var") and bool((value < 0).any()):
            hint = "its tensors may be in another order, or the file is damaged"
            raise ModelError(shown(path), f"has a negative variance in {key}", hint=hint)
    network.load_state_dict(weights, strict=False)
    for module in network.modules() if pyramids.adds_nothing_to_variances(stored) else ():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0


def _without_second_head(weights: dict[str, torch.Tensor], own: Mapping[str, object]) -> dict[str, torch.Tensor]:
    """Leave out torchvision's auxiliary head, where the network has none."""
    if any(name.startswith(segmenters.AUXILIARY) for name in own):
        return weights
    return {name: weights[name] for name in segmenters.without_auxiliary(weights)}


def read(given: Path | Weights) -> dict[str, torch.Tensor]:
    """Return the tensors of a checkpoint, without the dictionaries and prefixes that training scripts add."""
    path, which = hub.weights_of(Path(given)), getattr(given, "which", "")
    shapes.look(path)  # other files, and those that would run code, are refused before torch looks at them
    held = sharded.together(path, _saved) if sharded.is_index(path) else _saved(path)
    found = unwrap.networks(held, torch.is_tensor)
    if which and which not in found:
        raise ModelError(shown(path), "does not hold averaged weights", hint="leave out `model.weights`")
    return found[which or unwrap.MODEL]


def _saved(path: Path) -> Any:
    """Return what one file holds."""
    if path.suffix == ".safetensors":
        return _safetensors(path)
    with foreign(lambda reason: shapes.broken(path, reason), memory=True):
        if not zipfile.is_zipfile(path):
            return unpickle(path)
        with zipfile.ZipFile(path) as archive:
            program = exported.program_of(path, archive)
            if program and not program.saved:
                return _exported(program, archive)
            return unpickle(path, io.BytesIO(archive.read(program.saved)) if program else None)


def _exported(program: exported.Program, archive: zipfile.ZipFile) -> dict[str, torch.Tensor]:
    """Return the tensors of a network from torch.export."""
    numbers = {name: bytearray(archive.read(name)) for name in {each.member for each in program.tensors.values()}}
    found = {}
    for name, each in program.tensors.items():
        data, kind = numbers[each.member], _KINDS[each.kind]
        flat = torch.frombuffer(data, dtype=kind) if data else torch.empty(0, dtype=kind)
        found[name] = flat.as_strided(each.shape, each.strides, each.offset).contiguous()
    return found


def _renamed(weights: dict[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights under the network's names: the names as they are, without wrappers, in torchvision's words, or
    by shapes and order, whichever match the most of them.
    """
    pairs: list[tuple[_Words, _Words]] = [
        (in_words(weights), in_words(wanted)) for in_words in (_as_they_are, _without_wrappers, _as_torchvision)
    ]
    if not any(theirs.keys() >= {word for word in ours if not word.endswith(plans.COUNTER)} for theirs, ours in pairs):
        for reading in structure.readings(_shapes(weights)):
            read, weights = _as_read(reading, weights)
            pairs += [(read, in_words(wanted)) for in_words in (_as_they_are, _as_torchvision, _unpooled)]
    theirs, ours = max(pairs, key=lambda pair: _matches(weights, pair[0], wanted, pair[1]))
    found = {ours.get(word, name): weights[name] for word, name in theirs.items()}
    return {name: _like(wanted[name], value) if name in wanted else value for name, value in found.items()}


def _as_read(reading: structure.Reading, weights: dict[str, torch.Tensor]) -> tuple[_Words, dict[str, torch.Tensor]]:
    """Return the file's names by torchvision's words; and the weights, with zeros where the classifier has no bias."""
    theirs = {word: name for name, word in reading.words.items()}
    if reading.biased or parts.bodies(_shapes(weights)):
        return theirs, weights
    head, bias = weights[theirs[structure.HEAD_WEIGHT]], structure.HEAD_BIAS
    return {**theirs, bias: bias}, {**weights, bias: head.new_zeros(len(head))}


def _like(wanted: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Return a matrix as a convolution of 1×1, or the other way round, where the network has that."""
    one, other = sorted((wanted.shape, value.shape), key=len)
    return value.reshape(wanted.shape) if other == (*one, 1, 1) else value


def _matches(
    weights: Mapping[str, torch.Tensor], theirs: _Words, wanted: Mapping[str, torch.Tensor], ours: _Words
) -> tuple[int, int]:
    """Return how many words match, and how many of these in shape: the shapes of pruned weights differ."""
    common = {word for word in theirs.keys() & ours.keys() if not word.endswith(plans.COUNTER)}
    return len(common), sum(weights[theirs[word]].shape == wanted[ours[word]].shape for word in common)


def _shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in tensors.items()}


# Each gives word → name.


def _as_they_are(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    return {name: name for name in tensors}


def _without_wrappers(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    return unwrap.without_prefixes(_as_they_are(tensors))


def _as_torchvision(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    found = parts.of({name: tuple(value.shape) for name, value in tensors.items()})
    return {found.words.get(name, name) if found else name: name for name in tensors}


def _unpooled(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Return torchvision's words, with shortcuts numbered as if nothing averaged before their convolution."""
    for_one_less = {".downsample.1.": ".downsample.0.", ".downsample.2.": ".downsample.1."}
    found = {}
    for word, name in _as_torchvision(tensors).items():
        part = next((part for part in for_one_less if part in word), "")
        found[word.replace(part, for_one_less[part]) if part else word] = name
    return found


def unpickle(path: Path, inside: IO[bytes] | None = None) -> Any:
    """Read what torch saved, as long as it is tensors and plain values. No code of a file runs.

    `inside` is what to read where the file is an archive around it.
    """
    try:
        with (
            foreign(lambda reason: shapes.broken(path, reason), but=(pickle.UnpicklingError,), memory=True),
            warnings.catch_warnings(),
            torch.serialization.safe_globals([(pickles.Note, name) for name in pickles.NOTES]),
        ):
            warnings.simplefilter("ignore")
            return torch.load(inside or path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as problem:
        named = re.search(r"GLOBAL ([\w.]+)|class (?:\S+ )?([\w.]+\.[\w.]+)", str(problem))
        if not named:
            raise shapes.broken(path, "it is not in the format of torch.save") from problem
        raise ModelError(
            shown(path),
            f"holds more than weights ({shortened(named[1] or named[2], 60)}), and loading it would run code",
            hint="save `model.state_dict()` in the program that trained it",
        ) from problem


def _safetensors(path: Path) -> dict[str, torch.Tensor]:
    with foreign(lambda reason: shapes.broken(path, reason)):
        return load_safetensors(path.read_bytes())


def write(network: nn.Module, path: Path, about: Mapping[str, object]) -> None:
    """Write a network's weights, with what is known about them as metadata."""
    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    write_bytes(path, save_safetensors(tensors, {key: str(value) for key, value in about.items()}))


def _what_to_change(
    wanted: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor], missing: list[str], unexpected: list[str]
) -> str:
    last = list(wanted)[-1]  # the classifier's bias
    if not missing and not unexpected and weights[last].shape != wanted[last].shape:
        return f"these weights have {len(weights[last])} classes: set `model.classes`, or train with --head new"
    return "name the architecture, classes and channels that these weights were trained with"


def _some(title: str, keys: list[str]) -> str:
    return f"{len(keys)} {title}: {listed(keys, _ROOM)}"
