"""A recipe made of options: what `init` writes and one-shot commands run at once. Runs nothing itself."""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from ..portable.tasks import DEFAULT
from ._options import ModelOptions, task_with

if TYPE_CHECKING:
    from ..models.recognised import Recognised
    from ..recipe import Recipe

CPU_TARGETS = ("onnxruntime", "openvino")
_PURPOSE = "# Written by `edgeresnet {command}` from its options. `edgeresnet run` runs it again.\n"
_TRAINED_WITH = "give the size, mean and std that it was trained with: they are never guessed"
_IMAGES = {
    "--calibration": "name a folder of images: INT8 ranges are measured on them",
    "--evaluation": "name a folder with one folder of images per class: accuracy is measured on them",
    "--training": "name a folder with one folder of images per class: the network learns from them",
}


def recipe_of(
    model: str | None,
    about: ModelOptions,
    *,
    reference: str | None = None,
    images: Mapping[str, object],
    seed: int | None = None,
    sections: Mapping[str, Mapping[str, object]],
    targets: Mapping[str, Mapping[str, object]] | None = None,
    open_keys: Collection[str] = (),
    training_labels: Mapping[str, object] | None = None,
) -> tuple[dict[str, object], str]:
    """Return the raw recipe, and a sentence on what was taken from the file itself or its record (empty: nothing).

    Without a `model` it is an architecture without weights. `targets`: those that were named, or every CPU target
    here, by default. The caller fills in the `open_keys` of preprocessing. `training_labels`: masks or boxes that lie
    in another place than the training images.
    """
    original = reference or model or about.arch or "a network"
    new_head = sections.get("train", {}).get("head") == "new"
    known = of_files([name for name in (original, model) if name and model], about, new_head=new_head)
    needed = {f"--{slot}": given for slot, given in images.items()}
    needed |= {f"--{key}": value for key, value in known.needed().items() if key not in open_keys}
    refuse_missing(needed, original, _hint(needed, known))
    labels = {"evaluation": about.labels, "training": training_labels or {}}
    every = labelled({"evaluation": about.evaluation, **images, "names": known.names}, labels)
    if targets is None:
        targets = {name: {} for name in about.targets or cpu_targets_here()}
    named: dict[str, object] = {"checkpoint": reference or model, "arch": known.arch, "classes": about.classes}
    named |= {"candidate": model if reference else None, "arch_args": about.arguments()}
    task = task_with(about.task, itertools.chain(*labels.values()))
    raw: dict[str, object] = {
        "version": 1,
        **({} if task == DEFAULT else {"task": task}),
        "model": {key: value for key, value in named.items() if value is not None},
        "preprocessing": known.preprocessing,
        "images": {slot: given for slot, given in every.items() if given is not None},
        "targets": {name: dict(options) for name, options in targets.items()},
    }
    raw |= {name: dict(section) for name, section in sections.items() if section}
    raw |= {"seed": seed} if seed is not None else {}
    return raw, known.taken


def _hint(needed: Mapping[str, object], known: Known) -> str:
    """Return what helps against what is missing: preprocessing is the harder part."""
    missing = [option for option, value in needed.items() if value is None]
    slots = [_IMAGES[option] for option in missing if option in _IMAGES]
    return slots[0] if slots and len(slots) == len(missing) else known.hint


def counted(folder: str | None, count: int | None) -> object:
    """Return images as a recipe names them."""
    return {"from": folder, "count": count} if folder is not None and count is not None else folder


def labelled(images: Mapping[str, object], labels: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    """Add to each set of images where its labels are; refuse labels of images that are not named."""
    found = dict(images)
    for slot, where in labels.items():
        if where:
            given = found.get(slot)
            prefix = "training-" if slot == "training" else ""
            refuse_missing({f"--{slot}": given}, f"--{prefix}{next(iter(where))}", "name the images that these are of")
            found[slot] = {**(given if isinstance(given, Mapping) else {"from": given}), **where}
    return found


def parsed(raw: dict[str, object], changes: tuple[str, ...], save_as: Path | None, command: str) -> Recipe:
    """Return the recipe with `--set` applied; write it to a file first, where one is named."""
    import yaml

    from .. import recipe
    from ..errors import EdgeresnetError
    from . import _output

    recipe.change(raw, changes)
    wanted = recipe.parse(raw, name="the recipe of these options")
    if save_as:
        text = _PURPOSE.format(command=command) + yaml.safe_dump(
            raw, sort_keys=False, allow_unicode=True, default_flow_style=None
        )
        if save_as.exists() and save_as.read_bytes() != text.encode():
            raise EdgeresnetError(str(save_as), "exists already, with other content", hint="name another file")
        _output.write_output(save_as, text)
    return wanted


def refuse_missing(needed: Mapping[str, object], what: str, hint: str) -> None:
    """Refuse options that are None."""
    from ..errors import EdgeresnetError

    missing = [option for option, value in needed.items() if value is None]
    if missing:
        raise EdgeresnetError(what, f"needs {', '.join(missing)} too", hint=hint)


def numbers(text: str | None, option: str) -> list[float] | None:
    """Read numbers between commas."""
    from ..errors import EdgeresnetError

    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError as problem:
        raise EdgeresnetError(
            f"{option} {text!r}", "must be numbers with commas between them", hint=f"write {option} 0.485,0.456,0.406"
        ) from problem


def cpu_targets_here() -> list[str]:
    """List the CPU targets that are installed, the fastest last."""
    from .. import targets
    from ..errors import EdgeresnetError

    found = [name for name in CPU_TARGETS if targets.get(name).available().ok]
    if not found:
        raise EdgeresnetError("the CPU targets", "are not installed", hint="`edgeresnet targets` shows what to install")
    return found


@dataclass
class Known:
    """A network's architecture and preprocessing: from the options, and for the rest from its files."""

    arch: str | None
    preprocessing: dict[str, object]
    names: str | None = None  # a file of class names
    taken: str = ""  # a sentence on what was filled in, and from where
    hint: str = _TRAINED_WITH
    looked: dict[Path, Recognised | None] = field(default_factory=dict)

    def recognised(self, path: Path) -> Recognised | None:
        """Return what weights are recognised as: each file is looked at once."""
        from ..models import recognise, shapes, unwrap

        if path not in self.looked:
            held = shapes.look(path)
            self.looked[path] = recognise.recognise(held.networks[unwrap.MODEL], held.arch)
        return self.looked[path]

    def needed(self) -> dict[str, object]:
        """Return what a recipe cannot do without."""
        return {key: self.preprocessing.get(key) for key in ("size", "mean", "std")}


def of_files(files: list[str], about: ModelOptions, *, new_head: bool = False) -> Known:
    """Complete the options from the first file that has the rest.

    An ONNX file that edgeresnet wrote carries its preprocessing, and weights may have a record of their publisher, and
    class names next to them. A new head has other classes.
    """
    from .. import recipe
    from ..portable.tasks.task import task_of

    given: dict[str, object] = {"size": about.size, "resize": about.resize, "bits": about.bits}
    given |= {name: numbers(getattr(about, name), f"--{name}") for name in ("mean", "std")}
    known = Known(
        None if about.arch == "auto" else about.arch, {key: value for key, value in given.items() if value is not None}
    )
    for name in files:
        if all(value is not None for value in known.needed().values()):
            break
        (_from_onnx if recipe.is_onnx(name) else _from_record)(name, known)
    if task_of(task_with(about.task, about.labels)).has_boxes and not known.taken:
        known.preprocessing["crop"] = "pad"
        known.taken = "images are padded (crop pad), so that no object is cut off"
    known.names = about.names
    if not new_head and known.names is None:
        _add_names([Path(os.path.expanduser(name)) for name in files if not recipe.is_onnx(name)], known, about.classes)
    return known


def _add_names(files: list[Path], known: Known, classes: int | None) -> None:
    """Add the class names that lie next to weights, or the reason why these are not used."""
    from ..models import hub

    for path in files:
        labels = hub.labels_of(path)
        if labels is None:
            continue
        found = known.recognised(path)
        labels = hub.fitting(labels, classes or (found.classes if found else 0))
        known.names = None if labels.why_not else labels.file
        said = f"{'not ' if labels.why_not else ''}taken from {labels.file}"
        known.taken = "; ".join(filter(None, [known.taken, f"class names are {said}", labels.why_not]))


def _from_onnx(name: str, known: Known) -> None:
    """Complete it from what an ONNX file tells about itself."""
    from ..graph import about
    from ..portable import onnx_file

    held = about.entry(onnx_file.read(Path(os.path.expanduser(name))).metadata, "preprocessing")
    if isinstance(held, dict):
        _fill(known, f"{name} itself", held)


def _from_record(name: str, known: Known) -> None:
    """Complete it from the record that a publisher wrote about weights."""
    from ..models import records

    path = Path(os.path.expanduser(name))
    found = known.recognised(path)
    record = records.of(path, found.archs if found else ())
    if record is None:
        known.hint = "; ".join(filter(None, (records.doubt(path), known.hint)))
    elif record.why_not:
        known.hint = f"{record.source} does not help: {record.why_not}"
    else:
        more = [f"arch {record.arch}"] if record.arch and not known.arch else []
        _fill(known, record.source, dict(record.preprocessing), *more)
        known.arch = known.arch or record.arch or None


def _fill(known: Known, source: str, held: dict[str, object], *more: str) -> None:
    """Fill in what the options leave open."""
    from ..portable.preprocessing import Preprocessing

    if "size" in known.preprocessing or held.get("resize") == held.get("size"):
        held.pop("resize", None)  # it belongs to the other size, or adds nothing
    defaults = {field.name: field.default for field in fields(Preprocessing)}
    filled = {
        key: value for key, value in held.items() if key not in known.preprocessing and value != defaults.get(key)
    }
    known.preprocessing |= filled
    known.taken = f"taken from {source}: " + ", ".join([*more, *(f"{key} {value}" for key, value in filled.items())])
