"""Makes digits.npz and manifest.json again from scikit-learn's copy of the digits."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

HERE = Path(__file__).parent
PER_CLASS = 45


def main() -> None:
    data = load_digits()
    images = np.round(data.images * 255 / 16).astype(np.uint8)
    labels = data.target.astype(np.uint8)
    evaluation = np.zeros(len(labels), bool)
    for label in range(10):
        mine = np.flatnonzero(labels == label)
        ranked = sorted(mine, key=lambda index: hashlib.sha256(images[index].tobytes()).digest())
        evaluation[ranked[:PER_CLASS]] = True
    path = HERE / "digits.npz"
    np.savez_compressed(path, images=images, labels=labels, evaluation=evaluation)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest = {"files": [{"name": path.name, "size": path.stat().st_size, "sha256": digest}]}
    (HERE / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
