"""inference and manifest: small, and tested without any runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeresnet.errors import TargetError
from edgeresnet.portable import codec, inference, manifest
from edgeresnet.portable.documents import Unreadable
from edgeresnet.portable.manifest import StoredFile
from edgeresnet.portable.result import Accuracy
from edgeresnet.portable.tasks import classification

from .scripted import Scripted

pytestmark = pytest.mark.unit


def _images(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.float32)[:, None, None, None] * np.ones((1, 1, 2, 2), np.float32)


@pytest.mark.parametrize("fixed", [None, 1, 4, 7])
def test_predictions_do_not_depend_on_how_the_batch_is_fixed(fixed: int | None) -> None:
    batches = [_images(10)[:6], _images(10)[6:]]
    seen: list[int] = []
    found = inference.predict(Scripted(fixed), batches, seen.append)
    np.testing.assert_array_equal(found, inference.predict(Scripted(), [_images(10)]))
    assert seen == [6, 4]


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (np.zeros((2, 4), np.float32), "shape"),
        (np.array([[0, 0, 0], [0, np.nan, 0]], np.float32), "image 3"),
        (np.array([[np.inf, 0, 0], [0, 0, 0]], np.float32), "image 2"),
    ],
)
def test_an_invalid_answer_ends_the_evaluation(answer: np.ndarray, word: str) -> None:
    session = Scripted()
    answers = [np.zeros((2, 3), np.float32), answer]
    session.infer = lambda batch: answers.pop(0)  # type: ignore[method-assign]
    with pytest.raises(TargetError, match=f"the network returned .*{word}"):
        inference.predict(session, [_images(2), _images(2)])


def test_comparing_counts_what_changed() -> None:
    reference = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]] * 5
    given = reference.copy()
    given[1], given[3] = reference[0], reference[2]
    found = classification.compare(reference, given, np.array([0, 1, 2, 2]))
    assert (found.images, found.top1, found.agree, found.lost, found.won, found.top5) == (4, 3, 2, 1, 1, 4)
    assert found.sqnr_db == pytest.approx(0.0)
    assert classification.compare(reference, reference, np.array([0, 1, 2, 2])).sqnr_db is None
    unlabelled = classification.compare(reference, given, None)
    assert unlabelled == Accuracy(images=4, agree=2, sqnr_db=found.sqnr_db)
    assert not unlabelled.has_labels


def test_sqnr_of_known_noise() -> None:
    signal = np.ones((10, 3), np.float32)
    assert inference.sqnr_db(signal, signal * np.float32(1.1)) == pytest.approx(20.0, abs=1e-3)


def test_a_network_whose_answers_change_has_no_accuracy() -> None:
    session = Scripted()
    calls = [0]

    def forgetful(batch: np.ndarray) -> np.ndarray:
        calls[0] += 1
        answer = np.ones((len(batch), 3), np.float32)
        answer[1, 2] += 0.1 * (calls[0] > 2)
        return answer

    session.infer = forgetful  # type: ignore[method-assign]
    with pytest.raises(TargetError, match="the network gave other logits when image 1 was evaluated again"):
        inference.predict(session, [_images(2), _images(2)])


def test_the_last_digit_of_a_sum_may_change() -> None:
    session = Scripted()
    noise = iter([0.0, 0.0, 1e-5])
    real = session.infer
    session.infer = lambda batch: real(batch) + np.float32(next(noise))  # type: ignore[method-assign]
    assert len(inference.predict(session, [_images(2), _images(2)])) == 4


def test_a_folder_proves_that_it_is_complete(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.bin").write_bytes(b"123")
    (tmp_path / "y.txt").write_text("y")
    written = manifest.write(tmp_path, about="test")
    assert manifest.read(tmp_path) == written
    assert manifest.problems(tmp_path, written) == []
    files = manifest.files_in(tmp_path)
    assert written["files"] == codec.encode(files)
    assert files[1] == StoredFile("y.txt", 1, manifest.sha256_of(tmp_path / "y.txt"))
    assert [(file.name, file.size) for file in files] == [("a/x.bin", 3), ("y.txt", 1)]
    assert manifest.content_digest(files) == written["digest"]
    damaged = {**written, "files": [codec.encode(files[0]), {"name": "y.txt", "sha256": "0"}]}
    assert manifest.problems(tmp_path, damaged) == [
        "the list of files in the manifest is damaged: [1].size: is missing"
    ]


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda folder: (folder / "x.bin").unlink(), "missing"),
        (lambda folder: (folder / "x.bin").write_bytes(b"12"), "bytes instead of"),
        (lambda folder: (folder / "x.bin").write_bytes(b"124"), "has changed"),
        (lambda folder: (folder / "new").write_bytes(b""), "is not in the manifest"),
    ],
)
def test_every_damage_is_found(tmp_path: Path, damage, word: str) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "x.bin").write_bytes(b"123")
    written = manifest.write(tmp_path)
    damage(tmp_path)
    assert word in "; ".join(manifest.problems(tmp_path, written))


@pytest.mark.parametrize(("text", "word"), [(None, "not exist"), ("{", "not JSON"), ("[]", "is not a manifest")])
def test_what_is_not_a_manifest_is_refused(tmp_path: Path, text: str | None, word: str) -> None:
    if text is not None:
        (tmp_path / manifest.NAME).write_text(text)
    with pytest.raises(Unreadable, match=word):
        manifest.read(tmp_path)


def test_no_byte_of_a_manifest_can_change(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"123")
    written = manifest.write(tmp_path, notes={"parity": 0.25, "word": "a\u00e9"})
    path, data = tmp_path / manifest.NAME, (tmp_path / manifest.NAME).read_bytes()
    assert manifest.problems(tmp_path, written) == []
    for place in range(len(data)):
        for byte in {data[place] ^ 1, data[place] ^ 32, ord("0"), ord(" ")} - {data[place]}:
            path.write_bytes(data[:place] + bytes([byte]) + data[place + 1 :])
            try:
                found = manifest.read(tmp_path)
            except Unreadable:
                continue
            assert manifest.problems(tmp_path, found) == ["the manifest has no seal"], place
