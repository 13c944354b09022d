"""Mutation testing (mutmut) of the files whose faults would be silent: `make mutation`, from the root of the project.

    mutation.py run [--every N] [--children K] [FILE ...]   # continues after an interruption
    mutation.py survivors [--short]                         # one line for each, or one for each function
    mutation.py summary                                     # per file: mutants, killed, survived, ...
    mutation.py compare LIST                                # exit 1 if one survives that this short list does not have

pyproject.toml, [tool.mutmut], lists the files and the tests. Of the three mutants of a text only the one with XX is
tried, not those in other letters. With `--every N` only every Nth mutant of the FILEs (of all, if none is named) is
tried, by the hash of its name; the others are marked as skipped. Remove the folder `mutants` to start over.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

# One thread: children are forked. A Python that a test starts must not find the mutated files: they need mutmut.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.pop("PYTHONPATH", None)

import mutmut.__main__ as mutmut
from mutmut.mutation.data import MutantLineSpans, SourceFileMutationData
from mutmut.state import state
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir, walk_mutatable_files
from mutmut.workers.isolation import ForkServerRunner

SKIPPED = 34
_submit = ForkServerRunner.submit


def quickest_first(self: ForkServerRunner, name: str, tests: list[str], limit: int, estimated: float) -> None:
    """Run the quickest tests first, as mutmut does where it forks without a server: the first failure ends a mutant."""
    _submit(self, name, sorted(tests, key=lambda test: (state().duration_by_test[test], test)), limit, estimated)


def function_of(name: str) -> str:
    return re.sub(r"__mutmut_\d+$", "", name.rpartition(".")[2]).removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")


def changes(path: Path) -> dict[str, tuple[str, str]]:
    """Return, for each mutant, the lines before and after."""
    spans = MutantLineSpans.load(path)
    assert spans is not None, f"{path} was not mutated yet: mutation.py run"
    written = spans.mutants_path.read_text(encoding="utf-8").split("\n")

    def lines(name: str) -> list[str]:
        span = spans.span_by_function_name[name]
        return [line.replace(name, "f") for line in written[span.start - 1 : span.end]]

    found = {}
    for name in spans.span_by_function_name:
        if re.search(r"__mutmut_\d+$", name):
            before, now = lines(re.sub(r"\d+$", "orig", name)), lines(name)
            delta = list(difflib.unified_diff(before, now, n=0, lineterm=""))[2:]
            gone, come = (" ".join(line[1:].strip() for line in delta if line.startswith(sign)) for sign in ("-", "+"))
            found[name] = gone, come
    return found


def select(every: int, files: list[str]) -> None:
    """Mark the mutants that are not tried."""
    for path in walk_mutatable_files():
        data, made = SourceFileMutationData(path=path), changes(path)
        data.load()
        for key in data.exit_code_by_key:
            before, now = made[key.rpartition(".")[2]]
            thinned = every > 1 and (not files or str(path) in files) and zlib.crc32(key.encode()) % every
            if (before.lower() == now.lower() and before != now) or thinned:
                data.exit_code_by_key[key] = SKIPPED
            elif data.exit_code_by_key[key] == SKIPPED:
                data.exit_code_by_key[key] = None
        data.save()


def run(every: int, children: int, files: list[str]) -> None:
    if mutmut.config().process_isolation == "forkserver":
        runner: Any = ForkServerRunner
        runner.submit = quickest_first
    Path("mutants").mkdir(exist_ok=True)
    with mutmut.CatchOutput(spinner_title="Generating mutants"):
        copy_src_dir()
        copy_also_copy_files()
        mutmut.create_mutants(children)
    select(every, files)
    mutmut._run((), children)


def results() -> Iterator[tuple[Path, str, str, tuple[str, str]]]:
    """Yield (file, mutant, status, (before, now)) in the order of the code."""
    for path in walk_mutatable_files():
        data, made = SourceFileMutationData(path=path), changes(path)
        data.load()
        for key, code in data.exit_code_by_key.items():
            yield path, key, status_by_exit_code[code], made[key.rpartition(".")[2]]


def survivors() -> list[tuple[str, str, str]]:
    """Return (file and function, the mutant's number in it, what was changed) of each mutant that no test killed."""
    return [
        (f"{path} {function_of(key)}", key.rpartition("_")[2], f"{before}  →  {now}")
        for path, key, status, (before, now) in sorted(results(), key=lambda one: str(one[0]))
        if status in ("survived", "no tests", "suspicious", "segfault", "not checked")
    ]


def short(found: Iterable[tuple[str, str, str]]) -> list[str]:
    """Return a line per function: `file function number number ...`."""
    by_function: dict[str, list[str]] = {}
    for function, number, _ in found:
        by_function.setdefault(function, []).append(number)
    return [" ".join([function, *numbers]) for function, numbers in by_function.items()]


def summary() -> str:
    words = ("killed", "survived", "no tests", "timeout", "skipped", "other")
    found: dict[str, Counter[str]] = {}
    for path, _, status, _ in results():
        found.setdefault(str(path), Counter())[status if status in words else "other"] += 1
    found = dict(sorted(found.items()))
    found["total"] = sum(found.values(), Counter())
    lines = [f"{'file':36}{'mutants':>9}{'tried':>9}" + "".join(f"{word:>10}" for word in words)]
    for name, counts in found.items():
        made = sum(counts.values())
        lines.append(f"{name:36}{made:9}{made - counts['skipped']:9}" + "".join(f"{counts[w]:10}" for w in words))
    return "\n".join(lines)


def compare(accepted: Path) -> int:
    """Print the survivors that the list does not have. Where a function was changed, its numbers mean other mutants."""
    known = set[tuple[str, str]]()
    for line in accepted.read_text(encoding="utf-8").splitlines():
        path, function, *numbers = line.split(" ")
        known |= {(f"{path} {function}", number) for number in numbers}
    found = survivors()
    fresh = [one for one in found if one[:2] not in known]
    for function, number, change in fresh:
        print(f"NEW {function} {number}: {change}")
    print(f"{len(found)} survive, {len(known)} are in {accepted}: {len(fresh)} are new")
    return int(bool(fresh))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    runs = verbs.add_parser("run")
    runs.add_argument("--every", type=int, default=1)
    runs.add_argument("--children", type=int, default=1)
    runs.add_argument("files", nargs="*")
    verbs.add_parser("survivors").add_argument("--short", action="store_true")
    verbs.add_parser("summary")
    verbs.add_parser("compare").add_argument("accepted", type=Path)
    args = parser.parse_args()
    if args.verb == "run":
        run(args.every, args.children, args.files)
    elif args.verb == "compare":
        return compare(args.accepted)
    else:
        found = survivors() if args.verb == "survivors" else []
        lines = short(found) if getattr(args, "short", False) else [": ".join(one) for one in found]
        print(summary() if args.verb == "summary" else "\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
