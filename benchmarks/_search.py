"""How the peers' best settings were found: coordinate search, one knob after the other, until nothing gains.

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
from _settings import FORMS, KNOBS, STARTS

from edgeresnet.errors import EdgeresnetError

_GAIN_DB = 0.01


def search(
    case: Case,
    peer: str,
    dialect: str,
    python: str,
    parser: str | None,
    say: Callable[[str], None],
    starts: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The best options found for a peer on one network in one dialect."""
    tried: dict[str, tuple[bool, float]] = {}
    out = case.folder / f"search-{peer}-{dialect}.onnx"
    with Peer(python) as quantizer, Peer(parser or python) as reader:

        def ask(options: dict[str, Any]) -> tuple[bool, float]:
            key = json.dumps(options, sort_keys=True)
            if key not in tried:
                began = time.perf_counter()
                tried[key], word = _score(case, peer, dialect, options, out, quantizer, reader if parser else None)
                taken, decibels = tried[key]
                seconds = time.perf_counter() - began
                say(f"{case.name} {peer} {dialect} {decibels:6.2f} dB {'+-'[not taken]} {seconds:5.1f} s {key}{word}")
            return tried[key]

        best: dict[str, Any] = {}
        for start in starts or STARTS[peer, dialect]:
            found = _climb(_with_form(start, peer, dialect), KNOBS[peer, dialect], ask)
            best = max(best or found, found, key=lambda options: ask(options))
    say(f"{case.name} {peer} {dialect} best {ask(best)[1]:.2f} dB: {json.dumps(best, sort_keys=True)}")
    return best


def _climb(
    options: dict[str, Any], knobs: dict[str, list[Any]], ask: Callable[[dict[str, Any]], tuple[bool, float]]
) -> dict[str, Any]:
    for _ in range(3):
        before = options
        for knob, values in knobs.items():
            for value in values:
                changed = {key: kept for key, kept in options.items() if key != knob}
                if value is not None:  # None: the peer's own choice
                    changed[knob] = value
                now, best = ask(changed), ask(options)
                if now[0] > best[0] or (now[0] == best[0] and now[1] > best[1] + _GAIN_DB):
                    options = changed
        if options == before:
            break
    return options


def _with_form(options: dict[str, Any], peer: str, dialect: str) -> dict[str, Any]:
    return {**options, **FORMS.get((peer, dialect), {})}


def _score(
    case: Case, peer: str, dialect: str, options: dict[str, Any], out: Path, quantizer: Peer, parser: Peer | None
) -> tuple[tuple[bool, float], str]:
    """((is taken, decibels), what went wrong)"""
    file = out.with_suffix(".xml") if options.get("backend") == "openvino" else out
    file.unlink(missing_ok=True)
    job = {"peer": peer, "options": options, "onnx": str(case.onnx), "remember": True}
    answer = quantizer.do({**job, "images": str(case.calibration), "out": str(file)})
    if not answer["ok"]:
        return (False, -99.0), "  " + answer["problem"][:200]
    try:
        decibels = judge(case, file, "openvino" if dialect == "openvino" else "onnxruntime")["sqnr_db"]
    except EdgeresnetError as problem:
        return (False, -99.0), f"  {problem}"
    if dialect == "openvino" or parser is None:
        return (True, decibels), ""
    said = parser.do({"peer": "parser", "onnx": str(file)})
    word = parsed(said)
    return (word == "accepted", decibels), "" if word == "accepted" else f"  {word}"


def parsed(said: dict[str, Any]) -> str:
    """The parser's word for the table."""
    if not said["ok"]:
        return f"not asked: {said['problem']}"
    if said["parsed"] and said["built"] and not said["said"]:
        return "accepted"
    first = [line for line in (*said["errors"], *said["said"]) if line]
    kind = "warned" if said["parsed"] and said["built"] else "refused" if not said["parsed"] else "not built"
    return f"{kind}: {' '.join(first[0].split())[:160] if first else 'no reason'}"
