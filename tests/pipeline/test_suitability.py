"""Doubtful calibration images are reported before hours are spent, and change no key."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgeresnet import pipeline, recipe
from edgeresnet.cli import _progress
from edgeresnet.context import Progress
from edgeresnet.errors import ImagesError, ModelError
from edgeresnet.images import sources
from edgeresnet.pipeline import Listener
from edgeresnet.pipeline.runner import _warned
from edgeresnet.portable.result import RunWarning
from edgeresnet.runs import Run, StepId
from edgeresnet.store import Store

from ..conftest import tiny

CALIBRATE = StepId("calibrate")
FEW, ONE, UNLIKE = "few-calibration-images", "one-calibration-class", "calibration-unlike-evaluation"
PREPARED = {"size": 8, "mean": [0.4] * 3, "std": [0.3] * 3}


class Heard(Listener):
    """Keeps the sentences that a run reports before its first step, which it interrupts."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def warns(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def begins(self, step: pipeline.Step) -> Progress:
        raise KeyboardInterrupt


def warnings(raw: dict[str, Any], folder: Path) -> dict[str, str]:
    found = pipeline.warnings_of(pipeline.resolve(recipe.parse(raw), Store.open(folder / "store")))
    return {warning.code: str(warning) for warning in found}


@pytest.fixture
def inverted(tmp_path: Path) -> Path:
    """Digits for calibration, black on white."""
    held = sources.digits(evaluation=False)
    np.savez(tmp_path / "inverted.npz", images=255 - held._pixels[:100], labels=held.labels[:100])
    return tmp_path / "inverted.npz"


def of_digits(calibration: object, size: int = 8, **changes: Any) -> dict[str, Any]:
    return tiny(quantize={}, images__calibration=calibration, preprocessing__size=size, **changes)


@pytest.mark.parametrize(
    ("size", "count", "words"),
    [
        (224, 299, "299 calibration images are few for a network at 224 pixels: set `images.calibration.count` to 300 "
         "or more"),
        (256, 1, "1 calibration image is few for a network at 256 pixels: set"),
        (224, 300, ""),
        (224, None, ""),
        (223, 20, ""),
    ],
)  # fmt: skip
def test_few_images_for_a_large_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, count: int | None, words: str
) -> None:
    monkeypatch.setattr("edgeresnet.images.likeness.differences", lambda one, other: [])
    raw = of_digits({"from": "digits", "count": count}, size)
    assert warnings(raw, tmp_path).get(FEW, "").startswith(words)
    assert bool(warnings(raw, tmp_path)) == bool(words)


def test_a_folder_with_few_images_needs_more(tmp_path: Path, colours: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeresnet.images.likeness.differences", lambda one, other: [])
    sets = {"training": str(colours("a")), "evaluation": str(colours("b")), "calibration": str(colours("c"))}
    raw = tiny(model__classes=3, preprocessing={**PREPARED, "size": 224}, images=sets, quantize={})
    assert warnings(raw, tmp_path)[FEW].endswith("224 pixels: add images until there are 300")


def test_images_of_one_class(tmp_path: Path, colours: Any) -> None:
    shutil.copytree(colours("c") / "red", tmp_path / "some" / "red")
    shutil.copytree(colours("c") / "red", tmp_path / "other" / "photos")
    sets = {"training": str(colours("a")), "evaluation": str(colours("b"))}
    raw = tiny(model__classes=3, preprocessing=PREPARED, images=sets, quantize={})

    def about(folder: str) -> str | None:
        raw["images"]["calibration"] = folder if folder == "training" else str(tmp_path / folder)
        return warnings(raw, tmp_path).get(ONE)

    assert about("some") == (
        "all 40 calibration images are of the class red, one of 3: add images of the other classes"
    )
    assert about("other") is None, "it is not a class"
    assert about("other/photos") is None, "it has no classes"
    assert about("training") is None
    del raw["images"]["evaluation"]
    assert about("other") == (
        "all 40 calibration images lie in one folder, photos: if it is one class, add images of the other classes"
    )


def test_images_of_another_kind(tmp_path: Path, inverted: Path) -> None:
    text = warnings(of_digits(str(inverted)), tmp_path)[UNLIKE]
    how = r"[a-z ]+ \(0\.\d\d, not 0\.\d\d\)"
    assert re.fullmatch(
        rf"the calibration images differ from the evaluation images: they {how} and {how}\. INT8 ranges may not fit: "
        "calibrate with images like those that the network will see",
        text,
    )
    assert max(len(part.split()) for part in re.split(r"[.:] ", text)) <= 20


def test_like_images_and_recipes_without_int8_have_no_warning(tmp_path: Path, inverted: Path) -> None:
    assert warnings(of_digits("training"), tmp_path) == {}
    assert warnings(tiny(images__calibration=str(inverted)), tmp_path) == {}


def test_a_run_reports_them_before_its_first_step(tmp_path: Path, inverted: Path) -> None:
    heard = Heard()
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(recipe.parse(of_digits(str(inverted))), Store.open(tmp_path / "store"), listener=heard)
    assert [sentence.split(":")[0] for sentence in heard.sentences] == [
        "the calibration images differ from the evaluation images"
    ]


def test_what_does_not_calibrate_reports_nothing(tmp_path: Path, inverted: Path) -> None:
    heard = Heard()
    with pytest.raises(KeyboardInterrupt):
        pipeline.make(recipe.parse(of_digits(str(inverted))), Store.open(tmp_path / "store"), "train", heard)
    assert heard.sentences == []


def test_the_step_that_reads_them_has_the_warning_and_the_same_key(tmp_path: Path, inverted: Path) -> None:
    resolved = pipeline.resolve(recipe.parse(of_digits(str(inverted))), Store.open(tmp_path / "store"))
    plain = pipeline.plan(resolved)
    steps = _warned(plain, resolved, Listener())
    assert [step.id for step in steps if UNLIKE in [warning.code for warning in step.warnings]] == [CALIBRATE]
    digests = {"network": "a", "calibration": "b"}
    assert [step.key(digests) for step in steps] == [step.key(digests) for step in plain]


def test_the_run_that_is_stored_has_the_warning(own_store: Store, trained: tuple[Store, Run], inverted: Path) -> None:
    wanted = recipe.parse(of_digits(str(inverted)))
    for state in ("made", "done"):
        done = pipeline.make(wanted, own_store, "calibrate", Listener())
        assert done.steps["calibrate"].state == state
        assert [warning.code for warning in done.steps["calibrate"].warnings if warning.code == UNLIKE] == [UNLIKE]
    kept = next(each for each in own_store.artifacts() if each.stage == "calibrate")
    assert UNLIKE not in [warning.code for warning in kept.manifest.warnings], "another evaluation set may fit"


def test_a_warning_that_was_reported_is_not_repeated(tmp_path: Path, capsys: Any, inverted: Path) -> None:
    resolved = pipeline.resolve(recipe.parse(of_digits(str(inverted))), Store.open(tmp_path / "store"))
    step = next(step for step in pipeline.plan(resolved) if step.id == CALIBRATE)
    early, late = RunWarning("early", "known early"), RunWarning("late", "known late")
    with _progress.listener(quiet=False, verbose=False) as shown:
        shown.warns(str(early))
        shown.ends(pipeline.Outcome(step, "made", seconds=1.0, warnings=[early, late]))
    written = capsys.readouterr().err
    assert (written.count("known early"), written.count("known late")) == (1, 1)


@pytest.mark.parametrize(("effort", "refused"), [("fast", False), ("best", True)])
def test_a_gpu_that_is_not_there_is_refused_before_anything_runs(
    effort: str, refused: bool, inverted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    raw = {**of_digits(str(inverted)), "quantize": {"effort": effort, "device": "cuda"}}
    wanted = recipe.parse(raw)
    with pytest.raises(ModelError, match="cuda needs a GPU") if refused else contextlib.nullcontext():
        pipeline.resolve(wanted, Store.open(tmp_path / "store"))


def test_masks_with_one_class_are_doubted_with_the_first_step_and_wrong_ones_refused(tmp_path: Path) -> None:
    from ..images.test_mask_counts import halves
    from ..images.test_masks import wanted

    raw = wanted(
        images__evaluation=halves(tmp_path, 255, 0),
        model__classes=2,
        model__checkpoint=None,
        model__arch="fcn_cifar_resnet20",
        images__training="digits-scenes",
        train={"epochs": 1, "rate": 0.01},
    )
    raw["images"]["training"] = raw["images"]["evaluation"]
    with pytest.raises(ImagesError, match="are also evaluation images"):
        warnings(raw, tmp_path)
    raw["images"]["training"] = halves(tmp_path / "other", 1, 0)
    for path in (tmp_path / "other" / "images").iterdir():
        Image.new("L", (8, 8), int(path.stem)).save(path)
    found = warnings(raw, tmp_path)
    assert found == {
        "doubtful-masks": "of the evaluation images: their masks hold 0 and ignored pixels alone: "
        "a class must not have the ignored number"
    }
    heard = Heard()
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(recipe.parse(raw), Store.open(tmp_path / "store"), listener=heard)
    assert heard.sentences == list(found.values())
    Image.new("L", (8, 8), 9).save(tmp_path / "masks" / "0.png")
    with pytest.raises(ImagesError, match="has the number 9 in 64 pixels, but there are 2 classes"):
        warnings(raw, tmp_path)
