"""Weights in several files with an index: read as one checkpoint, or refused in a line that names what is missing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from edgeresnet.errors import ModelError
from edgeresnet.models import shapes, sharded
from edgeresnet.models.pickles import Tensor

from ..hostile import tensors

pytestmark = pytest.mark.unit

INDEX = "model.safetensors.index.json"
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
SHAPES: Mapping[str, tuple[int, ...]] = {"stem.weight": (4, 3, 3, 3), "head.weight": (2, 4), "head.bias": (2,)}


def folder(
    path: Path,
    named: Mapping[str, str] | None = None,
    held: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """Write the index, and each file with its tensors; return the index."""
    held = {FIRST: ("stem.weight",), SECOND: ("head.weight", "head.bias")} if held is None else held
    named = {name: file for file, names in held.items() for name in names} if named is None else named
    for file, names in held.items():
        (path / file).write_bytes(tensors.whole({name: SHAPES.get(name, (1,)) for name in names}))
    (path / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": named}))
    return path / INDEX


def problem(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        shapes.look(path)
    line = f"{caught.value.message} ({caught.value.hint})"
    assert "\n" not in line
    assert len(line) < 400 + len(str(path))
    return line


def test_all_files_together_are_one_checkpoint(tmp_path: Path) -> None:
    wanted = {name: Tensor(shape, "F32") for name, shape in SHAPES.items()}
    index = folder(tmp_path)
    assert shapes.read(index) == wanted
    assert shapes.read(tmp_path) == wanted
    assert list(shapes.read(index)) == list(SHAPES), "in the order of the files, and of the tensors in each"


def test_prefixes_around_every_name_are_removed(tmp_path: Path) -> None:
    names = [f"module.{name}" for name in SHAPES]
    assert list(shapes.read(folder(tmp_path, held={FIRST: names[:1], SECOND: names[1:]}))) == list(SHAPES)


def test_files_that_are_missing_are_named(tmp_path: Path) -> None:
    index = folder(tmp_path)
    (tmp_path / SECOND).unlink()
    line = problem(index)
    assert f"{INDEX} names files that are missing (1): {SECOND}" in line
    assert "download them into the same folder" in line


def test_tensors_that_no_file_has_are_named(tmp_path: Path) -> None:
    named = dict.fromkeys([*SHAPES, "gone.weight", "gone.bias"], SECOND) | {"stem.weight": FIRST}
    line = problem(folder(tmp_path, named, {FIRST: ("stem.weight",), SECOND: ("head.weight", "head.bias")}))
    assert "names tensors that its files do not hold (2): gone.weight, gone.bias" in line


def test_tensors_that_the_index_leaves_out_are_named(tmp_path: Path) -> None:
    named = {"stem.weight": FIRST, "head.weight": SECOND}
    line = problem(folder(tmp_path, named, {FIRST: ("stem.weight",), SECOND: ("head.weight", "head.bias")}))
    assert "leaves out tensors that its files hold (1): head.bias" in line


def test_a_tensor_in_another_file_than_the_index_says_is_not_used(tmp_path: Path) -> None:
    named = {"stem.weight": FIRST, "head.weight": FIRST, "head.bias": SECOND}
    line = problem(folder(tmp_path, named, {FIRST: ("stem.weight",), SECOND: ("head.weight", "head.bias")}))
    assert "do not hold (1): head.weight" in line


@pytest.mark.parametrize(
    "file", ["../secret.safetensors", "/etc/secret", "a/../../secret", "..\\secret", "C:\\secret", "C:secret", ""]
)
def test_a_file_outside_the_folder_is_not_opened(tmp_path: Path, file: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret.safetensors").write_bytes(tensors.whole({"a": (1,)}))
    assert "names a file outside its folder" in problem(folder(inside, {"a": file}, {}))


@pytest.mark.parametrize("map_", ["[]", "{}", '{"a": 1}', "5"])
def test_a_map_that_names_no_files(tmp_path: Path, map_: str) -> None:
    (tmp_path / INDEX).write_text(f'{{"weight_map": {map_}}}')
    assert "does not say which file holds which tensor" in problem(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", "{}"])
def test_what_is_not_an_index(tmp_path: Path, text: str) -> None:
    (tmp_path / INDEX).write_text(text)
    line = problem(tmp_path)
    assert "does not say which file holds which tensor" in line or "is not JSON" in line


def test_what_is_wrong_with_a_file_is_reported_of_that_file(tmp_path: Path) -> None:
    index = folder(tmp_path)
    whole = (tmp_path / SECOND).read_bytes()
    (tmp_path / SECOND).write_bytes(whole[:-1])
    assert f"{SECOND} is not a checkpoint, or is incomplete: it has" in problem(index)


def test_names_of_10000_characters_make_one_short_line(tmp_path: Path) -> None:
    long = "n" * 10_000
    assert "names files that are missing (1): nnn" in problem(folder(tmp_path, {"a": long}, {}))
    assert "do not hold (300): nnn" in problem(
        folder(tmp_path, {"a": FIRST} | {f"{long}{at}": FIRST for at in range(300)}, {FIRST: ("a",)})
    )


def test_an_index_that_names_itself_is_not_read_again(tmp_path: Path) -> None:
    assert "is not a checkpoint" in problem(folder(tmp_path, {"a": INDEX}, {}))


def test_a_byte_of_any_file_changes_the_digest(tmp_path: Path) -> None:
    index = folder(tmp_path)
    before = sharded.digest_of(index)
    assert sharded.digest_of(index) == before
    whole = (tmp_path / SECOND).read_bytes()
    (tmp_path / SECOND).write_bytes(whole[:-1] + b"\x01")
    assert sharded.digest_of(index) != before


def test_a_complete_file_is_preferred_to_an_index(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(tensors.whole({"a": (1,)}))
    assert list(shapes.read(tmp_path)) == ["a"]
