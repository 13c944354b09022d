"""The keys of a SWEEP.yaml and their limits, as frozen models. Reads no file."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, model_validator

from ..recipe import problems
from ..recipe.base import Section


class Range(Section):
    """Numbers from low to high. They are integers where low, high and step are."""

    low: int | float = Field(description="Smallest value.")
    high: int | float = Field(description="Largest value.")
    step: int | float | None = Field(None, gt=0, description="Distance between values. Unset: any number between.")
    log: bool = Field(False, description="Whether values are spread by their logarithm: as many below 0.01 as above.")

    @model_validator(mode="after")
    def _fits(self) -> Range:
        if self.low >= self.high:
            raise ValueError("low must be less than high")
        if self.log and self.low <= 0:
            raise ValueError("log needs a low above 0")
        if self.log and self.step is not None:
            raise ValueError("log and step cannot be combined: remove one of them")
        if self.step is not None:
            count = (self.high - self.low) / self.step
            if abs(count - round(count)) > 1e-6:
                last = self.low + math.floor(count) * self.step
                raise ValueError(f"high is not a number of steps from low: write {last:.10g}")
        return self

    @property
    def is_integer(self) -> bool:
        """Whether all values are integers."""
        return all(isinstance(each, int) for each in (self.low, self.high, self.step or 1))

    @property
    def values(self) -> tuple[int | float, ...] | None:
        """Every value; None where there is any number of them."""
        step = self.step or (1 if self.is_integer else None)
        if step is None:
            return None
        return tuple(self.rounded(self.low + index * step) for index in range(round((self.high - self.low) / step) + 1))

    def rounded(self, value: float) -> int | float:
        """Return a value as a person writes it: 0.7, and not 0.7000000000000001; six digits where there is no step."""
        if self.is_integer:
            return round(value)
        return min(max(float(f"{value:.{12 if self.step else 6}g}"), float(self.low)), float(self.high))


Axis = Range | tuple[Any, ...]


class SweepKeys(Section):
    """What a SWEEP.yaml holds."""

    version: Literal[1] = Field(description="Version of the format.")
    recipe: str | dict[str, Any] = Field(description="The recipe: a file next to this one, or the recipe itself.")
    space: dict[str, Any] = Field(
        min_length=1,
        description="Keys of the recipe, as in `prune.macs`: each with a list of values, or with `low` and `high`.",
    )
    objectives: tuple[str, ...] = Field(
        min_length=1, description="What is to be best, as in `max top1 openvino` and `min p50 openvino`."
    )
    trials: int = Field(40, ge=1, le=100_000, description="Number of points that are tried.")
    minutes: float | None = Field(None, gt=0, description="Minutes after which no trial begins. Unset: no limit.")
    seed: int = Field(0, ge=0, description="Seed of the proposals.")
    storage: str | None = Field(
        None,
        description="URL of a database for the study, as in postgresql://user@host/name. Unset: a file in the store.",
    )


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a SWEEP.yaml. The recipe in it may be a recipe's schema."""
    found = SweepKeys.model_json_schema(by_alias=True)
    recipe, axis = problems.schema(), Range.model_json_schema()
    definitions = {**found.get("$defs", {}), **recipe.pop("$defs", {})}
    for name in ("$schema", "title"):
        recipe.pop(name, None)
    recipe.pop("required", None)  # the space may give what the recipe leaves out
    properties = found["properties"]
    properties["recipe"] = {"description": properties["recipe"]["description"], "anyOf": [{"type": "string"}, recipe]}
    listed = {"type": "array", "minItems": 1, "uniqueItems": True}
    properties["space"]["additionalProperties"] = {"anyOf": [listed, axis]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **found,
        "title": "edgeresnet sweep",
        **({"$defs": definitions} if definitions else {}),
    }
