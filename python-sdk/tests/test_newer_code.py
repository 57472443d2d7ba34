"""Snapshots that older code made: they load as pickle would load them, and what newer code would miss is found."""

from __future__ import annotations

import abc
import pickle
import sys
from functools import partial
from types import ModuleType
from typing import Generic, TypeVar

import pytest

from wallaroo._codec.plain import PlainObjects
from wallaroo.worker import _state
from wallaroo.worker._open_windows import OpenWindows, Window
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


def state_snapshot(source):
    """Return the snapshot of a state ``Total()`` of a module, by a worker that has taken others of it before."""
    exec(source, vars(sys.modules["shop"]))
    kind = sys.modules["shop"].Total
    table = StateTable("totals", kind)
    snapshots = []
    for key in range(3):
        table.open(key)
        snapshots.append(table.pickled(key))
    return snapshots[-1]


def newer_code(source, shop):
    sys.modules["shop"] = ModuleType("shop")
    exec(source, vars(sys.modules["shop"]))
    shop()
    return StateTable("totals", sys.modules["shop"].Total)


LISTS = """
class Total:
    def __init__(self):
        self.count, self.names = 0, ["tea"]
"""


@pytest.mark.parametrize(
    "newer",
    [
        "class Total:\n    def __setstate__(self, state):\n        self.__dict__.update(state)",
        "class Total:\n    def __setattr__(self, name, value):\n        raise AttributeError(name)",
        "class Total:\n    count = property(lambda self: 1)",
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Total:\n    count: int\n    names: list",
    ],
)
def test_a_pickled_snapshot_of_older_code_loads_as_the_state_it_was(newer, shop):
    snapshot = state_snapshot(LISTS)
    table = newer_code(newer, shop)
    table.restore("tea", snapshot)
    assert vars(table.open("tea")) == {"count": 0, "names": ["tea"]}


def test_a_plain_snapshot_loads_into_a_class_that_has_slots_instead(shop):
    snapshot = old_snapshot()
    table = newer_code("class Total:\n    __slots__ = ('count', 'names')", shop)
    table.restore("tea", snapshot)
    assert table.open("tea").count == 0


NESTED = """
from dataclasses import dataclass, field
@dataclass
class Item:
    price: int
class Inner:
    def __init__(self):
        self.a = 1
class Total:
    def __init__(self):
        self.inner, self.items = Inner(), {"x": [Item(1)]}
"""

NO_EXTRA = "has no attribute extra, which a new one has: give the class a default, as extra = None, or define"

LACKING = {
    "slots": (
        "class Total:\n    __slots__ = ('count',)\n    def __init__(self):\n        self.count = 0",
        "class Total:\n    __slots__ = ('count', 'extra')\n    def __init__(self): self.count = self.extra = 0",
        "has no attribute extra, which a new shop.Total has: give",
    ),
    "an attribute": (
        NESTED,
        NESTED.replace("self.a = 1", "self.a = self.extra = 1"),
        f"holds a shop.Inner that {NO_EXTRA}",
    ),
    "a dataclass in a container": (
        NESTED,
        NESTED.replace("price: int", "price: int\n    extra: list = field(default_factory=list)"),
        f"holds a shop.Item that {NO_EXTRA}",
    ),
    "the metaclass has it": (
        LISTS,
        "class Meta(type):\n    extra = 1\nclass Total(metaclass=Meta):\n    def __init__(self): self.extra = 1",
        "has no attribute extra, which a new shop.Total has: give",
    ),
    "another type": (
        "Total = dict",
        LISTS,
        "is of type dict, and a new one of type shop.Total: no step can change that, so give the state a new name",
    ),
}


@pytest.mark.parametrize("name", LACKING)
def test_what_any_part_of_an_old_state_lacks_is_found(name, shop):
    older, newer, problem = LACKING[name]
    snapshot = state_snapshot(older)
    found = newer_code(newer, shop).try_out("tea", snapshot)
    assert found is not None
    assert found.startswith(f"state of key 'tea' in table totals {problem}")


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (NESTED, NESTED),
        (NESTED, NESTED.replace("price: int", "price: int\n    extra: int = 0")),
        (NESTED, NESTED.replace("price: int", "price: int\n    extra: int = field(init=False)")),
        (
            NESTED,
            NESTED.replace("self.a = 1", "self.a = self.extra = 1").replace(
                "class Inner:", "class Inner:\n    extra = 0"
            ),
        ),
        (LISTS, LISTS + "        self.lock = 1\n    def __getstate__(self):\n        return {'count': self.count}"),
        (LISTS, LISTS + "        self.me = self"),
        ("Total = dict", "class Total(dict):\n    pass"),
    ],
)
def test_what_an_old_state_may_lack_is_not_refused(older, newer, shop):
    snapshot = state_snapshot(older + ("        self.me = self" if "self.me" in newer else ""))
    assert newer_code(newer, shop).try_out("tea", snapshot) is None


def test_accumulators_of_windows_are_compared_with_new_ones(shop):
    windows = OpenWindows()
    exec(LISTS, vars(sys.modules["shop"]))
    windows.windows.append(Window(0, 10, sys.modules["shop"].Total()))
    snapshot = pickle.dumps(windows)
    total = newer_code(LISTS + "        self.extra = 1", shop)._build
    parts = partial(OpenWindows.accumulators, initial=total)
    table = StateTable("window:sum", OpenWindows, OpenWindows.is_empty, parts)
    assert "in table window:sum has no attribute extra, which a new shop.Total has" in table.try_out("tea", snapshot)
