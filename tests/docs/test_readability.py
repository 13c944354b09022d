"""README and the site are read once and understood: short sentences, a short README, a command on the first screen."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import mean

import pytest

from . import prose

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
AVERAGE, LONGEST = 18, 35  # words


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_sentences_are_short(path: Path) -> None:
    found = prose.sentences(path.read_text(encoding="utf-8"))
    long = [f"{prose.words(each)} words: {each}" for each in found if prose.words(each) > LONGEST]
    assert long == []
    average = mean(map(prose.words, found)) if found else 0
    assert average <= AVERAGE, f"{average:.1f} words in an average sentence"


def test_the_readme_is_short() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert len(text.split()) <= 1200


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "how-to").glob("*.md")), ids=lambda path: path.name)
def test_a_guide_shows_its_first_command_on_the_first_screen(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    first = next((number for number, line in enumerate(lines, 1) if re.match(r"\s*```(sh|python|yaml)", line)), None)
    assert first is not None, "it shows no command"
    assert first <= 40


@pytest.mark.parametrize(
    ("markdown", "found"),
    [
        ("It is 1.5 times as fast. See `a.b` and `run.py`.", ["It is 1.5 times as fast.", "See code and code."]),
        ("# Title. Two\n\nText (in\ntwo lines). More", ["Text (in two lines).", "More"]),
        ("In FP32. One\n\n- two\n- three\n  four\n\n1. five", ["In FP32.", "One", "two", "three four", "five"]),
        ("```sh\nmake. it. so.\n```\n\n| a. b. | c |\n| --- | --- |\n\nText.", ["Text."]),
        ("- x\n\n    ```yaml\n    a: 1. b\n    ```\n", ["x"]),
        ("[a link](b.md#c.d) and ![a picture](x.png)", ["a link and"]),
        ("!!! note \"Title.\"\n    Text, e.g. this. **Bold.** Next", ["Text, e.g. this.", "Bold.", "Next"]),
        ("<!-- a. b. -->\nNext <b>word</b>", ["Next word"]),
    ],
)  # fmt: skip
def test_a_page_is_split_into_its_sentences(markdown: str, found: list[str]) -> None:
    assert prose.sentences(markdown) == found


def test_words_are_counted() -> None:
    assert prose.words("INT8 is 1.5 times as fast – not 2 %.") == 8
