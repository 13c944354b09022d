"""A job on a device, from its bundle to its result, whatever becomes of the line meanwhile.

Every step is a request that may be repeated. When the line drops, all of it begins again on a new connection, and finds
what is done: files that are there, a job that works, a result that waits.
"""

from __future__ import annotations

import contextlib
import functools
import getpass
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from ..errors import ArtifactError, TargetError
from ..portable import manifest
from . import looking, ssh
from .book import Device

T = TypeVar("T")

FIRST_S, FIRST_TIMES = 12.0, 3  # of trying at least, for a device that was not reached yet
RESTARTS = 3  # of a job that was killed there
_BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_WAIT_S = 1.0  # for news, in one request
_BLOCK = 1 << 20  # bytes of a file in one request
_AGAIN = "run it again: `edgeresnet run` does only what is missing"
_TIMED = re.compile(r"timed: (\d+) of (\d+) processes")
_ERROR = re.compile(r"^error: (.+)$")


class Watcher(Protocol):
    """Receives what happens on a device."""

    def progress(self, done: int, total: int, word: str) -> None: ...

    def line(self, text: str) -> None:
        """Receive a line of the measurement's output."""

    def remark(self, sentence: str) -> None:
        """Receive what a person should see: the line dropped, the device is in use."""


class Away(TargetError):
    """The device does not answer, after all tries: whatever else waits for it ends with the same reason."""


class Stopped(Exception):
    """The user stopped the run, and the device was asked to stop."""


@dataclass(frozen=True)
class Source:
    """Where a result comes from."""

    seen: looking.Seen
    age_s: float | None  # since it was measured, whatever the device's clock; None: the device has started again since
    changed: str = ""  # what a person changed there meanwhile: `power mode MAXN became 15W`


@dataclass(frozen=True)
class Order(Generic[T]):
    """What one device is to do: measure a bundle, as a job of this id. `accept` takes the result's bytes."""

    name: str
    device: Device
    target: str
    bundle: Path
    job: str
    accept: Callable[[bytes, Source], T]
    known: str = ""  # the identity that this name had before; empty: none
    words: tuple[str, ...] = ()  # options of deploy.py


def measure(order: Order[T], watcher: Watcher, stopping: threading.Event, line: ssh.Line | None = None) -> T:
    """Return what `accept` makes of a device's result. Raise TargetError where none comes, Stopped when asked to.

    `line` stays open, for the next order.
    """
    work, down = _Work(order, watcher, stopping), 0
    with contextlib.ExitStack() as ending:
        line = line or ending.enter_context(ssh.Line(order.name, order.device))
        broken = ending.enter_context(contextlib.ExitStack())
        broken.callback(line.close)  # whatever ends this early may leave half a request
        while True:
            try:
                connection = line.connection()
                down = 0
                work.reached()
                found = work.advance(connection)
                broken.pop_all()
                return found
            except ssh.Dropped as problem:
                line.close()
                work.dropped(problem)
                stopping.wait(_BACKOFF_S[min(down, len(_BACKOFF_S) - 1)])
                down += 1


@functools.cache
def who() -> str:
    """Return who measures, for others who want to."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return socket.gethostname()


@dataclass
class _Work(Generic[T]):
    order: Order[T]
    watcher: Watcher
    stopping: threading.Event
    offset: int = 0  # of the output that was seen
    restarts: int = 0
    refetches: int = 0
    resent: int = 0
    tries: int = 0
    mended: bool = False  # whether the bundle was put together again
    is_down: bool = False
    ever: bool = False  # whether the device was reached at all
    heard: float = field(default_factory=time.monotonic)  # when something new came from the device
    partial: str = ""  # the last line of the output, which has no end yet
    error: tuple[str, str] = ("", "")  # the last one in the output, and its hint
    waited_for: str = ""

    def reached(self) -> None:
        """Note that there is a line."""
        if self.is_down:
            self.watcher.remark("the line is up again")
        self.is_down, self.ever, self.heard = False, True, time.monotonic()

    def dropped(self, problem: ssh.Dropped) -> None:
        """Note that the line is down; raise the reason where it has been for too long."""
        name, silent = self.order.name, time.monotonic() - self.heard
        if self.stopping.is_set():
            if self.ever:
                self.watcher.remark(f"cannot be asked to stop: {problem}; its measurement goes on there")
            raise Stopped from problem
        self.resent += isinstance(problem, ssh.Damaged)
        if self.resent > RESTARTS:
            hint = "check its disk, the network, and that nothing there prints after the login"
            raise TargetError(name, f"was not understood {self.resent} times: {problem}", hint=hint) from problem
        self.tries += 1
        is_away = silent > FIRST_S and self.tries >= FIRST_TIMES
        if not self.ever and (is_away or isinstance(problem, ssh.NotFound)):
            raise Away(name, f"cannot be reached: {problem}", hint=problem.hint) from problem
        if self.ever and silent > self._patience:
            minutes = f"{self.order.device.timeout_minutes:g} minutes"
            raise Away(name, f"did not come back within {minutes}: {problem}", hint=_AGAIN) from problem
        if not self.is_down:
            self.watcher.remark(f"the line dropped ({problem}): connecting again")
        self.is_down = True

    @property
    def _patience(self) -> float:
        return self.order.device.timeout_minutes * 60

    def advance(self, connection: ssh.Connection) -> T:
        """Continue from wherever the job is now; return what is made of its result."""
        seen = self._looked(connection)
        state = self._ask(connection, "poll", offset=self.offset, wait_s=0.0, state="")[0]
        while True:
            if self.stopping.is_set():
                self._stop(connection, state)
            if state["state"] in ("absent", "lost"):
                state = self._start(connection, seen, lost=state["state"] == "lost")
            elif state["state"] == "ended":
                self._follow_to_end(connection)
                ended = self._ended(connection, state["end"], Source(seen, state.get("age_s")))
                if ended is not None:
                    return ended[0]
                state = {"state": "absent"}
            else:
                state = self._follow(connection, state)

    def _looked(self, connection: ssh.Connection) -> looking.Seen:
        """Refuse another device than before under this name."""
        found = looking.facts(connection, [])
        known, name = self.order.device.id or self.order.known, self.order.name
        if known and known != found.identity:
            hint = looking.other_hint(found.identity)
            raise TargetError(name, "is another device than last time under this name", hint=hint)
        return looking.judged(name, self.order.device, found, [])

    def _ask(self, connection: ssh.Connection, op: str, **fields: object) -> tuple[dict[str, Any], bytes]:
        return looking.request(connection, op, job=self.order.job, **fields)

    def _start(self, connection: ssh.Connection, seen: looking.Seen, *, lost: bool) -> dict[str, Any]:
        if seen.problems:  # it would fail after all files were sent
            raise TargetError(self.order.name, seen.problems[0], hint=seen.hint)
        if lost:
            self.restarts += 1
            if self.restarts > RESTARTS:
                last = self.partial or self.error[0]
                problem = f"lost the measurement {self.restarts} times{f': {last}' if last else ''}"
                hint = "something ends its processes: look at its memory, and whether it restarts"
                raise TargetError(self.order.name, problem, hint=hint)
            self.watcher.remark("the measurement was killed there: starting it again")
        files = manifest.files_in(self.order.bundle)
        listed = [{"name": each.name, "size": each.size, "sha256": each.sha256} for each in files]
        own = self.order.bundle / manifest.NAME
        listed.append({"name": manifest.NAME, "size": own.stat().st_size, "sha256": manifest.sha256_of(own)})
        self._push(connection, listed, seen)
        self.offset, self.partial, self.error = 0, "", ("", "")
        digest = manifest.read(self.order.bundle)["digest"]
        words = [*self.order.words]
        given = {"bundle": digest, "files": listed, "words": words, "who": who(), "again": lost, "rebuild": self.mended}
        self.heard = time.monotonic()
        return self._ask(connection, "start", **given)[0]

    def _push(self, connection: ssh.Connection, files: Sequence[Mapping[str, Any]], seen: looking.Seen) -> None:
        """Send what is missing there, from where it ends."""
        answer, _ = self._ask(connection, "stored", files=list(files), verify=self.mended)
        missing: dict[str, int] = answer["missing"]
        todo = {each["sha256"]: each for each in files if each["sha256"] in missing}
        total, done = sum(each["size"] - missing[digest] for digest, each in todo.items()), 0
        if seen.facts and total / 1e6 > seen.facts.free_mb:
            what = f"{seen.facts.free_mb:.1f} MB are free, and the bundle needs {total / 1e6:.1f} MB"
            raise looking.full(self.order.name, self.order.device, what)
        for digest, each in todo.items():
            path, size = self.order.bundle / each["name"], int(each["size"])
            for offset, block in ssh.blocks(path, missing[digest], _BLOCK):
                if self.stopping.is_set():
                    raise Stopped
                connection.send("put", {"sha256": digest, "offset": offset, "total": size}, block)
                done += len(block)
                self.heard = time.monotonic()
                self.watcher.progress(done >> 10, max(total >> 10, 1), "kB sent")
            if missing[digest] == size:  # complete, and damaged or not renamed: nothing is left to send
                connection.send("put", {"sha256": digest, "offset": size, "total": size})
        left = self._ask(connection, "stored", files=list(files), verify=False)[0]["missing"]
        if left:
            raise ssh.Dropped("files did not arrive")

    def _follow(self, connection: ssh.Connection, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return the next state, and show what is new meanwhile."""
        known = state["state"]
        now, more = self._ask(connection, "poll", offset=self.offset, wait_s=_WAIT_S, state=known)
        self._show(more)
        if now["state"] == "waiting":
            holder = str(now["holder"].get("who", "another program"))
            if holder != self.waited_for:
                self.waited_for = holder
                self.watcher.remark(f"waits: {holder} measures there now")
        if more or now["state"] != known:
            self.heard = time.monotonic()
        elif time.monotonic() - self.heard > self._patience:
            self._give_up(connection, known)
        return now

    def _give_up(self, connection: ssh.Connection, state: str) -> None:
        minutes = f"{self.order.device.timeout_minutes:g} minutes"
        self._ask(connection, "stop")
        self._ask(connection, "drop")
        if state == "waiting":
            problem, hint = f"is in use by {self.waited_for}, for more than {minutes}", "run it again later"
        else:
            problem, hint = (
                f"showed no progress for {minutes}: it was stopped",
                "raise `timeout_minutes:` in devices.yaml",
            )
        raise TargetError(self.order.name, problem, hint=hint)

    def _follow_to_end(self, connection: ssh.Connection) -> None:
        while more := self._ask(connection, "poll", offset=self.offset, wait_s=0.0, state="")[1]:
            self._show(more)

    def _show(self, more: bytes) -> None:
        self.offset += len(more)
        *lines, self.partial = (self.partial + more.decode("utf-8", "replace")).split("\n")
        for line in lines:
            timed = _TIMED.search(line)
            if timed:
                self.watcher.progress(int(timed[1]), int(timed[2]), "processes timed")
            found = _ERROR.match(line)
            if found:
                self.error = (found[1], "")
            elif self.error[0] and not self.error[1] and line.startswith("  "):
                self.error = (self.error[0], line.strip())
            self.watcher.line(line)

    def _ended(self, connection: ssh.Connection, end: Mapping[str, Any], source: Source) -> tuple[T] | None:
        """Return what is made of the result; None where the job is to start again; raise why there is none."""
        name = self.order.name
        if end.get("stopped"):  # by another run, or before this one
            self._ask(connection, "drop")
            return None
        if end.get("failed"):
            self._ask(connection, "drop")
            if end.get("full"):
                raise looking.full(name, self.order.device, end["failed"])
            raise TargetError(name, f"could not start the measurement: {end['failed']}", hint=_AGAIN)
        if end.get("code") != 0:
            self._failed(connection, end)
            return None
        changed = _changed(end["before"], end["after"])
        if changed:
            self.watcher.remark(f"changed while it was measured: {changed}")
        return self._accepted(connection, replace(source, changed=changed))

    def _accepted(self, connection: ssh.Connection, source: Source) -> tuple[T] | None:
        try:
            accepted = self.order.accept(self._ask(connection, "fetch")[1], source)
        except TargetError:
            self._ask(connection, "drop")
            raise
        except ArtifactError as problem:
            self.refetches += 1
            if self.refetches < RESTARTS:  # it may have been damaged on its way
                return self._accepted(connection, source)
            self._ask(connection, "drop")
            raise TargetError(self.order.name, f"sent a result that is not used: {problem}", hint=_AGAIN) from problem
        self._ask(connection, "drop")
        return (accepted,)

    def _failed(self, connection: ssh.Connection, end: Mapping[str, Any]) -> None:
        """Raise why a measurement failed. A bundle that was damaged there is mended first, once."""
        words, hint = self.error
        self._ask(connection, "drop")
        if "has changed since it was made" in words and not self.mended:
            self.mended = True
            self.watcher.remark("the bundle was damaged there: sending it again")
            return
        if end.get("full") and not words:  # not even for its last words
            raise looking.full(self.order.name, self.order.device, "the measurement needs more than is free")
        if words.startswith("the disk is full"):
            hint = looking.room_hint(self.order.device)
        last = words or self.partial or f"deploy.py ended with {end.get('code')}"
        raise TargetError(self.order.name, f"could not measure: {last}", hint=hint or _AGAIN)

    def _stop(self, connection: ssh.Connection, state: Mapping[str, Any]) -> None:
        if state["state"] in ("waiting", "running"):
            self._ask(connection, "stop")
            self._ask(connection, "drop")
            self.watcher.remark("stopped")
        raise Stopped


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Return what was changed meanwhile that changes speed; empty where nothing was."""
    changed = [each for each in before if before[each] != after.get(each)]
    return ", ".join(
        f"{each.replace('_', ' ')} {before[each] or 'none'} became {after.get(each) or 'none'}" for each in changed
    )
