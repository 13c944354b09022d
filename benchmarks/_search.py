"""How the peers' best settings were searched for: coordinate search, one knob after the other, until nothing gains.

With a budget of tries: one climb, from the best of the settings that won on other networks, and each of them counts.
Judged on the very evaluation images that the table is made with, network by network: that favours the peers, and is
meant to. In TensorRT's form a setting whose file the parser takes without a word goes before any that it does not.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from _case import Case
from _judged import Peer, judge
from _settings import Options, knobs, starts

from edgeresnet.errors import EdgeresnetError

Score = tuple[bool, float]  # (is accepted, decibels)

_GAIN_DB = 0.01
_FAILED: Score = (False, -99.0)


class Budget(NamedTuple):
    """What one search may cost."""

    tries: int | None = None  # settings to try; the search ends before its knobs do
    images: int | None = None  # evaluation images to judge on


class _Job(NamedTuple):
    case: Case
    peer: str
    dialect: str
    quantizer: Peer
    parser: Peer | None
    images: int | None

    @property
    def out(self) -> Path:
        return self.case.folder / f"search-{self.peer}-{self.dialect}.onnx"


class _Scores:
    """The score of each setting, computed once and remembered in a file: an interrupted search goes on where it was."""

    def __init__(self, job: _Job, tries: int | None, log: Callable[[str], None]):
        self._job, self._tries, self._log = job, tries, log
        self._file = job.out.with_name(f"{job.out.stem}-{job.images or 'all'}.json")
        self._known: dict[str, tuple[bool, float]] = json.loads(self._file.read_text()) if self._file.is_file() else {}
        self.tried: dict[str, Score] = {}

    def of(self, options: Options) -> Score:
        key = json.dumps(options, sort_keys=True)
        if key not in self.tried:
            if self._tries is not None and len(self.tried) >= self._tries:
                return _FAILED
            if key not in self._known:
                self._known[key] = self._computed(options, key)
                self._file.write_text(json.dumps(self._known))
            accepted, decibels = self._known[key]
            self.tried[key] = (accepted, decibels)
        return self.tried[key]

    def _computed(self, options: Options, key: str) -> Score:
        began = time.perf_counter()
        (accepted, decibels), word = _score(self._job, options)
        seconds = time.perf_counter() - began
        job, sign = self._job, "+-"[not accepted]
        self._log(f"{job.case.name} {job.peer} {job.dialect} {decibels:6.2f} dB {sign} {seconds:5.1f} s {key}{word}")
        return accepted, decibels


def search(
    case: Case,
    peer: str,
    dialect: str,
    python: str,
    parser: str | None,
    log: Callable[[str], None],
    budget: Budget,
) -> Options:
    """Return the best options of a peer on one network in one dialect."""
    with Peer(python) as quantizer, Peer(parser or python) as reader:
        job = _Job(case, peer, dialect, quantizer, reader if parser else None, budget.images)
        scores = _Scores(job, budget.tries, log)
        turned, best = knobs(peer, dialect, case.size), Options()
        for start in starts(peer, dialect, case.size, bounded=budget.tries is not None):
            reached = start if budget.tries else _climb(start, turned, scores.of)
            best = max(best or reached, reached, key=scores.of)
        if budget.tries:  # one climb, from the best of all
            best = _climb(best, turned, scores.of)
        found = f"{scores.of(best)[1]:.2f} dB of {len(scores.tried)}: {json.dumps(best, sort_keys=True)}"
    log(f"{case.name} {peer} {dialect} best {found}")
    return best


def _climb(options: Options, turned: dict[str, list[Any]], score: Callable[[Options], Score]) -> Options:
    for _ in range(3):
        before = options
        for knob, values in turned.items():
            for value in values:
                changed = {key: other for key, other in options.items() if key != knob}
                if value is not None:  # None: the peer's own choice
                    changed[knob] = value
                now, best = score(changed), score(options)
                if now[0] > best[0] or (now[0] == best[0] and now[1] > best[1] + _GAIN_DB):
                    options = changed
        if options == before:
            break
    return options


def _score(job: _Job, options: Options) -> tuple[Score, str]:
    """Return (its score, what went wrong)."""
    case = job.case
    file = job.out.with_suffix(".xml") if options.get("backend") == "openvino" else job.out
    file.unlink(missing_ok=True)
    wanted = {"peer": job.peer, "options": options, "onnx": str(case.onnx), "remember": True}
    answer = job.quantizer.do({**wanted, "images": str(case.calibration), "out": str(file)})
    if not answer["ok"]:
        return _FAILED, "  " + answer["problem"][:200]
    try:
        decibels = judge(case, file, "openvino" if job.dialect == "openvino" else "onnxruntime", job.images).sqnr_db
    except EdgeresnetError as problem:
        return _FAILED, f"  {problem}"
    if job.dialect == "openvino" or job.parser is None:
        return (True, decibels), ""
    word = parsed(job.parser.do({"peer": "parser", "onnx": str(file)}))
    return (word == "accepted", decibels), "" if word == "accepted" else f"  {word}"


def parsed(answer: dict[str, Any]) -> str:
    """Return what the parser makes of a file, as the table shows it."""
    if not answer["ok"]:
        return f"not parsed: {answer['problem']}"
    if answer["parsed"] and answer["built"] and not answer["messages"]:
        return "accepted"
    first = [line for line in (*answer["errors"], *answer["messages"]) if line]
    kind = "warned" if answer["parsed"] and answer["built"] else "refused" if not answer["parsed"] else "not built"
    return f"{kind}: {' '.join(first[0].split())[:160] if first else 'no reason'}"
