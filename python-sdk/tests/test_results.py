"""Replies under the cap: split where they must be, and what no frame can carry becomes a failure."""

from __future__ import annotations

from itertools import groupby

import pytest

import wallaroo
from stages import Lines, Runner, build

CAP = 4_000


class Same:
    def compute(self, data):
        return data

    def partition(self, data):
        return data[:1]


class Total:
    def compute(self, data, state):
        state.append(data)
        return data, True

    def build(self):
        return []


def keyed(ab):
    ab.to_state_partition(Total, Total, "total", Same)


def test_messages_are_spread_over_parts_in_order():
    runner = Runner(build(), ("frames", 0, [1]), max_body=CAP)
    lines = [f"{n}".rjust(700, "x") for n in range(30)]
    outcome = runner.run(0, [line.encode() for line in lines])
    assert outcome.outputs == {1: lines}
    assert outcome.parts > 5


def test_a_group_larger_than_the_cap_is_cut_into_several():
    runner = Runner(build(keyed), ("frames", 0, [1]), max_body=CAP)
    values = [f"a{n}".ljust(700, "x") for n in range(20)]
    outcome = runner.run(0, [value.encode() for value in values])
    groups = runner.read(outcome.outputs[1])
    assert {key for key, _ in groups} == {"a"}
    assert [value for _, part in groups for value in part] == values


def test_one_message_too_large_fails_and_names_the_way_out():
    runner = Runner(build(), ("frames", 0, [1]), max_body=CAP)
    outcome = runner.run(0, [b"a", b"x" * 5_000, b"b"])
    assert outcome.outputs == {1: ["a", "b"]}
    (failure,) = outcome.failures
    assert (failure.node, failure.origin) == (1, 1)
    assert failure.message == (
        "a message for the sink of 5005 bytes is beyond the cap of 3936 bytes; raise it with --max-frame"
    )


def test_one_value_too_large_fails():
    runner = Runner(build(keyed), ("frames", 0, [1]), max_body=CAP)
    outcome = runner.run(0, [b"a1", b"a" * 5_000, b"a2", b"b"])
    assert sorted((key, value) for key, part in runner.read(outcome.outputs[1]) for value in part) == [
        ("a", "a1"),
        ("a", "a2"),
        ("b", "b"),
    ]
    (failure,) = outcome.failures
    assert (failure.node, failure.origin, failure.key) == (1, 1, "a")
    assert "a value of" in failure.message


@pytest.mark.parametrize("large", ["k" * 5_000, b"k" * 5_000, ("k", "k" * 5_000)])
def test_one_key_too_large_fails(large):
    class Large(Same):
        def partition(self, data):
            return large if data == "bad" else data

    def by_large(ab):
        ab.to_state_partition(Total, Total, "total", Large)

    runner = Runner(build(by_large), ("frames", 0, [1]), max_body=CAP)
    outcome = runner.run(0, [b"a", b"bad", b"b"])
    assert sorted(key for key, _ in runner.read(outcome.outputs[1])) == ["a", "b"]
    (failure,) = outcome.failures
    assert (failure.node, failure.origin, failure.key) == (1, 1, None)
    assert "a key of" in failure.message


def test_many_failures_are_spread_over_parts():
    class Raise:
        def compute(self, data):
            raise ValueError("x" * 9_000)

    runner = Runner(build(lambda ab: ab.to(Raise)), ("frames", 0, [2]), max_body=CAP)
    outcome = runner.run(0, [b"x" * 3_000] * 10)
    assert [failure.origin for failure in outcome.failures] == list(range(10))
    assert outcome.parts >= 5


def test_a_snapshot_is_spread_over_parts():
    runner = Runner(build(keyed), ("groups", 1, [3]), max_body=CAP)
    runner.run(0, runner.groups(*((key, [key * 700]) for key in "abcdefghij"), ("z", ["z" * 5_000])))
    entries, failures, oldest, parts = runner.snapshot(99)
    # The largest state comes in pieces.
    assert [key for key, _ in groupby(entries[1::3])] == [*"abcdefghij", "z"]
    assert entries[1::3].count("z") > 1
    assert parts > 3
    assert (failures, oldest) == ([], None)
    assert runner.snapshot(99)[0] == []


def test_two_outlets_are_both_split():
    ab = wallaroo.ApplicationBuilder("test").new_pipeline("p", wallaroo.StdinSourceConfig(Lines))
    application = ab.to_sinks([wallaroo.StdoutSinkConfig(Lines), wallaroo.FileSinkConfig("f", Lines)]).build()
    runner = Runner(application, ("frames", 0, [1, 2]), max_body=CAP)
    lines = [f"{n}".rjust(900, "x") for n in range(9)]
    outcome = runner.run(0, [line.encode() for line in lines])
    assert outcome.outputs == {1: lines, 2: lines}
