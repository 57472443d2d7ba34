"""The value codec: what arrives equals what was sent, in value and in type."""

from __future__ import annotations

import collections
import dataclasses
import enum
import math
import pickle
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallaroo._codec.values import APPLICATION, OBJECTS, PICKLE, SCALARS, ValueCodec, ValuesError


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Colour(enum.Enum):
    RED = 1


Point = collections.namedtuple("Point", "x y")


class Plain:
    def __init__(self, **attributes):
        vars(self).update(attributes)

    def __repr__(self):
        return f"{type(self).__name__}({vars(self)})"


class Derived(Plain):
    kind = "derived"


@dataclasses.dataclass(frozen=True)
class Frozen:
    name: str
    number: int


class Valued(Plain):
    def __init__(self, value):
        super().__init__(value=value)


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value

    def __repr__(self):
        return f"Slotted({self.value})"


class Reduced(Valued):
    def __reduce__(self):
        return Reduced, (self.value,)


class Remembering(Valued):
    def __setstate__(self, state):
        vars(self).update(state)


class WithState(Valued):
    def __getstate__(self):
        return vars(self)


class Counted(Valued):
    def __new__(cls, *values):
        return super().__new__(cls)


class ListLike(list):
    pass


SCALAR = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(), st.binary(max_size=50)
)
ANY = st.recursive(
    st.one_of(
        SCALAR,
        st.integers(),
        st.text(st.characters()),
        st.complex_numbers(allow_nan=False),
        st.builds(Text, st.text()),
        st.builds(Number, st.integers()),
        st.just(Colour.RED),
        st.datetimes(),
        st.decimals(allow_nan=False),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.builds(Point, inner, inner),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
        st.frozensets(st.integers()),
    ),
    max_leaves=6,
)


ATTRIBUTES = st.dictionaries(st.text(max_size=3), SCALAR, max_size=4)


def same(one, other):
    if type(one) is not type(other):
        return False
    if isinstance(one, Plain):
        return same(vars(one), vars(other))
    if isinstance(one, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(same, one.values(), other.values()))
    return one == other


@given(st.lists(SCALAR, max_size=8))
def test_scalars_survive(values):
    number, data = ValueCodec().encode(values)
    assert number == SCALARS
    assert same(ValueCodec().decode(number, data, len(values)), values)


@given(st.lists(ANY, max_size=8))
def test_all_values_survive(values):
    number, data = ValueCodec().encode(values)
    assert same(ValueCodec().decode(number, data, len(values)), values)


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, "\ud800", Text("a"), Number(1), (1,), [1], {"a": 1}])
def test_what_messagepack_would_change_is_pickled(value):
    number, data = ValueCodec().encode(["a", value])
    assert number == PICKLE
    assert same(ValueCodec().decode(number, data, 2), ["a", value])


@pytest.mark.parametrize("values", [["a"], ["a", 2**64], [Text("a")], [(1,)], ["a", (1,)], [Plain(a=1)], [Plain(a=[])]])
@pytest.mark.parametrize("others", [[], ["b"], [(2,)], [Plain(b=2.0)], [Plain(b=Plain())]])
def test_encoding_many_lists_at_once_changes_nothing(values, others):
    groups = [group for group in (values, others) if group]
    encoded = ValueCodec().encode_groups(groups, frozenset(map(type, values + others)))
    if encoded is not None:
        codec, lists = encoded
        assert [(codec, data) for data in lists] == list(map(ValueCodec().encode, groups))


@given(st.lists(st.lists(st.one_of(SCALAR, st.builds(lambda own: Plain(**own), ATTRIBUTES)), min_size=1, max_size=3)))
def test_decoding_many_lists_at_once_changes_nothing(groups):
    codec = ValueCodec()
    numbers, lists = zip(*map(codec.encode, groups)) if groups else ((), ())
    decoded = codec.decode_groups(numbers, lists, list(map(len, groups)))
    if decoded is None:
        assert set(numbers) not in ({SCALARS}, {OBJECTS})
    else:
        assert same(decoded, [value for group in groups for value in group])


@given(st.lists(ATTRIBUTES, max_size=4))
def test_plain_objects_survive_without_a_pickle(attributes):
    values = [kind(**own) for own in attributes for kind in (Plain, Derived)]
    number, data = ValueCodec().encode(values)
    assert number == OBJECTS or not values
    assert same(ValueCodec().decode(number, data, len(values)), values)


def test_an_object_that_cannot_be_changed_is_plain():
    values = [Frozen("a", 1), Frozen("b", 2)]
    number, data = ValueCodec().encode(values)
    assert number == OBJECTS
    assert ValueCodec().decode(number, data, 2) == values


@pytest.mark.parametrize(
    "value",
    [
        Plain(a=[1]),
        Plain(a=bytearray(b"a")),
        Plain(a=Text("a")),
        Plain(a=Number(1)),
        Plain(a=2**64),
        Plain(a="\ud800"),
        Plain(a=Plain()),
        Slotted(1),
        Reduced(1),
        Remembering(1),
        WithState(1),
        Counted(1),
        ListLike([1]),
        KeyError("a"),
        Point(1, 2),
    ],
)
def test_what_is_more_than_its_attributes_is_pickled(value):
    assert ValueCodec().encode([value])[0] == PICKLE
    number, data = ValueCodec().encode([value, Plain()])
    assert number == PICKLE
    decoded = ValueCodec().decode(number, data, 2)[0]
    assert type(decoded) is type(value)
    assert repr(decoded) == repr(value)


def test_attributes_named_by_other_than_str_are_pickled():
    value = Plain()
    vars(value)[(1, 2)] = 3
    number, data = ValueCodec().encode([value])
    assert number == PICKLE
    assert vars(ValueCodec().decode(number, data, 1)[0]) == {(1, 2): 3}


def test_a_class_that_cannot_be_found_by_its_name_is_refused_as_before():
    class Local:
        pass

    with pytest.raises((AttributeError, pickle.PicklingError)):
        ValueCodec().encode([Local()])


def test_a_class_that_is_no_longer_there_is_an_error(monkeypatch):
    number, data = ValueCodec().encode([Plain(a=1)])
    monkeypatch.delattr(sys.modules[__name__], "Plain")
    with pytest.raises(AttributeError, match="Plain"):
        ValueCodec().decode(number, data, 1)


def test_the_application_serializes_once_for_each_object():
    seen = []

    def serialize(value):
        seen.append(value)
        return bytearray(repr(value), "ascii")

    codec = ValueCodec(serialize, lambda data: eval(data))
    number, data = codec.encode([(1, 2), [3]])
    assert number == APPLICATION
    assert seen == [(1, 2), [3]]
    assert codec.decode(number, data, 2) == [(1, 2), [3]]
    assert codec.encode(["plain"])[0] == SCALARS


def test_serialize_must_return_bytes():
    with pytest.raises(TypeError, match="serialize returned str, not bytes"):
        ValueCodec(str, str).encode([(1,)])


def test_serialize_alone_is_not_used():
    assert ValueCodec(serialize=repr).encode([(1,)])[0] == PICKLE


@pytest.mark.parametrize(
    ("codec", "data", "count"),
    [
        (1, b"\x91\x01", 2),
        (1, b"\xc1", 1),
        (1, b"\x80", 0),
        (2, b"\x80\x04K\x01.", 1),
        (3, b"\x90", 0),
        (4, b"\x80", 0),
        (7, b"", 0),
    ],
)
def test_a_list_of_another_form_is_refused(codec, data, count):
    with pytest.raises(ValuesError):
        ValueCodec().decode(codec, data, count)


def test_values_that_are_one_object_arrive_as_several():
    row: dict = {"notes": []}
    first, second = ValueCodec().decode(*ValueCodec().encode([row, row]), 2)
    first["notes"].append("changed")
    assert second == {"notes": []}
