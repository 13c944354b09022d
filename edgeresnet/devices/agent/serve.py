"""Requests of the host, answered one at a time: a line of JSON each, with a body where `size` is more than 0."""

import json
import os
import sys
from typing import Any, BinaryIO, Callable, Dict, Optional

from . import bundles, jobs, machine, work

OLDEST = (3, 8)
GREETING = b"edgeresnet-agent "


def main(source: str) -> None:
    """Answer the host, or work. `source` is this program, which a job starts again as a process of its own."""
    if sys.argv[1:2] == ["work"]:
        work.work(sys.argv[2])
    else:
        serve(source)


def serve(source: str) -> None:
    """Answer requests until the host is gone. Nothing but answers reaches the host's output."""
    answers, requests = os.fdopen(os.dup(1), "wb"), sys.stdin.buffer
    os.dup2(2, 1)
    answers.write(b"\n" + GREETING + requests.readline().strip() + b"\n")
    if sys.version_info < OLDEST:
        _answer(answers, {"refused": "python", "text": "{}.{}".format(*sys.version_info[:2])})
        return
    answers.flush()
    failed: Optional[bundles.Refused] = None
    for line in iter(requests.readline, b""):
        request = json.loads(line.decode())
        body = requests.read(request.get("size", 0))
        request["folder"] = os.path.join(os.path.expanduser("~"), os.path.expanduser(request["folder"]))
        if request["op"] == "put":  # has no answer: its failure is that of the next request
            failed = failed or _put(request, body)
            continue
        try:
            if failed:
                raise failed
            _answer(answers, *_OPERATIONS[request["op"]](source, request))
        except bundles.Refused as problem:
            failed = None
            _answer(answers, {"refused": problem.code, "text": problem.text})
        except OSError as problem:
            _answer(answers, {"refused": _code(problem), "text": _words(problem)})


def _answer(answers: BinaryIO, document: Dict[str, Any], body: bytes = b"") -> None:
    answers.write(json.dumps(dict(document, size=len(body))).encode() + b"\n" + body)
    answers.flush()


def _put(request: jobs.Request, body: bytes) -> Optional[bundles.Refused]:
    try:
        bundles.put(request["folder"], request, body)
    except OSError as problem:
        return bundles.Refused(_code(problem), _words(problem))
    except bundles.Refused as problem:
        return problem
    return None


def _code(problem: OSError) -> str:
    return "full" if bundles.is_full(problem) else "folder"


def _words(problem: OSError) -> str:
    where = f": {problem.filename}" if problem.filename else ""
    return f"{problem.strerror or problem}{where}"


def _look(source: str, request: jobs.Request) -> jobs.Answer:
    return dict(machine.look(request["folder"], request["libraries"]), holder=work.holder()), b""


def _stored(source: str, request: jobs.Request) -> jobs.Answer:
    return {"missing": bundles.stored(request["folder"], request["files"], request["verify"])}, b""


_OPERATIONS: Dict[str, Callable[[str, jobs.Request], jobs.Answer]] = {
    "look": _look,
    "stored": _stored,
    "start": jobs.start,
    "poll": lambda source, request: jobs.poll(request),
    "fetch": lambda source, request: jobs.fetch(request),
    "stop": lambda source, request: jobs.stop(request),
    "drop": lambda source, request: jobs.drop(request),
}
