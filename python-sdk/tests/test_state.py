"""State: dirty keys, snapshots and restoring, replay, shared tables."""

from __future__ import annotations

import itertools
import pickle
import threading

import pytest

import wallaroo
from stages import Lines, Runner, build
from wallaroo._codec import protocol
from wallaroo._codec.protocol import CAREFUL, DISCARD
from wallaroo._pipeline.topology import Application, KeyByNode, SinkNode, SourceNode, StateNode
from wallaroo.worker import _state
from wallaroo.worker._marker import Marker
from wallaroo.worker._session import Session


class Key:
    def partition(self, data):
        return data[:1]


class Log:
    """State that remembers what it saw; cannot be pickled once it has seen "lock"."""

    def __init__(self):
        self.seen = []

    def __reduce__(self):
        if "lock" in self.seen:
            raise TypeError("cannot pickle a lock")
        return restored, (self.seen,)


def restored(seen):
    if "unloadable" in seen:
        raise ValueError("no such class")
    log = Log()
    log.seen = seen
    return log


class LogBuilder:
    def build(self):
        return Log()


class Remember:
    def compute(self, data, log):
        if data == "peek":
            return ",".join(log.seen), False
        log.seen.append(data)
        if data == "raise":
            raise ValueError(data)
        return None, True


class Twice:
    def compute_multi(self, data, log):
        log.seen.append(data)
        return [data, None, data], True


def runner(computation=Remember, **options):
    step = lambda ab: ab.to_state_partition(computation, LogBuilder, "log", Key)  # noqa: E731
    return Runner(build(step), ("frames", 0, [1]), ("groups", 1, [3]), **options)


def feed(run, *keys_and_values, **options):
    return run.run(1, run.groups(*keys_and_values), **options)


def states(entries):
    fields = iter(entries)
    return {key: pickle.loads(state).seen for _, key, state in zip(fields, fields, fields)}


def test_a_snapshot_takes_the_keys_that_changed_longest_first():
    run = runner()
    feed(run, ("a", ["a"]), ("b", ["b"]), batch=10)
    feed(run, ("c", ["c"]), ("a", ["again"]), ("d", ["peek"]), batch=11)
    entries, _, oldest, _ = run.snapshot(2)
    assert states(entries) == {"a": ["a", "again"], "b": ["b"]}
    assert oldest == 11
    entries, _, oldest, _ = run.snapshot(10)
    assert states(entries) == {"c": ["c"]}
    assert oldest is None
    assert run.snapshot(10) == ([], [], None, 1)


def test_a_snapshot_of_some_keys_takes_those_that_changed():
    run = runner()
    feed(run, ("a", ["a"]), ("b", ["b"]), ("c", ["peek"]), batch=10)
    feed(run, ("d", ["d"]), batch=11)
    entries, failures, oldest, _ = run.snapshot(0, keys=["b", "c", "d", "unknown"])
    assert states(entries) == {"b": ["b"], "d": ["d"]}
    assert (failures, oldest) == ([], 10)
    assert states(run.snapshot(9)[0]) == {"a": ["a"]}


def test_a_state_that_must_not_be_saved_is_a_failure_and_stays_dirty():
    run = runner()
    feed(run, ("a", ["a"]), ("b", ["b"]), batch=10)
    run.tables.do_not_save([("log", "a")])
    for keys in (None, ["a", "b"]):
        feed(run, ("b", ["b"]), batch=11)
        entries, failures, oldest, _ = run.snapshot(9, keys)
        assert (set(states(entries)), oldest) == ({"b"}, 10)
        assert failures[1::3] == ["a"]


def test_a_state_that_must_not_be_loaded_fails_what_needs_it():
    run = runner()
    feed(run, ("a", ["a"]), ("b", ["b"]), batch=10)
    entries = run.snapshot(9)[0]
    other = runner()
    for key, state in zip(entries[1::3], entries[2::3]):
        other.tables.find("log").restore(key, state)
    other.tables.do_not_load([("log", "a"), ("other", "b")])
    outcome = feed(other, ("a", ["peek"]), ("b", ["peek"]))
    assert outcome.outputs == {3: ["b"]}
    assert ["is not loaded" in failure.message for failure in outcome.failures] == [True]


def test_a_state_that_is_forgotten_is_built_anew():
    run = runner()
    feed(run, ("a", ["a"]), ("b", ["b"]))
    run.tables.find("log").forget("a")
    assert states(run.snapshot(9)[0]) == {"b": ["b"]}
    assert feed(run, ("a", ["peek"])).outputs == {3: [""]}


def test_a_step_that_raises_marks_its_state_changed():
    run = runner()
    outcome = feed(run, ("a", ["raise", "peek"]))
    assert outcome.outputs == {3: ["raise"]}
    assert [failure.key for failure in outcome.failures] == ["a"]
    assert states(run.snapshot(1)[0]) == {"a": ["raise"]}


def test_what_is_dirty_is_known_though_a_replay_came_late():
    run = runner()
    feed(run, ("a", ["a"]), batch=10)
    feed(run, ("b", ["b"]), batch=4, flags=DISCARD)
    entries, _, oldest, _ = run.snapshot(1)
    assert states(entries) == {"b": ["b"]}
    assert oldest == 10


def test_discard_changes_state_and_returns_nothing():
    run = runner()
    outcome = feed(run, ("a", ["x", "raise", "peek"]), flags=DISCARD)
    assert (outcome.outputs, outcome.failures) == ({}, [])
    assert feed(run, ("a", ["peek"])).outputs == {3: ["x,raise"]}


def test_restore_replaces_what_is_there():
    source, target = runner(), runner()
    feed(source, ("a", ["one"]), ("b", ["two"]))
    entries, _, _, _ = source.snapshot(9)
    feed(target, ("a", ["other"]))
    table = target.tables.find("log")
    for key, state in zip(entries[1::3], entries[2::3]):
        table.restore(key, state)
    assert feed(target, ("a", ["peek"]), ("b", ["peek"])).outputs == {3: ["one", "two"]}
    assert target.snapshot(9)[0] == []


@pytest.mark.parametrize("flags", [0, CAREFUL])
def test_a_state_that_cannot_be_unpickled_fails_its_messages(flags):
    run = runner()
    run.tables.find("log").restore("a", pickle.dumps(restored(["fine"])).replace(b"fine", b"fine"))
    bad = pickle.dumps(restored(["unloadXXXX"])).replace(b"unloadXXXX", b"unloadable")
    run.tables.find("log").restore("b", bad)
    outcome = feed(run, ("b", ["x", "y"]), ("a", ["peek"]), flags=flags)
    assert outcome.outputs == {3: ["fine"]}
    message = "state of key 'b' in table log could not be restored: ValueError: no such class"
    assert [(failure.key, failure.exception, failure.message, failure.value) for failure in outcome.failures] == [
        ("b", "ValueError", message, "'x'"),
        ("b", "ValueError", message, "'y'"),
    ]
    assert "in restored" in outcome.failures[0].traceback
    # No state was built in its place, to be taken for the true one.
    assert list(run.tables.find("log").live) == ["a"]
    assert run.snapshot(9) == ([], [], None, 1)
    assert len(feed(run, ("b", ["peek"]), flags=flags).failures) == 1
    run.tables.find("log").restore("b", pickle.dumps(restored(["right"])))
    assert feed(run, ("b", ["peek"]), flags=flags).outputs == {3: ["right"]}


def test_a_state_that_cannot_be_pickled_stays_dirty():
    run = runner()
    feed(run, ("l", ["lock"]), batch=1)
    feed(run, ("a", ["a"]), batch=2)
    entries, failures, oldest, _ = run.snapshot(1)
    assert states(entries) == {"a": ["a"]}
    assert failures == ["log", "l", "TypeError: cannot pickle a lock"]
    assert oldest == 1


def test_a_key_is_snapshotted_in_all_its_tables_or_in_none():
    run = runner()
    feed(run, ("k", ["fine"]), batch=1)
    whole, broken = run.tables.find("log"), run.tables.table("other", dict)
    broken.live["k"] = threading.Lock()
    broken.dirty["k"] = 1
    entries, failures, oldest, _ = run.snapshot(1)
    assert (states(entries), failures[:2], oldest) == ({}, ["other", "k"], 1)
    broken.live["k"] = {}
    entries, failures, oldest, _ = run.snapshot(1)
    assert (entries[0::3], failures, oldest) == (["log", "other"], [], None)
    assert not whole.dirty


def test_a_state_that_is_larger_than_a_message_goes_and_comes_in_pieces():
    run, other = runner(max_body=4_000), runner()
    feed(run, ("a", ["a"]), ("l", ["x" * 50_000]), ("m", ["m"]))
    entries, failures, oldest, parts = run.snapshot(9)
    assert (failures, oldest) == ([], None)
    assert parts > 12
    assert [key for key, _ in itertools.groupby(entries[1::3])] == ["a", "l", "m"]
    session = Session(None, Marker(None))
    session._tables = other.tables
    for start in range(0, len(entries), 3):
        session._restore(protocol.Restore(entries[start : start + 3]))
    assert feed(other, ("l", ["peek"]), ("m", ["peek"])).outputs == {3: ["x" * 50_000, "m"]}


def test_a_state_beyond_the_cap_stays_dirty_until_it_fits(monkeypatch):
    monkeypatch.setattr(_state, "LARGEST_STATE", 3_936)
    run = runner(max_body=4_000)
    feed(run, ("l", ["x" * 5_000]), batch=1)
    feed(run, ("a", ["a"]), batch=2)
    entries, failures, oldest, _ = run.snapshot(1)
    assert (states(entries), oldest) == ({"a": ["a"]}, 1)
    table, key, message = failures
    assert (table, key) == ("log", "l")
    assert message.startswith("a state of 5")
    assert message.endswith(" bytes, more than the 3936 that can be saved")
    run.tables.find("log").live["l"].seen.clear()
    assert states(run.snapshot(1)[0]) == {"l": []}


def test_a_builder_that_raises_fails_the_messages_of_its_keys():
    class Broken:
        def build(self):
            raise OSError("no room")

    step = lambda ab: ab.to_state_partition(Remember, Broken, "log", Key)  # noqa: E731
    run = Runner(build(step), ("groups", 1, [3]))
    outcome = run.run(0, run.groups(("a", ["x", "y"])))
    assert [failure.message for failure in outcome.failures] == ["no room"] * 2


def test_compute_multi_with_state():
    assert feed(runner(Twice), ("a", ["x", "y"]), ("b", ["z"])).outputs == {3: ["x", "x", "y", "y", "z", "z"]}


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "a state computation returns (output, state_changed): cannot unpack non-iterable NoneType object"),
        ("ab", "a state computation returns (output, state_changed); state_changed was str, not bool"),
        (("a", True, 1), "a state computation returns (output, state_changed): too many values to unpack"),
        (("a", "no"), "a state computation returns (output, state_changed); state_changed was str, not bool"),
    ],
)
def test_what_a_state_computation_must_return(returned, message):
    class Wrong:
        def compute(self, data, state):
            return returned

    (failure,) = feed(runner(Wrong), ("a", ["x"])).failures
    # PyPy words the first differently.
    assert failure.message.split(":")[0] == message.split(":")[0]
    assert failure.exception == "TypeError"


@pytest.mark.parametrize(("changed", "dirty"), [(True, 1), (1, 1), (False, 0), (0, 0), (None, 0)])
def test_only_changed_state_is_dirty(changed, dirty):
    class Say:
        def compute(self, data, state):
            return data, changed

    run = runner(Say)
    assert feed(run, ("a", ["x"])).outputs == {3: ["x"]}
    assert len(run.snapshot(9)[0]) == dirty * 3


class Counted:
    def compute(self, data, state):
        if data == "bad":
            raise ValueError(data)
        state.append(data)
        return f"{data}{len(state)}", True


def chain(*nodes):
    """Build a keyed stage of state steps, as a fluent pipeline would under one ``key_by``."""
    source = SourceNode("p", (), wallaroo.StdinSourceConfig(Lines))
    key_by = KeyByNode("key", (0,), Key().partition, None, False)
    sink = SinkNode("out", (1 + len(nodes),), wallaroo.StdoutSinkConfig(Lines))
    return Runner(Application("test", [source, key_by, *nodes, sink]), ("groups", 1, [2 + len(nodes)]))


def test_two_states_in_one_stage():
    twice, counted = Twice().compute_multi, Counted().compute
    run = chain(
        StateNode("twice", (1,), "one", "t", Log, twice, True),
        StateNode("count", (2,), "two", "t", list, counted, False),
    )
    outcome = run.run(0, run.groups(("a", ["x", "bad", "y"]), ("b", ["z"])))
    assert outcome.outputs == {4: ["x1", "x2", "y3", "y4", "z1", "z2"]}
    assert [(failure.node, failure.origin, failure.key) for failure in outcome.failures] == [(3, 0, "a")] * 2
    entries, _, _, _ = run.snapshot(1)
    assert set(zip(entries[0::3], entries[1::3])) == {("one", "a"), ("two", "a")}


def test_steps_that_share_a_table_see_messages_one_by_one():
    def add(data, state):
        state.append(data)
        return data, True

    def read(data, state):
        return "".join(state), False

    run = chain(
        StateNode("add", (1,), "t", "list", list, add, False),
        StateNode("read", (2,), "t", "list", list, read, False),
    )
    outcome = run.run(0, run.groups(("a", ["x", "y", "z"]), ("b", ["w"])))
    assert outcome.outputs == {4: ["x", "xy", "xyz", "w"]}


def test_a_group_that_cannot_be_read_fails_alone():
    run = runner()
    given = run.groups(("a", ["x"]), ("b", ["y", "y"]), ("c", ["peek"]))
    given[6], given[7] = 2, b"garbage"
    outcome = run.run(1, given)
    assert outcome.outputs == {3: [""]}
    (failure,) = outcome.failures
    assert (failure.node, failure.origin, failure.key) == (1, 1, "b")
    assert (failure.payload, failure.codec) == (b"garbage", 2)


class Latest:
    def __init__(self):
        self.value = None


class LatestBuilder:
    def build(self):
        return Latest()


class Previous:
    def compute(self, data, state):
        before, state.value = state.value, data
        return before, True


def test_a_plain_state_survives_a_snapshot_without_a_pickle():
    step = lambda ab: ab.to_state_partition(Previous, LatestBuilder, "latest", Key)  # noqa: E731
    source, target = (Runner(build(step), ("groups", 1, [3])) for _ in range(2))
    source.run(0, source.groups(("a", ["a1"]), ("b", ["b1", "b2"]), ("c", ["c1"])))
    entries, failures, oldest, parts = source.snapshot(2)
    assert (failures, oldest, parts) == ([], 1, 1)
    assert entries[1::3] == ["a", "b"]
    for name, key, state in zip(entries[0::3], entries[1::3], entries[2::3]):
        assert not state.startswith(pickle.PROTO)
        target.tables.find(name).restore(key, state)
    assert target.run(0, target.groups(("a", ["a2"]), ("b", ["b3"]))).outputs == {3: ["a1", "b2"]}
    assert source.snapshot(9)[0][1::3] == ["c"]
