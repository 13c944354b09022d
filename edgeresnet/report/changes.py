"""What changed from one stored run to another: the recipe key by key, artifacts by digest, machines and versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Run = Mapping[str, Any]
Change = tuple[str, Any, Any]  # path, before, after; None where there was nothing

_MOVES = ("load",)  # of a machine from minute to minute: no change of it


def between(before: Run, after: Run) -> dict[str, Any]:
    return {
        "recipe": list(_changes(before["recipe"], after["recipe"])),
        "verdicts": list(_changes(_verdicts(before), _verdicts(after))),
        "artifacts": _artifacts(before, after),
        "machine": _machines(before, after),
        "versions": [
            (f"{target}.{path}", old, new)
            for target, (one, other) in _both(before, after).items()
            for path, old, new in _changes(one.get("versions", {}), other.get("versions", {}))
        ],
    }


def same_measurement(before: Run, after: Run, target: str) -> bool:
    """Whether a target's numbers are one artifact's: then nothing was measured in between."""
    one, other = (_steps(run).get(f"verify:{target}", {}).get("digest") for run in (before, after))
    return one is not None and one == other


def other_conditions(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Why times of two measurements are not comparable; empty where both are of one machine in one state."""
    one, other = (raw["processes"][0]["machine"] for raw in (before, after))
    found = list(_changes(one, other))
    if not found:
        return ""
    if [path for path, _, _ in found] == ["boot"]:
        return "the machine was started anew in between, or is another of the same name"
    kind = "on another machine" if _is_another(found) else "on this machine in another state"
    told = "; ".join(f"{path} {shown(new)}, in run A {shown(old)}" for path, old, new in found if path != "boot")
    return f"measured {kind}: {told}"


def shown(value: Any) -> str:
    """A recipe's or a machine's value as a person writes it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {shown(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(shown, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


_LASTING = {"host", "cpu", "instructions", "cores", "cpus", "system", "board", "gpus"}


def _is_another(found: list[Change]) -> bool:
    return any(path.split(".")[0] in _LASTING for path, _, _ in found)


def _changes(before: Any, after: Any, path: str = "") -> Iterator[Change]:
    """Key by key, down to what is no mapping; a section that is only on one side is told as a whole."""
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        if before != after:
            yield path, before, after
        return
    for key in dict.fromkeys((*before, *after)):
        yield from _changes(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))


def _verdicts(run: Run) -> dict[str, str]:
    return {f"{one['target']} {one['promise']}": one["verdict"] for one in run["verdicts"]}


def _both(before: Run, after: Run) -> dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Targets that were measured in both."""
    ours, theirs = ({t: r for t, r in run["results"].items() if "variants" in r} for run in (before, after))
    return {target: (ours[target], theirs[target]) for target in ours if target in theirs}


def _machines(before: Run, after: Run) -> list[Change]:
    """Where the runs were done, and where a device brought its own numbers home from."""
    home = _still(before["machine"], after["machine"])
    away = [
        (f"{target}: {path}", old, new)
        for target, (one, other) in _both(before, after).items()
        for path, old, new in _still(one.get("machine", {}), other.get("machine", {}))
        if (path, old, new) not in home
    ]
    return [*home, *away]


def _still(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    return [change for change in _changes(before, after) if change[0] not in _MOVES]


def _steps(run: Run) -> dict[str, Mapping[str, Any]]:
    return {step["id"]: step for step in run["steps"]}


def _artifacts(before: Run, after: Run) -> dict[str, Any]:
    """Step by step, parents first. `same_key` is the same asked once more that came out otherwise."""
    ours, theirs = _steps(after), _steps(before)
    found = []
    for name in dict.fromkeys((*ours, *theirs)):
        old, new = (steps.get(name, {}).get("digest") for steps in (theirs, ours))
        if old == new and name in ours and name in theirs:
            continue
        keys = [steps.get(name, {}).get("key") for steps in (theirs, ours)]
        found.append({"step": name, "before": old, "after": new, "same_key": None not in keys and keys[0] == keys[1]})
    return {"differ": found, "first": found[0]["step"] if found else None, "same": len({*ours, *theirs}) - len(found)}
