"""What is pickled of plain objects, and that they stay as fast as they were."""

from __future__ import annotations

import datetime
import gc
import pickle

import pytest

from wallaroo._codec.attributes import ASKING_SLOWS, StatePickler
from wallaroo._codec.plain import PlainObjects


class Total:
    def __init__(self, /, **attributes):
        for name, value in attributes.items():
            setattr(self, name, value)


class Defaults(Total):
    count = 0


class Doubled(Total):
    @property
    def twice(self):
        return 2 * self.count


class Guarded(Total):
    def __setattr__(self, name, value):
        object.__setattr__(self, name, [value])


class Lenient(Total):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return 0


class Recorded(list):
    pass


def without(thing, name):
    delattr(thing, name)
    return thing


def asked(thing):
    assert vars(thing) is not None
    return thing


def itself(thing):
    thing.me = thing
    return thing


def with_its_dict(thing):
    thing.seen = vars(thing)
    return thing


def odd(thing):
    vars(thing)[5] = 6
    return thing


KINDS = [Total, Defaults, Doubled, Guarded, Lenient]


def shown(thing, depth=3):
    """Return class and attributes of ``thing`` and of what is in it, some levels deep."""
    if depth and isinstance(thing, Total):
        return type(thing), {name: shown(value, depth - 1) for name, value in vars(thing).items()}
    if depth and isinstance(thing, dict):
        return {name: shown(value, depth - 1) for name, value in thing.items()}
    if depth and isinstance(thing, list):
        return [type(thing), *(shown(value, depth - 1) for value in thing)]
    return type(thing) if isinstance(thing, (Total, dict, list)) else thing


def by_name(things):
    return sorted(things, key=repr)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", [{"seen": {}}, {"count": 1, "seen": []}])
def test_every_object_of_a_class_is_pickled_with_its_own_attributes(kind, first):
    pickler = StatePickler(5)
    things = [
        kind(**first),
        kind(seen={"a": 1}),
        kind(count=0, other=0),
        kind(other=0, count=0),
        kind(seen=5, count=0),
        kind(),
        without(kind(count=3, seen=4), "count"),
        without(kind(count=3, seen=4), "seen"),
        asked(kind(seen={"seen": 1})),
        asked(kind(count=2, seen=[])),
        itself(kind(seen=1)),
        with_its_dict(kind()),
        with_its_dict(kind(other=1)),
        odd(kind(seen=1)),
        kind(seen=kind(seen=kind(seen=kind))),
        kind(seen=Recorded([kind(count=1), datetime.date(2020, 1, 1), kind])),
    ]
    for thing in things:
        back = pickle.loads(pickler.dumps(thing))
        assert shown(back) == shown(pickle.loads(pickle.dumps(thing, 5)))


def test_an_object_that_refers_to_itself_is_one_object_again():
    pickler = StatePickler(5)
    for _ in range(2):
        back = pickle.loads(pickler.dumps(itself(Total(count=1))))
        assert back.me is back


@pytest.mark.skipif(not ASKING_SLOWS, reason="here it costs nothing to ask an object for its __dict__")
@pytest.mark.parametrize("attributes", [{"seen": {"a": 1}}, {"count": 1, "seen": "x"}])
def test_an_object_keeps_its_attributes_in_itself(attributes):
    pickler = StatePickler(5)
    pickler.dumps(Total(**attributes))
    thing = Total(**attributes)
    back = pickle.loads(pickler.dumps(thing))
    for each in (thing, back):
        assert by_name(gc.get_referents(each)) == by_name([*attributes.values(), Total])


@pytest.mark.skipif(not ASKING_SLOWS, reason="here it costs nothing to ask an object for its __dict__")
def test_so_does_one_that_takes_no_pickle():
    objects = PlainObjects(lasting=True)
    objects.encode([[Total(count=1, name="a")]])
    thing = Total(count=2, name="b")
    assert objects.encode([[thing]]) is not None
    (back,) = objects.decode([f"{__name__}:Total", {"count": 2, "name": "b"}])
    for each in (thing, back):
        assert by_name(gc.get_referents(each)) == by_name([2, "b", Total])


def test_attributes_that_cannot_be_given_one_by_one_are_given_whole():
    objects = PlainObjects(lasting=True)
    flat = [f"{__name__}:Doubled", {"twice": 3}, f"{__name__}:Guarded", {"count": 1}, f"{__name__}:Total", {5: 6}]
    assert [vars(each) for each in objects.decode(flat)] == [{"twice": 3}, {"count": 1}, {5: 6}]
