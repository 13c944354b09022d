"""How the peers' best settings were searched for: coordinate search, one knob after the other, until nothing gains.

Judged on the very evaluation images that the table is made with, network by network: that favours the peers, and is
meant to. In TensorRT's form a setting whose file the parser takes without a word goes before any that it does not.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _case import Case
from _judged import Peer, judge
from _settings import FORMS, KNOBS, STARTS, Options

from edgeresnet.errors import EdgeresnetError

_GAIN_DB = 0.01


def search(
    case: Case,
    peer: str,
    dialect: str,
    python: str,
    parser: str | None,
    log: Callable[[str], None],
    starts: list[Options] | None = None,
) -> Options:
    """Return the best options of a peer on one network in one dialect."""
    tried: dict[str, tuple[bool, float]] = {}
    out = case.folder / f"search-{peer}-{dialect}.onnx"
    with Peer(python) as quantizer, Peer(parser or python) as reader:

        def score(options: Options) -> tuple[bool, float]:
            key = json.dumps(options, sort_keys=True)
            if key not in tried:
                began = time.perf_counter()
                tried[key], word = _score(case, peer, dialect, options, out, quantizer, reader if parser else None)
                accepted, decibels = tried[key]
                seconds = time.perf_counter() - began
                log(
                    f"{case.name} {peer} {dialect} {decibels:6.2f} dB {'+-'[not accepted]} {seconds:5.1f} s {key}{word}"
                )
            return tried[key]

        best: Options = {}
        for start in starts or STARTS[peer, dialect]:
            found = _climb(_with_form(start, peer, dialect), KNOBS[peer, dialect], score)
            best = max(best or found, found, key=score)
    log(f"{case.name} {peer} {dialect} best {score(best)[1]:.2f} dB: {json.dumps(best, sort_keys=True)}")
    return best


def _climb(options: Options, knobs: dict[str, list[Any]], score: Callable[[Options], tuple[bool, float]]) -> Options:
    for _ in range(3):
        before = options
        for knob, values in knobs.items():
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


def _with_form(options: Options, peer: str, dialect: str) -> Options:
    return {**options, **FORMS.get((peer, dialect), {})}


def _score(
    case: Case, peer: str, dialect: str, options: Options, out: Path, quantizer: Peer, parser: Peer | None
) -> tuple[tuple[bool, float], str]:
    """Return ((is accepted, decibels), what went wrong)."""
    file = out.with_suffix(".xml") if options.get("backend") == "openvino" else out
    file.unlink(missing_ok=True)
    job = {"peer": peer, "options": options, "onnx": str(case.onnx), "remember": True}
    answer = quantizer.do({**job, "images": str(case.calibration), "out": str(file)})
    if not answer["ok"]:
        return (False, -99.0), "  " + answer["problem"][:200]
    try:
        decibels = judge(case, file, "openvino" if dialect == "openvino" else "onnxruntime").sqnr_db
    except EdgeresnetError as problem:
        return (False, -99.0), f"  {problem}"
    if dialect == "openvino" or parser is None:
        return (True, decibels), ""
    word = parsed(parser.do({"peer": "parser", "onnx": str(file)}))
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
