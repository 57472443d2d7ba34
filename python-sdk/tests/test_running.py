"""The verbs that keep a state for each key."""

from __future__ import annotations

import operator
from collections import Counter
from decimal import Decimal

import pytest

import wallaroo.testing
from verbs import failures, lines, outputs, steps, to_stdout, values

ORDERS = [("ada", 3), ("eve", 5), ("ada", 1), ("ada", None), ("eve", 4)]
QUANTITY = operator.itemgetter(1)


def by_user(p):
    return p.key_by(operator.itemgetter(0))


AGGREGATES = {
    "count": (lambda p: p.count(), [("ada", 1), ("eve", 1), ("ada", 2), ("ada", 3), ("eve", 2)]),
    "sum": (lambda p: p.sum(QUANTITY), [("ada", 3), ("eve", 5), ("ada", 4), ("eve", 9)]),
    "mean": (lambda p: p.mean(QUANTITY), [("ada", 3.0), ("eve", 5.0), ("ada", 2.0), ("eve", 4.5)]),
    "min": (lambda p: p.min(QUANTITY), [("ada", 3), ("eve", 5), ("ada", 1), ("eve", 4)]),
    "max": (lambda p: p.max(QUANTITY), [("ada", 3), ("eve", 5), ("ada", 3), ("eve", 5)]),
    "reduce": (
        lambda p: p.map(QUANTITY).reduce(operator.add, name="reduce"),
        [("ada", 3), ("eve", 5), ("ada", 4), ("eve", 9)],
    ),
    "collect_list": (
        lambda p: p.map(QUANTITY).collect_list(),
        [("ada", [3]), ("eve", [5]), ("ada", [3, 1]), ("eve", [5, 4])],
    ),
    "dedup": (
        lambda p: p.dedup(lambda order: (order[1] or 0) > 3),
        [("ada", ("ada", 3)), ("eve", ("eve", 5))],
    ),
}


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("batch", [1, 2, 100])
@pytest.mark.parametrize("verb", AGGREGATES)
def test_what_an_aggregate_gives(verb, batch, restarts):
    aggregate, expected = AGGREGATES[verb]
    given = outputs(aggregate(by_user(values())), ORDERS, batch=batch, restarts=restarts)
    by_key = {key: [line for line in given if line.startswith(f"('{key}'")] for key in ("ada", "eve")}
    assert by_key == {key: [repr(pair) for pair in expected if pair[0] == key] for key in ("ada", "eve")}
    assert steps(aggregate(by_user(values())))[-1] == verb


def test_values_are_the_messages_without_a_function():
    numbers = [3, 1, 2]
    p = values().key_by(lambda number: "all")
    assert outputs(p.sum(), numbers) == ["('all', 3)", "('all', 4)", "('all', 6)"]
    assert outputs(p.mean(), numbers) == ["('all', 3.0)", "('all', 2.0)", "('all', 2.0)"]
    assert outputs(p.min(), numbers) == ["('all', 3)", "('all', 1)", "('all', 1)"]
    assert outputs(p.max(), numbers) == ["('all', 3)", "('all', 3)", "('all', 3)"]
    assert outputs(p.dedup(), [3, 3, 1]) == ["('all', 3)", "('all', 1)"]


def test_without_a_key_it_is_of_all_messages():
    assert outputs(values().count(), [7, 7]) == ["(None, 1)", "(None, 2)"]
    assert steps(values().count()) == ["collect", "count"]


def test_keys_come_back_as_they_were_given():
    keys = ["'a'", "b'a'", "1", "('a', 1)", "(('a',), b'')"]
    assert outputs(values().key_by(lambda key: key).count(), keys) == [f"({key}, 1)" for key in keys]


def test_dedup_by_a_field():
    given = outputs(values().key_by("user").dedup("id"), [{"user": "ada", "id": 1}] * 2 + [{"user": "ada", "id": 2}])
    assert given == ["('ada', {'user': 'ada', 'id': 1})", "('ada', {'user': 'ada', 'id': 2})"]


def test_what_can_be_added():
    p = values().map(Decimal)
    assert outputs(p.sum().map(lambda pair: pair[1]), ["'1.5'", "'2'"]) == ["Decimal('1.5')", "Decimal('3.5')"]


def test_steps_below_do_not_change_the_state():
    """An aggregate gives a copy of what it holds."""

    def spoil(pair):
        pair[1].append("spoilt")
        return pair

    p = values().key_by(len)
    lists = [["a"], ["b"]]
    assert outputs(p.reduce(operator.add).map(spoil), lists)[1] == "(1, ['a', 'b', 'spoilt'])"
    assert outputs(p.reduce(lambda all, new: all.extend(new)).map(spoil), lists)[1] == "(1, ['a', 'b', 'spoilt'])"
    assert outputs(p.max().map(spoil), lists)[1] == "(1, ['b', 'spoilt'])"
    assert outputs(p.min().map(spoil), lists)[1] == "(1, ['a', 'spoilt'])"
    assert outputs(p.sum().map(spoil), lists)[1] == "(1, ['a', 'b', 'spoilt'])"
    spoilt = p.collect_list().map(lambda pair: (pair[1][0].append("spoilt"), pair)[1])
    assert outputs(spoilt, lists)[1] == "(1, [['a', 'spoilt'], ['b']])"


def test_each_use_has_its_own_state():
    p = lines().key_by(len)
    counted = p.count().map(operator.itemgetter(0)).count()
    assert outputs(counted, ["a", "b"]) == ["(1, 1)", "(1, 2)"]
    outcome = wallaroo.testing.run(to_stdout(p.count(), p.filter(lambda line: line > "a").count()), ["a", "b"])
    assert list(outcome.outputs.values()) == [[b"(1, 1)\n", b"(1, 2)\n"], [b"(1, 1)\n"]]


def test_stateful():
    def number(word, seen):
        seen[word] += 1
        return f"{word}#{seen[word]}" if seen[word] > 1 else None

    p = lines().key_by(len).stateful(number, Counter)
    assert outputs(p, ["a", "b", "a", "a"], batch=3, restarts=True) == ["'a#2'", "'a#3'"]
    assert steps(p) == ["len", "number"]
    assert outputs(lines().stateful(number, state=Counter, name="total"), ["a", "a"]) == ["'a#2'"]


FAILING = {
    "sum of text": (
        lambda p: p.sum(str),
        "sum adds numbers, and got str; convert it first, for example with sum(float)",
    ),
    "sum of different things": (
        lambda p: p.sum(lambda n: n if n < 2 else str(n)),
        "unsupported operand type(s) for +: 'int' and 'str'",
    ),
    "mean of text": (lambda p: p.mean(str), "unsupported operand type(s) for /: 'str' and 'int'"),
    "least of different things": (
        lambda p: p.min(lambda n: n if n < 2 else str(n)),
        "'<' not supported between instances of 'str' and 'int'",
    ),
    "dedup of lists": (
        lambda p: p.dedup(lambda n: [n]),
        "dedup cannot tell values of type list apart, which have no hash; give by= a function that returns what "
        "identifies a message",
    ),
    "a builtin that refuses the message": (
        lambda p: p.sum(operator.itemgetter(0)),
        "'int' object is not subscriptable",
    ),
    "a reduce that raises": (lambda p: p.reduce(operator.getitem), "'int' object is not subscriptable"),
    "a state that a builtin refuses": (lambda p: p.stateful(operator.add, dict), "unsupported operand type(s) for +"),
}


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("case", FAILING)
def test_what_is_said_where_an_aggregate_fails(case, batch):
    aggregate, expected = FAILING[case]
    _, failed = failures(aggregate(values().collect()), [1, 2], batch=batch)
    step, exception, message = failed[-1]
    assert (exception, message[: len(expected)]) == ("TypeError", expected)
    assert step == steps(aggregate(values().collect()))[-1]


def test_a_message_that_fails_does_not_count():
    p = values().collect().mean(lambda n: 1 // n)
    assert failures(p, [1, 0, 1])[0] == ["(None, 1.0)", "(None, 1.0)"]
