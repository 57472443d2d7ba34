"""Mistakes with ``map_async``: the exact words of the error, and of the hint that says what to do."""

from __future__ import annotations

import functools
import json

import pytest

import wallaroo
from verbs import lines
from wallaroo import WallarooParameterError


async def double(number):
    return 2 * number


async def add(left, right):
    return left + right


def plain(message):
    return message


async def several(message):
    yield message


class Plain:
    def call(self, message):
        return message


HINT_ASYNC = "define it as: async def {}(message), or use map for a function that returns its result"
MISTAKES = {
    "a plain function": (
        lambda p: p.map_async(plain),
        "map_async(plain): plain is not async: it would be awaited",
        HINT_ASYNC.format("plain"),
    ),
    "a plain method": (
        lambda p: p.map_async(Plain().call),
        "map_async(call): call is not async: it would be awaited",
        HINT_ASYNC.format("call"),
    ),
    "a partial of a plain function": (
        lambda p: p.map_async(functools.partial(plain)),
        "map_async(plain): plain is not async: it would be awaited",
        HINT_ASYNC.format("plain"),
    ),
    "a builtin": (
        lambda p: p.map_async(json.loads),
        "map_async(loads): loads is not async: it would be awaited",
        HINT_ASYNC.format("loads"),
    ),
    "a class": (
        lambda p: p.map_async(int),
        "map_async(int): int is not async: it would be awaited",
        HINT_ASYNC.format("int"),
    ),
    "an async generator": (
        lambda p: p.map_async(several),
        "map_async(several): several yields, and nothing would iterate",
        "return the result",
    ),
    "two arguments": (
        lambda p: p.map_async(add),
        "map_async(add): add(left, right) cannot be called with 1 argument (message)",
        "define it as add(message); a message is one argument, also if it is a tuple",
    ),
    "a call": (
        lambda p: p.map_async(None),
        "map_async(None): the argument is of type NoneType, not a function",
        "give map_async the function itself, without calling it; for example lambda message: ...",
    ),
    "a step": (
        lambda p: p.map_async(wallaroo.computation("plain")(plain)),
        "map_async(plain): plain is a step already",
        "add it with to(plain), or give map_async the function without its decorator",
    ),
    "no calls": (
        lambda p: p.map_async(double, concurrency=0),
        "map_async(double): concurrency is a number of calls, 1 to 8192, not 0",
        "for example concurrency=50",
    ),
    "all calls": (
        lambda p: p.map_async(double, concurrency=None),
        "map_async(double): concurrency is a number of calls, 1 to 8192, not None",
        "for example concurrency=50",
    ),
    "seconds": (
        lambda p: p.map_async(double, timeout=2),
        "map_async(double): timeout=2 is less than a millisecond: durations are in nanoseconds",
        "for example timeout=seconds(2)",
    ),
    "seconds as a float": (
        lambda p: p.map_async(double, timeout=0.5),
        "map_async(double): timeout is a timedelta or a whole number of nanoseconds, not 0.5",
        "for example timeout=seconds(2)",
    ),
    "no time at all": (
        lambda p: p.map_async(double, timeout=0),
        "map_async(double): timeout=0 is less than a millisecond: durations are in nanoseconds",
        "for example timeout=seconds(2)",
    ),
    "a negative pause": (
        lambda p: p.map_async(double, retries=1, backoff=-1),
        "map_async(double): backoff is a timedelta or a whole number of nanoseconds, not -1",
        "for example backoff=milliseconds(100)",
    ),
    "a pause in seconds": (
        lambda p: p.map_async(double, retries=1, backoff=1),
        "map_async(double): backoff=1 is less than a millisecond: durations are in nanoseconds",
        "for example backoff=milliseconds(100)",
    ),
    "an order": (
        lambda p: p.map_async(double, ordered="no"),
        "map_async(double): ordered is 'no'",
        "give ordered=False if results may come in any order",
    ),
    "too few retries": (
        lambda p: p.map_async(double, retries=-1),
        "map_async(double): retries is -1, not a number of tries",
        "give 0 or a larger int, such as retries=2",
    ),
    "an async handler": (
        lambda p: p.map_async(double, on_error=add),
        "map_async(double): on_error is async, and nothing would await it",
        "define it as: def handle(message, error)",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(case):
    make, message, hint = MISTAKES[case]
    with pytest.raises(WallarooParameterError) as caught:
        make(lines())
    assert (caught.value.message, caught.value.hint) == (f"pipeline 'lines', {message}", hint)
