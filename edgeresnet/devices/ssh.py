"""One connection to one device: the system's own ssh, which runs the agent there and carries requests to it.

ssh knows the user's keys, agent and jump hosts. Host keys are checked, and nothing asks for a password. The command
line there never changes but for the program's name, which is quoted; all else travels as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import select
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from ..errors import TargetError, shortened
from ..text import on_one_line
from .book import Device

_PACKAGE = Path(__file__).parents[1]
_AGENT = ("machine", "bundles", "work", "jobs", "serve")
# Each needs those before it.
_FILES = ("machine_files", "sensor_files")
SENT = (*(f"portable/{name}" for name in _FILES), *(f"devices/agent/{name}" for name in _AGENT))
# Modules have their own names there, too: what one imports from another is found.
_LOADER = """import sys, types
def module(name, package):
    made = types.ModuleType(name)
    made.__package__ = package
    sys.modules[name] = made
    above, _, last = name.rpartition(".")
    if above:
        if above not in sys.modules:
            module(above, above).__path__ = []
        setattr(sys.modules[above], last, made)
    return made
def load():
    for name, text in SOURCES:
        made = module(name, name.rpartition(".")[0])
        exec(compile(text, name, "exec"), made.__dict__)
    return made
load().main(globals().get("PROGRAM", ""))
"""
# What the shell there gets: no quote but one pair, no dollar, no backslash.
_FIRST = (
    "import sys;f=sys.stdin.buffer;s=f.read(int(f.readline()));"
    'exec(compile(s,"agent","exec"),dict(PROGRAM=s.decode(),__name__="agent"))'
)
_OPTIONS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "PasswordAuthentication": "no",
    "KbdInteractiveAuthentication": "no",
    "ControlMaster": "no",
    "ControlPath": "none",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ClearAllForwardings": "yes",
    "PermitLocalCommand": "no",
    "RequestTTY": "no",
    "LogLevel": "INFO",
}
_SILENCE_S = 45.0  # without an answer that is due: the line is dead, whatever ssh thinks
_BANNER = 1 << 16  # bytes that a shell may print before the agent
_BLOCK = 1 << 16


class Dropped(Exception):
    """The line is down, or the device does not answer: trying again may help.

    Its text is the reason; `hint` is what to do where trying again did not help.
    """

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


class NotFound(Dropped):
    """The address leads to no host: a wrong name, or this machine's own line is down."""


class Damaged(Dropped):
    """A file or an answer did not arrive as it was sent."""


class Refused(Exception):
    """The agent refused a request: a code, and a text."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


def program() -> bytes:
    """Return what runs there, as one script."""
    files = {name: _PACKAGE / f"{name}.py" for name in SENT}
    sources = [
        (f"{_PACKAGE.name}.{name.replace('/', '.')}", file.read_text(encoding="utf-8")) for name, file in files.items()
    ]
    return f"SOURCES = {sources!r}\n{_LOADER}".encode()


def command(device: Device) -> list[str]:
    """Return the command line of ssh."""
    config = ["-F", os.path.expanduser(device.config)] if device.config else []
    options = [f"-o{name}={value}" for name, value in _OPTIONS.items()]
    return ["ssh", *config, *options, "-T", "--", device.ssh, f"exec {quoted_program(device.python)} -c '{_FIRST}'"]


def quoted_program(name: str) -> str:
    """Return a program's name as one word for any shell. A leading ~/ stays what it is to a shell."""
    own, rest = ("~/", name[2:]) if name.startswith("~/") else ("", name)
    return own + shlex.quote(rest)


class Connection:
    """A connection with an agent at its other end. A context manager: leaving it ends ssh."""

    def __init__(self, name: str, device: Device) -> None:
        self.name, self.device = name, device
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        self._buffer = b""
        self._said_before = 0  # bytes of ssh's messages from before the greeting: banners, warnings
        try:
            # A session of its own: Ctrl-C in the terminal must not end the line that asks the device to stop.
            self._ssh = subprocess.Popen(
                command(device),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,
            )
        except FileNotFoundError as problem:
            hint = "install OpenSSH's client, for example the package openssh-client"
            raise TargetError("ssh", "is not installed on this machine", hint=hint) from problem
        assert self._ssh.stdin
        assert self._ssh.stdout
        self._in, self._out = self._ssh.stdin.fileno(), self._ssh.stdout.fileno()
        os.set_blocking(self._in, False)
        with contextlib.ExitStack() as undone:
            undone.callback(self.close)
            self._greet()
            undone.pop_all()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def close(self) -> None:
        """End ssh, and with it the agent. What works there goes on."""
        for stream in (self._ssh.stdin, self._ssh.stdout):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._ssh.wait(0.2)
        if self._ssh.poll() is None:
            self._ssh.kill()
            self._ssh.wait()
        self._errors.close()

    def send(self, op: str, fields: Mapping[str, object], body: bytes = b"") -> None:
        """Send a request without waiting for its answer."""
        request = {**fields, "op": op, "folder": self.device.folder, "size": len(body)}
        self._write(json.dumps(request).encode() + b"\n" + body)

    def ask(self, op: str, fields: Mapping[str, object]) -> tuple[dict[str, Any], bytes]:
        """Send a request and return its answer. Raise Refused where the agent refuses it, Dropped where none comes."""
        with contextlib.suppress(Dropped):  # an agent that ended may have written why
            self.send(op, fields)
        line = self._line(time.monotonic() + _SILENCE_S)
        try:
            answer = json.loads(line)
            size = int(answer["size"])
        except (ValueError, TypeError, KeyError) as problem:
            raise Damaged("its answer was damaged on the way") from problem
        body = self._exactly(size, time.monotonic() + max(_SILENCE_S, size / 1e4))
        if "refused" in answer:
            raise Refused(answer["refused"], answer["text"])
        return answer, body

    def _greet(self) -> None:
        """Send the agent, and skip what a shell prints before it."""
        word, code = secrets.token_hex(16).encode(), program()
        with contextlib.suppress(Dropped):  # why it ended is what ssh wrote
            self._write(b"%d\n" % len(code) + code + word + b"\n")
        greeting, until = b"edgeresnet-agent " + word, time.monotonic() + _SILENCE_S
        while greeting not in self._buffer:
            try:
                self._more(until)
            except Dropped as problem:
                raise self._reason(problem, self._buffer[-_BANNER:].decode("utf-8", "replace")) from problem
            if len(self._buffer) > 2 * _BANNER:
                self._buffer = self._buffer[-_BANNER:]
        self._buffer = self._buffer[self._buffer.index(greeting) + len(greeting) + 1 :]
        self._said_before = os.fstat(self._errors.fileno()).st_size

    def _reason(self, problem: Dropped, printed: str) -> TargetError | Dropped:
        """Return why the agent did not answer: ssh's reason, or what the shell there printed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._ssh.wait(1)
        if self._ssh.returncode is None:
            return dropped(self.device, f"{problem}{f', but printed: {last_line(printed)}' if printed.strip() else ''}")
        return refusal(self.name, self.device, self._ssh.returncode, self._said(), printed)

    def _said(self) -> str:
        """Return the end of what ssh has written. Its offset in the file is ssh's own: nothing may move it."""
        file = self._errors.fileno()
        begin = max(self._said_before, os.fstat(file).st_size - _BANNER)
        return os.pread(file, _BANNER, begin).decode("utf-8", "replace")

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            _, ready, _ = select.select([], [self._in], [], _SILENCE_S)
            if not ready:
                raise dropped(self.device, f"it took nothing for {_SILENCE_S:.0f} s")
            try:
                view = view[os.write(self._in, view[:_BLOCK]) :]
            except BlockingIOError:
                continue
            except OSError as problem:
                raise self._dropped() from problem

    def _line(self, until: float) -> bytes:
        while b"\n" not in self._buffer:
            self._more(until)
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _exactly(self, size: int, until: float) -> bytes:
        parts, count = [self._buffer], len(self._buffer)
        while count < size:
            self._buffer = b""
            self._more(until)
            parts.append(self._buffer)
            count += len(self._buffer)
        data = b"".join(parts)
        self._buffer = data[size:]
        return data[:size]

    def _more(self, until: float) -> None:
        ready, _, _ = select.select([self._out], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            raise dropped(self.device, f"it did not answer within {_SILENCE_S:.0f} s")
        block = os.read(self._out, _BLOCK)
        if not block:
            raise self._dropped()
        self._buffer += block

    def _dropped(self) -> Dropped:
        """Return the reason in ssh's own words."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._ssh.wait(1)
        return dropped(self.device, last_line(self._said()) or "the connection was closed")


class Line:
    """The connection to one device, open from one job to the next. A context manager: leaving it closes it."""

    def __init__(self, name: str, device: Device) -> None:
        self.name, self.device = name, device
        self._connection: Connection | None = None

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def connection(self) -> Connection:
        """Return the open connection, or a new one."""
        if self._connection is None:
            self._connection = Connection(self.name, self.device)
        return self._connection

    def close(self) -> None:
        """Close the connection, if there is one. The next use opens another."""
        if self._connection:
            self._connection.close()
        self._connection = None


_REFUSALS = {
    r"REMOTE HOST IDENTIFICATION HAS CHANGED": (
        "has another host key than the one that ssh knows",
        "it may be another machine: if you know why, `{forget}`, then `{ssh}` once",
    ),
    r"Host key verification failed|host key is known for": (
        "has a host key that ssh does not know",
        "connect by hand once and compare the key: `{ssh}`",
    ),
    r"Permission denied \(|Too many authentication failures": (
        "refused your key",
        "`ssh-copy-id {address}`, or `ssh-add` if the key has a passphrase; no password is ever asked for",
    ),
    r"Bad configuration option|terminating, \d+ bad|Can't open user config file|Bad owner or permissions": (
        "cannot be reached: ssh refuses its configuration",
        "correct ssh's configuration file",
    ),
}
_NO_HOST = "Could not resolve hostname"
_NO_SERVER = "Connection refused"


def refusal(name: str, device: Device, code: int, errors: str, printed: str) -> TargetError | Dropped:
    """Return what a connection that did not reach the agent means: an error, or Dropped where waiting may help."""
    for pattern, (problem, hint) in _REFUSALS.items():
        if code == 255 and re.search(pattern, errors):
            given = {"forget": _forget(device, errors), "ssh": by_hand(device), "address": device.ssh}
            return TargetError(f"{name} ({device.ssh})", problem, hint=hint.format(**given))
    if code == 255:
        return dropped(device, last_line(errors) or "ssh ended without a word")
    if code in (126, 127) or _is_absent(device.python, errors):
        hint = "install Python 3.10 there, or name another one in devices.yaml: `python:`"
        return TargetError(name, f"has no program {device.python}", hint=hint)
    words = last_line(errors) or last_line(printed) or f"exit code {code}"
    hint = f"`{device.python}` must be Python 3.10 or newer there; try `{by_hand(device)}`"
    return TargetError(name, f"did not start Python: {words}", hint=hint)


def dropped(device: Device, reason: str) -> Dropped:
    """Return a line that is down, with what may help."""
    if _NO_HOST in reason:
        return NotFound(reason, "check `ssh:` in devices.yaml, and the network")
    if _NO_SERVER in reason:
        return Dropped(reason, "check the port in `ssh:` of devices.yaml, and that an SSH server runs there")
    return Dropped(reason, f"check that it runs and is in the network: `{by_hand(device)}`")


def by_hand(device: Device) -> str:
    """Return the command line with which a person reaches a device."""
    return shlex.join(["ssh", *(["-F", device.config] if device.config else []), device.ssh])


def _forget(device: Device, errors: str) -> str:
    """Return the command line that removes a host key which has changed, from the file where ssh found it."""
    host = re.search(r"^Host key for (\S+) has changed", errors, re.M)
    file = re.search(r"^Offending \S+ key in (.+):\d+\s*$", errors, re.M)
    name = host[1] if host else device.ssh.rpartition("@")[2]
    return shlex.join(["ssh-keygen", "-R", name, *(["-f", file[1]] if file else [])])


def _is_absent(program: str, errors: str) -> bool:
    """Return whether a shell reports that it has no such program, with whatever exit code."""
    return any(program in line and re.search(r"(?i)not found|No such file", line) for line in errors.splitlines())


def last_line(text: str) -> str:
    """Return the last line of what a program wrote, short enough for a message."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return shortened(on_one_line(lines[-1]), 160) if lines else ""


def blocks(path: Path, offset: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield the bytes of a file from an offset, each block with where it begins."""
    with open(path, "rb") as file:
        file.seek(offset)
        while block := file.read(size):
            yield offset, block
            offset += len(block)
