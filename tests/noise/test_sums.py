"""Sums of two products in 16 bits, as x86 without VNNI adds them: compared with the instructions, one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeresnet.noise import sums
from edgeresnet.portable import machine

pytestmark = pytest.mark.unit

AVX2 = "vendor_id\t: GenuineIntel\nflags\t\t: sse4_2 avx2 fma\n"
AVX_VNNI = "vendor_id\t: GenuineIntel\nflags\t\t: sse4_2 avx2 avx_vnni\n"
AVX512_VNNI = "vendor_id\t: AuthenticAMD\nflags\t\t: avx2 avx512f avx512_vnni\n"


@pytest.fixture(autouse=True)
def _any_cpu() -> None:
    """Let the flags decide: the folder's own fixture answers for every CPU."""


def has_vnni(root: Path, flags: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text(flags)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    return machine.has_int8(root)


def computed(weights: np.ndarray, values: np.ndarray, *, vnni: bool) -> np.ndarray:
    """Return one output at each position: four input channels at a time, as both kinds of instructions take them."""
    inputs, taps, positions = values.shape
    found = np.zeros(positions, np.int64)
    for position in range(positions):
        for tap in range(taps):
            for first in range(0, inputs, 4):
                unsigned = [int(each) for each in values[first : first + 4, tap, position]]
                signed = [int(each) for each in weights[first : first + 4, tap]]
                products = [one * other for one, other in zip(unsigned, signed, strict=True)]
                products += [0] * (4 - len(products))
                if vnni:  # vpdpbusd: four products into 32 bits
                    found[position] += sum(products)
                else:  # vpmaddubsw: two products into 16 bits, saturating; vpmaddwd: two of these into 32 bits
                    pairs = products[0] + products[1], products[2] + products[3]
                    found[position] += sum(max(-32768, min(32767, each)) for each in pairs)
    return found


@pytest.mark.parametrize(("flags", "saturates"), [(AVX2, True), (AVX_VNNI, False), (AVX512_VNNI, False)])
@pytest.mark.parametrize("inputs", [1, 3, 4, 10])
def test_what_is_cut_off_is_what_the_instructions_cut_off(
    inputs: int, flags: str, saturates: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(inputs)
    weights = rng.integers(-128, 128, (inputs, 9))
    values = rng.choice([0, 90, 255], (inputs, 9, 6))
    exact = np.einsum("it,itp->p", weights, values)
    vnni = has_vnni(tmp_path, flags, monkeypatch)
    assert vnni is not saturates
    beyond, count = sums.cut_off(weights, values)
    assert (count > 0) == (inputs > 1), "one product always fits"
    assert np.array_equal(computed(weights, values, vnni=vnni), exact + (beyond if saturates else 0))


@pytest.mark.parametrize(
    ("first", "second", "value", "cut"),
    [
        (127, 1, 255, 0),  # 32640
        (127, 2, 255, 255 * 129 - 32767),
        (-128, 0, 255, 0),  # -32640
        (-128, -1, 255, 32768 - 255 * 129),
        (127, -128, 255, 0),
        (64, 64, 255, 0),  # weights of 7 bits
        (-64, -64, 255, 0),
        (127, 127, 129, 0),  # 32766
        (127, 127, 130, 254 * 130 - 32767),
    ],
)
def test_the_ends_of_16_bits(first: int, second: int, value: int, cut: int) -> None:
    weights, values = np.array([[first], [second]]), np.full((2, 1, 1), value)
    beyond, count = sums.cut_off(weights, values)
    assert (int(beyond[0]), count) == (-cut, int(cut != 0))
    assert sums.may_saturate(weights[None]) == (255 * abs(first + second) > 32768 and first * second >= 0)


def test_weights_of_seven_bits_never_saturate() -> None:
    every = np.array([[first, second] for first in range(-64, 65) for second in range(-64, 65)])
    assert not sums.may_saturate(every[..., None])
    assert sums.may_saturate(np.array([[[64], [65]]]))
