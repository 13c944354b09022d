"""The measurement on a device: a process of its own, which needs no line and has the device to itself.

One file is locked by all users and folders of the device. The kernel drops the lock when the process ends, however it
ends; the file names its holder.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from typing import Any, Dict, Optional

from ...portable import machine_files
from . import bundles, machine

LOCKS = ("/run/lock", "/tmp")  # the first of them that every user may write to
LOCK_NAME = "edgeresnet-measures.lock"
GRACE_S = 8.0  # for a measurement to end when it is asked to
_ROOM = 4096  # bytes: what a holder writes of itself
_WAIT_S = 0.5
_TOUCH_S = 60.0
_PROBE = 1 << 16  # bytes that a disk has room for, or it is full


class Stopped(Exception):
    """The host asked the job to stop."""


def work(job: str) -> None:
    """Measure a bundle while nothing else measures here, and write how that ended."""
    signal.signal(signal.SIGTERM, _raise_stopped)
    about = machine.read(os.path.join(job, "job.json"))
    end: Dict[str, Any] = {"code": None, "stopped": False}
    child = None
    try:
        machine.write(os.path.join(job, "pid.json"), {"pid": os.getpid()})
        lock = _locked(about, os.path.join(job, "waits.json"))
        end["before"] = machine.mode()
        child = _started(job, about, lock)
        end["code"] = _waited(child, lock)
        end["after"] = machine.mode()
        end["full"] = end["code"] != 0 and _is_full(job)
    except Stopped:
        end["stopped"] = True
        _end(child)
    except OSError as problem:
        end["failed"], end["full"] = str(problem.strerror or problem), bundles.is_full(problem)
    end["at"] = moment()
    _write_end(job, end)


def moment() -> Dict[str, Any]:
    """Return now, by what no one can set: the time since the device started, and which start that was."""
    started = machine_files.text("/proc/sys/kernel/random/boot_id")
    return {"boot": started, "s": time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))}


def age_s(at: Any) -> Optional[float]:
    """Return the seconds since a moment; None where the device has started again since, or nothing is known of it."""
    now = moment()
    known = isinstance(at, dict) and at.get("boot") == now["boot"] and isinstance(at.get("s"), (int, float))
    return max(0.0, now["s"] - at["s"]) if known else None


def holder() -> Optional[Dict[str, Any]]:
    """Return who measures here now; None where the device is free."""
    try:
        lock = os.open(lock_path(), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        found = _holder_in(lock)
        return {"who": str(found["who"]), "job": str(found.get("job", "")), "for_s": age_s(found.get("at")) or 0.0}
    finally:
        os.close(lock)
    return None


def lock_path() -> str:
    """Return the file that all users of this device lock."""
    own = os.environ.get("EDGERESNET_LOCKS")
    shared = [each for each in LOCKS if os.path.isdir(each) and os.stat(each).st_mode & 0o1002 == 0o1002]
    return os.path.join(own or (shared[0] if shared else "/tmp"), LOCK_NAME)


def _started(job: str, about: Dict[str, Any], lock: int) -> "subprocess.Popen[bytes]":
    result, program = os.path.join(job, "result.json"), os.path.join(about["bundle"], "deploy.py")
    return subprocess.Popen(
        [sys.executable, program, "--output", result, *about["words"]],
        stdin=subprocess.DEVNULL,
        cwd=job,
        env=dict(os.environ, PYTHONIOENCODING="utf-8"),
        pass_fds=(lock, about["alive"]),
        preexec_fn=_as_child,
    )


def _as_child() -> None:
    """Begin a process group of its own, which dies with the work: the device is free when its holder is gone."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)  # PR_SET_PDEATHSIG
    except (ImportError, OSError, AttributeError):
        pass  # another system than Linux: the child's copy of the lock holds the device until it ends


def _waited(child: "subprocess.Popen[bytes]", lock: int) -> int:
    """Wait for the measurement. The lock's file is touched, or what tidies /tmp would remove it after days."""
    while True:
        try:
            return child.wait(timeout=_TOUCH_S)
        except subprocess.TimeoutExpired:
            os.utime(lock, None)


def _is_full(job: str) -> bool:
    """Return whether the disk has no room for a small file."""
    path = os.path.join(job, "room")
    try:
        with open(path, "wb") as file:
            file.write(b" " * _PROBE)
    except OSError as problem:
        return bundles.is_full(problem)
    finally:
        bundles.remove(path)
    return False


def _end(child: "Optional[subprocess.Popen[bytes]]") -> None:
    """End a measurement as Ctrl-C would, then for certain."""
    for number in (signal.SIGINT, signal.SIGKILL) if child else ():
        try:
            os.killpg(child.pid, number)  # type: ignore[union-attr]
            child.wait(timeout=GRACE_S - 2)  # type: ignore[union-attr]
            break
        except (OSError, subprocess.TimeoutExpired):
            continue


def _raise_stopped(number: int, frame: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once
    raise Stopped


def _write_end(job: str, end: Dict[str, Any]) -> None:
    """Write how a job ended into the room that was kept for it: that works on a full disk, too."""
    with open(os.path.join(job, "end.part"), "r+b") as file:
        file.write(json.dumps(end).encode())
        file.flush()
        os.fsync(file.fileno())
    os.rename(os.path.join(job, "end.part"), os.path.join(job, "end.json"))


def _opened_lock(path: str) -> int:
    """Open the lock's file. Where any user may have made it, only its owner may open it with O_CREAT."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    while True:
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            pass
        try:
            made = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue
        os.fchmod(made, 0o666)
        return made


def _locked(about: Dict[str, Any], waits: str) -> int:
    """Wait until nothing else measures here; return the lock, which is dropped when this process ends."""
    path = lock_path()
    while True:
        lock = _opened_lock(path)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.stat(path).st_ino == os.fstat(lock).st_ino:  # or it was removed, and is another file now
                break
        except FileNotFoundError:
            pass
        except OSError:
            machine.write(waits, _holder_in(lock))
            time.sleep(_WAIT_S)
        os.close(lock)
    try:  # on a full disk the lock has no name, and holds
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps({"who": about["who"], "job": about["job"], "at": moment()}).encode(), 0)
    except OSError:
        pass
    bundles.remove(waits)
    return lock


def _holder_in(lock: int) -> Dict[str, Any]:
    try:
        found = json.loads(os.pread(lock, _ROOM, 0).decode())
    except (OSError, ValueError):
        found = None
    return found if isinstance(found, dict) and found.get("who") else {"who": "another program"}
