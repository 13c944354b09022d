"""onnxruntime as the calculator: batches in order, computed ahead, and networks handed over without a copy."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from edgeresnet.graph import canonical
from edgeresnet.portable import machine
from edgeresnet.quantization import session

from .nets import basic, images, plain


@pytest.fixture(params=[1, 2, 7])
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(machine, "cores", lambda: request.param)
    return int(request.param)


def test_batches_come_back_in_order_whatever_takes_longest(cores: int) -> None:
    first_may_end = threading.Event()

    def work(item: int) -> int:
        if item == 1 or cores == 1:
            first_may_end.set()
        if item == 0 and cores > 1:
            assert first_may_end.wait(60)
        return item * 10

    assert list(session.ahead(work, range(5))) == [(0, 0), (1, 10), (2, 20), (3, 30), (4, 40)]


def test_no_more_than_the_next_batch_is_computed_ahead(cores: int) -> None:
    taken = []

    def items() -> object:
        for item in range(6):
            taken.append(item)
            yield item

    for item, _ in session.ahead(lambda item: item, items()):  # type: ignore[arg-type,var-annotated]
        assert len(taken) <= item + session._AT_ONCE


def test_a_failure_comes_in_its_turn_and_ends_the_rest(cores: int) -> None:
    done, seen = [], []

    def work(item: int) -> int:
        if item == 1:
            raise ValueError("the second")
        done.append(item)
        return item

    with pytest.raises(ValueError, match="the second"):
        seen += [item for item, _ in session.ahead(work, range(100))]
    assert len(done) <= 3


def test_a_fixed_batch_may_vary_in_what_is_handed_over() -> None:
    fixed = basic()
    canonical.set_batch(fixed, 7)
    kept = fixed.SerializeToString()
    found = session._any_batch(fixed)
    assert found.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert fixed.SerializeToString() == kept


def test_over_computes_what_one_call_computes() -> None:
    run, given = session.Runner(plain(), ["c1_out", "logits"]), images(10)
    found = list(run.over(np.split(given, [3, 6])))
    assert [len(batch) for batch, _ in found] == [3, 3, 4]
    for batch, tensors in found:
        for one, other in zip(tensors, run(batch), strict=True):
            assert (one == other).all()


def test_matrix_products_take_one_thread_each_while_several_calls_make_them() -> None:
    threads = session.openblas()
    if threads is None:
        pytest.skip("this numpy has no OpenBLAS")
    get, set_ = threads
    before = get()
    try:
        set_(2)
        assert session.each(lambda _: get(), range(3)) == [1, 1, 1]
        assert get() == 2
        with pytest.raises(ZeroDivisionError):
            session.each(lambda value: 1 // value, [0])
        assert get() == 2
    finally:
        set_(before)
