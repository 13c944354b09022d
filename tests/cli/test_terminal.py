"""What a terminal shows: eighty columns whatever the names are, colours only where they are wanted, progress."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgeresnet import text
from edgeresnet.cli import _output, _progress
from edgeresnet.report.lines import Line
from edgeresnet.runs import Run, StepId
from edgeresnet.store import Store

from ..conftest import result_of, tiny, write_recipe
from ..report import runs
from .conftest import Command, expect, out_of, refused

LONG = "a-rather-long-name " * 8
ODD = ["x" * 120, LONG, "🦊" * 30, "שלום עולם " * 12, "\x1b[31m\u202e<b>'\"|`", "two\nlines\r"]


def within_eighty(out: str) -> None:
    """A single word may be longer: a path is there to be copied."""
    assert not set(out) & {"\x1b", "\u202e", "\r", "\x07"}
    for line in out.splitlines():
        assert text.width(line) <= 80 or " " not in line.strip(), line


def named(name: str, number: int) -> Run:
    """Return a run in which everything that a user names has this name."""
    run = runs.document(id=f"20260101-00000{number}", seconds=1.5)
    run["recipe"]["model"]["arch"] = name
    result = run["results"]["openvino"]
    result |= {"classes": [name, "b", "c"], "skipped": [name]}
    run["steps"] = [runs.step("trace", 4, runs.tracing(), path=f"/{name}/trace", warnings=[runs.warning(name)])]
    run["problem"] = {"message": f"{name} cannot be read", "hint": name}
    run["verdicts"][0]["reason"] = f"{name}: 0.50 points lost"
    return runs.decoded(run)


@pytest.mark.parametrize("name", ODD, ids=["word", "words", "emoji", "rtl", "codes", "lines"])
def test_commands_that_read_runs_fit_eighty_columns(command: Command, tmp_path: Path, name: str) -> None:
    store = Store.open(tmp_path / "store")
    for number in (1, 2):
        store.save_run(named(name, number))
    for words in (["report"], ["compare"], ["show"]):
        code, out, err = command(*words, "--store", store.root)
        assert (code, err) == (0, "")
        within_eighty(out)
    for words in (["report", name], ["compare", f"{name}.json", "20260101-000001"], ["predict", name], ["show", name]):
        assert not set(refused(command(*words, "--store", store.root))) & {"\x1b", "\u202e", "\r"}


def test_commands_that_look_fit_eighty_columns(command: Command, own_store: Store, tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 30) / "🦊"
    folder.mkdir(parents=True)
    path = write_recipe(folder, tiny(promises={"max_drop_pp": 0.01, "min_top1_pct": 99.999}))
    digest = own_store.load_run().steps[0].digest
    for words in (["check", path], ["plan", path], ["show"], ["show", digest], ["targets"]):
        out, _ = expect(0, command(*words, *([] if words == ["targets"] else ["--store", own_store.root])))
        within_eighty(out)


def test_whatever_a_command_prints_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    _output.echo("\x1b[31mred\u202e")
    _output.print_json({"name": "bad\udcff.png\x1b"})
    assert capsys.readouterr().out == '\\x1b[31mred\\u202e\n{\n "name": "bad\\udcff.png\\u001b"\n}\n'


def test_a_name_that_is_not_utf_8_is_stored_and_shown(command: Command, tmp_path: Path) -> None:
    store, name = Store.open(tmp_path / "store"), os.fsdecode(b"bad\xff.png")
    for number in (1, 2):
        store.save_run(named(name, number))
    assert result_of(store.load_run(), "openvino").skipped == (name,)
    for words in (["report"], ["report", "--format", "md"], ["report", "--format", "json"], ["compare"]):
        for output in ([], ["--output", "file"]):
            code, _, err = command(*words, *output, "--store", store.root)
            assert (code, "bug" in err) == (0, False)
    assert (
        json.loads(command("report", "--format", "json", "--store", store.root)[1])["recipe"]["model"]["arch"] == name
    )


def test_a_stream_that_knows_few_letters_gets_codes_for_the_others(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    store.save_run(named("net é → 🦊", 1))

    def printed(*words: str) -> tuple[int, str, str]:
        environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
        command = [sys.executable, "-m", "edgeresnet", "report", "--store", str(store.root), *words]
        done = subprocess.run(command, capture_output=True, env=environment, check=False)
        return done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1")

    code, out, err = printed()
    assert (code, err) == (0, "")
    assert "net é -> \\ud83e\\udd8a, 3 classes" in out
    code, out, _ = printed("--format", "json")
    assert (code, json.loads(out)["recipe"]["model"]["arch"]) == (0, "net é → 🦊"), "one document still"
    assert "'->' does not match any run" in refused(printed("→"))


@pytest.mark.parametrize("wanted", [True, False])
def test_colours_on_a_terminal_and_none_with_no_color(tmp_path: Path, wanted: bool) -> None:
    store = Store.open(tmp_path / "store")
    store.save_run(runs.run(verdicts=[runs.verdict("UNDECIDED")], verdict="UNDECIDED"))
    ours, theirs = pty.openpty()
    known = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    command = [sys.executable, "-m", "edgeresnet", "report", "--store", str(store.root)]
    subprocess.run(command, stdout=theirs, check=True, env=known if wanted else {**known, "NO_COLOR": "1"})
    os.close(theirs)
    shown = os.read(ours, 1 << 16)
    assert b"UNDECIDED" in shown
    assert (b"\x1b[33m" in shown) == wanted


def test_a_verdict_is_coloured_by_its_type_and_not_by_its_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_output.click, "style", lambda text, **_: f"<{text}>")
    _output.print_report([Line("BROKEN a", "BROKEN"), Line("KEPT openvino"), Line("note: a\u2028KEPT openvino")])
    assert capsys.readouterr().out.splitlines() == ["<BROKEN> a", "KEPT openvino", "note: a\\u2028KEPT openvino"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    now = SimpleNamespace(now=0.0)
    monkeypatch.setattr(_progress.time, "monotonic", lambda: now.now)
    return now


Count = Callable[[int, int, str], None]


def test_a_log_gets_a_line_every_ten_seconds_with_rate_and_what_is_left(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    with _progress.counted("verify:openvino") as progress:
        for second in range(1, 31):
            clock.now = float(second)
            progress(second * 8, 2400, "images")
    assert capsys.readouterr().err.splitlines() == [
        "verify:openvino          80 of 2400 images, 8/s, 5 min left",
        "verify:openvino          160 of 2400 images, 8/s, 5 min left",
        "verify:openvino          240 of 2400 images, 8/s, 4 min left",
    ]


def test_each_count_has_a_rate_of_its_own(clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    with _progress.counted("verify:openvino") as progress:
        for seconds in (1.0, 10.0):  # two networks, the second ten times as slow
            for done in range(64, 641, 64):
                clock.now += seconds
                progress(done, 640, "images")
        for done in range(6):  # and then five processes that are timed for a minute each
            progress(done, 5, "processes timed")
            clock.now += 60.0
    shown = [line[25:] for line in capsys.readouterr().err.splitlines()]
    assert shown[0].startswith("640 of 640 images, 64/s")
    assert shown[1] == "64 of 640 images", "how fast is not known after the first of them"
    assert shown[2:4] == ["128 of 640 images, 6/s, 80 s left", "192 of 640 images, 6/s, 70 s left"]
    assert shown[-6:-3] == [
        "640 of 640 images, 6/s, 0 s left",
        "1 of 5 processes timed, 60 s each, 4 min left",
        "2 of 5 processes timed, 60 s each, 3 min left",
    ]


def test_what_an_interrupted_one_had_done_counts_for_no_rate(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    with _progress.counted("train") as progress:
        for step in range(801, 1001):
            clock.now += 0.5
            progress(step, 1000, f"epoch {9 if step <= 900 else 10} of 10")
    shown = [line[25:] for line in capsys.readouterr().err.splitlines()]
    assert shown[0] == "820 of 1000 epoch 9 of 10, 2/s, 2 min left"
    assert shown[5] == "920 of 1000 epoch 10 of 10, 2/s, 40 s left", "the next epoch is the same count"


def outcome(stage: str, target: str = "", variant: str = "", state: str = "made", **changes: Any) -> Any:
    """Return what became of a step, as far as progress shows it."""
    step = SimpleNamespace(id=StepId(stage, target, variant))
    about: dict[str, Any] = {"artifact": None, "reason": "", "seconds": 0.25, "warnings": []}
    return SimpleNamespace(step=step, state=state, **(about | changes))


def test_done_steps_read_as_the_pipeline_and_share_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with _progress.listener(quiet=False, verbose=False) as shown:
        for each in (
            outcome("train", seconds=6.0),
            outcome("trace", "dense"),
            outcome("trace"),
            outcome("compile", "reference"),
            outcome("verify", "reference", "openvino"),
            *(outcome("compile", "openvino", variant) for variant in ("fp32", "int8", "yardstick")),
            outcome("verify", "openvino", state="done"),
            *(outcome("compile", "tensorrt", name, "skipped", reason="no driver") for name in ("fp32", "int8")),
        ):
            shown.ends(each)
    assert capsys.readouterr().err.splitlines() == [
        "train                       6.0 s",
        "trace                       0.5 s",
        "reference                   0.5 s",
        "compile:openvino            0.8 s",
        "compile:tensorrt         skipped: no driver",
        "already done: 1 of 11 stages",
    ]


def test_what_was_done_is_shown_where_a_run_ends_early(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OSError), _progress.listener(quiet=False, verbose=False) as shown:  # noqa: PT011
        shown.ends(outcome("train"))
        raise OSError
    assert capsys.readouterr().err == "train                       0.2 s\n"


@pytest.mark.parametrize("encoding", ["cp437", "cp1252"])
@pytest.mark.parametrize("words", [[], ["--notes"]], ids=["screen", "notes"])
def test_an_old_code_page_shows_nothing_unreadable(tmp_path: Path, encoding: str, words: list[str]) -> None:
    store = Store.open(tmp_path / "store")
    store.save_run(runs.run())
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "40"}
    command = [sys.executable, "-m", "edgeresnet", "report", "--store", str(store.root), *words]
    done = subprocess.run(command, capture_output=True, env=environment, check=True)
    out = done.stdout.decode(encoding)
    assert "\\u" not in out
    assert "KEPT: every promise is kept" in out


def test_notes_have_what_the_last_screen_leaves_out(command: Command, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    store.save_run(runs.run())
    screen, everything = (out_of(0, command("report", *words, "--store", store.root)) for words in ([], ["--notes"]))
    for words in ("train: ", "prune: ", "recover: ", "p99", "peak MB", "lost/won", "95 % interval"):
        assert words in everything
        assert words not in screen
    assert "no effect with --format md" in refused(
        command("report", "--notes", "--format", "md", "--store", store.root)
    )


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal of eighty columns gets."""
    from rich import console

    shown, real = io.StringIO(), console.Console
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(
        console, "Console", lambda stderr: real(file=shown, width=80, force_terminal=True, color_system=None)
    )
    return shown


def refresh(progress: Count) -> None:
    """The bars are drawn once a second: now, for the test."""
    cells = progress.__closure__ or ()
    next(cell.cell_contents for cell in cells if hasattr(cell.cell_contents, "bars")).bars.refresh()


def test_a_terminal_gets_a_bar_that_fits(clock: SimpleNamespace, drawn: io.StringIO) -> None:
    with _progress.counted("compile:reference:[red]" + "x" * 60) as progress:
        for second in range(1, 6):
            clock.now = float(second)
            progress(second * 100_000, 1_000_000, "evaluation images")
        refresh(progress)
    line = max((part for part in drawn.getvalue().replace("\r", "\n").splitlines() if "/s" in part), key=len)
    assert "compile:re…xxxxxxxxx ━━━━" in line
    assert " 500000/1000000 evaluation images, 100000/s 00:05" in line


def test_a_bar_begins_again_with_each_count(clock: SimpleNamespace, drawn: io.StringIO) -> None:
    with _progress.counted("verify:openvino") as progress:
        for seconds, until in ((1.0, 641), (10.0, 321)):
            for done in range(64, until, 64):
                clock.now += seconds
                progress(done, 640, "images")
        refresh(progress)
    line = [part for part in drawn.getvalue().replace("\r", "\n").splitlines() if "/s" in part][-1]
    assert "320/640 images, 6/s 00:50" in line


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (89, "89 s"), (95, "2 min"), (3600, "60 min"), (7500, "2 h 5 min")]
)
def test_what_is_left_is_written_no_finer_than_it_is_known(seconds: float, words: str) -> None:
    assert _progress.span(seconds) == words


def test_a_name_in_junit_sends_nothing_to_a_terminal(command: Command, own_store: Store) -> None:
    own_store.save_run(runs.run(verdicts=[runs.verdict(reason="\x9b31m\u202e")]))
    assert not {"\x9b", "\u202e"} & set(out_of(0, command("report", "--format", "junit", "--store", own_store.root)))


def test_where_a_stage_failed_not_all_is_done(command: Command, own_store: Store, tmp_path: Path) -> None:
    path = write_recipe(tmp_path, tiny(targets={"onnxruntime": {}, "tensorrt": {}}))
    for _ in range(2):
        _, err = expect(4, command("run", path, "--store", own_store.root))
    assert "nothing to do" not in err
    assert "already done: " in err


def test_quiet_prints_nothing_and_verbose_prints_more(command: Command, own_store: Store, tmp_path: Path) -> None:
    path = write_recipe(tmp_path, tiny())
    printed = {flag: command("run", path, "--store", own_store.root, *flag)[2] for flag in ((), ("-q",), ("-v",))}
    assert printed["-q",] == ""
    assert printed[()].splitlines() == [
        "nothing to do: all 6 stages are done already (`--again verify` measures again)"
    ]
    assert len(printed["-v",].splitlines()) == 7
    assert "trace" in printed["-v",]
    assert "already done" in printed["-v",]


def test_an_artifact_that_two_steps_share_was_not_done_before(capsys: pytest.CaptureFixture[str]) -> None:
    artifact = SimpleNamespace(digest="c0ffee", manifest=SimpleNamespace(notes=None))
    with _progress.listener(quiet=False, verbose=False) as shown:
        shown.ends(outcome("trace", "dense", artifact=artifact))
        shown.ends(outcome("trace", state="done", artifact=artifact))
    assert "already done" not in capsys.readouterr().err
