"""Values of every kind that an application may pass on, and whether one is the same as another: value and type.

Run as a script by another interpreter: ``encode`` writes them, as they travel, to standard output; ``decode`` reads
them from standard input and complains of each that is not what it was.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import math
import re
import struct
import sys
import typing
import uuid

from wallaroo._codec.values import ValueCodec


class Color(enum.Enum):
    RED = 1
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 10


class Flags(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0
    tags: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Frozen:
    name: str


class Slots:
    __slots__ = ("left", "right")

    def __init__(self, left, right=None):
        self.left = left
        if right is not None:
            self.right = right


class SlotsAndMore(Slots):
    """A base with slots, and a dict of its own."""

    __slots__ = ("__dict__",)


class Plain:
    shared = "of the class"

    def __init__(self, /, **attributes):
        self.__dict__.update(attributes)


class Derived(Plain):
    pass


class Reduced(Plain):
    def __reduce__(self):
        return Reduced._made, (sorted(self.__dict__.items()),)

    @staticmethod
    def _made(items):
        return Reduced(**dict(items))


class Stateful(Plain):
    """Leaves out what should not travel, and makes it again."""

    def __init__(self, /, **attributes):
        super().__init__(cache={}, **attributes)

    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items() if name != "cache"}

    def __setstate__(self, state):
        self.__dict__.update(state, cache={})


class NewArgs(str):
    """Made by more than its value."""

    def __new__(cls, value, extra):
        made = super().__new__(cls, value)
        made.extra = extra
        return made

    def __getnewargs__(self):
        return str(self), self.extra


class Text(str):
    pass


class Number(int):
    pass


class Real(float):
    pass


class Raw(bytes):
    pass


class Row(tuple):
    __slots__ = ()


class Stack(list):
    pass


class Table(dict):
    pass


class Bag(set):
    pass


class ReasonError(Exception):
    def __init__(self, code, detail):
        super().__init__(code, detail)
        self.code = code


Pair = collections.namedtuple("Pair", "first second")


class Typed(typing.NamedTuple):
    name: str
    count: int = 0


def function(data):
    return data


SCALARS = [
    *(None, True, False, 0, 1, -1, 2**63 - 1, -(2**63), 2**63, 2**64, -(2**64), 10**400),
    *(0.0, -0.0, 1.5, 5e-324, math.inf, -math.inf, math.nan, 1j, -0.0 + 0j),
    *("", "text", "ü\U0001f600", "\ud800", "a\0b", "x" * 70_000, b"", b"\xff\x00", bytearray(b"mutable")),
]
OBJECTS = [
    *(Color.RED, Color.BLUE, Level.HIGH, Flags.A, Flags.A | Flags.B),
    *(Point(1.0), Point(math.nan, 2, ["a"]), Frozen("a"), Slots(1), Slots(1, 2), SlotsAndMore([1])),
    *(Plain(), Plain(a=1, b=[Plain()]), Derived(a=None), Reduced(a=1), Stateful(a=1), NewArgs("value", "extra")),
    *(Text("text"), Number(7), Real(1.5), Raw(b"raw"), Row((1, 2)), Stack([1]), Table(a=1), Bag([1])),
    *(Pair(1, "b"), Typed("a"), Typed("b", 2), range(1, 9, 3), function, Plain, len, int),
    *(datetime.datetime(2024, 2, 29, 12, 30, 1, 5), datetime.date(1, 1, 1), datetime.time(23, 59, 59, 999_999)),
    datetime.datetime(2024, 10, 27, 2, 30, tzinfo=datetime.timezone(datetime.timedelta(hours=2), "summer"), fold=1),
    *(datetime.timedelta(days=-1, microseconds=1), datetime.timezone.utc, uuid.UUID(int=5), re.compile("a+", re.I)),
    *(
        decimal.Decimal("1.10"),
        decimal.Decimal("nan"),
        fractions.Fraction(1, 3),
        ReasonError(3, "why"),
        KeyError("missing"),
    ),
]
CONTAINERS = [
    *([], (), {}, set(), frozenset(), [[]], ((),), [None], (1, "a", b"b", 1.5, True), [1, "a", None]),
    *({"a": 1, 2: [3], (4, 5): {"b"}}, {1, "a", (2,)}, frozenset([1]), [{"a": (1, {2})}], collections.deque([1], 3)),
    *(collections.OrderedDict(b=1, a=2), collections.Counter("aab"), collections.defaultdict(list, a=[1])),
    [Point(1.0), "text", None, 2**80, (Color.RED, [Typed("a")])],
]
VALUES = [*SCALARS, *OBJECTS, *CONTAINERS]


def same(one, other):
    """Whether ``one`` equals ``other`` in value and type, and so do all parts of them; nan is the same as nan."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return struct.pack(">d", one) == struct.pack(">d", other)
    if isinstance(one, decimal.Decimal):
        return one.as_tuple() == other.as_tuple()
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items())) and _same_attributes(one, other)
    if isinstance(one, (list, tuple, collections.deque)):
        return len(one) == len(other) and all(map(same, one, other)) and _same_attributes(one, other)
    if isinstance(one, BaseException):
        return same(one.args, other.args) and _same_attributes(one, other)
    if isinstance(one, (Plain, Slots, Point, Frozen)):
        return _same_named(_attributes(one), _attributes(other))
    return one == other and _same_attributes(one, other)


def _same_attributes(one, other):
    if isinstance(one, (type, enum.Enum)) or not isinstance(getattr(one, "__dict__", None), dict):
        return True
    return one is other or _same_named(one.__dict__, other.__dict__)


def _attributes(thing):
    slots = {name: getattr(thing, name) for name in Slots.__slots__ if hasattr(thing, name)}
    return {**slots, **getattr(thing, "__dict__", {})}


def _same_named(one, other):
    """Attributes are not in any order."""
    return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())


def main():
    codec = ValueCodec()
    if sys.argv[1] == "encode":
        for value in VALUES:
            number, data = codec.encode([value, value])
            sys.stdout.buffer.write(struct.pack(">BI", number, len(data)) + data)
        return
    for value in VALUES:
        number, size = struct.unpack(">BI", sys.stdin.buffer.read(5))
        arrived = codec.decode(number, sys.stdin.buffer.read(size), 2)
        if not same(arrived, [value, value]):
            print(f"{value!r:.200} arrived as {arrived!r:.200}")


if __name__ == "__main__":
    # Classes are found by the name of this module, in both interpreters.
    import crossing_values

    crossing_values.main()
