"""Errors: their tree, their sentences, and what a machine failure becomes."""

from __future__ import annotations

import ast
import errno
import pickle
from pathlib import Path

import pytest

from edgeresnet import cli, errors

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


def test_what_an_error_has_more_crosses_as_well() -> None:
    given = errors.ModelError("it", "went wrong", hint="run the lines", lines=["import onnx"]).within("OpenVINO")
    assert pickle.loads(pickle.dumps(given)).lines == ("import onnx",)


def test_lines_to_copy_are_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["import onnx", f"onnx.utils.extract_model('{'a' * 200}', ['{'b' * 200}'])"]
    with pytest.raises(SystemExit):
        cli._exit_for(errors.ModelError("it", "went wrong", hint="run the lines", lines=lines))
    assert capsys.readouterr().err.splitlines() == ["error: it went wrong (run the lines)", *lines]


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


# What a problem may begin with, and a subject may not: a subject is a thing.
_VERBS = {"is", "are", "was", "were", "has", "had", "have", "takes", "took", "needs", "answered", "answers", "failed"}
_VERBS |= {
    "fails",
    "cannot",
    "could",
    "does",
    "do",
    "did",
    "holds",
    "gets",
    "refuses",
    "finds",
    "reads",
    "runs",
    "ended",
}
_VERBS |= {"must", "may", "knows", "names", "says", "there", "it"}


def _raised(source: str) -> list[tuple[int, str]]:
    """Return line and first word of each subject that is spelled out where an error is built."""
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in kinds and node.args:
            first = node.args[0].values[0] if isinstance(node.args[0], ast.JoinedStr) else node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str) and first.value.strip():
                found.append((node.lineno, first.value.split()[0]))
    return found


def test_no_subject_begins_with_a_verb() -> None:
    package = Path(errors.__file__).parent
    every = [(path, *each) for path in sorted(package.rglob("*.py")) for each in _raised(path.read_text())]
    assert len(every) > 100, "the test sees the errors"
    assert [f"{path.name}:{line}: {word}" for path, line, word in every if word in _VERBS] == []


def test_the_test_of_subjects_can_fail() -> None:
    assert _raised('raise TargetError(f"takes {n} images", "now", hint="")') == [(1, "takes")]


def test_a_users_value_is_quoted_short_and_on_one_line() -> None:
    assert errors.quoted("a\nb") == "'a\\nb'"
    assert errors.quoted(12) == "12"
    assert errors.quoted(1 << 300) == "a huge integer"
    long = errors.quoted("x" * 200_000)
    assert len(long) <= 80
    assert "…" in long
    assert long.startswith("'xxx")
    assert long.endswith("xxx'")


def test_a_long_sentence_loses_the_middles_of_its_longest_words_first() -> None:
    sentence = f"the file {'a' * 500} is not what {'b' * 300} needs"
    found = errors.fitted(sentence, 160)
    assert len(found) <= 160
    assert found.startswith("the file aaa")
    assert "is not what" in found
    assert errors.fitted("a path with  two spaces", 160) == "a path with  two spaces"
    assert len(errors.fitted("word" * 100_000 + " ", 100)) <= 100
    assert len(errors.fitted("word " * 200, 100)) <= 100


def test_what_another_library_raises_over_a_file_becomes_one_line() -> None:
    def refusal(reason: str) -> errors.EdgeresnetError:
        return errors.ModelError("net.pth", f"is damaged: {reason}", hint="copy it again")

    with pytest.raises(errors.ModelError, match=r"is damaged: x+…x+$") as caught, errors.foreign(refusal):
        raise RuntimeError("x" * 5000)
    assert len(caught.value.message) < 150
    for problem in (errors.ImagesError("a", "b", hint="c"), MemoryError(), OSError(errno.ENOSPC, "full")):
        with pytest.raises(type(problem)), errors.foreign(refusal):
            raise problem
    with pytest.raises(errors.ModelError, match="is damaged: MemoryError"), errors.foreign(refusal, memory=True):
        raise MemoryError
    with pytest.raises(KeyError), errors.foreign(refusal, but=(KeyError,)):
        raise KeyError("k")


def test_a_list_of_names_has_a_length_that_a_line_has_room_for() -> None:
    assert errors.listed(["a", "b"]) == "a, b"
    assert errors.listed([str(at) for at in range(12)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"
    assert errors.listed(["a"], count=3) == "a and 2 more"
    assert len(errors.listed(["n" * 5000] * 20)) < 150
    assert errors.listed([]) == ""
