"""A release is built, and its wheel runs from an empty folder: `make dist release-check`, as release.yml calls it."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import edgeresnet

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_a_release_is_built_and_runs_from_an_empty_folder(tmp_path: Path) -> None:
    """Run it in an environment without this checkout; the libraries are those already here, which saves gigabytes."""
    dist, release = tmp_path / "dist", tmp_path / "release"
    variables = {
        "PYTHON": sys.executable,
        "DIST": dist,
        "BUILD": tmp_path / "build",
        "RELEASE": release,
        "LIBRARIES": next(path for path in sys.path if path.endswith("site-packages")),
        "RUN_OPTIONS": "--set train.epochs=6 --set 'promises={max_drop_pp: 2}'",
    }
    done = subprocess.run(
        ["make", "dist", "release-check", *(f"{name}={value}" for name, value in variables.items())],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MFLAGS", "MAKELEVEL"}},
        capture_output=True,
        text=True,
        check=False,
    )
    printed = done.stdout + done.stderr
    if "ConnectionError" in printed or "No matching distribution" in printed:
        pytest.skip("building needs the build backend from a registry, and none can be reached")
    assert done.returncode == 0, printed
    assert printed.count("Successfully built") == 1, "what was checked is what was built"

    wheel = dist / f"edgeresnet-{edgeresnet.__version__}-py3-none-any.whl"
    sdist = dist / f"edgeresnet-{edgeresnet.__version__}.tar.gz"
    assert sorted(dist.iterdir()) == [wheel, sdist]
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"edgeresnet/calibration_data/digits.npz", "edgeresnet/pipelines/digits.yaml"} <= names
    assert {"edgeresnet/calibration_data/LICENSE.digits", "edgeresnet/py.typed"} <= names
    assert "edgeresnet/portable/yardstick.onnx" in names
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)
    with tarfile.open(sdist) as archive:
        assert {
            f"{sdist.name[:-7]}/{name}"
            for name in ("Makefile", "tests/conftest.py", ".github/workflows/ci.yml", "mkdocs.yml", "docs/index.md")
        } <= {*archive.getnames()}

    assert f"{edgeresnet.__version__} {release}" in done.stdout, "the installed package, not this checkout"
    assert "KEPT" in done.stdout
    assert "verify:openvino" in done.stdout
