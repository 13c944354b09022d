"""What our ONNX files say of themselves: the one home of every `edgeresnet.*` entry, written and read.

Reading needs no onnx: the entries are those of `device.onnx_file`. What is not known is not written, so that equal
networks stay equal files. Knows no recipe and no artifact; digests come in as text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from ..portable.preprocessing import Preprocessing

if TYPE_CHECKING:
    import onnx

_PREFIX = "edgeresnet."
FLOAT_NCHW = "float32 NCHW"  # the input of every network that says nothing else


@dataclass(frozen=True)
class About:
    classes: tuple[str, ...] = ()  # the labels, one per logit
    preprocessing: Preprocessing | None = None
    input: str = FLOAT_NCHW  # or "uint8 NHWC", "uint8 NCHW": preprocessing's arithmetic is inside then
    dialect: Mapping[str, Any] = field(default_factory=dict)  # of an INT8 network: the compiler it is written for
    largest_weight: int | None = None  # of an INT8 network: 127, or less for CPUs that saturate
    parents: Mapping[str, str] = field(default_factory=dict)  # what it was made from, by digest
    version: str | None = None  # the edgeresnet that wrote it


def write(model: onnx.ModelProto, about: About) -> None:
    """In place of what the model said before; other tools' entries stay."""
    clear(model)
    for key, value in sorted(_entries(about).items()):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value


def clear(model: onnx.ModelProto) -> None:
    for entry in [entry for entry in model.metadata_props if entry.key.startswith(_PREFIX)]:
        model.metadata_props.remove(entry)


def of(model: onnx.ModelProto) -> About:
    return read({entry.key: entry.value for entry in model.metadata_props})


def read(metadata: Mapping[str, str]) -> About:
    """Entries that this version does not know are passed over: a newer one wrote them."""
    known = [field.name for field in fields(About) if _PREFIX + field.name in metadata]
    said = {key: _value(metadata, key) for key in known}
    try:
        if "preprocessing" in said:
            said["preprocessing"] = Preprocessing.from_json(said["preprocessing"])
        if "classes" in said:
            said["classes"] = tuple(said["classes"])
    except (TypeError, KeyError, ValueError, AttributeError) as problem:
        raise ModelError(
            f"the ONNX file's own words on its images or classes make no sense: {problem}",
            hint="write the file again; its entries were changed by hand or by another tool",
        ) from problem
    return About(**said)


def entry(metadata: Mapping[str, str], key: str) -> Any | None:
    """One entry as it stands, unchecked; None where it is not there or is no JSON."""
    try:
        return _value(metadata, key)
    except (KeyError, ModelError):
        return None


def _entries(about: About) -> dict[str, str]:
    said: dict[str, Any] = {field.name: getattr(about, field.name) for field in fields(about)}
    if about.preprocessing:
        said["preprocessing"] = about.preprocessing.to_json()
    if about.input == FLOAT_NCHW:
        del said["input"]
    return {_PREFIX + key: json.dumps(value, ensure_ascii=False) for key, value in said.items() if value}


def _value(metadata: Mapping[str, str], key: str) -> Any:
    text = metadata[_PREFIX + key]
    try:
        return json.loads(text)
    except ValueError as problem:
        raise ModelError(
            f"the ONNX file's entry {_PREFIX}{key} is no JSON: {text[:60]!r}",
            hint="write the file again; its entries were changed by hand or by another tool",
        ) from problem
