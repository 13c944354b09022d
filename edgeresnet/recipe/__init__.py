"""A recipe: what shall be done, as frozen models. YAML in, every wrong key out at once, a digest of what was meant.

Knows the words and their limits; reads no images, no weights, and imports no runtime.
"""

from __future__ import annotations

import difflib
import importlib.util
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from . import targets as _targets
from .device import manifest
from .device.preprocessing import Preprocessing
from .errors import RecipeError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


_ONNX = r"\.[oO][nN][nN][xX]$"
_WHERE, HERE, BUNDLE = "where", "here", "bundle"  # a key that every target has, beside its own options


class Model(_Section):
    """The network: weights with an architecture by name, or with `my.module:make`, a function in user code that returns
    one; or an ONNX file, which holds both.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["arch"], "properties": {"arch": {"type": "string"}}},
                {"required": ["checkpoint"], "properties": {"checkpoint": {"type": "string", "pattern": _ONNX}}},
            ]
        }
    )

    checkpoint: str | None = None
    arch: str | None = Field(None, validate_default=True)
    classes: int | None = Field(None, ge=2)  # left out: as many as there are class folders
    candidate: str | None = None  # an ONNX file made elsewhere from the same network: judged, as it is, against it

    @field_validator("arch")
    @classmethod
    def _where_needed(cls, arch: str | None, info: ValidationInfo) -> str | None:
        onnx = is_onnx(info.data.get("checkpoint"))
        if arch is None and not onnx:
            raise PydanticCustomError("missing", "missing")
        if arch is not None and onnx:
            raise ValueError("leave it out: an ONNX file holds its own architecture")
        return arch

    @field_validator("candidate")
    @classmethod
    def _is_onnx(cls, candidate: str | None) -> str | None:
        if candidate is not None and not is_onnx(candidate):
            raise ValueError("must be an .onnx file: convert it, or make it the checkpoint of its own recipe")
        return candidate

    @property
    def title(self) -> str:
        return self.arch or Path(self.checkpoint or "").name


class Source(_Section):
    """Where images come from: a folder of class folders, `digits` (shipped), `cifar10` (as torchvision keeps it)."""

    source: str = Field(alias="from")
    root: str | None = None  # where torchvision's CIFAR-10 lies
    download: bool = False
    # A class-balanced, seeded choice of so many; left out: all of them, for calibration 512 at most.
    count: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _whole(self) -> Source:
        if self.source != "cifar10" and (self.root is not None or self.download):
            raise ValueError("root and download belong to `from: cifar10` alone")
        return self


def _named(value: Any) -> Any:
    return {"from": value} if isinstance(value, str) else value


SourceOrName = Annotated[Source, BeforeValidator(_named, json_schema_input_type=str | Source)]


class Images(_Section):
    training: SourceOrName | None = None
    evaluation: SourceOrName | None = None
    calibration: SourceOrName | None = None  # `from: training` chooses among the training images
    unreadable: Literal["error", "skip"] = "error"


class Augment(_Section):
    flip: bool = False  # mirror left and right, for one image in two
    shift: int = Field(0, ge=0)  # moved by up to so many pixels, the edge repeated


class Train(_Section):
    epochs: int = Field(ge=1)
    rate: float = Field(gt=0)
    batch: int = Field(64, ge=2)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    schedule: Literal["cosine", "one-cycle"] = "cosine"
    weight_decay: float = Field(0.0005, ge=0)
    augment: Augment = Augment()
    validation: float = Field(0.1, gt=0, lt=0.5)  # the part of the training images that chooses the best epoch


class Quantize(_Section):
    """INT8 for every target, from one calibration."""

    effort: Literal["fast", "balanced", "best"] = "fast"  # the last two learn
    minutes: float = Field(10.0, gt=0)  # that learning may take, for each dialect
    estimator: Literal["min-max", "percentile", "entropy", "mse"] = "mse"  # how a tensor's range is chosen
    exclude: tuple[str, ...] = ()  # layers that stay float: regular expressions on their names

    @field_validator("exclude")
    @classmethod
    def _are_expressions(cls, exclude: tuple[str, ...]) -> tuple[str, ...]:
        for one in exclude:
            try:
                re.compile(one)
            except re.error as problem:
                raise ValueError(f"{one!r} is no regular expression: {problem}") from problem
        return exclude


class Trace(_Section):
    batch: Literal["dynamic"] | Annotated[int, Field(ge=1)] = "dynamic"


class Verify(_Section):
    """How latency is measured: fresh processes, each timing every variant in turn."""

    processes: int = Field(5, ge=1, le=100)
    seconds: float = Field(30.0, gt=0)  # at most about so many for all of them, on each target


class Promises(_Section):
    """What must hold on every target. Only KEPT is green."""

    max_drop_pp: float | None = Field(None, ge=0)
    min_top1_pct: float | None = Field(None, ge=0, le=100)
    min_recall_pct: dict[str, Annotated[float, Field(ge=0, le=100)]] | None = None  # per class, by its name
    max_flips_pct: float | None = Field(None, ge=0, le=100)
    min_speedup_fp32: float | None = Field(None, gt=0)
    min_speedup_half: float | None = Field(None, gt=0)
    max_latency_p99_ms: float | None = Field(None, gt=0)
    max_size_mb: float | None = Field(None, gt=0)
    max_peak_memory_mb: float | None = Field(None, gt=0)
    undecided: Literal["warn", "fail"] = "warn"

    def limits(self) -> dict[str, Any]:
        return {key: value for key, value in self if key != "undecided" and value is not None}


class Recipe(_Section):
    version: Literal[1]
    model: Model
    preprocessing: Preprocessing
    images: Images = Images()
    train: Train | None = None
    trace: Trace = Trace()
    quantize: Quantize | None = None
    verify: Verify = Verify()
    targets: dict[str, dict[str, Any]] = Field(default_factory=dict)
    promises: Promises = Promises()
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _whole(self) -> Recipe:
        if self.train and not self.images.training:
            raise ValueError("images.training is missing: `train` learns from it")
        if not self.train and not self.model.checkpoint:
            raise ValueError("model.checkpoint is missing: give weights, or a `train` section that makes them")
        if self.train and is_onnx(self.model.checkpoint):
            raise ValueError("train: an ONNX file is not trained further: give weights and their arch")
        if self.model.candidate and not self.targets:
            raise ValueError("targets is missing: model.candidate is judged on targets")
        if self.quantize and not self.targets:
            raise ValueError("targets is missing: INT8 is written for a target")
        if self.quantize and not self.images.calibration:
            raise ValueError("images.calibration is missing: ranges are measured on images, never made up")
        if self.quantize and self.model.candidate:
            raise ValueError("model.candidate and quantize: one network ships, give one of them")
        if self.targets and not self.images.evaluation and not self.quantize:
            raise ValueError("images.evaluation is missing: accuracy on a target is measured with it")
        if self.promises.limits() and not self.targets:
            raise ValueError("targets is missing: promises are judged on targets")
        calibration = self.images.calibration
        if calibration and calibration.source == "evaluation":
            raise ValueError("images.calibration must not come from the evaluation images: take `from: training`")
        if calibration and calibration.source == "training" and not self.images.training:
            raise ValueError("images.training is missing: `calibration: {from: training}` chooses from it")
        return self

    def target_options(self, name: str) -> Any:
        """The options of a target as its own frozen dataclass."""
        return _options(name).validate_python(_own(self.targets[name]))

    def where(self, name: str) -> str:
        """Whether a target's network is built and measured `here`, or on the device that gets a `bundle`."""
        return str(self.targets[name].get(_WHERE, HERE))

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True)

    @property
    def digest(self) -> str:
        return manifest.digest_of(self.to_json())


def load(path: str | Path, changes: tuple[str, ...] = ()) -> Recipe:
    """A recipe from a YAML file, with `--set key.path=value` applied before it is judged."""
    path = Path(path)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as problem:
        raise RecipeError(f"there is no recipe {path}", hint="`edgeresnet init` writes one to start from") from problem
    except (OSError, UnicodeDecodeError) as problem:
        raise RecipeError(f"{path} cannot be read: {problem}", hint="a recipe is a YAML text file") from problem
    except (yaml.YAMLError, ValueError) as problem:  # a date that is none is a ValueError
        mark = getattr(problem, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise RecipeError(
            f"{path}{where}: {getattr(problem, 'problem', None) or problem}", hint="mend the YAML there"
        ) from problem
    if not isinstance(raw, dict):
        raise RecipeError(f"{path} holds no recipe", hint="it begins with `version: 1`; `edgeresnet init` writes one")
    change(raw, changes)
    return parse(raw, name=str(path))


def change(raw: dict[str, Any], changes: tuple[str, ...]) -> None:
    """Applies `key.path=value` to what will be a recipe, in place."""
    for one in changes:
        _set(raw, one)


def parse(raw: dict[str, Any], name: str = "the recipe") -> Recipe:
    problems: list[str] = []
    recipe = None
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as problem:
        problems += [_in_words(error, raw) for error in problem.errors()]
    # Targets are judged by their own option classes, and together with all the rest.
    sections = raw.get("targets")
    for target, options in (sections if isinstance(sections, dict) else {}).items():
        problems += _target_problems(str(target), options)
    if problems or recipe is None:
        count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise RecipeError(f"{name} has {count}", hint="`edgeresnet schema` is what a recipe may say", problems=problems)
    return recipe


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12), with the options of every target that is here."""
    found = Recipe.model_json_schema(by_alias=True)
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    found["title"] = "edgeresnet recipe"
    properties = {}
    for name in _targets.discover():
        properties[name] = TypeAdapter(_targets.get(name).options).json_schema()
        properties[name]["properties"][_WHERE] = {"enum": [HERE, BUNDLE], "default": HERE}
    found["properties"]["targets"] = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "default": {},
    }
    return found


def _own(options: Any) -> Any:
    """A target's options without what every target has."""
    return {key: value for key, value in options.items() if key != _WHERE} if isinstance(options, dict) else options


def _options(target: str) -> TypeAdapter:
    return TypeAdapter(_targets.get(target).options)


def _target_problems(target: str, options: Any) -> list[str]:
    where = options.get(_WHERE, HERE) if isinstance(options, dict) else HERE
    found = [] if where in (HERE, BUNDLE) else [f"targets.{target}.{_WHERE}: must be {HERE} or {BUNDLE}, not {where!r}"]
    try:
        _options(target).validate_python(_own(options))
    except RecipeError as problem:
        return [f"targets.{target}: {problem.message} ({problem.hint})"]
    except ValidationError as problem:
        keys = [*getattr(_targets.get(target).options, "__dataclass_fields__", {}), _WHERE]
        return found + [_sentence(("targets", target, *error["loc"]), error, keys) for error in problem.errors()]
    return found


def _in_words(error: Any, raw: dict[str, Any]) -> str:
    return _sentence(error["loc"], error, _known_keys(error["loc"]))


def _sentence(location: tuple[str | int, ...], error: Any, known: list[str]) -> str:
    # pydantic puts the branch of a union into the path; a user never wrote that word.
    parts = [str(part) for part in location if not re.match(r"(function|constrained|literal)\b", str(part))]
    where = ".".join(parts)
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        near = difflib.get_close_matches(parts[-1], known, 1)
        return f"{where}: unknown key" + (f", did you mean {near[0]}?" if near else f"; known are {', '.join(known)}")
    if error["type"] in ("missing", "missing_argument"):
        return f"{where}: missing"
    message = error["msg"].removeprefix("Value error, ")
    text = f"{message[0].lower()}{message[1:]}" if message[:1].isupper() else message
    given = error.get("input")
    said = f" (given: {given!r})" if isinstance(given, str | int | float | bool) else ""
    return f"{where}: {text}{said}" if where else text


def _known_keys(location: tuple[str | int, ...]) -> list[str]:
    """The keys that were possible beside the wrong one, for the nearest right word."""
    here: Any = schema()
    definitions = here.get("$defs", {})
    for part in location[:-1]:
        here = _resolved(here, definitions).get("properties", {}).get(str(part), {})
    return list(_resolved(here, definitions).get("properties", {}))


def _resolved(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    for branch in [node, *node.get("anyOf", []), *node.get("allOf", [])]:
        if "$ref" in branch:
            return definitions[branch["$ref"].rsplit("/", 1)[-1]]
        if "properties" in branch:
            return branch
    return node


def _set(raw: dict[str, Any], change: str) -> None:
    path, equals, value = change.partition("=")
    if not equals or not path:
        raise RecipeError(f"--set {change!r} is not key=value", hint="write `--set train.epochs=3`")
    *sections, key = path.split(".")
    here = raw
    for section in sections:
        inner = here.get(section)
        if not isinstance(inner, dict):
            inner = {} if inner is None else {"from": inner}
        here[section] = here = inner
    try:
        here[key] = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError) as problem:
        raise RecipeError(f"--set {change!r}: the value is not YAML", hint="quote it as YAML wants it") from problem


def is_onnx(path: str | None) -> bool:
    return path is not None and re.search(_ONNX, path) is not None


def module_of_factory(arch: str) -> tuple[str, str] | None:
    """`my.module:make` → its two halves; None for a name of ours."""
    found = re.fullmatch(r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)", arch)
    return (found[1], found[2]) if found else None


def file_of_module(name: str) -> Path | None:
    """The source file of a module in user code, found without running it."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    path = Path(spec.origin) if spec and spec.origin else None
    return path if path and path.is_file() else None
