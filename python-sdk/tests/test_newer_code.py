"""Snapshots that older code made: they load as pickle would load them, and what newer code would miss is found."""

from __future__ import annotations

import abc
import pickle
import sys
from types import ModuleType
from typing import Generic, TypeVar

import pytest

from wallaroo._codec.plain import PlainObjects
from wallaroo.worker import _state
from wallaroo.worker._state import StateTable

T = TypeVar("T")


class Base:
    def __init__(self):
        self.base = "base"


def total(*bases, **members):
    """Make a class ``shop.Total``, in place of the one that is there."""

    def init(self):
        self.count = 0

    kind = abc.ABCMeta if abc.ABC in bases else type
    made = kind("Total", bases, {"__init__": init, **members, "__module__": "shop"})
    sys.modules["shop"].Total = made
    return made


@pytest.fixture(autouse=True)
def shop(monkeypatch):
    """The module of the application, and nothing known of its classes, as in a new worker."""
    monkeypatch.setitem(sys.modules, "shop", ModuleType("shop"))
    monkeypatch.setattr(_state, "_PLAIN", PlainObjects(lasting=True))
    return lambda: monkeypatch.setattr(_state, "_PLAIN", PlainObjects(lasting=True))


def set_state(self, attributes):
    self.__dict__.update(attributes, migrated=True)


def refusing_init(self, needed):
    raise AssertionError("unpickling calls no __init__")


NEWER = {
    "the same": lambda: total(),
    "with __setstate__": lambda: total(__setstate__=set_state),
    "with a base": lambda: total(Base),
    "generic": lambda: generic_total(),
    "abstract": lambda: total(abc.ABC),
    "with slots": lambda: total(__slots__=("extra", "__dict__")),
    "with a new __init__": lambda: total(__init__=refusing_init),
    "with a default": lambda: total(discount=0),
    "with its own way of pickling": lambda: total(__reduce__=lambda self: (str, ())),
    "with __new__": lambda: total(__new__=lambda cls: object.__new__(cls)),
}


def generic_total():
    class Total(Generic[T]):
        pass

    Total.__module__, Total.__qualname__ = "shop", "Total"
    sys.modules["shop"].Total = Total
    return Total


@pytest.mark.parametrize("newer", NEWER)
@pytest.mark.parametrize("attributes", [{}, {"count": 3}, {"count": 3, "name": "tea"}])
def test_a_snapshot_of_older_code_loads_as_a_pickle_would(newer, attributes, shop):
    old = total()()
    vars(old).clear()
    vars(old).update(attributes)
    table = StateTable("totals", lambda: None)
    table.live["tea"] = old
    assert _state._PLAIN.are([type(old)])
    (snapshot,) = _state._PLAIN.encode([[old]])
    pickled = pickle.dumps(old)
    shop()
    kind = NEWER[newer]()
    expected = pickle.loads(pickled)
    table.restore("tea", snapshot)
    got = table.open("tea")
    assert type(got) is type(expected) is kind
    assert vars(got) == vars(expected)


def old_snapshot():
    old = total()()
    (snapshot,) = _state._PLAIN.encode([[old]])
    return snapshot


def newer_init(self):
    self.count = 0
    self.discount = 0


def test_a_new_attribute_that_old_states_lack_is_found_when_they_are_tried(shop):
    snapshot = old_snapshot()
    shop()
    newer = total(__init__=newer_init)
    assert StateTable("totals", newer).try_out("tea", snapshot) == (
        "state of key 'tea' in table totals has no attribute discount, which a new shop.Total has: give the class a"
        " default, as discount = None, or define __setstate__ in it"
    )


@pytest.mark.parametrize(
    "members",
    [
        {"discount": 0},
        {"__setstate__": set_state},
        {"__getattr__": lambda self, name: 0},
        {"__init__": lambda self: setattr(self, "count", 0)},
        {"__init__": lambda self: 1 / 0},
    ],
)
def test_what_newer_code_can_go_on_with_is_not_refused(members, shop):
    snapshot = old_snapshot()
    shop()
    newer = total(**{"__init__": newer_init, **members})
    table = StateTable("totals", newer)
    assert table.try_out("tea", snapshot) is None
    assert not table.live


def test_a_snapshot_that_cannot_be_loaded_is_refused(shop):
    snapshot = old_snapshot()
    shop()
    newer = total(__setstate__=lambda self, attributes: attributes["discount"])
    assert StateTable("totals", newer).try_out("tea", snapshot) == (
        "state of key 'tea' in table totals could not be restored: KeyError: 'discount'"
    )
