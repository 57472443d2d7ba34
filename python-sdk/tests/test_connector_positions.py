"""Positions come back from the log as the connector gave them, or are refused."""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import threading
from collections import namedtuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallaroo._connector._calls import Calls
from wallaroo._connector._positions import LONGEST, pack_position, unpack_position

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PLAIN = st.one_of(st.binary(max_size=20), TEXT, st.integers(-(2**63), 2**64 - 1))
POSITIONS = st.recursive(PLAIN, lambda parts: st.lists(parts, max_size=4).map(tuple), max_leaves=10)

Pair = namedtuple("Pair", "file offset")


class Place(enum.IntEnum):
    FIRST = 1


def shape(position):
    """A position with the types of its parts: 1 and True are equal."""
    return [*map(shape, position)] if type(position) is tuple else (type(position), position)


@given(POSITIONS)
def test_a_position_comes_back(position):
    assert shape(unpack_position(pack_position(position))) == shape(position)


def test_no_position_is_no_bytes():
    assert unpack_position(b"") is None
    assert all(pack_position(position) for position in (0, b"", "", ()))


@pytest.mark.parametrize(
    "position",
    [
        None,
        1.5,
        True,
        [1],
        {"a": 1},
        {1},
        bytearray(b"a"),
        Place.FIRST,
        Pair("a", 1),
        dt.datetime(2024, 1, 1),
        object(),
    ],
)
def test_what_would_not_come_back(position):
    with pytest.raises(TypeError, match="; it is bytes, str, int or a tuple of these"):
        pack_position(position)
    with pytest.raises(TypeError, match="has a part that is"):
        pack_position(("a", (position,)))


@pytest.mark.parametrize("position", [2**64, -(2**63) - 1, "\ud800", (1, "\udfff")])
def test_what_cannot_be_written(position):
    with pytest.raises(ValueError, match="cannot be kept"):
        pack_position(position)


def test_a_position_is_short():
    assert unpack_position(pack_position(b"a" * (LONGEST - 3))) == b"a" * (LONGEST - 3)
    with pytest.raises(ValueError, match="a position has 4097 bytes, and may have 4096"):
        pack_position(b"a" * (LONGEST - 2))


class Awaitable:
    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        return "awaited"


async def loop_of():
    return asyncio.get_running_loop()


def test_what_is_awaited():
    calls = Calls()

    async def twice(value):
        await asyncio.sleep(0)
        return value * 2

    assert calls.call(lambda value: value, 3) == 3
    assert calls.call(twice, 3) == 6
    assert calls.call(Awaitable) == "awaited"
    loop = calls.call(loop_of)
    assert calls.call(loop_of) is loop
    calls.close()
    assert loop.is_closed()


def test_each_thread_has_its_loop():
    loops = []

    def run():
        calls = Calls()
        loops.append(calls.call(loop_of))
        calls.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, loops))) == 2


def test_an_exception_is_the_callers():
    async def fail():
        raise KeyError("async")

    calls = Calls()
    with pytest.raises(KeyError, match="async"):
        calls.call(fail)
    calls.close()


def test_what_a_method_leaves_running_ends_with_the_process():
    async def start():
        return asyncio.ensure_future(asyncio.sleep(3600))

    calls = Calls()
    task = calls.call(start)
    calls.abandon()
    assert not task.done()
    Calls().abandon()
    Calls().close()
