"""Errors: their tree, their sentences, and what a machine failure becomes."""

from __future__ import annotations

import errno
import pickle

import pytest

from edgeresnet import errors

pytestmark = pytest.mark.unit


def test_the_tree_is_the_one_that_is_drawn() -> None:
    for name in vars(errors):
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, errors.EdgeresnetError):
            line = next(line for line in (errors.__doc__ or "").splitlines() if f" {name} " in f"{line} ")
            assert str(kind.exit_code) in line


def test_an_error_crosses_a_process_with_its_hint() -> None:
    there = pickle.loads(pickle.dumps(errors.TargetError("it", "went wrong", hint="do this").within("OpenVINO")))
    assert (there.message, there.hint, there.exit_code) == ("OpenVINO: it went wrong", "do this", 4)
    assert (there.subject, there.problem) == ("OpenVINO: it", "went wrong")


@pytest.mark.parametrize(
    ("problem", "word"),
    [
        (OSError(errno.ENOSPC, "No space left", "/somewhere/file"), "/somewhere/file"),
        (OSError(errno.EDQUOT, "quota"), "disk is full"),
        (MemoryError(), "memory ran out"),
    ],
)
def test_a_machine_failure_is_not_the_users_fault(problem: BaseException, word: str) -> None:
    found = errors.machine_error(problem)
    assert found is not None
    assert word in found.message
    assert found.exit_code == 5


def test_other_errors_are_not_blamed_on_the_machine() -> None:
    assert errors.machine_error(FileNotFoundError(errno.ENOENT, "no")) is None
    assert errors.machine_error(ValueError()) is None
