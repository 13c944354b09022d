"""A recipe out of options: what `init` writes down and one-shot commands run at once. Runs nothing itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._options import ModelOptions

if TYPE_CHECKING:
    from ..recipe import Recipe

CPU_TARGETS = ("onnxruntime", "openvino")
_PURPOSE = "# What `edgeresnet {command}` was told, as a recipe: `edgeresnet run` does the same with it.\n"


def recipe_of(
    model: str | None,
    about: ModelOptions,
    *,
    reference: str | None = None,
    images: Mapping[str, Any],
    seed: int | None = None,
    sections: Mapping[str, Any],
    targeted: bool = True,
    open_keys: Collection[str] = (),
) -> tuple[dict[str, Any], str]:
    """What will be a recipe, and a sentence on what was taken from the file itself or its record (empty: nothing).

    No `model` is an architecture without weights; `targeted`: for the CPU targets that are here, where none is named.
    `open_keys` of its preprocessing may stay unsaid: who asks fills them in.
    """
    original = reference or model or about.arch or "a network"
    known = of_files([name for name in (original, model) if name and model], about)
    needed = {f"--{slot}": given for slot, given in images.items()}
    needed |= {f"--{key}": value for key, value in known.needed().items() if key not in open_keys}
    refuse_missing(needed, original, known.hint)
    named = {"checkpoint": reference or model, "arch": known.arch, "classes": about.classes}
    named |= {"candidate": model if reference else None}
    every = {"evaluation": about.evaluation, **images, "names": about.names}
    raw: dict[str, Any] = {
        "version": 1,
        "model": {key: value for key, value in named.items() if value is not None},
        "preprocessing": known.preprocessing,
        "images": {slot: given for slot, given in every.items() if given is not None},
        "targets": {name: {} for name in about.targets or (cpu_targets_here() if targeted else ())},
    }
    raw |= {name: dict(section) for name, section in sections.items() if section}
    raw |= {"seed": seed} if seed is not None else {}
    return raw, known.taken


def counted(folder: str | None, count: int | None) -> Any:
    """Images as a recipe names them."""
    return {"from": folder, "count": count} if folder is not None and count is not None else folder


def parsed(raw: dict[str, Any], changes: tuple[str, ...], save_as: Path | None, command: str) -> Recipe:
    """With `--set` applied; handed over before it runs, where that was asked for."""
    import yaml

    from .. import recipe
    from ..errors import EdgeresnetError
    from . import _output

    recipe.change(raw, changes)
    wanted = recipe.parse(raw, name="what these options say")
    if save_as:
        text = _PURPOSE.format(command=command) + yaml.safe_dump(
            raw, sort_keys=False, allow_unicode=True, default_flow_style=None
        )
        if save_as.exists() and save_as.read_bytes() != text.encode():
            raise EdgeresnetError(f"{save_as} is already there, and says something else", hint="give another name")
        _output.write_output(save_as, text)
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


def cpu_targets_here() -> list[str]:
    """The fastest last."""
    from .. import targets
    from ..errors import EdgeresnetError

    found = [name for name in CPU_TARGETS if targets.get(name).available().ok]
    if not found:
        raise EdgeresnetError("no CPU target is here", hint="`edgeresnet targets` tells what installs them")
    return found


@dataclass
class Known:
    """A network's architecture and preprocessing: what the options say, filled up from its files."""

    arch: str | None
    preprocessing: dict[str, Any]
    taken: str = ""  # a sentence on what was filled up, and from where
    hint: str = "size, mean and std are those it was trained with: they are never guessed"

    def needed(self) -> dict[str, Any]:
        """What a recipe cannot do without."""
        return {key: self.preprocessing.get(key) for key in ("size", "mean", "std")}


def of_files(files: list[str], about: ModelOptions) -> Known:
    """From the first file that tells: an ONNX file that edgeresnet wrote carries its preprocessing, and weights may
    have a record of their publisher's own.
    """
    from .. import recipe

    said: dict[str, Any] = {"size": about.size, "resize": about.resize, "bits": about.bits}
    said |= {name: numbers(getattr(about, name), f"--{name}") for name in ("mean", "std")}
    known = Known(
        None if about.arch == "auto" else about.arch, {key: value for key, value in said.items() if value is not None}
    )
    for name in files:
        if all(value is not None for value in known.needed().values()):
            break
        (_from_onnx if recipe.is_onnx(name) else _from_record)(name, known)
    return known


def _from_onnx(name: str, known: Known) -> None:
    from ..graph import about
    from ..portable import onnx_file

    held = about.entry(onnx_file.read(Path(name).expanduser()).metadata, "preprocessing")
    if isinstance(held, dict):
        _fill(known, f"{name} itself", held)


def _from_record(name: str, known: Known) -> None:
    from ..models import recognise, records, shapes, unwrap

    path = Path(name).expanduser()
    held = shapes.look(path)
    found = recognise.recognise(held.networks[unwrap.MODEL], held.arch)
    record = records.of(path, found.archs if found else ())
    if record is None:
        known.hint = "; ".join(filter(None, (records.doubt(path), known.hint)))
    elif record.why_not:
        known.hint = f"{record.source} is no help: {record.why_not}"
    else:
        arch = known.arch or record.arch
        _fill(known, record.source, dict(record.preprocessing), *([] if known.arch else [f"arch {arch}"]))
        known.arch = arch


def _fill(known: Known, source: str, held: dict[str, Any], *more: str) -> None:
    """What was not said."""
    from ..portable.preprocessing import Preprocessing

    if "size" in known.preprocessing or held.get("resize") == held.get("size"):
        held.pop("resize", None)  # it belongs to the other size, or says nothing
    defaults = {field.name: field.default for field in fields(Preprocessing)}
    filled = {
        key: value for key, value in held.items() if key not in known.preprocessing and value != defaults.get(key)
    }
    known.preprocessing |= filled
    known.taken = f"taken from {source}: " + ", ".join([*more, *(f"{key} {value}" for key, value in filled.items())])
