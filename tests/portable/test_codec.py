"""The codec: round trips, what it refuses and where, hostile documents, and its speed."""

from __future__ import annotations

import json
import math
import pickle
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Optional

import hypothesis
import pytest
from hypothesis import strategies as st

from edgeresnet.portable import codec
from edgeresnet.portable.codec import CodecError, Json, decode, encode

pytestmark = pytest.mark.unit


class Layer(NamedTuple):
    name: str
    seconds: float


@dataclass(frozen=True)
class Exact:
    digest: str
    kind: Literal["exact"] = "exact"


@dataclass(frozen=True)
class Near:
    kind: Literal["near"]
    within: float


@dataclass(frozen=True)
class Accuracy:
    top1: int
    interval: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.top1 < 0:
            raise ValueError(f"top1 is {self.top1},\nless than none")


@dataclass(frozen=True)
class Document:
    """All that the codec knows, in one."""

    name: str
    passed: bool
    count: int
    share: float
    accuracy: Mapping[str, Accuracy]
    layers: tuple[Layer, ...]
    times: tuple[float, ...]
    answers: tuple[int, ...]
    match: Exact | Near | None
    flags: tuple[bool, ...] = ()
    windows: tuple[tuple[float, ...], ...] = ()
    device: Literal["cpu", "gpu", 3, None] = None
    limit: int | Literal["none"] = "none"
    size: Optional[float] = None  # noqa: UP045
    note: None = None
    kind: str = field(default="plain", metadata={"key": "as", "omit": True})
    notes: dict[str, str] = field(default_factory=dict, metadata={"omit": True})
    extra: Json = None
    more: Mapping[str, Any] = field(default_factory=dict)


INTEGERS = st.integers(-(2**63) + 1, 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
OPAQUE: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | INTEGERS | FLOATS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
ACCURACY = st.builds(Accuracy, st.integers(0, 2**63 - 1), st.none() | st.tuples(FLOATS, FLOATS))
DOCUMENTS = st.builds(
    Document,
    name=st.text(),
    passed=st.booleans(),
    count=INTEGERS,
    share=FLOATS,
    accuracy=st.dictionaries(st.text(), ACCURACY, max_size=3),
    layers=st.lists(st.builds(Layer, st.text(), FLOATS), max_size=3).map(tuple),
    times=st.lists(FLOATS, max_size=5).map(tuple),
    answers=st.lists(INTEGERS, max_size=5).map(tuple),
    match=st.none() | st.builds(Exact, st.text()) | st.builds(Near, st.just("near"), FLOATS),
    flags=st.lists(st.booleans(), max_size=3).map(tuple),
    windows=st.lists(st.lists(FLOATS, max_size=3).map(tuple), max_size=3).map(tuple),
    device=st.sampled_from(["cpu", "gpu", 3, None]),
    limit=INTEGERS | st.just("none"),
    size=st.none() | FLOATS,
    note=st.none(),
    kind=st.just("plain") | st.text(),
    notes=st.dictionaries(st.text(), st.text(), max_size=3),
    extra=OPAQUE,
    more=st.dictionaries(st.text(), OPAQUE, max_size=3),
)
PLAIN = Document("a", True, 1, 0.5, {}, (), (), (), None)


def document(**changed: object) -> dict[str, object]:
    """Return the JSON of a valid document, with other values here and there."""
    return {**encode(PLAIN), **changed}


def without(name: str) -> dict[str, object]:
    return {key: value for key, value in document().items() if key != name}


@hypothesis.given(DOCUMENTS)
def test_what_was_encoded_is_decoded_as_it_was(given: Document) -> None:
    assert decode(Document, json.loads(json.dumps(encode(given), allow_nan=False))) == given


def test_keys_are_in_the_order_of_the_fields_and_defaults_that_say_nothing_are_left_out() -> None:
    keys = list(encode(PLAIN))
    assert keys[:4] == ["name", "passed", "count", "share"]
    assert not {"as", "kind", "notes"} & set(keys)
    assert encode(decode(Document, document(notes={"a": "b"}, **{"as": "other"})))["as"] == "other"


def test_what_is_left_out_takes_its_default() -> None:
    least = {key: value for key, value in document().items() if key in Document.__annotations__ and value is not None}
    assert decode(Document, {**least, "match": None}) == PLAIN


def test_an_integer_is_a_number_and_becomes_a_float() -> None:
    found = decode(Document, document(share=2, times=[1, 2.5], windows=[[3]]))
    assert [type(each) for each in (found.share, *found.times, *found.windows[0])] == [float] * 4


def test_a_field_that_is_no_argument_is_no_key() -> None:
    @dataclass(frozen=True)
    class Computed:
        given: int
        cached: int = field(init=False, default=3)

    assert encode(Computed(1)) == {"given": 1}


def test_containers_of_other_types_are_encoded_too() -> None:
    assert encode(MappingProxyType({"a": (1, Layer("b", 2.0))})) == {"a": [1, ["b", 2.0]]}


def test_unions_choose_by_the_type_of_the_value() -> None:
    kind: Any = int | float | tuple[str, ...] | Mapping[str, int] | None
    for value in (1, 1.5, None, {"a": 1}):
        assert decode(kind, value) == value
        assert type(decode(kind, value)) is type(value)
    assert decode(kind, ["a"]) == ("a",)
    assert decode(Exact | Near, {"kind": "exact", "digest": "a"}) == Exact("a")


def test_scalars_are_decoded_alone() -> None:
    assert decode(int, 3) == 3
    assert decode(Any | None, [1]) == [1]


REFUSED: list[tuple[object, str]] = [
    ([], "is a list, not an object"),
    (None, "is null, not an object"),
    (without("name"), "name: is missing"),
    (document(nmae="a"), "nmae: is not a known key; did you mean name?"),
    (document(zzzzzz=1), "zzzzzz: is not a known key"),
    (document(kind="plain"), "kind: is not a known key"),
    (document(name=1), "name: is an integer, not a string: 1"),
    (document(passed=1), "passed: is an integer, not a boolean: 1"),
    (document(count="12"), "count: is a string, not an integer: '12'"),
    (document(count=True), "count: is a boolean, not an integer: true"),
    (document(count=1.5), "count: is a number, not an integer: 1.5"),
    (document(share=False), "share: is a boolean, not a number: false"),
    (document(share=None), "share: is null, not a number"),
    (document(accuracy=[]), "accuracy: is a list, not an object"),
    (document(accuracy={"int8": {"top1": "1"}}), "accuracy.int8.top1: is a string, not an integer: '1'"),
    (document(accuracy={"int8": {"top1": -1}}), "accuracy.int8: top1 is -1, less than none"),
    (document(accuracy={"a b": {}}), 'accuracy["a b"].top1: is missing'),
    (document(accuracy={"a": {"top1": 1, "interval": [1]}}), "accuracy.a.interval: has 1 items, not 2"),
    (document(accuracy={"a": {"top1": 1, "interval": 1}}), "accuracy.a.interval: is an integer, not a list or null: 1"),
    (document(layers=[["a", 1], ["b", "c"]]), "layers[1][1]: is a string, not a number: 'c'"),
    (document(layers=[["a", 1, 2]]), "layers[0]: has 3 items, not 2"),
    (document(layers=[{"name": "a", "seconds": 1}]), "layers[0]: is an object, not a list"),
    (document(times=[1.0, 2, "3"]), "times[2]: is a string, not a number: '3'"),
    (document(times=[1.0, True]), "times[1]: is a boolean, not a number: true"),
    (document(times={}), "times: is an object, not a list"),
    (document(answers=[1, 2.0]), "answers[1]: is a number, not an integer: 2.0"),
    (document(answers=[False]), "answers[0]: is a boolean, not an integer: false"),
    (document(flags=[True, 0]), "flags[1]: is an integer, not a boolean: 0"),
    (document(windows=[[1.0], [1.0, None]]), "windows[1][1]: is null, not a number"),
    (document(device="tpu"), "device: is 'tpu', not 'cpu', 'gpu', 3 or null"),
    (document(limit="all"), "limit: is 'all', not 'none'"),
    (document(limit=[]), "limit: is a list, not an integer or a string"),
    (document(size="1"), "size: is a string, not a number or null: '1'"),
    (document(note=0), "note: is an integer, not null: 0"),
    (document(match={"digest": "a"}), "match.kind: is missing"),
    (document(match={"kind": "far"}), "match.kind: is 'far', not 'exact' or 'near'"),
    (document(match={"kind": []}), "match.kind: is a list, not 'exact' or 'near'"),
    (document(match={"kind": "near", "digest": "a"}), "match.digest: is not a known key"),
    (document(match="exact"), "match: is a string, not an object or null: 'exact'"),
    (document(notes={"a": None}), "notes.a: is null, not a string"),
    (document(more=[]), "more: is a list, not an object"),
]


@pytest.mark.parametrize(("value", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_a_document_that_does_not_fit_is_refused_by_name(value: object, said: str) -> None:
    with pytest.raises(CodecError) as caught:
        decode(Document, value)
    assert str(caught.value) == said


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_refused_both_ways(number: float) -> None:
    refused: dict[str, dict[str, object]] = {
        "share": {"share": number},
        "times[1]": {"times": [1.0, number]},
        "windows[0][1]": {"windows": [[1, number]]},
    }
    for path, changed in refused.items():
        with pytest.raises(CodecError, match="is not a finite number") as caught:
            decode(Document, document(**changed))
        assert caught.value.path == path
    for path, value in {
        "": number,
        "a[1]": {"a": (1.0, number)},
        "a.b[0][1]": {"a": {"b": [Layer("c", number)]}},
    }.items():
        with pytest.raises(CodecError, match="is not a finite number") as caught:
            encode(value)
        assert caught.value.path == path


def test_large_numbers_are_numbers() -> None:
    assert decode(tuple[float, ...], [1e308, 1e308, -1]) == (1e308, 1e308, -1.0)
    assert encode((1e308, 1e308)) == [1e308, 1e308]
    for value in (10**400, 10**5000):
        with pytest.raises(CodecError, match=r"^\[1\]: is not a finite number: a huge integer$"):
            decode(tuple[float, ...], [1.0, value])


def test_what_json_does_not_have_is_not_encoded() -> None:
    with pytest.raises(CodecError, match=r"^a\[1\]: is of type set, which JSON does not have$"):
        encode({"a": [1, {2}]})
    with pytest.raises(CodecError, match=r"^a: has a key that is not a string: 1$"):
        encode({"a": {1: 2}})


def test_an_error_survives_a_process() -> None:
    found = pickle.loads(pickle.dumps(CodecError("a.b", "is missing")))
    assert (found.path, found.problem, str(found)) == ("a.b", "is missing", "a.b: is missing")


def test_the_cause_of_a_class_is_kept() -> None:
    with pytest.raises(CodecError) as caught:
        decode(Document, document(accuracy={"a": {"top1": -1}}))
    assert isinstance(caught.value.__cause__, ValueError)


def deep(levels: int, *, objects: bool = False) -> object:
    """Return lists in lists, or objects in objects."""
    value: object = []
    for _ in range(levels):
        value = {"a": value} if objects else [value]
    return value


@pytest.mark.parametrize("objects", [False, True])
def test_opaque_values_may_be_as_deep_as_they_like(objects: bool) -> None:
    found = decode(Document, document(extra=deep(50_000, objects=objects)))
    copy = encode(found)["extra"]
    for _ in range(50_000):
        copy = copy["a"] if objects else copy[0]
    assert copy == []


ODD = [deep(50_000), deep(50_000, objects=True), "x" * 10**7, "\ud800\n\u2028" * 1000, math.nan, -math.inf, 1e308, -1]
ODD += [
    True,
    None,
    10**5000,
    [],
    {},
    [[]],
    {"": {}},
    {"a" * 10**6: 1},
    {"\n.[\ud800": {"top1": "\n"}},
    {1: 2},
    {None: 1},
]
ODD += [b"bytes", {1}, (1, 2), object()]


def refusal(value: object) -> str:
    """Return what the codec says against a document; nothing where it takes it."""
    try:
        decode(Document, value)
    except CodecError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", [*(key.name for key in codec.keys(Document)), "", "x" * 10**6, "\ud800\n"])
def test_hostile_values_are_refused_in_few_words(name: str) -> None:
    for value in ODD:
        for given in (value, document(**{name: value}), document(**{name: [value]}), document(**{name: {"a": value}})):
            said = refusal(given)
            assert len(said) <= 300
            assert said.isprintable()


@hypothesis.given(st.sampled_from([key.name for key in codec.keys(Document)]), OPAQUE)
def test_any_json_is_decoded_or_refused(name: str, value: object) -> None:
    given = document(**{name: value})
    said = refusal(given)
    assert said.startswith(name) if said else decode(Document, encode(decode(Document, given)))


def test_long_paths_are_cut_in_their_middle() -> None:
    kind: Any = int
    value: object = "a"
    for _ in range(30):
        kind, value = Mapping[str, kind], {"level": value}
    with pytest.raises(CodecError) as caught:
        decode(kind, value)
    assert caught.value.path == ".".join(["level"] * 30)
    assert len(str(caught.value)) < 200


@dataclass(frozen=True)
class Untagged:
    a: int


@dataclass(frozen=True)
class Other:
    a: int


@dataclass(frozen=True)
class Tagged:
    kind: Literal["tagged"] = "tagged"


def test_one_class_of_a_union_may_lack_the_key_that_tells_the_others_apart() -> None:
    for value, document in ((Untagged(3), {"a": 3}), (Tagged(), {"kind": "tagged"})):
        assert encode(value) == document
        assert decode(Untagged | Tagged, document) == value
    with pytest.raises(CodecError, match="is 'other', not 'tagged'"):
        decode(Untagged | Tagged, {"kind": "other"})


@pytest.mark.parametrize(
    "kind",
    [list[int], tuple, Mapping[int, str], set, Untagged | Other, tuple[int, ...] | tuple[str, ...], str | Literal["a"]],
)
def test_a_type_that_the_codec_does_not_know_is_a_fault_of_ours(kind: Any) -> None:
    with pytest.raises(TypeError):
        decode(kind, [])


def test_a_hundred_thousand_numbers_take_no_time() -> None:
    """Loose, as machines differ: 5 ms where it was written, and 110 ms an item at a time."""
    numbers = [index / 7 for index in range(100_000)]
    best = math.inf
    for _ in range(5):
        start = time.perf_counter()
        decoded = decode(tuple[float, ...], numbers)
        encode(decoded)
        best = min(best, time.perf_counter() - start)
    assert best < 0.05
