"""The `edgeresnet.*` entries of our ONNX files, which describe the network: written and read here only.

Reading needs no onnx: the entries are those of `portable.onnx_file`. Unknown values are not written, so that equal
networks stay equal files. Knows no recipe and no artifact; digests come in as text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from ..errors import ModelError, quoted
from ..portable import codec
from ..portable.documents import Unreadable, parse_json
from ..portable.preprocessing import Preprocessing
from ..portable.session import Dialect

if TYPE_CHECKING:
    import onnx

_PREFIX = "edgeresnet."
FLOAT_NCHW = "float32 NCHW"  # the input of a network without such an entry
CELLS = "cells"
_HINT = "export the file again: its metadata was changed after edgeresnet wrote it"


@dataclass(frozen=True)
class About:
    """What a file says about its network."""

    classes: tuple[str, ...] = ()  # the labels, one per logit
    preprocessing: Preprocessing | None = None
    input: str = FLOAT_NCHW  # or "uint8 NHWC", "uint8 NCHW": preprocessing's arithmetic is inside then
    dialect: Dialect | None = None  # of an INT8 network: the compiler that it is written for
    largest_weight: int | None = None  # of an INT8 network: 127, or less for CPUs that saturate
    parents: Mapping[str, str] = field(default_factory=dict)  # what it was made from, by digest
    version: str | None = None  # the edgeresnet that wrote it
    answers: str = ""  # CELLS: it has a row for each cell, as the first of two stages does


def write(model: onnx.ModelProto, about: About) -> None:
    """Write our entries in place of those that are there; other tools' entries stay."""
    clear(model)
    for key, value in sorted(_entries(about).items()):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value


def clear(model: onnx.ModelProto) -> None:
    """Remove our entries."""
    for entry in [entry for entry in model.metadata_props if entry.key.startswith(_PREFIX)]:
        model.metadata_props.remove(entry)


def of(model: onnx.ModelProto) -> About:
    """Return what a model's entries say."""
    return read({entry.key: entry.value for entry in model.metadata_props})


def read(metadata: Mapping[str, str]) -> About:
    """Return what entries say; pass over those that this version does not know: a newer one wrote them."""
    known = [each.name for each in fields(About) if _PREFIX + each.name in metadata]
    stored = {key: _value(metadata, key) for key in known}
    dialect = stored.get("dialect")
    if isinstance(dialect, dict):
        stored["dialect"] = {each.name: dialect[each.name] for each in fields(Dialect) if each.name in dialect}
    try:
        return codec.decode(About, stored)
    except codec.CodecError as problem:
        raise ModelError("the ONNX file's metadata", f"is not valid: {problem}", hint=_HINT) from problem


def entry(metadata: Mapping[str, str], key: str) -> object | None:
    """Return one entry's JSON, unchecked; None where it is missing or not JSON."""
    try:
        return _value(metadata, key)
    except (KeyError, ModelError):
        return None


def _entries(about: About) -> dict[str, str]:
    stored = codec.encode(about)
    if about.preprocessing:
        stored["preprocessing"] = about.preprocessing.to_json()
    if about.input == FLOAT_NCHW:
        del stored["input"]
    return {_PREFIX + key: json.dumps(value, ensure_ascii=False) for key, value in stored.items() if value}


def _value(metadata: Mapping[str, str], key: str) -> object:
    text = metadata[_PREFIX + key]
    try:
        return parse_json(text)
    except Unreadable as problem:
        words = f"{problem}: {quoted(text, 40)}"
        raise ModelError(f"the ONNX file's entry {_PREFIX}{key}", words, hint=_HINT) from problem
