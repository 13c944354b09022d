"""Looking at a checkpoint is quick: it loads nothing that is slow to import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ..hostile import tensors

pytestmark = pytest.mark.unit

_SLOW = ("torch", "onnx", "onnxruntime", "openvino", "numpy", "pydantic", "yaml", "PIL", "timm")
_LOOK = """
import sys
from edgeresnet.cli import main
try:
    main()
except SystemExit as end:
    code = end.code
print(code or 0, *(name for name in {slow!r} if name in sys.modules))
"""


def test_inspecting_a_checkpoint_loads_no_slow_library(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(tensors.network())
    words = [sys.executable, "-c", _LOOK.format(slow=_SLOW), "inspect", str(tmp_path / "w.safetensors")]
    ran = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "cifar_resnet8" in ran.stdout
    assert ran.stdout.splitlines()[-1] == "0"
