"""`edgeresnet export`, and the whole way of a bundle: made here, carried to another folder, measured by a Python that
has numpy and the runtime and nothing else, collected and judged.
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
from typing import Any, get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import edgeresnet
from edgeresnet import models, pipeline, recipe
from edgeresnet.errors import ModelError
from edgeresnet.graph import deliver
from edgeresnet.images import sources
from edgeresnet.notes import TraceNotes
from edgeresnet.portable import manifest, onnx_file
from edgeresnet.portable.tasks import TaskName
from edgeresnet.stages.export import contents, write
from edgeresnet.stages.export.write import archive
from edgeresnet.store import Store

from ..conftest import folder_of, result_of, step_of
from .conftest import Command, Exported, err_of, expect, out_of
from .deployed import ASKED, SHORT, bare, deployed, deployed_here, deployed_on_a_standin

QUICK = ("--set", "verify.processes=2", "--set", "verify.seconds=1")


@pytest.fixture
def export(command: Command, own_store: Store, net: Path) -> Command:
    return lambda *rest: command("export", "net.onnx", "--store", own_store.root, *rest)


def carried(packed: Path, where: Path) -> Path:
    """Unpack it in another folder, as a person at the device does."""
    where.mkdir()
    with tarfile.open(packed) as tar:
        tar.extractall(where, filter="data") if sys.version_info >= (3, 12) else tar.extractall(where)
    return next(path for path in where.iterdir() if path.is_dir())


@pytest.mark.parametrize("target", ["onnxruntime", pytest.param("openvino", marks=pytest.mark.slow)])
def test_the_whole_way_of_a_bundle(
    export: Command, command: Command, own_store: Store, tmp_path: Path, target: str
) -> None:
    out, err = expect(0, export(*ASKED, *QUICK, "--target", target, "--output", "bundles", "--max-drop-pp", 30))
    assert "DEFERRED" in out
    assert f"wrote bundles/net-{target}/ and bundles/net-{target}.tar.gz" in err
    there = carried(tmp_path / "bundles" / f"net-{target}.tar.gz", tmp_path / "device")

    checked = deployed(there, target, "--check")
    assert checked.returncode == 0, checked.stderr
    assert ": complete; net.onnx for " in checked.stderr
    assert not (there / "built").exists()

    done = deployed(there, target)
    assert done.returncode == 0, done.stderr
    assert "int8" in done.stdout
    config = (there / "serve" / "triton" / "net" / "config.pbtxt").read_text()
    file = config.split('default_model_filename: "')[1].split('"')[0]
    assert (there / "built" / "int8" / file).is_file(), "a server finds what was built"
    assert "## Serve it" in (there / "README.md").read_text()
    assert manifest.problems(there, manifest.read(there), ("built/*", "result.json")) == []

    shutil.copy(there / "result.json", tmp_path / "collected.json")
    assert "KEPT" in out_of(0, command("collect", "collected.json", "--store", own_store.root))
    collected = result_of(own_store.load_run(), target)
    # the same accuracy as where it was made: the same runtime computes it
    run_here(command, own_store, target)
    here = result_of(own_store.load_run(), target)
    for name in ("fp32", "int8"):
        assert collected.variants[name].accuracy == here.variants[name].accuracy
        assert collected.variants[name].predicted == here.variants[name].predicted
    latency = collected.variants["int8"].latency
    assert latency is not None
    assert len(latency.processes) == 2
    assert collected.decoding == {"pillow": None, "opencv": None}
    assert collected.yardstick is not None
    assert collected.yardstick.latency is not None
    assert len(collected.yardstick.latency.processes) == 2, "timed there in turn with the others"
    assert collected.images == here.images
    assert "yardstick" not in collected.variants
    assert "decoding with pillow: not compared: it is not installed" in done.stderr


@pytest.mark.slow
def test_the_whole_way_of_tensorrts_bundle_on_a_standin(
    export: Command, command: Command, own_store: Store, tmp_path: Path
) -> None:
    assert "DEFERRED" in out_of(0, export(*ASKED, "--target", "tensorrt", "--output", "out", "--max-drop-pp", 30))
    there = carried(tmp_path / "out" / "net-tensorrt.tar.gz", tmp_path / "device")
    assert sorted(path.name for path in (there / "networks").iterdir()) == ["half.onnx", "int8.onnx"]
    for path in (there / "networks").iterdir():
        kinds = {tensor.data_type for tensor in onnx.load(path).graph.initializer}
        assert onnx.TensorProto.FLOAT16 in kinds, "half precision is written in the file"

    checked = deployed(there, "tensorrt", "--check")
    assert checked.returncode == 4
    assert "TensorRT cannot be used here: cannot import tensorrt" in checked.stderr
    assert "JetPack" in checked.stderr

    assert "10.3.0: here" in deployed_on_a_standin(there, "--check").stderr
    done = deployed_on_a_standin(there, "--processes", "2", "--seconds", "1")
    assert done.returncode == 0, done.stderr
    assert (there / "built" / "tensorrt-10.3.0-8.7.timing").is_file()
    assert "fp32" not in done.stdout, "no promise needs it"

    expect(0, command("collect", there / "result.json", "--store", own_store.root))
    result = result_of(own_store.load_run(), "tensorrt")
    assert list(result.variants) == ["half", "int8"]
    assert result.variants["int8"].precisions["i8"] > 0
    assert result.versions == {"tensorrt": "10.3.0"}


def test_fp32_goes_along_where_a_promise_needs_it_and_is_left_out_where_it_cannot_be_built(
    export: Command,
    command: Command,
    own_store: Store,
    tmp_path: Path,
    standin: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("--set", "promises.min_speedup_fp32=1", "--target", "tensorrt", "--output", "out")
    expect(0, export(*ASKED, *words))
    there = tmp_path / "out" / "net-tensorrt"
    networks = sorted(path.name for path in (there / "networks").iterdir())
    assert networks == ["fp32.onnx", "half.onnx", "int8.onnx"]
    standin(version="10.3.0", fails="fp32")
    assert "fp32: left out: fp32.onnx cannot be buil" in err_of(0, deployed_here(capsys, there, *SHORT))
    expect(4, command("collect", there / "result.json", "--store", own_store.root))
    run = own_store.load_run()
    assert list(result_of(run, "tensorrt").variants) == ["half", "int8"]
    (verdict,) = (each for each in run.verdicts if each.promise.name == "min_speedup_fp32")
    assert verdict.verdict == "NOT_MEASURED"


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_another_precision_ships_alone_and_needs_no_calibration(
    export: Command, tmp_path: Path, standin: Any, capsys: pytest.CaptureFixture[str], precision: str
) -> None:
    words = ("--evaluation", "digits", "--target", "tensorrt", "--precision", precision, "--output", "out")
    expect(0, export(*words))
    there = tmp_path / "out" / "net-tensorrt"
    assert json.loads((there / "bundle.json").read_text())["candidate"] == {"fp16": "half"}.get(precision, precision)
    standin(version="10.3.0")
    expect(0, deployed_here(capsys, there, *SHORT))
    _, err = expect(2, export(*words, "--calibration", "digits"))
    assert f"--calibration cannot be combined with --precision {precision}" in err


def test_half_precision_that_a_device_lacks_is_reported(
    export: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export("--evaluation", "digits", "--target", "onnxruntime", "--precision", "fp16", "--output", "out")[0] == 0
    _, err = expect(4, deployed_here(capsys, tmp_path / "out" / "net-onnxruntime", *SHORT))
    assert "onnxruntime CPU has no half precision on this device" in err


def test_what_is_built_here_is_exported_with_its_sidecar(export: Command, tmp_path: Path) -> None:
    _, err = expect(0, export(*ASKED, "--target", "onnxruntime", "--where", "here", "--output", "out", *QUICK))
    there = tmp_path / "out" / "net-onnxruntime"
    assert f"wrote out/{there.name}/" in err
    assert json.loads((there / "target.json").read_text())["target"] == "onnxruntime"
    assert (there / "model.onnx").is_file()
    assert not there.with_suffix(".tar.gz").exists()
    assert export(*ASKED, "--target", "onnxruntime", "--where", "here", "--output", "out", *QUICK)[0] == 0, "replaced"


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
    export: Command,
    command: Command,
    own_store: Store,
    tmp_path: Path,
    standin: Any,
    capsys: Any,
    target: str,
    where: str,
) -> None:
    """Compare the answers with those of preprocessing outside, on every target: they are the same."""
    if target == "tensorrt":
        standin(version="10.3.0")
    short = (*QUICK, "--target", target)
    results = {}
    for input_type in ("float32", "uint8"):
        expect(0, export(*ASKED, *short, "--where", where, "--input", input_type, "--output", input_type))
        if where == "bundle":
            there = tmp_path / input_type / f"net-{target}"
            expect(0, deployed_here(capsys, there, *SHORT))
            assert command("collect", there / "result.json", "--store", own_store.root)[0] == 0
        results[input_type] = result_of(own_store.load_run(), target).variants["int8"]
    floats, pixels = results["float32"], results["uint8"]
    assert [each.notes.signature.pixels for each in (floats, pixels)] == [False, True]
    assert floats.predicted == pixels.predicted
    assert floats.accuracy.sqnr_db == pytest.approx(pixels.accuracy.sqnr_db, abs=0.5)


def run_here(command: Command, store: Store, target: str) -> None:
    """Run the newest run's recipe with the target on this machine."""
    Path("here.yaml").write_text(json.dumps({**store.load_run().recipe, "targets": {target: {}}}))
    command("run", "here.yaml", "--store", store.root)


@pytest.mark.usefixtures("fresh_exports")
def test_the_same_inputs_give_the_same_bytes(export: Command, tmp_path: Path) -> None:
    both = ("--target", "onnxruntime", "--target", "tensorrt", "--input", "uint8")
    for name in ("one", "two"):
        expect(0, export(*ASKED, *both, "--output", name, "--store", tmp_path / f"{name}-store"))
    for target in ("onnxruntime", "tensorrt"):
        one, two = (tmp_path / name / f"net-{target}.tar.gz" for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_what_devices_need_is_carried_verbatim_and_no_more(made: Path) -> None:
    package, there = Path(edgeresnet.__file__).parent, made / "edgeresnet"
    carried_files = [path.relative_to(there) for path in there.rglob("*.py")]
    for path in carried_files:
        assert (there / path).read_bytes() == (package / path).read_bytes()
    assert {path.parts[0] for path in carried_files} == {"__init__.py", "errors.py", "portable", "stages", "targets"}
    assert not (there / "targets" / "openvino.py").exists()
    roots = [there / "stages/export/on_device.py", there / "targets/onnxruntime.py", made / "examples" / "example.py"]
    roots += [there / "portable/tasks" / f"{task}.py" for task in get_args(TaskName)]  # by their names
    portable = {path.relative_to(there / "portable") for path in (there / "portable").rglob("*.py")}
    given = {path.relative_to(there / "portable") for path in roots if "portable" in path.parts}
    every = {path for path in portable if path.name != "__init__.py"}
    assert every == _portable_of(roots, there) | given, "all that a device imports, and nothing else"


def _portable_of(files: list[Path], package: Path) -> set[Path]:
    """Return the files of `portable` that these import, directly or not."""
    found: set[Path] = set()
    left = [*files, *(package / "targets").glob("_*.py")]
    while left:
        path = left.pop()
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom):
                continue
            base = path.parents[node.level - 1] if node.level else package.parent
            module = base.joinpath(*(node.module or "").split(".")) if node.module else base
            names = [module.with_suffix(".py"), *(module / f"{alias.name}.py" for alias in node.names)]
            known = {each.relative_to(package / "portable") for each in names if _is_portable(each, package)}
            left += [package / "portable" / each for each in known - found]
            found |= known
    return found


def _is_portable(path: Path, package: Path) -> bool:
    return path.is_file() and path.is_relative_to(package / "portable")


def test_without_a_target_it_is_one_fp32_file_and_options_without_effect_are_refused(
    export: Command, tmp_path: Path
) -> None:
    assert out_of(0, export("--evaluation", "digits", "--output", "fp32.onnx")).startswith("wrote fp32.onnx, ")
    onnx.checker.check_model(onnx.load(tmp_path / "fp32.onnx"), full_check=True)
    words = ("--evaluation", "digits", "--calibration", "digits", "--effort", "best", "--output", "x.onnx")
    assert "--effort cannot be given without --target" in err_of(2, export(*words))


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A folder of images without class folders."""
    folder = tmp_path / "plain"
    folder.mkdir()
    digits = sources.digits(evaluation=False)
    for index in range(20):
        digits.open(index).save(folder / f"{index:02}.png")
    return folder


NOISE = "no images were given: the ONNX file was compared with its original on noise"


def traces(store: Store) -> list[tuple[int, list[str]]]:
    """Return of each trace on how many images it was compared, and what it warned of."""
    found = [
        (each.notes.parity_images, [warning.code for warning in each.manifest.warnings])
        for each in store.artifacts()
        if isinstance(each.notes, TraceNotes)
    ]
    return sorted(found)


@pytest.mark.parametrize("option", ["--evaluation", "--calibration"])
def test_without_a_target_images_need_no_labels_and_noise_is_never_taken_for_them(
    export: Command, tmp_path: Path, plain: Path, option: str
) -> None:
    """A file that was compared on noise alone is compared again once there are images."""
    store = Store.open(tmp_path / "fresh")
    to = ("--output", "fp32.onnx", "--store", store.root)
    assert err_of(0, export(*to)).count(NOISE) == 1
    first = (tmp_path / "fp32.onnx").read_bytes()
    onnx.checker.check_model(onnx.load(tmp_path / "fp32.onnx"), full_check=True)
    assert err_of(0, export(*to)).count(NOISE) == 1, "it is said again, for the answer is a stored one"
    assert traces(store) == [(16, ["parity-on-noise"])]
    assert NOISE not in err_of(0, export(*to, option, plain))
    assert traces(store) == [(16, []), (16, ["parity-on-noise"])]
    assert onnx_file.read(tmp_path / "fp32.onnx").outputs == onnx_file.read(tmp_path / "net.onnx").outputs
    assert len((tmp_path / "fp32.onnx").read_bytes()) == pytest.approx(len(first), rel=0.01)


def test_a_checkpoint_is_exported_without_images(command: Command, tmp_path: Path) -> None:
    torch.save(models.build("cifar_resnet8", 10, 1).state_dict(), "w.pth")
    prepared = ("--size", 8, "--mean", 0.3, "--std", 0.4)
    _, err = expect(0, command("export", "w.pth", *prepared, "--output", "w.onnx"))
    assert NOISE in err
    session = onnxruntime.InferenceSession("w.onnx", providers=["CPUExecutionProvider"])
    assert session.run(None, {"image": np.zeros((3, 1, 8, 8), np.float32)})[0].shape == (3, 10)


def test_a_bundle_that_needs_no_calibration_needs_no_images(
    export: Command, command: Command, own_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = ("--target", "onnxruntime", "--output", "out")
    err = err_of(2, export(*to))
    assert err == (
        "error: net.onnx needs --calibration too (name a folder of images: INT8 ranges are measured on them)\n"
    )
    _, err = expect(0, export(*to, "--precision", "fp32"))
    assert err.count(NOISE) == 1
    there = tmp_path / "out" / "net-onnxruntime"
    assert not (there / "evaluation" / "labels.npy").exists()
    expect(0, deployed_here(capsys, there, *SHORT))
    expect(0, command("collect", there / "result.json", "--store", own_store.root))
    (there / "result.json").unlink()
    expect(4, export(*to, "--precision", "fp32", "--max-drop-pp", 1))


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda there: (there / "networks" / "int8.onnx").write_bytes(b"0"), "networks/int8.onnx has 1 bytes"),
        (lambda there: (there / "labels.txt").unlink(), "labels.txt is missing"),
        (lambda there: (there / "more.py").write_text("1"), "more.py is not in the manifest"),
        (lambda there: (there / "manifest.json").unlink(), "has no manifest.json"),
    ],
)
def test_a_bundle_that_was_changed_is_refused_in_one_line(
    made: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], object], problem: str
) -> None:
    spoil(made)
    out, err = expect(2, deployed_here(capsys, made, "--check"))
    assert (out, err.startswith("error: "), problem in err) == ("", True, True), err


def test_a_runtime_that_is_not_there_is_reported(made: Path) -> None:
    packages = made.parent / "only-numpy"
    packages.mkdir()
    for name in ("numpy", "numpy.libs"):
        (packages / name).symlink_to(Path(np.__file__).parent.parent / name)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(packages)}
    command = [sys.executable, "-S", "-s", str(made / "deploy.py")]
    found = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert found.returncode == 4
    assert "onnxruntime CPU cannot be used here: cannot import onnxruntime" in found.stderr
    assert "pip install onnxruntime" in found.stderr


def test_without_evaluation_images_accuracy_is_not_known(
    export: Command, command: Command, own_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--calibration", "digits", "--count", 40, "--target", "onnxruntime", "--output", "out")
    out, _ = expect(4, export(*words, "--max-drop-pp", 1))
    assert "! max_drop_pp 1: not measured: accuracy needs evaluation images" in out
    there = tmp_path / "out" / "net-onnxruntime"
    assert not (there / "evaluation" / "labels.npy").exists()
    assert len(np.load(there / "evaluation" / "expected.npy")) == 16
    expect(0, deployed_here(capsys, there, *SHORT))
    result = json.loads((there / "result.json").read_text())["result"]
    assert result["labels"] is None
    assert set(result["variants"]["int8"]["accuracy"]) == {"images", "agree", "sqnr_db"}
    out, _ = expect(4, command("collect", there / "result.json", "--store", own_store.root))
    assert "16 images without labels" in out
    assert "without labels" in " ".join(out.split())
    for form in ("md", "json"):
        expect(0, command("report", "--format", form, "--store", own_store.root))
    assert "holds a result.json, which would be lost" in err_of(2, export(*words))
    (there / "result.json").unlink()
    code, _, _ = export(*words)
    assert code == 0, "nothing is promised about what cannot be known"


def test_another_text_of_what_is_carried_is_another_bundle(
    measured: Exported, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "exported")

    def state() -> str:
        expect(
            0, command("export", "net.onnx", *ASKED, "--target", "onnxruntime", "--output", "again", "--store", "store")
        )
        return step_of(measured.store.load_run(), "export:onnxruntime").state

    assert state() == "done"
    wanted = recipe.parse(dict(measured.store.load_run().recipe))

    def spec() -> dict[str, object]:
        steps = pipeline.plan(pipeline.resolve(wanted, measured.store))
        (step,) = [step for step in steps if str(step.id) == "export:onnxruntime"]
        return step.spec.to_json()

    before, real, reworded = spec(), manifest.sha256_of, {"judging.py", "readings.py"}
    monkeypatch.setattr(manifest, "sha256_of", lambda path: "0" if path.name in reworded else real(path))
    assert spec() == before, "a verdict in other words is the same bundle: it is judged here"
    assert state() == "done"
    reworded.add("decoding.py")
    assert spec() != before, "its key is another, not only its content"
    assert state() == "made"


def test_a_target_without_an_example_in_cpp(monkeypatch: pytest.MonkeyPatch) -> None:
    def examples() -> set[str]:
        return {Path(name).name for name in write.carried_files("onnxruntime") if name.startswith("examples/")}

    assert examples() == {"example.py", "bundle.hpp", "onnxruntime.cpp"}
    before = write.carried_digest("onnxruntime")
    monkeypatch.setattr(write, "_CPP", {"onnxruntime": "not-written-yet"})
    assert examples() == {"example.py"}
    assert write.carried_digest("onnxruntime") != before


def test_a_half_precision_variant_that_cannot_be_written_is_left_out(
    export: Command, command: Command, own_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(model: onnx.ModelProto) -> onnx.ModelProto:
        raise ModelError("the network", "cannot be converted to half precision: 70000 is too large", hint="float32")

    monkeypatch.setattr(deliver, "half", too_large)
    words = ("--target", "tensorrt", "--output", "out", "--set")
    expect(0, export(*ASKED, *words, "targets.tensorrt.float_parts=f32"))
    text = " ".join(out_of(0, command("report", "--notes", "--store", own_store.root)).split())
    assert "the network cannot be converted to half precision" in text
    assert [path.name for path in (tmp_path / "out" / "net-tensorrt" / "networks").iterdir()] == ["int8.onnx"]
    _, err = expect(2, export(*ASKED, *words, "targets.tensorrt.float_parts=f16"))  # INT8's float part would ship
    assert "cannot be converted to half precision" in err


def test_a_candidates_weights_go_along(
    command: Command, own_store: Store, net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
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
    expect(0, command("run", "r.yaml", "--store", own_store.root))
    (step,) = [step for step in own_store.load_run().steps if step.stage == "export"]
    there = folder_of(own_store.load_run(), step.id) / "bundle"
    shutil.copytree(there, tmp_path / "device")
    assert not onnx_file.read(tmp_path / "device" / "networks" / "candidate.onnx").external
    expect(0, deployed_here(capsys, tmp_path / "device", *SHORT))


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--processes", "0"), "must be at least 1"),
        (("--rebuilds", "0"), "must be at least 1"),
        (("--seconds", "-1"), "must be more than 0"),
        (("--output", "nowhere/r.json"), "nowhere does not exist"),
    ],
)
def test_a_mistyped_option_on_the_device_is_reported_before_anything_is_built(
    made: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], problem: str
) -> None:
    assert problem in err_of(2, deployed_here(capsys, made, *words))
    assert not (made / "built").exists()


@pytest.mark.slow
def test_what_is_built_again_is_judged_by_its_worst(
    export: Command,
    command: Command,
    own_store: Store,
    tmp_path: Path,
    standin: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("--target", "tensorrt", "--output", "out", "--rebuilds", 3, "--set", "promises.max_flips_pct=0.1")
    assert export(*ASKED, *words)[0] == 0
    there = tmp_path / "out" / "net-tensorrt"
    standin(version="10.3.0", fails="varies")
    expect(0, deployed_here(capsys, there, *SHORT))
    assert sorted(path.name for path in (there / "built").glob("int8*")) == ["int8", "int8#2", "int8#3"]
    result = json.loads((there / "result.json").read_text())["result"]
    builds = [result["variants"]["int8"], *result["rebuilds"]]
    agree = [build["accuracy"]["agree"] for build in builds]
    assert len(set(agree)) > 1, "the stand-in builds another engine each time"
    out, _ = expect(3, command("collect", there / "result.json", "--store", own_store.root))
    (verdict,) = own_store.load_run().verdicts
    images = builds[0]["accuracy"]["images"]
    assert verdict.value == pytest.approx(100 * (1 - min(agree) / images))
    assert verdict.reason.endswith("; worst of 3 builds")
    assert ", worst of 3" in out
    assert "built 3 times" in out_of(0, command("report", "--notes", "--store", own_store.root))
    expect(0, deployed_here(capsys, there, *SHORT, "--rebuilds", "1"))
    assert "rebuilds" not in json.loads((there / "result.json").read_text())["result"]
    _, err = expect(2, command("collect", there / "result.json", "--store", own_store.root))
    assert "what would ship was built 1 times, and the bundle wants 3" in " ".join(err.split())


def test_an_archive_depends_on_names_and_bytes_alone(tmp_path: Path) -> None:
    for name, stamp in (("one", 1), ("two", 2)):
        (tmp_path / name / "inner").mkdir(parents=True)
        for file in ("b.txt", "inner/a.txt") if stamp == 1 else ("inner/a.txt", "b.txt"):
            (tmp_path / name / file).write_text(file)
            os.utime(tmp_path / name / file, (stamp, stamp))
    for name in ("one", "two"):
        archive(tmp_path / name, "x", tmp_path / f"{name}.tar.gz")
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()


def test_an_older_python_gets_one_line() -> None:
    """Read the file as an old Python would, and run its check with another version: no such Python is here."""
    text = (Path(edgeresnet.__file__).parent / "stages" / "export" / "carried" / "deploy.py").read_text()
    ast.parse(text, feature_version=(3, 4))
    assert "f'" not in text
    assert 'f"' not in text
    code = (
        f"import sys; sys.version_info = (3, 8, 1); exec(compile({text!r}, 'deploy.py', 'exec'), {{'__file__': 'x'}})"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert found.stderr == "error: deploy.py needs Python 3.10 or newer, this is 3.8 (try python3.10)\n"


def test_what_the_device_decodes_itself_is_compared_with_the_host(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Find no difference with Pillow, which the host uses too."""
    expect(0, deployed_here(capsys, made, *SHORT))
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
    assert manifest.problems(made, manifest.read(made), ("built/*", "result.json")) == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("input_type", ["float32", "uint8"])
def test_the_cpp_example_answers_as_python_does(export: Command, tmp_path: Path, input_type: str) -> None:
    """Build it for OpenVINO, whose wheel has its headers; PyPI does not have those of the other runtimes."""
    import openvino

    assert export(*ASKED, "--target", "openvino", "--input", input_type, "--output", "out")[0] == 0
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
    held = contents.Bundle(there, "", contents.read_about(there))
    from edgeresnet import targets

    with targets.get("openvino").load(there / "built" / "int8") as session:
        pixels = np.load(there / "samples" / "pixels.npy")
        given = pixels if input_type == "uint8" else held.preprocessing.normalize(pixels)
        logits = np.concatenate([session.infer(given[at : at + 1]) for at in range(len(given))])
    expected = [f"image {at}: {held.about.classes[row.argmax()]} ({row.max():.6g})" for at, row in enumerate(logits)]
    assert found.stdout.splitlines() == expected
