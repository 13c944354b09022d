"""The door `export`, and the whole way of a bundle: made here, carried elsewhere, measured by a Python that has numpy
and the runtime and nothing else, brought home and judged.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import edgeresnet
from edgeresnet import pipeline, recipe
from edgeresnet.errors import ModelError
from edgeresnet.graph import deliver
from edgeresnet.portable import machine, manifest, onnx_file
from edgeresnet.stages.export import contents
from edgeresnet.stages.export.write import archive
from edgeresnet.store import Store

from .conftest import Door, Exported, err_of, left, out_of
from .deployed import ASKED, SHORT, bare, deployed, deployed_here, deployed_on_a_standin

QUICK = ("--set", "verify.processes=2", "--set", "verify.seconds=1")


@pytest.fixture
def asked(door: Door, own_store: Store, net: Path) -> Door:
    return lambda *rest: door("export", "net.onnx", "--store", own_store.root, *rest)


def carried(packed: Path, where: Path) -> Path:
    """Unpacked in another folder, as a person at the device does."""
    where.mkdir()
    with tarfile.open(packed) as tar:
        tar.extractall(where, filter="data") if sys.version_info >= (3, 12) else tar.extractall(where)
    return next(path for path in where.iterdir() if path.is_dir())


@pytest.mark.parametrize("target", ["onnxruntime", pytest.param("openvino", marks=pytest.mark.slow)])
def test_the_whole_way_of_a_bundle(asked: Door, door: Door, own_store: Store, tmp_path: Path, target: str) -> None:
    out, err = left(0, asked(*ASKED, *QUICK, "--target", target, "--output", "bundles", "--max-drop-pp", 30))
    assert "DEFERRED" in out
    assert f"wrote bundles/net-{target}/ and bundles/net-{target}.tar.gz" in err
    there = carried(tmp_path / "bundles" / f"net-{target}.tar.gz", tmp_path / "device")

    checked = deployed(there, target, "--check")
    assert checked.returncode == 0, checked.stderr
    assert "whole" in checked.stderr
    assert not (there / "built").exists()

    done = deployed(there, target)
    assert done.returncode == 0, done.stderr
    assert "int8" in done.stdout
    assert manifest.problems(there, manifest.read(there), ("built/*", "result.json")) == []  # type: ignore[arg-type]

    shutil.copy(there / "result.json", tmp_path / "brought.json")
    assert "KEPT" in out_of(0, door("verify", "--from", "brought.json", "--store", own_store.root))
    run = own_store.load_run()
    brought = run["results"][target]
    # the same accuracy as where it was made: the same runtime computes it
    _, _, _ = asked_here(door, own_store, target)
    here = own_store.load_run()["results"][target]
    for name in ("fp32", "int8"):
        assert brought["variants"][name]["accuracy"] == here["variants"][name]["accuracy"]
        assert brought["variants"][name]["predicted"] == here["variants"][name]["predicted"]
    assert len(brought["variants"]["int8"]["latency"]["processes"]) == 2
    assert brought["decoding"] == {"pillow": None, "opencv": None}
    assert len(brought["yardstick"]["latency"]["processes"]) == 2, "timed there beside the others"
    assert brought["images"] == here["images"]
    assert "yardstick" not in brought["variants"]
    assert "decoding with pillow: not compared, it is not here" in done.stderr


def test_the_whole_way_of_tensorrts_bundle_on_a_standin(
    asked: Door, door: Door, own_store: Store, tmp_path: Path
) -> None:
    assert "DEFERRED" in out_of(0, asked(*ASKED, "--target", "tensorrt", "--output", "out", "--max-drop-pp", 30))
    there = carried(tmp_path / "out" / "net-tensorrt.tar.gz", tmp_path / "device")
    assert sorted(path.name for path in (there / "networks").iterdir()) == ["half.onnx", "int8.onnx"]
    for path in (there / "networks").iterdir():
        kinds = {tensor.data_type for tensor in onnx.load(path).graph.initializer}
        assert onnx.TensorProto.FLOAT16 in kinds, "half precision stands in the file"

    checked = deployed(there, "tensorrt", "--check")
    assert checked.returncode == 4
    assert "TensorRT is not here: cannot import tensorrt" in checked.stderr
    assert "JetPack" in checked.stderr

    assert "10.3.0: here" in deployed_on_a_standin(there, "--check").stderr
    done = deployed_on_a_standin(there, "--processes", "2", "--seconds", "1")
    assert done.returncode == 0, done.stderr
    assert (there / "built" / "tensorrt-10.3.0-8.7.timing").is_file()
    assert "fp32" not in done.stdout, "nothing was promised about it"

    left(0, door("verify", "--from", there / "result.json", "--store", own_store.root))
    result = own_store.load_run()["results"]["tensorrt"]
    assert list(result["variants"]) == ["half", "int8"]
    assert result["variants"]["int8"]["precisions"]["i8"] > 0
    assert result["versions"] == {"tensorrt": "10.3.0"}


def test_fp32_goes_along_where_it_is_promised_about_and_takes_nothing_with_it_where_it_cannot_be_built(
    asked: Door, door: Door, own_store: Store, tmp_path: Path, standin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--set", "promises.min_speedup_fp32=1", "--target", "tensorrt", "--output", "out")
    left(0, asked(*ASKED, *words))
    there = tmp_path / "out" / "net-tensorrt"
    networks = sorted(path.name for path in (there / "networks").iterdir())
    assert networks == ["fp32.onnx", "half.onnx", "int8.onnx"]
    standin(version="10.3.0", fails="fp32")
    assert "fp32: left out, it" in err_of(0, deployed_here(capsys, there, *SHORT))
    left(4, door("verify", "--from", there / "result.json", "--store", own_store.root))
    run = own_store.load_run()
    assert list(run["results"]["tensorrt"]["variants"]) == ["half", "int8"]
    (verdict,) = (each for each in run["verdicts"] if each["promise"] == "min_speedup_fp32")
    assert verdict["verdict"] == "NOT_MEASURED"


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_another_precision_ships_alone_and_needs_no_calibration(
    asked: Door, tmp_path: Path, standin: Any, capsys: pytest.CaptureFixture[str], precision: str
) -> None:
    words = ("--evaluation", "digits", "--target", "tensorrt", "--precision", precision, "--output", "out")
    left(0, asked(*words))
    there = tmp_path / "out" / "net-tensorrt"
    assert json.loads((there / "bundle.json").read_text())["candidate"] == {"fp16": "half"}.get(precision, precision)
    standin(version="10.3.0")
    left(0, deployed_here(capsys, there, *SHORT))
    _, err = left(2, asked(*words, "--calibration", "digits"))
    assert f"--calibration with --precision {precision} says nothing" in err


def test_half_precision_that_a_device_has_not_is_told(
    asked: Door, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked("--evaluation", "digits", "--target", "onnxruntime", "--precision", "fp16", "--output", "out")[0] == 0
    _, err = left(4, deployed_here(capsys, tmp_path / "out" / "net-onnxruntime", *SHORT))
    assert "onnxruntime CPU has no half precision on this device" in err


def test_what_is_built_here_is_laid_down_with_its_sidecar(asked: Door, tmp_path: Path) -> None:
    _, err = left(0, asked(*ASKED, "--target", "onnxruntime", "--where", "here", "--output", "out", *QUICK))
    there = tmp_path / "out" / "net-onnxruntime"
    assert f"wrote out/{there.name}/" in err
    assert json.loads((there / "target.json").read_text())["target"] == "onnxruntime"
    assert (there / "model.onnx").is_file()
    assert not there.with_suffix(".tar.gz").exists()
    assert asked(*ASKED, "--target", "onnxruntime", "--where", "here", "--output", "out", *QUICK)[0] == 0, "replaced"


@pytest.mark.parametrize(
    ("target", "where"),
    [
        ("tensorrt", "bundle"),
        pytest.param("openvino", "here", marks=pytest.mark.slow),
        pytest.param("onnxruntime", "bundle", marks=pytest.mark.slow),
        pytest.param("openvino", "bundle", marks=pytest.mark.slow),
        pytest.param("onnxruntime", "here", marks=pytest.mark.slow),
        pytest.param("tensorrt", "here", marks=pytest.mark.slow),
    ],
)
def test_pixels_go_in_as_they_are_decoded(
    asked: Door, door: Door, own_store: Store, tmp_path: Path, standin: Any, capsys: Any, target: str, where: str
) -> None:
    """The same answers as with preprocessing outside, on every target."""
    if target == "tensorrt":
        standin(version="10.3.0")
    short = (*QUICK, "--target", target)
    results = {}
    for taken_as in ("float32", "uint8"):
        left(0, asked(*ASKED, *short, "--where", where, "--input", taken_as, "--output", taken_as))
        if where == "bundle":
            there = tmp_path / taken_as / f"net-{target}"
            left(0, deployed_here(capsys, there, *SHORT))
            assert door("verify", "--from", there / "result.json", "--store", own_store.root)[0] == 0
        results[taken_as] = own_store.load_run()["results"][target]
    both = [results[name]["variants"]["int8"] for name in ("float32", "uint8")]
    assert [each["notes"]["signature"]["pixels"] for each in both] == [False, True]
    assert both[0]["predicted"] == both[1]["predicted"]
    assert both[0]["accuracy"]["sqnr_db"] == pytest.approx(both[1]["accuracy"]["sqnr_db"], abs=0.5)


def asked_here(door: Door, store: Store, target: str) -> tuple[int, str, str]:
    """The same recipe, with the target here."""
    raw = store.load_run()["recipe"]
    raw["targets"] = {target: {}}
    Path("here.yaml").write_text(json.dumps(raw))
    return door("run", "here.yaml", "--store", store.root)


def test_the_same_inputs_give_the_same_bytes(asked: Door, tmp_path: Path) -> None:
    both = ("--target", "onnxruntime", "--target", "tensorrt", "--input", "uint8")
    for name in ("one", "two"):
        left(0, asked(*ASKED, *both, "--output", name, "--store", tmp_path / f"{name}-store"))
    for target in ("onnxruntime", "tensorrt"):
        one, two = (tmp_path / name / f"net-{target}.tar.gz" for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_the_floor_is_carried_verbatim_and_no_more(made: Path) -> None:
    home, there = Path(edgeresnet.__file__).parent, made / "edgeresnet"
    carried_files = [path.relative_to(there) for path in there.rglob("*.py")]
    for path in carried_files:
        assert (there / path).read_bytes() == (home / path).read_bytes()
    assert {path.parts[0] for path in carried_files} == {"__init__.py", "errors.py", "device", "targets"}
    assert not (there / "targets" / "openvino.py").exists()


def test_without_a_target_it_is_one_fp32_file_and_options_that_would_say_nothing_are_refused(
    asked: Door, tmp_path: Path
) -> None:
    assert out_of(0, asked("--evaluation", "digits", "--output", "fp32.onnx")).startswith("wrote fp32.onnx, ")
    onnx.checker.check_model(onnx.load(tmp_path / "fp32.onnx"), full_check=True)
    words = ("--evaluation", "digits", "--calibration", "digits", "--effort", "best", "--output", "x.onnx")
    assert "--calibration, --effort without --target says nothing" in err_of(2, asked(*words))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda there: (there / "networks" / "int8.onnx").write_bytes(b"0"), "networks/int8.onnx has 1 bytes"),
        (lambda there: (there / "labels.txt").unlink(), "labels.txt is missing"),
        (lambda there: (there / "more.py").write_text("1"), "more.py does not belong here"),
        (lambda there: (there / "manifest.json").unlink(), "has no manifest.json"),
    ],
)
def test_a_bundle_that_was_changed_is_refused_in_one_line(
    made: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], object], said: str
) -> None:
    spoil(made)
    out, err = left(2, deployed_here(capsys, made, "--check"))
    assert (out, err.startswith("error: "), said in err) == ("", True, True), err


def test_a_result_that_is_not_the_bundles_is_refused(measured: Exported, door: Door, tmp_path: Path) -> None:
    own_store, found = measured.store, json.loads(measured.result.read_text())

    def home(changed: dict, store: Path = own_store.root) -> str:
        (tmp_path / "r.json").write_text(json.dumps(changed))
        _, err = left(2, door("verify", "--from", "r.json", "--store", store))
        return err

    assert "not as deploy.py wrote it" in home({**found, "measured": 0.0})
    del found["digest"]
    result = found["result"]

    def changed(change: Any) -> str:
        copy = json.loads(json.dumps(found))
        change(copy["result"])
        return home(contents.sealed(copy))

    def hide_the_flips(result: dict) -> None:
        """Answers that are all wrong, counted honestly but for what a promise of the drop is judged by."""
        int8 = result["variants"]["int8"]
        int8["predicted"] = [(label + 1) % 10 for label in result["labels"]]
        agree = sum(a == b for a, b in zip(int8["predicted"], result["reference_predicted"], strict=True))
        int8["accuracy"] |= {"top1": 0, "agree": agree}

    def one_more(result: dict) -> None:
        result["variants"]["int8"]["accuracy"]["top1"] += 1

    assert "does not fit its bundle: its images" in changed(lambda result: result["labels"].reverse())
    for change in (one_more, hide_the_flips):
        assert "int8's counts do not follow from its answers" in changed(change)
    assert "not the network that would ship" in changed(lambda result: result.update(candidate="fp32"))
    assert "its images are not the bundle's" in changed(lambda result: result["classes"].reverse())
    assert "int8 was not timed" in changed(lambda result: result["variants"]["int8"].update(latency=None))
    assert "its networks are not the bundle's" in changed(lambda r: r["variants"].update(more=r["variants"]["int8"]))
    assert "is not whole: KeyError" in changed(lambda result: result["variants"]["int8"].pop("predicted"))
    assert "is not whole: ValueError" in changed(lambda result: result["variants"]["int8"]["predicted"].pop())
    sealed = json.dumps(contents.sealed(found))
    (tmp_path / "r.json").write_text(sealed.replace('"measured": 1', '"measured": NaN, "x": 1', 1))
    assert "not as deploy.py wrote it" in door("verify", "--from", "r.json", "--store", own_store.root)[2]
    for run in own_store.runs():
        shutil.copy(run, run.with_name(f"9{run.name}"))
        run.with_name(f"9{run.name}").write_text("{}")  # a damaged run, the newest, is in nobody's way
    (tmp_path / "r.json").write_text(sealed)
    assert door("verify", "--from", "r.json", "--store", own_store.root)[0] == 0
    for run in own_store.runs():
        run.unlink() if run.name.startswith("9") else None
    assert "which was not made in" in home(contents.sealed({**found, "bundle": "0" * 64}))
    assert "holds another target" in home(contents.sealed({**found, "result": {**result, "target": "openvino"}}))
    assert "there is no" in door("verify", "--from", "none.json", "--store", own_store.root)[2]
    assert "beside --from" in door("verify", "net.onnx", "--from", "r.json", "--store", own_store.root)[2]


def test_a_runtime_that_is_not_there_is_told(made: Path) -> None:
    packages = made.parent / "only-numpy"
    packages.mkdir()
    for name in ("numpy", "numpy.libs"):
        (packages / name).symlink_to(Path(np.__file__).parent.parent / name)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(packages)}
    command = [sys.executable, "-S", "-s", str(made / "deploy.py")]
    found = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert found.returncode == 4
    assert "onnxruntime CPU is not here: cannot import onnxruntime" in found.stderr
    assert "pip install onnxruntime" in found.stderr


def test_without_evaluation_images_nothing_is_said_of_accuracy(
    asked: Door, door: Door, own_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--calibration", "digits", "--count", 40, "--target", "onnxruntime", "--output", "out")
    out, _ = left(4, asked(*words, "--max-drop-pp", 1))
    assert "NOT_MEASURED onnxruntime max_drop_pp: no evaluation images were given" in out
    there = tmp_path / "out" / "net-onnxruntime"
    assert not (there / "evaluation" / "labels.npy").exists()
    assert len(np.load(there / "evaluation" / "expected.npy")) == 16
    left(0, deployed_here(capsys, there, *SHORT))
    result = json.loads((there / "result.json").read_text())["result"]
    assert result["labels"] is None
    assert set(result["variants"]["int8"]["accuracy"]) == {"images", "agree", "sqnr_db"}
    out, _ = left(4, door("verify", "--from", there / "result.json", "--store", own_store.root))
    assert "not known" in out
    assert "without labels no answer is right or wrong" in " ".join(out.split())
    for form in ("md", "json"):
        left(0, door("report", "--format", form, "--store", own_store.root))
    assert "holds a result.json, which would be lost" in err_of(2, asked(*words))
    (there / "result.json").unlink()
    code, _, _ = asked(*words)
    assert code == 0, "nothing is promised about what cannot be known"


def test_what_was_brought_home_is_judged_though_home_has_changed(
    measured: Exported, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another release of a library at home would make another bundle: the one that was measured is judged."""
    own_store = measured.store
    monkeypatch.setattr(machine, "versions", lambda *names: dict.fromkeys(names, "9.9"))
    again = ("verify", "--from", measured.result, "--store", own_store.root)
    out, _ = left(0, door(*again, "--max-drop-pp", 40, "--set", "promises.undecided=fail"))
    assert "KEPT         onnxruntime max_drop_pp" in out
    assert "as written (in onnxruntime)" in out
    run = own_store.load_run()
    assert {step["state"] for step in run["steps"] if step["id"].startswith("verify:onnxruntime")} == {"done"}
    _, err = left(2, door("verify", "--from", measured.result, "--store", own_store.root, "--set", "seed=1"))
    assert "--set seed=1 beside --from says nothing" in err


def test_another_text_of_what_is_carried_is_another_bundle(
    measured: Exported, door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "exported")

    def state() -> str:
        left(0, door("export", "net.onnx", *ASKED, "--target", "onnxruntime", "--output", "again", "--store", "store"))
        steps = measured.store.load_run()["steps"]
        return next(each["state"] for each in steps if each["id"] == "export:onnxruntime")

    assert state() == "done"
    wanted = recipe.parse(measured.store.load_run()["recipe"])

    def asked_for() -> dict[str, Any]:
        (step,) = [step for step in pipeline.steps(wanted, measured.store) if step.id == "export:onnxruntime"]
        return dict(step.spec)

    before, real = asked_for(), manifest.sha256_of
    monkeypatch.setattr(manifest, "sha256_of", lambda path: "0" if path.name == "decoding.py" else real(path))
    assert asked_for() != before, "what it is asked for by, not only what is found there"
    assert state() == "made"


def test_a_twin_that_half_precision_cannot_hold_is_left_out(
    asked: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(model: onnx.ModelProto) -> onnx.ModelProto:
        raise ModelError("the network cannot be written in half precision: 70000 is too large", hint="float32")

    monkeypatch.setattr(deliver, "half", too_large)
    words = ("--target", "tensorrt", "--output", "out", "--set")
    out, _ = left(0, asked(*ASKED, *words, "targets.tensorrt.float_parts=f32"))
    said = " ".join(out.split())
    assert "TensorRT gets no half-precision twin: the network cannot be written in half precision" in said
    assert [path.name for path in (tmp_path / "out" / "net-tensorrt" / "networks").iterdir()] == ["int8.onnx"]
    _, err = left(2, asked(*ASKED, *words, "targets.tensorrt.float_parts=f16"))  # INT8's float part would ship
    assert "cannot be written in half precision" in err


def test_a_candidates_weights_go_along(
    door: Door, own_store: Store, net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(onnx.load(net), "apart.onnx", save_as_external_data=True, location="apart.bin", size_threshold=0)
    raw = {
        "version": 1,
        "model": {"checkpoint": "net.onnx", "candidate": "apart.onnx"},
        "preprocessing": {"size": 8, "mean": [0.305], "std": [0.376]},
        "images": {"evaluation": "digits"},
        "targets": {"onnxruntime": {"where": "bundle"}},
    }
    Path("r.yaml").write_text(json.dumps(raw))
    left(0, door("run", "r.yaml", "--store", own_store.root))
    (step,) = [step for step in own_store.load_run()["steps"] if step["stage"] == "export"]
    there = Path(step["path"]) / "bundle"
    shutil.copytree(there, tmp_path / "device")
    assert not onnx_file.read(tmp_path / "device" / "networks" / "candidate.onnx").external
    left(0, deployed_here(capsys, tmp_path / "device", *SHORT))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--processes", "0"), "must be at least 1"),
        (("--rebuilds", "0"), "must be at least 1"),
        (("--seconds", "-1"), "must be more than 0"),
        (("--output", "nowhere/r.json"), "there is no folder nowhere"),
    ],
)
def test_a_slip_of_the_pen_on_the_device_is_told_before_anything_is_built(
    made: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert said in err_of(2, deployed_here(capsys, made, *words))
    assert not (made / "built").exists()


def test_what_is_built_anew_is_judged_by_its_worst(
    asked: Door, door: Door, own_store: Store, tmp_path: Path, standin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--target", "tensorrt", "--output", "out", "--rebuilds", 3, "--set", "promises.max_flips_pct=0.1")
    assert asked(*ASKED, *words)[0] == 0
    there = tmp_path / "out" / "net-tensorrt"
    standin(version="10.3.0", fails="varies")
    left(0, deployed_here(capsys, there, *SHORT))
    assert sorted(path.name for path in (there / "built").glob("int8*")) == ["int8", "int8#2", "int8#3"]
    result = json.loads((there / "result.json").read_text())["result"]
    builds = [result["variants"]["int8"], *result["rebuilds"]]
    agree = [build["accuracy"]["agree"] for build in builds]
    assert len(set(agree)) > 1, "the stand-in builds another engine each time"
    out, _ = left(3, door("verify", "--from", there / "result.json", "--store", own_store.root))
    (verdict,) = own_store.load_run()["verdicts"]
    images = builds[0]["accuracy"]["images"]
    assert verdict["value"] == pytest.approx(100 * (1 - min(agree) / images))
    assert verdict["reason"].endswith("; worst of 3 builds")
    assert "built 3 times" in out
    left(0, deployed_here(capsys, there, *SHORT, "--rebuilds", "1"))
    assert "rebuilds" not in json.loads((there / "result.json").read_text())["result"]
    _, err = left(2, door("verify", "--from", there / "result.json", "--store", own_store.root))
    assert "what would ship was built 1 times, and 3 were asked for" in " ".join(err.split())


def test_an_archive_depends_on_names_and_bytes_alone(tmp_path: Path) -> None:
    for name, stamp in (("one", 1), ("two", 2)):
        (tmp_path / name / "inner").mkdir(parents=True)
        for file in ("b.txt", "inner/a.txt") if stamp == 1 else ("inner/a.txt", "b.txt"):
            (tmp_path / name / file).write_text(file)
            os.utime(tmp_path / name / file, (stamp, stamp))
    for name in ("one", "two"):
        archive(tmp_path / name, "x", tmp_path / f"{name}.tar.gz")
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()


def test_an_older_python_is_told_so_in_one_line() -> None:
    """No such Python is here: the file is read as an old one would, and its check is run with another version."""
    text = (Path(edgeresnet.__file__).parent / "handover" / "deploy.py").read_text()
    ast.parse(text, feature_version=(3, 4))
    assert "f'" not in text
    assert 'f"' not in text
    code = (
        f"import sys; sys.version_info = (3, 8, 1); exec(compile({text!r}, 'deploy.py', 'exec'), {{'__file__': 'x'}})"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert found.stderr == "error: deploy.py needs Python 3.10 or newer, this is 3.8 (try python3.10)\n"


def test_what_the_device_decodes_itself_is_held_against_home(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With Pillow, which home uses, there is no difference."""
    left(0, deployed_here(capsys, made, *SHORT))
    about = json.loads((made / "result.json").read_text())["result"]["decoding"]["pillow"]
    assert about == {"images": 16, "mean_levels": 0.0, "largest_levels": 0, "answers_changed": 0}


def test_the_python_example_answers_a_photograph(measured: Exported) -> None:
    made = measured.bundle
    photograph = sorted((made / "samples").glob("*.jpg"))[3]
    with tempfile.TemporaryDirectory() as folder:
        environment = bare(Path(folder), "onnxruntime", "PIL", "pillow.libs")
        command = [sys.executable, "-S", "-s", str(made / "examples" / "example.py"), str(photograph)]
        found = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert len(lines) == 3
    logits = [float(line.split(": ")[1]) for line in lines]
    assert logits == sorted(logits, reverse=True)
    assert manifest.problems(made, manifest.read(made), ("built/*", "result.json")) == []  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("taken_as", ["float32", "uint8"])
def test_the_cpp_example_answers_as_python_does(asked: Door, tmp_path: Path, taken_as: str) -> None:
    """OpenVINO's wheel brings its headers along; those of the other runtimes are not to be had from PyPI."""
    import openvino

    assert asked(*ASKED, "--target", "openvino", "--input", taken_as, "--output", "out")[0] == 0
    there = tmp_path / "out" / "net-openvino"
    assert deployed(there, "openvino", "--processes", "1", "--seconds", "0.2").returncode == 0
    package = Path(openvino.__file__).parent
    (library,) = (package / "libs").glob("libopenvino.so*")
    command = ["c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-isystem", str(package / "include")]
    command += ["examples/openvino.cpp", "-o", "built/example", str(library)]
    subprocess.run(command, cwd=there, check=True)
    libraries = os.pathsep.join([str(package / "libs"), os.environ.get("LD_LIBRARY_PATH", "")])
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries}
    found = subprocess.run(["built/example"], cwd=there, env=environment, capture_output=True, text=True, check=True)
    held = contents.Bundle(there, "", json.loads((there / "bundle.json").read_text()))
    from edgeresnet import targets

    with targets.get("openvino").load(there / "built" / "int8") as session:
        pixels = np.load(there / "samples" / "pixels.npy")
        given = pixels if taken_as == "uint8" else held.preprocessing.normalize(pixels)
        logits = np.concatenate([session.infer(given[at : at + 1]) for at in range(len(given))])
    expected = [f"image {at}: {held.about['classes'][row.argmax()]} ({row.max():.6g})" for at, row in enumerate(logits)]
    assert found.stdout.splitlines() == expected
