"""The project speaks the field's words: a list of private ones stays out of code, tests and docs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[1]
_COMPARATIVES = "longer|more|less|faster|slower|better|worse|larger|smaller|wider|different"
# The word that is gone, and in comments what to write instead.
GONE = {
    "deed": r"deeds?",  # stage
    "door": r"doors?",  # command
    "held against": r"h[eo]ld(?:s|ing)?(?: \w+){0,2} against",  # compared with
    "beside": r"beside",  # next to, with
    "anew": r"anew",  # again
    "home": r"home",  # collected, the host
    "elsewhere": r"elsewhere",  # remote, made by another tool
    "nobody": r"nobody",
    "rival": r"rivals?",  # baseline
    "twin": r"twins?",  # half-precision variant
    "trial of a target": r"trials? (?:of|on) (?:a|the|one|each|every) (?:target|network)",  # evaluation
    "conductor": r"conductors?",  # runner
    "troubles": r"troubles?",  # warnings
    "team": r"teams?",  # process group
    "pace": r"paces?",  # CPU speed
    "is no X": rf"(?<!there )(?:is|are|was|were) no(?! (?:{_COMPARATIVES}))(?= )",
    "so many": r"so many",
}
PATTERNS = {word: re.compile(rf"(?<![a-z]){pattern}(?![a-z])", re.IGNORECASE) for word, pattern in GONE.items()}

# (file, what the line holds): why the word may stand there.
EXCEPTIONS = {
    ("tests/test_words.py", ""): "this list",
    ("docs/reference/files.md", "| `pace_ms` |"): "a key of stored results",
    ("docs/reference/files.md", "| `rival` |"): "a key of stored comparisons",
    ("docs/reference/files.md", "| `rival_ratio` |"): "a key of stored comparisons",
    ("docs/reference/files.md", "| `troubles` |"): "a key of stored baselines",
    ("docs/reference/files.md", "| `twin` |"): "a key of bundles",
    ("edgeresnet/gate/record.py", '"pace"'): "a key of stored baselines",
    ("edgeresnet/gate/record.py", '"troubles"'): "a key of stored baselines",
    ("edgeresnet/portable/times.py", '"pace_ms"'): "a key of stored results",
    ("edgeresnet/report/compared.py", '"key": "rival'): "a key of stored comparisons",
    ("edgeresnet/stages/export/contents.py", '"twin"'): "a key of bundles",
    ("tests/portable/test_contents.py", '"twin"'): "a key of bundles",
    ("tests/portable/test_measure.py", '"pace_ms"'): "a key of stored results",
    ("tests/portable/test_limits.py", "pace_ms"): "a key of stored results",
    ("tests/cli/deployed.py", '"HOME"'): "a variable of the operating system",
    ("tests/cli/test_completion.py", '"HOME"'): "a variable of the operating system",
    ("tests/devices/test_wrong.py", '"HOME"'): "a variable of the operating system",
    ("tests/images/test_cifar.py", '"HOME"'): "a variable of the operating system",
    ("edgeresnet/devices/book.py", "XDG_CONFIG_HOME"): "a variable of the desktop",
    ("tests/devices/test_ssh.py", "XDG_CONFIG_HOME"): "a variable of the desktop",
    ("tests/cli/test_devices.py", "XDG_CONFIG_HOME"): "a variable of the desktop",
    ("tests/cli/test_completion.py", "XDG_CONFIG_HOME"): "a variable of the desktop",
    ("tests/report/browser.py", '"Home"'): "a key of the keyboard",
}

FOLDERS = ("edgeresnet", "tests", "benchmarks", "tools", "pipelines", "docs", ".github")
KINDS = {".py", ".md", ".yaml", ".yml", ".toml", ".hpp", ".cpp"}
FILES = sorted(
    path
    for path in [*ROOT.glob("*.md"), ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / "action.yml"]
    + [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in KINDS]
)

# A docstring of a function begins with what the function does.
VERBS = set(
    """
    accept add adjust adopt allow answer append apply ask assert assign average be begin bind blend bound
    break build calculate calibrate call cast catch center change check choose classify clean clear clip close collect
    colour combine compare compile complete compress compute confirm connect consider continue convert copy
    correct count cover create crop cut decide declare decode define delete derive describe detect diagnose digest
    discard divide draw drop dump echo embed emit encode end enter equalize escape estimate evaluate exclude execute
    exit expand explain export expose extend extract fail fetch fill filter find finish fit fix flatten fold
    follow format forward free fuse gather generate get give go group guess halve handle hash help hide hold
    ignore import infer initialise initialize insert inspect install interpret join judge keep label launch
    lay learn leave let limit link list load locate lock log look lower make map mark match mean measure
    mention merge mock move multiply name normalise normalize note observe offer open order override pack pad
    parse pass patch pause perform pick place plan plot point pool prepare print process produce propose prove
    provide prune pull push put quantize raise read rebuild receive recognise recognize recompute record
    recover reduce refuse register reject relabel release remove rename render repeat replace report request
    require reset resize resolve restore resume return reuse rewrite round run sample save say scale schedule
    search see select send separate serve set settle shape share show shrink silence sign simulate size skip slice
    smooth sort spell split spread stand start state stop store strip subtract suggest sum summarise summarize
    swap switch take teach tell test throw tidy time trace track train transform translate transpose truncate
    try turn unpack unwrap update upgrade use validate verify wait walk warm warn watch weigh widen wrap write
    yield
    """.split()  # noqa: SIM905 - a list of strings would take five times the room
)


def test_private_words_stay_out() -> None:
    found = []
    for path in FILES:
        name = path.relative_to(ROOT).as_posix()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if any(name == file and part in line for file, part in EXCEPTIONS):
                continue
            found += [f"{name}:{number}: {word}" for word, pattern in PATTERNS.items() if pattern.search(line)]
    assert found == []


def test_every_exception_is_needed() -> None:
    for file, part in EXCEPTIONS:
        lines = [line for line in (ROOT / file).read_text(encoding="utf-8").splitlines() if part in line]
        assert any(pattern.search(line) for line in lines for pattern in PATTERNS.values()), (file, part)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("def test_every_deed_is_done() -> None:", "deed"),
        ("    run is held against the first", "held against"),
        ('"it is no folder"', "is no X"),
        ("_HOME = 1", "home"),
    ],
)
def test_the_list_can_fail(line: str, word: str) -> None:
    assert PATTERNS[word].search(line)


@pytest.mark.parametrize("line", ["indoors", "there is no folder", "it is no longer here", "besides", "chrome"])
def test_other_words_pass(line: str) -> None:
    assert not any(pattern.search(line) for pattern in PATTERNS.values())


def _verbless(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or not (text := ast.get_docstring(node)):
            continue
        if any("property" in ast.unparse(decorator) for decorator in node.decorator_list):
            continue  # it is read like an attribute: its docstring says what it is
        first = re.split(r"\W", text, maxsplit=1)[0].lower()
        if first not in VERBS:
            found.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {text.splitlines()[0][:60]}")
    return found


def test_a_docstring_of_a_function_begins_with_a_verb() -> None:
    assert [problem for path in sorted((ROOT / "edgeresnet").rglob("*.py")) for problem in _verbless(path)] == []
