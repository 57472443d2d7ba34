"""``wallaroo.testing.run`` refuses what no source could bring, and its states can go on elsewhere at any time."""

from __future__ import annotations

import threading
import time
import types
import warnings

import pytest

import wallaroo
from stages import Lines
from wallaroo.testing import InProcess, Outcome, UnsavedStateError, UnsavedStateWarning, run
from wallaroo.testing._time import _Timers


class Words(Lines):
    def encode(self, data):
        return f"{data}\n"


class Framed:
    def header_length(self):
        return 1

    def payload_length(self, bs):
        return bs[0]

    def decode(self, bs):
        return bs.decode()


class Countdown:
    def initial_value(self):
        return 3

    def apply(self, previous):
        return previous - 1 or None


def app(*steps, config=None):
    p = wallaroo.source("text", config or wallaroo.FileSourceConfig("text", Words))
    for step in steps:
        p = p.to(step)
    return wallaroo.build_application("app", p.to_sink(wallaroo.StdoutSinkConfig(Words)))


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ("abc", TypeError, "inputs: a single str is given; give a list of messages"),
        (b"abc", TypeError, "inputs: a single bytes is given; give a list of messages"),
        ({"text": "abc"}, TypeError, "source 'text': a single str is given; give a list of messages"),
        ({"text": None}, TypeError, "source 'text': what is given is of type NoneType; give a list of messages"),
        (None, TypeError, "inputs: what is given is of type NoneType; give a list of messages"),
        ([1, 2], TypeError, "source 'text': message 0 is of type int; a message is str or bytes"),
        (["a", None], TypeError, "source 'text': message 1 is of type NoneType; a message is str or bytes"),
        ([["a"]], TypeError, "source 'text': message 0 is of type list; a message is str or bytes"),
        (3, TypeError, "inputs is 3: how many messages a generator makes is given by its name"),
        ({0: ["a"]}, TypeError, "inputs: a source is named by a str, got 0"),
        (["a\n"], ValueError, r"source 'text': message 0 holds the delimiter b'\\n', which ends a message"),
        (["a", "b\nc"], ValueError, r"source 'text': message 1 holds the delimiter"),
    ],
)
def test_what_no_source_could_bring_is_refused(inputs, error, message):
    with pytest.raises(error, match=message):
        run(app(), inputs)


def test_messages_of_every_form():
    assert run(app(), ["a", b"b", bytearray(b"c"), memoryview(b"d"), ""]).lines == ["a", "b", "c", "d", ""]
    assert run(app(), iter(["a"])).lines == run(app(), {"text": ("a",)}).lines == ["a"]
    assert run(app(config=wallaroo.FileSourceConfig("f", Framed)), ["a\nb"]).messages == [b"a\nb\n"]


def test_a_delimiter_that_begins_with_what_the_message_ends_with():
    class Doubled(Words):
        delimiter = b"--"

    doubled = app(config=wallaroo.FileSourceConfig("f", Doubled))
    with pytest.raises(ValueError, match="message 0 holds the delimiter"):
        run(doubled, ["a-"])
    assert run(doubled, ["-a"]).lines == ["-a"]


@pytest.mark.parametrize("value", [True, 1.0, "1", None])
def test_numbers_are_whole(value):
    countdown = app(config=wallaroo.GenSourceConfig(Countdown))
    for refused in (
        lambda: run(app(), ["a"], batch=value),
        lambda: InProcess(countdown).advance(value),
        lambda: run(countdown, {"text": True}),
    ):
        with pytest.raises(TypeError, match="must be an int, got"):
            refused()


def test_numbers_are_not_negative():
    running = InProcess(app(config=wallaroo.GenSourceConfig(Countdown)))
    with pytest.raises(ValueError, match="the number of messages must be 0 or more, got -1"):
        running.generate(-1)
    with pytest.raises(ValueError, match="nanoseconds must be 0 or more, got -1"):
        running.advance(-1)


def test_a_source_that_has_ended_brings_nothing():
    running = InProcess(app())
    running.end(source="text")
    with pytest.raises(ValueError, match="source 'text' has ended"):
        running.send(["a"])
    with pytest.raises(ValueError, match="source 'text' has ended"):
        running.send(["a"], source="text")


def test_words_are_a_list():
    module = types.ModuleType("application")
    module.application_setup = lambda args: app()
    with pytest.raises(TypeError, match="args must be a list of str, got '--in x'"):
        run(module, args="--in x")


@pytest.mark.parametrize("text", ["a\x0bb", "a\x0cb", "a\x1cb", "a\u2028b", "a\x85b", "a\rb", "a\r", ""])
def test_a_line_ends_where_a_line_ends_for_a_decoder(text):
    outcome = run(app(), [text, "c"])
    assert outcome.lines == [text, "c"]
    assert Outcome({"stdout": []}, []).lines == []
    assert Outcome({"stdout": [b"a\nb", b"c"]}, []).lines == ["a", "bc"]


REGISTRY = []


class Registered:
    def __init__(self):
        self.seen = []
        REGISTRY.append(self.seen)


@wallaroo.state_computation(name="through the module", state=Registered)
def through_the_module(data, state):
    REGISTRY[-1].append(data)
    return " ".join(state.seen)


@wallaroo.state_computation(name="gather", state=list)
def gather(data, state):
    state.append(data)
    return " ".join(state)


@wallaroo.state_computation(name="lock", state=dict)
def lock(data, state):
    state["lock"] = threading.Lock()
    return data


@pytest.mark.parametrize("batch", [1, 2])
def test_a_state_that_is_shared_shows_when_it_is_restarted(batch):
    assert run(app(through_the_module), ["a", "b", "c"], batch=3).lines == ["a", "a b", "a b c"]
    assert run(app(through_the_module), ["a", "b", "c"], batch=batch, restarts=True).lines[-1] != "a b c"
    assert run(app(gather), ["a", "b", "c"], batch=batch, restarts=True).lines == ["a", "a b", "a b c"]


def test_windows_and_generators_are_restarted():
    class Gather(wallaroo.Aggregation):
        def initial_accumulator(self):
            return []

        def update(self, data, accumulator):
            accumulator.append(data)

        def output(self, key, accumulator):
            return f"{accumulator}"

    windows = app(wallaroo.count_windows(2).over(Gather()), config=wallaroo.GenSourceConfig(Countdown()))
    assert run(windows, restarts=True).lines == ["[3, 2]", "[1]"]


def test_a_state_that_cannot_be_pickled_shows():
    with pytest.raises(UnsavedStateError, match="state of key None in table lock cannot be pickled: "):
        run(app(lock), ["a"], restarts=True)
    with pytest.warns(UnsavedStateWarning, match="state of key None in table lock cannot be pickled: ") as all:
        assert run(app(lock), ["a"]).lines == ["a"]
    assert [warning.filename for warning in all] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        InProcess(app(lock)).send(["a"])


def test_after_a_refused_restart_all_goes_on():
    @wallaroo.state_computation(name="keep", state=dict)
    def keep(data, state):
        state[data] = lambda: data
        return len(state)

    running = InProcess(app(gather, keep))
    running.send(["a"])
    with pytest.raises(UnsavedStateError):
        running.restart()
    running.send(["b"])
    assert running.outcome.lines == ["1", "2"]


def test_timers_come_in_the_order_of_their_deadlines():
    timers = _Timers()
    for key, deadline in [("a", 5), ("b", 3), ("c", 3), ("b", 4), ("d", 1), ("d", None), ("e", 9)]:
        timers.set(key, deadline)
    taken = iter(lambda: timers.take_due(5), None)
    assert [key for (key,) in taken] == ["c", "b", "a"]
    assert timers.take_due(9) == ("e",)


def test_many_timers_take_no_more_time_each():
    def seconds(count):
        timers = _Timers()
        began = time.process_time()
        for key in range(count):
            timers.set(key, key)
            timers.take_due(-1)
        for _ in range(count):
            timers.take_due(count)
        return time.process_time() - began

    few, many = min(seconds(2_000) for _ in range(3)), seconds(40_000)
    assert many < 200 * few
