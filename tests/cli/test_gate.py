"""The command `gate`: exit codes, what is written where, and that it is light enough to run at every push."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from edgeresnet.portable.result import Deferred, Measured, Promise, Result
from edgeresnet.store import Store

from ..gate import runs
from ..test_architecture import HEAVY, _modules_after, _through_main
from .conftest import Command, close, err_of, expect, out_of, refused

pytestmark = pytest.mark.unit

Gate = Callable[..., tuple[int, str, str]]


def fresh(**changes: Any) -> Measured:
    return runs.result("openvino", began=time.time(), **changes)


@pytest.fixture
def gate(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Call `gate` on a store with one finished run, and a baseline made of it."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    store = Store.open(tmp_path / "store")
    store.save_run(runs.run(fresh()))
    assert command("gate", "--update", "--store", store.root)[0] == 0
    return lambda *words: command("gate", *words, "--store", store.root)


def run_again(tmp_path: Path, *results: Result, **changes: Any) -> None:
    Store(tmp_path / "store").save_run(runs.run(*results, id="20270115-090000-000000-abcdef", **changes))


def test_an_unchanged_run_passes(gate: Gate) -> None:
    code, out, err = gate()
    assert (code, err) == (0, "")
    assert "gate KEPT: every margin and every promise is kept" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_loss_a_slow_down_and_what_is_missing_leave_by_their_codes(gate: Gate, tmp_path: Path) -> None:
    run_again(tmp_path, fresh(predicted=runs.incorrect_for(0.05)))
    assert "BROKEN       openvino max_loss_pp: 5.00 points lost compared with the baseline" in out_of(3, gate())
    run_again(tmp_path, fresh(slower={"int8": 1.3}))
    assert gate()[0] == 3
    run_again(tmp_path, Deferred("openvino", "waits"))
    assert gate()[0] == 4
    run_again(tmp_path, fresh(by=(0.0, 0.5, -0.3, 0.2, -0.4)))
    assert gate()[0] == 0, "undecided, and the recipe only warns of that"
    run_again(tmp_path, fresh(by=(0.0, 0.5, -0.3, 0.2, -0.4)), undecided="fail")
    assert gate()[0] == 4


def test_an_old_measurement_is_not_a_pass(gate: Gate, tmp_path: Path) -> None:
    run_again(tmp_path, runs.result("openvino", began=time.time() - 7200))
    assert "ago, but --max-age is 1 h; measure again" in " ".join(out_of(4, gate()).split())
    assert gate("--max-age", "3h")[0] == 0
    assert gate("--max-age", "soon")[0] == 2


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--baseline", "other.json"), "the baseline other.json does not exist"),
        (("--max-loss-pp", "2"), "--max-loss-pp has no effect without --update"),
        (("--update", "--max-loss-pp", "much"), "--max-loss-pp 'much' is not a number from 0 on"),
        (("--update", "--max-loss-pp", "-1"), "--max-loss-pp '-1' is not a number from 0 on"),
        (("--update", "--max-loss-pp", "nan"), "--max-loss-pp 'nan' is not a number from 0 on"),
        (("--update", "--max-loss-pp", "inf"), "--max-loss-pp 'inf' is not a number from 0 on"),
        (("--update", "--junit", "gate.xml"), "--junit has no effect with --update: nothing is judged"),
        (("20200101",), "'20200101' does not match any run"),
        (("--junit", "no/where.xml"), "the folder no does not exist"),
        (("--update", "--baseline", "no/where.json"), "the folder no does not exist"),
    ],
)
def test_a_mistake_is_one_line(gate: Gate, words: tuple[str, ...], problem: str) -> None:
    err = err_of(2, gate(*words))
    assert problem in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("written", ["", "{}", '{"edgeresnet_gate": 9}', "<html>"])
def test_what_is_not_a_baseline_is_one_line(gate: Gate, tmp_path: Path, written: str) -> None:
    (tmp_path / "gate.json").write_text(written)
    for words in ((), ("--update",)):
        refused(gate(*words))


def test_margins_stay_when_the_rest_is_renewed(gate: Gate, tmp_path: Path) -> None:
    path = tmp_path / "gate.json"
    by_hand = json.loads(path.read_text())
    by_hand["margins"] = {"max_loss_pp": 0.3, "max_slowdown_pct": None, "max_runtime_slowdown_pct": None}
    path.write_text(json.dumps(by_hand))
    run_again(tmp_path, fresh(predicted=runs.incorrect_for(0.05)))
    assert gate()[0] == 3
    assert "openvino int8: top-1 84." in out_of(0, gate("--update", "--max-growth-pct", "7"))
    assert json.loads(path.read_text())["margins"] == {**by_hand["margins"], "max_growth_pct": 7.0}
    assert gate()[0] == 0
    assert gate("--update", "--max-loss-pp", "none")[0] == 0
    assert json.loads(path.read_text())["margins"]["max_loss_pp"] is None


def test_an_update_shows_what_it_replaces_and_which_margins_fail(gate: Gate, tmp_path: Path) -> None:
    """Or a network that lost five points becomes the yardstick of all that follow, and nothing says so."""
    worse = fresh(predicted=runs.incorrect_for(0.05), slower={"int8": 0.72})
    run_again(tmp_path, worse)
    out, err = expect(0, gate("--update"))
    words = " ".join(out.split())
    assert "BROKEN openvino max_loss_pp: 5.00 points lost compared with the baseline" in words
    assert "KEPT openvino max_slowdown_pct half: 28.00 % faster than in the baseline" in words
    assert "The old baseline's margins would have failed this run: openvino max_loss_pp BROKEN." in words
    assert err == "wrote gate.json\n"
    assert "openvino int8: top-1 84." in words
    again = " ".join(out_of(0, gate("--update")).split())
    assert "This run fails no margin of the old baseline." in again
    out, err = expect(0, gate("--update", "--json"))
    assert json.loads(out)["edgeresnet_gate"]
    assert "This run fails no margin of the old baseline." in " ".join(err.split())


def test_an_update_of_what_cannot_be_compared_says_so(gate: Gate, tmp_path: Path) -> None:
    run_again(tmp_path, fresh(images="j" * 64))
    words = " ".join(out_of(0, gate("--update")).split())
    assert "The old baseline cannot be compared with this run: gate.json is of other images than openvino" in words
    run_again(tmp_path, fresh(images="j" * 64), recipe={"seed": 7}, recipe_digest="a" * 64)
    words = " ".join(out_of(0, gate("--update")).split())
    assert "note: the baseline is of another recipe" in words
    assert "This run fails no margin of the old baseline." in words


def test_a_first_baseline_replaces_nothing(gate: Gate) -> None:
    assert "old baseline" not in out_of(0, gate("--update", "--baseline", "first.json"))


def test_a_broken_run_becomes_no_baseline_by_accident(gate: Gate, tmp_path: Path) -> None:
    before = (tmp_path / "gate.json").read_bytes()
    run_again(tmp_path, fresh(), promises=(Promise("min_top1_pct", 99.0),))
    for path in ("gate.json", "first.json"):
        err = err_of(3, gate("--update", "--baseline", path))
        (line,) = err.splitlines()
        assert "is BROKEN, so it is not recorded as the baseline: openvino min_top1_pct" in line
        assert line.endswith("(run the network that may ship, or record this one with --accept-broken)")
    assert (tmp_path / "gate.json").read_bytes() == before
    assert not (tmp_path / "first.json").exists()
    words = " ".join(out_of(0, gate("--update", "--accept-broken")).split())
    assert "The run's verdict is BROKEN, and it is the baseline now." in words
    assert (tmp_path / "gate.json").read_bytes() != before
    assert "--accept-broken has no effect without --update" in err_of(2, gate("--accept-broken"))


def test_an_undecided_run_becomes_the_baseline_with_a_sentence(gate: Gate, tmp_path: Path) -> None:
    run_again(tmp_path, fresh(), promises=(Promise("min_top1_pct", 89.0),))
    words = " ".join(out_of(0, gate("--update")).split())
    assert "The run's verdict is UNDECIDED, and it is the baseline now." in words


def test_a_changed_recipe_is_refused_with_its_digests(gate: Gate, tmp_path: Path) -> None:
    run_again(tmp_path, fresh(), recipe={"seed": 7}, recipe_digest="a" * 64)
    problem = "another recipe (ffffffffffff in the baseline, aaaaaaaaaaaa in this run): seed 0 → 7"
    assert problem in err_of(2, gate())
    assert gate("--across-recipes")[0] == 0


def test_a_run_with_a_value_that_is_not_a_number_is_not_even_read(gate: Gate, tmp_path: Path) -> None:
    path = Store(tmp_path / "store").runs()[0]
    before = path.read_text()
    path.write_text(before.replace('"size_mb":1.25', '"size_mb":NaN'))
    assert path.read_text() != before
    assert "cannot be read" in err_of(2, gate())


def test_each_format_is_one_document(gate: Gate, tmp_path: Path) -> None:
    run_again(tmp_path, fresh(predicted=runs.incorrect_for(0.05)))
    code, out, err = gate("--json", "--junit", "gate.xml")
    assert (code, json.loads(out)["verdict"]) == (3, "BROKEN")
    assert err == "wrote gate.xml\n"
    failed = ElementTree.parse(tmp_path / "gate.xml").getroot().findall(".//failure/..")
    assert [case.get("name") for case in failed] == ["max_loss_pp"]
    assert ElementTree.fromstring(gate("--format", "junit")[1]).get("failures") == "1"
    assert gate("--format", "md")[1].startswith("# Gate: BROKEN\n")
    marks = gate("--format", "github")[1].splitlines()
    assert marks[0].startswith("::error file=gate.json,title=openvino max_loss_pp%3A BROKEN::5.00 points lost")
    assert "95 %25 interval" in marks[0]
    assert marks[-1].startswith("::notice title=edgeresnet gate::BROKEN: ")


def test_in_a_workflow_it_marks_the_request_and_adds_to_the_summary(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_again(tmp_path, fresh(predicted=runs.incorrect_for(0.05)))
    summary = tmp_path / "summary.md"
    summary.write_text("# What another step wrote\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    _, out, _ = gate()
    assert "\n::error file=gate.json" in out
    assert summary.read_text().startswith("# What another step wrote\n")
    assert "# Gate: BROKEN" in summary.read_text()
    _, out, err = gate("--json")
    assert json.loads(out)
    assert "::error file=gate.json" in err


def test_a_report_that_cannot_be_written_is_an_error_and_never_hides_the_verdict(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    run_again(tmp_path, fresh(predicted=runs.incorrect_for(0.05)))
    out, err = expect(3, gate("--junit", "no/where.xml"))
    assert err == "error: the folder no does not exist (make it, or write to another folder)\n"
    assert "\n::error file=gate.json" in out
    assert "# Gate: BROKEN" in (tmp_path / "summary.md").read_text()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "no" / "where.md"))
    _, err = expect(3, gate("--junit", "gate.xml"))
    assert err.splitlines()[0] == "wrote gate.xml"
    assert "where.md cannot be written" in err.splitlines()[1]
    run_again(tmp_path, fresh())
    code, _, err = gate("--junit", "no/where.xml")
    assert (code, len(err.splitlines())) == (2, 2), "no job can rely on a report that is not there"


@pytest.mark.parametrize("kind", ["--junit", "--format"])
def test_a_refusal_is_not_a_pass_in_any_report(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path, summary = tmp_path / "gate.xml", tmp_path / "summary.md"
    path.write_text("<testsuites tests='1'/>")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    words = ("--junit", path) if kind == "--junit" else ("--format", "junit")
    out, err = expect(2, gate("--baseline", "other<b>.json", *words))
    assert err.splitlines()[-1].startswith("error: the baseline other<b>.json does not exist (")
    root = ElementTree.fromstring(path.read_text() if kind == "--junit" else out)
    assert (root.get("tests"), root.get("errors")) == ("1", "1")
    (message,) = (error.get("message") or "" for error in root.iter("error"))
    assert message.startswith("NOT_MEASURED: the baseline other<b>.json does not exist (")
    marks = (out if kind == "--junit" else err).splitlines()
    assert any(
        line.startswith("::error file=other<b>.json,title=edgeresnet gate%3A refused::the baseline ") for line in marks
    )
    assert summary.read_text().startswith("# Gate: refused\n\nthe baseline other&lt;b>.json does not exist (")


def test_whatever_is_refused_is_reported_everywhere(gate: Gate, tmp_path: Path) -> None:
    run_again(tmp_path, fresh(images="j" * 64))
    for words, problem in (
        ((), "is of other images"),
        (("--max-age", "soon"), "is not an age"),
        (("--max-loss-pp", "1"), "without --update"),
        (("20200101",), "does not match any run"),
    ):
        (tmp_path / "gate.xml").unlink(missing_ok=True)
        code, out, err = gate(*words, "--junit", "gate.xml")
        assert (code, out) == (2, "")
        assert problem in err.splitlines()[-1]
        assert problem in (tmp_path / "gate.xml").read_text()
    _, err = expect(2, gate("20200101", "--junit", "no/where.xml"))
    assert [line.split(" (")[0] for line in err.splitlines()] == [
        "error: the folder no does not exist",
        f"error: '20200101' does not match any run in {tmp_path / 'store'}",
    ]


def test_a_baseline_that_may_not_be_looked_at_is_one_line(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    close(monkeypatch, "exists", lambda path: path.name == "mine.json")
    err = refused(gate("--update", "--baseline", "closed/mine.json"))
    assert err.startswith("error: closed/mine.json cannot be opened: Permission denied (")


def test_a_report_below_a_closed_folder_does_not_change_the_verdict(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_again(tmp_path, fresh(predicted=runs.incorrect_for(0.05)))
    close(monkeypatch, "is_dir", lambda path: path.name == "closed")
    code, _, err = gate("--junit", "closed/gate.xml")
    assert (code, err) == (3, "error: closed/gate.xml cannot be written: Permission denied (write to another folder)\n")


@pytest.mark.parametrize("words", [("gate",), ("gate", "--update"), ("report", "--format", "junit")])
def test_it_loads_no_runtime(gate: Gate, tmp_path: Path, words: tuple[str, ...]) -> None:
    loaded = _modules_after(_through_main(*words, "--store", str(tmp_path / "store")), tmp_path)
    assert "numpy" in loaded, "the command did not run"
    assert not loaded & HEAVY
    assert words[0] == "report" or not loaded & {"pydantic", "yaml", "PIL"}
