"""Run the rows: `python -m tests.hostile --cases 200 --seed 0 --row recipes`. Exit code 1 where a case has a fault."""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from . import world as worlds
from .attempt import Outcome, attempt
from .case import Case, Row
from .world import World

MODULES = ("documents", "recipes", "lists", "checkpoints", "graphs", "pictures", "stores")
CASES = {
    "result.json of a device": 1730, "gate.json": 776, "stored runs": 1391, "recipes": 1096, "lists and arrays": 646,
    "checkpoints": 813, "ONNX": 862, "images": 756, "bytes of artifacts": 500, "bytes of bundles": 300,
    "bytes of runs and results": 300, "stores": 120,
}  # fmt: skip


def rows() -> list[Row]:
    """Return all rows, in the order of the modules."""
    found = []
    for name in MODULES:
        found += importlib.import_module(f"{__package__}.{name}").ROWS
    return found


def tried(row: Row, world: World, count: int, seed: int) -> Iterator[tuple[Case, Outcome, str]]:
    """Run cases of a row; yield each with how it ended and what is wrong with that."""
    for name in row.loads:
        importlib.import_module(name)
    for case in itertools.islice(row.cases(world, random.Random(seed)), count):
        with tempfile.TemporaryDirectory() as folder:
            outcome = attempt(case.write(Path(folder)), Path(folder))
            yield case, outcome, outcome.fault or case.fault(outcome)


def main() -> int:
    parser = argparse.ArgumentParser(description="Give edgeresnet damaged input, and print how it ends.")
    parser.add_argument("--cases", type=int, help="of each row; by default as many as the table of the row has")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--row", action="append", help="a part of a row's title; may be given more than once")
    parser.add_argument("--world", type=Path, help="folder to make the world in, or to find it in")
    parser.add_argument("--details", type=Path, help="file to write every case to, as JSON lines")
    given = parser.parse_args()
    folder = given.world or Path(tempfile.mkdtemp())
    world = worlds.make(folder)
    importlib.import_module("edgeresnet.cli.run"), importlib.import_module("edgeresnet.report")
    wrong = 0
    with open(given.details or "/dev/null", "w") as details:
        for row in rows():
            if given.row and not any(word in row.title for word in given.row):
                continue
            began, ends, faults = time.monotonic(), Counter[str](), []
            for case, outcome, fault in tried(row, world, given.cases or CASES.get(row.title, 200), given.seed):
                ends["accepted" if outcome.accepted else "refused"] += 1
                about = {"row": row.title, "case": case.name, "code": outcome.code, "fault": fault}
                last = (outcome.err or outcome.out)[-400:]
                print(json.dumps({**about, "seconds": round(outcome.seconds, 2), "last": last}), file=details)
                faults += [f"{case.name}: {fault}"] if fault else []
            wrong += len(faults)
            print(f"{row.title}: {sum(ends.values())} cases, {ends['accepted']} accepted, {len(faults)} wrong", end="")
            print(f", {time.monotonic() - began:.0f} s", flush=True)
            for fault in faults[:20]:
                print(f"  {fault[:150]}")
    if given.world is None:
        shutil.rmtree(folder)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
