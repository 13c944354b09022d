"""Checkpoints that are damaged, dishonest or malicious: refused in one line, and none of their code runs."""

from __future__ import annotations

import io
import json
import pickle
import struct
from pathlib import Path

import pytest

from edgeresnet.errors import ModelError
from edgeresnet.models import pickles, recognise, records, shapes, unwrap
from edgeresnet.models.pickles import Tensor

from ..hostile import binary, checkpoints, npz, tensors

pytestmark = pytest.mark.unit

MARK = "code-ran"
FILES = {title: (name, data) for title, name, data in checkpoints.files(MARK) if "bomb" not in title}


def inspected(path: Path) -> None:
    found = shapes.look(path)
    recognise.recognise(found.networks[unwrap.MODEL], found.arch)
    records.of(path, ())


@pytest.mark.parametrize("title", FILES)
def test_what_is_no_checkpoint_is_refused_in_a_line_and_nothing_runs(
    tmp_path: Path, title: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name, data = FILES[title]
    path = Path(name)
    path.write_bytes(data)
    problem = binary.refused(lambda: inspected(path))
    assert problem is None or len(problem.message) + len(problem.hint) < 300
    assert not Path(MARK).exists()


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("a zip without data.pkl", "is not a checkpoint, or is incomplete: it is an archive without data.pkl"),
        ("list.npz as a checkpoint", "an archive without data.pkl"),
        ("an encrypted zip", "is encrypted"),
        ("a zip of an unknown compression", "compression"),
        ("zip, os.system", r"holds more than weights \((posix|nt)\.system\), and loading it would run code"),
        ("zip, tensor of a huge shape", "a tensor of an impossible shape"),
        ("zip, tensor of a storage of None", "a tensor of an impossible size"),
        ("zip, a dict in itself", "a dictionary that holds itself"),
        ("safetensors, shape 22", "the tensor conv1.weight: shape: is a string, not a list"),
        ("safetensors, dtype ['F32']", "dtype"),
        ("safetensors, offsets [-16, 0]", "does not have the bytes that its shape needs"),
        ("safetensors, overlapping", "its tensors overlap, or leave gaps"),
        ("safetensors, header of NaN", "its header holds NaN"),
        ("safetensors, 100000 levels", "levels of lists and objects"),
        ("safetensors, the same twice", "its header has the key 'a' twice"),
        ("safetensors, a length of 2^63", "its header is longer than the file"),
    ],
)
def test_why_it_is_refused(tmp_path: Path, title: str, words: str) -> None:
    name, data = FILES[title]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ModelError, match=words):
        shapes.look(tmp_path / name)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("a FIFO", "is a pipe"),
        ("a device", "is a device"),
        ("a folder", "is a folder"),
        ("a link to /proc/kmsg", "empty"),
    ],
)
def test_what_is_no_file_is_not_opened(tmp_path: Path, kind: str, words: str) -> None:
    binary.STRANGE[kind](tmp_path / "w.pth")
    with pytest.raises(ModelError, match=words):
        shapes.look(tmp_path / "w.pth")


@pytest.mark.parametrize("what", ["a FIFO", "a device", *checkpoints.HUB])
def test_a_hubs_config_that_lies_is_another_librarys(tmp_path: Path, what: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(tensors.network())
    if what in checkpoints.HUB:
        text = checkpoints.HUB[what]
        (tmp_path / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    else:
        binary.STRANGE[what](tmp_path / "config.json")
    found = records.of(path, ())
    assert found is None or len(found.why_not) < 300


def test_a_layer_of_5000_digits_is_no_layer() -> None:
    name = f"layer{'9' * 5000}.0.conv1.weight"
    assert recognise.recognise({name: Tensor((1, 1, 1, 1), "F32")}) is None


def test_the_name_of_an_enormous_network_is_not_built(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(tensors.files()["metadata {'arch': 'cifar_resnet600000002'}"])
    contents = shapes.look(path)
    found = recognise.recognise(contents.networks[unwrap.MODEL], contents.arch)
    assert found is not None
    assert found.archs[0] == "cifar_resnet8"


def test_metadata_of_a_damaged_file_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(tensors.files()["metadata {'a': {}}"])
    assert shapes.metadata(path) == {}


def test_preprocessing_of_many_levels_is_no_record(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(tensors.whole({"a": (1,)}, {"preprocessing": "[" * 100_000, "arch": "resnet18"}))
    assert records.of(path, ()) is None
    path.write_bytes(tensors.whole({"a": (1,)}, {"preprocessing": json.dumps([1]), "arch": "resnet18"}))
    assert records.of(path, ()) is None


def test_a_list_of_arrays_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(npz.plain()["list.npz"])
    with pytest.raises(ModelError, match=r"without data\.pkl"):
        shapes.look(tmp_path / "w.pth")


def test_a_header_whose_length_looks_like_a_page_is_a_header(tmp_path: Path) -> None:
    """15,392 is a space and a `<`."""
    whole = tensors.whole({"a": (1,)})
    (length,) = struct.unpack("<Q", whole[:8])
    padded = struct.pack("<Q", 0x3C20) + whole[8 : 8 + length].ljust(0x3C20) + whole[8 + length :]
    (tmp_path / "w.safetensors").write_bytes(padded)
    assert shapes.read(tmp_path / "w.safetensors") == {"a": Tensor((1,), "F32")}


def test_a_memo_of_billions_of_places_takes_none(tmp_path: Path) -> None:
    """The unpickler in C took sixteen bytes of memory for each place, and minutes."""
    (tmp_path / "w.pth").write_bytes(checkpoints.zipped(b"\x80\x02}r\xff\xff\xff\x1f."))
    with pytest.raises(ModelError, match="holds no weights"):
        shapes.look(tmp_path / "w.pth")


def test_a_pickle_of_millions_of_operations_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "_MOST", 1000)
    (tmp_path / "w.pth").write_bytes(checkpoints.zipped(b"\x80\x02" + b"]0" * 600 + b"N."))
    with pytest.raises(ModelError, match="holds far more than a network: over 1,000"):
        shapes.look(tmp_path / "w.pth")


def test_keys_whose_hash_takes_years_are_refused(tmp_path: Path) -> None:
    doubled = b")" + b"2\x86" * 60
    for data in (b"}" + doubled + b"Ns.", b"}(" + doubled + b"Nu.", b"(" + doubled + b"N" + b"d."):
        (tmp_path / "w.pth").write_bytes(checkpoints.zipped(b"\x80\x02" + data))
        with pytest.raises(ModelError, match="a key that is a tuple of very many tuples"):
            shapes.look(tmp_path / "w.pth")


def test_a_pickle_does_not_change_our_own_functions(tmp_path: Path) -> None:
    data = b"\x80\x02cargparse\nNamespace\nN}X\x08\x00\x00\x00__init__Ns\x86b."
    (tmp_path / "w.pth").write_bytes(checkpoints.zipped(data))
    with pytest.raises(ModelError, match="it changes a function"):
        shapes.look(tmp_path / "w.pth")
    assert callable(pickles.Note.__init__)


def test_keys_of_a_few_tuples_are_plain(tmp_path: Path) -> None:
    torch_free = {"state_dict": {}, "seen": {(1, (2, (3,))): 4}}
    found = pickles.Reader(io.BytesIO(pickle.dumps(torch_free, protocol=2))).load()
    assert found == torch_free
