"""``window(...).aggregate(...)``: which messages a window has, what it gives, and what closed it."""

from __future__ import annotations

import operator
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wallaroo
import wallaroo.testing
from verbs import literal, shown, steps, to_stdout, values
from wallaroo import Windowed, count_windows, sessions, sliding, tumbling
from wallaroo.testing import InProcess

SECOND = timedelta(seconds=1)


def at(seconds):
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds)


def timed():
    """Messages are ``(seconds, key, value)``."""
    source = wallaroo.StdinSourceConfig(literal, event_time=lambda message: int(message[0] * 1_000_000_000))
    return wallaroo.source("messages", source).key_by(operator.itemgetter(1)).map(operator.itemgetter(2))


def given_by(pipeline, messages, **options):
    """Return what a pipeline gives. Nothing may fail."""
    seen = []
    kept = pipeline.inspect(seen.append)
    outcome = wallaroo.testing.run(to_stdout(kept), list(map(str, messages)), **options)
    assert outcome.dead_letters == []
    return seen


STREAM = [(1, "a", 10), (2, "b", 5), (4, "a", 30), (11, "a", 7), (12, "b", 1)]
FIRST = ("time", at(0), at(10))
LAST = ("drain", at(10), at(20))


def windowed(key, bounds, value):
    closed_by, start, end = bounds
    return Windowed(key, start, end, value, closed_by)


AGGREGATIONS = {
    "count": (wallaroo.count(), [2, 1, 1, 1]),
    "sum": (wallaroo.sum(), [40, 5, 7, 1]),
    "mean": (wallaroo.mean(lambda value: value), [20.0, 5.0, 7.0, 1.0]),
    "min": (wallaroo.min(), [10, 5, 7, 1]),
    "max": (wallaroo.max(lambda value: -value), [-10, -5, -7, -1]),
    "mul": (wallaroo.reduce(operator.mul), [300, 5, 7, 1]),
    "collect_list": (wallaroo.collect_list(), [[10, 30], [5], [7], [1]]),
}


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("batch", [1, 3, 100])
@pytest.mark.parametrize("name", AGGREGATIONS)
def test_what_an_aggregation_gives(name, batch, restarts):
    aggregation, (a, b, last_a, last_b) = AGGREGATIONS[name]
    p = timed().window(tumbling(10 * SECOND)).aggregate(aggregation)
    assert sorted(given_by(p, STREAM, batch=batch, restarts=restarts)) == [
        windowed("a", FIRST, a),
        windowed("a", LAST, last_a),
        windowed("b", FIRST, b),
        windowed("b", LAST, last_b),
    ]
    assert steps(p)[-1] == name


def test_names_of_windows():
    p = timed().window(tumbling(SECOND)).aggregate(wallaroo.count(), name="visits").window(count_windows(2))
    p = p.aggregate(wallaroo.count()).window(count_windows(2)).aggregate(wallaroo.count())
    p = p.window(count_windows(2)).aggregate(wallaroo.reduce(lambda a, b: a))
    assert steps(p)[2:] == ["visits", "count", "count-2", "reduce"]


def test_sessions_say_whether_a_gap_or_the_end_closed_them():
    stream = [(1, "a", 1), (3, "a", 2), (9, "a", 3), (9.5, "b", 4)]
    p = timed().window(sessions(3 * SECOND)).aggregate(wallaroo.sum())
    assert given_by(p, stream) == [
        windowed("a", ("gap", at(1), at(6)), 3),
        windowed("a", ("drain", at(9), at(12)), 3),
        windowed("b", ("drain", at(9.5), at(12.5)), 4),
    ]


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_sessions_that_are_joined(aggregation):
    stream = [(1, "a", 10), (5, "a", 7), (3, "a", 2)]
    together = [(1, "a", 10), (1, "a", 2), (1, "a", 7)]
    p = timed().window(sessions(3 * SECOND, delay=10 * SECOND)).aggregate(AGGREGATIONS[aggregation][0])
    ((*_, joined, _),) = given_by(p, stream)
    ((*_, expected, _),) = given_by(p, together)
    assert joined == ([10, 2, 7] if aggregation == "collect_list" else expected)


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_count_windows_know_when_their_messages_happened(batch):
    stream = [(5, "a", 1), (3, "a", 2), (8, "b", 3), (9, "a", 4)]
    p = timed().window(count_windows(2)).aggregate(wallaroo.sum())
    assert sorted(given_by(p, stream, batch=batch)) == [
        windowed("a", ("count", at(3), at(5)), 3),
        windowed("a", ("drain", at(9), at(9)), 4),
        windowed("b", ("drain", at(8), at(8)), 3),
    ]


def test_windows_by_arrival():
    p = values().window(tumbling(10 * SECOND)).aggregate(wallaroo.count())
    app = InProcess(to_stdout(p.map(lambda w: (w.key, w.start.second, w.value, w.closed_by))))
    app.send(["1", "2"])
    app.advance(wallaroo.seconds(12))
    app.send(["3"])
    app.end()
    assert app.outcome.lines == ["(None, 0, 2, 'time')", "(None, 10, 1, 'drain')"]


def test_a_delay_and_what_is_late():
    stream = [(1, "a", 1), (12, "a", 2), (5, "a", 3), (30, "a", 4), (2, "a", 5)]
    p = timed().window(tumbling(10 * SECOND, delay=5 * SECOND, on_late="dead-letter")).aggregate(wallaroo.count())
    outcome = wallaroo.testing.run(to_stdout(p.map(lambda w: w.value)), list(map(str, stream)))
    assert outcome.lines == ["2", "1", "1"]
    assert [(letter.step, letter.value) for letter in outcome.dead_letters] == [("count", 5)]


durations = st.integers(1, 40)


@settings(max_examples=200, deadline=None)
@given(
    times=st.lists(st.integers(0, 100), max_size=20).map(sorted),
    length=durations,
    every=durations,
    offset=st.integers(-100, 100),
    batch=st.integers(1, 20),
)
def test_sliding_windows_with_an_offset_hold_all_that_happened_in_them(times, length, every, offset, batch):
    every = min(every, length)
    source = wallaroo.StdinSourceConfig(literal, event_time=lambda time: time)
    p = wallaroo.source("times", source).key_by(lambda time: "all")
    starts = [start for start in range(-200, 200) if (start - offset) % every == 0]
    held = [(start, [time for time in times if start <= time < start + length]) for start in starts]

    class Held(wallaroo.Aggregation):
        def initial_accumulator(self):
            return []

        def update(self, data, accumulator):
            accumulator.append(data)

        def output(self, key, accumulator):
            return accumulator

    step = p.window(sliding(length, every, offset=offset)).aggregate(Held())
    expected = [values for _, values in held if values]
    assert [window.value for window in given_by(step, times, batch=batch)] == expected


def test_a_window_with_an_offset_begins_then():
    day, six = timedelta(days=1), timedelta(hours=6)
    p = timed().window(tumbling(day, offset=six)).aggregate(wallaroo.count())
    (window,) = given_by(p, [(0, "a", 1)])
    assert (window.start, window.end) == (at(0) - day + six, at(0) + six)
    p = timed().window(tumbling(day, offset=-six)).aggregate(wallaroo.count())
    (window,) = given_by(p, [(0, "a", 1)])
    assert (window.start, window.end) == (at(0) - six, at(0) + day - six)


def test_windows_that_overlap_do_not_see_each_others_changes():
    p = timed().window(sliding(4 * SECOND, 2 * SECOND))
    stream = [(5, "a", ["x"]), (6, "a", ["y"])]
    for aggregation in (wallaroo.reduce(lambda all, new: all.extend(new)), wallaroo.sum()):
        given = [window.value for window in given_by(p.aggregate(aggregation), stream)]
        assert given == [["x"], ["x", "y"], ["y"]]
    lists = p.aggregate(wallaroo.collect_list()).inspect(lambda window: [each.append("!") for each in window.value])
    assert [window.value for window in given_by(lists, stream)] == [
        [["x", "!"]],
        [["x", "!"], ["y", "!"]],
        [["y", "!"]],
    ]


class Described(wallaroo.Aggregation):
    def initial_accumulator(self):
        return 0

    def update(self, data, accumulator):
        return accumulator + 1

    def output(self, key, accumulator, window):
        return key, accumulator, window.start.second, window.end.second, window.closed_by


class Optional(Described):
    def output(self, key, accumulator, window=None):
        return super().output(key, accumulator, window)


class Classic(Described):
    def output(self, key, accumulator, separator=" "):
        return f"{key}{separator}{accumulator}"


def test_an_output_may_ask_for_the_window():
    expected = [("a", 2, 0, 10, "time"), ("b", 1, 0, 10, "time"), ("a", 1, 10, 20, "drain"), ("b", 1, 10, 20, "drain")]
    classic = wallaroo.range_windows(wallaroo.seconds(10))
    assert given_by(timed().to(classic.over(Described)), STREAM) == expected
    assert given_by(timed().to(classic.over(Optional())), STREAM) == expected
    assert given_by(timed().to(classic.over(Classic)), STREAM) == ["a 2", "b 1", "a 1", "b 1"]
    p = timed().window(tumbling(10 * SECOND))
    assert [window.value for window in given_by(p.aggregate(Described), STREAM)] == expected
    assert [window.value for window in given_by(p.aggregate(Classic), STREAM)] == ["a 2", "b 1", "a 1", "b 1"]
    pairs = given_by(timed().to(count_windows(2).over(Described)), STREAM)
    assert pairs == [("a", 2, 1, 4, "count"), ("b", 2, 2, 12, "count"), ("a", 1, 11, 11, "drain")]


def test_windows_of_windows():
    p = timed().window(tumbling(2 * SECOND)).aggregate(wallaroo.count())
    totals = p.window(tumbling(10 * SECOND)).aggregate(wallaroo.sum(lambda window: window.value))
    assert sorted(given_by(totals, STREAM)) == [
        windowed("a", FIRST, 2),
        windowed("a", LAST, 1),
        windowed("b", FIRST, 1),
        windowed("b", LAST, 1),
    ]


def test_durations_of_both_forms_are_the_same():
    for made, same in (
        (tumbling(SECOND), tumbling(wallaroo.seconds(1))),
        (sliding(SECOND * 2, SECOND), sliding(wallaroo.seconds(2), wallaroo.seconds(1))),
        (sessions(SECOND, delay=SECOND), sessions(wallaroo.seconds(1), delay=wallaroo.seconds(1))),
        (wallaroo.range_windows(SECOND).with_delay(SECOND), tumbling(SECOND, delay=SECOND)),
        (wallaroo.session_windows(SECOND), sessions(SECOND)),
        (tumbling(timedelta(microseconds=1)), tumbling(1_000)),
    ):
        assert made.describe() == same.describe()


def test_windowed_crosses_to_other_workers():
    p = timed().window(tumbling(10 * SECOND)).aggregate(wallaroo.count())
    assert given_by(p.key_by("closed_by").map(lambda window: window.value).sum(), STREAM) == [
        ("time", 2),
        ("time", 3),
        ("drain", 1),
        ("drain", 2),
    ]


def test_sum_of_text_in_a_window():
    p = timed().window(tumbling(SECOND)).aggregate(wallaroo.sum(str))
    outcome = wallaroo.testing.run(to_stdout(p), ["(1, 'a', 1)"])
    assert [letter.message for letter in outcome.dead_letters] == [
        "sum adds numbers, and got str; convert it first, for example with sum(float)"
    ]


def test_encoders_take_windows():
    counted = timed().window(tumbling(SECOND)).aggregate(wallaroo.count())
    line = wallaroo.encoder(lambda window: f"{window.key} {window.start:%H:%M:%S} {window.value} {window.closed_by}\n")
    application = wallaroo.application("app", counted.sink(wallaroo.StdoutSinkConfig(line)))
    assert wallaroo.testing.run(application, ["(61, 'a', 0)"]).lines == ["a 00:01:01 1 drain"]
    assert shown(Windowed("a", at(0), at(1), 1, "time")).startswith("Windowed(key='a', start=datetime.datetime(1970")


def test_an_aggregation_may_be_given_uncalled():
    p = timed().window(tumbling(10 * SECOND))
    for made, uncalled in ((wallaroo.sum(), wallaroo.sum), (wallaroo.count(), wallaroo.count)):
        assert given_by(p.aggregate(uncalled), STREAM) == given_by(p.aggregate(made), STREAM)


def test_heartbeats_that_are_dropped_end_sessions():
    source = wallaroo.StdinSourceConfig(literal, event_time=lambda message: message[0] * 1_000_000_000)
    messages = wallaroo.source("messages", source).filter(lambda message: message[1] is not None)
    sized = messages.key_by(operator.itemgetter(1)).window(sessions(30 * SECOND)).aggregate(wallaroo.count())
    app = InProcess(to_stdout(sized))
    app.send(["(1, 'a')", "(2, 'b')", "(20, 'a')"])
    assert app.outcome.lines == []
    app.send(["(32, None)"])
    assert app.outcome.lines == [repr(Windowed("b", at(2), at(32), 1, "gap"))]
    app.send(["(50, None)"])
    assert app.outcome.lines[1:] == [repr(Windowed("a", at(1), at(50), 2, "gap"))]
    app.end()
    assert len(app.outcome.lines) == 2
