"""The value codec: what arrives equals what was sent, in value and in type."""

from __future__ import annotations

import collections
import enum
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallaroo._values import APPLICATION, PICKLE, SCALARS, ValueCodec, ValuesError


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Colour(enum.Enum):
    RED = 1


Point = collections.namedtuple("Point", "x y")

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


def same(one, other):
    if type(one) is not type(other):
        return False
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


@pytest.mark.parametrize("values", [["a"], ["a", 2**64], [Text("a")], [(1,)], ["a", (1,)]])
@pytest.mark.parametrize("others", [[], ["b"], [(2,)]])
def test_knowing_the_types_of_more_values_changes_nothing(values, others):
    types = frozenset(map(type, values + others))
    assert ValueCodec().encoder_for(types)(values) == ValueCodec().encode(values)


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
    [(1, b"\x91\x01", 2), (1, b"\xc1", 1), (1, b"\x80", 0), (2, b"\x80\x04K\x01.", 1), (3, b"\x90", 0), (7, b"", 0)],
)
def test_a_list_of_another_form_is_refused(codec, data, count):
    with pytest.raises(ValuesError):
        ValueCodec().decode(codec, data, count)
