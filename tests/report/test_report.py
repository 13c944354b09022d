"""One whole printed report as a string; and what must never break one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgeresnet import report
from edgeresnet.report import curve

pytestmark = pytest.mark.unit


def run_document(**changes: Any) -> dict[str, Any]:
    accuracy = {"images": 1000, "top1": 900, "top5": 990, "flips_lost": 10, "flips_won": 5, "agree": 980}
    process: dict[str, Any] = {
        "machine": {"cpus": 2, "cores": 2},
        "others_cpus": [0.0],
        "host_ms": [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]],
    }
    process |= {"load_ms": 50.0, "first_ms": 9.0, "peak_memory_mb": 120.0}
    variant: dict[str, Any] = {
        "accuracy": accuracy | {"sqnr_db": 25.0},
        "predicted": [0] * 60 + [1] * 140,
        "size_mb": 1.25,
    }
    variant |= {"latency": {"batch": 1, "processes": [process] * 2}, "digest": "d" * 64}
    variant |= {"notes": {"float_parts": "f32"}, "precisions": {"f32": 3}}
    result: dict[str, Any] = {
        "target": "openvino",
        "candidate": "fp32",
        "classes": ["a", "b"],
        "labels": [0] * 100 + [1] * 100,
    }
    result |= {"reference_predicted": [0] * 100 + [1] * 100, "skipped": [], "variants": {"fp32": variant}}
    result |= {"versions": {"openvino": "2026.4.1"}}
    verdict = {"target": "openvino", "promise": "max_drop_pp", "verdict": "UNDECIDED", "reason": "0.50 points lost"}
    step = {"id": "trace", "state": "made", "seconds": 1.5, "digest": "e" * 64, "warnings": [], "path": "p"}
    cpu = {"model": "Some CPU", "cores": 2, "instructions": ["avx2"], "quota": None}
    about: dict[str, Any] = {
        "id": "20260101-000000-000000-abcdef",
        "recipe": {"model": {"arch": "resnet18", "classes": 2}},
    }
    about |= {"recipe_digest": "f" * 64, "results": {"openvino": result}, "verdicts": [verdict], "verdict": "UNDECIDED"}
    about |= {"steps": [step], "problem": None}
    return about | {"machine": {"cpu": cpu, "memory_gb": 8, "system": "Linux x86_64"}} | changes


def test_the_whole_terminal_report() -> None:
    assert (
        report.FORMATS["terminal"](run_document())
        == """\
resnet18, 2 classes

target    as      top-1          drop pp (95 %)    agree  lost/won    MB
openvino  fp32  90.00 %  +0.50 (-0.29 to +1.39)  98.00 %      10/5  1.25

target    as    p50 ms    p90    p99  load  first  peak MB
openvino  fp32   2.000  3.000  3.000  50.0  9.000    120.0

UNDECIDED    openvino max_drop_pp: 0.50 points lost

note: openvino: a is found less often than before: 100.00 % → 60.00 %, +40.00
  (+29.75 to +51.20) points lost
note: openvino: fp32: only 12 inferences were timed: p99 is one or two of them

UNDECIDED: the images or measurements at hand cannot decide every promise
"""
    )


def test_a_target_that_was_not_measured_is_said_and_not_left_out() -> None:
    absent = {"target": "tensorrt", "reason": "is not here: no driver", "hint": "install one"}
    run = run_document(results={"tensorrt": absent}, verdicts=[], verdict="NOT_MEASURED")
    for kind in ("terminal", "md"):
        text = report.FORMATS[kind](run)
        assert "no driver (install one)" in text
        assert "NOT_MEASURED" in text


@pytest.mark.parametrize("kind", ["terminal", "md", "junit", "compare", "compare md", "compare json"])
@pytest.mark.parametrize(("step", "place"), [({"step": "trace"}, " in step trace"), ({}, "")], ids=["now", "older"])
def test_every_report_of_a_run_that_failed_halfway_says_where(kind: str, step: dict[str, str], place: str) -> None:
    problem = {"message": "the disk is full", "hint": "", **step}
    run = run_document(results={}, verdicts=[], verdict="NOT_MEASURED", problem=problem, undecided="warn")
    if kind.startswith("compare"):
        found = report.compared.of([run_document(), {**run, "id": "20260102-000000-000000-abcdef"}])
        text = report.compare_text.FORMATS[kind.partition(" ")[2] or "terminal"](found)
    else:
        text = report.FORMATS[kind](run)
    assert f"ended early{place}: the disk is full" in " ".join(text.split())


@pytest.mark.parametrize(
    ("windows", "words"),
    [
        ([[0.0, 0.0, 0.0]], "half: not held against fp32: the clock did not move"),
        ([[1.0, 1.0, -5.0]], "half: not held against fp32: the clock stepped back"),
        ([[1.0, 1.0, 1.0]], "half: 2.000 times as fast as fp32, 95 % interval 2.000 to 2.000"),
    ],
)
def test_times_that_are_none_make_no_ratio_and_break_no_report(windows: list, words: str) -> None:
    run = run_document()
    variants = run["results"]["openvino"]["variants"]
    process = {**variants["fp32"]["latency"]["processes"][0], "host_ms": windows}
    variants["half"] = {**variants["fp32"], "latency": {"batch": 1, "processes": [process] * 2}}
    variants["fp32"]["latency"]["processes"] = [{**process, "host_ms": [[2.0, 2.0, 2.0]]}] * 2
    for kind in ("terminal", "md"):
        assert words in " ".join(report.FORMATS[kind](run).split())


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a|b", "line\nbreak", "🦊", "שלום", "`code`"])
def test_odd_names_stay_text(name: str) -> None:
    run = run_document(recipe={"model": {"arch": name, "classes": 2}})
    run["results"]["openvino"]["skipped"] = [name]
    text = report.FORMATS["md"](run)
    assert "<script>" not in text
    assert len([line for line in text.splitlines() if line.startswith("#")]) == 5 + 1
    assert json.loads(report.FORMATS["json"](run))["recipe"]["model"]["arch"] == name
    assert report.FORMATS["terminal"](run)


def test_skipped_images_and_warnings_are_notes_and_that_nothing_was_promised_is_said() -> None:
    run = run_document(verdicts=[], verdict="KEPT")
    run["results"]["openvino"]["skipped"] = ["x.png", "y.png"]
    run["steps"][0]["warnings"] = ["went on after epoch 2"]
    text = report.FORMATS["terminal"](run)
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


@pytest.mark.parametrize(
    ("compiled", "word"), [(24.5, "the loss is quantization's, not the compiler's"), (18.0, "the compiler adds to it")]
)
def test_a_loss_is_told_from_the_compilers(compiled: float, word: str) -> None:
    run = run_document()
    result = run["results"]["openvino"]
    counts = result["variants"]["fp32"]["accuracy"]
    result["as_written"] = {**counts, "agree": 985}
    result["variants"]["int8"] = {**result["variants"]["fp32"], "accuracy": {**counts, "sqnr_db": compiled}}
    said = (
        f"openvino int8: 25.0 dB and 98.50 % same answers as written (in onnxruntime), {compiled} dB and 98.00 % same "
        f"answers as compiled: {word}"
    )
    for kind in ("terminal", "md"):
        assert said in " ".join(report.FORMATS[kind](run).split())


def test_what_a_devices_own_decoding_changes_is_told() -> None:
    run = run_document()
    changed = {"images": 16, "mean_levels": 0.6, "largest_levels": 9, "answers_changed": 2}
    same = {"images": 16, "mean_levels": 0.0, "largest_levels": 0, "answers_changed": 0}
    run["results"]["openvino"]["decoding"] = {"opencv": changed, "pillow": same, "other": None}
    notes = [note for note in report.view.of(run).notes if "decoded with" in note]
    assert notes == [
        "openvino: decoded with opencv on the device, 2 of 16 answers change (0.60 levels on average, 9 at most)"
    ]


def test_a_loss_that_ran_away_stays_short() -> None:
    start = {"validation_top1": 0.5}
    history = [{"epoch": epoch, "validation_loss": loss, **start} for epoch, loss in ((0, 0.5), (1, 1e30))]
    notes = {"history": history, "best_epoch": 0, "epochs": 1, "validation_images": 12, "validation_top1": 0.5}
    assert [row[2] for row in curve.rows(notes)] == ["0.5000", "1e+30"]
    assert "0.500 to 1e+30" in curve.line(notes)


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "`a` <img src=x>", "\x1b[31m", "a\n# b"])
def test_an_id_is_a_name_like_all_others(name: str) -> None:
    """A run's file, and a baseline, may have been written by somebody else."""
    run = run_document(id=name, recipe_digest=name)
    verdict = {"target": "openvino", "promise": "max_loss_pp", "verdict": "KEPT", "reason": "0 lost"}
    found = {"verdict": "KEPT", "verdicts": [verdict], "notes": [], "undecided": "warn", "run": name}
    pages = {
        "md": report.FORMATS["md"](run),
        "compare": report.compare_text.FORMATS["md"](report.compared.of([run, run_document()])),
        "gate": report.gate_text.FORMATS["md"]({**found, "baseline": {"path": "g", "digest": name, "run": name}}),
    }
    for kind, page in pages.items():
        assert name not in page, kind
        assert "<" not in page, kind
        assert "\x1b" not in page, kind
        assert "# b" not in page.splitlines(), kind
