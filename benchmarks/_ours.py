"""Our own quantizer behind the peers' protocol: a process that reads one job and answers with seconds and memory.

Imports nothing but what quantizing needs, so that its memory is the quantizer's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from _peers import serve


def ours(onnx: Path, images: np.ndarray, dialect: str, effort: str, residual: str | None, out: Path) -> Path:
    """TO BE FILLED IN with `edgeresnet.quantize`: an ONNX file and calibration images in, a quantized file out.

    `images` are N×C×S×S normalised float32, mapped from a file; `dialect` is openvino or tensorrt, `effort` fast,
    balanced or best, `residual` shortcut, both or None for the dialect's own.
    """
    raise NotImplementedError("edgeresnet.quantize is not wired in yet")


def _job(job: dict[str, Any]) -> dict[str, Any]:
    about = job["options"]
    images = np.load(job["images"], mmap_mode="r")
    made = ours(Path(job["onnx"]), images, about["dialect"], about["effort"], about.get("residual"), Path(job["out"]))
    return {"out": str(made)}


if __name__ == "__main__":
    serve({"ours": _job})
