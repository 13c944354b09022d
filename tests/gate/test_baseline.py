"""The baseline's file: small, readable, the same bytes again, and refused where it is not as it was written."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeresnet import gate
from edgeresnet.errors import EdgeresnetError
from edgeresnet.gate import record
from edgeresnet.gate.baseline import identity
from edgeresnet.portable import manifest
from edgeresnet.portable.result import Measured, NotMeasured
from edgeresnet.portable.times import Latency
from edgeresnet.report import gate_text
from edgeresnet.runs import GateReport, Problem, Run

from . import runs

pytestmark = pytest.mark.unit

OLDER = Path(__file__).with_name("format3.json")  # written by version 0.1.0, before baselines had types
JSON = dict[str, Any]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gate.json"
    path.write_text(gate.text(gate.of(runs.run(), gate.Margins())))
    return path


def edited(path: Path, change: Callable[[JSON], object]) -> Path:
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))
    return path


def with_its_digest(document: JSON) -> JSON:
    """Return a document whose digest is valid, whatever is in it."""
    measured = {key: value for key, value in document.items() if key not in ("margins", "digest")}
    return {**document, "digest": manifest.digest_of(measured)} if "digest" in document else document


def test_it_is_read_as_it_was_written_and_written_the_same_again(file: Path) -> None:
    found = gate.read(file)
    assert found == gate.of(runs.run(), gate.Margins())
    assert gate.text(found) == file.read_text()
    assert len(file.read_text()) < 6000, "two targets of 2,000 images"
    assert max(map(len, file.read_text().splitlines())) < 1000


def test_a_file_of_an_older_program_is_read_unchanged() -> None:
    found = gate.read(OLDER)
    assert gate.text(found) == OLDER.read_text()
    assert found.digest == "431b322bfa49aeb1a911079d101bcaf14a0be1fd87f19090848a24a4bc807b37"
    assert (found.images.count, list(found.targets)) == (450, ["onnxruntime", "openvino"])
    openvino = found.targets["openvino"]
    assert openvino.top1 is not None
    assert (openvino.top1.correct, openvino.times["half"].ratio, openvino.warnings) == (441, 1.024, ())
    assert gate.margins_of(OLDER) == gate.Margins()
    assert any("5 processes leave some slow-downs" in sentence for sentence in gate.remarks(found))


def test_spaces_inside_of_what_a_recipe_has_stay(file: Path) -> None:
    document = runs.run(recipe={"quantize": {"exclude": ["a  b", "c\u00a0d"]}})
    file.write_text(gate.text(gate.of(document, gate.Margins())))
    assert gate.read(file).recipe["quantize"] == {"exclude": ["a  b", "c\u00a0d"]}


def test_a_margin_that_is_left_out_is_the_usual_one_and_gates(file: Path) -> None:
    edited(file, lambda found: found.update(margins={}))
    lossy = runs.run(runs.result("openvino", predicted=runs.incorrect_for(0.2)), runs.result("onnxruntime"))
    found = gate.gate(lossy, gate.read(file), now=runs.NOW + 600)
    assert found.margins == gate.Margins()
    assert found.verdict == "BROKEN"


def test_other_spaces_do_not_make_another_baseline(file: Path) -> None:
    found = edited(file, lambda _: None)
    assert gate.read(found).run == runs.run().id


@pytest.mark.parametrize("classes", [2, 10, 300])
def test_answers_come_back_as_they_were(classes: int) -> None:
    rng = np.random.default_rng(classes)
    labels, predicted = rng.integers(0, classes, 500), rng.integers(0, classes, 500)
    before = gate.of(runs.run(), gate.Margins()).targets["openvino"]
    correct = record.CorrectRecord(int((labels == predicted).sum()), 500)
    packed = replace(before, answers=record.packed(predicted, labels, classes), top1=correct)
    assert (packed.predicted(labels, classes) == predicted).all()


@pytest.mark.parametrize(
    ("margins", "problem"),
    [
        ({"max_loss_pp": -1}, ".max_loss_pp is -1, which is below 0"),
        ({"max_loss_pp": "1"}, ".max_loss_pp is a string, not a number or null: '1'"),
        ({"max_loss_pp": True}, ".max_loss_pp is a boolean, not a number or null: true"),
        ({"max_los_pp": 1}, ".max_los_pp is not a known key; did you mean max_loss_pp?"),
        (None, " is null, not an object"),
    ],
)
def test_margins_that_are_not_numbers_are_refused(file: Path, margins: Any, problem: str) -> None:
    edited(file, lambda found: found.update(margins=margins))
    with pytest.raises(EdgeresnetError) as caught:
        gate.read(file)
    assert caught.value.message == f"{file}: margins{problem}"
    assert "write a number from 0 on, or null, for each of max_loss_pp, " in caught.value.hint


def test_margins_may_be_edited_by_hand(file: Path) -> None:
    edited(file, lambda found: found.update(margins={"max_loss_pp": 0.25, "max_slowdown_pct": None}))
    assert gate.read(file).margins == gate.Margins(max_loss_pp=0.25, max_slowdown_pct=None)


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found["targets"]["openvino"]["top1"].update(right=1),
        lambda found: found["targets"]["openvino"].update(answers="eJw="),
        lambda found: found["targets"]["openvino"]["times"]["half"].update(processes=[9.0] * 5),
        lambda found: found["targets"]["openvino"].update(size_mb=0.5),
        lambda found: found["targets"].pop("openvino"),
        lambda found: found["images"].update(digest="0" * 64),
        lambda found: found.pop("digest"),
    ],
)
def test_what_was_measured_may_not_be_edited(file: Path, change: Any) -> None:
    edited(file, change)
    with pytest.raises(EdgeresnetError, match="was changed after edgeresnet wrote it") as caught:
        gate.read(file)
    assert "edit only its margins by hand" in caught.value.hint


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (None, "the baseline .*gate.json does not exist"),
        ("", "is not a baseline: it is empty"),
        ("{", "it is not JSON: line 1"),
        ("<<<<<<< HEAD\n{}", "it is not JSON: line 1"),
        ("[]", "the key edgeresnet_gate is missing"),
        ("{}", "the key edgeresnet_gate is missing"),
        ('{"edgeresnet_gate": true}', "the key edgeresnet_gate is missing"),
        ('{"edgeresnet_gate": 4}', "by a newer edgeresnet: its format is 4, and this version reads 3"),
        ('{"edgeresnet_gate": 1}', "by an older edgeresnet"),
        ('{"edgeresnet_gate": 3, "margins": {"max_loss_pp": NaN}}', "it holds NaN, which is not a number"),
        ('{"edgeresnet_gate": 3, "edgeresnet_gate": 3}', "it has the key 'edgeresnet_gate' twice"),
        ("[" * 100_000, "it has more than 64 levels"),
        ('{"edgeresnet_gate": 3, "margins": ' + "[" * 65 + "]" * 65 + "}", "it has more than 64 levels"),
    ],
)
def test_what_is_not_a_baseline_is_refused_in_a_line(tmp_path: Path, written: str | None, words: str) -> None:
    path = tmp_path / "gate.json"
    if written is not None:
        path.write_text(written)
    with pytest.raises(EdgeresnetError, match=words) as caught:
        gate.read(path)
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.message


DELETED = object()
CPU = ("targets", "openvino", "times", record.CPU_SPEED)
DEEP: list[Any] = []
for _ in range(40):
    DEEP = [DEEP]


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Return the path of every value in a document; of a list, its first item stands for all."""
    inside: Any = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, each in inside:
        yield (*path, key)
        yield from places(each, (*path, key))


def damaged(document: JSON, place: tuple[str | int, ...], value: object) -> JSON:
    found: Any = copy.deepcopy(document)
    inside = found
    for key in place[:-1]:
        inside = inside[key]
    if value is DELETED:
        del inside[place[-1]]
    else:
        inside[place[-1]] = value
    return with_its_digest(found)


def outcome_of(run: Run, path: Path) -> GateReport | EdgeresnetError:
    try:
        return gate.gate(run, gate.read(path), path=path, now=runs.NOW + 600, across_recipes=True)
    except EdgeresnetError as problem:
        return problem


@pytest.mark.parametrize(
    "value",
    [DELETED, None, [], {}, "text", "<b>\n::error::x", 1e308, -1, 0, DEEP],
    ids=["deleted", "null", "list", "object", "string", "markup", "1e308", "-1", "0", "deep"],
)
def test_any_damage_is_refused_in_a_line_or_judged(tmp_path: Path, value: object) -> None:
    """One whose digest was made to fit, too: nothing ends in a traceback, and every report is one."""
    run, path = runs.run(runs.result("openvino")), tmp_path / "gate.json"
    document = json.loads(gate.text(gate.of(run, gate.Margins())))
    every = list(places(document))
    assert len(every) > 60
    outcomes = []
    for place in every:
        path.write_text(json.dumps(damaged(document, place, value)))
        outcome = outcome_of(run, path)
        outcomes.append(outcome)
        if isinstance(outcome, GateReport):
            assert all(render(outcome) for render in gate_text.FORMATS.values()), place
            assert len(gate_text.FORMATS["github"](outcome).splitlines()) <= len(outcome.verdicts) + 1, place
            continue
        assert len(outcome.message.splitlines()) == 1, place
        assert outcome.message.startswith((f"{path} ", f"{path}: ")), place
        if "digest" not in place and place[0] != "edgeresnet_gate":
            assert str(place[0]) in outcome.message, place
    assert sum(isinstance(each, EdgeresnetError) for each in outcomes) > 10


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [
        (("run",), DELETED, "run is missing"),
        (("surplus",), 1, "surplus is not a known key"),
        (("undecided",), "never", "undecided is 'never', not 'warn' or 'fail'"),
        (("images", "count"), 1999, "images.count is 1999, but openvino was evaluated on 2000 images"),
        (("targets",), {}, "targets is empty"),
        (("recipe", "model"), [], "recipe.model is not an object"),
        (("targets", "openvino", "builds"), 1.5, "targets.openvino.builds is a number, not an integer: 1.5"),
        (("targets", "openvino", "times", "yardstick"), DELETED, "targets.openvino.times.yardstick is missing"),
        (("targets", "openvino", "times", "half", "processes"), [], "targets.openvino.times.half.processes is empty"),
        ((*CPU, "processes", 0), "x", f"times.{record.CPU_SPEED}.processes[0] is a string, not a number"),
        ((*CPU, "as_long_as"), 0, f"times.{record.CPU_SPEED}.as_long_as is 0, but a ratio of times is above 0"),
        (("targets", "openvino", "answers"), "eJw=", "targets.openvino.answers does not hold 2000 answers"),
        (("targets", "openvino", "answers"), "ä", "targets.openvino.answers is damaged"),
        (("targets", "openvino", "top1", "right"), 7, "targets.openvino.answers does not hold 7 correct answers"),
        (("targets", "openvino", "top1", "images"), 10**12, "targets.openvino.top1.images is not a count from 1 to"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(
    file: Path, place: tuple[str | int, ...], value: Any, problem: str
) -> None:
    file.write_text(json.dumps(damaged(json.loads(file.read_text()), place, value)))
    with pytest.raises(EdgeresnetError) as caught:
        gate.read(file)
    assert problem in caught.value.message
    assert caught.value.message.startswith(f"{file}: ")
    assert "repair or remove the file" in caught.value.hint


def _absent(result: Measured) -> NotMeasured:
    return NotMeasured(result.target, "is not available here: no driver")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_absent, "openvino: is not available here: no driver"),
        (lambda r: replace(r, labels=None), "openvino: no image has a label"),
        (lambda r: runs.with_yardstick(r, latency=None), "yardstick: its latency was not"),
        (lambda r: runs.with_variant(r, "int8", latency=None), "its latency was not measured"),
        (lambda r: replace(r, images="o" * 64), "evaluated on different images"),
        (lambda r: replace(r, images=None), "an older edgeresnet"),
        (lambda r: runs.with_variant(r, "int8", size_mb=-1.0), "size_mb is -1"),
    ],
)
def test_a_run_with_something_missing_cannot_be_a_baseline(change: Any, words: str) -> None:
    with pytest.raises(EdgeresnetError, match=words) as caught:
        gate.of(runs.altered(runs.run(), change), gate.Margins())
    assert caught.value.message.startswith(f"run {runs.run().id} cannot be a baseline: ")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (runs.run(problem=Problem("the disk is full", "")), "it ended early: the disk is full"),
        (runs.run(results={}), "it has no target"),
    ],
)
def test_a_run_that_is_not_complete_cannot_be_a_baseline(document: Run, words: str) -> None:
    with pytest.raises(EdgeresnetError, match=words):
        gate.of(document, gate.Margins())


def test_margins_of_an_older_format_stay_and_of_a_newer_one_are_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "gate.json"
    path.write_text('{"edgeresnet_gate": 1, "margins": {"max_loss_pp": 0.3}}')
    assert gate.margins_of(path).max_loss_pp == 0.3
    with pytest.raises(EdgeresnetError, match="by an older edgeresnet") as caught:
        gate.read(path)
    assert "keeps the margins of an older file" in caught.value.hint
    path.write_text('{"edgeresnet_gate": 99, "margins": {"max_loss_pp": 0.3}}')
    with pytest.raises(EdgeresnetError, match="by a newer edgeresnet"):
        gate.margins_of(path)


def test_answers_that_are_not_better_than_chance_have_nothing_to_lose() -> None:
    predicted = np.random.default_rng(5).permutation(runs.EXPECTED)
    with pytest.raises(EdgeresnetError, match="better than chance"):
        gate.of(runs.run(runs.result("openvino", predicted=predicted)), gate.Margins())


def test_a_section_that_a_recipe_does_not_have_identifies_nothing() -> None:
    found = identity(runs.run(recipe={"images": None, "model": None}))
    assert (found["images"], found["model"]) == ({}, {})


def test_a_reviewer_is_told_where_it_is_too_weak_to_decide() -> None:
    def short_and_busy(latency: Latency) -> Latency:
        return replace(latency, processes=(replace(latency.processes[0], others_cpus=(2.0, 2.0)),))

    run = runs.altered(runs.run(), lambda result: runs.with_latencies(result, short_and_busy))
    found = gate.remarks(gate.of(run, gate.Margins(max_loss_pp=0.1)))
    assert found[0].startswith("openvino int8: top-1 89.")
    assert "openvino: other programs used 2.0 CPUs during the measurement. So its times are noisy" in found
    assert any("one process does not show" in sentence for sentence in found)
    assert any(
        sentence.startswith("onnxruntime: where times are noisy, 5 processes leave some slow-downs")
        for sentence in found
    )
    assert "2000 images are too few for max_loss_pp 0.1" in found[-1]
