"""``wallaroo.testing.run``: messages of the source's codec, the exceptions of steps, and restarts every so often."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

import pytest

import wallaroo
import wallaroo.testing
from wallaroo import csv_lines, json_lines, length_prefixed, lines, raw, stdin, stdout
from wallaroo.testing import InProcess, run


@dataclass
class Order:
    item: str
    price: float = 0.0


@wallaroo.encoder
def shown(data):
    return f"{data!r}\n"


def application(codec, *steps):
    pipeline = wallaroo.source("in", stdin(codec))
    for step in steps:
        pipeline = pipeline.to(step)
    return wallaroo.build_application("app", pipeline.to_sink(stdout(shown)))


class Lines:
    delimiter = b"\n"

    def decode(self, bs):
        return bs.decode()


@pytest.mark.parametrize(
    ("codec", "given", "arrived"),
    [
        (
            json_lines(Order),
            [Order("tea"), '{"item": "cup"}', b'{"item": "pot"}'],
            [Order("tea"), Order("cup"), Order("pot")],
        ),
        (json_lines(dict), [{"a": [1]}, "{}"], [{"a": [1]}, {}]),
        (json_lines(), [[1, 2], 3, "null"], [[1, 2], 3]),
        (csv_lines("a", "b"), [{"a": 1, "b": "x,y"}, "2,z"], [{"a": "1", "b": "x,y"}, {"a": "2", "b": "z"}]),
        (lines(), ["tea", b"cup"], ["tea", "cup"]),
        (length_prefixed(">I", raw()), [b"a\nb", "c"], [b"a\nb", b"c"]),
        (length_prefixed(">I", json_lines(Order)), [Order("tea")], [Order("tea")]),
    ],
)
def test_messages_are_what_the_codec_takes_or_frames(codec, given, arrived):
    assert run(application(codec), given).lines == [repr(message) for message in arrived]
    assert run(application(codec), {"in": given}).lines == [repr(message) for message in arrived]


@pytest.mark.parametrize(
    ("codec", "message", "kind", "complaint"),
    [
        (
            lines(),
            3,
            TypeError,
            "source 'in': message 1: lines() writes str, and was given int; give what lines() writes, or a frame as str"
            " or bytes",
        ),
        (
            json_lines(Order),
            {"item": "tea"},
            TypeError,
            "source 'in': message 1: json_lines(Order) writes Order, and was given dict; give what json_lines(Order)"
            " writes, or a frame as str or bytes",
        ),
        (
            csv_lines("a"),
            {"b": 1},
            ValueError,
            "source 'in': message 1: csv_lines('a'): the message has no 'a'; give what csv_lines('a') writes, or a"
            " frame as str or bytes",
        ),
        (Lines, 3, TypeError, "source 'in': message 1 is of type int; a message is str or bytes"),
        (Lines, Order("x"), TypeError, "source 'in': message 1 is of type Order; a message is str or bytes"),
    ],
)
def test_what_the_codec_does_not_take_is_the_tests_error(codec, message, kind, complaint):
    with pytest.raises(kind) as raised:
        run(application(codec), [b"{}" if codec is not Lines else b"x", message])
    assert str(raised.value) == complaint


@wallaroo.computation(name="invert")
def invert(data):
    return 1 / int(data)


@wallaroo.computation_multi(name="invert each")
def invert_each(data):
    yield 1 / int(data)


@wallaroo.computation_batch(name="invert all")
def invert_all(batch):
    return [1 / int(data) for data in batch]


@wallaroo.state_computation(name="keep", state=dict)
def keep(data, state):
    return 1 / int(data)


@wallaroo.key_extractor
def inverted(data):
    return int(1 / int(data))


class Sum(wallaroo.Aggregation):
    def initial_accumulator(self):
        return 0

    def update(self, data, accumulator):
        return accumulator + 1 / int(data)

    def output(self, key, accumulator):
        return accumulator


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("step", [invert, invert_each, invert_all, keep, wallaroo.count_windows(2).over(Sum)])
def test_what_a_step_raises_is_the_tests_exception(step, batch):
    app = application(lines(), step)
    assert len(run(app, ["1", "0", "2"], batch=batch).dead_letters) == 1
    with pytest.raises(ZeroDivisionError) as raised:
        run(app, ["1", "0", "2"], batch=batch, raises=True)
    last = traceback.extract_tb(raised.value.__traceback__)[-1]
    assert last.filename == __file__, "a debugger stops in the step"
    assert run(app, ["1", "2"], batch=batch, raises=True).dead_letters == []


def test_so_is_what_decoders_keys_and_encoders_raise():
    for app, kind in (
        (application(json_lines()), ValueError),
        (wallaroo.build_application("app", _keyed()), ZeroDivisionError),
        (_to(lines()), TypeError),
    ):
        with pytest.raises(kind):
            run(app, ["0 1" if kind is ValueError else "0"], raises=True)


def _keyed():
    return wallaroo.source("in", stdin(lines())).key_by(inverted).to_sink(stdout(lines()))


def _to(codec):
    return wallaroo.build_application("app", wallaroo.source("in", stdin(json_lines())).to_sink(stdout(codec)))


def test_what_is_against_a_contract_is_said_in_words():
    @wallaroo.computation_multi(name="one")
    def one(data):
        return 3

    with pytest.raises(TypeError, match="int") as raised:
        run(application(lines(), one), ["x"], raises=True)
    assert raised.value.__cause__ is None


class Unloadable:
    def __init__(self):
        self.count = 0

    def __setstate__(self, state):
        raise LookupError("the model is missing")


@wallaroo.state_computation(name="count", state=Unloadable)
def count(data, state):
    state.count += 1
    return f"{data} {state.count}"


def test_a_state_that_cannot_be_loaded_again_is_warned_of_at_the_end():
    warning = "state of key None in table count could not be restored: LookupError: the model is missing"
    with pytest.warns(wallaroo.testing.UnsavedStateWarning, match=warning):
        outcome = run(application(lines(), count), ["a", "b"])
    assert outcome.lines == ["'a 1'", "'b 2'"]


def test_the_exception_of_a_state_that_cannot_be_loaded_is_its_own():
    with pytest.raises(LookupError, match="the model is missing"):
        run(application(lines(), count), ["a", "b"], restarts=True, raises=True)


class Counted:
    pickled = 0

    def __reduce__(self):
        Counted.pickled += 1
        return (Counted, ())


@wallaroo.state_computation(name="state", state=Counted)
def state(data, counted):
    return data


@pytest.mark.parametrize(
    ("options", "times"),
    [
        ({}, 0),
        ({"restarts": True}, 6),
        ({"restart_every": 1}, 6),
        ({"restart_every": 2}, 3),
        ({"restart_every": 2, "batch": 2}, 1),
        ({"restart_every": 4}, 1),
        ({"restart_every": 7}, 0),
    ],
)
def test_restarts_come_every_so_many_batches(options, times):
    Counted.pickled = 0
    app = InProcess(application(lines(), state), **options)
    app.send(list("abcdef"))
    assert Counted.pickled == times


@pytest.mark.parametrize(
    ("options", "kind", "complaint"),
    [
        ({"restart_every": 0}, ValueError, "restart_every must be 1 or more, got 0"),
        ({"restart_every": "2"}, TypeError, "restart_every must be an int, got '2'"),
        (
            {"restart_every": 2, "restarts": True},
            ValueError,
            "restarts=True is restart_every=1: give one of them",
        ),
    ],
)
def test_restarts_that_make_no_sense(options, kind, complaint):
    with pytest.raises(kind) as raised:
        run(application(lines()), [], **options)
    assert str(raised.value) == complaint
