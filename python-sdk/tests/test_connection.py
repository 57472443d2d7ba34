"""The framed socket: frames of any size, however the bytes arrive."""

from __future__ import annotations

import socket
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wallaroo._codec.protocol import ProtocolError, frame
from wallaroo.worker._connection import Connection
from wallaroo.worker._descriptors import are_intact


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    theirs.settimeout(60)
    connection = Connection(ours)
    yield connection, theirs
    connection.close()
    theirs.close()


def test_a_body_larger_than_every_buffer(pair):
    connection, theirs = pair
    bodies = [b"a", b"b" * 3_000_000, b"c", b"d" * 300_000]
    sender = threading.Thread(target=theirs.sendall, args=(b"".join(map(frame, bodies)),))
    sender.start()
    assert [bytes(connection.receive()) for _ in bodies] == bodies
    sender.join()


def test_large_bodies_are_sent_whole(pair):
    connection, theirs = pair
    bodies = [b"a", b"b" * 3_000_000, b"c" * 128 * 1024]
    received = bytearray()

    def drain():
        while len(received) < sum(map(len, bodies)) + 4 * len(bodies):
            received.extend(theirs.recv(1 << 20))

    reader = threading.Thread(target=drain)
    reader.start()
    for body in bodies:
        connection.send(body)
    reader.join()
    assert received == b"".join(map(frame, bodies))


@settings(max_examples=50)
@given(
    st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=6),
    st.lists(st.integers(1, 20), min_size=1, max_size=20),
)
def test_frames_arrive_whole_wherever_the_bytes_are_split(bodies, cuts):
    ours, theirs = socket.socketpair()
    connection = Connection(ours)
    stream = b"".join(map(frame, bodies))

    class Trickle:
        """Hands over the stream in the pieces given."""

        def __init__(self):
            self.left = stream
            self.turn = 0

        def recv_into(self, view):
            piece = self.left[: min(cuts[self.turn % len(cuts)], len(view))]
            self.turn += 1
            self.left = self.left[len(piece) :]
            view[: len(piece)] = piece
            return len(piece)

    connection._socket = Trickle()
    assert [bytes(connection.receive()) for _ in bodies] == bodies
    assert connection.receive() is None
    ours.close()
    theirs.close()


def test_a_header_of_four_gigabytes_allocates_nothing(pair):
    connection, theirs = pair
    theirs.sendall(b"\xff\xff\xff\xff")
    before = len(connection._buffer)
    with pytest.raises(ProtocolError, match="a frame of 4294967295 bytes is beyond the cap"):
        connection.receive()
    assert len(connection._buffer) == before


def test_the_descriptor_is_out_of_the_users_way():
    ours, theirs = socket.socketpair()
    connection = Connection.from_fd(ours.detach())
    assert connection._socket.fileno() >= 200
    assert not connection._socket.get_inheritable()
    connection.close()
    theirs.close()


def test_a_connection_that_the_worker_closes_itself_is_not_missed():
    ours, theirs = socket.socketpair()
    connection = Connection.from_fd(ours.detach())
    assert are_intact()
    connection.close()
    theirs.close()
    assert are_intact()
