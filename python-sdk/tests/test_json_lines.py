"""JSON in lines: what is read, converted, written and refused."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import math
import uuid
from dataclasses import dataclass, field
from typing import Any, Dict, List, Literal, Optional, Set, Tuple, Union  # noqa: UP035 - Python 3.9 evaluates them

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wallaroo
import wallaroo.testing

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
NOON = dt.datetime(2024, 5, 1, 12, tzinfo=dt.timezone.utc)


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Item:
    name: str
    price: float = 0.0


@dataclass
class Order:
    id: int
    items: List[Item]  # noqa: UP006
    first: Optional[Item] = None  # noqa: UP045
    tags: Set[str] = field(default_factory=set)  # noqa: UP006
    place: Tuple[float, float] = (0.0, 0.0)  # noqa: UP006
    by_name: Dict[str, Item] = field(default_factory=dict)  # noqa: UP006
    at: Optional[dt.datetime] = None  # noqa: UP045
    day: Optional[dt.date] = None  # noqa: UP045
    number: Optional[uuid.UUID] = None  # noqa: UP045
    total: decimal.Decimal = decimal.Decimal(0)
    colour: Colour = Colour.RED
    kind: Literal["new", "old"] = "new"
    code: Union[int, str] = 0  # noqa: UP007
    rest: Any = None


@dataclass
class Tree:
    value: int
    below: List[Tree]  # noqa: UP006


@dataclass
class Unconvertible:
    sets: object
    inner: complex


@dataclass
class Unreadable:
    field: Missing  # noqa: F821


@given(JSON)
def test_values_come_back(value):
    codec = wallaroo.json_lines()
    line = codec.encode(value)
    try:
        line = line.encode()
    except UnicodeEncodeError:
        return  # A lone surrogate, which no UTF-8 has.
    assert line.count(b"\n") == 1
    assert codec.decode(line[:-1]) == value


def test_blank_lines_ends_and_marks():
    for codec in (wallaroo.json_lines(), wallaroo.json_lines(Item)):
        given = [b"", b"\r", b" ", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r"]
        assert list(map(codec.decode, given)) == [None] * len(given)
        expected = codec.decode(b'{"name": "tea"}')
        assert codec.decode(b'{"name": "tea"}\r') == expected
        assert codec.decode(b'\xef\xbb\xbf{"name": "tea"}\r') == expected
    assert wallaroo.json_lines().decode(b"null") is None


def test_dataclasses_come_back():
    order = Order(
        7,
        [Item("tea", 3.5), Item("cup")],
        Item("tea"),
        {"a"},
        (1.0, 2.0),
        {"x": Item("y")},
        NOON,
        NOON.date(),
        uuid.UUID(int=7),
        decimal.Decimal("1.10"),
        Colour.RED,
        "old",
        "c",
        [1, None],
    )
    codec = wallaroo.json_lines(Order)
    assert codec.decode(codec.encode(order).encode()) == order
    tree = Tree(1, [Tree(2, []), Tree(3, [])])
    trees = wallaroo.json_lines(Tree)
    assert trees.decode(trees.encode(tree).encode()) == tree


def test_defaults_hold_and_other_fields_are_ignored():
    codec = wallaroo.json_lines(Item)
    assert codec.decode(b'{"name": "tea", "colour": "green"}') == Item("tea")
    assert codec.decode(b'{"name": "tea", "price": 3}') == Item("tea", 3.0)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"id": 1}', "field 'items' of Order is missing"),
        ('{"id": "1", "items": []}', "id: expected int, got '1'"),
        ('{"id": true, "items": []}', "id: expected int, got True"),
        ('{"id": 1, "items": {}}', "items: expected list, got {}"),
        ('{"id": 1, "items": [{"name": "a"}, {"name": 2}]}', "items[1].name: expected str, got 2"),
        ('{"id": 1, "items": [{}]}', "items[0]: field 'name' of Item is missing"),
        ('{"id": 1, "items": [3]}', "items[0]: expected an object with the fields of Item, got 3"),
        (
            '{"id": 1, "items": [], "by_name": {"x": 3}}',
            "by_name['x']: expected an object with the fields of Item, got 3",
        ),
        ('{"id": 1, "items": [], "place": [1]}', "place: expected a list of 2, got [1]"),
        ('{"id": 1, "items": [], "place": [1, "2"]}', "place[1]: expected float, got '2'"),
        ('{"id": 1, "items": [], "at": "noon"}', "at: expected Optional[datetime.datetime], got 'noon'"),
        ('{"id": 1, "items": [], "total": "x"}', "total: expected Decimal, got 'x'"),
        ('{"id": 1, "items": [], "colour": "blue"}', "colour: expected Colour, got 'blue'"),
        ('{"id": 1, "items": [], "kind": "used"}', "kind: expected one of 'new', 'old', got 'used'"),
        ('{"id": 1, "items": [], "code": 1.5}', "code: expected Union[int, str], got 1.5"),
        (
            '{"id": 1, "items": [{"name": "a", "price": 1' + "0" * 400 + "}]}",
            "items[0].price: expected float, got 1" + "0" * 79 + "…",
        ),
        ("[]", "expected an object with the fields of Order, got []"),
    ],
)
def test_another_shape_is_an_error_that_says_where(line, complaint):
    with pytest.raises(ValueError, match="json_lines") as raised:
        wallaroo.json_lines(Order).decode(line.encode())
    assert str(raised.value) == f"json_lines(Order): {complaint}"


def test_a_line_that_is_no_json_is_a_dead_letter():
    lines = wallaroo.source("in", wallaroo.stdin(wallaroo.json_lines(dict)))
    app = wallaroo.build_application("app", lines.to_sink(wallaroo.stdout(wallaroo.json_lines())))
    outcome = wallaroo.testing.run(app, ['{"a": 1}', '{"a": ', "[1]"])
    assert outcome.lines == ['{"a":1}']
    broken, other = outcome.dead_letters
    assert broken.exception == "json.decoder.JSONDecodeError"
    assert broken.message.endswith("line 1 column 7 (char 6)"), "each interpreter has words of its own"
    assert (other.exception, other.message) == ("ValueError", "json_lines(dict): expected dict, got [1]")


def test_what_json_does_not_have_is_written():
    values = {
        "both": (1, 2),
        "at": NOON,
        "day": NOON.date(),
        "number": uuid.UUID(int=1),
        "total": decimal.Decimal("1.10"),
        "colour": Colour.RED,
        "tags": {1},
        "item": Item("tea"),
    }
    assert wallaroo.json_lines().encode(values) == (
        '{"both":[1,2],"at":"2024-05-01T12:00:00+00:00","day":"2024-05-01",'
        '"number":"00000000-0000-0000-0000-000000000001","total":"1.10","colour":"red","tags":[1],'
        '"item":{"name":"tea","price":0.0}}\n'
    )


@pytest.mark.parametrize(
    ("codec", "message", "kind", "complaint"),
    [
        (wallaroo.json_lines(), {"x": math.nan}, ValueError, "Out of range float values are not JSON compliant"),
        (wallaroo.json_lines(), {(1, 2): 3}, TypeError, "keys must be str, int, float, bool or None, not tuple"),
        (wallaroo.json_lines(), [b"x"], TypeError, "json_lines cannot write bytes: b'x'"),
        (wallaroo.json_lines(Item), {"name": "tea"}, TypeError, "json_lines(Item) writes Item, and was given dict"),
        (wallaroo.json_lines(dict), [1], TypeError, "json_lines(dict) writes dict, and was given list"),
    ],
)
def test_what_is_not_written(codec, message, kind, complaint):
    with pytest.raises(kind) as raised:
        codec.encode(message)
    assert str(raised.value).startswith(complaint)


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        (
            Unconvertible,
            "json_lines(Unconvertible): Unconvertible.inner is complex, which JSON cannot be converted to\n",
        ),
        (
            Unreadable,
            "json_lines(Unreadable): the annotations of Unreadable cannot be read: name 'Missing' is not defined",
        ),
        (
            int,
            "json_lines(int): type is the class int, not dict, list, a dataclass, a pydantic 2 model or a msgspec",
        ),
        (Item("x"), "json_lines(Item(name='x', price=0.0)): type is of type Item, not dict, list, a dataclass, "),
        (dict[int, str], "json_lines(dict[int, str]) is a dict with keys of int, and keys in JSON are str\n"),
    ],
)
def test_types_that_are_refused(kind, complaint):
    with pytest.raises(wallaroo.WallarooParameterError) as raised:
        wallaroo.json_lines(kind)
    assert str(raised.value).startswith(complaint)
    assert "\nhint: " in str(raised.value)


def test_containers_with_types():
    codec = wallaroo.json_lines(list[Item])
    assert codec.decode(b'[{"name": "tea"}]') == [Item("tea")]
    assert codec.encode([Item("tea")]) == '[{"name":"tea","price":0.0}]\n'
    with pytest.raises(TypeError, match="writes list, and was given dict"):
        codec.encode({})
    with pytest.raises(ValueError, match=r"\['b'\]: expected int, got '1'"):
        wallaroo.json_lines(dict[str, int]).decode(b'{"a": 1, "b": "1"}')


def test_after_a_length():
    codec = wallaroo.length_prefixed(">I", wallaroo.json_lines(Item))
    assert codec.encode(Item("é")) == b'\x00\x00\x00\x19{"name":"\xc3\xa9","price":0.0}'
    assert codec.decode(b'{"name": "tea"}') == Item("tea")


def test_numbers_of_numpy():
    numpy = pytest.importorskip("numpy")
    values = [numpy.float32(0.5), numpy.int64(3), numpy.array([1, 2])]
    assert wallaroo.json_lines().encode(values) == "[0.5,3,[1,2]]\n"


def test_models_of_pydantic():
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):
        name: str
        at: dt.datetime = pydantic.Field(NOON, alias="time")

    Model.model_rebuild(_types_namespace={"dt": dt})
    codec = wallaroo.json_lines(Model)
    model = codec.decode(b'\xef\xbb\xbf{"name": "tea", "time": "2024-05-01T13:00:00Z"}\r')
    assert model == Model(name="tea", time=NOON + dt.timedelta(hours=1))
    assert codec.encode(model) == b'{"name":"tea","time":"2024-05-01T13:00:00Z"}\n'
    assert codec.decode(b"\r") is None
    assert wallaroo.json_lines().encode([model]) == '[{"name":"tea","time":"2024-05-01T13:00:00Z"}]\n'
    with pytest.raises(pydantic.ValidationError, match="name"):
        codec.decode(b"{}")


def test_structs_of_msgspec():
    msgspec = pytest.importorskip("msgspec")
    kind = msgspec.defstruct("Struct", [("name", str), ("price", float, 0.0)])
    codec = wallaroo.json_lines(kind)
    assert codec.decode(b'\xef\xbb\xbf{"name": "tea", "price": 2}\r') == kind("tea", 2.0)
    assert codec.encode(kind("tea")) == b'{"name":"tea","price":0.0}\n'
    assert codec.decode(b"") is None
    assert wallaroo.json_lines().encode([kind("tea")]) == '[{"name":"tea","price":0.0}]\n'
    with pytest.raises(msgspec.ValidationError, match="Expected `str`"):
        codec.decode(b'{"name": 3}')
    with pytest.raises(TypeError, match=r"json_lines\(Struct\) writes Struct, and was given dict"):
        codec.encode({"name": "tea"})
