"""evaluate, measure, machine and manifest: small, and tested without any runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeresnet.device import evaluate, machine, manifest, measure
from edgeresnet.device.session import Signature
from edgeresnet.errors import TargetError


class Scripted:
    """A session that answers what it is told, and moves the clock by what it is told."""

    def __init__(self, batch: int | None = None, takes: list[float] | None = None):
        self.signature = Signature("image", batch, 1, 2, "logits", 3)
        self.takes, self.now, self.seen = takes or [0.001], 0.0, 0

    def infer(self, batch: np.ndarray) -> np.ndarray:
        self.now += self.takes[min(self.seen, len(self.takes) - 1)]
        self.seen += 1
        return np.stack([np.arange(3, dtype=np.float32) + image.sum() for image in batch])

    def clock(self) -> float:
        return self.now


def _images(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.float32)[:, None, None, None] * np.ones((1, 1, 2, 2), np.float32)


@pytest.mark.parametrize("fixed", [None, 1, 4, 7])
def test_predictions_do_not_depend_on_how_the_batch_is_fixed(fixed: int | None) -> None:
    batches = [_images(10)[:6], _images(10)[6:]]
    seen: list[int] = []
    found = evaluate.predict(Scripted(fixed), batches, seen.append)
    np.testing.assert_array_equal(found, evaluate.predict(Scripted(), [_images(10)]))
    assert seen == [6, 4]


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (np.zeros((2, 4), np.float32), "shape"),
        (np.array([[0, 0, 0], [0, np.nan, 0]], np.float32), "image 3"),
        (np.array([[np.inf, 0, 0], [0, 0, 0]], np.float32), "image 2"),
    ],
)
def test_an_answer_that_is_none_ends_the_evaluation(answer: np.ndarray, word: str) -> None:
    session = Scripted()
    answers = [np.zeros((2, 3), np.float32), answer]
    session.infer = lambda batch: answers.pop(0)  # type: ignore[method-assign]
    with pytest.raises(TargetError, match=word):
        evaluate.predict(session, [_images(2), _images(2)])


def test_comparing_counts_what_changed() -> None:
    reference = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]] * 5
    given = reference.copy()
    given[1], given[3] = reference[0], reference[2]
    found = evaluate.compare(reference, given, np.array([0, 1, 2, 2]))
    assert (found["top1"], found["agree"], found["flips_lost"], found["flips_won"]) == (3, 2, 1, 1)
    assert found["sqnr_db"] == pytest.approx(0.0)
    assert evaluate.compare(reference, reference, np.array([0, 1, 2, 2]))["sqnr_db"] is None


def test_sqnr_of_known_noise() -> None:
    signal = np.ones((10, 3), np.float32)
    assert evaluate.sqnr_db(signal, signal * np.float32(1.1)) == pytest.approx(20.0, abs=1e-3)


def test_warm_up_is_found_and_not_counted() -> None:
    session = Scripted(takes=[0.05] * 6 + [0.01] * 20 + [0.001])
    raw = measure.latency({"fp32": session}, _images(1), least=2, most=2, window_s=0.05, clock=session.clock)
    assert raw["fp32"]["first_ms"] == pytest.approx(50)
    assert raw["fp32"]["warmup"] >= 10
    values = [value for window in raw["fp32"]["latency_ms"] for value in window]
    assert max(values) < 15, "a warm-up value was counted"


def test_sessions_take_turns() -> None:
    order: list[str] = []
    ticks = [0.0]

    class Named(Scripted):
        def __init__(self, name: str):
            super().__init__()
            self.name = name

        def infer(self, batch: np.ndarray) -> np.ndarray:
            order.append(self.name)
            ticks[0] += 0.02
            return super().infer(batch)

    sessions = {"a": Named("a"), "b": Named("b")}
    raw = measure.latency(sessions, _images(1), least=3, most=3, window_s=0.1, clock=lambda: ticks[0])
    turns = [name for index, name in enumerate(order) if index == 0 or order[index - 1] != name]
    assert turns == ["a", "b"] * 4
    assert [len(raw[name]["latency_ms"]) for name in "ab"] == [3, 3]


def test_a_clock_that_stands_still_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_MOST_IN_A_ROW", 20)
    raw = measure.latency({"a": Scripted()}, _images(1), least=2, clock=lambda: 7.0)
    assert [len(window) for window in raw["a"]["latency_ms"]] == [20, 20]


def _raw(*windows: list[float], **about: float) -> dict:
    return {"latency_ms": list(windows), "clock_ms": 1e-6, "others_cpus": 0.0, **about}


def _noise(count: int, middle: float = 1.0, width: float = 0.01, seed: int = 0) -> list[float]:
    return (middle * np.exp(width * np.random.default_rng(seed).normal(size=count))).tolist()


def test_quiet_values_have_no_troubles() -> None:
    assert measure.troubles(_raw(*(_noise(200, seed=n) for n in range(4)))) == []
    wide = [_noise(500, width=0.3, seed=n) for n in range(4)]
    assert measure.troubles(_raw(*wide)) == [], "one wide bell is not two speeds"


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (_raw([1.0, 1.1, 1.2]), "only 3 inferences"),
        (_raw(*(_noise(200, seed=n) for n in range(4)), clock_ms=0.5), "too coarse"),
        (_raw([1.0, 2.0] * 100, [1.0, 2.0] * 100), "too coarse"),
        (_raw(*(_noise(200, seed=n) for n in range(4)), others_cpus=0.9), "other programs kept 0.9 CPUs busy"),
        (_raw(*(_noise(200, 1 + 0.05 * n, seed=n) for n in range(4))), "slowed down by 15 %"),
        (_raw(_noise(200), _noise(200, 1.3), _noise(200), _noise(200, 1.3)), "unstable"),
        (_raw(*(_noise(100, seed=n) + _noise(100, 1.5, seed=9 + n) for n in range(4))), "two speeds, 1 and 1.5 ms"),
    ],
)
def test_troubles_are_told(raw: dict, word: str) -> None:
    assert word in "; ".join(measure.troubles(raw))


def test_windows_go_on_until_they_agree_or_the_cap_is_reached() -> None:
    def rounds(takes: list[float]) -> int:
        session = Scripted(takes=[0.01] * 11 + takes)
        raw = measure.latency({"a": session}, _images(1), window_s=0.05, clock=session.clock, others_cpu_s=lambda: 0)
        return len(raw["a"]["latency_ms"])

    assert rounds([0.01]) == 4
    assert 4 < rounds([0.02] * 6 + [0.01]) < 12
    assert rounds([value for n in range(200) for value in [0.01 + 0.01 * (n % 2)] * 3]) == 12


def test_what_others_use_of_the_cpu_is_kept_with_the_values() -> None:
    session = Scripted(takes=[0.01])
    raw = measure.latency(
        {"a": session}, _images(1), window_s=0.05, clock=session.clock, others_cpu_s=lambda: 0.5 * session.now
    )
    assert raw["a"]["others_cpus"] == pytest.approx(0.5)
    assert machine.others_cpu_s() > 0


def test_percentiles_are_of_all_windows() -> None:
    assert measure.percentiles([[1.0, 2.0], [3.0]])["p50"] == 2.0


def _root(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        path = tmp_path / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_threads_come_from_the_quota(tmp_path: Path) -> None:
    root = _root(
        tmp_path,
        proc__self__cgroup="0::/box/inner\n",
        sys__fs__cgroup__cpu_dot_max="max 100000",
        sys__fs__cgroup__box__cpu_dot_max="150000 100000",
        sys__fs__cgroup__box__inner__cpu_dot_max="max 100000",
    )
    assert machine.cpu_quota(root) == 1.5
    assert machine.cores(root) <= 2
    (root / "sys/fs/cgroup/box/inner/cpu.max").write_text("50000 100000")
    assert machine.cores(root) == 1


def test_the_older_control_groups_are_read_too(tmp_path: Path) -> None:
    root = _root(
        tmp_path,
        sys__fs__cgroup__cpu__cpu_dot_cfs_quota_us="100000",
        sys__fs__cgroup__cpu__cpu_dot_cfs_period_us="100000",
    )
    assert machine.cpu_quota(root) == 1.0
    (root / "sys/fs/cgroup/cpu/cpu.cfs_quota_us").write_text("-1")
    assert machine.cpu_quota(root) is None


def test_a_machine_that_tells_nothing_is_described_without_guesses(tmp_path: Path) -> None:
    about = machine.describe(tmp_path)
    assert about["memory_gb"] is None
    assert about["cpu"]["instructions"] == []
    assert about["cpu"]["quota"] is None


def test_int8_and_bf16_instructions_are_read(tmp_path: Path) -> None:
    root = _root(tmp_path, proc__cpuinfo="model name : Some CPU\nflags : fpu avx2 avx512_vnni amx_bf16\n")
    cpu = machine.describe(root)["cpu"]
    assert cpu["model"] == "Some CPU"
    assert cpu["instructions"] == ["avx2", "avx512_vnni", "amx_bf16"]


def test_absent_libraries_have_no_version() -> None:
    assert set(machine.versions("numpy", "no-such-thing")) == {"numpy"}


def test_a_folder_proves_that_it_is_whole(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.bin").write_bytes(b"123")
    (tmp_path / "y.txt").write_text("y")
    written = manifest.write(tmp_path, about="test")
    assert manifest.read(tmp_path) == written
    assert manifest.problems(tmp_path, written) == []


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda folder: (folder / "x.bin").unlink(), "missing"),
        (lambda folder: (folder / "x.bin").write_bytes(b"12"), "bytes instead of"),
        (lambda folder: (folder / "x.bin").write_bytes(b"124"), "has changed"),
        (lambda folder: (folder / "new").write_bytes(b""), "does not belong"),
    ],
)
def test_every_damage_is_found(tmp_path: Path, damage, word: str) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "x.bin").write_bytes(b"123")
    written = manifest.write(tmp_path)
    damage(tmp_path)
    assert word in "; ".join(manifest.problems(tmp_path, written))


def test_a_manifest_that_is_none_is_none(tmp_path: Path) -> None:
    assert manifest.read(tmp_path) is None
    (tmp_path / manifest.NAME).write_text("{")
    assert manifest.read(tmp_path) is None
