"""``join`` and ``lookup``: what is paired, what is given without another, and when it is forgotten."""

from __future__ import annotations

import enum
import operator
import uuid
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wallaroo
import wallaroo.testing
from verbs import failures, literal, outputs, shown, steps, to_stdout, values
from wallaroo import WallarooParameterError

TIME, SIDE, KEY, N = map(operator.itemgetter, range(4))
HOW = ("inner", "left", "outer")


def timed(name="messages"):
    """Messages are ``(seconds, side, key, n)``."""
    source = wallaroo.FileSourceConfig(name, literal, event_time=lambda message: message[0] * 1_000_000_000)
    return wallaroo.source(name, source)


def sides(key_first=True):
    """Left and right streams of ``n``, by key: with ``key_by`` right before the join, or with steps between."""
    messages = timed()
    left, right = (messages.filter(lambda message, side=side: SIDE(message) == side) for side in (0, 1))
    if key_first:
        return left.key_by(KEY), right.key_by(KEY)
    return left.key_by(KEY).map(list).map(tuple), right.key_by(KEY).filter(bool)


def even_and_odd(key):
    numbers = values()
    return (numbers.filter(lambda n, odd=odd: n % 2 == odd).key_by(key) for odd in (0, 1))


def joined(within, how="inner", delay=0, key_first=True):
    left, right = sides(key_first)
    pairs = left.join(right, within=within and timedelta(seconds=within), how=how, delay=timedelta(seconds=delay))
    return pairs.map(lambda pair: (pair[0], *(message and N(message) for message in pair[1])))


def model(stream, within, how, delay):
    """All that is given, in any order, and how many messages are late."""
    kept = {"inner": (), "left": (0,), "outer": (0, 1)}[how]
    watermark, held, out, late = -1, [], [], 0
    for time, side, key, n in stream:
        watermark = max(watermark, time)
        if within is not None and not is_open(time, within, delay, watermark):
            late += 1
            continue
        message = [time, side, key, n, False]
        for other in held:
            near = within is None or (abs(other[0] - time) <= within and is_open(other[0], within, delay, watermark))
            if other[2] == key and other[1] != side and near:
                out.append((key, n, other[3]) if side == 0 else (key, other[3], n))
                message[4] = other[4] = True
        held.append(message)
    out += [
        (key, *((n, None) if side == 0 else (None, n))) for _, side, key, n, met in held if not met and side in kept
    ]
    return sorted(map(repr, out)), late


def is_open(time, within, delay, watermark):
    # The duration is reached to the nanosecond, and a message waits one more.
    return time + within + delay >= watermark


MESSAGES = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 1), st.sampled_from("ab"), st.integers(0, 99)), max_size=25
)


@given(
    MESSAGES,
    st.one_of(st.none(), st.integers(1, 12)),
    st.sampled_from(HOW),
    st.integers(0, 5),
    st.sampled_from([1, 2, 5, 100]),
    st.booleans(),
    st.booleans(),
)
def test_what_is_given_does_not_depend_on_batches_or_restarts(stream, within, how, delay, batch, restarts, key_first):
    delay = 0 if within is None else delay
    app = to_stdout(joined(within, how, delay, key_first))
    outcome = wallaroo.testing.run(app, list(map(str, stream)), batch=batch, restarts=restarts)
    assert outcome.dead_letters == []
    assert (sorted(outcome.lines), outcome.late) == model(stream, within, how, delay)


def test_unmatched_messages_are_given_when_their_time_is_over():
    app = wallaroo.testing.InProcess(to_stdout(joined(10, "outer")))
    app.send(["(0, 0, 'a', 1)", "(1, 1, 'b', 2)", "(2, 1, 'a', 3)", "(10, 0, 'c', 4)"])
    assert app.outcome.lines == ["('a', 1, 3)"]
    app.send(["(11, 0, 'c', 5)"])
    assert app.outcome.lines[1:] == [], "one that is as late as may be would still be paired"
    app.send(["(12, 0, 'c', 6)"])
    assert app.outcome.lines[1:] == ["('b', None, 2)"]
    app.end()
    assert app.outcome.lines[2:] == ["('c', 4, None)", "('c', 5, None)", "('c', 6, None)"]


def test_the_slower_of_two_sources_says_how_far_time_has_come():
    left, right = timed("left").key_by(KEY), timed("right").key_by(KEY)
    pairs = left.join(right, within=wallaroo.seconds(5), how="left").map(
        lambda pair: tuple(message and TIME(message) for message in pair[1])
    )
    app = wallaroo.testing.InProcess(to_stdout(pairs))
    app.send([f"({second}, 0, 'a', 0)" for second in range(0, 100, 10)], source="left")
    assert app.outcome.lines == []
    app.send(["(4, 1, 'a', 0)"], source="right")
    assert app.outcome.lines == ["(0, 4)"]
    app.send(["(26, 1, 'a', 0)"], source="right")
    assert app.outcome.lines[1:] == ["(30, 26)", "(10, None)", "(20, None)"]
    app.end(source="right")
    assert app.outcome.lines[4:] == [f"({second}, None)" for second in range(40, 90, 10)]
    assert app.outcome.late == 0


def test_without_event_times_it_goes_by_the_time_of_arrival():
    left, right = even_and_odd(lambda n: n // 2)
    app = wallaroo.testing.InProcess(to_stdout(left.join(right, within=wallaroo.seconds(10), how="left")))
    app.send(["0", "2", "4"])
    app.advance(wallaroo.seconds(10))
    app.send(["1"])
    assert app.outcome.lines == ["(0, (0, 1))"]
    app.advance(1)
    assert app.outcome.lines[1:] == ["(1, (2, None))", "(2, (4, None))"]
    app.send(["3"])
    assert app.outcome.lines[3:] == []


def held(app):
    (table,) = app._tables._tables.values()
    return sum(len(opened.windows) for opened in table.live.values())


@pytest.mark.parametrize(("how", "most"), [("inner", 113), ("left", 101)])
def test_what_cannot_be_paired_any_more_is_forgotten(how, most):
    app = wallaroo.testing.InProcess(to_stdout(joined(100, how)))
    found = 0
    for second in range(1_000):
        app.send([f"({second}, {second % 2}, 'a', 0)"])
        found = max(found, held(app))
    assert found == most, "those of 100 s; and an eighth more where nothing is given at the end of their time"
    app.send(["(5000, 0, 'b', 0)"])
    assert held(app) == 1


def test_late_messages_may_be_dead_letters():
    left, right = sides()
    pairs = left.join(right, within=wallaroo.seconds(1), delay=wallaroo.seconds(2), on_late="dead-letter", name="pay")
    stream = [(10, 0, "a", 1), (7, 0, "a", 2), (6, 1, "a", 3)]
    outcome = wallaroo.testing.run(to_stdout(pairs), list(map(str, stream)))
    assert [(letter.step, letter.exception, letter.value) for letter in outcome.dead_letters] == [
        ("pay", "wallaroo.LateValueError", (6, 1, "a", 3))
    ]
    assert outcome.late == 1


def test_windows_below_have_the_later_time_of_a_pair_and_the_last_of_a_message_without_another():
    left, right = sides()
    counts = left.join(right, within=wallaroo.seconds(5), how="left").key_by(lambda pair: pair[0])
    counts = counts.window(wallaroo.tumbling(wallaroo.seconds(10))).aggregate(wallaroo.count())
    shown = counts.map(lambda window: (window.key, window.start.second, window.value))
    stream = [(8, 0, "a", 0), (12, 1, "a", 0), (12, 0, "b", 0), (13, 1, "a", 0), (16, 0, "c", 0), (40, 0, "d", 0)]
    for batch in (1, 3, 10):
        assert sorted(outputs(shown, stream, batch=batch)) == [
            "('a', 10, 2)",
            "('b', 10, 1)",
            "('c', 20, 1)",
            "('d', 40, 1)",
        ]


class Side(enum.Enum):
    A = "a"


KEYS = [1, "1", True, ("a", 1), b"a", uuid.UUID(int=1), Side.A]


@pytest.mark.parametrize("key_first", [True, False])
def test_keys_are_given_as_they_came(key_first):
    left, right = even_and_odd(lambda n: KEYS[n // 2])
    if not key_first:
        left, right = left.map(float), right.map(float)
    found = []
    pairs = left.join(right, within=wallaroo.hours(1)).inspect(found.append)
    outputs(pairs.map(repr), range(2 * len(KEYS)), batch=4)
    expected = [(key, (2 * n, 2 * n + 1)) for n, key in enumerate(KEYS)]
    assert sorted(map(repr, found)) == sorted(map(repr, expected)) or not key_first
    assert [type(key) for key, _ in found] == [type(key) for key in KEYS]
    assert [key for key, _ in found] == KEYS


def test_the_steps_below_change_only_what_they_are_given():
    lists = values().key_by(lambda message: message[0])
    left, right = lists.filter(lambda message: message[1] == 0), lists.filter(lambda message: message[1] == 1)

    def change(pair):
        key, (a, b) = pair
        a.append("seen")
        b.append("seen")
        return key, a, b

    pairs = left.join(right).map(change)
    found = outputs(pairs, [["a", 0], ["a", 1], ["a", 1], ["a", 0]], batch=4)
    assert found == ["('a', ['a', 0, 'seen'], ['a', 1, 'seen'])"] * 4


def test_a_stream_is_joined_with_itself_and_the_result_again():
    numbers = values().key_by(lambda n: n % 3)
    app = to_stdout(numbers.join(numbers, within=wallaroo.hours(1)))
    assert sorted(wallaroo.testing.run(app, ["3", "6"]).lines) == [
        "(0, (3, 3))",
        "(0, (3, 6))",
        "(0, (6, 3))",
        "(0, (6, 6))",
    ]
    thrice = numbers.join(numbers, name="two").key_by(lambda pair: pair[0]).join(numbers)
    assert outputs(thrice, [3]) == ["(0, ((0, (3, 3)), 3))"]
    assert steps(thrice) == ["two left", "two right", "two key", "two", "join left", "join right", "join key", "join"]


def test_a_failing_key_function_names_its_side_and_message():
    left, right = even_and_odd(lambda n: 4 // n)
    outcome = wallaroo.testing.run(to_stdout(left.join(right)), ["0", "4", "3"])
    assert [(letter.step, letter.exception, letter.value) for letter in outcome.dead_letters] == [
        ("join left", "ZeroDivisionError", 0)
    ]
    assert outcome.lines == ["(1, (4, 3))"]


@pytest.mark.parametrize("key_first", [True, False])
@pytest.mark.parametrize("restarts", [True, False])
def test_a_lookup_gives_the_latest_row(key_first, restarts):
    left, right = sides(key_first)
    found = left.lookup(right.map(N).table()).map(lambda pair: (N(pair[0]), pair[1]))
    stream = [(0, 0, "a", 1), (0, 1, "a", 10), (0, 0, "a", 2), (0, 0, "b", 3), (0, 1, "a", 11), (0, 0, "a", 4)]
    assert outputs(found, stream, restarts=restarts) == ["(1, None)", "(2, 10)", "(3, None)", "(4, 11)"]


def test_a_row_is_changed_by_no_step_below():
    numbers = values()
    rows = numbers.filter(lambda n: n < 0).key_by(abs).map(lambda n: [n])
    found = numbers.filter(lambda n: n > 0).key_by(abs).lookup(rows.table())
    assert outputs(found.map(lambda pair: pair[1].append(1) or pair), [-1, 1, 1]) == ["(1, [-1, 1])"] * 2


def test_the_key_stays_below_a_lookup():
    numbers = values().key_by(lambda n: n % 2)
    counted = numbers.lookup(numbers.map(lambda n: n * 10).table()).count()
    assert [literal(line.encode())[1] for line in outputs(counted, [1, 3, 2])] == [1, 2, 1]


REFUSED = [
    (lambda a, b: a.join(5), "the argument is of type int, not a pipeline"),
    (lambda a, b: a.join(b.table()), "the argument is a table\nhint: use lookup for a table"),
    (lambda a, b: a.join(values()), "pipeline 'values' has no keys\nhint: write key_by(...) before join, in both"),
    (lambda a, b: values().join(a), "pipeline 'values' has no keys\nhint: write key_by(...) before join, in both"),
    (lambda a, b: values().table(), "pipeline 'values' has no keys\nhint: write key_by(...).table(...)"),
    (lambda a, b: a.join(b.sink(wallaroo.StdoutSinkConfig(shown))), "pipeline 'messages' has ended with sink"),
    (lambda a, b: a.join(b, how="right"), '\nhint: swap the streams and write how="left"'),
    (lambda a, b: a.join(b, how="cross"), 'how is \'cross\', none of "inner", "left" and "outer"\nhint: '),
    (lambda a, b: a.join(b, within=0), "within=0: the argument must be a whole number from 1 to 2**61"),
    (lambda a, b: a.join(b, within=1.5), "within=1.5: the argument must be a whole number"),
    (lambda a, b: a.join(b, within=5, delay=-1), "delay=-1: the argument must be a whole number from 0"),
    (lambda a, b: a.join(b, within=5, on_late="keep"), "on_late is 'keep'"),
    (lambda a, b: a.join(b, on_late="dead-letter"), "no message is late without within\nhint: give within="),
    (lambda a, b: a.join(b, name=""), "name must be a non-empty str"),
    (lambda a, b: a.lookup(b), "the argument is a pipeline, not a table\nhint: write key_by(...).table()"),
    (lambda a, b: a.lookup({}), "the argument is of type dict, not a table"),
    (lambda a, b: a.to(b), "use merge for the messages of two pipelines, or key_by(...).join(...) for pairs of them"),
]


@pytest.mark.parametrize(("use", "message"), REFUSED)
def test_mistakes(use, message):
    with pytest.raises(WallarooParameterError) as refused:
        use(*sides())
    assert message in str(refused.value)


def test_what_fails_below_a_join_is_the_step_below():
    numbers = values().key_by(lambda n: n % 2)
    assert failures(numbers.join(numbers).map(lambda pair: 1 // pair[1][0]), [0])[1] == [
        ("map", "ZeroDivisionError", "integer division or modulo by zero")
    ]


def test_what_the_orchestrator_is_told():
    for how in HOW:
        (node,) = [node for node in to_stdout(joined(7, how)).describe()["nodes"] if node["kind"] == "window"]
        assert node["window"]["range"] == node["window"]["slide"] == 7_000_000_000
    (node,) = [node for node in to_stdout(joined(None)).describe()["nodes"] if node["kind"] == "window"]
    assert node["window"] == {"kind": "count", "count": 1}
