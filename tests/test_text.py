"""Text as a terminal shows it, and as Markdown does."""

from __future__ import annotations

import json

import pytest

from edgeresnet import text
from edgeresnet.cli import _output
from edgeresnet.report import lines, markdown, tables

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("name", "columns"), [("abc", 3), ("🦊", 2), ("日本", 4), ("e\u0301", 1), ("שלום", 4), ("a\u200bb", 2), ("", 0)]
)
def test_width_is_what_a_terminal_takes(name: str, columns: int) -> None:
    assert text.width(name) == columns
    assert text.shrunk(text.stretched(name)) == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
        ("user\u202egnp.exe", "user\\u202egnp.exe"),
        ("\u2066שלום\u2069", "\\u2066שלום\\u2069"),
        ("bad\udcff.png", "bad\\udcff.png"),
        ("\x9b2J\r", "\\x9b2J\\r"),
        ("שלום 🦊 <script> 'x'", "שלום 🦊 <script> 'x'"),
    ],
)
def test_a_name_writes_nothing_to_a_terminal_but_itself(name: str, shown: str) -> None:
    assert text.visible(name) == shown
    assert shown in text.wrapped(name)
    shown.encode()


def test_json_keeps_its_content_and_writes_nothing_to_a_terminal() -> None:
    name = "a\x7fb\x9bc\u202ed\u2028e"
    document = text.in_json(json.dumps({"name": name}, ensure_ascii=False))
    assert json.loads(document) == {"name": name}
    assert document.isascii()


def test_no_name_begins_a_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    _output.print_report([lines.Line("note: a\u2028KEPT openvino min_top1_pct: 99 %")])
    assert capsys.readouterr().out.splitlines() == ["note: a\\u2028KEPT openvino min_top1_pct: 99 %"]


def test_a_long_name_is_cut_in_the_middle() -> None:
    assert text.cut("/data/" + "x" * 50 + "/net.onnx", 20) == "/data/xxxx…/net.onnx"
    assert text.cut("日本語日本語", 7) == "日本…語"
    assert text.cut("short", 5) == "short"


def test_tables_stand_straight_and_fit_whatever_the_names_are() -> None:
    rows = [("🦊" * 60, "1.25"), ("日本", "100.00"), ("שלום", "2"), ("/p" * 100, "3"), ("a\nb", "4"), ("\x1b[1m", "5")]
    shown = tables.columns(("name", "MB"), rows).splitlines()
    assert len(shown) == len(rows) + 1
    assert {text.width(line) for line in shown} == {80}
    assert all(number in line for (_, number), line in zip(rows, shown[1:], strict=True))


def test_a_table_of_numbers_loses_no_digit() -> None:
    wide = "1234567890" * 3
    assert tables.columns(("a",) * 4, [(wide,) * 4]).splitlines()[1].split() == [wide] * 4


def test_sentences_wrap_at_eighty_columns_between_words() -> None:
    path = "/data/" + "x" * 90
    lines = text.wrapped(f"{'日本 語 ' * 30}{path} end").splitlines()
    assert lines[-2:] == [f"  {path}", "  end"]
    assert max(map(text.width, lines[:-2])) <= 80
    assert max(map(text.width, lines[:-2])) >= 75


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a|b", "a\\|b"),
        ("a\\|b", "a\\\\\\|b"),
        ("# x", "\\# x"),
        ("- x", "\\- x"),
        ("1. x", "1\\. x"),
        ("> x", "\\> x"),
        ("---", "\\---"),
        ("+0.50 (-0.29 to +1.39)", "+0.50 (-0.29 to +1.39)"),
        ("_x_ cifar_resnet8", "\\_x\\_ cifar_resnet8"),
        ("![x](http://a/b.png)", "!\\[x\\](http://a/b.png)"),
        ("`code` *b* ~~s~~ $m$", "\\`code\\` \\*b\\* \\~\\~s\\~\\~ \\$m\\$"),
        ("<script>&lt;", "&lt;script>&amp;lt;"),
        ("a\nb\r\nc\u2028d\x0be", "a b c d e"),
        ("\u202eevil", "\\\\u202eevil"),
    ],
)
def test_a_name_is_not_markup(name: str, written: str) -> None:
    assert markdown.cell(name) == written
    assert markdown.table(("n",), [(name,)]).splitlines()[2] == f"| {written} |"


@pytest.mark.parametrize(
    ("given", "columns", "expected"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "abc"),
        ("日本語", 3, "日"),
        ("e\u0301e\u0301", 1, "e\u0301"),
        ("", 0, ""),
        ("ab", 0, ""),
    ],
)
def test_a_beginning_fits(given: str, columns: int, expected: str) -> None:
    assert text.beginning(given, columns) == expected


def test_the_beginning_of_a_text_of_any_length_is_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that a device's name of 200,000 letters does not stop a report for minutes."""
    seen: list[str] = []

    def counted(char: str) -> int:
        seen.append(char)
        return 1

    monkeypatch.setattr(text, "_columns", counted)
    assert text.beginning("x" * 200_000, 80) == "x" * 80
    assert len(seen) < 100
