"""Generator sources."""

from __future__ import annotations

import pickle

import pytest

import wallaroo
from stages import Lines, Runner
from wallaroo._codec.protocol import CAREFUL, DISCARD


class UpTo:
    """Counts to a limit and remembers how often it was asked."""

    def __init__(self, limit=5):
        self.limit = limit
        self.asked = 0

    def initial_value(self):
        return 0

    def apply(self, previous):
        self.asked += 1
        if previous == "fail":
            raise ValueError(previous)
        return previous + 1 if previous + 1 < self.limit else None


def runner(generator):
    ab = wallaroo.ApplicationBuilder("test").new_pipeline("numbers", wallaroo.GenSourceConfig(generator))
    application = ab.to_sink(wallaroo.StdoutSinkConfig(Lines)).build()
    return Runner(application, ("generate", 0, [1]))


def test_values_until_the_end():
    run = runner(UpTo(5))
    first = run.run(0, 3)
    assert (first.outputs, first.ended) == ({1: ["0", "1", "2"]}, False)
    assert first.ended is False
    rest = run.run(0, 9)
    assert (rest.outputs, rest.ended) == ({1: ["3", "4"]}, 2)
    after = run.run(0, 9)
    assert (after.outputs, after.ended) == ({}, 0)
    assert after.ended is not False


def test_it_goes_on_elsewhere_from_its_snapshot():
    first, second = runner(UpTo(5)), runner(UpTo(5))
    first.run(0, 2)
    (table, key, state), failures, oldest, _ = first.snapshot(1)
    assert (table, key, failures, oldest) == ("generator:numbers", None, [], None)
    assert pickle.loads(state).generator.asked == 1
    second.tables.find(table).restore(key, state)
    assert second.run(0, 9).outputs == {1: ["2", "3", "4"]}


def test_a_replay_goes_on_without_outputs():
    run = runner(UpTo(5))
    assert run.run(0, 2, flags=DISCARD).outputs == {}
    assert run.run(0, 9).outputs == {1: ["2", "3", "4"]}


@pytest.mark.parametrize("flags", [0, CAREFUL])
def test_values_to_skip_are_made_and_left_out(flags):
    assert runner(UpTo(5)).run(0, 9, skip=[1, 0, 2, 0], flags=flags).outputs == {1: ["0", "3", "4"]}


def test_one_that_raises_has_ended():
    class Fails(UpTo):
        def initial_value(self):
            return "fail"

    run = runner(Fails())
    outcome = run.run(0, 9)
    assert (outcome.outputs, outcome.ended) == ({1: ["fail"]}, 1)
    assert [(failure.node, failure.origin, failure.value) for failure in outcome.failures] == [(0, 1, "'fail'")]
    assert run.run(0, 9)[:4] == ({}, [], 0, 1)


def test_none_at_once_is_an_end():
    class Nothing(UpTo):
        def initial_value(self):
            return None

    outcome = runner(Nothing).run(0, 9)
    assert (outcome.outputs, outcome.failures, outcome.ended) == ({}, [], 0)
    assert outcome.ended is not False
