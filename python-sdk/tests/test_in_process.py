"""``wallaroo.testing.run``: what comes out, from which source, and what cannot be processed."""

from __future__ import annotations

import multiprocessing
import sys
import types
from datetime import timedelta

import pytest

import wallaroo
from stages import Lines
from wallaroo.testing import InProcess, Outcome, run


@wallaroo.computation_multi(name="split")
def split(data):
    return data.split()


@wallaroo.key_extractor
def word(data):
    return data


class Total:
    count = 0


@wallaroo.state_computation(name="count", state=Total)
def count(data, total):
    total.count += 1
    return f"{data} => {total.count}"


@wallaroo.computation(name="invert")
def invert(data):
    return 1 / int(data)


class Words(Lines):
    def encode(self, data):
        return f"{data}\n"


class Countdown:
    def initial_value(self):
        return 3

    def apply(self, previous):
        return previous - 1 if previous > 1 else None


def source(name="text"):
    return wallaroo.source(name, wallaroo.FileSourceConfig(name, Words))


def sink():
    return wallaroo.StdoutSinkConfig(Words)


def word_count():
    return wallaroo.build_application("app", source().to(split).key_by(word).to(count).to_sink(sink()))


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_words_are_counted(batch):
    outcome = run(word_count(), ["to be or", b"not to be"], batch=batch)
    expected = ["to => 1", "be => 1", "or => 1", "not => 1", "to => 2", "be => 2"]
    assert sorted(outcome.lines) == sorted(expected)
    if batch == 1:
        assert outcome == Outcome({"stdout": [f"{line}\n".encode() for line in expected]}, [])


def test_state_lives_as_long_as_the_run():
    app = InProcess(word_count())
    app.send(["to"])
    app.send(["to"], source="text")
    assert app.outcome.lines == ["to => 1", "to => 2"]
    assert run(word_count(), ["to"]).lines == ["to => 1"]


def test_several_sources_and_sinks():
    merged = source("a").merge(source("b").to(split)).to_sinks([sink(), sink(), wallaroo.FileSinkConfig("out", Words)])
    outcome = run(wallaroo.build_application("app", merged), {"b": ["1 2"], "a": ["3 4"]})
    came = [b"1\n", b"2\n", b"3 4\n"]
    assert outcome.outputs == {"stdout": came, "stdout (2)": came, "file out": came}
    with pytest.raises(ValueError, match="there are 3 sinks: use outputs"):
        _ = outcome.lines


def test_generators():
    pipeline = wallaroo.source("countdown", wallaroo.GenSourceConfig(Countdown)).merge(source("text"))
    app = wallaroo.build_application("app", pipeline.to_sink(sink()))
    assert run(app).lines == ["3", "2", "1"]
    assert run(app, {"countdown": 2}).lines == ["3", "2"]
    assert run(app, {"text": ["x"]}, batch=2).lines == ["x", "3", "2", "1"]
    with pytest.raises(ValueError, match="source 'countdown' generates its messages itself"):
        run(app, {"countdown": ["x"]})
    with pytest.raises(ValueError, match="source 'text' takes messages"):
        run(app, {"text": 3})


def test_dead_letters():
    app = wallaroo.build_application("app", source().key_by(word).to(invert).to(count).to_sink(sink()))
    outcome = run(app, ["1", "0", b"\xff", "x"], batch=4)
    assert outcome.lines == ["1.0 => 1"]
    decoding, zero, x = outcome.dead_letters
    assert (decoding.step, decoding.key, decoding.exception, decoding.value) == (
        "text",
        None,
        "UnicodeDecodeError",
        b"\xff",
    )
    assert (zero.step, zero.key, zero.exception, zero.value) == ("invert", "0", "ZeroDivisionError", "0")
    assert zero.traceback.splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert (x.exception, x.message, x.shown_value) == (
        "ValueError",
        "invalid literal for int() with base 10: 'x'",
        "'x'",
    )


def test_values_cross_as_they_do_between_processes():
    """A value that cannot be pickled does not get past a key, and one that can is another object behind it."""
    passed = []

    @wallaroo.computation(name="make")
    def make(data):
        passed.append([data])
        return passed[-1] if data != "function" else lambda: data

    @wallaroo.computation(name="take")
    def take(data):
        assert data == passed[-1]
        assert data is not passed[-1]
        return data

    app = wallaroo.build_application("app", source().to(make).collect().to(take).to_sink(sink()))
    outcome = run(app, ["one", "function"])
    assert outcome.lines == ["['one']"]
    assert [letter.step for letter in outcome.dead_letters] == ["collect"]


def test_a_tuple_as_a_key():
    @wallaroo.key_extractor
    def pair(data):
        return (data, (1, b"x"))

    @wallaroo.state_computation(name="raises", state=Total)
    def raises(data, total):
        raise LookupError(data)

    app = wallaroo.build_application("app", source().key_by(pair).to(raises).to_sink(sink()))
    assert [letter.key for letter in run(app, ["a"]).dead_letters] == [("a", (1, b"x"))]


def test_a_module_and_its_own_codec():
    module = types.ModuleType("application")
    seen = []
    module.application_setup = lambda args: seen.append(args) or word_count_of_lists()
    module.serialize = lambda value: seen.append("serialize") or repr(value).encode()
    module.deserialize = lambda data: eval(data)
    assert run(module, ["to be"], args=["--fast"]).lines == ["['to', 'be']"]
    assert seen == [["--fast"], "serialize"]


def word_count_of_lists():
    @wallaroo.computation(name="words")
    def words(data):
        return data.split()

    return wallaroo.build_application("app", source().to(words).collect().to_sink(sink()))


def test_what_is_asked_for_must_be_there():
    app = wallaroo.build_application("app", source("a").merge(source("b")).to_sink(sink()))
    with pytest.raises(ValueError, match="which source is meant is not said: the sources are 'a', 'b'"):
        run(app, ["x"])
    with pytest.raises(ValueError, match="there is no source 'c': the sources are 'a', 'b'"):
        run(app, {"c": ["x"]})
    with pytest.raises(TypeError, match="the application is Pipeline, not a built Application or a module"):
        run(source().to_sink(sink()))
    with pytest.raises(ValueError, match="batch must be 1 or more, got 0"):
        run(app, batch=0)


def test_in_a_process_that_was_forked():
    """Runners of tests may fork; a child that a step forks is another matter."""
    if not hasattr(multiprocessing, "get_context") or sys.platform == "win32":
        pytest.skip("no fork")
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=lambda: answers.put(run(word_count(), ["to"]).lines))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert answers.get() == ["to => 1"]


class Gather(wallaroo.Aggregation):
    def initial_accumulator(self):
        return []

    def update(self, data, accumulator):
        accumulator.append(data)

    def output(self, key, accumulator):
        return " ".join(accumulator)


def numbered(data):
    return int(data.split("@")[1])


def timed(name):
    return wallaroo.source(name, wallaroo.FileSourceConfig(name, Words, event_time=numbered))


def gathering(pipeline, size=10):
    pipeline = pipeline.to(wallaroo.range_windows(size, on_late="dead-letter").over(Gather))
    return wallaroo.build_application("a", pipeline.to_sink(sink()))


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_windows_go_by_what_messages_say(batch):
    outcome = run(gathering(timed("text")), ["a@1", "b@12", "c@5", "d@13", "e@29"], batch=batch)
    assert outcome.lines == ["a@1", "b@12 d@13", "e@29"]
    assert outcome.late == 1
    assert [(letter.exception, letter.value) for letter in outcome.dead_letters] == [("wallaroo.LateValueError", "c@5")]


def test_windows_go_by_the_clock_otherwise():
    app = InProcess(gathering(source()))
    app.send(["a"])
    app.advance(9)
    app.send(["b"])
    assert app.outcome.lines == []
    app.advance(1)
    assert app.outcome.lines == ["a b"]
    app.advance(100)
    assert app.outcome.lines == ["a b"], "nothing comes of a window without values"
    app.send(["c"])
    app.end()
    assert app.outcome.lines == ["a b", "c"]


def test_windows_wait_for_all_their_sources():
    app = InProcess(gathering(timed("one").merge(timed("other"))))
    app.send(["a@1", "b@25"], source="one")
    assert app.outcome.lines == []
    app.send(["c@2", "d@10"], source="other")
    assert app.outcome.lines == ["a@1 c@2"]
    app.end(source="other")
    app.send(["e@30"], source="one")
    assert app.outcome.lines == ["a@1 c@2", "d@10", "b@25"]


@pytest.mark.parametrize(
    ("options", "silence"),
    [
        ({}, wallaroo.seconds(5)),
        ({"idle_after": wallaroo.minutes(1)}, timedelta(minutes=1)),
        ({"idle_after": timedelta(hours=1)}, wallaroo.hours(1)),
    ],
    ids=["as the orchestrator", "nanoseconds", "a timedelta"],
)
def test_a_silent_source_holds_no_other_back(options, silence):
    app = InProcess(gathering(timed("one").merge(timed("other"))), **options)
    app.send(["a@1"], source="one")
    app.send(["b@2", "c@50"], source="other")
    app.advance(silence)
    app.send(["d@51"], source="other")
    assert app.outcome.lines == []
    app.advance(1)
    app.send(["e@52"], source="other")
    assert app.outcome.lines == ["a@1 b@2"]
    # It comes back, and is late.
    app.send(["f@3", "g@70"], source="one")
    assert (app.outcome.lines, app.outcome.late) == (["a@1 b@2"], 1)
    app.send(["h@71"], source="other")
    assert app.outcome.lines == ["a@1 b@2", "c@50 d@51 e@52"]


def test_silent_sources_do_not_end_windows():
    app = InProcess(gathering(timed("one").merge(timed("other"))))
    app.send(["a@1"], source="one")
    app.send(["b@25"], source="other")
    app.advance(wallaroo.hours(1))
    # As far as the furthest has come.
    assert app.outcome.lines == ["a@1"]
    app.end(source="one")
    assert app.outcome.lines == ["a@1"]
    app.end()
    assert app.outcome.lines == ["a@1", "b@25"]


def test_silence_goes_through_further_keys():
    pipeline = timed("one").collect().to(wallaroo.computation(name="same")(lambda data: data))
    app = InProcess(gathering(pipeline.merge(timed("other")).collect()))
    app.send(["a@1"], source="one")
    app.send(["b@2", "c@50"], source="other")
    assert app.outcome.lines == []
    app.advance(wallaroo.seconds(6))
    app.send(["d@51"], source="other")
    assert app.outcome.lines == ["a@1 b@2"]


def test_count_windows_wait_for_the_end():
    pipeline = source().to(wallaroo.count_windows(2).over(Gather)).to_sink(sink())
    app = InProcess(wallaroo.build_application("a", pipeline))
    app.send(["a", "b", "c"])
    app.advance(wallaroo.hours(1))
    assert app.outcome.lines == ["a b"]
    app.end()
    assert app.outcome.lines == ["a b", "c"]


def test_a_window_below_a_window_gets_all_it_gives():
    class Rejoin(Gather):
        def name(self):
            return "rejoin"

    first = wallaroo.range_windows(10).with_delay(7).over(Gather)
    pipeline = timed("text").to(first).collect().to(wallaroo.range_windows(20).over(Rejoin))
    outcome = run(wallaroo.build_application("a", pipeline.to_sink(sink())), ["a@1", "b@12", "c@5", "d@38", "e@40"])
    assert (outcome.lines, outcome.late) == (["a@1 c@5 b@12", "d@38", "e@40"], 0)


def test_windows_below_a_batch_computation_hold_what_windows_above_it_give_at_the_end():
    @wallaroo.decoder(delimiter=b"\n")
    def decode(bs):
        return int(bs)

    @wallaroo.key_extractor
    def key(data):
        return "all"

    @wallaroo.computation_batch(name="as they are")
    def as_they_are(batch):
        return batch

    class Joined(wallaroo.Aggregation):
        def __init__(self, name):
            self.name = name

        def initial_accumulator(self):
            return []

        def update(self, data, accumulator):
            accumulator.append(data)

        def output(self, key, accumulator):
            return accumulator

    @wallaroo.encoder
    def encode(data):
        return f"{data}\n"

    source = wallaroo.source("times", wallaroo.StdinSourceConfig(decode, event_time=lambda data: data))
    ranges = source.key_by(key).to(wallaroo.range_windows(1).over(Joined("range")))
    pairs = ranges.to(as_they_are).to(wallaroo.count_windows(2).over(Joined("pairs")))
    app = wallaroo.build_application("App", pairs.to_sink(wallaroo.StdoutSinkConfig(encode)))
    assert wallaroo.testing.run(app, ["0", "1"], batch=1).lines == ["[[0], [1]]"]
