"""The schema of the codec's types: it accepts what the codec writes, and refuses what the codec refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, make_dataclass
from typing import Any, Literal

import hypothesis
import jsonschema
import pytest

from edgeresnet.portable import codec
from edgeresnet.report import schema

from ..portable.test_codec import DOCUMENTS, PLAIN, REFUSED, Document, Exact, Layer, Near

pytestmark = pytest.mark.unit

VALIDATOR = jsonschema.Draft202012Validator(schema.of(Document, title="a document"))


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(json.dumps(VALIDATOR.schema)))


@hypothesis.given(DOCUMENTS)
def test_what_the_codec_writes_is_valid(given: Document) -> None:
    VALIDATOR.validate(json.loads(json.dumps(codec.encode(given))))


# Of a whole number as 2.0, JSON Schema says that it is an integer. What a class checks itself, it does not know.
BEYOND = ("answers[1]: is a number", "accuracy.int8: top1 is -1")


@pytest.mark.parametrize(("value", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_what_the_codec_refuses_is_not_valid(value: object, said: str) -> None:
    assert VALIDATOR.is_valid(value) == said.startswith(BEYOND)


def test_a_dataclass_is_defined_once_and_described() -> None:
    found: Any = VALIDATOR.schema
    assert found["title"] == "a document"
    assert found["$ref"] == "#/$defs/Document"
    assert list(found["$defs"]) == ["Document", "Accuracy", "Exact", "Near"]
    about = found["$defs"]["Document"]
    assert about["description"] == "All that the codec knows, in one."
    assert about["required"] == [
        "name", "passed", "count", "share", "accuracy", "layers", "times", "answers", "match",
    ]  # fmt: skip
    assert about["additionalProperties"] is False
    assert "as" in about["properties"]
    assert "description" not in found["$defs"]["Exact"]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Any, {}),
        (int, {"type": "integer"}),
        (float | None, {"anyOf": [{"type": "number"}, {"type": "null"}]}),
        (Literal["a"], {"const": "a"}),
        (Literal["a", 2], {"enum": ["a", 2]}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (Mapping[str, bool], {"type": "object", "additionalProperties": {"type": "boolean"}}),
        (
            Layer,
            {
                "type": "array",
                "prefixItems": [{"type": "string"}, {"type": "number"}],
                "items": False,
                "minItems": 2,
            },
        ),
    ],
)
def test_each_type_has_its_schema(kind: Any, expected: dict[str, object]) -> None:
    assert schema.of(kind, title="t") == {"$schema": schema.DIALECT, "title": "t", **expected}


def test_the_key_that_tells_dataclasses_apart_is_required() -> None:
    found: Any = schema.of(Exact | Near | None, title="t")
    assert found["anyOf"] == [
        {"$ref": "#/$defs/Exact", "required": ["kind"]},
        {"$ref": "#/$defs/Near", "required": ["kind"]},
        {"type": "null"},
    ]


def test_two_classes_of_one_name_are_two_definitions() -> None:
    other = make_dataclass("Exact", [("a", int)], frozen=True)
    found: Any = schema.of(tuple[Exact, other], title="t")  # type: ignore[valid-type]
    assert len(found["$defs"]) == 2


def test_a_description_is_one_paragraph() -> None:
    @dataclass(frozen=True)
    class Long:
        """One
        sentence.

        And more.
        """

    found: Any = schema.of(Long, title="t")
    assert found["$defs"]["Long"] == {
        "description": "One sentence.",
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    }


def test_the_plain_document_is_valid() -> None:
    VALIDATOR.validate(codec.encode(PLAIN))
