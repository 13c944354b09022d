"""Rows of what edgeresnet wrote itself: bytes changed in an artifact, a bundle and a run; a store that is odd."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from .attempt import Outcome
from .case import Case, Row, nothing_more
from .world import World, link, replace

_KINDS = ("flip", "digit", "space", "letter", "delete", "insert", "cut", "twice")


def _damaged(data: bytes, chance: random.Random) -> tuple[str, bytes]:
    """Return one change of some bytes, and its name. The content always differs."""
    kind, place = chance.choice(_KINDS), chance.randrange(len(data))
    if kind == "cut":
        return f"{kind} at {place}", data[:place]
    if kind == "twice":
        return f"{kind} from {place}", data + data[place:]
    new = {
        "flip": bytes([data[place] ^ (1 << chance.randrange(8))]),
        "digit": bytes([ord("0") + (data[place] + 1) % 10]),
        "space": b" " if data[place] != 32 else b"\n",
        "letter": b"e" if data[place] != ord("e") else b"a",
        "delete": b"",
        "insert": bytes([data[place]]) + b"0",
    }[kind]
    return f"{kind} at {place}", data[:place] + new + data[place + 1 :]


def _parts(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


def _in_a_copy(store: Path, there: Path, data: bytes, words: Sequence[str], case: Path) -> Sequence[str]:
    """Copy a store, give one file of the copy these bytes, and return the command that reads it."""
    link(store, case / "store")
    replace(case / "store" / there, data)
    return *words, "--store", "store"


def _artifacts(world: World, chance: random.Random) -> Iterator[Case]:
    """Damage a manifest in two of three cases, another file of an artifact otherwise. The step must be made again."""
    folders = [path for path in sorted(world.store.glob("*/*")) if (path / "manifest.json").exists()]
    while True:
        folder = chance.choice(folders)
        path = folder / "manifest.json" if chance.random() < 0.67 else chance.choice(_parts(folder))
        name, data = _damaged(path.read_bytes(), chance)
        there = path.relative_to(world.store)
        write = partial(_in_a_copy, world.store, there, data, ("plan", str(world.recipe)))
        yield Case(f"{there}: {name}", write, partial(_is_seen, folder.relative_to(world.store)))


def _is_seen(folder: Path, outcome: Outcome) -> str:
    """Return what is wrong where a plan believes a damaged artifact."""
    return "" if f"{folder} is damaged" in outcome.out + outcome.err else "damage is not seen"


def _refused(outcome: Outcome) -> str:
    return "damage is not seen" if outcome.accepted else ""


def _bundles(world: World, chance: random.Random) -> Iterator[Case]:
    """Damage a file of the bundle that a device's result is checked against."""
    bundle = next(world.exporting.glob("export/*"))
    while True:
        path = chance.choice(_parts(bundle))
        name, data = _damaged(path.read_bytes(), chance)
        there = path.relative_to(world.exporting)
        write = partial(_in_a_copy, world.exporting, there, data, ("collect", str(world.result)))
        yield Case(f"{there}: {name}", write, _refused)


def _runs(world: World, chance: random.Random) -> Iterator[Case]:
    """Damage a run or a device's result, whose digests then do not fit."""
    while True:
        source = chance.choice((world.run, world.result))
        name, data = _damaged(source.read_bytes(), chance)

        def write(case: Path, source: Path = source, data: bytes = data) -> Sequence[str]:
            (case / source.name).write_bytes(data)
            if source == world.run:
                return "report", source.name, "--store", str(world.store)
            link(world.exporting, case / "store")
            return "collect", source.name, "--store", "store"

        yield Case(f"{source.name}: {name}", write, nothing_more if _is_same(source, data) else _refused)


def _is_same(source: Path, data: bytes) -> bool:
    """Return whether only white space changed, or a number's spelling: a result's digest is of its values."""
    try:
        return data.rstrip() == source.read_bytes().rstrip() or (
            source.name == "result.json" and json.loads(data) == json.loads(source.read_bytes())
        )
    except ValueError:
        return False


def _file_for(path: Path) -> None:
    path.write_bytes(b"not a folder")


def _garbage_in(path: Path) -> None:
    path.mkdir()
    (path / "manifest.json").write_bytes(b"\xff\xfe\x00garbage")


def _loop_for(path: Path) -> None:
    path.symlink_to(path.name)


def _pipe_for(path: Path) -> None:
    os.mkfifo(path)


def _nowhere_for(path: Path) -> None:
    path.symlink_to("/nowhere/at/all")


_FORMS: dict[str, Callable[[Path], None]] = {
    "a file": _file_for, "garbage": _garbage_in, "a link to itself": _loop_for, "a pipe": _pipe_for,
    "a broken link": _nowhere_for,
}  # fmt: skip
_READERS = (("plan",), ("show",), ("report",), ("clean", "--older-than", "900d"), ("gate", "--update"), ("check",))
_NAMES = {"not UTF-8": "s\udcff\udcfe", "6000 characters": "s" * 6000, "deep": "s/" * 2500}


def _stores(world: World, chance: random.Random) -> Iterator[Case]:
    while True:
        words = chance.choice(_READERS)
        recipe = (str(world.recipe),) if words[0] in ("plan", "check") else ()
        if chance.random() < 0.3:
            name = chance.choice(sorted(_NAMES))

            def named(case: Path, name: str = name, words: Sequence[str] = (*words, *recipe)) -> Sequence[str]:
                return *words, "--store", _NAMES[name]

            yield Case(f"{words[0]}: a name that is {name}", named)
            continue
        what = chance.choice([Path("."), *sorted(path.relative_to(world.store) for path in world.store.glob("*"))])
        folder = world.store / what
        inner = sorted(folder.iterdir()) if folder.is_dir() and chance.random() < 0.5 and what != Path(".") else []
        there = what / chance.choice(inner).name if inner else what
        form = chance.choice(sorted(_FORMS))

        def write(
            case: Path, there: Path = there, form: str = form, words: Sequence[str] = (*words, *recipe)
        ) -> Sequence[str]:
            link(world.store, case / "store")
            _replaced(case / "store" / there, form)
            return *words, "--store", "store"

        yield Case(f"{words[0]}: {there} is {form}", write)


def _replaced(path: Path, form: str) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    _FORMS[form](path)


ROWS = (
    Row("bytes of artifacts", _artifacts),
    Row("bytes of bundles", _bundles),
    Row("bytes of runs and results", _runs),
    Row("stores", _stores),
)
