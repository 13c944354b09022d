"""The commands: what they print, where, and their exit codes. In this process, except where the process matters."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from edgeresnet import cli, recipe
from edgeresnet.cli._verdict import exit_code
from edgeresnet.errors import ArtifactError, ModelError
from edgeresnet.images import sources
from edgeresnet.portable.result import Word
from edgeresnet.runs import Run, Undecided
from edgeresnet.store import Store

from ..conftest import folder_of, result_of, tiny, write_recipe
from .conftest import Command, close, err_of, expect, out_of, refused


@pytest.fixture
def stored(command: Command, own_store: Store) -> Command:
    """A command on a store that holds a finished run of the tiny recipe."""
    return lambda *words: command(*words, "--store", own_store.root)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The recipe of that run."""
    return write_recipe(tmp_path, tiny())


def test_run_prints_the_verdict_and_where_the_report_is(stored: Command, own_store: Store, path: Path) -> None:
    out, err = expect(0, stored("run", path))
    assert "KEPT: every promise is kept" in out
    report = Path(out.split("report: ")[1].strip())
    assert "# cifar\\_resnet8" in report.read_text() or "# cifar_resnet8" in report.read_text()
    assert f"page: {report.with_suffix('.html')}" in out
    assert report.with_suffix(".html").read_text().startswith("<!doctype html>")
    assert "nothing to do: all 6 stages are done already" in err
    paths = ("report:", "page:", "files of ")
    assert max(len(line) for line in out.splitlines() if not line.lstrip().startswith(paths)) <= 80
    network = Path(out.split("files of fp32: ")[1].splitlines()[0])
    assert network == folder_of(own_store.load_run(), "compile:reference")
    (network / "manifest.json").write_text('{"digest": "of another network", "files": []}')
    assert "files of" not in out_of(0, stored("report")), "another network must not be taken for what was judged"
    expect(0, stored("run", path, "-q"))
    out, err = expect(0, stored("run", path, "--json", "-q"))
    assert (json.loads(out)["verdict"], err) == ("KEPT", ""), "one document on stdout"
    run = own_store.load_run()
    assert recipe.parse(yaml.safe_load(yaml.safe_dump(run.recipe))).digest == run.recipe_digest


@dataclass(frozen=True)
class Judged:
    verdict: Word
    undecided: Undecided


@pytest.mark.parametrize(
    ("verdict", "warns", "fails"),
    [("KEPT", 0, 0), ("DEFERRED", 0, 0), ("UNDECIDED", 0, 4), ("BROKEN", 3, 3), ("NOT_MEASURED", 4, 4)],
)
def test_the_exit_code_is_the_verdicts(verdict: Word, warns: int, fails: int) -> None:
    assert exit_code(Judged(verdict, "warn")) == warns
    assert exit_code(Judged(verdict, "fail")) == fails


def test_an_undecided_run_fails_where_the_recipe_wants_it(stored: Command, tmp_path: Path) -> None:
    expect(4, stored("run", write_recipe(tmp_path, tiny(promises={"max_drop_pp": 0.1, "undecided": "fail"})), "-q"))


def failing(problem: BaseException) -> Callable[..., Any]:
    def fails(*_: object) -> None:
        raise problem

    return fails


def pages(store: Store) -> set[str]:
    return {path.name for path in (store.root / "runs").iterdir() if path.suffix in (".md", ".html")}


def test_a_run_that_fails_halfway_leaves_its_pages_and_then_its_error(
    stored: Command, own_store: Store, net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = failing(ModelError("it", "has no end", hint="give another"))
    run = ["run", write_recipe(tmp_path, tiny(seed=7, train__epochs=1))]
    verify = ["verify", net, "--evaluation", "digits", "--size", 8, "--mean", 0.3, "--std", 0.4, "--seed", 7]
    for stage, step, words in (("trace.trace", "trace", run), ("verify.verify", "verify:reference", verify)):
        with monkeypatch.context() as patch:
            patch.setattr(f"edgeresnet.stages.{stage}", broken)
            out, err = expect(2, stored(*words))
            page = own_store.runs()[-1].with_suffix(".html")
            assert refused(stored(*words, "-q")) == "error: it has no end (give another)\n"
        assert (out, err.splitlines()[-2:]) == ("", [f"page: {page}", "error: it has no end (give another)"])
        assert f"The run ended early in step {step}." in page.read_text()
        assert f"the run ended early in step {step}: it has no end" in page.with_suffix(".md").read_text()


def test_a_page_that_cannot_be_made_hides_no_error(
    stored: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeresnet.stages.trace.trace", failing(OSError(errno.ENOSPC, "No space left on device")))
    for problem in (ZeroDivisionError(), ArtifactError("the page", "is missing", hint="none")):
        monkeypatch.setattr("edgeresnet.report.html.of_store", failing(problem))
        _, err = expect(5, stored("run", write_recipe(tmp_path, tiny(seed=7, train__epochs=1))))
        assert err.splitlines()[-1].startswith("error: the disk is full (")


def test_an_interrupted_run_leaves_no_page(
    stored: Command, own_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pages(own_store)
    monkeypatch.setattr("edgeresnet.stages.trace.trace", failing(KeyboardInterrupt()))
    monkeypatch.setattr(cli, "_leave", sys.exit)
    _, err = expect(130, stored("run", write_recipe(tmp_path, tiny(seed=7, train__epochs=1))))
    assert err.splitlines()[-1].startswith("error: interrupted (")
    problem = own_store.load_run().problem
    assert problem is not None
    assert problem.step == "trace"
    assert pages(own_store) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rnu"], "did you mean run?"),
        (["dance"], "the command 'dance' does not exist"),
        (["run"], "RECIPE"),
        (["run", "nowhere.yaml"], "the recipe nowhere.yaml does not exist"),
        (["run", "nowhere.yaml", "--agian", "verify"], "No such option"),
        (["report"], "the store artifacts holds no run yet"),
        (["show"], "the store artifacts holds no run yet"),
        (["clean"], "what to remove is not clear"),
        (["clean", "--all", "--older-than", "1d"], "what to remove is not clear"),
        (["predict", "nothing.png"], "does not exist"),
        (["init", "nowhere/x.yaml"], "the folder nowhere does not exist"),
        (["clean", "--older-than", "soon"], "not an age"),
        (["init", "x.yaml", "--arch", "resnet18"], "needs --classes, --size"),
        (["report", "--store", "file/inside"], "file"),
    ],
)
def test_a_mistake_is_one_line_with_a_hint(command: Command, arguments: list[str], words: str) -> None:
    Path("file").touch()
    err = refused(command(*arguments))
    assert words in err
    assert err.rstrip().endswith(")"), "no hint"


@pytest.mark.parametrize(
    "words",
    [
        ["report", "--output", "closed/report.txt"],
        ["init", "closed/mine.yaml"],
        ["train", "closed/net.pth", "--output", "closed/out.safetensors", "--training", "digits", "--epochs", 1],
    ],
)
def test_a_path_that_may_not_be_looked_at_is_one_line(
    command: Command, own_store: Store, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    close(monkeypatch, "stat", lambda path: path.parts[:1] == ("closed",))
    monkeypatch.setenv("EDGERESNET_STORE", str(own_store.root))
    err = refused(command(*words))
    assert "closed" in err
    assert "Permission denied" in err


def test_wrong_keys_are_listed_together(command: Command, tmp_path: Path) -> None:
    _, err = expect(2, command("check", write_recipe(tmp_path, tiny(train__epcohs=1, seeed=2))))
    assert "train.epcohs: unknown key, did you mean epochs?" in err
    assert "seeed: unknown key, did you mean seed?" in err
    assert "2 problems" in err.strip().splitlines()[-1]


def test_again_accepts_stages_only(stored: Command, path: Path) -> None:
    assert "its stages: train, trace, compile, verify" in refused(stored("run", path, "--again", "everything"))


def test_a_bug_of_ours_is_a_traceback_and_one(stored: Command, path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("edgeresnet.pipeline.run", failing(ZeroDivisionError()))
    code, _, err = stored("run", path)
    assert (code, "Traceback" in err, "this is a bug of edgeresnet" in err) == (1, True, True)


def test_check_reports_what_the_images_can_decide(command: Command, tmp_path: Path) -> None:
    out, _ = expect(0, command("check", write_recipe(tmp_path, tiny(promises__max_drop_pp=0.5))))
    assert "evaluation: 450 images, 10 classes" in out
    assert "the smallest drop that 450 images can rule out is 0.85 points" in out
    assert "warning: 450 images are too few for max_drop_pp 0.5" in out
    assert "warning" not in command("check", write_recipe(tmp_path, tiny(promises__max_drop_pp=1)))[1]


def test_check_warns_of_calibration_images_of_another_kind(command: Command, tmp_path: Path) -> None:
    held = sources.digits(evaluation=False)
    np.savez("inverted.npz", images=255 - held._pixels[:100], labels=held.labels[:100])
    warning = "warning: the calibration images differ from the evaluation images: they "
    for calibration, warned in (("inverted.npz", True), ("training", False)):
        raw = tiny(quantize={}, images__calibration=calibration, promises={})
        assert (warning in " ".join(out_of(0, command("check", write_recipe(tmp_path, raw))).split())) == warned


def test_check_names_the_architectures_that_weights_match(
    command: Command, tmp_path: Path, trained: tuple[Store, Run]
) -> None:
    from safetensors.numpy import load_file, save_file

    weights = tmp_path / "w.safetensors"  # without the record in which a training names its architecture
    save_file(load_file(folder_of(trained[1], "train") / "weights.safetensors"), weights)
    raw = tiny(model={"checkpoint": str(weights)}, train=None)
    out, _ = expect(0, command("check", write_recipe(tmp_path, raw)))
    shown = " ".join(out.split())
    assert "the weights match cifar_resnet8, cifar_plain8" in shown
    assert ": a run compares them on 128 labelled images" in shown
    raw["model"]["arch"] = "cifar_resnet8"
    assert "the weights match" not in out_of(0, command("check", write_recipe(tmp_path, raw)))


def test_check_tells_a_target_that_is_not_here(command: Command, tmp_path: Path, add_target: Any) -> None:
    from edgeresnet import targets

    class Absent(type(targets.get("onnxruntime"))):  # type: ignore[misc]
        name = "absent"
        libraries = ("no-such-library",)
        install = "pip install no-such-library"

    add_target(Absent())
    out, _ = expect(4, command("check", write_recipe(tmp_path, tiny(targets={"absent": {}, "onnxruntime": {}}))))
    assert "target absent: not here: pip install no-such-library" in out
    assert "target onnxruntime: onnxruntime " in out


def test_of_a_targets_libraries_one_is_enough(command: Command, tmp_path: Path, add_target: Any) -> None:
    """TensorRT is one of three wheels, or an archive's, which the target knows and pip does not."""
    from edgeresnet import targets
    from edgeresnet.portable.session import Availability

    class Either(type(targets.get("onnxruntime"))):  # type: ignore[misc]
        name = "either"
        libraries: tuple[str, ...] = ("onnxruntime-of-another-name", "onnxruntime")

    class OfAnArchive(Either):
        name = "archived"
        libraries = ("no-such-library",)

        def available(self, options: Any = None) -> Availability:
            return Availability(True, versions={"archived": "1.2"})

    add_target(Either())
    add_target(OfAnArchive())
    out, _ = expect(0, command("check", write_recipe(tmp_path, tiny(targets={"either": {}, "archived": {}}))))
    assert "target either: onnxruntime " in out
    assert "target archived: archived 1.2" in out


def test_a_bundles_target_need_not_be_here(command: Command, tmp_path: Path) -> None:
    out, _ = expect(0, command("check", write_recipe(tmp_path, tiny(targets={"tensorrt": {"where": "bundle"}}))))
    assert "target tensorrt: a bundle, built and measured on its device" in out


def test_plan_tells_done_from_todo(stored: Command, path: Path) -> None:
    assert "all 6 stages are done" in out_of(0, stored("plan", path))
    rows = json.loads(stored("plan", path, "--set", "seed=4", "--json")[1])
    assert {row["id"] for row in rows if row["state"] != "todo"} == {"compile:onnxruntime:yardstick"}


@pytest.mark.parametrize("kind", ["terminal", "md", "json", "html"])
def test_report_prints_the_newest_run(
    command: Command, stored: Command, own_store: Store, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    out, _ = expect(0, stored("report", "--format", kind))
    assert "KEPT" in out
    assert "\x1b[" not in out, "no colour in a pipe"
    monkeypatch.setenv("EDGERESNET_STORE", str(own_store.root))  # a store may be named so too
    assert out_of(0, command("report", "--format", kind, "--output", "r.txt")) == ""
    assert Path("r.txt").read_text() == out


def test_show_a_run_and_an_artifact(stored: Command, own_store: Store) -> None:
    assert "verify:onnxruntime" in out_of(0, stored("show"))
    digest = own_store.load_run().steps[0].digest or ""
    out, _ = expect(0, stored("show", digest[:9]))
    assert "weights.safetensors" in out
    assert "validation_top1" in out
    assert json.loads(stored("show", digest[:9], "--json")[1])["digest"] == digest
    expect(2, stored("show", "zzzz"))


def test_a_run_that_cannot_be_read_is_reported_and_not_taken_for_an_artifact(command: Command, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    (store.root / "runs").mkdir()
    (store.root / "runs" / "20250101-old.json").write_text(json.dumps({"format": 1, "id": "20250101-old"}))
    (store.root / "runs" / "20250102-new.json").write_text(json.dumps({"format": 99}))
    for word in ("show", "report"):
        formats = ("20250101", "a run of format 1, but this version reads"), ("20250102", "a run of format 99,")
        for name, words in formats:
            assert words in refused(command(word, name, "--store", store.root))


def test_predict_names_what_the_picture_shows(
    command: Command, stored: Command, own_store: Store, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expect(0, command("run", path, "--store", "store"))
    digits, run = sources.digits(evaluation=True), own_store.load_run()
    predicted = result_of(run, "onnxruntime").variants["fp32"].predicted
    correct = next(index for index, label in enumerate(predicted) if label == digits.labels[index])
    digits.open(correct).save(tmp_path / "digit.png")
    out, _ = expect(0, stored("predict", "digit.png", "--top", 3))
    assert out.splitlines()[0] == "onnxruntime fp32"
    assert out.splitlines()[1].split()[-1] == str(digits.labels[correct])
    assert len(out.splitlines()) == 4
    found = json.loads(stored("predict", "digit.png", "--json")[1])
    assert abs(sum(a["probability"] for a in found["onnxruntime fp32"])) <= 1.0001
    (tmp_path / "bad.png").write_bytes(b"no")
    expect(2, stored("predict", "bad.png"))
    expect(2, stored("predict", "digit.png", "--target", "openvino"))

    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    expect(0, command("predict", "../digit.png", "--store", "../store"))

    network = tmp_path / folder_of(run, "compile:reference") / "model.onnx"
    data = bytearray(network.read_bytes())
    data[-100] ^= 1
    network.write_bytes(data)
    assert "missing or damaged" in err_of(2, stored("predict", "../digit.png")), "a damaged network is never used"


def test_targets_lists_versions_and_the_machine_and_schema_is_json(command: Command) -> None:
    out, _ = expect(0, command("targets"))
    assert "onnxruntime    ready: onnxruntime" in out
    assert "this machine" in out
    found = json.loads(command("targets", "--json")[1])
    assert found["targets"]["onnxruntime"]["ok"]
    assert found["machine"]["cpu"]["cores"] >= 1
    assert json.loads(command("schema")[1])["title"] == "edgeresnet recipe"


def test_init_writes_recipes_that_are_recipes(command: Command, tmp_path: Path) -> None:
    expect(0, command("init"))
    assert recipe.load("recipe.yaml").model.arch == "cifar_resnet8"
    assert "exists already" in err_of(2, command("init"))
    code, _, err = command(
        "init", "mine.yaml", "--checkpoint", "my: weights #1.pth", "--arch", "resnet50", "--classes", 7, "--size", 224,
        "--resize", 256, "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225", "--evaluation", "data/val",
        "--target", "openvino",
    )  # fmt: skip
    assert code == 0, err
    mine = recipe.load("mine.yaml")
    assert mine.model.checkpoint == "my: weights #1.pth"
    assert mine.preprocessing.resize == 256
    assert list(mine.targets) == ["openvino"]
    assert mine.train is None
    assert command("init", "bad.yaml", "--checkpoint", "w", "--arch", "resnet18", "--classes", 2, "--size", 8, "--mean",
                "a", "--std", "1", "--evaluation", "x")[0] == 2  # fmt: skip
    assert not Path("bad.yaml").exists()


def test_init_knows_segmentation(command: Command, tmp_path: Path) -> None:
    expect(0, command("init", "--task", "segmentation"))
    digits = recipe.load("recipe.yaml")
    assert (digits.task, digits.model.arch, digits.model.classes) == ("segmentation", "fcn_cifar_resnet8", 11)
    given = ("--checkpoint", "net.onnx", "--classes", 3, "--size", 64, "--mean", 0.5, "--std", 0.2)
    expect(0, command("init", "mine.yaml", *given, "--evaluation", "data/val", "--masks", "data/val masks"))
    mine, text = recipe.load("mine.yaml"), Path("mine.yaml").read_text()
    assert mine.images.evaluation
    assert mine.images.evaluation.masks == "data/val masks"
    assert "points of mIoU are lost" in text
    assert "top" not in text
    expect(0, command("init", "coco.yaml", *given, "--evaluation", "val.json", "--task", "segmentation"))
    problem = err_of(
        2, command("init", "bad.yaml", *given, "--evaluation", "x", "--masks", "y", "--task", "classification")
    )
    assert "images.evaluation.masks needs `task: segmentation`" in problem


def test_init_knows_detection(command: Command, tmp_path: Path) -> None:
    _, err = expect(0, command("init", "--task", "detection"))
    digits = recipe.load("recipe.yaml")
    assert (digits.task, digits.model.arch, digits.preprocessing.crop) == (
        "detection",
        "retinanet_cifar_resnet8",
        "center",
    )
    assert "padded" not in err
    given = ("--checkpoint", "net.onnx", "--classes", 3, "--size", 64, "--mean", 0.5, "--std", 0.2)
    _, err = expect(0, command("init", "mine.yaml", *given, "--evaluation", "data/val", "--boxes", "val.json"))
    mine, text = recipe.load("mine.yaml"), Path("mine.yaml").read_text()
    assert mine.images.evaluation
    assert (mine.task, mine.images.evaluation.boxes, mine.preprocessing.crop) == ("detection", "val.json", "pad")
    assert "images are padded" in err
    assert "points of mAP are lost" in text
    problem = err_of(2, command("init", "bad.yaml", *given, "--evaluation", "x", "--boxes", "y", "--masks", "z"))
    assert "needs `task: " in problem


def test_clean_empties_a_store_and_refuses_another_folder(
    command: Command, stored: Command, own_store: Store, tmp_path: Path
) -> None:
    (tmp_path / "project" / "train" / "cat").mkdir(parents=True)
    assert "is not a store" in err_of(2, command("clean", "--all", "--store", tmp_path / "project"))
    assert (tmp_path / "project" / "train" / "cat").is_dir()
    assert stored("clean", "--older-than", "1d")[1].startswith("removed 0")
    expect(0, stored("clean", "--all"))
    assert not list(own_store.artifacts())
    expect(2, stored("report"))


def test_check_decodes_when_stored(command: Command, tmp_path: Path, colours: Callable[[str], Path]) -> None:
    shutil.copytree(colours("a"), tmp_path / "set")
    (tmp_path / "set" / "red" / "013.png").write_bytes(b"broken")
    raw = tiny(model__classes=3, preprocessing={"size": 8, "mean": [0.5] * 3, "std": [0.25] * 3})
    raw["images"] = {"training": str(colours("b")), "evaluation": str(tmp_path / "set")}
    path = write_recipe(tmp_path, raw)
    assert command("check", path)[0] == 0
    assert "013.png cannot be decoded" in err_of(2, command("check", path, "--decode"))


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_and_is_in_the_reference(command: Command, name: str) -> None:
    out, _ = expect(0, command(name, "--help"))
    assert len(out.splitlines()) > 5
    assert max(map(len, out.splitlines())) <= 80
    assert f"\n## {name}\n" in (Path(__file__).parents[2] / "docs" / "reference" / "commands.md").read_text()


def test_a_reader_that_leaves_early_does_not_change_the_exit_code(own_store: Store, tmp_path: Path) -> None:
    path = write_recipe(tmp_path, tiny(promises={"min_top1_pct": 100}))
    for arguments, code in (("schema", 0), (f"run {path} --store {own_store.root}", 3)):
        script = f"{sys.executable} -m edgeresnet {arguments} | true; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
        assert done.stdout == f"{code}\n", done.stderr
        assert "BrokenPipe" not in done.stderr


def test_no_command_at_all_is_the_help(command: Command) -> None:
    code, out, err = command()
    assert (code, err) == (0, "")
    assert "\nStart:\n  init " in out
