"""One complete printed report as a string; and what must never break one."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from edgeresnet import report
from edgeresnet.notes import TrainNotes
from edgeresnet.portable import codec
from edgeresnet.portable.result import Accuracy, Promise, Verdict, Word
from edgeresnet.portable.tasks.two_stage import TwoStage
from edgeresnet.report import summary
from edgeresnet.runs import BaselineId, GateReport, Margins, Run

from . import runs

pytestmark = pytest.mark.unit


def document(**changes: Any) -> runs.Json:
    """Return the JSON of a small run: one network of two classes on one target."""
    accuracy = {"images": 1000, "top1": 900, "top5": 990, "flips_lost": 10, "flips_won": 5, "agree": 980}
    process = runs.process(host_ms=[[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    signature = {"input": "x", "batch": 1, "channels": 3, "size": 8, "output": "y", "classes": 2}
    variant = {
        "accuracy": accuracy | {"sqnr_db": 25.0},
        "predicted": [0] * 60 + [1] * 140,
        "size_mb": 1.25,
        "latency": {"batch": 1, "processes": [process] * 2},
        "digest": "d" * 64,
        "notes": {"signature": signature, "float_parts": "f32"},
        "precisions": {"f32": 3},
    }
    labels = [0] * 100 + [1] * 100
    result = runs.result(
        candidate="fp32",
        classes=["a", "b"],
        labels=labels,
        reference_predicted=labels,
        variants={"fp32": variant},
        versions={"openvino": "2026.4.1"},
    )
    about: runs.Json = {
        "id": "20260101-000000-000000-abcdef",
        "recipe": {"model": {"arch": "resnet18", "classes": 2}},
        "results": {"openvino": result},
        "verdicts": [runs.verdict("UNDECIDED", reason="0.50 points lost")],
        "verdict": "UNDECIDED",
        "steps": [runs.step("trace", 14, runs.tracing(), path="p")],
    }
    return runs.document(**(about | changes))


def run_document(**changes: Any) -> Run:
    """Return that run, in which these keys are others."""
    return runs.decoded(document(**changes))


def everything(run: Run) -> str:
    """Return what `report --notes` prints."""
    return report.lines.joined(report.notes_text.lines(run))


def test_the_complete_terminal_report() -> None:
    assert (
        everything(run_document())
        == """\
resnet18, 2 classes

target    as      top-1          drop pp (95 %)    agree  lost/won    MB
openvino  fp32  90.00 %  +0.50 (-0.29 to +1.39)  98.00 %      10/5  1.25

target    as    p50 ms    p90    p99  load  first  peak MB
openvino  fp32   2.000  3.000  3.000  50.0  9.000    120.0

Energy was not measured: an older edgeresnet measured it, without energy:
  measure again with `edgeresnet run RECIPE --again verify`

UNDECIDED    openvino max_drop_pp: 0.50 points lost

note: openvino: the recall of a fell from 100.00 % to 60.00 %: +40.00 (+29.75 to
  +51.20) points lost
note: openvino: fp32: few inferences were timed, only 12: p99 depends on one or
  two of them

UNDECIDED: these images and measurements cannot decide every promise
"""
    )


@pytest.mark.parametrize("word", ["KEPT", "DEFERRED", "UNDECIDED", "NOT_MEASURED", "BROKEN"])
def test_every_verdict_is_marked_and_its_line_begins_with_it(word: Word) -> None:
    """Names and reasons that look like verdicts are not marked."""
    verdicts = [runs.verdict(word, target="KEPT:", reason="BROKEN: " * 20)]
    lines = report.notes_text.lines(run_document(verdicts=verdicts, verdict=word))
    marked = [line for line in lines if line.verdict]
    assert [line.verdict for line in marked] == [word, word]
    assert all(line.text.startswith(word) for line in marked)


def test_a_summary_holds_numbers_and_its_cells_are_written_from_them() -> None:
    seen = summary.of(runs.run())
    (target,) = seen.targets
    assert (target.ships, target.verdict, target.meaning) == ("int8", "KEPT", "every promise is kept")
    int8 = seen.accuracies[-1]
    assert isinstance(int8.accuracy, Accuracy)
    assert (int8.accuracy.top1, int8.accuracy.lost, int8.accuracy.won, int8.size_mb) == (276, 10, 1, 0.25)
    assert seen.accuracy_table.rows[-1] == (
        "openvino", "int8", "92.00 %", "+3.00 (+1.04 to +5.74)", "96.33 %", "10/1", "0.25"
    )  # fmt: skip
    over_fp32, over_half = seen.speedups[1:]
    assert over_fp32.ratio is not None
    assert over_fp32.ratio.value == pytest.approx(2.5)
    assert over_fp32.differs
    assert (over_fp32.baseline, over_half.baseline) == ("fp32", "half")
    assert over_half.sentence in everything(runs.run())


def test_one_process_gives_a_ratio_without_an_interval() -> None:
    about = runs.document()
    for each in about["results"]["openvino"]["variants"].values():
        each["latency"] = runs.latency(1.0, processes=1)
    speedup = summary.of(runs.decoded(about)).speedups[0]
    assert not speedup.differs
    assert speedup.sentence == (
        "openvino half: 1.000 times as fast as fp32; one process gives no interval: use 3 or more"
    )
    assert speedup.short == "1.00 × as fast as FP32 (one process gives no interval)"


def of_noisy_processes(count: int) -> Run:
    """Return a run whose last process took sixty times as long with INT8 as the others."""
    about = runs.document()
    for name, each in about["results"]["openvino"]["variants"].items():
        each["latency"] = runs.latency(1.0, processes=count)
        if name == "int8":
            values = each["latency"]["processes"][-1]["host_ms"]
            each["latency"]["processes"][-1]["host_ms"] = [[60 * value for value in window] for window in values]
    return runs.decoded(about)


def test_two_processes_that_differ_widely_have_no_interval_in_any_format() -> None:
    """Or a person reads "0.00 to 171577 times as fast"."""
    seen = summary.of(of_noisy_processes(2))
    few = "2 processes are too few for an interval of such noisy times"
    (over_fp32,) = (each for each in seen.speedups if each.name == "openvino int8" and each.baseline == "fp32")
    assert over_fp32.sentence.endswith(f" times as fast as fp32; {few}: use 3 or more")
    assert over_fp32.short.endswith(f"× as fast as FP32 ({few})")
    assert over_fp32.cell(2).endswith(" (no interval)")
    for name, render in report.FORMATS.items():
        text = render(of_noisy_processes(2))
        assert "e+" not in text
        assert not re.search(r" to \d{3,}\.", text), name
        if name in ("md", "html"):
            assert few in text
    found = summary.of(of_noisy_processes(5)).speedups
    (over_fp32,) = (each for each in found if each.name == "openvino int8" and each.baseline == "fp32")
    assert "5 processes are too few for an interval of such noisy times: use more" in over_fp32.sentence


def test_a_target_that_was_not_measured_is_reported_and_not_left_out() -> None:
    absent = runs.not_measured("tensorrt", "is not here: no driver", "install one")
    run = run_document(results={"tensorrt": absent}, verdicts=[], verdict="NOT_MEASURED")
    for text in (everything(run), report.FORMATS["md"](run)):
        assert "no driver (install one)" in text
        assert "NOT_MEASURED" in text


@pytest.mark.parametrize("kind", ["terminal", "md", "junit", "compare", "compare md", "compare json"])
@pytest.mark.parametrize(("step", "place"), [({"step": "trace"}, " in step trace"), ({}, "")], ids=["now", "older"])
def test_every_report_of_a_run_that_failed_halfway_names_the_step(kind: str, step: dict[str, str], place: str) -> None:
    problem = {"message": "the disk is full", "hint": "", **step}
    run = run_document(results={}, verdicts=[], verdict="NOT_MEASURED", problem=problem, undecided="warn")
    if kind.startswith("compare"):
        found = report.compared.of([run_document(), replace(run, id="20260102-000000-000000-abcdef")])
        text = report.compare_text.FORMATS[kind.partition(" ")[2] or "terminal"](found)
    else:
        text = report.FORMATS[kind](run)
    assert f"ended early{place}: the disk is full" in " ".join(text.split())


@pytest.mark.parametrize(
    ("windows", "words"),
    [
        ([[0.0, 0.0, 0.0]], "half: not compared with fp32: the clock stood still"),
        ([[1.0, 1.0, 1.0]], "half: 2.000 times as fast as fp32, 95 % interval 2.000 to 2.000"),
    ],
)
def test_times_that_are_none_make_no_ratio_and_break_no_report(windows: list, words: str) -> None:
    about = document()
    variants = about["results"]["openvino"]["variants"]
    process = {**variants["fp32"]["latency"]["processes"][0], "host_ms": windows, "others_cpus": [0.0]}
    variants["half"] = {**variants["fp32"], "latency": {"batch": 1, "processes": [process] * 2}}
    variants["fp32"]["latency"]["processes"] = [{**process, "host_ms": [[2.0, 2.0, 2.0]]}] * 2
    for render in (everything, report.FORMATS["md"]):
        assert words in " ".join(render(runs.decoded(about)).split())


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a|b", "line\nbreak", "🦊", "שלום", "`code`"])
def test_odd_names_stay_text(name: str) -> None:
    about = document(recipe={"model": {"arch": name, "classes": 2}})
    about["results"]["openvino"]["skipped"] = [name]
    run = runs.decoded(about)
    text = report.FORMATS["md"](run)
    assert "<script>" not in text
    assert len([line for line in text.splitlines() if line.startswith("#")]) == 5 + 1
    assert json.loads(report.FORMATS["json"](run))["recipe"]["model"]["arch"] == name
    assert report.FORMATS["terminal"](run)


def test_skipped_images_and_warnings_are_notes_and_that_nothing_was_promised_is_shown() -> None:
    about = document(verdicts=[], verdict="KEPT")
    about["results"]["openvino"]["skipped"] = ["x.png", "y.png"]
    about["steps"][0]["warnings"] = [runs.warning("went on after epoch 2")]
    text = everything(runs.decoded(about))
    assert "KEPT: nothing was promised" in text
    assert "note: 2 unreadable evaluation images were left out: x.png, y.png" in text
    assert "note: trace: went on after epoch 2" in text


def test_the_markdown_holds_the_run_and_its_classes_with_what_they_lost() -> None:
    text = report.FORMATS["md"](run_document())
    assert "Run `20260101-000000-000000-abcdef`, recipe `ffffffffffff`." in text
    assert "| openvino | a | 100 | 100.00 % | 60.00 % | +40.00" in text
    assert "| worse |" in text
    assert "balanced accuracy 80.00 %" in text
    assert "McNemar p 0.302" in text


@pytest.mark.parametrize(("compiled", "word"), [(24.5, "adds none"), (18.0, "adds noise")])
def test_quantizations_loss_and_the_compilers_are_reported_apart(compiled: float, word: str) -> None:
    about = document()
    result = about["results"]["openvino"]
    counts = result["variants"]["fp32"]["accuracy"]
    result["as_written"] = {**counts, "agree": 985}
    result["variants"]["int8"] = {**result["variants"]["fp32"], "accuracy": {**counts, "sqnr_db": compiled}}
    sentence = (
        "openvino int8: quantization loses 0.50 points (25.0 dB, 98.50 % same answers); "
        f"compilation {word} ({compiled} dB, 98.00 % same answers)"
    )
    for render in (everything, report.FORMATS["md"]):
        assert sentence in " ".join(render(runs.decoded(about)).split())


def test_what_a_devices_own_decoding_changes_is_a_note() -> None:
    about = document()
    changed = {"images": 16, "mean_levels": 0.6, "largest_levels": 9, "answers_changed": 2}
    same = {"images": 16, "mean_levels": 0.0, "largest_levels": 0, "answers_changed": 0}
    about["results"]["openvino"]["decoding"] = {"opencv": changed, "pillow": same, "other": None}
    notes = [note for note in summary.of(runs.decoded(about)).notes if "decoded with" in note]
    assert notes == [
        "openvino: decoded with opencv on the device, the answers of 2 of 16 images change (0.60 levels on average, "
        "9 at most)"
    ]


def test_times_of_a_detectors_first_stage_are_a_note() -> None:
    about = document()
    assert not [note for note in summary.of(runs.decoded(about)).notes if "first stage" in note]
    detector = TwoStage(64, 3, (16, 8, 4, 2, 1), ((32.0,),) * 5, (1.0,))
    about["results"]["openvino"]["detector"] = codec.encode(detector)
    assert len([note for note in summary.of(runs.decoded(about)).notes if "times are of the first stage" in note]) == 1


def test_a_loss_that_ran_away_stays_short() -> None:
    start = {"validation_top1": 0.5}
    history = [{"epoch": epoch, "validation_loss": loss, **start} for epoch, loss in ((0, 0.5), (1, 1e30))]
    notes = codec.decode(TrainNotes, runs.training(history=history, best_epoch=0, epochs=1))
    assert [row[2] for row in summary.epoch_rows(notes)] == ["0.5000", "1e+30"]
    assert "0.500 to 1e+30" in summary.training_sentence(notes)


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "`a` <img src=x>", "\x1b[31m", "a\n# b"])
def test_an_id_is_a_name_like_all_others(name: str) -> None:
    """A run's file, and a baseline, may have been written by another program."""
    run = run_document(id=name, recipe_digest=name)
    verdict = Verdict("openvino", Promise("max_loss_pp", 1.0), "KEPT", "0 lost")
    gated = GateReport(1, name, BaselineId("g", name, name), Margins(), "KEPT", "warn", (verdict,), ())
    pages = {
        "md": report.FORMATS["md"](run),
        "compare": report.compare_text.FORMATS["md"](report.compared.of([run, run_document()])),
        "gate": report.gate_text.FORMATS["md"](gated),
    }
    for kind, page in pages.items():
        assert name not in page, kind
        assert "<" not in page, kind
        assert "\x1b" not in page, kind
        assert "# b" not in page.splitlines(), kind


def test_a_targets_verdict_is_its_worst_and_never_kept_without_a_measurement() -> None:
    results = {"openvino": runs.result(), "tensorrt": runs.deferred("tensorrt", "later")}
    results["onnxruntime"] = runs.not_measured("onnxruntime", "no wheel")
    run = runs.run(results=results, verdicts=[])
    assert [run.verdict_of(target) for target in results] == ["KEPT", "DEFERRED", "NOT_MEASURED"]
    broken = runs.run(verdicts=[runs.verdict("BROKEN"), runs.verdict("KEPT")])
    assert broken.verdict_of("openvino") == "BROKEN"
