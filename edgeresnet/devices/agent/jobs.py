"""Jobs on a device: started once, followed, fetched, stopped. Every request may be repeated.

A job is a folder. Its file `alive` is locked by the work as long as that lives, so that no state is ever guessed.
"""

import fcntl
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from typing import Any, Dict, Tuple

from . import bundles, machine, work

CHUNK = 1 << 16  # bytes of a job's output in one answer
_TICK_S = 0.05
_ROOM = 4096  # bytes kept for how a job ends

Request = Dict[str, Any]
Answer = Tuple[Dict[str, Any], bytes]


def job_of(request: Request) -> str:
    """Return the folder of a job."""
    if not re.match(r"^[0-9a-f-]{8,80}$", request["job"]):
        raise bundles.Refused("request", "a job has an odd name")
    return os.path.join(request["folder"], "jobs", request["job"])


def start(source: str, request: Request) -> Answer:
    """Start a job, unless it lives or has ended. `again`: also where it has ended."""
    job = job_of(request)
    os.makedirs(job, exist_ok=True)
    alive = os.open(os.path.join(job, "alive"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if request["again"] or not os.path.exists(os.path.join(job, "end.json")):
            _start(source, job, request, alive)
    except BlockingIOError:
        pass
    except (OSError, bundles.Refused):  # half a job is none
        shutil.rmtree(job, ignore_errors=True)
        raise
    finally:
        os.close(alive)  # the work has a copy of its own: the lock is there as long as that
    return state(job), b""


def _start(source: str, job: str, request: Request, alive: int) -> None:
    for name in ("end.json", "result.json", "waits.json"):
        bundles.remove(os.path.join(job, name))
    bundle = bundles.assembled(request["folder"], request["bundle"], request["files"], request["rebuild"])
    _tidy(request["folder"], bundle)
    about = {"bundle": bundle, "alive": alive, **{name: request[name] for name in ("words", "who", "job")}}
    machine.write(os.path.join(job, "job.json"), about)
    with open(os.path.join(job, "end.part"), "wb") as room:
        room.write(b" " * _ROOM)
    script = os.path.join(job, "agent.py")
    with open(script, "w", encoding="utf-8") as file:
        file.write(source)
    with open(os.path.join(job, "output"), "wb") as output:
        subprocess.Popen(
            [sys.executable, script, "work", job],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=(alive,),
        )


def state(job: str) -> Dict[str, Any]:
    """Return the state of a job."""
    alive = _is_alive(job)  # asked first: a job that ends meanwhile has its end by then
    end = machine.read(os.path.join(job, "end.json"))
    if end:
        return {"state": "ended", "end": end, "age_s": work.age_s(end.get("at"))}
    if not alive:
        return {"state": "lost" if os.path.exists(os.path.join(job, "job.json")) else "absent"}
    waits = machine.read(os.path.join(job, "waits.json"))
    return {"state": "waiting", "holder": waits} if waits else {"state": "running"}


def poll(request: Request) -> Answer:
    """Return a job's state and more of its output: when there is something new, or after the given seconds."""
    job, until = job_of(request), time.monotonic() + request["wait_s"]
    while True:
        now, more = state(job), b""
        try:
            with open(os.path.join(job, "output"), "rb") as file:
                file.seek(request["offset"])
                more = file.read(CHUNK)
        except OSError:
            pass
        if more or now["state"] != request["state"] or time.monotonic() >= until:
            return now, more
        time.sleep(_TICK_S)


def fetch(request: Request) -> Answer:
    """Return the result of a job."""
    try:
        with open(os.path.join(job_of(request), "result.json"), "rb") as file:
            return {}, file.read()
    except OSError as problem:
        raise bundles.Refused("result", "the result is missing") from problem


def stop(request: Request) -> Answer:
    """Ask a job to end, then end it for certain."""
    job, until = job_of(request), time.monotonic() + work.GRACE_S + 2
    pid = (machine.read(os.path.join(job, "pid.json")) or {}).get("pid")
    if pid and _is_alive(job):
        _kill(pid, signal.SIGTERM)
        while _is_alive(job) and time.monotonic() < until:
            time.sleep(_TICK_S)
        if _is_alive(job):
            _kill(pid, signal.SIGKILL)
    return state(job), b""


def drop(request: Request) -> Answer:
    """Remove what a job left, unless it lives."""
    job, until = job_of(request), time.monotonic() + work.GRACE_S
    while _is_alive(job) and state(job)["state"] == "ended" and time.monotonic() < until:  # it is about to
        time.sleep(_TICK_S)
    if not _is_alive(job):
        shutil.rmtree(job, ignore_errors=True)
    return {}, b""


def _is_alive(job: str) -> bool:
    try:
        alive = os.open(os.path.join(job, "alive"), os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(alive, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(alive)
    return False


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:
        pass


def _tidy(folder: str, bundle: str) -> None:
    """Remove bundles and jobs that were not used for a month. `bundle` is about to be used."""
    used = {bundle}
    for path in glob.glob(os.path.join(glob.escape(folder), "jobs", "*")):
        if _is_alive(path):
            used.add(str((machine.read(os.path.join(path, "job.json")) or {}).get("bundle")))
        elif _age_s(path) > bundles.KEPT_S:
            shutil.rmtree(path, ignore_errors=True)
    bundles.tidy(folder, used)


def _age_s(job: str) -> float:
    """Return how long ago a job ended: by the time since the device started where that is known, else by its clock."""
    age_s = work.age_s((machine.read(os.path.join(job, "end.json")) or {}).get("at"))
    return time.time() - os.path.getmtime(job) if age_s is None else age_s
