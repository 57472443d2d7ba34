"""Mistakes in connectors are told when the application is built."""

from __future__ import annotations

import re

import pytest

import wallaroo
from wallaroo import WallarooParameterError, connector, json_lines


class Numbers(wallaroo.Source):
    def open(self, partition, position):
        pass

    def read(self, limit, timeout):
        return None


class Nowhere(wallaroo.Sink):
    def open(self):
        return None

    def write(self, position, messages):
        pass


class OpensNothing(Numbers):
    def open(self):
        pass


class ReadsAll(Numbers):
    def read(self):
        return None


class AcknowledgesNothing(Numbers):
    def acknowledge(self):
        pass


class OnePartition(Numbers):
    def partitions(self, count):
        return [""]


class ClosesOne(Numbers):
    def close(self, partition):
        pass


class Yields(Numbers):
    def read(self, limit, timeout):
        yield 1, 1


class YieldsAsync(Numbers):
    async def read(self, limit, timeout):
        yield 1, 1


class WritesOne(Nowhere):
    def write(self, message):
        pass


class OpensAt(Nowhere):
    def open(self, position):
        pass


class WritesNothing(Nowhere):
    def write(self, position, messages):
        yield from messages


SOMETHING_ELSE = "and neither a Source nor a Sink; give an object of a class that derives from wallaroo.Source"
MISTAKES = [
    (Numbers, {}, f"connector: the argument is a class, {SOMETHING_ELSE}"),
    (5, {}, f"connector: the argument is of type int, {SOMETHING_ELSE}"),
    (None, {}, "connector: the argument is of type NoneType"),
    (Numbers(), {"codec": json_lines}, "connector(Numbers): codec is the function json_lines, not a codec"),
    (Nowhere(), {"codec": "utf-8"}, "connector(Nowhere): codec is of type str, not a codec; for example wallaroo.json"),
    (Numbers(), {"pool": ""}, "connector(Numbers): pool must be a non-empty str, got ''; for example pool='kafka'"),
    (Nowhere(), {"pool": 3}, "connector(Nowhere): pool must be a non-empty str, got 3"),
    (
        Nowhere(),
        {"event_time": float},
        "connector(Nowhere): event_time is for sources, and this is a sink; leave event_",
    ),
    (
        Nowhere(),
        {"max_ahead": None},
        "connector(Nowhere): max_ahead is for sources, and this is a sink; leave max_ahead",
    ),
    (Numbers(), {"event_time": 5}, "event_time"),
    (
        OpensNothing(),
        {},
        "open() cannot be called with 2 arguments (partition, position); define it as open(partition, p",
    ),
    (ReadsAll(), {}, "read() cannot be called with 2 arguments (limit, timeout); define it as read(limit, timeout)"),
    (
        AcknowledgesNothing(),
        {},
        "acknowledge() cannot be called with 1 argument (position); define it as acknowledge(po",
    ),
    (OnePartition(), {}, "partitions(count) cannot be called with no argument; define it as partitions()"),
    (ClosesOne(), {}, "close(partition) cannot be called with no argument; define it as close()"),
    (WritesOne(), {}, "connector(WritesOne): write(message) cannot be called with 2 arguments (position, messages)"),
    (OpensAt(), {}, "connector(OpensAt): open(position) cannot be called with no argument; define it as open()"),
    (Yields(), {}, "connector(Yields): read yields, and nothing would iterate; return the result: def read(limit, ti"),
    (YieldsAsync(), {}, "connector(YieldsAsync): read yields, and nothing would iterate"),
    (WritesNothing(), {}, "connector(WritesNothing): write yields, and nothing would iterate"),
]


@pytest.mark.parametrize(("given", "options", "said"), MISTAKES, ids=[said[:40] for _, _, said in MISTAKES])
def test_it_is_told(given, options, said):
    with pytest.raises(WallarooParameterError) as caught:
        connector(given, **options)
    text = f"{caught.value}; {caught.value.hint}" if caught.value.hint else str(caught.value)
    assert said in text.replace("\nhint: ", "; "), text


def test_a_class_without_its_methods():
    class Half(wallaroo.Sink):
        def open(self):
            return None

    with pytest.raises(TypeError, match="abstract"):
        Half()


def test_a_connector_in_the_wrong_place():
    with pytest.raises(WallarooParameterError):
        wallaroo.source("numbers", Nowhere())
    with pytest.raises(WallarooParameterError):
        wallaroo.source("numbers", Numbers()).to_sink(Numbers())


def test_a_pool_is_described():
    assert connector(Numbers(), pool="kafka").describe() == {
        "kind": "connector",
        "class": f"{__name__}.Numbers",
        "pool": "kafka",
    }
    assert "pool" not in connector(Nowhere()).describe()


def test_a_message_that_is_no_bytes():
    config = connector(Numbers(), json_lines())
    assert [config.to_payload(message) for message in ("é", b"e", bytearray(b"e"))] == ["é".encode(), b"e", b"e"]
    with pytest.raises(TypeError, match=re.escape("Numbers.read returned a message that is of type int; it returns")):
        config.to_payload(5)


def test_messages_cross_as_they_are():
    source, sink = connector(Numbers()), connector(Nowhere())
    for message in (("a", 1), {"a": {1, 2}}, None, 2.5, b"\n"):
        assert source.decode(source.to_payload(message)) == message
        assert sink.from_payload(sink.encode(message)[4:]) == message
    coded = connector(Nowhere(), json_lines())
    assert coded.encode({"a": 1}) == b'\0\0\0\x07{"a":1}'
    assert coded.from_payload(b'{"a":1}') == b'{"a":1}'
