"""Numbers that cannot be, refused where a document is read and nowhere else."""

from __future__ import annotations

import time
from typing import Any

import pytest

from edgeresnet.portable import codec, result
from edgeresnet.portable.codec import CodecError
from edgeresnet.portable.machine import MachineState
from edgeresnet.portable.session import Signature
from edgeresnet.portable.times import Latency, ProcessTimes, SweepCell

from .results import TIMED_MACHINE

pytestmark = pytest.mark.unit

PROCESS: dict[str, Any] = {"began": 1.78e9, "machine": TIMED_MACHINE, "load_ms": 1.0, "first_ms": 1.0}
PROCESS |= {"host_ms": [[1.0, 2.0], [1.5]], "pace_ms": [0.5, 0.5]}
ACCURACY: dict[str, Any] = {"images": 10, "agree": 9, "top1": 8, "flips_lost": 1, "flips_won": 0, "top5": 10}
SIGNATURE: dict[str, Any] = {"input": "i", "batch": None, "channels": 3, "size": 32, "output": "o", "classes": 10}
STATE: dict[str, Any] = {"load": 0.5, "cpu_mhz": 2000.0, "throttled": 0, "temperature_c": -5.0}
CELL: dict[str, Any] = {"batch": 1, "streams": 1, "images_per_s": 5.0, "ms": [1.0]}


@pytest.mark.parametrize(
    ("kind", "document", "change", "words"),
    [
        (result.Accuracy, ACCURACY, {"agree": 11}, "agree: is 11, not between 0 and 10"),
        (result.Accuracy, ACCURACY, {"flips_lost": -1}, "flips_lost: is -1, not between 0 and 10"),
        (result.Accuracy, ACCURACY, {"images": -1}, "images: is -1, not at least 0"),
        (result.Accuracy, ACCURACY, {"flips_won": None}, "only a part of the counts"),
        (ProcessTimes, PROCESS, {"began": 12.0}, "began: is before 2020"),
        (ProcessTimes, PROCESS, {"began": 4e9}, "began: is in the future"),
        (ProcessTimes, PROCESS, {"host_ms": [[1.0, -2.0], [1.5]]}, "host_ms: is -2, not at least 0"),
        (ProcessTimes, PROCESS, {"host_ms": [[1.0, 1e300], [1.5]]}, r"host_ms: is 1e\+300, not a number that was"),
        (ProcessTimes, PROCESS, {"host_ms": [[1.0], []]}, "host_ms: has a window without times"),
        (ProcessTimes, PROCESS, {"host_ms": [[1.0]]}, "pace_ms|cpu_work_ms"),
        (ProcessTimes, PROCESS, {"stolen_cpus": [-1.0, 0.0]}, "stolen_cpus: is -1"),
        (ProcessTimes, PROCESS, {"peak_memory_mb": -3.0}, "peak_memory_mb: is -3"),
        (Latency, {"batch": 1, "processes": [PROCESS]}, {"batch": 0}, "batch: is 0, not at least 1"),
        (Signature, SIGNATURE, {"size": 0}, "size: is 0"),
        (MachineState, STATE, {"temperature_c": 1e9}, "temperature_c: is 1e"),
        (SweepCell, CELL, {"streams": 0}, "streams: is 0"),
    ],
)
def test_a_number_that_cannot_be_is_refused_where_it_is_read(kind: Any, document: Any, change: Any, words: str) -> None:
    codec.decode(kind, document)
    with pytest.raises(CodecError, match=words):
        codec.decode(kind, {**document, **change})


def test_another_computers_clock_may_be_ahead_by_a_day() -> None:
    codec.decode(ProcessTimes, {**PROCESS, "began": time.time() + 86_400})


def test_what_is_not_read_is_not_checked() -> None:
    """A judge gets odd values from tests and from older code; it has words of its own for them."""
    assert result.Accuracy(images=1, agree=5).agree == 5
