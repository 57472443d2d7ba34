"""``window(..., early=)``: results that windows give before they are complete."""

from __future__ import annotations

import operator
import pickle
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wallaroo
import wallaroo.testing
from verbs import literal, to_stdout, values
from wallaroo import sessions, sliding, tumbling
from wallaroo.testing import InProcess
from wallaroo.worker._open_windows import Window, early_of

EARLY = wallaroo.nanoseconds(10)


def timed():
    """Messages are ``(time, key, value)``, with the time in nanoseconds."""
    source = wallaroo.StdinSourceConfig(literal, event_time=operator.itemgetter(0))
    return wallaroo.source("messages", source).key_by(operator.itemgetter(1)).map(operator.itemgetter(2))


def given_by(windows, stream, *, early=EARLY, aggregation=wallaroo.collect_list, **options):
    """Return key, value and reason of each result of windows."""
    seen = []
    kept = timed().window(windows, early=early).aggregate(aggregation).inspect(seen.append)
    outcome = wallaroo.testing.run(to_stdout(kept), list(map(str, stream)), **options)
    assert outcome.dead_letters == []
    return [(window.key, window.value, window.closed_by) for window in seen]


@pytest.mark.parametrize("restarts", [False, True])
def test_a_window_gives_results_before_it_ends(restarts):
    stream = [(1, "a", 1), (8, "b", 2), (11, "a", 3), (12, "a", 4), (25, "a", 5), (101, "b", 6)]
    assert given_by(tumbling(100), stream, restarts=restarts) == [
        ("a", [1, 3], "early"),
        ("b", [2], "early"),
        ("a", [1, 3, 4, 5], "early"),
        ("b", [2], "time"),
        ("a", [1, 3, 4, 5], "time"),
        ("b", [6], "drain"),
    ]


def test_nothing_is_given_unless_something_came():
    stream = [(1, "a", 1), (10, "b", 2), (20, "b", 3), (30, "b", 4), (90, "b", 5)]
    early = [result for result in given_by(tumbling(100), stream) if result[2] == "early"]
    assert early == [
        ("a", [1], "early"),
        ("b", [2, 3], "early"),
        ("b", [2, 3, 4, 5], "early"),
    ]


def test_sessions_give_results_before_their_gap():
    stream = [(1, "a", 1), (12, "a", 2), (24, "a", 3), (31, "b", 4), (60, "a", 5)]
    assert given_by(sessions(15), stream) == [
        ("a", [1, 2], "early"),
        ("a", [1, 2, 3], "early"),
        ("a", [1, 2, 3], "gap"),
        ("b", [4], "gap"),
        ("a", [5], "drain"),
    ]


def test_a_session_keeps_the_early_result_of_one_that_it_takes_in():
    stream = [(1, "a", 1), (9, "a", 2), (5, "a", 3), (11, "b", 4)]
    given = given_by(sessions(5, delay=100), stream)
    assert given[0] == ("a", [1, 3, 2], "early")
    assert [reason for key, _, reason in given if key == "a"] == ["early", "drain"]


def test_windows_that_overlap_give_one_each():
    stream = [(25, "a", 1), (30, "a", 2)]
    early = [result for result in given_by(sliding(40, 20), stream) if result[2] == "early"]
    assert early == [("a", [1, 2], "early"), ("a", [1, 2], "early")]


def test_results_come_while_late_values_are_waited_for():
    stream = [(99, "a", 1), (109, "b", 2), (98, "a", 3), (130, "b", 4), (200, "b", 5)]
    of_a = [result for result in given_by(tumbling(100, delay=50), stream) if result[0] == "a"]
    assert of_a == [("a", [1], "early"), ("a", [1, 3], "early"), ("a", [1, 3], "time")]


def test_days_of_a_time_zone():
    hour = wallaroo.hours(1)
    stream = [(hour, "a", 1), (3 * hour, "a", 2)]
    windows = tumbling(timedelta(days=1), timezone=timezone(timedelta(hours=9)))
    assert given_by(windows, stream, early=timedelta(hours=2)) == [("a", [1, 2], "early"), ("a", [1, 2], "drain")]


def test_windows_by_arrival():
    p = values().window(tumbling(timedelta(minutes=1)), early=timedelta(seconds=10)).aggregate(wallaroo.count())
    app = InProcess(to_stdout(p.map(lambda window: (window.value, window.closed_by))))
    app.send(["1", "2"])
    app.advance(wallaroo.seconds(12))
    app.advance(wallaroo.seconds(12))
    app.send(["3"])
    app.advance(wallaroo.seconds(12))
    app.advance(wallaroo.seconds(24))
    assert app.outcome.lines == ["(2, 'early')", "(3, 'early')", "(3, 'time')"]


def test_an_early_result_has_the_bounds_of_its_window():
    p = timed().window(tumbling(timedelta(minutes=1)), early=timedelta(seconds=20)).aggregate(wallaroo.count())
    seen = []
    second = wallaroo.seconds(1)
    stream = [str((second, "a", 1)), str((21 * second, "a", 2))]
    wallaroo.testing.run(to_stdout(p.inspect(seen.append)), stream)
    beginning = datetime(1970, 1, 1, tzinfo=timezone.utc)
    assert [each[1:3] for each in seen] == [(beginning, beginning + timedelta(minutes=1))] * 2
    assert [each.closed_by for each in seen] == ["early", "drain"]


class Emptied(wallaroo.Aggregation):
    """Gives the accumulator away, and empties it."""

    def initial_accumulator(self):
        return []

    def update(self, data, accumulator):
        accumulator.append(data)

    def output(self, key, accumulator):
        values = list(accumulator)
        accumulator.clear()
        return values


@pytest.mark.parametrize("aggregation", [Emptied, wallaroo.collect_list])
def test_what_is_done_with_an_early_result_does_not_change_the_window(aggregation):
    p = timed().window(tumbling(100), early=EARLY).aggregate(aggregation)
    lengths = p.map(lambda window: [len(window.value), window.value.clear()][0])
    assert wallaroo.testing.run(to_stdout(lengths), ["(1, 'a', 1)", "(12, 'a', 2)"]).lines == ["2", "2"]


def test_an_early_result_that_fails_costs_neither_the_window_nor_the_next():
    class Even(Emptied):
        def output(self, key, accumulator):
            return 10 // (len(accumulator) % 2)

    p = timed().window(tumbling(100), early=EARLY).aggregate(Even)
    stream = ["(1, 'a', 1)", "(12, 'a', 2)", "(24, 'a', 3)", "(31, 'b', 4)"]
    outcome = wallaroo.testing.run(to_stdout(p.map(lambda window: (window.value, window.closed_by))), stream)
    assert outcome.lines == ["(10, 'early')", "(10, 'drain')", "(10, 'drain')"]
    assert [letter.exception for letter in outcome.dead_letters] == ["ZeroDivisionError"]


def test_windows_saved_without_early_results_can_be_loaded():
    window = pickle.loads(pickle.dumps(Window(0, 10, [])))
    assert early_of(window) is None
    window.plan_early(5)
    assert early_of(pickle.loads(pickle.dumps(window))) == 5


def model(stream, length, every):
    """Return the results of each message by itself, with those of windows that end. All messages are of one key."""
    results, open_windows, watermark = [], {}, -1
    for time, value in stream:
        start = time // length * length
        if start + length > watermark:
            window = open_windows.setdefault(start, {"values": [], "since": None})
            window["values"].append(value)
            came_at = max(time, watermark)
            window["since"] = came_at if window["since"] is None else min(window["since"], came_at)
        watermark = max(watermark, time)
        for at in sorted(at for at in open_windows if at + length <= watermark):
            results.append((open_windows.pop(at)["values"], "time"))
        for _, window in sorted(open_windows.items()):
            if window["since"] is not None and window["since"] // every < watermark // every:
                results.append((list(window["values"]), "early"))
                window["since"] = None
    return results + [(window["values"], "drain") for _, window in sorted(open_windows.items())]


streams = st.lists(st.integers(0, 300), max_size=25)


@settings(max_examples=300, deadline=None)
@given(times=streams, every=st.integers(1, 99))
def test_each_message_by_itself_gives_what_a_model_gives(times, every):
    stream = [(time, "a", number) for number, time in enumerate(times)]
    given = given_by(tumbling(100), stream, early=every)
    expected = model([(time, number) for time, _, number in stream], 100, every)
    assert [(value, reason) for _, value, reason in given] == expected


@settings(max_examples=300, deadline=None)
@given(
    times=streams,
    every=st.integers(1, 99),
    batch=st.integers(1, 25),
    restarts=st.booleans(),
    windows=st.sampled_from([tumbling(100), tumbling(100, delay=50), sliding(100, 30), sessions(30, delay=10)]),
)
def test_final_results_are_those_without_early_ones(times, every, batch, restarts, windows):
    stream = [(time, "abc"[time % 3], number) for number, time in enumerate(times)]
    given = given_by(windows, stream, early=every, batch=batch, restarts=restarts)
    assert sorted(each for each in given if each[2] != "early") == sorted(given_by(windows, stream, early=None))


@settings(max_examples=200, deadline=None)
@given(times=streams, every=st.integers(1, 99), batch=st.integers(1, 25), delay=st.sampled_from([0, 50]))
def test_windows_below_find_no_early_result_late(times, every, batch, delay):
    counts = timed().window(tumbling(100, delay=delay), early=every).aggregate(wallaroo.count())
    given = []
    counts = counts.inspect(given.append)
    stream = [str((time, "abc"[time % 3], 0)) for time in times]
    for below in (counts, counts.key_by(lambda window: window.key)):
        given.clear()
        outcome = wallaroo.testing.run(
            to_stdout(below.window(tumbling(100)).aggregate(wallaroo.count()).map(lambda window: window.value)),
            stream,
            batch=batch,
        )
        without = timed().window(tumbling(100, delay=delay)).aggregate(wallaroo.count())
        assert outcome.late == wallaroo.testing.run(to_stdout(without), stream, batch=batch).late
        assert sum(map(int, outcome.lines)) == len(given)
