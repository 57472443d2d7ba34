"""Attempts of ``map_async``: time limits, retries and pauses."""

from __future__ import annotations

import asyncio
import sys

import pytest

import wallaroo
import wallaroo.testing
from verbs import failures, outputs, to_stdout, values
from wallaroo.worker import _attempts
from wallaroo.worker._event_loop import event_loop

BATCHES = [1, 3, 100]


async def forever(number):
    await asyncio.Event().wait()


def test_a_time_limit():
    p = values().map_async(forever, timeout=wallaroo.milliseconds(1))
    (letter,) = wallaroo.testing.run(to_stdout(p), ["1"]).dead_letters
    assert (letter.exception, letter.message) == ("TimeoutError", "no result after 0.001 s")
    # PyPy's tasks do not tell where one was cancelled.
    assert sys.implementation.name == "pypy" or "await asyncio.Event().wait()" in letter.traceback


def test_a_time_limit_of_its_own_stays_that_of_the_function():
    async def call(number):
        raise TimeoutError("of the service")

    p = values().map_async(call, timeout=wallaroo.hours(1))
    assert failures(p, [1])[1] == [("call", "TimeoutError", "of the service")]


def test_a_call_that_ends_though_it_is_cancelled_has_its_output():
    async def stubborn(number):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return number

    assert outputs(values().map_async(stubborn, timeout=wallaroo.milliseconds(1)), [1]) == ["1"]


def test_a_limit_is_that_of_one_attempt():
    tried = []

    async def second_time(number):
        tried.append(number)
        if len(tried) == 1:
            await asyncio.Event().wait()
        # An attempt that was cancelled leaves nothing behind.
        await asyncio.wait_for(asyncio.sleep(0), 60)
        return number

    p = values().map_async(second_time, timeout=wallaroo.milliseconds(1), retries=1, backoff=0)
    assert outputs(p, [1]) == ["1"]
    assert tried == [1, 1]


class Away:
    """Fails so often for each message before it works."""

    def __init__(self, times):
        self.times = times
        self.tried = []

    async def __call__(self, number):
        await asyncio.sleep(0)
        self.tried.append(number)
        if self.tried.count(number) <= self.times:
            raise ConnectionError(f"away {self.tried.count(number)}")
        return number


@pytest.mark.parametrize("batch", BATCHES)
def test_retries(batch):
    assert outputs(values().map_async(Away(2), retries=2, backoff=0), [5, 6], batch=batch) == ["5", "6"]
    p = values().map_async(Away(3), retries=2, backoff=0)
    assert failures(p, [5], batch=batch)[1] == [("Away", "ConnectionError", "away 3")]
    assert failures(values().map_async(Away(1)), [5], batch=batch)[1] == [("Away", "ConnectionError", "away 1")]


def test_what_on_error_says_is_done_after_the_last_attempt():
    p = values().map_async(Away(2), retries=1, backoff=0, on_error="skip")
    assert outputs(p, [5]) == []
    p = values().map_async(Away(2), retries=1, backoff=0, on_error=lambda number, error: f"{number}: {error}")
    assert outputs(p, [5]) == ["'5: away 2'"]

    def refuse(number, error):
        raise LookupError(f"no {number}") from error

    assert failures(values().map_async(Away(1), on_error=refuse), [5])[1] == [("Away", "LookupError", "no 5")]


def test_what_is_no_error_is_not_tried_again():
    tried = []

    async def call(number):
        tried.append(number)
        raise SystemExit

    assert failures(values().map_async(call, retries=3, on_error="skip"), [1])[1] == [("call", "SystemExit", "")]
    assert tried == [1]


def test_pauses_double_and_are_shortened_at_random():
    pauses = list(_attempts._pauses(12, 0.1))
    longest = [min(0.1 * 2**n, 30) for n in range(12)]
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, longest))
    assert len({pause / most for pause, most in zip(pauses, longest)}) > 1
    assert list(_attempts._pauses(2, 0)) == [0, 0]


def test_a_pause_gives_signs_of_life(monkeypatch):
    signs = []
    monkeypatch.setattr(_attempts, "advance", lambda: signs.append(1))
    monkeypatch.setattr(_attempts, "_SIGN_OF_LIFE", 0.01)
    event_loop().run_until_complete(_attempts._rest(0.045))
    assert len(signs) == 6
