"""Applications with connectors in the test's own process: messages go in where the source would give them."""

from __future__ import annotations

import datetime as dt

import pytest

import wallaroo
from wallaroo import connector, json_lines, length_prefixed, lines, raw
from wallaroo.testing import InProcess, run

NOON = dt.datetime(2024, 5, 1, 12, tzinfo=dt.timezone.utc)


class Orders(wallaroo.Source):
    """Nobody opens it here."""

    def open(self, partition, position):
        raise AssertionError("a test gives the messages")

    def read(self, limit, timeout):
        raise AssertionError("a test gives the messages")


class Table(wallaroo.Sink):
    def open(self):
        raise AssertionError("a test takes the messages")

    def write(self, position, messages):
        raise AssertionError("a test takes the messages")


def copy(source, sink, step=None):
    orders = wallaroo.source("orders", source)
    return wallaroo.application("copy", (orders if step is None else orders.map(step)).sink(sink))


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_objects_go_through_as_they_are(batch):
    given = [("tea", 1), {"cup": [2, (3,)]}, 2.5, 0, "", b"\n", "\n", NOON, {1, 2}]
    application = copy(Orders(), Table(), lambda message: [message])
    assert run(application, given, batch=batch).messages == [[message] for message in given]


def test_none_is_left_out():
    assert run(copy(Orders(), Table()), [1, None, 2]).messages == [1, 2]


def test_a_sink_is_named_by_its_class():
    orders = wallaroo.source("orders", Orders())
    application = wallaroo.application("two", orders.to_sinks([Table(), connector(Table(), json_lines())]))
    outputs = run(application, [{"a": 1}]).outputs
    assert outputs == {"connector Table": [{"a": 1}], "connector Table (2)": [b'{"a":1}']}


@pytest.mark.parametrize(
    ("codec", "given", "taken"),
    [
        (json_lines(), [{"a": 1}, '{"a": 2}', b"[3]"], [{"a": 1}, {"a": 2}, [3]]),
        (lines(), ["tea", "", "é"], ["tea", "", "é"]),
        (raw(), [b"tea", b"\n"], [b"tea", b"\n"]),
    ],
)
def test_messages_of_a_codec(codec, given, taken):
    assert run(copy(connector(Orders(), codec), Table()), given).messages == taken


def test_what_a_codec_does_not_take():
    (letter,) = run(copy(connector(Orders(), json_lines()), Table()), ["{"]).dead_letters
    assert letter.step == "orders"
    with pytest.raises(TypeError, match="source 'orders': message 0: "):
        run(copy(connector(Orders(), lines()), Table()), [3])


def test_a_message_that_cannot_cross():
    with pytest.raises(Exception, match=r"pickle|lambda"):
        run(copy(Orders(), Table()), [lambda: None])
    (letter,) = run(copy(Orders(), Table(), lambda message: lambda: message), [1]).dead_letters
    assert letter.step == "connector Table"


def test_states_keys_and_restarts():
    sales = wallaroo.source("sales", Orders()).key_by(lambda sale: sale[0]).sum(lambda sale: sale[1])
    application = wallaroo.application("totals", sales.sink(Table()))
    given = [("tea", 1), ("cup", 2), ("tea", 3)]
    assert run(application, given, restarts=True).messages == [("tea", 1), ("cup", 2), ("tea", 4)]


def test_event_times():
    sales = wallaroo.source("sales", connector(Orders(), event_time=lambda sale: sale[1], max_ahead=None))
    counts = (
        sales.key_by(lambda sale: sale[0]).window(wallaroo.tumbling(wallaroo.minutes(1))).aggregate(wallaroo.count())
    )
    app = InProcess(wallaroo.application("counts", counts.map(lambda window: (window.key, window.value)).sink(Table())))
    app.send([("tea", NOON), ("tea", NOON + dt.timedelta(seconds=59))])
    assert app.outcome.messages == []
    app.send([("cup", NOON + dt.timedelta(minutes=2))])
    assert app.outcome.messages == [("tea", 2)]
    app.end()
    assert app.outcome.messages == [("tea", 2), ("cup", 1)]


def test_several_sources():
    one, other = wallaroo.source("one", Orders()), wallaroo.source("other", connector(Orders(), lines()))
    application = wallaroo.application("merged", one.merge(other).sink(Table()))
    assert run(application, {"one": [1, (2,)], "other": ["three"]}).messages == [1, (2,), "three"]


def test_a_codec_with_a_length_is_refused_or_taken_whole():
    """The process of a connector cuts no frames: a codec decodes what `read` returned."""
    codec = length_prefixed(">I", lines())
    assert run(copy(connector(Orders(), codec), connector(Table(), codec)), ["tea"]).messages == [b"tea"]
