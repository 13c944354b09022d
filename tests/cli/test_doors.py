"""The doors: what they print, where, and how they leave. In this process, except where the process is the point."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeresnet import cli, recipe
from edgeresnet.artifact import Store
from edgeresnet.errors import ArtifactError, ModelError

from ..conftest import tiny, write_recipe
from .conftest import Door


@pytest.fixture
def ran(door: Door, own_store: Store, tmp_path: Path) -> tuple[Path, Store]:
    path = write_recipe(tmp_path, tiny())
    assert door("run", path, "--store", own_store.root)[0] == 0
    return path, own_store


def test_run_prints_the_verdict_and_where_the_report_lies(door: Door, own_store: Store, tmp_path: Path) -> None:
    code, out, err = door("run", write_recipe(tmp_path, tiny()), "--store", own_store.root)
    assert code == 0
    assert "KEPT: every promise is kept" in out
    report = Path(out.split("report: ")[1].strip())
    assert "# cifar\\_resnet8" in report.read_text() or "# cifar_resnet8" in report.read_text()
    assert f"page: {report.with_suffix('.html')}" in out
    assert report.with_suffix(".html").read_text().startswith("<!doctype html>")
    assert "nothing to do: all 6 stages were found done" in err
    assert max(len(line) for line in out.splitlines() if not line.startswith(("report:", "page:"))) <= 80


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"promises": {"min_top1_pct": 100}}, 3),
        ({"promises": {"max_drop_pp": 0.1}}, 0),
        ({"promises": {"max_drop_pp": 0.1, "undecided": "fail"}}, 4),
        ({"promises": {"min_speedup_fp32": 2}}, 4),
        ({"promises": {}}, 0),
    ],
)
def test_the_exit_code_is_the_verdicts(door: Door, own_store: Store, tmp_path: Path, changes: dict, code: int) -> None:
    assert door("run", write_recipe(tmp_path, tiny(**changes)), "--store", own_store.root, "-q")[0] == code


def failing(problem: BaseException) -> Callable[..., Any]:
    def fails(*_: object) -> None:
        raise problem

    return fails


def pages(store: Store) -> set[str]:
    return {path.name for path in (store.root / "runs").iterdir() if path.suffix in (".md", ".html")}


def test_a_run_that_fails_halfway_leaves_its_pages_and_then_its_error(
    door: Door, own_store: Store, net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = failing(ModelError("it has no end", hint="give another"))
    words = ["verify", net, "--evaluation", "digits", "--size", 8, "--mean", 0.3, "--std", 0.4, "--seed", 7]
    for stage, door_words in (
        ("trace.trace", ["run", write_recipe(tmp_path, tiny(seed=7, train__epochs=1))]),
        ("verify.verify", words),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(f"edgeresnet.{stage}", broken)
            code, out, err = door(*door_words, "--store", own_store.root)
        page = own_store.runs()[-1].with_suffix(".html")
        assert (code, out) == (2, "")
        assert err.splitlines()[-2:] == [f"page: {page}", "error: it has no end (give another)"]
        step = "trace" if stage == "trace.trace" else "verify:reference"
        assert f"The run ended early in step {step}." in page.read_text()
        assert f"the run ended early in step {step}: it has no end" in page.with_suffix(".md").read_text()
        with monkeypatch.context() as patch:
            patch.setattr(f"edgeresnet.{stage}", broken)
            assert door(*door_words, "--store", own_store.root, "-q")[1:] == (
                "", "error: it has no end (give another)\n",
            )  # fmt: skip


def test_a_page_that_cannot_be_made_hides_no_error(
    door: Door, own_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeresnet.trace.trace", failing(OSError(errno.ENOSPC, "No space left on device")))
    for problem in (ZeroDivisionError(), ArtifactError("no", hint="page")):
        monkeypatch.setattr("edgeresnet.report.html.of_store", failing(problem))
        code, _, err = door("run", write_recipe(tmp_path, tiny(seed=7, train__epochs=1)), "--store", own_store.root)
        assert code == 5
        assert err.splitlines()[-1].startswith("error: the disk is full (")
        assert "Traceback" not in err


def test_an_interrupted_run_leaves_no_page(
    door: Door, own_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pages(own_store)
    monkeypatch.setattr("edgeresnet.trace.trace", failing(KeyboardInterrupt()))
    monkeypatch.setattr(cli, "_leave", sys.exit)
    code, _, err = door("run", write_recipe(tmp_path, tiny(seed=7, train__epochs=1)), "--store", own_store.root)
    assert code == 130
    assert err.splitlines()[-1].startswith("error: interrupted (")
    assert own_store.load_run()["problem"]["step"] == "trace"
    assert pages(own_store) == before


def test_json_is_one_document_on_stdout(door: Door, ran: tuple[Path, Store]) -> None:
    code, out, err = door("run", ran[0], "--store", ran[1].root, "--json", "-q")
    assert (code, err) == (0, "")
    assert json.loads(out)["verdict"] == "KEPT"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rnu"], "did you mean run?"),
        (["dance"], "there is no command 'dance'"),
        (["run"], "RECIPE"),
        (["run", "nowhere.yaml"], "there is no recipe nowhere.yaml"),
        (["run", "nowhere.yaml", "--agian", "verify"], "No such option"),
        (["report"], "there is no run"),
        (["show"], "there is no run"),
        (["clean"], "what to remove is not clear"),
        (["clean", "--all", "--older-than", "1d"], "what to remove is not clear"),
        (["predict", "nothing.png"], "does not exist"),
        (["init", "nowhere/x.yaml"], "there is no folder nowhere"),
        (["clean", "--older-than", "soon"], "not an age"),
        (["init", "x.yaml", "--arch", "resnet18"], "needs --classes, --size"),
    ],
)
def test_a_mistake_is_one_line_with_a_hint(door: Door, arguments: list[str], words: str) -> None:
    code, out, err = door(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert len(err.strip().splitlines()) == 1
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
    door: Door, ran: tuple[Path, Store], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """As Python tells it of a file below a folder that is closed to the user."""
    looked = Path.stat

    def closed(path: Path, **how: Any) -> Any:
        if path.parts[:1] == ("closed",):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return looked(path, **how)

    monkeypatch.setattr(Path, "stat", closed)
    code, _, err = door(*words, "--store", ran[1].root) if words[0] != "init" else door(*words)
    assert (code, len(err.splitlines())) == (2, 1), err
    assert "closed" in err
    assert "Permission denied" in err


def test_wrong_keys_are_listed_together(door: Door, tmp_path: Path) -> None:
    code, _, err = door("check", write_recipe(tmp_path, tiny(train__epcohs=1, seeed=2)))
    assert code == 2
    assert "train.epcohs: unknown key, did you mean epochs?" in err
    assert "seeed: unknown key, did you mean seed?" in err
    assert "2 problems" in err.strip().splitlines()[-1]


def test_again_takes_stages_only(door: Door, ran: tuple[Path, Store]) -> None:
    code, _, err = door("run", ran[0], "--store", ran[1].root, "--again", "everything")
    assert code == 2
    assert "it has train, trace, compile, verify" in err


def test_a_bug_of_ours_is_a_traceback_and_one(door: Door, ran: tuple[Path, Store], monkeypatch: Any) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("edgeresnet.pipeline.run", broken)
    code, _, err = door("run", ran[0], "--store", ran[1].root)
    assert code == 1
    assert "Traceback" in err
    assert "this is a bug of edgeresnet" in err


def test_check_says_what_the_images_can_decide(door: Door, tmp_path: Path) -> None:
    code, out, _ = door("check", write_recipe(tmp_path, tiny(promises__max_drop_pp=0.5)))
    assert code == 0
    assert "evaluation: 450 images, 10 classes" in out
    assert "the smallest drop that 450 images can rule out is 0.85 points" in out
    assert "warning: max_drop_pp 0.5 is finer than" in out
    assert "warning" not in door("check", write_recipe(tmp_path, tiny(promises__max_drop_pp=1)))[1]


def test_check_tells_a_target_that_is_not_here(door: Door, tmp_path: Path, add_target: Any) -> None:
    from edgeresnet import targets

    class Absent(type(targets.get("onnxruntime"))):  # type: ignore[misc]
        name = "absent"
        libraries = ("no-such-library",)

    add_target(Absent())
    code, out, _ = door("check", write_recipe(tmp_path, tiny(targets={"absent": {}})))
    assert code == 4
    assert "target absent: not here: pip install no-such-library" in out


def test_plan_tells_done_from_todo(door: Door, ran: tuple[Path, Store]) -> None:
    code, out, _ = door("plan", ran[0], "--store", ran[1].root)
    assert code == 0
    assert "all 6 stages are done" in out
    code, out, _ = door("plan", ran[0], "--store", ran[1].root, "--set", "seed=4", "--json")
    assert {row["id"] for row in json.loads(out) if row["state"] != "todo"} == {"compile:onnxruntime:yardstick"}


@pytest.mark.parametrize("kind", ["terminal", "md", "json", "html"])
def test_report_prints_the_newest_run(door: Door, ran: tuple[Path, Store], kind: str) -> None:
    code, out, _ = door("report", "--store", ran[1].root, "--format", kind)
    assert code == 0
    assert "KEPT" in out
    assert door("report", "--store", ran[1].root, "--format", kind, "--output", "r.txt")[1] == ""
    assert Path("r.txt").read_text() == out


def test_show_a_run_and_an_artifact(door: Door, ran: tuple[Path, Store]) -> None:
    code, out, _ = door("show", "--store", ran[1].root)
    assert code == 0
    assert "verify:onnxruntime" in out
    digest = ran[1].load_run()["steps"][0]["digest"]
    code, out, _ = door("show", digest[:9], "--store", ran[1].root)
    assert code == 0
    assert "weights.safetensors" in out
    assert "validation_top1" in out
    assert json.loads(door("show", digest[:9], "--store", ran[1].root, "--json")[1])["digest"] == digest
    assert door("show", "zzzz", "--store", ran[1].root)[0] == 2


def test_a_run_that_cannot_be_read_is_said_and_not_taken_for_an_artifact(door: Door, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    (store.root / "runs").mkdir()
    (store.root / "runs" / "20250101-old.json").write_text(json.dumps({"format": 1, "id": "20250101-old"}))
    (store.root / "runs" / "20250102-new.json").write_text(json.dumps({"format": 99}))
    for command in ("show", "report"):
        for name, words in (("20250101", "a run of format 1, this program reads"), ("20250102", "a run of format 99")):
            code, out, err = door(command, name, "--store", store.root)
            assert (code, out, len(err.splitlines())) == (2, "", 1)
            assert words in err


def test_predict_says_what_the_picture_shows(door: Door, ran: tuple[Path, Store], tmp_path: Path) -> None:
    from edgeresnet.images import sources

    digits = sources.digits(evaluation=True)
    right = next(
        index
        for index, (said, true) in enumerate(
            zip(
                ran[1].load_run()["results"]["onnxruntime"]["variants"]["fp32"]["predicted"], digits.labels, strict=True
            )
        )
        if said == true
    )
    digits.open(right).save(tmp_path / "digit.png")
    code, out, _ = door("predict", tmp_path / "digit.png", "--store", ran[1].root, "--top", 3)
    assert code == 0
    assert out.splitlines()[0] == "onnxruntime fp32"
    assert out.splitlines()[1].split()[-1] == str(digits.labels[right])
    assert len(out.splitlines()) == 4
    found = json.loads(door("predict", tmp_path / "digit.png", "--store", ran[1].root, "--json")[1])
    assert abs(sum(a["probability"] for a in found["onnxruntime fp32"])) <= 1.0001
    (tmp_path / "bad.png").write_bytes(b"no")
    assert door("predict", tmp_path / "bad.png", "--store", ran[1].root)[0] == 2
    assert door("predict", tmp_path / "digit.png", "--store", ran[1].root, "--target", "openvino")[0] == 2


def test_predict_never_uses_a_damaged_network(door: Door, ran: tuple[Path, Store], tmp_path: Path) -> None:
    from edgeresnet.images import sources

    sources.digits(evaluation=True).open(0).save(tmp_path / "digit.png")
    (folder,) = {s["path"] for s in ran[1].load_run()["steps"] if s["id"] == "compile:reference"}
    data = bytearray((Path(folder) / "model.onnx").read_bytes())
    data[-100] ^= 1
    (Path(folder) / "model.onnx").write_bytes(data)
    code, _, err = door("predict", tmp_path / "digit.png", "--store", ran[1].root)
    assert code == 2
    assert "no longer whole" in err


def test_targets_tells_versions_and_the_machine(door: Door) -> None:
    code, out, _ = door("targets")
    assert code == 0
    assert "onnxruntime    ready: onnxruntime" in out
    assert "this machine" in out
    found = json.loads(door("targets", "--json")[1])
    assert found["targets"]["onnxruntime"]["ok"]
    assert found["machine"]["cpu"]["cores"] >= 1


def test_schema_is_json(door: Door) -> None:
    assert json.loads(door("schema")[1])["title"] == "edgeresnet recipe"


def test_init_writes_recipes_that_are_recipes(door: Door, tmp_path: Path) -> None:
    assert door("init")[0] == 0
    assert recipe.load("recipe.yaml").model.arch == "cifar_resnet8"
    code, _, err = door("init")
    assert (code, "already there" in err) == (2, True)
    code, _, err = door(
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
    assert door("init", "bad.yaml", "--checkpoint", "w", "--arch", "resnet18", "--classes", 2, "--size", 8, "--mean",
                "a", "--std", "1", "--evaluation", "x")[0] == 2  # fmt: skip
    assert not Path("bad.yaml").exists()


def test_clean_spares_a_folder_that_is_no_store(door: Door, tmp_path: Path) -> None:
    (tmp_path / "project" / "train" / "cat").mkdir(parents=True)
    code, _, err = door("clean", "--all", "--store", tmp_path / "project")
    assert (code, "is no store" in err) == (2, True)
    assert (tmp_path / "project" / "train" / "cat").is_dir()


def test_check_decodes_when_asked(door: Door, tmp_path: Path, colours: Callable[[str], Path]) -> None:
    import shutil

    shutil.copytree(colours("a"), tmp_path / "set")
    (tmp_path / "set" / "red" / "013.png").write_bytes(b"broken")
    raw = tiny(model__classes=3, preprocessing={"size": 8, "mean": [0.5] * 3, "std": [0.25] * 3})
    raw["images"] = {"training": str(colours("b")), "evaluation": str(tmp_path / "set")}
    path = write_recipe(tmp_path, raw)
    assert door("check", path)[0] == 0
    code, _, err = door("check", path, "--decode")
    assert (code, "013.png cannot be decoded" in err) == (2, True)


def test_a_run_can_be_asked_from_another_folder(
    door: Door, own_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeresnet.images import sources

    sources.digits(evaluation=True).open(0).save(tmp_path / "digit.png")
    assert door("run", write_recipe(tmp_path, tiny()), "--store", "store")[0] == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert door("predict", "../digit.png", "--store", "../store")[0] == 0


def test_clean_empties_the_store(door: Door, ran: tuple[Path, Store]) -> None:
    assert door("clean", "--older-than", "1d", "--store", ran[1].root)[1].startswith("removed 0")
    assert door("clean", "--all", "--store", ran[1].root)[0] == 0
    assert not list(ran[1].artifacts())
    assert door("report", "--store", ran[1].root)[0] == 2


def test_the_store_can_be_named_by_the_environment(door: Door, ran: tuple[Path, Store], monkeypatch: Any) -> None:
    monkeypatch.setenv("EDGERESNET_STORE", str(ran[1].root))
    assert door("report")[0] == 0


def test_a_store_that_cannot_be_made(door: Door, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, err = door("report", "--store", tmp_path / "file" / "inside")
    assert code == 2
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_door_has_help_and_stands_in_the_readme(door: Door, command: str) -> None:
    code, out, _ = door(command, "--help")
    assert code == 0
    assert len(out.splitlines()) > 5
    assert max(map(len, out.splitlines())) <= 80
    assert f"edgeresnet {command}" in (Path(__file__).parents[2] / "README.md").read_text()


def test_a_reader_that_leaves_early_takes_nothing_from_the_verdict(own_store: Store, tmp_path: Path) -> None:
    path = write_recipe(tmp_path, tiny(promises={"min_top1_pct": 100}))
    for arguments, code in (("schema", 0), (f"run {path} --store {own_store.root}", 3)):
        script = f"{sys.executable} -m edgeresnet {arguments} | true; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
        assert done.stdout == f"{code}\n", done.stderr
        assert "BrokenPipe" not in done.stderr


def test_no_command_at_all_is_the_help(door: Door) -> None:
    code, out, err = door()
    assert (code, err) == (0, "")
    assert "Commands:" in out


def test_no_colour_when_asked_and_none_in_a_pipe(door: Door, ran: tuple[Path, Store]) -> None:
    assert "\x1b[" not in door("report", "--store", ran[1].root)[1]


def test_yaml_of_the_run_can_be_read_back(door: Door, ran: tuple[Path, Store]) -> None:
    raw = ran[1].load_run()["recipe"]
    assert recipe.parse(yaml.safe_load(yaml.safe_dump(raw))).digest == ran[1].load_run()["recipe_digest"]
