"""Keys of further types: they come back as they were given, and are equal to no other key."""

from __future__ import annotations

import enum
import os
import subprocess
import sys
from collections import namedtuple
from datetime import date, datetime, timedelta, timezone
from typing import NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wallaroo
import wallaroo.testing
from verbs import failures, outputs, to_stdout, values
from wallaroo._codec.key_tags import tagged, untagged
from wallaroo._codec.keys import key_from_wire, key_problem


class Color(enum.Enum):
    RED = 1
    GREEN = ("g", 2)


class Name(str, enum.Enum):
    ADA = "ada"


class Level(enum.IntEnum):
    LOW = 1


class Place(NamedTuple):
    x: int
    y: object


class Text(str):
    def __str__(self):
        return "something else"


class Number(int):
    pass


class Octets(bytes):
    pass


NOON = datetime(2024, 5, 1, 12, 0, 0, 1)
EAST = timezone(timedelta(hours=5, minutes=30))
TAGGED = {
    "bool": (True, ("!bool", 1)),
    "UUID": (UUID(int=7), ("!uuid", "00000000-0000-0000-0000-000000000007")),
    "date": (date(2024, 5, 1), ("!date", "2024-05-01")),
    "datetime": (NOON, ("!datetime", "2024-05-01T12:00:00.000001", "", 0)),
    "datetime in UTC": (NOON.replace(tzinfo=timezone.utc), ("!datetime", "2024-05-01T12:00:00.000001+00:00", "", 0)),
    "datetime with an offset": (NOON.replace(tzinfo=EAST), ("!datetime", "2024-05-01T12:00:00.000001+05:30", "", 0)),
    "repeated hour": (NOON.replace(fold=1), ("!datetime", "2024-05-01T12:00:00.000001", "", 1)),
    "Enum": (Color.GREEN, ("!enum", f"{__name__}:Color", "GREEN")),
    "Enum of str": (Name.ADA, ("!enum", f"{__name__}:Name", "ADA")),
    "Enum of int": (Level.LOW, ("!enum", f"{__name__}:Level", "LOW")),
    "NamedTuple": (Place(1, "a"), ("!namedtuple", f"{__name__}:Place", 1, "a")),
    "in tuples": (
        ("a", (False, Place(1, True))),
        ("a", (("!bool", 0), ("!namedtuple", f"{__name__}:Place", 1, ("!bool", 1)))),
    ),
    "what looks like a tag": (("!bool", 1), ("!tuple", "!bool", 1)),
    "what looks like no tag": (("!", "!bool"), ("!tuple", "!", "!bool")),
    "a tag of a tag": (("!tuple", "!bool", 1), ("!tuple", "!tuple", "!bool", 1)),
}


@pytest.mark.parametrize("case", TAGGED)
def test_a_key_comes_back_as_it_was_given(case):
    key, sent = TAGGED[case]
    assert tagged(key) == sent
    assert key_problem(sent) is None
    back = untagged(sent)
    assert (back, type(back), repr(back)) == (key, type(key), repr(key))


def test_a_zone_has_its_name():
    zoneinfo = pytest.importorskip("zoneinfo")
    try:
        key = NOON.replace(tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"), fold=1)
    except zoneinfo.ZoneInfoNotFoundError:
        pytest.skip("there are no time zones on this machine")
    assert tagged(key) == ("!datetime", "2024-05-01T12:00:00.000001", "Europe/Berlin", 1)
    assert repr(untagged(tagged(key))) == repr(key)


PLAIN = {
    "subclass of str": (Text("ada"), "ada"),
    "subclass of int": (Number(7), 7),
    "subclass of bytes": (Octets(b"a"), b"a"),
    "in a tuple": ((Text("ada"), (Number(7),)), ("ada", (7,))),
}


@pytest.mark.parametrize("case", PLAIN)
def test_what_is_the_plain_key(case):
    key, plain = PLAIN[case]
    sent = tagged(key)
    assert sent == plain
    assert key_problem(sent) is None


def test_integers_of_numpy_are_plain():
    numpy = pytest.importorskip("numpy")
    for key in (numpy.int64(7), numpy.uint8(7), numpy.int16(7)):
        assert type(tagged(key)) is int
        assert tagged(key) == 7
    assert tagged(numpy.str_("ada")) == "ada"
    assert key_problem(tagged(numpy.float64(7))) is not None
    assert key_problem(tagged(numpy.array([7]))) is not None


plain_keys = st.text(alphabet="!abcdelnopu", max_size=12) | st.integers(-5, 5) | st.binary(max_size=3)
further_keys = st.booleans() | st.uuids() | st.dates() | st.datetimes() | st.sampled_from([*Color, *Name, *Level])
keys = st.recursive(
    plain_keys | further_keys,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.builds(Place, st.integers(0, 3), inner),
    max_leaves=6,
)


def exactly(key):
    return (type(key), tuple(map(exactly, key))) if isinstance(key, tuple) else (type(key), key)


@given(keys, keys)
def test_keys_are_equal_as_sent_if_they_are_the_same(left, right):
    assert key_problem(tagged(left)) is None
    assert exactly(untagged(key_from_wire(as_list(tagged(left))))) == exactly(left)
    assert (tagged(left) == tagged(right)) == (exactly(left) == exactly(right))


def as_list(key):
    return list(map(as_list, key)) if isinstance(key, tuple) else key


ALL = [True, 1, Level.LOW, ("!bool", 1), Color.RED, Name.ADA, "ada", UUID(int=7), NOON, NOON.date(), Place(1, "a")]


@pytest.mark.parametrize("batch", [1, 100])
@pytest.mark.parametrize("stateful", [False, True])
def test_steps_are_given_the_key_itself(batch, stateful):
    p = values().map(ALL.__getitem__)
    p = p.collect().stateful(lambda key, seen: key, list) if stateful else p
    given = outputs(p.key_by(lambda key: key).count(), list(range(len(ALL))) * 2, batch=batch, restarts=True)
    assert sorted(given) == sorted(repr((key, count)) for key in ALL for count in (1, 2))


def test_so_are_windows():
    p = values().map(ALL.__getitem__).key_by(lambda key: key)
    counted = p.window(wallaroo.count_windows(2)).aggregate(wallaroo.count())
    given = outputs(counted.map(lambda window: window.key), list(range(len(ALL))) * 2)
    assert sorted(given) == sorted(map(repr, ALL))


def test_dead_letters_have_the_key_itself():
    failing = values().map(ALL.__getitem__).key_by(lambda key: key).sum(lambda key: 1 // 0)
    outcome = wallaroo.testing.run(to_stdout(failing), [str(index) for index in range(len(ALL))])
    assert [exactly(letter.key) for letter in outcome.dead_letters] == [exactly(key) for key in ALL]


def local_enum():
    class Local(enum.Enum):
        A = 1

    return Local.A


Unfindable = namedtuple("Elsewhere", "x")


class Zone(timezone(timedelta()).__class__.__base__):
    def utcoffset(self, _):
        return timedelta()


REFUSED = {
    "local Enum": (
        local_enum(),
        f"a key is of class local_enum.<locals>.Local, which is not found in module {__name__}",
    ),
    "class under another name": (
        Unfindable(1),
        f"a key is of class Elsewhere, which is not found in module {__name__}",
    ),
    "zone of another kind": (
        datetime(2024, 5, 1, tzinfo=Zone()),
        "has a time zone that is no ZoneInfo of a name and no datetime.timezone; convert it with .astimezone(",
    ),
    "float in a tuple": (
        (1, 1.5),
        "1.5 is of type float; a key is str, bytes, int, bool, UUID, date, datetime, Enum, or",
    ),
    "time of day": (NOON.time(), f"{NOON.time()!r} is of type datetime.time; a key is str"),
    "large number": (Number(2**63), "does not fit a signed 64-bit integer"),
}


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_a_key(case, keyed):
    key, message = REFUSED[case]
    p = values().collect().stateful(lambda value, seen: value, list) if keyed else values()
    (failed,) = failures(p.key_by(lambda value: key, name="key").count(), [1])[1]
    assert failed[:2] == ("key", "TypeError")
    assert message in failed[2]


@pytest.mark.parametrize("given", [True, Color.RED, Number(2)])
def test_the_older_generations_refuse_them(given):
    """There they are no keys, whatever else is in the batch."""

    @wallaroo.key_extractor
    def key(line):
        return given if line == "odd" else "plain"

    lines = wallaroo.source("lines", wallaroo.stdin(wallaroo.lines())).key_by(key)
    app = wallaroo.application("app", lines.map(str).sink(wallaroo.stdout(wallaroo.lines())))
    outcome = wallaroo.testing.run(app, ["odd", "fine"])
    assert outcome.lines == ["fine"]
    (letter,) = outcome.dead_letters
    assert letter.message.endswith("a key is str, bytes, int, or a tuple of these")


def test_they_are_the_same_in_every_process():
    """Also with another seed of hashes, and where no class of a key has been imported."""
    sent = [tagged(key) for key in ALL]
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from wallaroo._codec.key_tags import tagged, untagged\n"
        "from datetime import *; from uuid import UUID\n"
        "keys = [untagged(eval(line)) for line in sys.argv[2:]]\n"
        "print(*map(repr, keys), sep='\\n'); print(*map(repr, map(tagged, keys)), sep='\\n')"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, os.path.dirname(__file__), *map(repr, sent)]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert ran.stdout.splitlines() == [*map(repr, ALL), *map(repr, sent)]


def test_a_class_that_is_gone():
    with pytest.raises(LookupError, match="the class Gone of a key is not found in module test_key_types"):
        untagged(("!enum", "test_key_types:Gone", "A"))
