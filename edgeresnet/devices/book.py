"""devices.yaml: the user's devices by their names. It lies next to the recipe, else in the user's configuration."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError

from .. import targets
from ..errors import RecipeError, listed, quoted
from ..portable import documents
from ..portable.documents import Missing, Unreadable, shown
from ..recipe import problems, strict_yaml
from ..recipe.base import Section
from ..recipe.sections import DEVICE_NAME

NAME = "devices.yaml"
_LARGEST = 128 << 10
_ADDRESS = r"(ssh://)?([A-Za-z0-9._+-]+@)?([A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.%a-z]+\])(:[0-9]{1,5})?"
_HOW = "`edgeresnet devices add NAME user@host` writes an entry"


def _address(value: str) -> str:
    found = re.fullmatch(_ADDRESS, value)
    if not found or (found[4] and not found[1]):
        raise ValueError("must be user@host, a name of ~/.ssh/config, or ssh://user@host:port")
    return value


def _plain(value: str) -> str:
    if not value or value.startswith("-") or re.search(r"[\x00-\x1f\x7f]", value):
        raise ValueError("must be a text without control characters, and may not begin with a dash")
    return value


def _target(value: str) -> str:
    if value not in targets.names():
        raise ValueError(f"must be one of {', '.join(targets.names())}")
    return value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Plain = Annotated[str, AfterValidator(_plain)]


class Device(Section):
    """One device: how it is reached, and what it measures."""

    ssh: Annotated[str, AfterValidator(_address)] = Field(
        description="Address for ssh: user@host, a name of ~/.ssh/config, or ssh://user@host:port."
    )
    target: Annotated[tuple[Annotated[str, AfterValidator(_target)], ...], BeforeValidator(_listed)] = Field(
        (), description="Target or targets that `--on` measures there. Unset: all of the recipe."
    )
    python: Plain = Field("python3", description="Python that has numpy and the runtime.")
    folder: Plain = Field("~/edgeresnet", description="Folder there for bundles and results.")
    timeout_minutes: float = Field(
        30.0,
        gt=0,
        description="Minutes that a run waits for the device: to answer, to be free, or for a line of its output.",
    )
    config: Plain | None = Field(None, description="Configuration file of ssh. Unset: ~/.ssh/config.")
    id: str | None = Field(
        None, pattern="^[0-9a-f]{16}$", description="Identity of the device. Another one under its address is refused."
    )


_DEVICES = TypeAdapter(dict[Annotated[str, Field(pattern=f"^{DEVICE_NAME}$")], Device])


def find(folder: Path) -> Path | None:
    """Return the devices.yaml of a recipe in this folder; None where there is none."""
    return next((path for path in (folder / NAME, own()) if path.exists()), None)


def own() -> Path:
    """Return where the user's own devices.yaml belongs."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")) / "edgeresnet" / NAME


def read(path: Path) -> dict[str, Device]:
    """Read devices.yaml; report every wrong key at once."""
    try:
        raw = strict_yaml.load(documents.read_bytes(path, _LARGEST).decode("utf-8"))
    except Missing as problem:
        raise RecipeError(shown(path), "does not exist", hint=_HOW) from problem
    except (Unreadable, UnicodeDecodeError) as problem:
        raise RecipeError(shown(path), f"cannot be read: {problem}", hint="it is a YAML text file") from problem
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise RecipeError(shown(path), f"is not valid YAML{where}", hint="correct the YAML there") from problem
    if not isinstance(raw, dict):
        raise RecipeError(shown(path), "holds no devices", hint="write `NAME: {ssh: user@host}`, a line for each")
    return parse(raw, shown(path))


def parse(raw: Mapping[str, object], name: str = NAME) -> dict[str, Device]:
    """Return devices from parsed YAML; report all of their problems together."""
    try:
        return _DEVICES.validate_python(raw)
    except ValidationError as problem:
        found = [_in_words(error) for error in problem.errors()]
        count = "one problem" if len(found) == 1 else f"{len(found)} problems"
        hint = f"correct the keys above; keys are {', '.join(Device.model_fields)}"
        raise RecipeError(name, f"has {count}", hint=hint, problems=found) from problem


def _in_words(error: Any) -> str:
    if error["loc"][-1] == "[key]":
        return f"{quoted(error['loc'][0])}: a name of a device has letters, digits, dots, dashes and underscores"
    return problems.sentence(error["loc"], error, list(Device.model_fields))


def near(folder: Path, name: str) -> dict[str, Device]:
    """Return the devices that a recipe in this folder has; refuse where there are none. `name` is one that it names."""
    path = find(folder)
    if path is None:
        problem = f"is not known: there is no {NAME} next to the recipe, and none at {own()}"
        raise RecipeError(f"the device {quoted(name)}", problem, hint=_HOW)
    return read(path)


def named(names: Sequence[str], known: Mapping[str, Device]) -> dict[str, Device]:
    """Return the devices of these names; refuse a name that is not known."""
    for name in names:
        if name not in known:
            hint = f"known devices: {listed(known)}" if known else _HOW
            raise RecipeError(f"the device {quoted(name)}", f"is not in {NAME}", hint=hint)
    return {name: known[name] for name in names}


def add(path: Path, name: str, device: Device) -> None:
    """Write an entry into devices.yaml. The other entries stay, their comments too."""
    from ..store import write_text

    parse({name: device.model_dump(exclude_unset=True)}, f"the device {quoted(name)}")
    known = read(path) if path.exists() else {}
    entry = {key: value for key, value in device.model_dump(mode="json", exclude_unset=True).items() if value}
    line = yaml.safe_dump({name: entry}, sort_keys=False, default_flow_style=None, width=1000)
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if name in known:
        text = _without(text, name, path)
    write_text(path, text + ("\n" if text and not text.endswith("\n") else "") + line)
    read(path)


def _without(text: str, name: str, path: Path) -> str:
    """Return the text without an entry that begins a line."""
    found = re.sub(rf"(?m)^([\"']?){re.escape(name)}\1\s*:.*\n?((?:[ \t].*|)\n)*", "", text, count=1)
    if name in (strict_yaml.load(found) or {}):  # type: ignore[operator]
        raise RecipeError(f"the device {name}", f"cannot be replaced in {shown(path)}", hint="edit the file")
    return found
