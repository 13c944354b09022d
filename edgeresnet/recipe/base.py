"""What every section of a recipe has: it refuses unknown keys and is frozen. With the types that sections share."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from ..errors import quoted

ONNX = r"\.[oO][nN][nN][xX]$"
FACTORY = r"([A-Za-z_][\w.]*|.+\.py):([A-Za-z_]\w*)"
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")  # a number, but to YAML only with a point and a sign


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    newer: ClassVar[tuple[str, ...]] = ()  # keys that came later: digests of recipes without them stay what they were

    @model_serializer(mode="wrap")
    def _without_newer(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        unset = {key for key in self.newer if getattr(self, key) == type(self).model_fields[key].default}
        return {key: value for key, value in written(self).items() if key not in unset}


def is_onnx(path: str | None) -> bool:
    return path is not None and re.search(ONNX, path) is not None


def module_of_factory(arch: str) -> tuple[str, str] | None:
    """Return the two halves of `my.module:make` or of `path/model.py:make`; None for a name of ours."""
    found = re.fullmatch(FACTORY, arch)
    return (found[1], found[2]) if found else None


def _compiles(expression: str) -> str:
    try:
        re.compile(expression)
    except re.error as problem:
        raise ValueError(f"{expression!r} is not a regular expression: {problem}") from problem
    return expression


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _argument(value: Any) -> Any:
    if not isinstance(value, bool | int | float | str):
        raise ValueError("must be a number, a text, true or false")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


def _named(arguments: Any) -> Any:
    wrong = [name for name in arguments if not str(name).isidentifier()] if isinstance(arguments, dict) else []
    if wrong:
        raise ValueError(f"{quoted(wrong[0], 40)} cannot be the name of an argument")
    return arguments


Argument: TypeAlias = bool | int | float | str  # of a factory
Arguments = Annotated[
    dict[str, Annotated[Argument, BeforeValidator(_argument, json_schema_input_type=Argument)]], BeforeValidator(_named)
]
Expression = Annotated[str, AfterValidator(_compiles)]
Expressions = Annotated[tuple[Expression, ...], BeforeValidator(_listed, json_schema_input_type=str | tuple[str, ...])]
