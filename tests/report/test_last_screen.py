"""The last screen: forty lines of eighty columns, whatever there is to show, and no count of bad news left out."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from edgeresnet import report, text
from edgeresnet.portable import codec
from edgeresnet.portable.result import Word
from edgeresnet.report import summary
from edgeresnet.report.lines import Look
from edgeresnet.report.terminal import LONGEST, Files
from edgeresnet.runs import Part, Run

from ..portable.results import machine_state
from . import runs

pytestmark = pytest.mark.unit

VARIANTS = ("fp32", "pruned", "half", "int8", "candidate", "other")
KINDS = ("max_drop_pp", "min_top1_pct", "min_speedup_half", "max_size_mb", "min_recall_pct", "max_flips_pct")
WORDS: tuple[Word, ...] = ("KEPT", "BROKEN", "UNDECIDED", "NOT_MEASURED")
TARGETS = ("onnxruntime", "openvino", "tensorrt", "tensorrt-rtx", "another-runtime", "and-one-more")
LONG_CLASS = "golden retriever puppy with 日本語 letters and more " * 3
_RESULT = runs.result()


def screen(run: Run, look: Look | None = None, shipped: dict[str, str] | None = None, **files: str) -> str:
    return report.lines.joined(report.terminal.lines(run, look, Files(**files, shipped=shipped or {})))


def synthetic(targets: int, variants: int, promises: int, words: tuple[Word, ...] = WORDS) -> Run:
    """Return a run of several targets; their promises have these verdicts in turn."""
    found, verdicts = {}, []
    for target in TARGETS[:targets]:
        result = copy.deepcopy(_RESULT)
        spare = result["variants"]["int8"]
        names = [*VARIANTS[: variants - 1], "int8"] if variants < 4 else VARIANTS[:variants]
        result |= {"target": target, "variants": {name: result["variants"].get(name, spare) for name in names}}
        found[target] = result | {"versions": {target: "2026.4.1-long-build"}}
        for number in range(promises):
            kind = KINDS[number % len(KINDS)]
            subject = LONG_CLASS if kind == "min_recall_pct" else ""
            verdicts.append(runs.verdict(words[number % len(words)], kind, subject, target=target))
    return runs.run(results=found, verdicts=verdicts, verdict=words[-1] if promises else "KEPT")


@pytest.mark.parametrize("targets", range(1, 7))
@pytest.mark.parametrize("variants", [2, 4, 6])
@pytest.mark.parametrize("promises", [0, 3, 8])
def test_it_is_never_longer_or_wider_and_no_bad_news_is_left_out(targets: int, variants: int, promises: int) -> None:
    run = synthetic(targets, variants, promises)
    shipped = {target: f"artifacts/compile/{target}" for target in TARGETS}
    places = Files("artifacts/runs/x.html", "artifacts/runs/x.md", shipped)
    for look in (Look(), Look(symbols=False), Look(ascii_only=True), Look(width=120)):
        lines = report.terminal.lines(run, look, places)
        assert len(lines) <= LONGEST
        assert max(text.width(line.text) for line in lines) <= look.width
        words = " ".join(line.text for line in lines)
        for target in TARGETS[:targets]:
            assert target in words
            bad = run.verdict_of(target) in ("BROKEN", "NOT_MEASURED")
            assert (f"files of int8: {shipped[target]}" in [line.text.strip() for line in lines]) is not bad
        for word in ("BROKEN", "UNDECIDED", "NOT_MEASURED"):
            expected = sum(verdict.verdict == word for verdict in run.verdicts)
            assert counted(lines, word) == expected, (word, look)


LONG_ARCH = "general_bottleneck_3-4-6-3_out256-512-1024-2048_mid64-128-256-512_stem64k7s2_pool_projected_v1"


@pytest.mark.parametrize("arch", ["resnet50", LONG_ARCH])
def test_what_weights_were_recognised_as_and_that_nothing_is_better_than_chance_is_on_it(arch: str) -> None:
    candidates = [{"arch": arch, "images": 128, "correct": 93}, {"arch": f"{arch}_v1", "images": 64, "correct": 21}]
    notes = {"arch": arch, "candidates": candidates, "shown": True, "better_than_chance": True}
    targets = synthetic(6, 6, 8).results
    found = {name: {**codec.encode(each), "labels": [1] * runs.IMAGES} for name, each in targets.items()}
    problem = {"message": "the disk is full " * 20, "hint": "", "step": "trace"}
    run = runs.run(results=found, steps=[runs.step("recognise", 1, notes), *runs.steps()], problem=problem)
    lines = [line.text for line in report.terminal.lines(run, Look())]
    assert len(lines) <= LONGEST
    assert max(map(text.width, lines)) <= text.WIDTH
    words = "".join("".join(lines).split())
    assert "recognisedas" in words
    assert ":93of128correct;next," in words
    assert ":21of64" in words
    assert "imagescorrectly:notclearlybetterthanchance.Classorder,preprocessingorarchitecturemaydiffer" in words
    assert "recognised" not in screen(synthetic(1, 2, 1))
    assert "chance" not in screen(synthetic(1, 2, 1))


@pytest.mark.parametrize(("named", "shown"), [(None, True), ("cifar_resnet8b", False)])
def test_the_only_network_that_weights_fit_is_named_too(named: str | None, shown: bool) -> None:
    """Without labels no step compares it with the images."""
    steps = [runs.step("trace", 4, {**runs.tracing(), "arch": "cifar_resnet8b"})]
    document = runs.document(steps=steps)
    document["recipe"]["model"] = {"checkpoint": "w.pth"} | ({"arch": named} if named else {})
    assert ("recognised as cifar_resnet8b" in screen(runs.decoded(document))) == shown


def test_the_document_of_a_command_has_the_same_warning() -> None:
    doubtful = {**runs.result(), "labels": [1] * runs.IMAGES}
    for result, codes in ((runs.result(), []), (doubtful, ["no-better-than-chance"])):
        (measured,) = runs.run(results={"openvino": result}).measured
        part = Part({}, {}, {"verify:openvino": measured}, {}, {})
        assert [each.code for each in report.shared.warnings_of(part)] == codes


def counted(lines: list[report.lines.Line], word: Word) -> int:
    """Return how many promises of one verdict the screen shows, in lines of their own and in counts."""
    named, found = word.lower().replace("_", " "), 0
    for line in lines:
        plain = line.text.strip()
        counts = [int(number) for number in re.findall(rf"(\d+) (?:promises? )?{named}\b", plain)]
        if not counts and line.verdict == word and line.text.startswith("  "):
            only = re.fullmatch(rf"{word} (\d+) promises?", plain)
            counts = [int(only[1])] if only else [1]
        found += sum(counts)
    return found


def test_one_target_in_full() -> None:
    verdicts = [
        runs.verdict(reason="r"),
        runs.verdict("BROKEN", "min_top1_pct", limit=97, value=92.0, low=88.4, high=94.5),
        runs.verdict("UNDECIDED", "min_recall_pct", "cat", limit=90, value=91.0, low=84.0, high=95.0, more_images=400),
        runs.verdict(
            "NOT_MEASURED", "max_peak_memory_mb", limit=9, value=None, reason="this system does not report it"
        ),
    ]
    shown = screen(runs.run(verdicts=verdicts, verdict="BROKEN"), page="artifacts/runs/x.html")
    assert shown.splitlines()[:7] == [
        "cifar_resnet8 · 3 classes · 300 images · Some CPU, 2 cores",
        "",
        "openvino 1.2",
        "  variant    top-1     drop, points (95 %)  p50 ms        × FP32 (95 %)    MB",
        "  fp32     95.00 %                           2.021                       1.00",
        "  half     95.00 %   0.00 (-1.26 to +1.26)   1.516  1.33 (1.33 to 1.33)  0.50",
        "  int8     92.00 %  +3.00 (+1.04 to +5.74)   0.808  2.50 (2.50 to 2.50)  0.25",
    ]
    assert "  ✓ max_drop_pp 5: 3.00 points lost (1.20 to 4.80)" in shown
    won = screen(runs.run(verdicts=[runs.verdict(value=-0.07, low=-1.0, high=0.86)]))
    assert "  ✓ max_drop_pp 5: 0.07 points gained (-0.86 to 1.00)" in won
    words = [summary.cells.points(drop) for drop in (1.114, 0.0, -0.001, -0.07)]
    assert words == ["1.11 points lost", "0.00 points lost", "0.00 points lost", "0.07 points gained"]
    same = screen(runs.run(verdicts=[runs.verdict(value=-0.001, low=-1.0, high=1.0)]))
    assert "  ✓ max_drop_pp 5: 0.00 points lost (-1.00 to 1.00)" in same
    assert "  ✗ min_top1_pct 97: 92.00 % (88.40 to 94.50)" in shown
    assert "  ? min_recall_pct 90 of class cat: 91.00 % found (84.00 to 95.00)" in shown
    assert "  ! max_peak_memory_mb 9: not measured: this system does not report it" in shown
    assert "  → Do not ship INT8: 1 of 4 promises is broken." in shown
    assert "1 note: `edgeresnet report --notes` or the page" in shown
    assert shown.splitlines()[-4:] == [
        "╭───────────────────────────────╮",
        "│ ✗ BROKEN: a promise is broken │",
        "│ page: artifacts/runs/x.html   │",
        "╰───────────────────────────────╯",
    ]


@pytest.mark.parametrize(
    ("word", "kind", "limit", "shown"),
    [
        ("BROKEN", "max_drop_pp", 1, "Do not ship INT8: `edgeresnet diagnose --int8` shows the worst layers."),
        ("UNDECIDED", "max_drop_pp", 4, "Do not ship INT8 yet: `edgeresnet diagnose --int8` shows the worst layers."),
        ("BROKEN", "min_top1_pct", 94, "Do not ship INT8: `edgeresnet diagnose --int8` shows the worst layers."),
        ("BROKEN", "min_top1_pct", 97, "Do not ship INT8: 1 of 2 promises is broken."),  # FP32 has 95 %
        ("BROKEN", "min_speedup_fp32", 9, "Do not ship INT8: 1 of 2 promises is broken."),
        ("UNDECIDED", "min_speedup_fp32", 2.5, "Do not ship INT8 yet: 1 of 2 promises is undecided."),
    ],
)
def test_the_diagnosis_is_named_where_int8_costs_a_promise_on_accuracy(
    word: Word, kind: str, limit: float, shown: str
) -> None:
    verdicts = [runs.verdict(), runs.verdict(word, kind, limit=limit)]
    assert f"  → {shown}\n" in screen(runs.run(verdicts=verdicts, verdict=word))
    slow = runs.verdict("BROKEN", "min_speedup_fp32", limit=9)
    both = screen(runs.run(verdicts=[*verdicts, slow], verdict="BROKEN"))
    assert ("diagnose --int8" in both) == (word == "BROKEN" and "diagnose" in shown)


def test_the_diagnosis_is_of_the_network_that_broke_the_promise() -> None:
    """Of the target among several; not where pruning alone breaks it, and not of a candidate in float."""
    command = "edgeresnet diagnose --int8"
    broken = [runs.verdict("BROKEN", limit=1)]
    two = {name: runs.result(name) for name in ("openvino", "onnxruntime")}
    assert f"see `{command} --target openvino`." in screen(runs.run(results=two, verdicts=broken, verdict="BROKEN"))
    result = runs.result()
    result["variants"]["pruned"] = result["variants"]["int8"]
    assert command not in screen(runs.run(results={"openvino": result}, verdicts=broken, verdict="BROKEN"))
    for precisions in ({"f32": 3}, {"f32": 3, "u8": 9}):
        result = runs.result(candidate="candidate")
        result["variants"]["candidate"] = {**result["variants"].pop("int8"), "precisions": precisions}
        shown = screen(runs.run(results={"openvino": result}, verdicts=broken, verdict="BROKEN"))
        assert (command in shown) == ("u8" in precisions)


def test_where_symbols_cannot_be_shown_words_stand_for_them() -> None:
    shown = screen(runs.run(), Look(ascii_only=True), page="p")
    assert shown.isascii()
    assert "  KEPT max_drop_pp 5: 3.00 points lost" in shown
    assert "| KEPT: every promise is kept |" in shown
    assert "x FP32" in shown
    words = screen(runs.run(), Look(symbols=False))
    assert "  KEPT max_drop_pp 5" in words
    assert "│ KEPT: every promise is kept │" in words


def test_kept_promises_are_counted_first_and_the_others_stay() -> None:
    lines = report.terminal.lines(synthetic(3, 4, 8, ("KEPT", "KEPT", "BROKEN")))
    words = [line.text for line in lines]
    assert "  ✓ 6 promises kept" in words
    assert sum(line.startswith("  ✗ ") for line in words) == 6


def test_a_deferred_target_and_one_without_result_have_their_reason_and_the_next_command() -> None:
    results = {
        "tensorrt": runs.deferred("tensorrt", "its bundle waits for the device", "run deploy.py there"),
        "onnxruntime": runs.not_measured("onnxruntime", "is not installed", "pip install onnxruntime"),
    }
    why = {"value": None, "reason": results["tensorrt"]["reason"]}
    verdicts = [runs.verdict("DEFERRED", target="tensorrt", **why)]
    verdicts += [
        runs.verdict("NOT_MEASURED", "min_top1_pct", limit=9, target="tensorrt", value=None, reason="no label")
    ]
    why["reason"] = results["onnxruntime"]["reason"]
    verdicts += [runs.verdict("NOT_MEASURED", kind, target="onnxruntime", **why) for kind in KINDS[:2]]
    shown = screen(runs.run(results=results, verdicts=verdicts, verdict="NOT_MEASURED"))
    for words in (
        "… tensorrt: deferred\n  Its bundle waits for the device.\n  → Run deploy.py there.\n  … 1 promise deferred\n"
        "  ! min_top1_pct 9: not measured: no label\n",
        "! onnxruntime: not measured\n  Is not installed.\n  → Pip install onnxruntime.\n  ! 2 promises not measured\n",
        "! NOT_MEASURED: something that was requested was not measured",
    ):
        assert words in shown


def test_images_without_labels_agree_and_have_no_accuracy() -> None:
    about = runs.document(verdicts=[], verdict="KEPT")
    about["results"]["openvino"]["labels"] = None
    for each in about["results"]["openvino"]["variants"].values():
        each["accuracy"] = {"images": 300, "agree": 297, "sqnr_db": 20.0}
    shown = screen(runs.decoded(about))
    assert "300 images without labels" in shown
    assert re.search(r"variant +agree +p50 ms", shown)
    assert re.search(r"int8 +99\.00 %", shown)
    assert "top-1" not in shown
    assert "→ Add promises to the recipe" in shown


@pytest.mark.parametrize("change", ["untimed", "one process", "stood still"])
def test_times_that_are_missing_or_cannot_be_compared(change: str) -> None:
    about = runs.document()
    for each in about["results"]["openvino"]["variants"].values():
        if change == "untimed":
            each["latency"] = None
        elif change == "one process":
            each["latency"] = runs.latency(1.0, processes=1)
        else:
            each["latency"]["processes"] = [runs.process(host_ms=[[0.0, 0.0]])] * 2
    shown = screen(runs.decoded(about))
    if change == "untimed":
        assert "ms" not in shown.splitlines()[3]
        assert "× FP32" not in shown
        assert "→ Ship INT8: it has 25 % of FP32's size." in shown
    else:
        assert {"one process": "1.00 (no interval)", "stood still": "not comparable"}[change] in shown


def test_a_noisy_machine_is_one_sentence_with_what_the_interval_still_shows() -> None:
    quiet = screen(runs.run())
    assert "noisy" not in quiet
    about = runs.document()
    for each in about["results"]["openvino"]["variants"].values():
        for process in each["latency"]["processes"]:
            process["stable"] = False
    shown = " ".join(screen(runs.decoded(about)).split())
    assert "The machine was noisy. The interval still shows INT8 faster than FP32 on openvino (2.50 to 2.50" in shown


def test_a_power_mode_that_changed_is_a_sentence_and_leaves_no_ratio() -> None:
    about = runs.document()
    for each in about["results"]["openvino"]["variants"].values():
        process = each["latency"]["processes"][-1]
        process["machine"] = {**process["machine"], "power_mode": "MAXN"}
        process["after"] = {**codec.encode(machine_state()), "power_mode": "15W"}
    shown = " ".join(screen(runs.decoded(about)).split())
    assert "openvino: the power mode changed from" in shown
    assert "during the measurement: its times belong to neither." in shown
    assert "not comparable" in shown


def test_a_run_that_ended_early_says_so_above_its_verdict() -> None:
    problem = {"message": "the disk is full", "hint": "make room", "step": "trace"}
    shown = screen(runs.run(results={}, verdicts=[], verdict="NOT_MEASURED", problem=problem))
    assert "The run ended early in step trace: the disk is full (make room)\n" in shown


def test_a_path_that_does_not_fit_follows_the_frame_as_it_is() -> None:
    path = f"/{'deep/' * 20}x.html"
    assert screen(runs.run(), page=path).splitlines()[-1] == f"page: {path}"


def test_the_files_of_what_ships_are_named_and_never_cut() -> None:
    path = f"/{'deep/' * 20}compile/1bfb6edc0652d921bc4b2aaf"
    shown = screen(runs.run(), shipped={"openvino": path})
    assert f"  → Ship INT8: it is 1.88 times as fast as half precision.\n    files of int8: {path}\n" in shown
    slower = runs.document()
    slower["results"]["openvino"]["variants"]["int8"]["latency"] = runs.latency(9.0)
    shown = screen(runs.decoded(slower), shipped={"openvino": path})
    assert "→ Ship half precision: INT8 is not faster" in shown
    assert f"    files of half: {path}\n" in shown
    short = screen(synthetic(6, 4, 8, ("KEPT",)), shipped={"openvino": "x/y"}).splitlines()
    (at,) = [index for index, line in enumerate(short) if line.startswith("✓ openvino: INT8")]
    assert short[at + 1] == "  files of int8: x/y"


def test_files_that_must_not_ship_are_not_named() -> None:
    broken = runs.run(verdicts=[runs.verdict("BROKEN")], verdict="BROKEN")
    assert "x/y" not in screen(broken, shipped={"openvino": "x/y"})


def test_names_send_nothing_to_a_terminal_and_begin_no_verdict() -> None:
    about: dict[str, Any] = runs.document(
        verdicts=[runs.verdict(kind="unheard_of", reason="\x1b[31m\nKEPT \u202e" * 40)]
    )
    about["recipe"]["model"]["arch"] = "🦊" * 60
    shown = screen(runs.decoded(about))
    assert not set(shown) & {"\x1b", "\u202e"}
    assert max(map(text.width, shown.splitlines())) <= 80
    assert "  ✓ unheard_of 5: \\x1b[31m KEPT" in shown
