"""``atomic=True``: a message that fails leaves no trace in the state."""

from __future__ import annotations

import threading
from collections import Counter, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wallaroo
import wallaroo.testing
from verbs import failures, outputs, to_stdout, values
from wallaroo import WallarooParameterError

NUMBERS = [2, 0, 1]


class Slotted:
    __slots__ = ("numbers",)

    def __init__(self):
        self.numbers = []

    def append(self, number):
        self.numbers.append(number)

    def __len__(self):
        return len(self.numbers)


class Numbers(list):
    pass


def add(number, seen):
    seen.append(number)
    return len(seen), 2 // number


def count(number, counter):
    counter[number] += 1
    return sum(counter.values()), 2 // number


def give_all(number, seen):
    seen.append(number)
    yield len(seen)
    yield 2 // number


def lines(pipeline, batch):
    """Return what a pipeline gives for ``NUMBERS``, of which 0 fails."""
    outcome = wallaroo.testing.run(to_stdout(pipeline), list(map(str, NUMBERS)), batch=batch)
    assert [letter.value for letter in outcome.dead_letters] == [0]
    return outcome.lines


STATES = {"list": list, "deque": deque, "slots": Slotted, "subclass": Numbers}


@pytest.mark.parametrize("batch", [1, 100])
@pytest.mark.parametrize("state", STATES)
def test_a_message_that_fails_leaves_no_trace(state, batch):
    p = values().stateful(add, STATES[state], atomic=True)
    assert lines(p, batch) == ["(1, 1)", "(2, 2)"]
    assert lines(values().stateful(count, Counter, atomic=True), batch) == ["(1, 1)", "(2, 2)"]
    assert failures(p, NUMBERS, batch=batch)[1] == failures(values().stateful(add, list), NUMBERS, batch=batch)[1]


@pytest.mark.parametrize("batch", [1, 100])
def test_decorated_steps(batch):
    one = wallaroo.state_computation("one", list, atomic=True)(add)
    assert lines(values().to(one), batch) == ["(1, 1)", "(2, 2)"]
    several = wallaroo.state_computation_multi("several", list, atomic=True)(give_all)
    assert lines(values().to(several), batch) == ["1", "1", "2", "2"]


@pytest.mark.parametrize("batch", [1, 100])
@pytest.mark.parametrize(("on_error", "expected"), [("skip", []), (lambda number, error: "failed", ["'failed'"])])
def test_no_trace_is_left_whatever_becomes_of_the_message(on_error, expected, batch):
    p = values().stateful(add, list, atomic=True, on_error=on_error)
    assert outputs(p, NUMBERS, batch=batch) == ["(1, 1)", *expected, "(2, 2)"]


def test_each_try_begins_with_the_state_as_it_was():
    lengths = []

    def fail_twice(number, seen):
        lengths.append(len(seen))
        seen.append(number)
        if len(lengths) in (2, 3):
            raise ConnectionError
        return len(seen)

    assert outputs(values().stateful(fail_twice, list, atomic=True, retries=2), [5, 6]) == ["1", "2"]
    assert lengths == [0, 1, 1, 1]


def test_exceptions_that_are_not_retried_leave_no_trace():
    def leave(number, seen):
        seen.append(number)
        if number == 0:
            raise SystemExit("a step that leaves")
        return len(seen)

    p = values().stateful(leave, list, atomic=True, retries=3)
    outcome = wallaroo.testing.run(to_stdout(p), list(map(str, NUMBERS)))
    assert outcome.lines == ["1", "2"]
    assert [letter.exception for letter in outcome.dead_letters] == ["SystemExit"]


def test_without_it_the_state_stays_as_the_call_left_it():
    assert outputs(values().stateful(add, list, on_error="skip"), NUMBERS) == ["(1, 1)", "(3, 2)"]


class Locked:
    def __init__(self):
        self.count = 0
        self.lock = threading.Lock()


@pytest.mark.filterwarnings("ignore::wallaroo.testing.UnsavedStateWarning")
def test_a_state_that_cannot_be_pickled_fails_its_messages_before_the_function_is_called():
    def refuse(number, state):
        raise AssertionError("not called")

    outcome = wallaroo.testing.run(to_stdout(values().stateful(refuse, Locked, atomic=True, retries=1)), ["1", "2"])
    assert outcome.lines == []
    for letter in outcome.dead_letters:
        assert (letter.step, letter.exception) == ("refuse", "TypeError")
        assert letter.message.startswith(
            "state of key None in table refuse cannot be pickled, as atomic=True needs before each message: "
        )
    assert len(outcome.dead_letters) == 2


@given(numbers=st.lists(st.integers(-2, 5), max_size=30), batch=st.integers(1, 30), restarts=st.booleans())
def test_the_states_are_those_without_the_messages_that_fail(numbers, batch, restarts):
    def total(number, seen):
        seen.append(number)
        seen.sort()
        10 // number
        return list(seen)

    p = values().key_by(lambda number: number % 2).stateful(total, list, atomic=True, on_error="skip")
    kept = [number for number in numbers if number != 0]
    got = outputs(p, numbers, batch=batch, restarts=restarts)
    assert sorted(got) == sorted(outputs(p, kept, batch=1))


MISTAKES = {
    "a number": (
        lambda: values().stateful(add, list, atomic=1),
        "pipeline 'values', stateful(add): atomic is of type int, not a bool",
        "give atomic=True, and a message that fails leaves no trace in the state",
    ),
    "a step of a builder": (
        lambda: wallaroo.state_computation("add", atomic=True)(add),
        "@wallaroo.state_computation: on_error, retries and atomic are for a step whose decorator names its state, and"
        " 'add' has no state=",
        'write @wallaroo.state_computation(name="add", state=TheClass, ...), and return the output alone',
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake):
    make, problem, hint = MISTAKES[mistake]
    with pytest.raises(WallarooParameterError) as raised:
        make()
    assert (raised.value.message, raised.value.hint) == (problem, hint)
