"""The model card: its head is what the hub reads, its numbers are the run's, and a name in it stays text."""

from __future__ import annotations

import copy
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeresnet import cli, report
from edgeresnet.report.card import About, render

from . import runs

pytestmark = pytest.mark.unit

ABOUT = About(name="digits-r8", license="apache-2.0", dataset="imagenet-1k", base_model="timm/resnet18.a1_in1k")


def head(card: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    return found


def rows(card: str, title: str) -> list[list[str]]:
    """Return the rows of the first table of a section."""
    section = card.split(f"\n{title}", 1)[1].split("\n#", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[each.strip() for each in line.strip("|").split(" | ")] for line in lines[2:]]


def unlabelled() -> runs.Json:
    made = runs.result(labels=None)
    for variant in made["variants"].values():
        variant["accuracy"] = {key: variant["accuracy"][key] for key in ("images", "agree", "sqnr_db")}
    return made


def test_the_head_has_what_a_user_says_and_nothing_is_invented() -> None:
    bare, full = head(render(runs.run())), head(render(runs.run(), ABOUT))
    assert bare["pipeline_tag"] == "image-classification"
    assert bare["library_name"] == "edgeresnet"
    assert {"int8", "openvino", "pruned", "resnet"} <= set(bare["tags"])
    assert not {"license", "base_model", "model-index", "datasets"} & set(bare)
    assert (full["license"], full["base_model"]) == ("apache-2.0", "timm/resnet18.a1_in1k")
    assert full["model-index"][0]["name"] == "digits-r8"
    assert full["model-index"][0]["results"][0]["dataset"] == {"type": "imagenet-1k", "name": "imagenet-1k"}


def test_the_hub_reads_the_results_and_they_are_the_runs() -> None:
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed: timm brings it")
    run = runs.run()
    data = hub.ModelCard(render(run, ABOUT)).data
    (measured,) = run.measured
    expected = {
        f"top-1, {name} on openvino": pytest.approx(measured.variants[name].accuracy.score_pct / 100, abs=1e-6)
        for name in ("fp32", "int8")
    }
    assert {each.metric_name: each.metric_value for each in data.eval_results} == expected
    assert {(each.task_type, each.metric_type) for each in data.eval_results} == {("image-classification", "accuracy")}
    known = set(hub.ModelCardData(license="mit").__dict__) | {"model-index", "pipeline_tag", "tags", "base_model"}
    assert set(head(render(run, ABOUT))) <= known


def test_the_numbers_of_a_target_are_those_of_every_other_report() -> None:
    run = runs.run()
    seen = report.summary.of(run)
    found = {row[0]: row for row in rows(render(run), "### openvino: KEPT")}
    assert list(found) == ["fp32", "half", "int8 (ships)"]
    for row in seen.accuracies:
        top1, drop, _, _, size = report.summary.accuracy_cells(row.accuracy, row.size_mb)
        name = "int8 (ships)" if row.variant == "int8" else row.variant
        assert (found[name][1], found[name][2], found[name][6]) == (top1, drop, size)
    (times,) = (each for each in seen.speedups if each.name == "openvino int8" and each.baseline == "fp32")
    assert times.ratio is not None
    assert found["int8 (ships)"][5] == report.summary.ratio_cell(times.ratio)
    assert found["fp32"][5] == ""


def test_promises_conditions_and_digests_are_there() -> None:
    run = runs.run()
    card = render(run)
    assert rows(card, "## Promises") == [["KEPT", "openvino", "max_drop_pp", "3.00 points lost; promised at most 5"]]
    assert "evaluated on 300 images; timed in 3 processes" in card
    assert [row[2] for row in rows(card, "## Files")] == [each.digest for each in run.measured[0].variants.values()]
    assert "Some CPU" in card
    assert run.recipe_digest in card
    assert "Verdict: **KEPT**" in card


def test_a_name_of_markup_stays_text_and_the_head_stays_yaml() -> None:
    made = runs.result(classes=["<img src=x>", "a|b", "*c*"])
    card = render(runs.run(results={"openvino": made}), About(name='x: "y"\n---\n\u2028\x07 ✓', dataset="a: b # c"))
    assert "<img" not in card
    assert "a\\|b" in card
    assert "\\*c\\*" in card
    index = head(card)["model-index"][0]
    assert index["name"] == 'x: "y"\n---\n\u2028\x07 ✓'
    assert index["results"][0]["dataset"]["name"] == "a: b # c"
    assert len(re.findall(r"^---$", card, re.MULTILINE)) == 2


def test_targets_that_were_not_measured_have_a_reason_and_no_number() -> None:
    results = {
        "openvino": runs.result(),
        "tensorrt": runs.deferred("tensorrt", "its bundle waits for the device", "run deploy.py"),
        "onnxruntime": runs.not_measured("onnxruntime", "is not installed", "pip install onnxruntime"),
    }
    card = render(runs.run(results=results, verdict="DEFERRED"), ABOUT)
    assert "its bundle waits for the device (run deploy.py)" in card.split("### tensorrt: DEFERRED")[1].split("###")[0]
    assert "is not installed" in card.split("### onnxruntime: NOT_MEASURED")[1].split("###")[0]
    assert "Nothing is known of tensorrt: a device has not measured it yet." in card
    assert "Nothing is known of onnxruntime: it was not measured." in card
    names = [each["name"] for each in head(card)["model-index"][0]["results"][0]["metrics"]]
    assert all("openvino" in name for name in names)


def test_without_labels_no_accuracy_is_claimed() -> None:
    card = render(runs.run(results={"openvino": unlabelled()}, verdicts=[]), ABOUT)
    assert "model-index" not in head(card)
    assert [row[1:3] for row in rows(card, "### openvino")] == [["not known", "no labels"]] * 3
    assert "without labels: accuracy is not known" in card
    assert "The recipe promises nothing." in card


def test_a_run_that_measured_nothing_has_a_card() -> None:
    card = render(runs.run(results={}, verdicts=[], verdict="NOT_MEASURED", steps=[]), ABOUT)
    assert "No network was measured." in card
    assert "model-index" not in head(card)


def test_a_card_has_the_recipe_without_private_folders() -> None:
    document = runs.document()
    recipe = copy.deepcopy(document["recipe"])
    recipe["model"]["checkpoint"] = "/data/alice/secret/best.pt"
    recipe["images"]["evaluation"] = "C:\\Users\\bob\\val"
    card = render(runs.decoded({**document, "recipe": recipe}))
    assert "alice" not in card
    assert "bob" not in card
    shown = yaml.safe_load(card.split("````json\n")[1].split("````")[0])
    assert shown["model"]["checkpoint"] == "best.pt"
    assert shown["images"]["evaluation"] == "val"
    assert shown["targets"] == recipe["targets"]


def test_the_command_writes_the_newest_runs_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs.run()
    runs.stored(tmp_path / "store", run)

    def call(*words: str) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["edgeresnet", "card", "--store", str(tmp_path / "store"), *words])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert not caught.value.code
        out, err = capsys.readouterr()
        return out, err

    out, err = call(
        "--license", "mit", "--dataset", "digits", "--name", "mine", "--output", str(tmp_path / "README.md")
    )
    assert (out, "wrote " in err) == ("", True)
    assert (tmp_path / "README.md").read_text() == render(run, About("mine", "mit", "digits"))
    out, err = call(run.id)
    assert out == render(run)
    assert "name the evaluation images with --dataset" in err
