"""A device for tests: this machine's own sshd on loopback, with keys and a configuration of its own."""

from __future__ import annotations

import contextlib
import getpass
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgeresnet.devices.book import Device

_COUNT = itertools.count()  # of the servers of this process
PROGRAM = shutil.which("sshd", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))


@dataclass
class Server:
    """A running sshd. `config` is for the client: every name in it leads here."""

    folder: Path
    port: int
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Path:
        return self.folder / "client"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [str(PROGRAM), "-D", "-f", self.folder / "server", "-E", self.folder / "log"], stdin=subprocess.DEVNULL
        )
        for _ in range(1200):  # a minute: the machine may have other work
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.05)
        raise AssertionError("sshd does not listen")

    def stop(self) -> None:
        """End sshd and its connections, as an interruption of the line does: what works there goes on."""
        if self.process:
            self.cut()
            self.process.terminate()
            self.process.wait()
            self.process = None

    def restart(self, *lines: str) -> None:
        """Start again with more lines of sshd's configuration, and with the environment as it is now."""
        self.stop()
        setting = " ".join(f'"{name}={value}"' for name, value in self.environment.items())
        own = [line for line in (self.folder / "server").read_text().splitlines() if not line.startswith("SetEnv ")]
        (self.folder / "server").write_text("\n".join([*own, f"SetEnv {setting}", *lines]) + "\n")
        self.start()

    def logins(self) -> int:
        """Return how many connections there were."""
        return (self.folder / "log").read_text().count("Accepted publickey")

    def connections(self) -> list[int]:
        """Return the processes that serve connections."""
        assert self.process
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(each) for each in children.split()]

    def cut(self) -> int:
        """Cut every connection; return how many there were."""
        found = self.connections()
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(found)

    def device(self, **changes: Any) -> Device:
        """Return this server as a device."""
        given = {"ssh": "loopback", "config": str(self.config), "folder": str(self.folder / "edgeresnet"), **changes}
        return Device.model_validate(given)


def _free_port() -> int:
    """Return a port that nothing uses, and that is not one of those that connections get: a test may use it again."""
    while True:
        port = 20000 + (101 * os.getpid() + next(_COUNT)) % 12000
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _version() -> tuple[int, ...]:
    found = re.search(r"OpenSSH_(\d+)\.(\d+)", subprocess.run(["ssh", "-V"], capture_output=True, text=True).stderr)
    return tuple(map(int, found.groups())) if found else (0, 0)


def made(folder: Path, **environment: str) -> Server:
    """Make keys and configurations for a server; skip the test where sshd is not installed."""
    if PROGRAM is None or shutil.which("ssh") is None:
        pytest.skip("OpenSSH's sshd is not installed: the Debian package is openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    port = _free_port()
    environment = {"EDGERESNET_LOCKS": str(folder), **environment}
    lines = [
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {folder}/host",
        f"AuthorizedKeysFile {folder}/authorized",
        "PidFile none",
        "UsePAM no",
        "StrictModes no",
        "PasswordAuthentication no",
        "PermitRootLogin yes",
        *(["PerSourcePenalties no"] if _version() >= (9, 8) else []),  # of lines that a test cuts
        "SetEnv " + " ".join(f'"{name}={value}"' for name, value in environment.items()),
    ]
    (folder / "server").write_text("\n".join(lines) + "\n")
    key = (folder / "host.pub").read_text().split()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {key[0]} {key[1]}\n")
    client = [
        "Host *",
        "HostName 127.0.0.1",
        f"Port {port}",
        f"User {getpass.getuser()}",
        f"IdentityFile {folder}/user",
        "IdentitiesOnly yes",
        f"UserKnownHostsFile {folder}/known",
        "GlobalKnownHostsFile /dev/null",
        "UpdateHostKeys no",
    ]
    (folder / "client").write_text("\n".join(client) + "\n")
    return Server(folder, port, environment)


def set_clock(server: Server, ahead_s: float) -> None:
    """Let the clock of every Python there be wrong."""
    code = f"import time\nreal = time.time\ntime.time = lambda: real() + {ahead_s}\n"
    (server.folder / "clock").mkdir()
    (server.folder / "clock" / "sitecustomize.py").write_text(code)
    server.environment["PYTHONPATH"] = str(server.folder / "clock")
    server.restart()
