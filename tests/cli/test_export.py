"""The door `export`, and the whole way of a bundle: made here, carried elsewhere, measured by a Python that has numpy
and the runtime and nothing else, brought home and judged.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeresnet.artifact import Store
from edgeresnet.device import bundle, manifest
from edgeresnet.export import archive

from .conftest import Door

TARGETS = ["onnxruntime", "openvino"]
ASKED = ("--calibration", "digits", "--count", 40, "--evaluation", "digits")
NEEDED = {"onnxruntime": ("onnxruntime",), "openvino": ("openvino",)}


@pytest.fixture
def asked(door: Door, own_store: Store, net: Path) -> Door:
    return lambda *rest: door("export", "net.onnx", "--store", own_store.root, *rest)


def bare(folder: Path, target: str, *more: str) -> dict[str, str]:
    """An environment whose only packages are numpy and the runtime, with what these need: no edgeresnet, no torch."""
    home = Path(np.__file__).parent.parent
    packages = folder / "packages"
    packages.mkdir()
    for name in ("numpy", "numpy.libs", "flatbuffers", "google", *NEEDED[target], *more):
        if (home / name).is_dir():
            (packages / name).symlink_to(home / name)
    for about in home.glob(f"{target}-*.dist-info"):
        (packages / about.name).symlink_to(about)
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(packages), "HOME": str(folder)}


def deployed(there: Path, target: str, *words: str, more: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    """`-S` and `-s`: no site-packages but those that were put there."""
    with tempfile.TemporaryDirectory() as folder:
        environment = bare(Path(folder), target, *more)
        command = [sys.executable, "-S", "-s", str(there / "deploy.py"), *words]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)


def carried(packed: Path, where: Path) -> Path:
    """Unpacked in another folder, as a person at the device does."""
    where.mkdir()
    with tarfile.open(packed) as tar:
        tar.extractall(where, filter="data") if sys.version_info >= (3, 12) else tar.extractall(where)
    return next(path for path in where.iterdir() if path.is_dir())


@pytest.mark.parametrize("target", TARGETS)
def test_the_whole_way_of_a_bundle(asked: Door, door: Door, own_store: Store, tmp_path: Path, target: str) -> None:
    code, out, err = asked(*ASKED, "--target", target, "--output", "bundles", "--max-drop-pp", 30)
    assert code == 0, err
    assert "DEFERRED" in out
    assert f"wrote bundles/net-{target}/ and bundles/net-{target}.tar.gz" in err
    there = carried(tmp_path / "bundles" / f"net-{target}.tar.gz", tmp_path / "device")

    checked = deployed(there, target, "--check")
    assert checked.returncode == 0, checked.stderr
    assert "whole" in checked.stderr
    assert not (there / "built").exists()

    done = deployed(there, target, "--processes", "2", "--seconds", "1")
    assert done.returncode == 0, done.stderr
    assert "int8" in done.stdout
    assert manifest.problems(there, manifest.read(there), ("built", "result.json")) == []  # type: ignore[arg-type]

    shutil.copy(there / "result.json", tmp_path / "brought.json")
    code, out, err = door("verify", "--from", "brought.json", "--store", own_store.root)
    assert code == 0, err
    assert "KEPT" in out
    run = own_store.load_run()
    brought = run["results"][target]
    # the same accuracy as where it was made: the same runtime computes it
    code, out, err = asked_here(door, own_store, target)
    here = own_store.load_run()["results"][target]
    for name in ("fp32", "int8"):
        assert brought["variants"][name]["accuracy"] == here["variants"][name]["accuracy"]
        assert brought["variants"][name]["predicted"] == here["variants"][name]["predicted"]
    assert len(brought["variants"]["int8"]["latency"]["processes"]) == 2
    assert brought["decoding"] == {"pillow": None, "opencv": None}
    assert "decoding with pillow: not compared, it is not here" in done.stderr


def asked_here(door: Door, store: Store, target: str) -> tuple[int, str, str]:
    """The same recipe, with the target here."""
    raw = store.load_run()["recipe"]
    raw["targets"] = {target: {}}
    Path("here.yaml").write_text(json.dumps(raw))
    return door("run", "here.yaml", "--store", store.root)


def test_the_same_inputs_give_the_same_bytes(asked: Door, tmp_path: Path) -> None:
    for name in ("one", "two"):
        code, _, err = asked(*ASKED, "--target", "onnxruntime", "--output", name, "--store", tmp_path / f"{name}-store")
        assert code == 0, err
    one, two = (tmp_path / name / "net-onnxruntime.tar.gz" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_the_floor_is_carried_verbatim_and_no_more(asked: Door, tmp_path: Path) -> None:
    import edgeresnet

    assert asked(*ASKED, "--target", "onnxruntime", "--output", "out")[0] == 0
    there = tmp_path / "out" / "net-onnxruntime"
    carried_files = sorted((there / "edgeresnet").rglob("*.py"))
    home = Path(edgeresnet.__file__).parent
    for path in carried_files:
        assert path.read_bytes() == (home / path.relative_to(there / "edgeresnet")).read_bytes()
    assert {path.relative_to(there).parts[1] for path in carried_files} == {
        "__init__.py",
        "errors.py",
        "device",
        "targets",
    }
    assert not (there / "edgeresnet" / "targets" / "openvino.py").exists()


def test_without_a_target_it_is_one_fp32_file(asked: Door, tmp_path: Path) -> None:
    code, out, err = asked("--evaluation", "digits", "--output", "fp32.onnx")
    assert code == 0, err
    assert out.startswith("wrote fp32.onnx, ")
    onnx.checker.check_model(onnx.load(tmp_path / "fp32.onnx"), full_check=True)


@pytest.fixture
def made(asked: Door, tmp_path: Path) -> Path:
    """A bundle, as it lies at home."""
    assert asked(*ASKED, "--target", "onnxruntime", "--output", "out")[0] == 0
    return tmp_path / "out" / "net-onnxruntime"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda there: (there / "networks" / "int8.onnx").write_bytes(b"0"), "networks/int8.onnx has 1 bytes"),
        (lambda there: (there / "labels.txt").unlink(), "labels.txt is missing"),
        (lambda there: (there / "more.py").write_text("1"), "more.py does not belong here"),
        (lambda there: (there / "manifest.json").unlink(), "has no manifest.json"),
    ],
)
def test_a_bundle_that_was_changed_is_refused_in_one_line(made: Path, spoil: object, said: str) -> None:
    spoil(made)  # type: ignore[operator]
    found = deployed(made, "onnxruntime", "--check")
    assert found.returncode == 2
    assert said in found.stderr
    assert "Traceback" not in found.stderr


def result_of(there: Path) -> dict:
    found = deployed(there, "onnxruntime", "--processes", "1", "--seconds", "0.2")
    assert found.returncode == 0, found.stderr
    return json.loads((there / "result.json").read_text())


def test_a_result_that_is_not_the_bundles_is_refused(made: Path, door: Door, own_store: Store, tmp_path: Path) -> None:
    found = result_of(made)

    def home(changed: dict, store: Path = own_store.root) -> str:
        (tmp_path / "r.json").write_text(json.dumps(changed))
        code, _, err = door("verify", "--from", "r.json", "--store", store)
        assert code == 2
        assert "Traceback" not in err
        return err

    assert "not as deploy.py wrote it" in home({**found, "measured": 0.0})
    del found["digest"]
    result = found["result"]
    assert "does not fit its bundle: its images" in home(
        bundle.sealed({**found, "result": {**result, "labels": result["labels"][::-1]}})
    )
    wrong = json.loads(json.dumps(found))
    wrong["result"]["variants"]["int8"]["accuracy"]["top1"] += 1
    assert "int8's counts do not follow from its answers" in home(bundle.sealed(wrong))
    assert "which was not made in" in home(bundle.sealed({**found, "bundle": "0" * 64}))
    assert "holds another target" in home(bundle.sealed({**found, "result": {**result, "target": "openvino"}}))
    assert "there is no" in door("verify", "--from", "none.json", "--store", own_store.root)[2]
    assert "beside --from" in door("verify", "net.onnx", "--from", "r.json", "--store", own_store.root)[2]


def test_a_runtime_that_is_not_there_is_told(made: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(np.__file__).parent.parent / "nowhere")}
    packages = made.parent / "only-numpy"
    packages.mkdir()
    for name in ("numpy", "numpy.libs"):
        (packages / name).symlink_to(Path(np.__file__).parent.parent / name)
    environment["PYTHONPATH"] = str(packages)
    found = subprocess.run(
        [sys.executable, "-S", "-s", str(made / "deploy.py")],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert found.returncode == 4
    assert "onnxruntime CPU is not here: cannot import onnxruntime" in found.stderr
    assert "pip install onnxruntime" in found.stderr


def test_an_archive_depends_on_names_and_bytes_alone(tmp_path: Path) -> None:
    for name, stamp in (("one", 1), ("two", 2)):
        (tmp_path / name / "inner").mkdir(parents=True)
        for file in ("b.txt", "inner/a.txt") if stamp == 1 else ("inner/a.txt", "b.txt"):
            (tmp_path / name / file).write_text(file)
            os.utime(tmp_path / name / file, (stamp, stamp))
    assert archive(tmp_path / "one", "x") == archive(tmp_path / "two", "x")


def test_an_older_python_is_told_so_in_one_line() -> None:
    """No such Python is here: the file is read as an old one would, and its check is run with another version."""
    import ast

    import edgeresnet

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


def test_what_the_device_decodes_itself_is_held_against_home(made: Path) -> None:
    """With Pillow, which home uses, there is no difference."""
    found = deployed(made, "onnxruntime", "--processes", "1", "--seconds", "0.2", more=("PIL", "pillow.libs"))
    assert found.returncode == 0, found.stderr
    about = json.loads((made / "result.json").read_text())["result"]["decoding"]["pillow"]
    assert about == {"images": 16, "mean_levels": 0.0, "largest_levels": 0, "answers_changed": 0}
