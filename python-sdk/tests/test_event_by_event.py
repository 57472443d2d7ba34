"""What a step below a state computation sees is what was returned, though the state has changed since."""

from __future__ import annotations

import pytest

import wallaroo
from stages import Lines, Runner
from wallaroo._codec.protocol import CAREFUL
from wallaroo._codec.values import ValueCodec
from wallaroo._pipeline.topology import (
    Application,
    CollectNode,
    ComputationNode,
    KeyByNode,
    SinkNode,
    SourceNode,
    StateNode,
)


class Seen:
    """A state that is its own output."""

    def __init__(self):
        self.words = []

    def __str__(self):
        return "".join(self.words)

    def __reduce__(self):
        return restored, (list(self.words),)


def restored(words):
    seen = Seen()
    seen.words = words
    return seen


def itself(word, seen):
    seen.words.append(word)
    return seen, True


def a_part(word, seen):
    seen.words.append(word)
    return seen.words, True


def in_a_tuple(word, seen):
    seen.words.append(word)
    return (len(seen.words), seen.words), True


def several(word, seen):
    seen.words.append(word)
    return [seen, None, seen.words], True


def shown(output):
    """Write down all of an output at the time of the call."""
    if isinstance(output, tuple):
        return f"{output[0]}:{shown(output[1])}"
    return str(output) if isinstance(output, Seen) else "".join(output)


def first_word(output):
    return shown(output)[-1]


class ShowingEncoder(Lines):
    def encode(self, data):
        return data if isinstance(data, str) else shown(data)


def application(*nodes, sinks=1):
    """Build source, key_by, ``nodes`` below each other unless they name their inputs, and sinks below the last."""
    source = SourceNode("p", (), wallaroo.StdinSourceConfig(Lines))
    key_by = KeyByNode("key", (0,), lambda word: word[0], None, False)
    last = 1 + len(nodes)
    outs = [SinkNode(f"out {n}", (last,), wallaroo.FileSinkConfig(f"f{n}", ShowingEncoder)) for n in range(sinks)]
    return Application("test", [source, key_by, *nodes, *outs])


def state(node_input, call, *, multi=False, table="seen"):
    return StateNode(f"state {table}", (node_input,), table, "Seen", Seen, call, multi)


def compute(node_input, call, *, multi=False):
    return ComputationNode("compute", (node_input,), call, multi)


RETURNS = [(itself, ["a", "ab", "abc"]), (a_part, ["a", "ab", "abc"]), (in_a_tuple, ["1:a", "2:ab", "3:abc"])]
flags = pytest.mark.parametrize("flags", [0, CAREFUL])


@flags
@pytest.mark.parametrize(("call", "expected"), RETURNS)
def test_to_a_sink(call, expected, flags):
    run = Runner(application(state(1, call)), ("groups", 1, [3]))
    assert run.run(0, run.groups(("x", list("abc"))), flags=flags).outputs == {3: expected}


@flags
@pytest.mark.parametrize(("call", "expected"), RETURNS)
def test_through_computations_to_a_sink(call, expected, flags):
    run = Runner(application(state(1, call), compute(2, lambda output: output), compute(3, shown)), ("groups", 1, [5]))
    assert run.run(0, run.groups(("x", list("abc"))), flags=flags).outputs == {5: expected}


@flags
@pytest.mark.parametrize(("call", "expected"), RETURNS)
@pytest.mark.parametrize("own_codec", [False, True])
def test_to_a_key_and_the_next_state(call, expected, own_codec, flags):
    codec = ValueCodec(lambda value: shown(value).encode(), bytes.decode) if own_codec else ValueCodec()
    nodes = [
        state(1, call),
        KeyByNode("key", (2,), first_word, None, False),
        state(3, lambda output, seen: (shown(output), False), table="next"),
    ]
    run = Runner(application(*nodes), ("groups", 1, [3]), ("groups", 3, [5]), codec=codec)
    outcome = run.run(0, run.groups(("x", list("abc")), ("y", list("ca"))), flags=flags)
    outcome = run.run(1, outcome.outputs[3], flags=flags)
    others = {"ab": ["c", "ca"], "1:": ["1:c", "2:ca"]}["1:" if call is in_a_tuple else "ab"]
    assert sorted(outcome.outputs[5]) == sorted(expected + others)


@flags
def test_to_a_collect(flags):
    nodes = [state(1, itself), CollectNode("collect", (2,)), state(3, lambda o, s: (shown(o), False), table="next")]
    run = Runner(application(*nodes), ("groups", 1, [3]), ("groups", 3, [5]))
    outcome = run.run(0, run.groups(("x", list("abc"))), flags=flags)
    assert outcome.outputs[3][0::4] == [None] * 3
    assert run.run(1, outcome.outputs[3], flags=flags).outputs == {5: ["a", "ab", "abc"]}


@flags
@pytest.mark.parametrize(("call", "expected"), RETURNS)
def test_to_two_sinks(call, expected, flags):
    run = Runner(application(state(1, call), sinks=2), ("groups", 1, [3, 4]))
    assert run.run(0, run.groups(("x", list("abc"))), flags=flags).outputs == {3: expected, 4: expected}


@flags
def test_to_branches_of_which_one_changes_what_it_was_given(flags):
    def shout(seen):
        seen.words[-1] = seen.words[-1].upper()
        return seen

    source, key_by, *_ = application().nodes
    sink = wallaroo.StdoutSinkConfig(ShowingEncoder)
    nodes = [source, key_by, state(1, itself), compute(2, shout), SinkNode("o", (3,), sink), SinkNode("p", (2,), sink)]
    run = Runner(Application("test", nodes), ("groups", 1, [4, 5]))
    outcome = run.run(0, run.groups(("x", list("abc"))), flags=flags)
    assert outcome.outputs == {4: ["A", "aB", "abC"], 5: ["a", "ab", "abc"]}


@flags
def test_several_outputs(flags):
    run = Runner(application(state(1, several, multi=True), compute(2, shown)), ("groups", 1, [4]))
    assert run.run(0, run.groups(("x", list("ab"))), flags=flags).outputs == {4: ["a", "a", "ab", "ab"]}


@flags
def test_a_computation_that_takes_the_state_apart(flags):
    run = Runner(application(state(1, a_part), compute(2, lambda words: words, multi=True)), ("groups", 1, [4]))
    assert run.run(0, run.groups(("x", list("abc"))), flags=flags).outputs == {4: list("aababc")}


@flags
def test_to_a_second_state_in_the_stage(flags):
    kept = []

    def keep(output, seen):
        kept.append(shown(output))
        return output, False

    run = Runner(application(state(1, itself), state(2, keep, table="next")), ("groups", 1, [4]))
    assert run.run(0, run.groups(("x", list("abc"))), flags=flags).outputs == {4: ["a", "ab", "abc"]}
    assert kept == ["a", "ab", "abc"]


@flags
def test_an_encoder_that_returns_one_buffer_again_and_again(flags):
    buffer = bytearray()

    class Buffering(Lines):
        def encode(self, data):
            buffer.extend(data.encode())
            return buffer

    source, key_by, *_ = application().nodes
    sink = SinkNode("out", (2,), wallaroo.StdoutSinkConfig(Buffering))
    nodes = [source, key_by, state(1, lambda word, seen: (word, False)), sink]
    run = Runner(Application("test", nodes), ("groups", 1, [3]))
    assert run.run(0, run.groups(("x", list("abc"))), flags=flags).outputs == {3: [b"a", b"ab", b"abc"]}
    buffer.clear()
    ab = wallaroo.ApplicationBuilder("test").new_pipeline("p", wallaroo.StdinSourceConfig(Lines))
    run = Runner(ab.to_sink(wallaroo.StdoutSinkConfig(Buffering)).build(), ("frames", 0, [1]))
    assert run.run(0, [b"a", b"b"], flags=flags).outputs == {1: [b"a", b"ab"]}


def test_a_generator_that_changes_its_value():
    class Grow:
        def initial_value(self):
            return []

        def apply(self, previous):
            previous.append("x")
            return previous

    ab = wallaroo.ApplicationBuilder("test").new_pipeline("p", wallaroo.GenSourceConfig(Grow()))
    run = Runner(ab.to_sink(wallaroo.StdoutSinkConfig(ShowingEncoder)).build(), ("generate", 0, [1]))
    assert run.run(0, 3).outputs == {1: ["", "x", "xx"]}


@flags
def test_what_a_failing_step_was_given_is_shown_as_it_was(flags):
    def refuse(seen):
        if len(seen.words) == 2:
            raise ValueError("two")
        return seen

    class Surrogate(Lines):
        def encode(self, data):
            return "\ud800" if len(data.words) == 1 else str(data)

    source, key_by, *_ = application().nodes
    sink = SinkNode("out", (3,), wallaroo.StdoutSinkConfig(Surrogate))
    nodes = [source, key_by, state(1, itself), compute(2, refuse), sink]
    run = Runner(Application("test", nodes), ("groups", 1, [4]))
    outcome = run.run(0, run.groups(("y", ["c"]), ("x", list("abc"))), flags=flags)
    assert outcome.outputs == {4: ["abc"]}
    refused, *unencodable = outcome.failures
    assert (refused.node, refused.origin, refused.key, refused.message) == (3, 1, "x", "two")
    assert str(run.codec.decode(refused.codec, refused.payload, 1)[0]) == "ab"
    # The encoder's result stands for a value that may have changed since.
    assert [(failure.node, failure.origin, failure.value) for failure in unencodable] == [
        (4, 0, "'\\ud800'"),
        (4, 1, "'\\ud800'"),
    ]


@flags
def test_keys_and_values_that_cannot_leave_fail_alone(flags):
    def keyed(output):
        if output == "raise":
            raise ValueError(output)
        return 1.5 if output == "bad" else "k"

    def given(word, seen):
        return {"lambda": lambda: None, "list": [word]}.get(word, word), False

    nodes = [state(1, given), KeyByNode("key", (2,), keyed, None, False)]
    run = Runner(application(*nodes, compute(3, shown)), ("groups", 1, [3]))
    words = ["a", "bad", "lambda", "list", "raise", "b", "c"]
    outcome = run.run(0, run.groups(("x", words)), flags=flags)
    assert run.read(outcome.outputs[3]) == [("k", ["a"]), ("k", [["list"]]), ("k", ["b", "c"])]
    assert [(failure.node, failure.key) for failure in outcome.failures] == [(3, "x"), (3, "k"), (3, "x")]
    assert (
        outcome.failures[0].message
        == "1.5 is of type float; a key is str, bytes, int, bool, UUID, date, datetime, Enum, or a tuple of these"
    )


def test_groups_larger_than_the_cap():
    def given(word, seen):
        return [word * 700] if word in "ab" else ["x" * 5_000] if word == "l" else word * 700, False

    nodes = [state(1, given), KeyByNode("key", (2,), lambda output: "k", None, False)]
    run = Runner(application(*nodes, compute(3, shown)), ("groups", 1, [3]), max_body=4_000)
    outcome = run.run(0, run.groups(("x", list("abcdefghl")), ("y", ["i"])))
    got = [value for _, values in run.read(outcome.outputs[3]) for value in values]
    assert got == [["a" * 700], ["b" * 700], *(word * 700 for word in "cdefghi")]
    (failure,) = outcome.failures
    assert (failure.node, failure.origin, failure.key) == (3, 0, "k")
    assert failure.message.startswith("a value of ")
    assert failure.value.startswith("['xxx")
