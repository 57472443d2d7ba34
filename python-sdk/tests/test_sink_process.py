"""The process of a sink: what goes over its socket."""

from __future__ import annotations

import pickle
import socket
import struct

import msgpack
import pytest

import wallaroo
from connector_peers import OPENED, REJECTED, WRITTEN, Running, run_and_close
from wallaroo._connector._sink import LIMIT, SinkRun, position_bytes


class Written(wallaroo.Sink):
    """Tells what was called, and rejects numbers below 0."""

    def __init__(self, position=None, index=None):
        self.position, self.index = position, index
        self.told = []

    def open(self):
        return self.position

    def write(self, position, messages):
        self.told.append((position, messages))
        for index, message in enumerate(messages):
            if isinstance(message, int) and message < 0:
                raise wallaroo.RejectedMessageError(index if self.index is None else self.index, f"{message} is low")

    def close(self):
        self.told.append("close")


class AsyncWritten(Written):
    async def open(self):
        return super().open()

    async def write(self, position, messages):
        super().write(position, messages)

    async def close(self):
        super().close()


def run_sink(sink, codec=None):
    config = wallaroo.connector(sink, codec)
    return config, Running(lambda address: run_and_close(SinkRun(config, address)))


def greeting(position, stream):
    body = position.to_bytes(8, "big") + stream.encode()
    return struct.pack(">I", len(body)) + body


def written(frame):
    kind, body = frame
    assert kind == WRITTEN
    return int.from_bytes(body, "big")


@pytest.mark.parametrize("kind", [Written, AsyncWritten])
def test_a_sink_from_open_to_close(kind):
    sink = kind("run:é:17")
    config, running = run_sink(sink)
    with running:
        peer = running.accept()
        assert peer.receive() == (OPENED, "run:é:17".encode())
        frames = [config.encode(message) for message in ("a", ("b", 2), None)]
        end = 17 + len(b"".join(frames))
        peer.connection.sendall(greeting(17, "run:é") + b"".join(frames))
        while written(peer.receive()) < end:
            pass
        peer.connection.shutdown(socket.SHUT_WR)
        assert peer.receive() is None
        assert running.end() is None
    *calls, last = sink.told
    assert last == "close"
    assert [message for _, messages in calls for message in messages] == ["a", ("b", 2), None]
    assert calls[-1][0] == f"run:é:{end}"


def test_messages_that_come_in_pieces():
    sink = Written()
    config, running = run_sink(sink, wallaroo.lines())
    with running:
        peer = running.accept()
        assert peer.receive() == (OPENED, b"")
        frames = config.encode("tea") + config.encode("") + config.encode("cup")
        for byte in greeting(0, "s") + frames:
            peer.connection.sendall(bytes([byte]))
        peer.connection.shutdown(socket.SHUT_WR)
        while (frame := peer.receive()) is not None:
            last = written(frame)
        assert last == len(frames)
    assert [message for _, messages in sink.told[:-1] for message in messages] == [b"tea", b"", b"cup"]


def test_many_messages_come_in_several_calls():
    sink = Written()
    config, running = run_sink(sink)
    with running:
        peer = running.accept()
        peer.receive()
        peer.connection.sendall(greeting(0, "s") + b"".join(map(config.encode, range(LIMIT * 2 + 1))))
        peer.connection.shutdown(socket.SHUT_WR)
        while peer.receive() is not None:
            pass
    calls = sink.told[:-1]
    assert max(len(messages) for _, messages in calls) <= LIMIT
    assert [message for _, messages in calls for message in messages] == list(range(LIMIT * 2 + 1))


def test_messages_that_are_rejected():
    sink = Written()
    config, running = run_sink(sink)
    with running:
        peer = running.accept()
        peer.receive()
        frames = b"".join(map(config.encode, [1, -2, 3, -4]))
        # At once, so that they come in one call.
        peer.connection.sendall(greeting(0, "s") + frames)
        said = [peer.receive() for _ in range(2)]
        if said[-1][0] == REJECTED:
            assert written(peer.receive()) == len(frames)
    letters = [msgpack.unpackb(body) for kind, body in said if kind == REJECTED]
    payload, kind, message, traceback, shown = letters[0]
    assert (pickle.loads(payload), message, shown) == (-2, "-2 is low", "-2")
    assert kind == "wallaroo._io.connectors.RejectedMessageError" or kind.endswith("RejectedMessageError")
    assert "in write" in traceback
    if sink.told[0] == (f"s:{len(frames)}", [1, -2, 3, -4]):
        assert sink.told[1:3] == [(f"s:{len(frames)}", [1, 3, -4]), (f"s:{len(frames)}", [1, 3])]


@pytest.mark.parametrize("index", [7, -1, "0", True])
def test_a_message_that_does_not_exist_is_rejected(index):
    config, running = run_sink(Written(index=index))
    with running:
        peer = running.accept()
        peer.receive()
        peer.connection.sendall(greeting(0, "s") + config.encode(-1))
        with pytest.raises(IndexError, match=r"write\(\) has rejected message .* of 1: the first one is message 0"):
            raise running.end()


def test_nothing_is_to_be_written():
    sink = Written()
    _, running = run_sink(sink)
    with running:
        peer = running.accept()
        peer.receive()
        peer.connection.close()
        assert running.end() is None
    assert sink.told == ["close"]


def test_a_position_of_a_sink():
    assert [position_bytes(position) for position in (None, "", "a:1", b"a:1")] == [b"", b"", b"a:1", b"a:1"]
    with pytest.raises(TypeError, match=r"open\(\) returned of type int; it returns the position that write"):
        position_bytes(5)
