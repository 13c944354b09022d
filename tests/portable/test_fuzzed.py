"""The two readers of binary files that are our own, on damaged ones: they read them, or refuse them in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from edgeresnet.models import recognise, shapes, unwrap
from edgeresnet.portable import onnx_file, yardstick

from ..hostile import binary, checkpoints, tensors

Reader = Callable[[Path], object]
Damage = tuple[str, int, bytes]

PICKLED = checkpoints.rebuilt(4, 0, (2, 2))
CHECKPOINTS = {
    "w.safetensors": tensors.whole({"conv1.weight": (2, 1, 3, 3), "fc.weight": (2, 2), "fc.bias": (2,)}, {"arch": "x"}),
    "w.pth": checkpoints.zipped(PICKLED, archive__data__0=bytes(16)),
    "w.pt": checkpoints.row(PICKLED),
    "network.safetensors": tensors.network(),
}
DAMAGE = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "insert", "remove", "number"]),
        st.integers(min_value=0, max_value=1 << 16),
        st.binary(min_size=1, max_size=9),
    ),
    min_size=1,
    max_size=4,
)
FEW = hypothesis.settings(max_examples=200, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
MANY = hypothesis.settings(FEW, max_examples=5000)


def damaged(data: bytes, damage: list[Damage]) -> bytes:
    for kind, place, more in damage:
        at = place % (len(data) + 1)
        rest = data[at + 1 :]
        changes = {
            "flip": data[:at] + bytes([data[at] ^ more[0] if at < len(data) else more[0]]) + rest,
            "cut": data[:at],
            "insert": data[:at] + more + data[at:],
            "remove": data[:at] + data[at + len(more) :],
            "number": data[:at] + b"\xff" * len(more) + data[at + len(more) :],
        }
        data = changes[kind]
    return data


def survives(read: Reader, path: Path, data: bytes) -> None:
    """Read it: nothing but an error with words for a user may come out."""
    path.write_bytes(data)
    problem = binary.refused(lambda: read(path))
    assert problem is None or len(problem.message) - len(str(path)) < 250


def look(path: Path) -> None:
    found = shapes.look(path)
    recognise.recognise(found.networks[unwrap.MODEL], found.arch)


@pytest.mark.unit
@pytest.mark.parametrize("name", CHECKPOINTS)
@FEW
@hypothesis.given(damage=DAMAGE)
def test_a_damaged_checkpoint(tmp_path: Path, name: str, damage: list[Damage]) -> None:
    survives(look, tmp_path / name, damaged(CHECKPOINTS[name], damage))


@pytest.mark.unit
@FEW
@hypothesis.given(damage=DAMAGE)
def test_a_damaged_onnx_file(tmp_path: Path, damage: list[Damage]) -> None:
    survives(onnx_file.read, tmp_path / "net.onnx", damaged(yardstick.file().read_bytes(), damage))


@pytest.mark.nightly
@pytest.mark.parametrize("name", CHECKPOINTS)
@MANY
@hypothesis.given(damage=DAMAGE)
def test_a_damaged_checkpoint_many_times(tmp_path: Path, name: str, damage: list[Damage]) -> None:
    survives(look, tmp_path / name, damaged(CHECKPOINTS[name], damage))


@pytest.mark.nightly
@MANY
@hypothesis.given(damage=DAMAGE)
def test_a_damaged_onnx_file_many_times(tmp_path: Path, damage: list[Damage]) -> None:
    survives(onnx_file.read, tmp_path / "net.onnx", damaged(yardstick.file().read_bytes(), damage))
