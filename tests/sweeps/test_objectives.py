from __future__ import annotations

import re
from dataclasses import replace

import pytest

from edgeresnet.portable.readings import KINDS
from edgeresnet.portable.result import Measured
from edgeresnet.sweeps import objectives
from edgeresnet.sweeps.document import Objective, Value

from ..portable.results import accuracy, latency, measured, process, variant

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("max top1", Objective("max", "top1", "openvino")),
        ("min p50 openvino", Objective("min", "p50", "openvino")),
        ("max recall 'polar bear' openvino", Objective("max", "recall", "openvino", "polar bear")),
        ("max ap 'polar bear' openvino", Objective("max", "ap", "openvino", "polar bear")),
        ("max map", Objective("max", "map", "openvino")),
    ],
)
def test_an_objective_is_a_direction_a_metric_and_a_target(text: str, found: Objective) -> None:
    assert objectives.parse(text, ["openvino"]) == found
    assert objectives.parse(str(found).replace("polar bear", "'polar bear'"), ["openvino"]) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("top1", "must be a direction, a metric and a target"),
        ("mox top1", "'mox' is not a direction: did you mean max?"),
        ("max topl1 a", "'topl1' is not a metric: did you mean top1?"),
        ("max zzz", "'zzz' is not a metric: there are top1, "),
        ("min top1 a", "more of top1 is better, so write `max top1`"),
        ("max p50 a", "less of p50 is better, so write `min p50`"),
        ("min p50", "must end with a target: the recipe has aa, openvino"),
        ("min p50 openvno", "'openvno' is not a target of the recipe: did you mean openvino?"),
        ("min p50 aa openvino", "'openvino' is one word too many"),
        ("max recall", "must name a class"),
        ("max recall 'cat", "a quotation mark that is not closed"),
    ],
)
def test_a_wrong_objective_names_what_to_write(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        objectives.parse(text, ["aa", "openvino"])


def test_a_metric_of_another_task_is_not_read() -> None:
    found = objectives.read(_measured(), Objective("max", "map", "x"))
    assert found == "map is not a metric of classification"


def test_every_metric_is_read_off_a_result_in_the_direction_of_its_promise() -> None:
    for name, metric in objectives.METRICS.items():
        if metric.kind:
            assert KINDS[metric.kind].ceiling == (metric.direction == "min"), name


def _measured(processes: int = 3, labels: list[int] | None = None) -> Measured:
    times = latency([process([1.0, 1.1, 1.2], [1.1, 1.2, 1.3]) for _ in range(processes)])
    return measured("int8", {"int8": variant(times, accuracy(top1=9))}, labels=labels or [0] * 10)


def test_values_have_the_intervals_of_their_measurements() -> None:
    found = objectives.read(_measured(), Objective("max", "top1", "x"))
    assert isinstance(found, Value)
    assert found.value == 90.0
    assert found.low is not None
    assert found.high is not None
    assert found.low < 90 < found.high
    found = objectives.read(_measured(), Objective("min", "p50", "x"))
    assert isinstance(found, Value)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high
    assert objectives.read(_measured(), Objective("min", "size_mb", "x")) == Value(1.5, 1.5, 1.5)


def test_times_of_one_process_have_no_interval() -> None:
    found = objectives.read(_measured(1), Objective("min", "p50", "x"))
    assert isinstance(found, Value)
    assert (found.low, found.high) == (None, None)


def test_what_was_not_measured_is_a_reason() -> None:
    unlabelled = replace(_measured(), labels=None)
    assert objectives.read(unlabelled, Objective("max", "top1", "x")) == "the evaluation images have no labels"
    untimed = measured("int8", {"int8": variant(None)}, labels=[0] * 10)
    assert objectives.read(untimed, Objective("min", "p50", "x")) == "its latency was not measured"
    assert isinstance(objectives.read(_measured(), Objective("max", "throughput", "x")), str)
    assert isinstance(objectives.read(_measured(), Objective("min", "energy_mj", "x")), str)


def test_the_worst_build_counts() -> None:
    rebuilt = replace(_measured(), rebuilds=(variant(None, accuracy(top1=7), size_mb=2.5),))
    assert objectives.read(rebuilt, Objective("min", "size_mb", "x")) == Value(2.5, 2.5, 2.5)
    found = objectives.read(rebuilt, Objective("max", "top1", "x"))
    assert isinstance(found, Value)
    assert found.value == 70.0
