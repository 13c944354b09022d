"""A recipe out of options: what `init` writes down and one-shot commands run at once. Runs nothing itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._options import ModelOptions

if TYPE_CHECKING:
    from ..recipe import Recipe

CPU_TARGETS = ("onnxruntime", "openvino")
_PURPOSE = "# What `edgeresnet {command}` was told, as a recipe: `edgeresnet run` does the same with it.\n"


def recipe_of(
    model: str,
    about: ModelOptions,
    *,
    reference: str | None = None,
    images: Mapping[str, Any],
    seed: int | None = None,
    sections: Mapping[str, Any],
    open_keys: Collection[str] = (),
) -> tuple[dict[str, Any], str]:
    """What will be a recipe, and a sentence on what was taken from the ONNX file itself (empty: nothing).

    `open_keys` of its preprocessing may stay unsaid: who asks fills them in.
    """
    original = reference or model
    preprocessing: dict[str, Any] = {"size": about.size, "resize": about.resize}
    preprocessing |= {name: numbers(getattr(about, name), f"--{name}") for name in ("mean", "std")}
    preprocessing = {key: value for key, value in preprocessing.items() if value is not None}
    taken = _from_file([original, model], preprocessing)
    needed = {f"--{slot}": given for slot, given in images.items()}
    needed |= {f"--{key}": preprocessing.get(key) for key in ("size", "mean", "std") if key not in open_keys}
    refuse_missing(needed, original, "size, mean and std are those it was trained with: they are never guessed")
    named = {"checkpoint": original, "arch": about.arch, "classes": about.classes}
    named |= {"candidate": model if reference else None}
    both = {"evaluation": about.evaluation, **images}
    raw: dict[str, Any] = {
        "version": 1,
        "model": {key: value for key, value in named.items() if value is not None},
        "preprocessing": preprocessing,
        "images": {slot: given for slot, given in both.items() if given is not None},
        "targets": {name: {} for name in about.targets or _here()},
    }
    raw |= {name: dict(section) for name, section in sections.items() if section}
    raw |= {"seed": seed} if seed is not None else {}
    return raw, taken


def counted(folder: str | None, count: int | None) -> Any:
    """Images as a recipe names them."""
    return {"from": folder, "count": count} if folder is not None and count is not None else folder


def parsed(raw: dict[str, Any], changes: tuple[str, ...], save_as: Path | None, command: str) -> Recipe:
    """With `--set` applied; handed over before it runs, where that was asked for."""
    import yaml

    from .. import recipe
    from ..errors import EdgeresnetError
    from . import _options

    recipe.change(raw, changes)
    wanted = recipe.parse(raw, name="what these options say")
    if save_as:
        text = _PURPOSE.format(command=command) + yaml.safe_dump(
            raw, sort_keys=False, allow_unicode=True, default_flow_style=None
        )
        if save_as.exists() and save_as.read_bytes() != text.encode():
            raise EdgeresnetError(f"{save_as} is already there, and says something else", hint="give another name")
        _options.write_output(save_as, text)
    return wanted


def refuse_missing(needed: Mapping[str, Any], what: str, hint: str) -> None:
    from ..errors import EdgeresnetError

    missing = [option for option, value in needed.items() if value is None]
    if missing:
        raise EdgeresnetError(f"{what} needs {', '.join(missing)} too", hint=hint)


def numbers(text: str | None, option: str) -> list[float] | None:
    from ..errors import EdgeresnetError

    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError as problem:
        raise EdgeresnetError(f"{option} {text!r} is not numbers", hint="write 0.485,0.456,0.406") from problem


def _here() -> list[str]:
    from .. import targets
    from ..errors import EdgeresnetError

    found = [name for name in CPU_TARGETS if targets.get(name).available().ok]
    if not found:
        raise EdgeresnetError("no CPU target is here", hint="`edgeresnet targets` tells what installs them")
    return found


def _from_file(files: list[str], said: dict[str, Any]) -> str:
    """Fills in what was not said from the first file that edgeresnet wrote itself: it carries its preprocessing."""
    from .. import recipe
    from ..device import onnx_file
    from ..device.preprocessing import Preprocessing
    from ..graph import about

    if all(key in said for key in ("size", "mean", "std")):
        return ""
    for name in filter(recipe.is_onnx, files):
        held = about.entry(onnx_file.read(Path(name).expanduser()).metadata, "preprocessing")
        if isinstance(held, dict):
            if "size" in said or held.get("resize") == held.get("size"):
                held.pop("resize", None)  # it belongs to the other size, or says nothing
            defaults = {field.name: field.default for field in fields(Preprocessing)}
            taken = {key: value for key, value in held.items() if key not in said and value != defaults.get(key)}
            said |= taken
            return f"taken from {name} itself: " + ", ".join(f"{key} {value}" for key, value in taken.items())
    return ""
