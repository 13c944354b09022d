"""CIFAR-10 in its makers' own format: the files themselves cannot be had here, so small ones are written like them."""

from __future__ import annotations

import os
import pickle
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from edgeresnet import images, recipe
from edgeresnet.errors import ImagesError
from edgeresnet.images import sources
from edgeresnet.images.sources import cifar
from edgeresnet.images.sources.cifar import FOLDER

from ..conftest import tiny

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
PUBLISHED = cifar._MD5
BATCHES = ("test_batch", *(f"data_batch_{number}" for number in range(1, 6)))


def written(root: Path, images: int = 20) -> Path:
    """`images` in each batch, as Python 2's pickle wrote them."""
    folder = root / FOLDER
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in BATCHES:
        labels = [number % 10 for number in range(images)]
        save(folder / name, {"data": rng.integers(0, 256, (images, 3072), np.uint8), "labels": labels})
    save(folder / "batches.meta", {"label_names": CLASSES})
    return folder


class _Python2(pickle._Pickler):
    """Its texts were bytes, and so is what an array holds."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)
    write: Callable[[bytes], object]
    memoize: Callable[[object], None]

    def _text(self, text: str | bytes) -> None:
        content = text.encode("latin1") if isinstance(text, str) else text
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = _text


def save(path: Path, held: Any) -> None:
    with open(path, "wb") as file:
        _Python2(file, protocol=2).dump(held)


@pytest.fixture(autouse=True)
def any_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written here has other digests than what is published."""
    monkeypatch.setattr(cifar, "_MD5", {})


def test_it_is_read_as_torchvision_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    written(tmp_path)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)  # its files' digests
    for train, count in ((True, 100), (False, 20)):
        found = sources.cifar10(tmp_path, train=train, download=False)
        theirs = datasets.CIFAR10(str(tmp_path), train=train)
        assert (list(found.classes), len(found.labels)) == (CLASSES, count)
        assert found.labels.tolist() == theirs.targets
        assert all(np.array_equal(np.asarray(found.open(each)), theirs.data[each]) for each in range(count))


def test_the_digests_are_those_that_torchvision_knows() -> None:
    from torchvision import datasets

    theirs = dict(datasets.CIFAR10.train_list + datasets.CIFAR10.test_list)
    assert {**theirs, datasets.CIFAR10.meta["filename"]: datasets.CIFAR10.meta["md5"]} == PUBLISHED


def test_other_bytes_than_the_published_ones_are_refused_or_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path)
    digests = {path.name: cifar._md5(path.read_bytes()) for path in folder.iterdir()}
    monkeypatch.setattr(cifar, "_MD5", digests)
    assert len(sources.cifar10(tmp_path, train=False, download=False).labels) == 20
    save(folder / "test_batch", {"data": np.zeros((1, 3072), np.uint8), "labels": [3]})
    with pytest.raises(ImagesError, match="test_batch is not CIFAR-10 as it is published: its bytes differ"):
        sources.cifar10(tmp_path, train=False, download=False)

    def fetched(*_: Any, **__: Any) -> None:
        shutil.rmtree(folder)
        written(tmp_path)

    monkeypatch.setattr("torchvision.datasets.CIFAR10", fetched)
    assert len(sources.cifar10(tmp_path, train=False, download=True).labels) == 20


def test_a_tilde_is_the_users_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "data")
    monkeypatch.setenv("HOME", str(tmp_path))
    raw = tiny(preprocessing={"size": 32, "mean": [0.5] * 3, "std": [0.5] * 3})
    raw["images"]["evaluation"] = {"from": "cifar10", "root": "~/data"}
    assert len(images.open_samples(recipe.parse(raw), "evaluation")) == 20


def test_keys_may_be_bytes(tmp_path: Path) -> None:
    folder = written(tmp_path)
    save(folder / "test_batch", {b"data": np.zeros((1, 3072), np.uint8), b"labels": [3]})
    assert sources.cifar10(tmp_path, train=False, download=False).labels.tolist() == [3]


def test_it_needs_no_torch(tmp_path: Path) -> None:
    written(tmp_path)
    code = (
        "import sys; from pathlib import Path; from edgeresnet.images import sources\n"
        "sources.cifar._MD5 = {}\n"
        f"sources.cifar10(Path({str(tmp_path)!r}), train=False, download=True)\n"
        "print([name for name in sys.modules if name.startswith('torch')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_missing_is_fetched_by_torchvision_or_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImagesError, match=f"CIFAR-10 is not in .*: {FOLDER}/data_batch_1 does not exist") as caught:
        sources.cifar10(tmp_path, train=True, download=False)
    assert "download: true" in caught.value.hint

    def offline(*_: Any, **__: Any) -> None:
        raise OSError("no way out")

    theirs = "torchvision.datasets.CIFAR10"
    monkeypatch.setattr(theirs, offline)
    with pytest.raises(ImagesError, match=r"CIFAR-10 is not in .*: no way out"):
        sources.cifar10(tmp_path, train=True, download=True)
    monkeypatch.setattr(theirs, lambda root, download: written(Path(root)) if download else None)
    assert len(sources.cifar10(tmp_path, train=True, download=True).labels) == 100


class Harm:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("harmed",)


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ({"data": Harm(), "labels": []}, "needs .*mkdir, which edgeresnet does not run"),
        ([1, 2], "it holds a list"),
        ({"labels": [1]}, "data"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}, "labels do not match"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [10]}, "labels do not match"),
        ({"data": np.zeros((1, 30), np.uint8), "labels": [1]}, "reshape"),
    ],
)
def test_other_files_are_refused_and_nothing_is_run(
    held: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(written(tmp_path) / "test_batch", held)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImagesError, match=f"is not CIFAR-10 as it is published: .*{words}"):
        sources.cifar10(tmp_path, train=False, download=False)
    assert not Path("harmed").exists()


def test_a_torn_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path) / "test_batch"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ImagesError, match="test_batch is not CIFAR-10 as it is published"):
        sources.cifar10(tmp_path, train=False, download=False)
