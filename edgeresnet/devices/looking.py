"""What is known of a device before it measures: whether it can, in which state it is, and who uses it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from .. import targets
from ..errors import EdgeresnetError, TargetError
from ..portable import codec
from ..portable.codec import CodecError
from ..portable.frozen import dataclass
from . import ssh
from .book import Device

OLDEST = (3, 10)  # of Python, for a bundle
ROOM_MB = 500.0  # of the disk
SKEW_S = 120.0  # of the clock
_NUMPY = "numpy"


@dataclass(frozen=True)
class Holder:
    """Who measures on a device now."""

    who: str
    job: str = ""
    for_s: float = 0.0


@dataclass(frozen=True)
class Facts:
    """What a device reports of itself."""

    identity: str
    host: str
    system: str
    board: str
    python: str
    versions: Mapping[str, str]  # of libraries; empty where one is missing
    free_mb: float
    writable: bool
    clock: float
    logins: tuple[str, ...]
    load: float
    temperature_c: float | None
    cpu_mhz: float | None
    sensors: tuple[str, ...]
    power_mode: str
    governor: str
    holder: Holder | None


@dataclass(frozen=True)
class Seen:
    """One device as it was looked at. `problems` keep it from measuring, `notes` do not."""

    name: str
    ssh: str
    reachable: bool
    problems: tuple[str, ...]
    hint: str = ""
    targets: tuple[str, ...] = ()
    facts: Facts | None = None
    notes: tuple[str, ...] = ()
    skew_s: float = 0.0  # how far its clock is ahead of this machine's
    measures: Mapping[str, str] = field(default_factory=dict)  # target → its runtime's version; empty: not installed

    @property
    def ready(self) -> bool:
        return self.reachable and not self.problems


def look(name: str, device: Device, wanted: Sequence[str] = ()) -> Seen:
    """Connect to a device and return what is known of it. `wanted` are targets that it should measure."""
    wanted = tuple(device.target or wanted)
    try:
        with ssh.Connection(name, device) as connection:
            return judged(name, device, facts(connection, wanted or targets.names()), wanted)
    except ssh.Dropped as problem:
        return Seen(name, device.ssh, False, (f"cannot be reached: {problem}",), problem.hint, wanted)
    except EdgeresnetError as problem:
        return Seen(name, device.ssh, False, (problem.problem,), problem.hint, wanted)


def facts(connection: ssh.Connection, wanted: Sequence[str]) -> Facts:
    """Ask a device what is known of it."""
    libraries = [_NUMPY, *(library for each in wanted for library in targets.get(each).libraries)]
    answer, _ = request(connection, "look", libraries=list(dict.fromkeys(libraries)))
    return facts_of(connection.name, answer)


def facts_of(name: str, answer: Mapping[str, Any]) -> Facts:
    """Return a device's answer as its type."""
    try:
        return codec.decode(Facts, {key: value for key, value in answer.items() if key != "size"})
    except CodecError as problem:
        raise TargetError(name, f"answered something odd: {problem}", hint="try again") from problem


def request(connection: ssh.Connection, op: str, **fields: object) -> tuple[dict[str, Any], bytes]:
    """Send a request; turn what the device refuses into an error with a hint."""
    try:
        return connection.ask(op, fields)
    except ssh.Refused as problem:
        raise refused(connection.name, connection.device, problem) from problem


def refused(name: str, device: Device, problem: ssh.Refused) -> TargetError | ssh.Damaged:
    """Return the error that a refused request is; Damaged where sending it again may help."""
    if problem.code == "damaged":
        return ssh.Damaged(problem.text)
    if problem.code == "python":
        hint = "bundles need Python 3.10: name one of that age or newer: `python:` in devices.yaml"
        return TargetError(name, f"has Python {problem.text} as {device.python}", hint=hint)
    if problem.code == "full":
        return full(name, device, problem.text)
    if problem.code == "folder":
        hint = "check `folder:` in devices.yaml, and that you may write there"
        return TargetError(name, f"cannot use its folder: {problem.text}", hint=hint)
    return TargetError(name, f"refused a request: {problem.text}", hint="run it again")


def full(name: str, device: Device, what: str) -> TargetError:
    """Return the error that a full disk is."""
    return TargetError(name, f"has a full disk: {what}", hint=room_hint(device))


def room_hint(device: Device) -> str:
    """Return what helps against a full disk there."""
    return f"free some space there, for example in {device.folder}, and run it again"


def judged(name: str, device: Device, found: Facts, wanted: Sequence[str], now: float | None = None) -> Seen:
    """Return what facts mean for the measurements that are wanted."""
    skew = found.clock - (time.time() if now is None else now)
    runtimes = {each: _version_of(each, found.versions) for each in wanted or targets.names()}
    problems, hint = _problems(device, found, {each: runtimes[each] for each in wanted})
    return Seen(
        name,
        device.ssh,
        True,
        tuple(problems),
        hint,
        tuple(wanted),
        found,
        (*_notes(found, skew), *_untested(runtimes)),
        skew,
        {each: version for each, version in runtimes.items() if version or each in wanted},
    )


def _version_of(target: str, versions: Mapping[str, str]) -> str:
    return next((versions[name] for name in targets.get(target).libraries if versions.get(name)), "")


def _problems(device: Device, found: Facts, runtimes: Mapping[str, str]) -> tuple[list[str], str]:
    """Return what keeps a device from measuring, and what to do about the first of it."""
    problems: list[tuple[str, str]] = []
    if tuple(map(int, found.python.split(".")[:2])) < OLDEST:
        problems.append((f"has Python {found.python}, and bundles need 3.10", "set `python:` to a newer one"))
    if not found.versions.get(_NUMPY):
        problems.append((f"has no numpy for {device.python}", f"`{device.python} -m pip install numpy` there"))
    for name, version in runtimes.items():
        if not version:
            target = targets.get(name)
            problems.append((f"has no {target.title} for {device.python}", target.install))
    if not found.writable:
        problems.append((f"has no folder {device.folder} that you may write to", "set `folder:` to another one"))
    if device.id and device.id != found.identity:
        problems.append(("is another device than devices.yaml names", other_hint(found.identity)))
    return [problem for problem, _ in problems], problems[0][1] if problems else ""


def other_hint(identity: str) -> str:
    """Return what to do where a name leads to another device than before."""
    return f"give it a name of its own, or accept it: `id: {identity}` in its entry of devices.yaml"


def _notes(found: Facts, skew: float) -> list[str]:
    notes = []
    if abs(skew) > SKEW_S:
        notes.append(f"its clock is {span(abs(skew))} {'ahead' if skew > 0 else 'behind'}: times are corrected")
    if found.free_mb < ROOM_MB:
        notes.append(f"only {found.free_mb:.0f} MB of its disk are free")
    if found.holder:
        notes.append(f"{found.holder.who} measures there now")
    return notes


def _untested(runtimes: Mapping[str, str]) -> list[str]:
    """Return which runtimes are older than those that bundles are tested with."""
    return [
        f"its {target.title} {version} is older than {target.oldest}, the oldest that bundles are tested with"
        for target, version in ((targets.get(name), version) for name, version in runtimes.items())
        if version and _release(version) < _release(target.oldest)
    ]


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with: (2026, 4, 1) of 2026.4.1-22982-e213a147257."""
    return tuple(int(number) for number in re.findall(r"\d+", version.split("-")[0]))


def span(seconds: float) -> str:
    """Return a time in the unit that fits."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
