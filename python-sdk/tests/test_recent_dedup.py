"""``dedup(within=...)``: what is given of messages that are equal, and when it forgets them."""

from __future__ import annotations

import operator
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wallaroo
import wallaroo.testing
from verbs import failures, literal, outputs, steps, to_stdout, values

KEY, VALUE = operator.itemgetter(1), operator.itemgetter(2)


def timed():
    """Messages are ``(seconds, key, value)``."""
    source = wallaroo.StdinSourceConfig(literal, event_time=lambda message: message[0] * 1_000_000_000)
    return wallaroo.source("messages", source).key_by(KEY)


def dedup(seconds, **options):
    return timed().dedup(VALUE, within=timedelta(seconds=seconds), **options)


def remembered(app):
    """How many messages the only table has."""
    (table,) = app._tables._tables.values()
    return sum(len(state.times) for state in table.live.values())


def test_an_equal_message_is_given_again_after_the_time():
    stream = [(0, "a", 1), (9, "a", 1), (10, "a", 1), (15, "a", 2), (15, "b", 1), (19, "a", 1), (20, "a", 1)]
    assert outputs(dedup(10), stream) == [
        "('a', (0, 'a', 1))",
        "('a', (10, 'a', 1))",
        "('a', (15, 'a', 2))",
        "('b', (15, 'b', 1))",
        "('a', (20, 'a', 1))",
    ]


def test_one_that_happened_shortly_before_is_equal_too():
    # The third is too early for the first, and the fourth is so late that what was before it is forgotten.
    stream = [(20, "a", 1), (11, "a", 1), (10, "a", 1), (19, "a", 1), (100, "a", 2), (20, "a", 1), (20, "a", 1)]
    assert [literal(line.encode())[1][0] for line in outputs(dedup(10), stream)] == [20, 10, 100, 20, 20]


def model(stream, within):
    """What is given, message by message."""
    watermark, seen, out = -1, {}, []
    for time, key, value in stream:
        watermark = max(watermark, time)
        first = seen.get((key, value))
        if first is not None and abs(time - first) < within and watermark < first + within:
            continue
        if (first is None or time > first) and watermark < time + within:
            seen[key, value] = time
        out.append((key, (time, key, value)))
    return out


@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from("ab"), st.integers(0, 2)), max_size=30),
    st.integers(1, 20),
    st.sampled_from([1, 2, 5, 100]),
    st.booleans(),
)
def test_what_is_given_does_not_depend_on_batches_or_restarts(stream, within, batch, restarts):
    found = outputs(dedup(within), stream, batch=batch, restarts=restarts)
    expected = list(map(repr, model(stream, within)))
    # Keys are gathered within a batch, and the messages of each key stay in order.
    assert found == expected if batch == 1 else sorted(found) == sorted(expected)
    for key in "ab":
        assert [line for line in found if line.startswith(f"('{key}'")] == [
            line for line in expected if line.startswith(f"('{key}'")
        ]


def test_what_is_not_recent_is_forgotten():
    app = wallaroo.testing.InProcess(to_stdout(dedup(100)))
    most = 0
    for second in range(2_000):
        app.send([str((second, "a", second))])
        most = max(most, remembered(app))
    assert most == 113, "those of 100 s, and an eighth more"
    app.send([str((5_000, "b", 0))])
    assert remembered(app) == 1
    app.end()
    assert remembered(app) == 0


def test_a_key_that_comes_no_more_is_forgotten():
    app = wallaroo.testing.InProcess(to_stdout(dedup(10)), restarts=True)
    app.send([str((1, key, 0)) for key in range(50)])
    app.send([str((100, "b", 0))])
    (table,) = app._tables._tables.values()
    assert remembered(app) == 0
    assert set(table._restored) == {"b"}


def test_without_event_times_it_goes_by_the_time_of_arrival():
    app = wallaroo.testing.InProcess(to_stdout(values().key_by(str).dedup(within=wallaroo.seconds(10))))
    app.send(["1", "1"])
    app.advance(wallaroo.seconds(9))
    app.send(["1"])
    app.advance(wallaroo.seconds(1))
    app.send(["1", "1"])
    assert app.outcome.lines == ["('1', 1)", "('1', 1)"]


def test_without_a_key_and_by_a_field():
    found = outputs(values().dedup("n", within=timedelta(hours=1)), [{"n": 1, "a": 1}, {"n": 1, "a": 2}])
    assert found == ["(None, {'n': 1, 'a': 1})"]


def test_windows_below_it_have_the_times_of_the_messages():
    counted = dedup(10).map(lambda pair: pair[0]).window(wallaroo.tumbling(wallaroo.seconds(10)))
    stream = [(1, "a", 1), (2, "a", 1), (3, "a", 2), (11, "a", 1), (25, "a", 1)]
    p = counted.aggregate(wallaroo.count()).map(lambda window: (window.start.second, window.value))
    assert outputs(p, stream, batch=2) == ["(0, 2)", "(10, 1)", "(20, 1)"]
    assert steps(dedup(10).dedup(within=5).dedup(within=5, name="once"))[1:] == ["dedup", "dedup-2", "once"]


def test_mistakes():
    assert failures(values().dedup(within=1), [[1]])[1] == [
        (
            "dedup",
            "TypeError",
            "dedup cannot tell values of type list apart, which have no hash; give by= a function that returns what"
            " identifies a message",
        )
    ]
    for wrong in (0, -1, 1.5, timedelta(0), "1"):
        with pytest.raises(wallaroo.WallarooParameterError, match=r"within=.*: the argument must be a whole number"):
            values().dedup(within=wrong)


def test_a_failing_function_names_the_step():
    lines, letters = failures(dedup(10, name="once").map(lambda pair: pair[1][2]), [(1, "a", 1), (2,), (3, "a", 2)])
    assert (lines, [letter[0] for letter in letters]) == (["1", "2"], ["itemgetter"])
    by = values().dedup(lambda value: 1 // value, within=5)
    assert failures(by, [0, 1]) == (
        ["(None, 1)"],
        [("dedup", "ZeroDivisionError", "integer division or modulo by zero")],
    )


def test_the_graph_shows_how_long():
    (node,) = [node for node in to_stdout(dedup(10)).describe()["nodes"] if node["kind"] == "window"]
    assert node["window"] == {"kind": "session", "gap": 10_000_000_000, "delay": 0, "on_late": "drop"}
