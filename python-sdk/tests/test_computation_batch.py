"""``computation_batch``: positions, failures alone, and stages that run message by message."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wallaroo
from orchestrator import MARKER
from stages import Lines, Runner
from wallaroo._codec.protocol import CAREFUL, DISCARD
from wallaroo.worker._vectorised import run_together


class Numbers(Lines):
    def decode(self, bs):
        return int(bs)


@wallaroo.key_extractor
def parity(data):
    return data % 2


def application(*steps):
    p = wallaroo.source("p", wallaroo.StdinSourceConfig(Numbers))
    for step in steps:
        p = p.key_by(step) if step is parity else p.to(step)
    return wallaroo.build_application("app", p.to_sink(wallaroo.StdoutSinkConfig(Lines)))


def batch(function):
    return wallaroo.computation_batch(name="batch")(function)


def frames(*numbers):
    return [b"%d" % number for number in numbers]


def runner(function):
    return Runner(application(batch(function)), ("frames", 0, [2]))


def test_outputs_go_by_position_and_none_filters():
    calls = []

    @batch
    def odd(numbers):
        calls.append(list(numbers))
        return (number * 10 if number % 2 else None for number in numbers)

    outcome = Runner(application(odd), ("frames", 0, [2])).run(0, frames(1, 2, 3, 0))
    assert (outcome.outputs, outcome.failures, calls) == ({2: ["10", "30"]}, [], [[1, 2, 3, 0]])


def test_only_the_guilty_fail():
    calls = []

    def inverse(numbers):
        calls.append(len(numbers))
        return [1 // number for number in numbers]

    outcome = runner(inverse).run(0, frames(1, 1, 0, 1, 1, 0, 1, 1))
    assert outcome.outputs == {2: ["1"] * 6}
    assert [(failure.origin, failure.exception, failure.value) for failure in outcome.failures] == [
        (2, "ZeroDivisionError", "0"),
        (5, "ZeroDivisionError", "0"),
    ]
    assert "inverse" in outcome.failures[0].traceback
    assert calls == [8, 4, 2, 2, 1, 1, 4, 2, 1, 1, 2]


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (
            [1],
            "computation_batch returned 1 outputs for 3 messages; return one for each, in order, and None where there",
        ),
        (None, "computation_batch returned NoneType; return a list of outputs, one for each message"),
        ("abc", "computation_batch returned str; return a list of outputs, one for each message"),
        ({1: 1, 2: 2, 3: 3}, "computation_batch returned dict; return a list of outputs, one for each message"),
        ({1, 2, 3}, "computation_batch returned set; return a list of outputs, one for each message"),
    ],
)
def test_what_cannot_be_told_apart_fails_together(returned, said):
    calls = []

    def wrong(numbers):
        calls.append(numbers)
        return returned

    outcome = runner(wrong).run(0, frames(1, 2, 3))
    assert outcome.outputs == {}
    assert [(failure.origin, failure.exception, failure.value) for failure in outcome.failures] == [
        (0, "TypeError", "1"),
        (1, "TypeError", "2"),
        (2, "TypeError", "3"),
    ]
    assert all(failure.message.startswith(said) for failure in outcome.failures)
    assert len(calls) == 1


def test_the_function_may_do_what_it_likes_with_its_list():
    def takes_apart(numbers):
        outputs = []
        while numbers:
            outputs.append(numbers.pop(0))
        return outputs

    assert runner(takes_apart).run(0, frames(1, 2)).outputs == {2: ["1", "2"]}


def test_nothing_is_called_for_no_messages():
    def never(numbers):
        raise AssertionError

    assert runner(never).run(0, []).failures == []


@given(st.lists(st.integers(0, 5)), st.sets(st.integers(0, 5)))
def test_the_same_as_one_by_one(values, guilty):
    failed = []

    def call(batch):
        if guilty.intersection(batch):
            raise ValueError
        return [value or None for value in batch]

    outputs = run_together(call, values, lambda position, _: failed.append(position))
    assert outputs == [None if value in guilty else value or None for value in values]
    assert failed == [position for position, value in enumerate(values) if value in guilty]


class Last:
    number = 0


@wallaroo.state_computation(name="last", state=Last)
def last(data, state):
    """Returns its state, which the next message changes."""
    state.number = data
    return state


@wallaroo.state_computation(name="running total", state=Last)
def total(data, state):
    state.number += data
    return state.number


def by_key(runner, *numbers):
    return runner.groups(*((parity(number), [number]) for number in numbers))


def test_below_state_values_are_kept_as_they_were():
    sizes = []

    @batch
    def numbers_of(states):
        sizes.append(len(states))
        return [state.number for state in states]

    stages = Runner(application(parity, last, numbers_of), ("groups", 1, [4]))
    outcome = stages.run(0, by_key(stages, 1, 3, 2, 5, 4))
    assert (outcome.outputs, sizes) == ({4: ["1", "3", "2", "5", "4"]}, [5])


@pytest.mark.parametrize("flags", [0, CAREFUL])
def test_above_state_the_key_is_still_known(flags):
    @batch
    def same(numbers):
        return [None if number == 3 else number for number in numbers]

    stages = Runner(application(parity, same, total), ("groups", 1, [4]))
    outcome = stages.run(0, by_key(stages, 1, 2, 3, 4, 5), flags=flags)
    assert outcome.outputs == {4: ["1", "2", "6", "6"]}
    assert stages.run(0, by_key(stages, 0, 1)).outputs == {4: ["6", "7"]}


def test_a_replay_runs_what_state_depends_on():
    calls = []

    @batch
    def noted(numbers):
        calls.append(numbers)
        return numbers

    stages = Runner(application(parity, noted, total), ("groups", 1, [4]))
    assert stages.run(0, by_key(stages, 1, 2), flags=DISCARD).outputs == {}
    assert stages.run(0, by_key(stages, 1, 2)).outputs == {4: ["2", "4"]}
    assert len(calls) == 2


def test_failures_below_state_name_their_message():
    @batch
    def inverse(states):
        return [1 // state.number for state in states]

    stages = Runner(application(parity, last, inverse), ("groups", 1, [4]))
    outcome = stages.run(0, by_key(stages, 1, 0, 1))
    assert outcome.outputs == {4: ["1", "1"]}
    assert [(failure.node, failure.origin, failure.key) for failure in outcome.failures] == [(3, 1, 0)]


class Unpicklable:
    def __init__(self, number):
        self.number = number

    def __reduce__(self):
        raise TypeError("this stays here")


@wallaroo.state_computation(name="wrap", state=Last)
def wrap(data, state):
    return Unpicklable(data) if data == 2 else data


def test_what_cannot_be_kept_is_run_at_once_and_in_order():
    sizes = []

    @batch
    def unwrap(values):
        sizes.append(len(values))
        return [getattr(value, "number", value) for value in values]

    stages = Runner(application(parity, wrap, unwrap), ("groups", 1, [4]))
    outcome = stages.run(0, by_key(stages, 0, 4, 2, 6, 8))
    assert (outcome.outputs, sizes) == ({4: ["0", "4", "2", "6", "8"]}, [2, 1, 2])


def test_a_careful_batch_runs_each_message_alone(tmp_path):
    marked = []

    with open(tmp_path / "marker", "w+b", buffering=0) as marker:

        @batch
        def look(numbers):
            marked.append((MARKER.unpack(marker_of(marker)), list(numbers)))
            return numbers

        Runner(application(look), ("frames", 0, [2]), marker=marker.fileno()).run(0, frames(7, 8), flags=CAREFUL)
    assert marked == [((1, 1, 1, 0, 0), [7]), ((1, 1, 1, 1, 0), [8])]


def marker_of(file):
    file.seek(0)
    return file.read(struct.calcsize("<QIIII"))
