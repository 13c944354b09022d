"""edgeresnet from Python: light to import, honest about what it offers, and the guide's examples as they are there."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

import edgeresnet
from edgeresnet import api, errors, images, pipeline
from edgeresnet.notes import TrainNotes
from edgeresnet.recipe import Recipe
from edgeresnet.runs import Run
from edgeresnet.store import Store

from .conftest import result_of, tiny, write_recipe

Trained = tuple[Store, Run]
GUIDE = Path(__file__).parent.parent / "docs" / "how-to" / "python.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)


@pytest.fixture
def store(trained: Trained) -> Path:
    return trained[0].root


def test_what_is_offered_is_there_and_is_all(tmp_path: Path) -> None:
    for name in edgeresnet.__all__:
        assert getattr(edgeresnet, name).__module__.startswith("edgeresnet.")
        assert name in dir(edgeresnet)
    assert edgeresnet.run is api.run
    with pytest.raises(AttributeError, match="no attribute 'rum'"):
        edgeresnet.rum  # noqa: B018
    code = "from edgeresnet import *\nprint(sorted(name for name in globals() if not name.startswith('_')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == str(sorted(edgeresnet.__all__))


def test_importing_it_is_light(tmp_path: Path) -> None:
    code = "import sys, edgeresnet, edgeresnet.api\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {"torch", "onnx", "numpy", "onnxruntime", "openvino", "pydantic", "yaml", "click", "PIL"}


def test_it_is_typed_and_its_stages_are_the_pipelines() -> None:
    assert set(get_args(api.StageName)) == set(pipeline.STAGES)
    assert (Path(edgeresnet.__file__).parent / "py.typed").is_file()
    for name in ("run", "make", "plan", "load_run", "compare", "diagnose_int8"):
        about = inspect.signature(getattr(edgeresnet, name))
        assert about.return_annotation is not inspect.Signature.empty
        assert all(each.annotation is not inspect.Parameter.empty for each in about.parameters.values())


@pytest.mark.slow
def test_type_checkers_see_the_types(tmp_path: Path) -> None:
    script = tmp_path / "user.py"
    script.write_text(
        "import edgeresnet\nrun = edgeresnet.run('r.yaml')\n"
        "reveal_type(run.verdict)\nreveal_type(run.verdicts[0].low)\n"
        "edgeresnet.make('r.yaml', 'bake')\nedgeresnet.load_run(3)\n"
    )
    command = [sys.executable, "-m", "mypy", "--config-file=", "--ignore-missing-imports", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    printed = done.stdout.replace("builtins.", "").replace("Union[float, None]", "float | None")
    assert "Literal['KEPT']" in printed, done.stdout + done.stderr
    assert 'Revealed type is "float | None"' in printed
    assert re.findall(r'error: Argument \d to "(\w+)"', printed) == ["make", "load_run"]


@pytest.mark.parametrize("kind", ["path", "dict", "parsed"])
def test_a_recipe_is_a_path_a_dict_or_parsed(trained: Trained, store: Path, tmp_path: Path, kind: str) -> None:
    path = write_recipe(tmp_path, tiny())
    recipes: dict[str, api.AnyRecipe] = {"path": path, "dict": tiny(), "parsed": api.parsed(tiny())}
    recipe = recipes[kind]
    assert all(edgeresnet.plan(recipe, store=store).values())
    run = edgeresnet.run(recipe, store=store)
    assert run.verdict == "KEPT"
    assert result_of(run.stored, "onnxruntime").variants["fp32"].size_mb > 0
    assert run.results == run.stored.results
    (verdict,) = run.verdicts
    assert (verdict.target, verdict.promise.name, verdict.verdict) == ("onnxruntime", "max_drop_pp", "KEPT")
    assert (run.artifact("trace") / "model.onnx").is_file()
    assert edgeresnet.load_run(run.id, store=store) == run


def test_reports_are_those_of_the_command_and_runs_are_compared(store: Path, tmp_path: Path) -> None:
    run = edgeresnet.load_run(store=store)
    assert run.report().startswith("cifar_resnet8 · 10 classes")
    assert run.save_report(tmp_path / "r.md").read_text() == run.report("md")
    assert json.loads(run.save_report(str(tmp_path / "r.JSON")).read_text())["id"] == run.id
    with pytest.raises(errors.EdgeresnetError, match="does not end as a report does"):
        run.save_report(tmp_path / "r.docx")
    with pytest.raises(errors.EdgeresnetError, match="the format 'word' does not exist"):
        run.report("word")
    assert edgeresnet.compare(run, run).changed[0].artifacts.differ == ()


def test_a_stage_is_made_and_no_other(trained: Trained, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(Store(store).runs())
    ended: list[str] = []

    class Ended(edgeresnet.Listener):
        def ends(self, outcome: pipeline.Outcome) -> None:
            ended.append(str(outcome.step.id))

    opened, real = list[str](), images.open_samples

    def open_samples(recipe: Recipe, slot: str, *others: Any) -> images.Samples:
        opened.append(slot)
        return real(recipe, slot, *others)

    monkeypatch.setattr(images, "open_samples", open_samples)
    made = edgeresnet.make(tiny(), "trace", store=store, listener=Ended())
    assert opened == ["training", "evaluation"], "what the recipe names is opened once"
    assert ended == ["train", "trace"]
    assert (made.artifact() / "model.onnx").is_file()
    assert made.artifact("train").is_dir()
    notes = made.notes("train")
    assert isinstance(notes, TrainNotes)
    assert notes.epochs == 4
    assert made.missing == {}
    assert len(Store(store).runs()) == before


def test_mistakes_are_errors_with_hints(store: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.RecipeError, match=r"the recipe .* does not exist") as caught:
        edgeresnet.run(tmp_path / "none.yaml", store=store)
    assert caught.value.hint
    with pytest.raises(errors.RecipeError) as caught:
        edgeresnet.run(tiny(tarin={"epochs": 1}), store=store)
    assert caught.value.problems == ("tarin: unknown key, did you mean train?",)
    with pytest.raises(errors.RecipeError, match="no stage 'quantize'"):
        edgeresnet.make(tiny(), "quantize", store=store)
    with pytest.raises(errors.RecipeError, match="the stage 'bake' does not exist"):
        edgeresnet.make(tiny(), "bake", store=store)  # type: ignore[arg-type]
    with pytest.raises(errors.ArtifactError, match="has no step 'quantize'"):
        edgeresnet.load_run(store=store).artifact("quantize")
    with pytest.raises(errors.EdgeresnetError, match="a single run cannot be compared"):
        edgeresnet.compare(edgeresnet.load_run(store=store))


def test_a_target_that_is_not_here_is_missing_with_a_reason(store: Path, add_target: Any) -> None:
    from .pipeline.test_run import Absent

    add_target(Absent())
    recipe = tiny(targets={"onnxruntime": {}, "absent": {}})
    made = edgeresnet.make(recipe, "verify", store=store)
    assert list(made.missing) == ["verify:absent"]
    with pytest.raises(errors.EdgeresnetError, match="made nothing"):
        made.artifact("verify:absent")
    assert made.artifact("verify:onnxruntime").is_dir()


def test_the_readme_s_example_runs(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run it with a recipe that this store has done."""
    example, _, on_error = EXAMPLES
    write_recipe(tmp_path, tiny()).rename(tmp_path / "mine.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGERESNET_STORE", str(trained[0].root))
    exec(compile(example, GUIDE.name, "exec"), {})
    out = capsys.readouterr().out
    assert "onnxruntime max_drop_pp KEPT 0.00 points lost" in out
    assert Path(out.splitlines()[-1]).is_file()
    assert Path("report.md").read_text().startswith("# cifar_resnet8")
    exec(compile(on_error, GUIDE.name, "exec"), {"edgeresnet": edgeresnet})
    assert "the recipe missing.yaml does not exist check the path" in capsys.readouterr().out
