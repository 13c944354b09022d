"""Rows of JSON that somebody else wrote: a device's result, a baseline, a run. Their digests are made to fit."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .case import Case, Row
from .mutations import CHANGES, changed, trails, written
from .world import World, link, replace


def _digest(document: object) -> str:
    spelled = written(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(spelled.encode("utf-8", "backslashreplace")).hexdigest()


def with_digest(document: Any, without: Sequence[str] = ()) -> str:
    """Return a document with a digest of all but these keys."""
    if isinstance(document, dict) and "digest" in document:
        rest = {key: value for key, value in document.items() if key not in ("digest", *without)}
        document = {**document, "digest": _digest(rest)}
    return written(document)


def sealed_run(document: Mapping[str, object]) -> str:
    """Return a run with the digest of its own text as its last key."""
    text = written({key: value for key, value in document.items() if key != "digest"}, separators=(",", ":"))
    return sealed_bytes(text.encode("utf-8", "backslashreplace"), "digest").decode()


def sealed_bytes(data: bytes, key: str) -> bytes:
    """Return a JSON object with the digest of its bytes as its last key."""
    comma = "" if data == b"{}" else ","
    return data[:-1] + f'{comma}"{key}":"{hashlib.sha256(data).hexdigest()}"}}'.encode()


def sealed_baseline(document: Any) -> str:
    """Return a baseline with a digest of all but its margins."""
    return with_digest(document, without=("margins",))


def _cases(
    document: Any, chance: random.Random, spell: Callable[[Any], str], write: Callable[[Path, str], Sequence[str]]
) -> Iterator[Case]:
    """Yield one change after another, each in its own place, without end."""
    every = [(trail, change) for trail in trails(document) for change in CHANGES]
    while True:
        chance.shuffle(every)
        for trail, change in every:

            def case(folder: Path, trail: Any = trail, change: str = change) -> Sequence[str]:
                return write(folder, spell(changed(document, trail, change)))

            yield Case(f"{'.'.join(map(str, trail))}: {change}", case)


def _results(world: World, chance: random.Random) -> Iterator[Case]:
    def write(folder: Path, text: str) -> Sequence[str]:
        (folder / "result.json").write_text(text, encoding="utf-8", errors="backslashreplace")
        link(world.exporting, folder / "store")
        return "collect", "result.json", "--store", "store"

    return _cases(json.loads(world.result.read_text()), chance, with_digest, write)


def _baselines(world: World, chance: random.Random) -> Iterator[Case]:
    def write(folder: Path, text: str) -> Sequence[str]:
        (folder / "gate.json").write_text(text, encoding="utf-8", errors="backslashreplace")
        return "gate", str(world.run), "--baseline", "gate.json", "--store", str(world.store), "--max-age", "999d"

    return _cases(json.loads(world.gate.read_text()), chance, sealed_baseline, write)


_READERS = (("report",), ("report", "--format", "md"), ("report", "--format", "html"), ("report", "--notes"), ("show",))


def _runs(world: World, chance: random.Random) -> Iterator[Case]:
    gate = ("--baseline", str(world.gate), "--max-age", "999d")

    def write(folder: Path, text: str) -> Sequence[str]:
        link(world.store, folder / "store")
        replace(folder / "store" / "runs" / world.run.name, text.encode("utf-8", "backslashreplace"))
        command, *options = chance.choice([*_READERS, ("gate", *gate), ("compare", str(world.run))])
        return command, *options, f"store/runs/{world.run.name}", "--store", "store"

    return _cases(json.loads(world.run.read_text()), chance, sealed_run, write)


ROWS = (
    Row("result.json of a device", _results),
    Row("gate.json", _baselines),
    Row("stored runs", _runs),
)
