"""Two values of JSON, key by key, and how a value is written."""

from __future__ import annotations

import pytest

from edgeresnet import json_diff

pytestmark = pytest.mark.unit


def test_changes_go_down_to_what_is_not_a_mapping() -> None:
    before = {"a": {"b": 1, "c": [1, 2]}, "gone": {"x": 1}}
    after = {"a": {"b": 2, "c": [1, 2]}, "new": 3}
    assert list(json_diff.changes(before, after)) == [
        ("a.b", 1, 2),
        ("gone", {"x": 1}, None),
        ("new", None, 3),
    ]
    assert list(json_diff.changes({"a": 1}, {"a": 2}, "verify")) == [("verify.a", 1, 2)]
    assert list(json_diff.changes(before, before)) == []


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "nothing"),
        (True, "true"),
        ({"a": [1, "b"]}, "{a: [1, b]}"),
        (30.0, "30"),
        (0.1, "0.1"),
        (0.12345678, "0.12345678"),  # or two that differ would look alike
        ("text", "text"),
    ],
)
def test_values_are_written_as_a_person_writes_them(value: object, words: str) -> None:
    assert json_diff.shown(value) == words
