"""Typical mistakes with windows: the exact words of the error, and of the hint that says what to do."""

from __future__ import annotations

from datetime import timedelta

import pytest

import wallaroo
from verbs import lines
from wallaroo import WallarooParameterError, count_windows, sessions, sliding, tumbling

MINUTE = timedelta(minutes=1)


class Total:
    count = 0


class Sum(wallaroo.Aggregation):
    def initial_accumulator(self):
        return 0

    def update(self, data, accumulator):
        return accumulator + 1

    def output(self, key, accumulator):
        return accumulator


class NoOutput(wallaroo.Aggregation):
    def initial_accumulator(self):
        return 0

    def update(self, data, accumulator):
        return accumulator + 1


class FourArguments(Sum):
    def output(self, key, accumulator, window, more):
        return accumulator


CASES = {
    "windows as a function": (
        lambda: lines().map(count_windows(2)),
        "pipeline 'lines', map(CountWindows): the argument is of type CountWindows, not a function",
        "give map a function, for example lambda message: ...",
    ),
    "windows for to": (
        lambda: lines().to(tumbling(MINUTE)),
        "pipeline 'lines', to(RangeWindows): the argument is of type RangeWindows, not a step",
        "use window(tumbling(...)).aggregate(...)",
    ),
    "windows that are not aggregated for to": (
        lambda: lines().to(lines().window(tumbling(MINUTE))),
        "pipeline 'lines', to(WindowedPipeline): the argument is of type WindowedPipeline, not a step",
        "say what is made of each window: window(...).aggregate(...)",
    ),
    "an aggregation for to": (
        lambda: lines().to(wallaroo.count()),
        "pipeline 'lines', to(count): the argument is of type _Count, not a step",
        "aggregate windows by it: window(...).aggregate(...)",
    ),
    "a duration as windows": (
        lambda: lines().window(MINUTE),
        "pipeline 'lines', window(timedelta): the argument is of type timedelta, not windows",
        "say what kind of windows: tumbling(...), or count_windows(...) for a number of messages",
    ),
    "windows that are not made": (
        lambda: lines().window(tumbling),
        "pipeline 'lines', window(tumbling): the argument is the function tumbling, not windows",
        "call it: tumbling(...)",
    ),
    "windows with their aggregation": (
        lambda: lines().window(count_windows(2).over(Sum)),
        "pipeline 'lines', window(WindowStep): the argument is of type WindowStep, not windows",
        "leave over(...) out, and give the aggregation to window(...).aggregate(...)",
    ),
    "an aggregation as windows": (
        lambda: lines().window(wallaroo.count()),
        "pipeline 'lines', window(count): the argument is of type _Count, not windows",
        "give tumbling(...), sliding(...), sessions(...) or count_windows(...)",
    ),
    "windows of no length": (
        lambda: tumbling(0),
        "tumbling(0): the argument must be a whole number from 1 to 2**61",
        "durations are in nanoseconds: wallaroo.seconds(10), for example; or a datetime.timedelta",
    ),
    "windows of a fraction": (
        lambda: tumbling(1.5),
        "tumbling(1.5): the argument must be a whole number from 1 to 2**61",
        "durations are in nanoseconds: wallaroo.seconds(10), for example; or a datetime.timedelta",
    ),
    "a negative delay": (
        lambda: tumbling(MINUTE, delay=-MINUTE),
        "tumbling(..., delay=datetime.timedelta(days=-1, seconds=86340)): the argument must be a whole "
        "number from 0 to 2**61",
        "durations are in nanoseconds: wallaroo.seconds(10), for example; or a datetime.timedelta",
    ),
    "an offset in words": (
        lambda: tumbling(MINUTE, offset="1h"),
        "tumbling(..., offset='1h'): the argument must be a whole number from -2**61 to 2**61",
        "durations are in nanoseconds: wallaroo.hours(6), for example; or a datetime.timedelta",
    ),
    "an unknown way with late values": (
        lambda: tumbling(MINUTE, on_late="keep"),
        'tumbling: on_late is \'keep\', which is neither "drop" nor "dead-letter"',
        "late values are counted in any case; with dead-letter they are kept too",
    ),
    "windows with gaps between them": (
        lambda: sliding(MINUTE, every=2 * MINUTE),
        "sliding(datetime.timedelta(seconds=60), every=datetime.timedelta(seconds=120)): values between "
        "two windows would be in none",
        "give a slide of at most the length of a window",
    ),
    "early results in words": (
        lambda: lines().window(tumbling(MINUTE), early="10s"),
        "pipeline 'lines', window(RangeWindows): early='10s': the argument must be a whole number from 1 to 2**61",
        "durations are in nanoseconds: wallaroo.seconds(10), for example; or a datetime.timedelta",
    ),
    "early results all the time": (
        lambda: lines().window(tumbling(MINUTE), early=True),
        "pipeline 'lines', window(RangeWindows): early=True: the argument must be a whole number from 1 to 2**61",
        "durations are in nanoseconds: wallaroo.seconds(10), for example; or a datetime.timedelta",
    ),
    "early results of a number of messages": (
        lambda: lines().window(count_windows(5), early=10),
        "pipeline 'lines', window(CountWindows): early=10 is a time, and count_windows end with a number of messages",
        "leave early out, or use tumbling, sliding or sessions",
    ),
    "early results that come no earlier": (
        lambda: lines().window(tumbling(MINUTE), early=MINUTE),
        "pipeline 'lines', window(RangeWindows): early=datetime.timedelta(seconds=60) is no shorter than a window, "
        "which is complete by then",
        "give a part of the window's length, or leave early out",
    ),
    "a session without a gap": (
        lambda: sessions(timedelta(0)),
        "sessions(datetime.timedelta(0)): the argument must be a whole number from 1 to 2**61",
        "durations are in nanoseconds: wallaroo.seconds(10), for example; or a datetime.timedelta",
    ),
    "a duration to count": (
        lambda: count_windows(MINUTE),
        "count_windows(datetime.timedelta(seconds=60)): the argument is a duration, and windows of a "
        "number of values are counted",
        "give the number of values, or use tumbling for windows of time",
    ),
    "a function as an aggregation": (
        lambda: lines().window(tumbling(MINUTE)).aggregate(lambda values: 0),
        "pipeline 'lines', window(tumbling(...)).aggregate(<lambda>): the argument is the function "
        "<lambda>, not an aggregation",
        "give wallaroo.reduce(f), sum(f), count() or the like, or a subclass of wallaroo.Aggregation",
    ),
    "reduce without its function": (
        lambda: lines().window(tumbling(MINUTE)).aggregate(wallaroo.reduce),
        "pipeline 'lines', window(tumbling(...)).aggregate(reduce): the argument is the function reduce, "
        "not an aggregation",
        "call it: reduce(f)",
    ),
    "no aggregation": (
        lambda: lines().window(tumbling(MINUTE)).aggregate(None),
        "pipeline 'lines', window(tumbling(...)).aggregate(None): the argument is of type NoneType, not an aggregation",
        "give wallaroo.reduce(f), sum(f), count() or the like, or a subclass of wallaroo.Aggregation",
    ),
    "a state as an aggregation": (
        lambda: lines().window(tumbling(MINUTE)).aggregate(Total),
        "pipeline 'lines', window(tumbling(...)).aggregate(Total): the argument is the class Total, not an aggregation",
        "give wallaroo.reduce(f), sum(f), count() or the like, or a subclass of wallaroo.Aggregation",
    ),
    "an aggregation without output": (
        lambda: lines().window(tumbling(MINUTE)).aggregate(NoOutput),
        "pipeline 'lines', window(tumbling(...)).aggregate(NoOutput): NoOutput has no method output",
        "define output(self, key, accumulator) in class NoOutput",
    ),
    "an output of four arguments": (
        lambda: lines().window(tumbling(MINUTE)).aggregate(FourArguments),
        "pipeline 'lines', window(tumbling(...)).aggregate(FourArguments): FourArguments.output(key, "
        "accumulator, window, more) cannot be called with 2 arguments (key, accumulator)",
        "define it as output(self, key, accumulator)",
    ),
    "sessions that cannot be joined": (
        lambda: lines().window(sessions(MINUTE)).aggregate(Sum),
        "pipeline 'lines', window(sessions(...)).aggregate(Sum): Sum has no method combine, and sessions may be joined",
        "define combine(self, left, right) in class Sum",
    ),
    "a verb before aggregate": (
        lambda: lines().window(tumbling(MINUTE)).map(len),
        "pipeline 'lines', window(tumbling(...)).map: it is not said what is made of each window",
        "write aggregate(wallaroo.count()) or the like before map",
    ),
    "a field to sum up in windows": (
        lambda: wallaroo.sum("amount"),
        "sum('amount'): the argument is of type str, not a function",
        "give a function, such as lambda message: message['amount'], and not a name or what a function returned",
    ),
    "an application of windows": (
        lambda: wallaroo.application("app", lines().window(tumbling(MINUTE))),
        "application 'app': pipelines[0] is of type WindowedPipeline, not a pipeline",
        "say what is made of each window with aggregate(...), and end it with sink(...)",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_explained(name):
    make, message, hint = CASES[name]
    with pytest.raises(WallarooParameterError) as caught:
        make()
    assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.parametrize("builtin", [len, str.upper, [].append, dict])
def test_builtins_are_no_windows(builtin):
    with pytest.raises(WallarooParameterError) as caught:
        lines().window(builtin)
    assert caught.value.hint == "give tumbling(...), sliding(...), sessions(...) or count_windows(...)"
