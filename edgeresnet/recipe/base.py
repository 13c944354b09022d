"""What every section of a recipe has: it refuses unknown keys and is frozen. With the types that sections share."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

ONNX = r"\.[oO][nN][nN][xX]$"


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def is_onnx(path: str | None) -> bool:
    return path is not None and re.search(ONNX, path) is not None


def _compiles(expression: str) -> str:
    try:
        re.compile(expression)
    except re.error as problem:
        raise ValueError(f"{expression!r} is not a regular expression: {problem}") from problem
    return expression


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Expression = Annotated[str, AfterValidator(_compiles)]
Expressions = Annotated[tuple[Expression, ...], BeforeValidator(_listed, json_schema_input_type=str | tuple[str, ...])]
