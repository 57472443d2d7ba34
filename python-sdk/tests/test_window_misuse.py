"""Windows and durations: what is refused, and units."""

from __future__ import annotations

import pytest

from wallaroo import (
    Aggregation,
    WallarooParameterError,
    count_windows,
    hours,
    microseconds,
    milliseconds,
    minutes,
    nanoseconds,
    range_windows,
    seconds,
    session_windows,
)


class Whole(Aggregation):
    def initial_accumulator(self):
        return []

    def update(self, data, accumulator):
        accumulator.append(data)

    def output(self, key, accumulator):
        return accumulator


def add(self, data, accumulator):
    accumulator.append(data)


async def later(self, data, accumulator):
    accumulator.append(data)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: count_windows(0), "count_windows(0): the argument must be a whole number from 1 to 2**61"),
        (lambda: range_windows(1.5), "range_windows(1.5): the argument must be a whole number from 1 to 2**61"),
        (lambda: session_windows(True), "session_windows(True): the argument must be a whole number from 1 to 2**61"),
        (
            lambda: range_windows(5).with_slide(6),
            "range_windows(5).with_slide(6): values between two windows would be in none",
        ),
        (
            lambda: range_windows(5).with_delay(-1),
            "range_windows(...).with_delay(-1): the argument must be a whole number from 0 to 2**61",
        ),
        (
            lambda: range_windows(5, on_late="keep"),
            'range_windows: on_late is \'keep\', which is neither "drop" nor "dead-letter"',
        ),
        (lambda: seconds(1.5), "seconds(1.5): durations are whole numbers"),
        (
            lambda: session_windows(5).over(Whole),
            "session_windows(...).over(Whole): Whole has no method combine, and sessions may be joined",
        ),
        (
            lambda: count_windows(5).over(type("Half", (Aggregation,), {"initial_accumulator": list, "update": add})),
            "count_windows(...).over(Half): Half has no method output",
        ),
        (
            lambda: count_windows(5).over(type("Half", (Whole,), {"update": later})),
            "count_windows(...).over(Half): Half.update is async, and nothing would await it",
        ),
        (
            lambda: count_windows(5).over(object),
            "count_windows(...).over(object): object has no method initial_accumulator",
        ),
    ],
)
def test_misuse_is_refused(make, message):
    with pytest.raises(WallarooParameterError) as caught:
        make()
    assert caught.value.message == message


def test_units():
    assert nanoseconds(7) * 1_000 == microseconds(7)
    assert microseconds(7) * 1_000 == milliseconds(7)
    assert milliseconds(7) * 1_000 == seconds(7)
    assert (seconds(60), minutes(60)) == (minutes(1), hours(1))
