"""The C++ examples of a bundle say of each kind of answer what it is. Only a compiler is needed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import edgeresnet

HEADER = Path(edgeresnet.__file__).parent / "stages" / "export" / "carried" / "examples"
MAIN = """\
#include "bundle.hpp"

int main() {
    const std::vector<std::string> labels{"cat", "dog"};
    bundle::tell(0, {0.5f, 1.5f}, {1, 2}, labels);
    bundle::tell(1, {1, 1, 1, 0, 0, 0, 0, 2}, {1, 2, 2, 2}, labels);
    bundle::tell(2, {-3, -1, 9, 9, 9, 9, -4, 2.5f, 9, 9, 9, 9}, {1, 2, 6}, labels);
    bundle::tell(3, {1, 2, 3}, {1, 3, 1}, labels);
}
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")
def test_classes_maps_and_rows_of_anchors_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "main.cpp").write_text(MAIN)
    command = ["c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-I", str(HEADER), "main.cpp", "-o", "example"]
    subprocess.run(command, cwd=tmp_path, check=True)
    found = subprocess.run([tmp_path / "example"], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == [
        "image 0: dog (1.5)",
        "image 1: cat (75 % of the pixels)",
        "image 2: dog (2.5 at anchor 1)",
        "image 3: 3 numbers: edgeresnet/portable/tasks/ reads them",
    ]
