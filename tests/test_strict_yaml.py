"""YAML that was written to hurt its reader."""

from __future__ import annotations

import time

import pytest
import yaml

from edgeresnet.recipe import strict_yaml

pytestmark = pytest.mark.unit

LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 5000, "has more than 64 levels"),
        ("{a: " * 5000 + "1" + "}" * 5000, "has more than 64 levels"),
        ("- " * 5000 + "x", "has more than 64 levels"),
        ("".join(f"{' ' * depth}a:\n" for depth in range(500)), "has more than 64 levels"),
        (LAUGHS, "has more than 50,000 values"),
        ("a: &a [*a]", "has an alias that refers to itself"),
        ("x: &x\n  <<: *x\n", "has an alias that refers to itself"),
        ("seed: !!int ''", "not a valid int"),
        ("seed: !!bool bad", "not a valid bool"),
        ("seed: !!float bad", "not a valid float"),
        ("seed: !!timestamp bad", "not a valid timestamp"),
        ("seed: 2026-99-99", "not a valid timestamp"),
        ("seed: !!binary 'é'", "failed to convert base64"),
        (f"seed: {'9' * 5000}", "not a valid int"),
        (f"seed: 0x{'f' * 5000}", "an integer of too many digits"),
        (f"seed: {':'.join(['1'] * 5000)}", "an integer of too many digits|not a valid int"),
        ("seed: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("seed: 1\nseed: 2", "has the key 'seed' twice"),
        ("? [a, b]\n: c", "unhashable"),
    ],
)
def test_hostile_yaml_ends_at_once_with_a_line(text: str, words: str) -> None:
    began = time.monotonic()
    with pytest.raises(yaml.YAMLError, match=words):
        strict_yaml.load(text)
    assert time.monotonic() - began < 20, "a bound, not a measurement: an expansion would take for ever"


def test_aliases_and_merges_are_read_as_people_use_them() -> None:
    text = "base: &base {a: 1, b: 2}\none: {<<: *base, b: 3}\ntwo: [*base, *base]\nday: 2026-11-29"
    found = strict_yaml.load(text)
    assert isinstance(found, dict)
    assert found["one"] == {"a": 1, "b": 3}
    assert found["two"] == [{"a": 1, "b": 2}] * 2
    twice = "o: &o {a: 2}\nx: {y: &b {<<: *o, a: 1}}\nz: {<<: *b}"
    assert strict_yaml.load(twice) == yaml.safe_load(twice), "what a merge adds is not there twice"
    assert strict_yaml.load("") is None
