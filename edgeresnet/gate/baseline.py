"""The baseline: what a gate keeps of a run, as a small file that a person reads in a merge request.

All of it but the margins was measured, and a digest of its own says so: what was edited by hand is refused. Margins are
a person's decision: they may be set by hand, and stay when all else is renewed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import EdgeresnetError
from ..portable import intervals, manifest
from ..text import ended_early
from . import record

FORMAT = 3
_FORMAT_KEY = "edgeresnet_gate"
_RENEW = "`edgeresnet gate --update` writes it from a finished run; then review and commit it"
_ANEW = f"mend it, or remove it: {_RENEW}"
_WHAT_CHANGES = ("version", "verify", "promises")  # of a recipe: judged, or no matter
_ENOUGH = 10  # processes; `benchmarks/gate_power.py` has what five and ten of them show
_WHERE = ("from", "source", "root", "download")  # images lie; what they are, their content tells


@dataclass(frozen=True)
class Margins:
    """What a change may cost; None: that is not gated."""

    max_loss_pp: float | None = 1.0
    max_slowdown_pct: float | None = 10.0  # against the twin, and against the yardstick
    max_runtime_slowdown_pct: float | None = 25.0  # of the yardstick itself, against plain Python: a coarse comparison
    max_growth_pct: float | None = 10.0  # of what would ship, in bytes

    @staticmethod
    def parse(raw: Any, path: Path | str) -> Margins:
        known = [field.name for field in fields(Margins)]
        if not isinstance(raw, dict) or set(raw) - set(known):
            raise EdgeresnetError(f"{path}: margins are {raw!r}", hint=f"they are {', '.join(known)}: numbers, or null")
        for name, value in raw.items():
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if value is not None and not (number and math.isfinite(value) and value >= 0):
                raise EdgeresnetError(
                    f"{path}: {name} is {value!r}", hint="a number from 0 on; null where it shall not be gated"
                )
        return Margins(**{name: None if value is None else float(value) for name, value in raw.items()})


def of(run: Mapping[str, Any], margins: Margins) -> dict[str, Any]:
    """A run as a baseline: only one that is whole, for what is not in it would never be gated."""
    if run["problem"]:
        raise _unfit(run, f"it {ended_early(run['problem'])}")
    if not run["results"]:
        raise _unfit(run, "it has no target")
    targets = {}
    for name, result in run["results"].items():
        kept = record.of(result)
        if isinstance(kept, str):
            raise _unfit(run, f"{name}: {kept}")
        targets[name] = kept
    images = {(result["images"], len(result["labels"])) for result in run["results"].values()}
    if len(images) > 1:
        raise _unfit(run, "its targets were asked about different images")
    ((digest, count),) = images
    found = {
        _FORMAT_KEY: FORMAT,
        "margins": asdict(margins),
        "made_by": f"edgeresnet {__version__}",
        "run": run["id"],
        "images": {"digest": digest, "count": count},
        "recipe": {"digest": run["recipe_digest"], **identity(run)},
        "verify": dict(run["recipe"].get("verify") or {}),
        "promises": promises(run["recipe"]),
        "undecided": run["undecided"],
        "networks": networks(run),
        "measured": measurements(run),
        "targets": targets,
    }
    return {**found, "digest": _digest(found)}


def remarks(baseline: Mapping[str, Any]) -> list[str]:
    """What a person who reviews it should know: what it holds, and where it is too weak to decide anything."""
    said, margins = [], Margins.parse(baseline["margins"], "the baseline")
    for name, kept in baseline["targets"].items():
        right, count = kept["top1"]["right"], kept["top1"]["images"]
        times = ", ".join(f"{each['as_long_as']:g} of {rival}" for rival, each in kept["times"].items())
        said.append(f"{name} {kept['ships']}: {100 * right / count:.2f} % of {count} images; times {times}")
        said += [f"{name}: {sentence}, and so the times in it are noisy" for sentence in kept["troubles"]]
        if kept["disturbed"] and margins.max_runtime_slowdown_pct is not None:
            said.append(f"{name}: so max_runtime_slowdown_pct can find nothing BROKEN: measure while nothing else runs")
        processes = min(len(each["processes"]) for each in kept["times"].values())
        if processes < 2:
            said.append(f"{name}: one process does not show how much processes differ: no slow-down could be decided")
        elif processes < _ENOUGH and margins.max_slowdown_pct is not None:
            said.append(
                f"{name}: {processes} processes leave some slow-downs of twice the margin UNDECIDED where times are "
                f"noisy: `verify.processes: {_ENOUGH}` shows more"
            )
    finest = 100 * intervals.finest_drop(baseline["images"]["count"])
    if margins.max_loss_pp is not None and margins.max_loss_pp < finest:
        said.append(
            f"max_loss_pp {margins.max_loss_pp:g} is finer than {baseline['images']['count']} images can decide: not "
            f"even of an unchanged network can less than {finest:.2f} be shown"
        )
    return said


def networks(run: Mapping[str, Any]) -> dict[str, str]:
    """What all is made of, by digest: as traced and as quantized, which other calibration images change."""
    made = [step for step in run["steps"] if step["stage"] in ("trace", "quantize")]
    return {step["id"]: step["digest"] for step in made if step["digest"]}


def measurements(run: Mapping[str, Any]) -> dict[str, str]:
    """target → the digest of what was measured on it."""
    made = {step["id"].partition(":")[2]: step["digest"] for step in run["steps"] if step["stage"] == "verify"}
    return {name: digest for name, digest in made.items() if digest and name in run["results"]}


def promises(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe's own: a change to them is told, since it changes what is judged."""
    return _filled(dict(recipe.get("promises") or {}))


def identity(run: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a recipe this one. Weights are what is judged, whatever their files are called; evaluation images are
    known by their content.
    """
    recipe = run["recipe"]
    kept = {key: value for key, value in recipe.items() if key not in _WHAT_CHANGES}
    model = {key: value for key, value in recipe["model"].items() if key != "checkpoint"}
    model["candidate"] = "a file" if model.get("candidate") else None
    if model.get("arch") is None:
        model |= _as_traced(run)
    images = {key: value for key, value in (recipe.get("images") or {}).items() if key not in ("evaluation", "names")}
    for slot, asked in images.items():
        if isinstance(asked, dict):
            images[slot] = {key: value for key, value in asked.items() if key not in _WHERE}
    return _filled({**kept, "model": model, "images": images})


def _as_traced(run: Mapping[str, Any]) -> dict[str, Any]:
    """Stands for an architecture that nobody named: its operators, and how many weights it has."""
    traced = next((step for step in run["steps"] if step["stage"] == "trace" and step.get("notes")), None)
    return {key: traced["notes"][key] for key in ("operators", "parameters")} if traced else {}


def text(baseline: Mapping[str, Any]) -> str:
    """Readable, a short list on a line of its own; the same baseline gives the same bytes."""
    spread = json.dumps(baseline, indent=1, ensure_ascii=False, allow_nan=False)
    return re.sub(r"\[\n([^\[\]{}]*?)\n\s*\]", lambda found: f"[{_joined(found[1])}]", spread) + "\n"


def _joined(lines: str) -> str:
    """What is inside a string stays as it is."""
    return " ".join(line.strip(" ") for line in lines.split("\n"))


def read(path: Path) -> dict[str, Any]:
    """Whole and unchanged, or an error that says what is wrong with it."""
    found = _opened(path)
    Margins.parse(found.get("margins"), path)
    try:
        same = found.get("digest") == _digest(found)
    except ValueError:  # a number that is none
        same = False
    if not same:
        raise EdgeresnetError(
            f"{path} was changed after it was written: what it says was not measured",
            hint=f"its margins alone may be edited by hand; {_RENEW}",
        )
    return found


def margins_of(path: Path) -> Margins:
    """Those of a baseline that is to be renewed: all else in it may be as it likes, also of an older format."""
    return Margins.parse(_opened(path, any_format=True).get("margins"), path)


def _opened(path: Path, *, any_format: bool = False) -> dict[str, Any]:
    try:
        written = path.read_text(encoding="utf-8")
        found = json.loads(written) if written.strip() else None
    except FileNotFoundError as problem:
        raise EdgeresnetError(f"there is no baseline {path}", hint=_RENEW) from problem
    except OSError as problem:
        raise EdgeresnetError(f"{path} cannot be read: {problem.strerror}", hint=_ANEW) from problem
    except ValueError as problem:
        where = f", line {problem.lineno}" if isinstance(problem, json.JSONDecodeError) else ""
        raise EdgeresnetError(f"{path} is no baseline: it is not JSON{where}", hint=_ANEW) from problem
    if not isinstance(found, dict) or not isinstance(found.get(_FORMAT_KEY), int):
        what = "it is empty" if found is None else f"it has no {_FORMAT_KEY}"
        raise EdgeresnetError(f"{path} is no baseline: {what}", hint=_ANEW)
    if found[_FORMAT_KEY] > FORMAT or (found[_FORMAT_KEY] < FORMAT and not any_format):
        word = "a newer" if found[_FORMAT_KEY] > FORMAT else "an older"
        raise EdgeresnetError(
            f"{path} was written by {word} edgeresnet: its format is {found[_FORMAT_KEY]}, this program reads {FORMAT}",
            hint="use the edgeresnet that wrote it, or --update: an older file's margins stay",
        )
    return found


def _digest(baseline: Mapping[str, Any]) -> str:
    return manifest.digest_of({key: value for key, value in baseline.items() if key not in ("margins", "digest")})


def _filled(value: Any) -> Any:
    """Without what says nothing."""
    if not isinstance(value, dict):
        return value
    return {key: inner for key, one in value.items() if (inner := _filled(one)) is not None}


def _unfit(run: Mapping[str, Any], why: str) -> EdgeresnetError:
    return EdgeresnetError(
        f"run {run['id']} is no baseline: {why}",
        hint="a baseline holds everything that shall be gated: finish the run, or leave that target out of its recipe",
    )
