"""A built wheel installs and runs from an empty folder; so does what it carries."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(ROOT)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "ConnectionError" in done.stderr or "No matching distribution" in done.stdout + done.stderr:
        pytest.skip("building needs the build backend from a registry, and none can be reached")
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_carries_what_it_needs(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"edgeresnet/calibration_data/digits.npz", "edgeresnet/pipelines/digits.yaml"} <= names
    assert {"edgeresnet/calibration_data/LICENSE.digits", "edgeresnet/py.typed"} <= names
    assert "edgeresnet/device/yardstick.onnx" in names
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)


@pytest.mark.slow
def test_the_wheel_runs_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    """Its own environment, without this checkout; the libraries are those already here, which saves gigabytes."""
    subprocess.run([sys.executable, "-m", "venv", "--system-site-packages", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    site = subprocess.run(
        [str(python), "-c", "import site; print(site.getsitepackages()[0])"], capture_output=True, text=True, check=True
    ).stdout.strip()
    ours = next(p for p in sys.path if p.endswith("site-packages"))
    subprocess.run([str(python), "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel)], check=True)
    # After the wheel's own folder, so that the installed package wins over an editable one.
    (Path(site) / "borrowed.pth").write_text(ours + "\n")
    empty = tmp_path / "empty"
    empty.mkdir()

    def edgeresnet(*arguments: str) -> str:
        done = subprocess.run(
            [str(tmp_path / "venv" / "bin" / "edgeresnet"), *arguments],
            cwd=empty, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = [str(python), "-c", "import edgeresnet; print(edgeresnet.__file__)"]
    assert str(tmp_path / "venv") in subprocess.run(where, cwd=empty, capture_output=True, text=True, check=True).stdout
    edgeresnet("init")
    assert "KEPT" in edgeresnet("run", "recipe.yaml", "--set", "train.epochs=6", "--set", "promises={max_drop_pp: 2}")
    assert "verify:openvino" in edgeresnet("show")
