"""Stages: what steps receive and give, failures in the middle of a batch, and where they came from."""

from __future__ import annotations

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wallaroo
from stages import Lines, Runner, build
from wallaroo._codec.keys import key_from_wire
from wallaroo._codec.protocol import CAREFUL, WHOLE, ProtocolError


class Split:
    def compute_multi(self, data):
        if data == "raise":
            raise ValueError("split")
        return data.split(" ")


class Odd:
    """Drops "drop", raises on "bad", keeps falsy values."""

    def compute(self, data):
        if data == "bad":
            raise ValueError("odd")
        return None if data == "drop" else data


class Key:
    def partition(self, data):
        if data == "nokey":
            raise KeyError(data)
        return data[:1]


class Append:
    def compute(self, data, state):
        if data == "boom":
            state.append("half")
            raise RuntimeError("boom")
        state.append(data)
        return f"{data}{len(state)}", True


class Empty:
    def build(self):
        return []


def keyed(ab):
    ab.to_state_partition(Append, Empty, "seen", Key, ["a", "b", "z"])


def stateless(*computations):
    steps = [lambda ab, computation=computation: ab.to(computation) for computation in computations]
    sink = 1 + len(computations)
    return Runner(build(*steps), ("frames", 0, [sink])), sink


def messages(computation, *frames):
    runner, sink = stateless(computation)
    return runner.run(0, list(frames)).outputs.get(sink, [])


def test_word_groups_and_their_order():
    runner = Runner(build(lambda ab: ab.to(Split), keyed), ("frames", 0, [2]), ("groups", 2, [4]))
    outcome = runner.run(0, [b"b1 a1", b"a2 b2 a3"])
    assert runner.read(outcome.outputs[2]) == [("b", ["b1", "b2"]), ("a", ["a1", "a2", "a3"])]
    assert runner.run(1, outcome.outputs[2]).outputs == {4: ["b11", "b22", "a11", "a22", "a33"]}


@pytest.mark.parametrize(
    ("produced", "expected"),
    [
        ([0, "", None, False, "x"], ["0", "", "False", "x"]),
        (None, []),
        ([], []),
        ((1, 2), ["1", "2"]),
        (range(3), ["0", "1", "2"]),
    ],
)
def test_compute_multi_returns_any_iterable(produced, expected):
    class Multi:
        def compute_multi(self, data):
            return produced

        def compute(self, data):
            raise AssertionError("compute_multi wins")

    assert messages(Multi, b"x") == expected


@pytest.mark.parametrize("produced", ["text", b"bytes", bytearray(b"x"), {"a": 1}, 7])
def test_compute_multi_must_return_an_iterable_of_outputs(produced):
    class Multi:
        def compute_multi(self, data):
            return produced

    runner, _ = stateless(Multi)
    (failure,) = runner.run(0, [b"x"]).failures
    assert failure.exception == "TypeError"
    assert f"compute_multi returned {type(produced).__name__}" in failure.message
    assert failure.traceback == ""


def test_an_iterable_that_raises_half_way_gives_nothing():
    class Multi:
        def compute_multi(self, data):
            yield data + "1"
            if data == "b":
                raise ValueError(data)
            yield data + "2"

    runner, sink = stateless(Multi)
    outcome = runner.run(0, [b"a", b"b", b"c"])
    assert outcome.outputs == {sink: ["a1", "a2", "c1", "c2"]}
    assert [(failure.origin, failure.value) for failure in outcome.failures] == [(1, "'b'")]


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [("ü", ["ü"]), (b"\xff", [b"\xff"]), (None, []), (bytearray(b"x"), [b"x"]), ("", [""])],
)
def test_what_an_encoder_may_return(encoded, expected):
    class Encoder(Lines):
        def encode(self, data):
            return encoded

    ab = wallaroo.ApplicationBuilder("test").new_pipeline("p", wallaroo.StdinSourceConfig(Lines))
    application = ab.to_sink(wallaroo.StdoutSinkConfig(Encoder)).build()
    assert Runner(application, ("frames", 0, [1])).run(0, [b"x"]).outputs.get(1, []) == expected


@pytest.mark.parametrize("encoded", [7, ["x"], "\ud800"])
def test_what_an_encoder_may_not_return(encoded):
    class Encoder(Lines):
        def encode(self, data):
            return encoded if data == "bad" else data

    ab = wallaroo.ApplicationBuilder("test").new_pipeline("p", wallaroo.StdinSourceConfig(Lines))
    application = ab.to_sink(wallaroo.StdoutSinkConfig(Encoder)).build()
    outcome = Runner(application, ("frames", 0, [1])).run(0, [b"a", b"bad", b"c"])
    assert outcome.outputs == {1: ["a", "c"]}
    assert [(failure.node, failure.origin, failure.value) for failure in outcome.failures] == [(1, 1, "'bad'")]


@pytest.mark.parametrize(
    "raised", [ValueError("v"), SystemExit(3), KeyboardInterrupt(), RecursionError(), MemoryError(), StopIteration()]
)
def test_whatever_a_step_raises_is_a_failure_of_its_message(raised):
    class Raises:
        def compute(self, data):
            if data == "bad":
                raise raised
            return data

    runner, sink = stateless(Raises)
    outcome = runner.run(0, [b"a", b"bad", b"c"])
    assert outcome.outputs == {sink: ["a", "c"]}
    (failure,) = outcome.failures
    assert (failure.node, failure.origin, failure.exception) == (1, 1, type(raised).__name__)
    assert failure.message == str(raised)
    assert __file__ in failure.traceback
    assert "wallaroo/worker" not in failure.traceback
    assert runner.codec.decode(failure.codec, failure.payload, 1) == ["bad"]


def test_a_decoder_that_fails_names_the_frame_itself():
    runner, sink = stateless(Odd)
    outcome = runner.run(0, [b"a", b"\xff", b""])
    assert outcome.outputs == {sink: ["a", ""]}
    (failure,) = outcome.failures
    assert failure[:3] == (0, 1, None)
    assert (failure.exception, failure.value) == ("UnicodeDecodeError", "b'\\xff'")
    assert (failure.payload, failure.codec) == (b"", 0)


def test_user_objects_that_break_their_own_description():
    class NastyError(Exception):
        def __str__(self):
            raise ValueError

    class Thing:
        def __repr__(self):
            raise SystemExit

        def __reduce__(self):
            raise ValueError

    class Make:
        def compute(self, data):
            return Thing()

    class Break:
        def compute(self, data):
            raise NastyError

    runner, _ = stateless(Make, Break)
    (failure,) = runner.run(0, [b"x"]).failures
    assert failure.message == "<its __str__ raised ValueError>"
    assert failure.value == "<Thing whose __repr__ raised SystemExit>"
    assert (failure.payload, failure.codec) == (b"", 0)
    assert failure.exception.endswith("NastyError")


@given(
    st.lists(
        st.lists(st.sampled_from(["a1", "b1", "drop", "bad", "x", "nokey", ""]), max_size=4).map(" ".join)
        | st.just("raise"),
        max_size=8,
    )
)
def test_every_failure_names_the_frame_it_came_of(lines):
    runner = Runner(build(lambda ab: ab.to(Odd).to(Split).to(Odd), keyed), ("frames", 0, [4]))
    outcome = runner.run(0, [line.encode() for line in lines])
    expected_groups, expected = {}, []
    for origin, line in enumerate(lines):
        if line in ("raise", "bad", "drop"):
            expected += [] if line == "drop" else [(2 if line == "raise" else 1, origin)]
            continue
        for word in line.split(" "):
            if word == "bad":
                expected.append((3, origin))
            elif word in ("nokey", "x", ""):
                expected.append((4, origin))
            elif word != "drop":
                expected_groups.setdefault(word[0], []).append(word)
    assert dict(runner.read(outcome.outputs.get(4, []))) == expected_groups
    assert sorted((failure.node, failure.origin) for failure in outcome.failures) == sorted(expected)


def test_a_key_that_is_not_in_the_list():
    runner = Runner(build(keyed), ("frames", 0, [1]))
    outcome = runner.run(0, [b"a", b"x1", b"b", b"x2"])
    assert [key for key, _ in runner.read(outcome.outputs[1])] == ["a", "b"]
    assert [(failure.origin, failure.key, failure.value) for failure in outcome.failures] == [
        (1, "x", "'x1'"),
        (3, "x", "'x2'"),
    ]
    assert outcome.failures[0].message == "key 'x' is not in the list of partition keys: ['a', 'b', 'z']"


A_KEY = "a key is str, bytes, int, or a tuple of these"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (1.5, f"1.5 is of type float; {A_KEY}"),
        (None, f"None is of type NoneType; {A_KEY}"),
        (2**63, f"{2**63} does not fit a signed 64-bit integer; {A_KEY}"),
        ("\ud800", f"'\\ud800' cannot be encoded as UTF-8; {A_KEY}"),
        (("a", None), f"None is of type NoneType; {A_KEY}"),
        (["a"], f"['a'] is of type list; {A_KEY}"),
    ],
)
def test_a_key_of_a_wrong_type(key, message):
    class Wrong:
        def partition(self, data):
            return key if data == "bad" else "ok"

    step = lambda ab: ab.to_state_partition(Append, Empty, "seen", Wrong)  # noqa: E731
    runner = Runner(build(step), ("frames", 0, [1]))
    outcome = runner.run(0, [b"a", b"bad", b"c"])
    assert runner.read(outcome.outputs[1]) == [("ok", ["a", "c"])]
    (failure,) = outcome.failures
    assert failure[:4] == (1, 1, None, "TypeError")
    assert failure.message.startswith(message)


@pytest.mark.parametrize("key", ["ü", b"\xff", -(2**63), ("a", 1, (b"b",)), ""])
def test_every_type_of_key_travels(key):
    class Constant:
        def partition(self, data):
            return key

    step = lambda ab: ab.to_state_partition(Append, Empty, "seen", Constant)  # noqa: E731
    runner = Runner(build(step), ("frames", 0, [1]), ("groups", 1, [3]))
    outcome = runner.run(0, [b"a", b"boom"])
    outcome = runner.run(1, outcome.outputs[1])
    assert outcome.outputs == {3: ["a1"]}
    assert key_from_wire(outcome.failures[0].key) == key
    assert list(runner.tables.find("seen").live) == [key]


def test_values_that_cannot_be_pickled_fail_alone():
    class Make:
        def compute(self, data):
            return (lambda: None) if data == "bad" else (data,)

    step = lambda ab: ab.to(Make).to_stateful(Append, Empty, "seen")  # noqa: E731
    runner = Runner(build(step), ("frames", 0, [2]))
    outcome = runner.run(0, [b"a", b"bad", b"c", b"bad"])
    assert runner.read(outcome.outputs[2]) == [(None, [("a",), ("c",)])]
    assert [(failure.node, failure.origin) for failure in outcome.failures] == [(2, 1), (2, 3)]


def test_every_sink_gets_everything():
    ab = wallaroo.ApplicationBuilder("test").new_pipeline("p", wallaroo.StdinSourceConfig(Lines)).to(Odd)
    application = ab.to_sinks([wallaroo.StdoutSinkConfig(Lines), wallaroo.FileSinkConfig("f", Lines)]).build()
    outcome = Runner(application, ("frames", 0, [2, 3])).run(0, [b"a", b"b"])
    assert outcome.outputs == {2: ["a", "b"], 3: ["a", "b"]}


def test_a_pipeline_without_a_sink_gives_nothing():
    ab = wallaroo.ApplicationBuilder("test").new_pipeline("p", wallaroo.StdinSourceConfig(Lines)).to(Odd).done()
    ab.new_pipeline("q", wallaroo.FileSourceConfig("f", Lines)).to_sink(wallaroo.StdoutSinkConfig(Lines))
    outcome = Runner(ab.build(), ("frames", 0, [])).run(0, [b"a", b"bad"])
    assert outcome.outputs == {}
    assert len(outcome.failures) == 1


@pytest.mark.parametrize("flags", [0, CAREFUL])
def test_frames_to_skip(flags):
    runner, sink = stateless(Odd)
    outcome = runner.run(0, [b"a", b"b", b"bad", b"c"], skip=[1, 0, 3, 0], flags=flags)
    assert outcome.outputs == {sink: ["a"]}
    assert [failure.origin for failure in outcome.failures] == [2]


@pytest.mark.parametrize("flags", [0, CAREFUL])
def test_values_and_groups_to_skip(flags):
    runner = Runner(build(keyed), ("frames", 0, [1]), ("groups", 1, [3]))
    given = runner.groups(("a", ["a", "b", "boom"]), ("b", ["x"]), ("z", ["y"]))
    given[7] = b"\xc1 would not decode"
    outcome = runner.run(1, given, skip=[0, 1, 1, WHOLE], flags=flags)
    assert outcome.outputs == {3: ["a1", "y1"]}
    assert [(failure.origin, failure.key) for failure in outcome.failures] == [(0, "a")]


def test_the_marker_names_every_message_of_a_careful_batch(tmp_path):
    record = struct.Struct("<QIIII")
    seen = []
    with open(tmp_path / "marker", "w+b") as marker:

        def look():
            seen.append(record.unpack(os.pread(marker.fileno(), record.size, 0)))

        class Look(Append):
            def compute(self, data, state):
                look()
                return data, True

        step = lambda ab: ab.to_state_partition(Look, Empty, "seen", Key)  # noqa: E731
        runner = Runner(build(step), ("frames", 0, [1]), ("groups", 1, [3]), marker=marker.fileno())
        given = runner.groups(("a", ["x", "y"]), ("b", ["z"]))
        runner.run(1, given)
        runner.run(1, given, flags=CAREFUL)
    assert seen[:3] == [(1, 2, 1, WHOLE, WHOLE)] * 3
    assert seen[3:] == [(2, 2, 1, 0, 0), (2, 2, 1, 0, 1), (2, 2, 1, 1, 0)]


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (("frames", 1, [2]), "cannot begin at node 1"),
        (("groups", 0, [2]), "cannot begin at node 0"),
        (("generate", 0, [2]), "cannot begin at node 0"),
        (("frames", 0, []), "node 2, a sink, is inside a stage but not an outlet of it"),
        (("frames", 0, [1]), "node 1, a computation, cannot be an outlet"),
        (("frames", 9, []), "not among the 3"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(stage, expected):
    with pytest.raises(ProtocolError, match=expected):
        Runner(build(lambda ab: ab.to(Odd)), stage)


@pytest.mark.parametrize("given", [7, b"bytes", ["text"], [b"a", 1]])
def test_frames_of_another_form_are_refused(given):
    runner, _ = stateless(Odd)
    with pytest.raises(ProtocolError):
        runner.run(0, given)
